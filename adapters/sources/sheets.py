"""What the readers of files have in common: a header, numbered rows, and a refusal with a place.

A reader (:mod:`~adapters.sources.csv_file`, :mod:`~adapters.sources.workbook`,
:mod:`~adapters.sources.dbase`, :mod:`~adapters.sources.access`) turns a file into a :class:`Sheet`;
:func:`rows` turns that into rows of the mapping's columns. A cell is converted exactly or refused.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from adapters.fields import Kind, Mismatch, parse_date, parse_plain
from adapters.mapping.model import EndsAt, FileColumn
from adapters.sources.feet import Foot, is_there
from exchange.problems import Code, Problem

MAX_FILE_BYTES = 256 << 20

Raw: TypeAlias = str | int | float | bool | Decimal | date | datetime | time | None
"""A cell as the file's format has it."""

Cell: TypeAlias = str | int | float | None
"""A cell as SQLite stores it."""

_INTEGRAL_FLOAT = 2.0**53


@dataclass(frozen=True, slots=True)
class Sheet:
    """The header of a table and its rows, each with the number that a person sees."""

    header: Sequence[str]
    header_row: int
    rows: Iterator[tuple[int, Sequence[Raw]]]


def refuse(where: str, detail: str) -> Problem:
    """A file that cannot be read as the mapping says."""
    return Problem(Code.SOURCE_FAILED, where=where, detail=detail, retryable=False)


def check_size(path: Path) -> None:
    """Refuse what is no file, such as a pipe that may never end, and what is too long for memory.

    Raises:
        Problem: ``SourceFailed``.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise refuse(path.name, f"cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(state.st_mode):
        raise refuse(path.name, "is not a file")
    if state.st_size > MAX_FILE_BYTES:
        raise refuse(path.name, f"is larger than {MAX_FILE_BYTES} bytes")


def rows(
    sheet: Sheet,
    columns: Sequence[FileColumn],
    name: str,
    ends_at: EndsAt | None = None,
    told: Callable[[Problem | int], None] | None = None,
) -> Iterator[tuple[Cell, ...]]:
    """The rows of ``sheet`` in the order of the mapping's columns.

    Columns of the file that the mapping does not name are left out, and so are the rows from the
    one that ``ends_at`` speaks of; wholly empty rows, which spreadsheets leave at the end, are
    passed over.

    Args:
        told: is given what is wrong instead of its being raised (rows that cannot be read are
            left out then), and the number of each row that ``ends_at`` leaves out.

    Raises:
        Problem: ``SourceFailed`` with file, row and column: a missing or doubled header, a ragged
            row, a cell that is not of its type, a record below the end of the rows.
    """
    header = [text.strip() for text in sheet.header]
    readers = [_cell_reader(column, header, sheet.header_row, name) for column in columns]
    foot = None
    if ends_at is not None:
        foot = Foot(ends_at, _place(ends_at.header, header, sheet.header_row, name))
    width = len(header)
    for number, row in sheet.rows:
        if not any(map(is_there, row)):
            continue
        try:
            if foot is not None and foot.takes(number, row):
                if len(row) == width and foot.may_be_record(row) and _is_record(readers, row):
                    detail = f"has the form of a record, below the end of the rows ({foot.begun})"
                    raise refuse(f"{name} row {number}", detail)
                if told is not None:
                    told(number)
                continue
            if len(row) != width:
                place = f"{name} row {number} column {min(len(row), width) + 1}"
                raise refuse(place, f"the row has {len(row)} cell(s), the header has {width}")
            found = tuple([read(row, number) for read in readers])
        except Problem as problem:
            if told is None:
                raise
            told(problem)
            continue
        if foot is not None:
            foot.saw(row)
        yield found


def _is_record(readers: Sequence[Callable[[Sequence[Raw], int], Cell]], row: Sequence[Raw]) -> bool:
    try:
        return bool([read(row, 0) for read in readers])
    except Problem:
        return False


def _cell_reader(
    column: FileColumn, header: list[str], header_row: int, name: str
) -> Callable[[Sequence[Raw], int], Cell]:
    index = _place(column.header, header, header_row, name)

    def read(row: Sequence[Raw], number: int) -> Cell:
        try:
            return cell(column, row[index])
        except (Mismatch, ValueError) as error:
            place = f"{name} row {number} column {index + 1} ({column.header})"
            detail = f"the cell is not a value of the type {column.kind}"
            if isinstance(error, Mismatch):
                detail += f": it {error.rule}"
            raise refuse(place, detail) from error

    return read


def _place(title: str, header: list[str], header_row: int, name: str) -> int:
    found = [index for index, text in enumerate(header) if text == title]
    if len(found) != 1:
        number = "no" if not found else "more than one"
        where = f"{name} row {header_row}"
        raise refuse(where, f"{number} column has the header {title!r}")
    return found[0]


def cell(column: FileColumn, value: Raw) -> Cell:
    """``value`` as the column stores it; an empty text is nothing.

    Raises:
        Mismatch: when it is not exactly a value of the column's type.
        ValueError: when a text is not a date of the column's format.
    """
    if isinstance(value, str):
        if value.strip() in column.null_words:
            return None
        return _of_text(column, value if column.kind is Kind.STRING else value.strip())
    if value is None:
        return None
    match column.kind:
        case Kind.STRING:
            return _text_of(value)
        case Kind.DATE:
            return _date_of(value)
        case Kind.INTEGER:
            return _integer_of(value)
        case _:
            return _decimal_of(value)


def _of_text(column: FileColumn, text: str) -> Cell:
    if not text:
        return None
    match column.kind:
        case Kind.STRING:
            return text
        case Kind.DATE if column.format is not None:
            return datetime.strptime(text, column.format).date().isoformat()
        case Kind.DATE:
            return parse_date(text).isoformat()
        case Kind.DECIMAL:
            return _kept_exactly(column.number.plain(text), text)
        case kind:
            return int(parse_plain(kind, column.number.plain(text)))


def _kept_exactly(plain: str, value: Raw) -> str:
    """``plain``, of which NUMERIC affinity makes a 64-bit number or the nearest double.

    Raises:
        Mismatch: when that is another number.
    """
    number = Decimal(plain)
    near = float(number)
    # Programs print doubles with 17 digits (mdbtools does): these are the double, not a decimal.
    same = Decimal(repr(near)) == number or Decimal(f"{near:.17g}") == number
    if not same and not (number == number.to_integral_value() and abs(number) < 1 << 63):
        raise Mismatch("must have at most 15 digits to be kept exactly", value)
    return plain


def _text_of(value: Raw) -> str:
    """A code that was typed into a number's cell is the code: 101 and not 101.0."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < _INTEGRAL_FLOAT:
            return str(int(value))
        case float():
            return repr(value)
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime():
            return value.isoformat(sep=" ")
        case date() | time():
            return value.isoformat()
    return str(value)


def _date_of(value: Raw) -> str:
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    raise Mismatch("must be a date", value)


def _integer_of(value: Raw) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < _INTEGRAL_FLOAT:
        return int(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return _integer_of(int(value))
    raise Mismatch("must be a whole number", value)


def _decimal_of(value: Raw) -> Cell:
    if isinstance(value, Decimal) and value.is_finite():
        return _kept_exactly(format(value, "f"), value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return value
    raise Mismatch("must be a number", value)
