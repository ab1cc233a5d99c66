"""The outer world of a log: every operation that changes a disk, in one interface.

Tests replace it to make each operation fail, and to make each "fail" although it took effect.
Reading is not part of it: what is read is checked anyway.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Changes to files. A method that raises ``OSError`` may have taken effect or not."""

    def open(self, path: Path) -> int:
        """Open for reading and writing, created empty (mode 0600) when it is not there."""
        ...

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``; durable only after :meth:`sync`."""
        ...

    def sync(self, descriptor: int) -> None:
        """Make what was written durable (fdatasync)."""
        ...

    def write_durably(self, descriptor: int, data: bytes, offset: int) -> None:
        """:meth:`write` and :meth:`sync` in one: what a commit is."""
        ...

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        ...

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file whole and make its content durable (fsync)."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Put a file in another's place, atomically; the target's folder exists."""
        ...

    def make_directory(self, path: Path) -> None:
        """Make a folder and those above it where they are not there yet."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Make the names in a folder durable."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file."""
        ...


_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}


class RealFiles:
    """The disk."""

    # pwritev2(2) with RWF_DSYNC is Linux 4.7's; a process learns once whether it is there.
    _dsync = getattr(os, "RWF_DSYNC", 0)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        written = os.pwrite(descriptor, data, offset)
        if written < len(data):  # a full disk writes what fits and says so only at the next call
            view = memoryview(data)
            while written < len(data):
                written += os.pwrite(descriptor, view[written:], offset + written)

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def write_durably(self, descriptor: int, data: bytes, offset: int) -> None:
        # One system call instead of two: each of them makes the thread that commits ask the
        # event loop for the interpreter's lock once more.
        if not self._dsync:
            self.write(descriptor, data, offset)
            self.sync(descriptor)
            return
        try:
            written = os.pwritev(descriptor, [data], offset, self._dsync)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            type(self)._dsync = 0  # of this class: the kernel has no such call
            self.write_durably(descriptor, data, offset)
            return
        if written < len(data):
            self.write(descriptor, data[written:], offset + written)
            self.sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def write_file(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self.write(descriptor, data, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
