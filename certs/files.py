"""Key and certificate files: written whole or not at all, keys readable by their owner alone."""

from __future__ import annotations

from pathlib import Path

from exchange.problems import Code, Problem
from serving.durable_files import replace_file

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file whole and durably (:mod:`serving.durable_files`).

    The file has ``mode`` from its first byte on; its folder is made (0700) when missing.

    Raises:
        Problem: ``INVALID_SETTINGS`` at the path when the system refuses.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, data, mode=mode)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=str(path), detail=f"cannot write: {error.strerror}"
        ) from error


def read_file(path: Path, *, limit: int = 1024 * 1024) -> bytes:
    """Read a small file whole.

    Raises:
        Problem: ``NOT_FOUND`` at the path when it is not there, ``INVALID_DOCUMENT`` when it
            cannot be read or is longer than ``limit`` bytes.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError as error:
        raise Problem(Code.NOT_FOUND, where=str(path), detail="no such file") from error
    except OSError as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=str(path), detail=f"cannot read: {error.strerror}"
        ) from error
    if len(data) > limit:
        raise Problem(Code.INVALID_DOCUMENT, where=str(path), detail=f"longer than {limit} bytes")
    return data
