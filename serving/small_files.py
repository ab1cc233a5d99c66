"""Files that a person names: read whole, and no more of them than is wanted."""

from __future__ import annotations

from pathlib import Path

from exchange.problems import Code, Problem

MAX_BYTES = 1 << 20


def read_file(
    path: Path, limit: int = MAX_BYTES, *, where: str = "", code: Code = Code.INVALID_SETTINGS
) -> bytes:
    """The bytes of a file.

    Args:
        where: the place that names the file; the path itself when there is none.
        code: what it is when the file cannot be read, or is longer than ``limit`` bytes.

    Raises:
        Problem: with that code and place.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Problem(
            code, where=where or str(path), detail=f"{path} cannot be read: {error.strerror}"
        ) from error
    if len(data) > limit:
        raise Problem(code, where=where or str(path), detail=f"{path} is longer than {limit} bytes")
    return data
