"""Tables of exchanges (Parquet, a file a month), made from the entries of a journal by DuckDB.

They are derived: made anew from the bundles when the folder is deleted. A row is one exchange as
one side recorded it: its request and what came of it, paired by message id, client and service. It
has no message id, no trace and no subject: whom it was about cannot be asked of the tables.
What servers counted by statistics fields (:mod:`mediator.message.counting`) is a table of its own.

Invariants:
- ``tables.json`` names the files that count and how many entries are in them; it is replaced last,
  so that a crash leaves the tables of before, and files that nobody reads;
- an exchange whose end is not recorded yet is a row with the outcome ``open``, which has the id it
  will be paired by; it is looked at again for a day;
- memory is bounded (:data:`MEMORY`): DuckDB writes to the folder what does not fit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import orjson

from exchange.documents import format_document
from exchange.problems import Code, Problem
from mediator.journal.reader import JournalReader
from serving.log.tiles import TileFolder

FOLDER: Final = "statistics"
STATE: Final = "tables.json"
MEMORY: Final = "256MB"
CHUNK: Final = 262_144
RUN: Final = 64 * CHUNK
"""So many entries at most go into the files at once."""
_COUNTS: Final = "counts"
_CARRIED: Final = "INTERVAL 1 DAY"

Progress = Callable[[str, int, int], None]

_ENTRY: Final = {
    "n": "UBIGINT",
    "at": "TIMESTAMP",
    "kind": "VARCHAR",
    "side": "VARCHAR",
    "id": "VARCHAR",
    "client": "VARCHAR",
    "service": "VARCHAR",
    "endpoint": "VARCHAR",
    "purpose": "VARCHAR",
    "agreement": "VARCHAR",
    "status": "USMALLINT",
    "problem": "VARCHAR",
    "size": "UBIGINT",
    "event": "VARCHAR",
    "statistics": 'STRUCT(field VARCHAR, "from" DATE, until DATE, part UBIGINT, '
    "counts MAP(VARCHAR, UBIGINT))",
}
_COLUMNS: Final = """
    n, begun, side, id, organisation, partner, client, service, endpoint, purpose, agreement,
    outcome, status, problem, request_bytes, answer_bytes, latency_ms"""

# What follows a request of the same message, if it is its end; what stands alone is a refusal.
_PAIR: Final = """
CREATE OR REPLACE TEMP TABLE paired AS
WITH ordered AS (
  SELECT *, kind = 'request' AS asks,
    lag(kind) OVER same = 'request' AS asked,
    lead(kind) OVER same <> 'request' AS ends,
    lead({'begun': begun, 'kind': kind, 'endpoint': endpoint, 'agreement': agreement,
      'status': status, 'problem': problem, 'size': size}) OVER same AS ending
  FROM fresh
  WINDOW same AS (PARTITION BY side, coalesce(id, n::VARCHAR), client, service ORDER BY n)
), whole AS (
  SELECT n, begun, side, id, client, service, purpose, asks, size AS request_bytes,
    CASE WHEN ends THEN ending END AS ending, endpoint, agreement
  FROM ordered WHERE asks
  UNION ALL
  SELECT n, begun, side, id, client, service, purpose, asks, NULL,
    {'begun': begun, 'kind': kind, 'endpoint': endpoint, 'agreement': agreement, 'status': status,
      'problem': problem, 'size': size}, endpoint, agreement
  FROM ordered WHERE NOT asks AND asked IS DISTINCT FROM true
)
SELECT n, begun, side, CASE WHEN ending IS NULL THEN id END AS id,
  CASE side WHEN 'consumer' THEN member_of(client) ELSE member_of(service) END AS organisation,
  CASE side WHEN 'consumer' THEN member_of(service) ELSE member_of(client) END AS partner,
  client, service,
  coalesce(ending.endpoint, endpoint) AS endpoint, purpose,
  coalesce(ending.agreement, agreement) AS agreement,
  CASE
    WHEN ending IS NULL THEN 'open'
    WHEN ending.kind = 'refusal' THEN 'refused'
    WHEN ending.kind = 'failure' OR ending.problem IS NOT NULL OR ending.status >= 500 THEN 'failed'
    ELSE 'answered'
  END AS outcome,
  ending.status AS status, ending.problem AS problem, request_bytes, ending.size AS answer_bytes,
  CASE WHEN asks THEN epoch_ms(ending.begun) - epoch_ms(begun) END::INTEGER AS latency_ms
