"""What of a source has changed since its mapping was written.

The tables and columns that the queries name (by sqlglot) are compared with those that are there,
and sampled values with what the fields understand. A change *breaks* when the mapping needs what
has gone or changed; what is only new does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

from adapters.answers.rows import RecordWriter
from adapters.findings import Drift
from adapters.mapping.model import FileTable, Query, SourceKind
from adapters.mapping.model import Mapping as Map
from adapters.scan import database, files
from adapters.scan.found import FoundTable
from adapters.sources.addresses import parse_url
from adapters.sources.guard import DIALECTS
from adapters.sources.variables import VARIABLE, resolve
from exchange.problems import Problem


def compare(mapping: Map, environ: Mapping[str, str], folder: Path) -> list[Drift]:
    """The changes in the source of ``mapping``; ``folder`` is the mapping file's.

    Raises:
        Problem: as a scan does; ``InvalidMapping`` for a missing ``${NAME}``.
    """
    if mapping.source.kind is SourceKind.FILES:
        return [one for table in mapping.source.tables for one in of_file(table, environ, folder)]
    address = resolve(mapping.source.url, environ, mapping.source.where)
    dialect = parse_url(address, mapping.source.where).get_backend_name()
    # As for the adapter: a path from the environment is relative to where the process runs.
    base = Path() if VARIABLE.search(mapping.source.url) else folder
    tables = {table.name.lower(): table for table in database.find_tables(address, base)}
    used = _Used(tables)
    found = [one for query in mapping.queries.values() for one in used.read(query, dialect)]
    found += used.new()
    return list(dict.fromkeys(found))


class _Used:
    """What the queries name, against what is there."""

    def __init__(self, tables: Mapping[str, FoundTable]) -> None:
        self._tables = tables
        self._columns: dict[str, set[str]] = {}

    def read(self, query: Query, dialect: str) -> Iterator[Drift]:
        """What ``query`` needs and is not there, or is no longer understood."""
        tree = sqlglot.parse_one(query.select.sql, dialect=DIALECTS[dialect])
        inner = {one.alias.lower() for one in tree.find_all(exp.CTE)}
        named = {}
        for table in tree.find_all(exp.Table):
            name = table.name.lower()
            if name in inner or not name:
                continue
            found = self._tables.get(name)
            if found is None:
                words = f"is gone, and the query {query.name} reads it"
                yield Drift(table.name, words, breaks=True)
            else:
                named[table.alias_or_name.lower()] = found
                self._columns.setdefault(name, set())
        yield from self._read_columns(query, tree, named)
        if len(named) == 1 and tree.find(exp.Group, exp.SetOperation, exp.CTE) is None:
            yield from self._judge(query, tree, next(iter(named.values())))

    def _read_columns(
        self, query: Query, tree: exp.Expr, named: Mapping[str, FoundTable]
    ) -> Iterator[Drift]:
        given = {one.alias.lower() for one in tree.find_all(exp.Alias)}
        given |= {one.alias.lower() for one in tree.find_all(exp.Subquery, exp.CTE) if one.alias}
        whole = tree.find(exp.Star) is not None
        for table in named.values():
            if whole:
                self._columns[table.name.lower()] |= {one.name.lower() for one in table.columns}
        for column in tree.find_all(exp.Column):
            name, owner = column.name.lower(), column.table.lower()
            owners = [named[owner]] if owner in named else list(named.values())
            if owner and owner not in named:
                continue  # a column of an inner query
            holders = [one for one in owners if name in {each.name.lower() for each in one.columns}]
            for holder in holders:
                self._columns[holder.name.lower()].add(name)
            if not holders and name not in given and len(owners) == len(named) == 1:
                place = f"{owners[0].name}.{column.name}"
                yield Drift(place, f"is gone, and the query {query.name} reads it", breaks=True)

    def _judge(self, query: Query, tree: exp.Expr, table: FoundTable) -> Iterator[Drift]:
        """Whether the fields still understand the sampled values of one table's plain columns."""
        indexes = {column.name.lower(): index for index, column in enumerate(table.columns)}
        shown = {column.name.lower(): column.name.lower() for column in table.columns}
        for one in tree.find_all(exp.Alias):
            shown.pop(one.alias.lower(), None)  # what is made of a column is not judged by it
            if isinstance(one.this, exp.Column):
                shown[one.alias.lower()] = one.this.name.lower()
        for field in query.record.known:
            column = shown.get(field.column.lower())
            if column is None or column not in indexes:
                continue
            writer = RecordWriter(replace(query.record, fields=(field,), nested=()))
            values = table.values(indexes[column])
            wrong = [problem for value in values if (problem := _misfit(writer, value))]
            if wrong:
                words = f"{len(wrong)} of {len(values)} sampled values: {wrong[0]}"
                yield Drift(f"{table.name}.{column}", words, breaks=True)

    def new(self) -> Iterator[Drift]:
        """What no query reads."""
        for name, table in self._tables.items():
            if name not in self._columns:
                yield Drift(table.name, "no query reads this table", breaks=False)
                continue
            for column in table.columns:
                if column.name.lower() not in self._columns[name]:
                    words = f"no query reads this column ({column.type})"
                    yield Drift(f"{table.name}.{column.name}", words, breaks=False)


def _misfit(writer: RecordWriter, value: Any) -> str:
    try:
        writer.build([value], [0], "")
    except Problem as problem:
        return str(problem.facts["rule"])
    return ""


def of_file(table: FileTable, environ: Mapping[str, str], folder: Path) -> Iterator[Drift]:
    """The headers of a file that are gone, and those that the mapping does not name."""
    path = folder / resolve(table.file, environ, table.where)
    try:
        columns = files.find_columns(path, table)
    except Problem as problem:
        yield Drift(problem.where, problem.detail, breaks=True)
        return
    wanted = {column.header for column in table.columns}
    for column in table.columns:
        if column.header not in columns:
            yield Drift(f"{path.name} {column.header}", "the header is gone", breaks=True)
    for header in columns:
        if header not in wanted:
            yield Drift(f"{path.name} {header}", "the mapping does not name it", breaks=False)
