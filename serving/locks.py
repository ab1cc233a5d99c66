"""Lock files: one process at a time on a folder.

The system lets go of a lock (flock) when its process ends, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exchange.problems import Code, Problem


def take_lock(path: Path, held: str, *, create: bool = True) -> int:
    """Take the lock file ``path``; closing the descriptor that comes back lets go of it.

    Raises:
        Problem: ``Conflict`` about its folder, with the text ``held``, when a process has it.
        FileNotFoundError: when there is no such file and none is to be made.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Problem(Code.CONFLICT, where=str(path.parent), detail=held) from error
    return descriptor


@contextmanager
def locked(path: Path, held: str) -> Iterator[None]:
    """Have the lock file ``path`` meanwhile.

    Raises:
        Problem: as :func:`take_lock`.
    """
    descriptor = take_lock(path, held)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Have the lock file ``path`` meanwhile, after whoever has it now. Blocks.

    Raises:
        OSError: when there is no such file and none can be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
