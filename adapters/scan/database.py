"""The tables of a database, found in a read-only session through SQLAlchemy's inspector."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Enum, inspect, literal_column, quoted_name, select, text
from sqlalchemy import exc as sqlalchemy_exc
from sqlalchemy import table as named_table
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import Inspector

from adapters.mapping.model import Limits
from adapters.scan.found import MAX_TABLES, SAMPLE_ROWS, FoundColumn, FoundTable, Reference
from adapters.sources.addresses import parse_url
from adapters.sources.failures import problem_of
from adapters.sources.sessions import limit_time, open_server
from adapters.sources.sqlite import SqliteFile, open_sqlite
from exchange.problems import Code, Problem

_AS_TEXT = {
    "sqlite": "CAST({} AS TEXT)",
    "postgresql": "CAST({} AS text)",
    "mariadb": "CAST({} AS CHAR)",
}
_VIEW_COLUMNS = text(
    "SELECT column_name, column_type, is_nullable, column_comment FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND table_name = :name ORDER BY ordinal_position"
)
LIMITS = Limits(max_connections=1, statement_timeout_s=30.0)


def find_tables(
    address: str,
    folder: Path,
    only: Sequence[str] = (),
    progress: Callable[[int], None] = lambda count: None,
) -> list[FoundTable]:
    """The tables and views of the database at ``address``, in the order of their names.

    Args:
        address: a database address with its password; a SQLite path is relative to ``folder``.
        only: names of tables; without them all.
        progress: called with 1 after each table.

    Raises:
        Problem: ``InvalidMapping`` for an address that cannot be one; ``SourceFailed`` when the
            database cannot be reached or read; ``NotFound`` for a table that is not there.
    """
    url = parse_url(address, "source")
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        file = folder / (url.database or "")
        if not file.is_file():
            detail = f"there is no file {file}"
            if not url.database:
                detail = "names no file: three strokes stand before it, sqlite:///library.db"
            raise Problem(Code.SOURCE_FAILED, where="source", detail=detail, retryable=False)
        engine: Engine = open_sqlite(SqliteFile(file), LIMITS)
    else:
        engine = open_server(url, LIMITS)
    try:
        with warnings.catch_warnings(), engine.connect() as connection:
            # A type that SQLAlchemy does not know is a doubt of the column's.
            warnings.simplefilter("ignore", sqlalchemy_exc.SAWarning)
            return list(_tables(connection, only, progress))
    except sqlalchemy_exc.SQLAlchemyError as error:
        problem = problem_of(error, dialect)
        detail = f"{problem.detail}: {_words(error)}"
        raise Problem(problem.code, where="source", detail=detail) from error
    finally:
        engine.dispose()


def _words(error: Exception) -> str:
    """The driver's own, which the operator may read at the terminal."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def _tables(
    connection: Connection, only: Sequence[str], progress: Callable[[int], None]
) -> Iterator[FoundTable]:
    inspector = inspect(connection)
    names = sorted({*inspector.get_table_names(), *inspector.get_view_names()})
    for name in only:
        if name not in names:
            detail = f"there is no table {name!r}; there are: {', '.join(names[:30])}"
            raise Problem(Code.NOT_FOUND, where="source", detail=detail)
    wanted = [name for name in names if not only or name in only]
    if len(wanted) > MAX_TABLES:
        detail = f"there are {len(wanted)} tables; name those to show (at most {MAX_TABLES})"
        raise Problem(Code.INVALID_USAGE, where="--table", detail=detail)
    for name in wanted:
        yield _read(connection, inspector, name)
        progress(1)


def _read(connection: Connection, inspector: Inspector, name: str) -> FoundTable:
    """The table, or why it is not shown: one that is broken does not keep the others back."""
    try:
        return _with_samples(connection, _table(connection, inspector, name))
    except sqlalchemy_exc.SQLAlchemyError as error:
        if getattr(error, "connection_invalidated", False):
            raise
        connection.rollback()
        return FoundTable(name=name, columns=(), unread=_words(error))


