"""The ``tables`` of a mapping file: files, their form and their columns."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from pathlib import PurePosixPath

from adapters.answers.statements import NAME
from adapters.fields import PLAIN, Kind, Negative, NumberForm
from adapters.mapping import font_maps
from adapters.mapping.model import EndsAt, FileColumn, FileFormat, FileTable
from adapters.mapping.reader import Node
from adapters.mapping.records import words_of
from adapters.text import codec

_THOUSANDS = re.compile(r"[,. '\u00a0\u202f]")
_DECIMAL_SIGN = re.compile(r"[.,]")
_UNIT_WORD = re.compile(r"[^\d\s()+\-.,'](?:[^\d()+\-]{0,28}[^\d\s()+\-,'])?")
_WORD = re.compile(r"\S(.*\S)?")
_OF_NUMBERS = ("thousands", "decimal_sign", "negative", "unit_words")

SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".txt": FileFormat.CSV,
    ".xlsx": FileFormat.WORKBOOK,
    ".xlsm": FileFormat.WORKBOOK,
    ".xlsb": FileFormat.WORKBOOK,
    ".xls": FileFormat.WORKBOOK,
    ".ods": FileFormat.WORKBOOK,
    ".dbf": FileFormat.DBASE,
    ".mdb": FileFormat.ACCESS,
    ".accdb": FileFormat.ACCESS,
}
_LAYOUT = ("header_row", "header_rows", "ends_at")
# The keys that each format understands, besides those of every table.
_FORMAT_KEYS: dict[FileFormat, tuple[str, ...]] = {
    FileFormat.CSV: ("delimiter", "encoding", *_LAYOUT),
    FileFormat.WORKBOOK: ("sheet", *_LAYOUT),
    FileFormat.DBASE: ("encoding",),
    FileFormat.ACCESS: ("sheet", "encoding"),
}


def read_file_table(name: str, node: Node) -> FileTable:
    """A table that a file holds, with the keys that its format has."""
    every = sorted({key for keys in _FORMAT_KEYS.values() for key in keys})
    found = node.members(("file", "columns"), ("format", *every))
    if not NAME.fullmatch(name):
        node.refuse(f"{name!r} is not a name for an SQL table")
    file = found["file"].text()
    kind = _format(found, file)
    for key in every:
        if key in found and key not in _FORMAT_KEYS[kind]:
            found[key].refuse(f"has no meaning for a file of the format {kind}")
    if kind is FileFormat.ACCESS and "sheet" not in found:
        node.refuse("the key 'sheet' is missing: the table of the database")
    return FileTable(
        name=name,
        file=file,
        format=kind,
        columns=_columns(found["columns"]),
        sheet=found["sheet"].text(longest=200) if "sheet" in found else None,
        header_row=found["header_row"].integer(1, 1_000) if "header_row" in found else 1,
        header_rows=found["header_rows"].integer(1, 3) if "header_rows" in found else 1,
        ends_at=_ends_at(found["ends_at"]) if "ends_at" in found else None,
        delimiter=_delimiter(found.get("delimiter")),
        encoding=_encoding(found.get("encoding"), kind),
        where=node.where,
    )


def _ends_at(node: Node) -> EndsAt:
    found = node.members(("header",), ("empty", "begins_with"))
    words = found["begins_with"].items() if "begins_with" in found else ()
    begins_with = tuple(word.text(_WORD, longest=100) for word in words)
    empty = found["empty"].boolean() if "empty" in found else False
    if not (empty or begins_with):
        node.refuse("one of the keys empty (true) and begins_with is needed")
    return EndsAt(header=found["header"].text(longest=200), empty=empty, begins_with=begins_with)


def _format(found: Map[str, Node], file: str) -> FileFormat:
    if "format" in found:
        return found["format"].choice(FileFormat)
    kind = SUFFIXES.get(PurePosixPath(file).suffix.lower())
    if kind is None:
        known = ", ".join(SUFFIXES)
        found["file"].refuse(f"does not end as a known file does ({known}): add the key 'format'")
    return kind


def _encoding(node: Node | None, kind: FileFormat) -> str | None:
    if node is None:
        return None
    encoding = node.text(longest=200)
    codec.register()  # the encodings of Lao fonts are none of Python's own
    if encoding.endswith(font_maps.SUFFIXES):
        table = font_maps.encoding_of(node).table
        if kind is FileFormat.ACCESS or table is None or table.low or encoding != table.file:
            node.refuse("a font map cannot be that of the whole file here: say 'decode' of fields")
        return codec.add(table)
    try:
        "".encode(encoding)
    except LookupError:
        node.refuse(f"{encoding!r} is not an encoding that is known here")
    return encoding


def _delimiter(node: Node | None) -> str:
    if node is None:
        return ","
    delimiter = "\t" if node.text() == "tab" else node.text()
    if len(delimiter) != 1 or delimiter in '"\r\n':
        node.refuse("must be one sign, or the word tab")
    return delimiter


def _columns(node: Node) -> tuple[FileColumn, ...]:
    columns = tuple(_column(name, child) for name, child in node.entries().items())
    if not columns:
        node.refuse("at least one column is needed")
    headers = [column.header for column in columns]
    for header in headers:
        if headers.count(header) > 1:
            node.refuse(f"two columns stand under the header {header!r}")
    return columns


_COLUMN_KINDS = (Kind.STRING, Kind.INTEGER, Kind.DECIMAL, Kind.DATE)


def _column(name: str, node: Node) -> FileColumn:
    if not NAME.fullmatch(name):
        node.refuse(f"{name!r} is not a name for an SQL column")
    if node.is_scalar:
        return FileColumn(name=name, header=node.text(longest=200), where=node.where)
    more = ("type", "format", *_OF_NUMBERS, "null_words", "index", "sounds")
    found = node.members(("header",), more)
    kind = found["type"].choice(Kind) if "type" in found else Kind.STRING
    if kind not in _COLUMN_KINDS:
        found["type"].refuse(f"a column is stored as one of: {', '.join(_COLUMN_KINDS)}")
    if "format" in found and kind is not Kind.DATE:
        found["format"].refuse("only a date has a format")
    if "sounds" in found and kind is not Kind.STRING:
        found["sounds"].refuse("only a text sounds like a name")
    for key in _OF_NUMBERS:
        if key in found and kind not in (Kind.INTEGER, Kind.DECIMAL):
            found[key].refuse("only a number is written so")
    return FileColumn(
        name=name,
        header=found["header"].text(longest=200),
        kind=kind,
        format=found["format"].text(longest=40) if "format" in found else None,
        number=_number(found),
        null_words=words_of(found.get("null_words")),
        index=found["index"].boolean() if "index" in found else False,
        sounds=found["sounds"].boolean() if "sounds" in found else False,
        where=node.where,
    )


def _number(found: Map[str, Node]) -> NumberForm:
    if not any(key in found for key in _OF_NUMBERS):
        return PLAIN
    thousands = found["thousands"].text(_THOUSANDS) if "thousands" in found else ""
    decimal_sign = "," if thousands == "." else "."
    if "decimal_sign" in found:
        decimal_sign = found["decimal_sign"].text(_DECIMAL_SIGN)
        if decimal_sign == thousands:
            found["decimal_sign"].refuse("is the sign between thousands, too")
    words = found["unit_words"].items() if "unit_words" in found else ()
    return NumberForm(
        thousands,
        decimal_sign,
        found["negative"].choice(Negative) if "negative" in found else Negative.SIGN,
        tuple(word.text(_UNIT_WORD, longest=30) for word in words),
    )
