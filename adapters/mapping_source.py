"""The ``source`` of a mapping file: a database address, or spreadsheets and their columns."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from typing import Any

from adapters.fields import Kind
from adapters.mapping import CsvColumn, CsvTable, Limits, SourceKind, SourceSettings
from adapters.reader import Node
from adapters.statements import NAME

_ENVIRONMENT_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_THOUSANDS = re.compile(r"[,. '\u00a0]")


_LIMITS = ("max_connections", "max_waiting", "statement_timeout_s", "connect_timeout_s",
           "max_rows", "max_bytes")  # fmt: skip


def read_source(node: Node) -> SourceSettings:
    found = node.members(("kind",), ("url", "url_env", "tables", *_LIMITS))
    kind = found["kind"].choice(SourceKind)
    wanted = ("url", "url_env") if kind is SourceKind.SQL else ("tables",)
    for key in ("url", "url_env", "tables"):
        if key in found and key not in wanted:
            found[key].refuse(f"has no meaning for a source of the kind {kind}")
    given = [key for key in wanted if key in found]
    if len(given) != 1:
        node.refuse(f"exactly one of the keys {' and '.join(wanted)} is needed")
    url = ""
    if "url" in found:
        url = found["url"].text()
    elif "url_env" in found:
        url = "${" + found["url_env"].text(_ENVIRONMENT_NAME) + "}"
    tables = tuple(
        _csv_table(name, child)
        for name, child in (found["tables"].entries() if "tables" in found else {}).items()
    )
    return SourceSettings(kind, _limits(found), url, tables, node.where)


def _limits(found: Map[str, Node]) -> Limits:
    given: dict[str, Any] = {}
    for key, low, high in (
        ("max_connections", 1, 100),
        ("max_waiting", 0, 10_000),
        ("max_rows", 1, 10_000),
        ("max_bytes", 1_000, 1 << 30),
    ):
        if key in found:
            given[key] = found[key].integer(low, high)
    for key in ("statement_timeout_s", "connect_timeout_s"):
        if key in found:
            given[key] = found[key].number(0.05, 600)
    return Limits(**given)


def _csv_table(name: str, node: Node) -> CsvTable:
    found = node.members(("file", "columns"), ("delimiter", "encoding"))
    if not NAME.fullmatch(name):
        node.refuse(f"{name!r} is not a name for an SQL table")
    encoding = found["encoding"].text(longest=40) if "encoding" in found else "utf-8-sig"
    try:
        "".encode(encoding)
    except LookupError:
        found["encoding"].refuse(f"{encoding!r} is not an encoding that is known here")
    delimiter = found["delimiter"].text() if "delimiter" in found else ","
    if delimiter == "tab":
        delimiter = "\t"
    if len(delimiter) != 1 or delimiter in '"\r\n':
        found["delimiter"].refuse("must be one sign, or the word tab")
    columns = tuple(
        _csv_column(column, child) for column, child in found["columns"].entries().items()
    )
    if not columns:
        found["columns"].refuse("at least one column is needed")
    headers = [column.header for column in columns]
    for header in headers:
        if headers.count(header) > 1:
            found["columns"].refuse(f"two columns stand under the header {header!r}")
    return CsvTable(name, found["file"].text(), delimiter, encoding, columns, node.where)


_CSV_KINDS = (Kind.STRING, Kind.INTEGER, Kind.DECIMAL, Kind.DATE)


def _csv_column(name: str, node: Node) -> CsvColumn:
    if not NAME.fullmatch(name):
        node.refuse(f"{name!r} is not a name for an SQL column")
    if node.is_scalar:
        return CsvColumn(name, node.text(longest=200), Kind.STRING, where=node.where)
    found = node.members(("header",), ("type", "format", "thousands"))
    kind = found["type"].choice(Kind) if "type" in found else Kind.STRING
    if kind not in _CSV_KINDS:
        found["type"].refuse(f"a column is stored as one of: {', '.join(_CSV_KINDS)}")
    if "format" in found and kind is not Kind.DATE:
        found["format"].refuse("only a date has a format")
    if "thousands" in found and kind not in (Kind.INTEGER, Kind.DECIMAL):
        found["thousands"].refuse("only a number has a sign between thousands")
    return CsvColumn(
        name,
        found["header"].text(longest=200),
        kind,
        found["format"].text(longest=40) if "format" in found else None,
        found["thousands"].text(_THOUSANDS) if "thousands" in found else "",
        node.where,
    )
