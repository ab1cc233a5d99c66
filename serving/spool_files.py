"""The files of long bodies: what threads do with them (:mod:`serving.bodies`).

Invariants:
- a file has no name in the file system from the moment it exists (``O_TMPFILE``): it ends with its
  descriptor, whatever happens to the process;
- a descriptor is closed when the last thread that uses it is done, never under it.

All of this blocks, and raises :class:`OSError` as the disk does.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

PIECE_BYTES: Final = 256 * 1024


class SpoolFile:
    """A descriptor that is closed with its last user, who may be a thread."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def nameless(directory: Path) -> SpoolFile:
    """A new file without a name, for its owner alone."""
    flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    return SpoolFile(os.open(directory, flags, stat.S_IRUSR | stat.S_IWUSR))


def create(directory: Path | None, size: int, reserve_bytes: int) -> SpoolFile:
    """A new file for ``size`` bytes, when the disk has room for them beside what is reserved."""
    if directory is None:
        raise OSError(errno.ENOENT, "no folder is set")
    _check_free(os.statvfs(directory), size + reserve_bytes)
    return nameless(directory)


def _check_free(disk: os.statvfs_result, size: int) -> None:
    if disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def append(
    file: SpoolFile, digest: Any, offset: int, pieces: Sequence[bytes], reserve_bytes: int
) -> SpoolFile:
    """Write pieces at ``offset`` and hash them on the way, when the disk has room for them."""
    # Others write to this disk too, and bodies that were begun when it had room for each of them.
    _check_free(os.fstatvfs(file.descriptor), sum(map(len, pieces)) + reserve_bytes)
    for piece in pieces:
        digest.update(piece)
        view = memoryview(piece)
        while view:
            written = os.pwrite(file.descriptor, view, offset)
            offset += written
            view = view[written:]
    return file


def read(file: SpoolFile, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes."""
    pieces: list[bytes] = []
    while size > 0:
        piece = os.pread(file.descriptor, size, offset)
        if not piece:
            raise OSError(errno.EIO, "the file is shorter than what was written")
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def digest(file: SpoolFile, size: int, algorithm: str) -> bytes:
    """The digest of the first ``size`` bytes with an algorithm of :mod:`hashlib`."""
    found = hashlib.new(algorithm)
    for offset in range(0, size, PIECE_BYTES):
        found.update(read(file, offset, min(PIECE_BYTES, size - offset)))
    return found.digest()
