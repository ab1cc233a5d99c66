"""Files that are replaced whole: after a crash there is the old content or the new, and no mixture.

What is written goes to a draft beside the file, is flushed to the disk and renamed into place; then
the folder is flushed, so that the name outlives a loss of power too. A draft has a name of its own
in each process and thread, and begins with a dot; none is left unless the process is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import BinaryIO


def replace_file(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Put ``data`` in the place of ``path``; durable when this returns. Blocks.

    Args:
        mode: the file's permissions from its first byte on; None leaves them to the umask.

    Raises:
        OSError: when it cannot be written; a file that was there is as it was.
    """
    with replacing(path, mode=mode) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """:func:`replace_file` of what the block writes; nothing is replaced if the block raises."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(draft, flags, 0o666 if mode is None else mode)
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            yield file
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make durable which names a folder holds. Blocks.

    Raises:
        OSError: when it cannot be done.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
