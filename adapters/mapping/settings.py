"""What a mapping says of its source: where it is, what of it may be written, what it may cost."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum

from adapters.fields import PLAIN, Kind, NumberForm


class SourceKind(StrEnum):
    """What kind of thing the records are in."""

    SQL = "sql"
    FILES = "files"


class FileFormat(StrEnum):
    """What a file of a source is: by its name, unless the mapping says it."""

    CSV = "csv"
    WORKBOOK = "workbook"
    DBASE = "dbase"
    ACCESS = "access"


class Wide(StrEnum):
    """What becomes of a statement that would read a large table whole."""

    ALLOW = "allow"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost."""

    max_connections: int = 4
    max_waiting: int = 64
    statement_timeout_s: float = 10.0
    connect_timeout_s: float = 5.0
    max_rows: int = 10_000
    max_bytes: int = 10 << 20
    max_statements_per_hour: int = 0
    large_table_rows: int = 100_000
    failures_before_pause: int = 5
    longest_pause_s: float = 30.0
    reading_wait_s: float = 2.0
    max_request_bytes: int = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FileColumn:
    """One column of a file: its SQL name, the header over it and how it is stored.

    ``number`` is how numbers are written, where cells are texts; ``null_words`` are nothing.
    With ``sounds`` it has a table beside it, ``{table}_{column}_sounds``, of the keys of its names
    (``sound``) and the rows that they are of (``row_no``, the ``rowid`` of the table).
    """

    name: str
    header: str
    kind: Kind = Kind.STRING
    format: str | None = None
    number: NumberForm = PLAIN
    null_words: frozenset[str] = frozenset()
    index: bool = False
    sounds: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndsAt:
    """The first row below the rows of a sheet: its cell under ``header`` is empty or begins so."""

    header: str
    empty: bool = False
    begins_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """One table of a file, read as an SQL table of this name; ``file`` may hold ``${NAME}``.

    ``sheet`` is a sheet of a workbook (without it the first) or a table of an Access database;
    ``encoding`` is None for what the format itself says; ``header_rows`` is the number of rows that
    the headers take.
    """

    name: str
    file: str
    format: FileFormat
    columns: tuple[FileColumn, ...]
    sheet: str | None = None
    header_row: int = 1
    header_rows: int = 1
    ends_at: EndsAt | None = None
    delimiter: str = ","
    encoding: str | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class WritableTable:
    """A table that statements may write: ``key`` is what every UPDATE and DELETE must name."""

    key: tuple[str, ...]
    delete: bool = False


@dataclass(frozen=True, slots=True)
class Writing:
    """The address and account that writes, and what it may write; the ledger is a table, too."""

    url: str
    tables: Map[str, WritableTable]
    max_connections: int = 2
    ledger: str = "saphan_writes"


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where the records are; ``url`` and the keys may hold ``${NAME}`` of the environment.

    ``writing`` is None where nothing may be written; ``zone`` is that in which a day is today.
    """

    kind: SourceKind
    limits: Limits
    url: str = ""
    tables: tuple[FileTable, ...] = ()
    wide_queries: Wide = Wide.WARN
    where: str = ""
    writing: Writing | None = None
    zone: tzinfo | None = None
    mask_key: str = ""
    cursor_key: str = ""
