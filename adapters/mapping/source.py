"""The ``source`` of a mapping file: a database address, or files and their columns."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from pathlib import PurePosixPath
from typing import Any

from adapters.answers.statements import NAME
from adapters.fields import Kind
from adapters.mapping import font_maps
from adapters.mapping.model import (
    FileColumn,
    FileFormat,
    FileTable,
    Limits,
    SourceKind,
    SourceSettings,
    Wide,
)
from adapters.mapping.reader import Node
from adapters.mapping.records import read_zone
from adapters.mapping.writes import WRITING_KEYS, read_writing
from adapters.sources.variables import VARIABLE
from adapters.text import codec

_ENVIRONMENT_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_THOUSANDS = re.compile(r"[,. '\u00a0]")


_WHOLE_LIMITS = {
    "max_connections": (1, 100),
    "max_waiting": (0, 10_000),
    "max_rows": (1, 10_000),
    "max_bytes": (1_000, 1 << 30),
    "max_request_bytes": (1_000, 1 << 20),
    "max_statements_per_hour": (0, 10**9),
    "large_table_rows": (1, 10**12),
    "failures_before_pause": (0, 1_000),
}
_SECONDS = {
    "statement_timeout_s": (0.05, 600),
    "connect_timeout_s": (0.05, 600),
    "longest_pause_s": (1, 600),
    "reading_wait_s": (0, 600),
}
LIMITS = (*_WHOLE_LIMITS, *_SECONDS)


def read_source(node: Node) -> SourceSettings:
    found = node.members(
        ("kind",),
        (
            "url",
            "url_env",
            "tables",
            "wide_queries",
            "zone",
            "mask_key",
            "cursor_key",
            *WRITING_KEYS,
            *LIMITS,
        ),
    )
    kind = found["kind"].choice(SourceKind)
    wanted = ("url", "url_env") if kind is SourceKind.SQL else ("tables",)
    for key in ("url", "url_env", "tables"):
        if key in found and key not in wanted:
            found[key].refuse(f"has no meaning for a source of the kind {kind}")
    if kind is not SourceKind.SQL and "writes" in found:
        found["writes"].refuse("files are only read")
    given = [key for key in wanted if key in found]
    if len(given) != 1:
        node.refuse(f"exactly one of the keys {' and '.join(wanted)} is needed")
    url = ""
    if "url" in found:
        url = found["url"].text()
    elif "url_env" in found:
        url = "${" + found["url_env"].text(_ENVIRONMENT_NAME) + "}"
    tables = tuple(
        _file_table(name, child)
        for name, child in (found["tables"].entries() if "tables" in found else {}).items()
    )
    return SourceSettings(
        kind,
        read_limits(found),
        url,
        tables,
        found["wide_queries"].choice(Wide) if "wide_queries" in found else Wide.WARN,
        node.where,
        zone=read_zone(found["zone"]) if "zone" in found else None,
        mask_key=read_key(found["mask_key"]) if "mask_key" in found else "",
        cursor_key=read_key(found["cursor_key"]) if "cursor_key" in found else "",
        writing=read_writing(found, _ENVIRONMENT_NAME),
    )


def read_key(node: Node) -> str:
    """``mask_key`` or ``cursor_key``: one in clear would be in every copy of the mapping."""
    text = node.text(longest=200)
    if not VARIABLE.fullmatch(text):
        node.refuse("must be a name of the environment, such as ${REGISTER_KEY}")
    return text


def read_limits(found: Map[str, Node]) -> Limits:
    """The limits among the keys of a source."""
    given: dict[str, Any] = {}
    for key, (low, high) in _WHOLE_LIMITS.items():
        if key in found:
            given[key] = found[key].integer(low, high)
    for key, bounds in _SECONDS.items():
        if key in found:
            given[key] = found[key].number(*bounds)
    return Limits(**given)


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
# The keys that each format understands, besides those of every table.
_FORMAT_KEYS: dict[FileFormat, tuple[str, ...]] = {
    FileFormat.CSV: ("delimiter", "encoding", "header_row"),
    FileFormat.WORKBOOK: ("sheet", "header_row"),
    FileFormat.DBASE: ("encoding",),
    FileFormat.ACCESS: ("sheet", "encoding"),
}


def _file_table(name: str, node: Node) -> FileTable:
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
        delimiter=_delimiter(found.get("delimiter")),
        encoding=_encoding(found.get("encoding"), kind),
        where=node.where,
    )


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
    found = node.members(("header",), ("type", "format", "thousands", "index", "sounds"))
    kind = found["type"].choice(Kind) if "type" in found else Kind.STRING
    if kind not in _COLUMN_KINDS:
        found["type"].refuse(f"a column is stored as one of: {', '.join(_COLUMN_KINDS)}")
    if "format" in found and kind is not Kind.DATE:
        found["format"].refuse("only a date has a format")
    if "sounds" in found and kind is not Kind.STRING:
        found["sounds"].refuse("only a text sounds like a name")
    if "thousands" in found and kind not in (Kind.INTEGER, Kind.DECIMAL):
        found["thousands"].refuse("only a number has a sign between thousands")
    return FileColumn(
        name=name,
        header=found["header"].text(longest=200),
        kind=kind,
        format=found["format"].text(longest=40) if "format" in found else None,
        thousands=found["thousands"].text(_THOUSANDS) if "thousands" in found else "",
        index=found["index"].boolean() if "index" in found else False,
        sounds=found["sounds"].boolean() if "sounds" in found else False,
        where=node.where,
    )