FROM whole"""

_MEMBER_OF: Final = """CREATE TEMP MACRO member_of(identifier) AS
  array_to_string(string_split(identifier, '/')[1:3], '/')"""
_EMPTY: Final = """SELECT NULL::UBIGINT AS n, NULL::TIMESTAMP AS begun, NULL::VARCHAR AS side,
  NULL::VARCHAR AS id, NULL::VARCHAR AS organisation, NULL::VARCHAR AS partner,
  NULL::VARCHAR AS client, NULL::VARCHAR AS service, NULL::VARCHAR AS endpoint,
  NULL::VARCHAR AS purpose, NULL::VARCHAR AS agreement, NULL::VARCHAR AS outcome,
  NULL::USMALLINT AS status, NULL::VARCHAR AS problem, NULL::UBIGINT AS request_bytes,
  NULL::UBIGINT AS answer_bytes, NULL::INTEGER AS latency_ms WHERE false"""
_COUNTED: Final = """
SELECT n, member_of(service) AS organisation, service, purpose, statistics.field AS field,
  statistics."from" AS first_day, statistics.until AS last_day, statistics.part AS part,
  unnest(map_keys(statistics.counts)) AS value, unnest(map_values(statistics.counts)) AS counted
FROM fresh WHERE event = 'statistics' AND statistics IS NOT NULL"""
_NOTHING_COUNTED: Final = """SELECT NULL::UBIGINT AS n, NULL::VARCHAR AS organisation,
  NULL::VARCHAR AS service, NULL::VARCHAR AS purpose, NULL::VARCHAR AS field,
  NULL::DATE AS first_day, NULL::DATE AS last_day, NULL::UBIGINT AS part, NULL::VARCHAR AS value,
  NULL::UBIGINT AS counted WHERE false"""


@dataclass(frozen=True, slots=True)
class Tables:
    """What ``tables.json`` says: whose tables, up to which entry, in which files."""

    origin: str
    entries: int = 0
    files: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, origin: str) -> Self:
        """The tables in a folder; none when there are none, or they are not of this log."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document = orjson.loads((folder / STATE).read_bytes())
            files = tuple(map(str, document["files"]))
            if document["origin"] == origin and all((folder / name).is_file() for name in files):
                return cls(origin, int(document["entries"]), files)
        return cls(origin)

    def __bytes__(self) -> bytes:
        return format_document(
            {"entries": self.entries, "files": list(self.files), "origin": self.origin}
        )


