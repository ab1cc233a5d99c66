"""A table whose changes are told, and a replica that is made of nothing but the events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import create_engine, inspect, text

from adapters.changes.events import Event, Told
from adapters.changes.opening import sql_for_owner, state_of
from adapters.changes.rounds import Feed
from adapters.changes.state import State
from adapters.changes.views import EVERYBODY, Audience
from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Mapping
from adapters.sources.source import Source

EPOCH = datetime(2024, 1, 1)
MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOES/library
title: {{en: Library, lo: ຫໍສະໝຸດ}}
source: {{kind: sql, url: "${{CHANGES_URL}}", connect_timeout_s: 2, failures_before_pause: 0}}
records:
  book:
    title: {{en: Book, lo: ປຶ້ມ}}
    fields:
      number: {{column: book_no, type: integer}}
      title.lo: {{type: string, trim: true, normalise: lao}}
      price: {{type: decimal, scale: 2}}
queries:
  books: {{record: book, sql: SELECT * FROM tbl_book}}
changes:
  books:
    query: books
    key: [book_no]
    page_size: {page_size}
    {method}
services:
  books:
    title: {{en: Books, lo: ປຶ້ມ}}
    endpoints:
      /books: {{operation: list, query: books, title: {{en: All, lo: ທັງໝົດ}}, order: [book_no]}}
"""
COMPARISON = "{method: comparison, max_removed_share: 1}".strip("{}").replace(", ", "\n    ")
WATERMARK = "method: watermark\n    watermark: {column: changed_at, overlap: 5}"
LOG = "method: log\n    max_removed_share: 1\n    log: {tables: {tbl_book: [book_no]}}"


def mapping(method: str, page_size: int = 2) -> Mapping:
    text = MAPPING.format(method=method, page_size=page_size)
    return parse_mapping(text.encode(), "library.yaml")


@dataclass
class Table:
    """``tbl_book`` in a database of any kind."""

    url: str
    engine: Any = None

    def __post_init__(self) -> None:
        self.engine = create_engine(self.url, pool_pre_ping=True)

    def create(self) -> None:
        """An empty table; one that is there already keeps its triggers."""
        if inspect(self.engine).has_table("tbl_book"):
            self.run("DELETE FROM tbl_book")
            return
        moment = "TEXT" if self.url.startswith("sqlite") else "TIMESTAMP NULL"
        self.run(
            "CREATE TABLE tbl_book (book_no INTEGER PRIMARY KEY, title_lo VARCHAR(80),"
            f" price NUMERIC(12, 2), changed_at {moment})"
        )

    def run(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def script(self, statements: str) -> None:
        """Several statements as they are, by the driver itself."""
        if self.url.startswith("mariadb"):
            for statement in statements.split(";\n"):
                self.run(statement)
            return
        with self.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            raw.autocommit = True
            raw.execute(statements)
            raw.autocommit = False

    def put(self, number: int, title: str | None, price: int, mark: int | None) -> None:
        """Insert or replace one row; ``mark`` is in seconds."""
        with self.engine.begin() as connection:
            put(connection, number, title, price, mark)

    def rows(self) -> dict[str, Any]:
        """What a reader of the service would see, by key."""
        with self.engine.connect() as connection:
            found = connection.execute(text("SELECT book_no, title_lo, price FROM tbl_book"))
            return {
                str(number): {
                    "number": number,
                    "price": float(price),
                    **({} if title is None else {"title": {"lo": title.strip()}}),
                }
                for number, title, price in found
            }


def put(connection: Any, number: int, title: str | None, price: int, mark: int | None) -> None:
    moment: Any = None if mark is None else EPOCH + timedelta(seconds=mark)
    if connection.dialect.name == "sqlite" and moment is not None:
        moment = str(moment)
    values = {"n": number, "t": title, "p": price, "m": moment}
    changed = connection.execute(
        text("UPDATE tbl_book SET title_lo = :t, price = :p, changed_at = :m WHERE book_no = :n"),
        values,
    )
    if not changed.rowcount:
        connection.execute(
            text(
                "INSERT INTO tbl_book (book_no, title_lo, price, changed_at) VALUES (:n,:t,:p,:m)"
            ),
            values,
        )


@dataclass
class Replica:
    """What a consumer has made of the events; events with a known id are recognised."""

    records: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, bytes] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        line = event.line("/test", datetime(2026, 1, 1, tzinfo=UTC))
        if event.id in self.seen:
            assert self.seen[event.id] == line, "an id stands for two events"
            return
        self.seen[event.id] = line
        self.told.append((event.told, event.subject))
        data = orjson.loads(line).get("data")
        self.refused.pop(event.subject, None)
        match event.told:
            case Told.CREATED:
                assert event.subject not in self.records
                self.records[event.subject] = data
            case Told.CHANGED:
                assert event.subject in self.records
                self.records[event.subject] = data
            case Told.REMOVED:
                del self.records[event.subject]
            case Told.REFUSED:
                self.refused[event.subject] = data


@dataclass
class Telling:
    """One run after the other of what ``saphan adapter changes`` does, and a replica of it."""

    mapping: Mapping
    environ: dict[str, str]
    state: Path
    folder: Path = Path()
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    replica: Replica = field(default_factory=Replica)
    source: Source | None = None
    audience: Audience = EVERYBODY

    async def round(self, *, crash_after: int | None = None, **options: Any) -> list[Event]:
        """One run; ``crash_after`` batches it is killed between telling and noting.

        The events of the batch that was not noted, none when there were fewer; without
        ``crash_after`` all events.
        """
        changes = self.mapping.changes["books"]
        limits = self.mapping.source.limits
        if self.source is None:
            self.source = Source(self.mapping.source, self.environ, self.folder).lease()
        told: list[Event] = []
        zone, audience = self.mapping.source.zone, self.audience
        with State(self.state, state_of(self.mapping, changes, audience)) as state:
            own: dict[str, Any] = {"clock": self.clock, "audience": audience, "zone": zone}
            feed = Feed(changes, self.source, limits, state, **own, **options)
            async with aclosing(feed.round()) as batches:
                number = 0
                async for batch in batches:
                    for event in batch.events:
                        self.replica.apply(event)
                    if number == crash_after:
                        return list(batch.events)
                    feed.acknowledge(batch)
                    told += batch.events
                    number += 1
        return told if crash_after is None else []

    async def close(self) -> None:
        if self.source is not None:
            await self.source.close()
            self.source = None

    def owner_sql(self) -> str:
        return sql_for_owner(self.mapping, self.mapping.changes["books"], self.environ)
