"""dBASE and FoxPro tables (``.dbf``) with their memo files (``.dbt``, ``.fpt``), read by ``dbf``.

Rows that were deleted but not packed away are passed over. The encoding is the one that the file
declares, or that of the mapping: files from before Unicode declare a code page that their text is
not in, because the font made the difference.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dbf

from adapters.mapping.model import FileTable
from adapters.sources.sheets import Raw, Sheet, refuse

MEMO_SUFFIXES = (".dbt", ".fpt", ".DBT", ".FPT")
_BYTES = "cp437"
"""A code page that has a character for each byte, so that the bytes can be had back."""

# What dbf raises over bytes that are no table, as a test with each length of one shows.
_NOT_A_TABLE = (
    dbf.DbfError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)


def read_dbase(table: FileTable, path: Path) -> Sheet:
    """The table in the file at ``path``; its header are the names of its fields.

    Raises:
        Problem: ``SourceFailed`` for a file that is no such table, a memo file that is missing, or
            text that is not of the encoding (with the row); also while the rows are read.
    """
    page = None if table.encoding is None else _BYTES
    try:
        opened = dbf.Table(str(path), codepage=page)
        opened.open(dbf.READ_ONLY)
    except OSError as error:
        raise refuse(path.name, f"cannot be read: {error.strerror or error}") from error
    except _NOT_A_TABLE as error:
        raise refuse(path.name, f"is not a dBASE or FoxPro table: {error}") from error
    names = [str(name) for name in opened.field_names]
    return Sheet(names, 0, _rows(opened, names, path, _decoder(table.encoding)))


def _rows(
    opened: Any, names: list[str], path: Path, decode: Callable[[str], str]
) -> Iterator[tuple[int, Sequence[Raw]]]:
    number = 0
    try:
        for number, record in enumerate(opened, 1):
            if not dbf.is_deleted(record):
                yield number, [_raw(record[name], decode) for name in names]
    except UnicodeError as error:
        raise refuse(f"{path.name} row {number}", f"is not of its encoding: {error}") from error
    except (OSError, *_NOT_A_TABLE) as error:
        raise refuse(f"{path.name} row {number}", f"cannot be read: {error}") from error
    finally:
        opened.close()


def _decoder(encoding: str | None) -> Callable[[str], str]:
    if encoding is None:
        return lambda text: text
    return lambda text: text.encode(_BYTES).decode(encoding)


def _raw(value: Any, decode: Callable[[str], str]) -> Raw:
    # Text fields are filled up with blanks to their length.
    return decode(value).rstrip(" \x00") if isinstance(value, str) else value