@contextlib.contextmanager
def connection(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with bounded memory, two threads, no network, and ``folder`` for what does not fit.

    Raises:
        Problem: ``JournalCorrupt`` when a table cannot be read; OSError when the disk failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "memory_limit": MEMORY,
        "threads": 2,
        "temp_directory": str(folder / "draft.tmp"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    try:
        with duckdb.connect(":memory:", config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(_MEMBER_OF)
            yield connection
    except duckdb.IOException as error:
        raise OSError(f"{folder}: {error}") from error
    except duckdb.Error as error:
        raise Problem(
            Code.JOURNAL_CORRUPT,
            where=str(folder),
            detail=f"the tables cannot be made or read; delete the folder, and they are made anew: "
            f"{str(error)[:300]}",
        ) from error


def catch_up(
    journal: JournalReader, folder: Path, progress: Progress = lambda what, done, total: None
) -> Tables:
    """Bring the tables in a folder up to the published size.

    Raises:
        Problem: ``JournalCorrupt``; ``ArchivedElsewhere`` when bundles that it wants were removed.
        OSError: the disk failed; the tables are those of before.
    """
    size = journal.checkpoint.size
    tables = Tables.read(folder, journal.origin)
    if tables.entries > size:
        tables = Tables(journal.origin)
    while tables.entries < size:
        with connection(folder) as database:
            until = min(size, tables.entries + RUN)
            stage(database, "staged", journal, folder, tables, until, progress)
            tables = _write(database, folder, tables, until)
    _sweep(folder, tables)
    return tables


def stage(
    database: duckdb.DuckDBPyConnection,
    name: str,
    journal: JournalReader,
    folder: Path,
    tables: Tables,
    until: int,
    progress: Progress,
    drafts: Path | None = None,
) -> None:
    """Make the rows of the entries behind ``tables`` in a table ``name``.

    Drafts are written in ``folder`` if no other is given. Rows of the files that were open
    of late (:func:`kept` leaves them out) are in it, paired anew.
    """
    database.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {_EMPTY}")
    database.execute(f"CREATE OR REPLACE TEMP TABLE {name}_counted AS {_NOTHING_COUNTED}")
    first = tables.entries
    for start in range(first, until, CHUNK):
        progress("tables", start, until)
        end = min(start + CHUNK, until)
        _load(database, journal, drafts or folder, start, end)
        database.execute(f"INSERT INTO {name}_counted {_COUNTED}")
        database.execute("DELETE FROM fresh WHERE side = 'server'")
        if start == first:
            database.execute(
                f"CREATE OR REPLACE TEMP TABLE {name}_since AS "
                "SELECT min(begun) AS begun FROM fresh"
            )
            _carry(
                database,
                f"({rows(folder, tables)})",
                f"AND begun >= (SELECT begun FROM {name}_since) - {_CARRIED}",
            )
        else:
            _carry(database, name)
            database.execute(f"DELETE FROM {name} WHERE outcome = 'open'")
        database.execute(_PAIR)
        database.execute(f"INSERT INTO {name} SELECT {_COLUMNS} FROM paired")
    progress("tables", until, until)


def kept(name: str, folder: Path, tables: Tables) -> str:
    """The rows of the files that :func:`stage` did not take up anew."""
    since = f"(SELECT begun FROM {name}_since) - {_CARRIED}"
    return (
        f"SELECT * FROM ({rows(folder, tables)}) WHERE NOT (outcome = 'open' AND begun >= {since})"
    )


def rows(folder: Path, tables: Tables) -> str:
    """The rows of the files, as a query."""
    months = [name for name in tables.files if not name.startswith(_COUNTS)]
    return f"SELECT {_COLUMNS} FROM {_parquet(folder, months)}" if months else _EMPTY


def counted(folder: Path, tables: Tables) -> str:
    """What the files have of counts by statistics fields, as a query."""
    files = [name for name in tables.files if name.startswith(_COUNTS)]
    return f"SELECT * FROM {_parquet(folder, files)}" if files else _NOTHING_COUNTED


def _parquet(folder: Path, names: list[str]) -> str:
    return f"read_parquet([{', '.join(_quoted(str(folder / name)) for name in names)}])"


def _load(
    database: duckdb.DuckDBPyConnection, journal: JournalReader, folder: Path, start: int, end: int
) -> None:
    """Have the entries ``[start, end)`` in the table ``fresh``; each with its index."""
    draft = folder / "draft.ndjson"
    log = TileFolder(journal.directory / "log")
    try:
        with draft.open("wb") as file:
            for index, entry in log.entries(start, end, journal.checkpoint.size):
                file.write(b'{"n":%d,%b\n' % (index, entry[1:]))
        columns = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in _ENTRY.items())
        database.execute(
            'CREATE OR REPLACE TEMP TABLE fresh AS SELECT * EXCLUDE ("at"), "at" AS begun '
            "FROM read_json("
            f"{_quoted(str(draft))}, format = 'newline_delimited', columns = {{{columns}}}) "
            "WHERE side <> 'server' OR event = 'statistics'"
        )
    except Problem as problem:
        if start < journal.holdings.entries_from:
            raise journal.holdings.elsewhere("its bundle", start) from problem
        raise
    finally:
        draft.unlink(missing_ok=True)


def _carry(database: duckdb.DuckDBPyConnection, source: str, condition: str = "") -> None:
    """Take up open rows as the requests that they were."""
    database.execute(
        f"INSERT INTO fresh BY NAME SELECT n, begun, 'request' AS kind, side, id, client, service, "
        f"endpoint, purpose, agreement, request_bytes AS size FROM {source} "
        f"WHERE outcome = 'open' {condition}"
    )


def _write(database: duckdb.DuckDBPyConnection, folder: Path, tables: Tables, until: int) -> Tables:
    """Write the months that changed, then say that they count."""
    found = database.execute("SELECT DISTINCT strftime(begun, '%Y-%m') FROM staged").fetchall()
    files = {name.partition(".")[0]: name for name in tables.files}
    for (month,) in sorted(found):
        before = Tables(tables.origin, 0, (files[month],) if month in files else ())
        query = (
            f"{kept('staged', folder, before)} UNION ALL "
            f"SELECT * FROM staged WHERE strftime(begun, '%Y-%m') = {_quoted(month)}"
        )
        files[month] = _copy(database, folder, query, f"{month}.{until:012d}.parquet")
    if database.execute("SELECT 1 FROM staged_counted LIMIT 1").fetchone():
        query = f"{counted(folder, tables)} UNION ALL SELECT * FROM staged_counted"
        files[_COUNTS] = _copy(database, folder, query, f"{_COUNTS}.{until:012d}.parquet")
    written = Tables(tables.origin, until, tuple(sorted(files.values())))
    draft = folder / "draft.json"
    draft.write_bytes(bytes(written))
    draft.replace(folder / STATE)
    return written


def _copy(database: duckdb.DuckDBPyConnection, folder: Path, query: str, name: str) -> str:
    """Write the rows of a query, in the order of the log, into a file; returns its name."""
    draft = folder / "draft.parquet"
    database.execute(
        f"COPY (SELECT * FROM ({query}) ORDER BY n) TO {_quoted(str(draft))} "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    draft.replace(folder / name)
    return name


def _sweep(folder: Path, tables: Tables) -> None:
    """Remove files of earlier runs that nobody reads any more."""
    for path in folder.glob("*.parquet"):
        if path.name not in tables.files:
            path.unlink(missing_ok=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