def _table(connection: Connection, inspector: Inspector, name: str) -> FoundTable:
    if connection.dialect.name in ("mariadb", "mysql") and name in inspector.get_view_names():
        view = _view_of_mariadb(connection, name)
        if view.columns:  # one that is broken has none
            return view
    columns = inspector.get_columns(name)
    indexes = inspector.get_indexes(name)
    key = tuple(inspector.get_pk_constraint(name)["constrained_columns"])
    indexed = {index["column_names"][0] for index in indexes if index["column_names"]}
    return FoundTable(
        name=name,
        columns=tuple(_column(column) for column in columns),
        key=key or _unique(inspector, name, columns),
        indexed=frozenset({*filter(None, indexed), *key[:1]}),
        refers=tuple(
            Reference(
                one["constrained_columns"][0], one["referred_table"], one["referred_columns"][0]
            )
            for one in inspector.get_foreign_keys(name)
            if len(one["constrained_columns"]) == 1 and one["referred_columns"]
        ),
        comment=_comment(inspector, name),
        as_text=_AS_TEXT.get(connection.dialect.name, ""),
    )


def _view_of_mariadb(connection: Connection, name: str) -> FoundTable:
    """A view, by its columns alone: its definition is not shown to who may only SELECT."""
    found = connection.execute(_VIEW_COLUMNS, {"name": name}).all()
    return FoundTable(
        name=name,
        columns=tuple(
            FoundColumn(column, str(kind).upper(), nullable == "YES", comment or "")
            for column, kind, nullable, comment in found
        ),
        as_text=_AS_TEXT["mariadb"],
    )


def _column(column: ReflectedColumn) -> FoundColumn:
    try:
        kind = "ENUM" if isinstance(column["type"], Enum) else str(column["type"])
    except sqlalchemy_exc.SQLAlchemyError:  # a type that SQLAlchemy cannot write
        kind = type(column["type"]).__name__
    return FoundColumn(column["name"], kind, column["nullable"], column.get("comment") or "")


def _unique(inspector: Inspector, name: str, columns: Sequence[ReflectedColumn]) -> tuple[str, ...]:
    needed = {column["name"] for column in columns if not column["nullable"]}
    found: list[list[str | None]] = [
        one["column_names"] for one in inspector.get_indexes(name) if one["unique"]
    ]
    found += [[*one["column_names"]] for one in inspector.get_unique_constraints(name)]
    for names in sorted(found, key=len):
        if names and all(one in needed for one in names):
            return tuple(str(one) for one in names)
    return ()


def _comment(inspector: Inspector, name: str) -> str:
    try:
        return str(inspector.get_table_comment(name)["text"] or "")
    except (NotImplementedError, sqlalchemy_exc.SQLAlchemyError):
        return ""  # SQLite has none


def _with_samples(connection: Connection, table: FoundTable) -> FoundTable:
    """The table with a few rows.

    Where they cannot be read, columns are read one by one: one that the driver has no value for
    (an infinite date) as text, if the database can; one that fails even so without values. Nothing
    is known of a table of which no column can be read.
    """
    limit_time(connection, LIMITS.statement_timeout_s)
    names = [_quoted(connection, column.name) for column in table.columns]
    if not names:
        return table
    rows = _rows(connection, names, table)
    if not isinstance(rows, str):
        return replace(table, samples=rows)
    columns: list[FoundColumn] = []
    values: list[Sequence[Any]] = []
    for column, name in zip(table.columns, names, strict=True):
        seen, failed = _rows(connection, [name], table), ""
        if isinstance(seen, str):
            failed = seen
            text_of = table.as_text.replace("{}", name)
            seen = _rows(connection, [text_of], table) if text_of else failed
        columns.append(replace(column, unread=failed))
        values.append([] if isinstance(seen, str) else [row[0] for row in seen])
    if not any(values):
        return replace(table, columns=(), unread=rows)
    samples = list(zip_longest(*values))
    return replace(table, columns=tuple(columns), samples=samples)


def _quoted(connection: Connection, name: str) -> str:
    """The name as SQL writes it; what stands for a driver's parameter is not written twice yet."""
    sign = connection.dialect.identifier_preparer.final_quote
    return f"{sign}{name.replace(sign, 2 * sign)}{sign}"


def _rows(connection: Connection, names: Sequence[str], table: FoundTable) -> list[Any] | str:
    """A few rows of these columns, or why there are none."""
    columns: list[Any] = [literal_column(name) for name in names]
    source = named_table(quoted_name(table.name, quote=True))
    every = select(*columns).select_from(source).limit(SAMPLE_ROWS)
    try:
        return [tuple(row) for row in connection.execute(every)]
    except (sqlalchemy_exc.SQLAlchemyError, ValueError, OverflowError) as error:
        if getattr(error, "connection_invalidated", False):
            raise
        connection.rollback()
        return _words(error)
