"""Files with a secret of this process's own: whole and durable before its first use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import get_ident

from serving.small_files import read_file


def secret(path: Path, size: int = 32) -> bytes:
    """The secret in ``path``, which is made when it is not there and never replaced.

    Raises:
        OSError: when it cannot be made.
        Problem: ``InvalidSettings`` when it cannot be read.
    """
    if not path.exists():
        create(path, os.urandom(size))
    return read_file(path)


def create(path: Path, data: bytes) -> None:
    """Make a private file that is whole and durable, or not there; one that is there stays.

    Raises:
        OSError: when it cannot be made.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
