"""A small library whose owner lets others write, in three kinds of database."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import (
    CheckConstraint,
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    create_engine,
    insert,
    text,
)
from sqlalchemy.pool import NullPool

from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from adapters.writes.ledger import ddl
from serving.backends import Backend, BackendRequest, BackendResponse
from tests.services.server import DatabaseServer

METADATA = MetaData()
PUBLISHERS = Table("tbl_publisher", METADATA, Column("id", Integer, primary_key=True))
BOOKS = Table(
    "tbl_book",
    METADATA,
    Column("book_no", Integer, primary_key=True, autoincrement=False),
    Column("title_lo", String(40), nullable=False),
    Column("shelf", String(1)),
    Column("price", Numeric(10, 2)),
    Column("bought_on", String(10)),
    Column("is_lent", SmallInteger, nullable=False, server_default="0"),
    Column("isbn", String(13), unique=True),
    Column("publisher_id", Integer, ForeignKey("tbl_publisher.id", name="fk_publisher")),
    Column("note", String(60)),
    Column("old", String(20)),
    CheckConstraint("price >= 0", name="ck_price"),
)
LOANS = Table(
    "tbl_loan",
    METADATA,
    Column("loan_no", Integer, primary_key=True, autoincrement=True),
    Column("book_no", Integer, ForeignKey("tbl_book.book_no"), nullable=False),
    Column("borrower", String(60), nullable=False),
    Column("written_by", String(255)),
)

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOES/library
title: {en: National library, lo: ຫໍສະໝຸດແຫ່ງຊາດ}
source:
  kind: sql
  url: ${LIBRARY_URL}
  writes: allowed
  write_url_env: LIBRARY_WRITER_URL
  writable:
    tbl_book: {key: [book_no], delete: true}
    tbl_loan: [loan_no]
  LIMITS
enumerations:
  shelf: {A: science, B: history, b: history}
records:
  book:
    title: {en: Book, lo: ປຶ້ມ}
    fields:
      number: {column: book_no, type: integer}
      title.lo: {type: string, null: refuse}
      shelf: {type: enumeration, table: shelf}
      price: {type: decimal, scale: 2, emit: string}
      bought: {column: bought_on, type: date, format: "%d/%m/%Y"}
      lent: {column: is_lent, type: boolean, stored: integer, null: refuse}
      isbn: string
      publisher: {column: publisher_id, type: integer}
      note: string
      old: {type: string, decode: lswin}
  loan:
    title: {en: Loan, lo: ການຢືມ}
    fields:
      loan: {column: loan_no, type: integer}
      number: {column: book_no, type: integer, null: refuse}
      borrower: {type: string, null: refuse}
      written_by: string
queries:
  books: {record: book, sql: SELECT * FROM tbl_book}
  loans: {record: loan, sql: SELECT * FROM tbl_loan}
statements:
  add:
    sql: |
      INSERT INTO tbl_book
       (book_no, title_lo, shelf, price, bought_on, is_lent, isbn, publisher_id, note)
      VALUES (:number, :title_lo, :shelf, :price, :bought, :lent, :isbn, :publisher, :note)
  change:
    sql: |
      UPDATE tbl_book SET title_lo = :title_lo, shelf = :shelf, price = :price,
       bought_on = :bought, is_lent = :lent, isbn = :isbn, publisher_id = :publisher, note = :note
      WHERE book_no = :number
  remove: DELETE FROM tbl_book WHERE book_no = :number
  lend: UPDATE tbl_book SET is_lent = 1 WHERE book_no = :number AND is_lent = 0
  note_loan:
    sql: |
      INSERT INTO tbl_loan (book_no, borrower, written_by)
      VALUES (:number, :borrower, :saphan_client) RETURNING loan_no
    returns: [loan]
services:
  books:
    title: {en: Books, lo: ປຶ້ມ}
    endpoints:
      /books: {operation: list, query: books, title: {en: Books, lo: ປຶ້ມ}, order: [book_no]}
      /books/{number}: {operation: one, query: books, title: {en: A book, lo: ປຶ້ມໜຶ່ງ}}
      /loans/{loan}: {operation: one, query: loans, title: {en: A loan, lo: ການຢືມ}}
      POST /books:
        operation: create
        statements: [add]
        query: books
        key: [number]
        title: {en: Add a book, lo: ເພີ່ມປຶ້ມ}
      PUT /books/{number}:
        operation: update
        statements: [change]
        query: books
        if_match: required
        title: {en: Replace a book, lo: ປ່ຽນປຶ້ມ}
      PATCH /books/{number}:
        operation: update
        statements: [change]
        query: books
        title: {en: Change a book, lo: ແກ້ປຶ້ມ}
      DELETE /books/{number}:
        operation: delete
        statements: [remove]
        query: books
        title: {en: Delete a book, lo: ລຶບປຶ້ມ}
      POST /loans:
        operation: create
        statements: [lend, note_loan]
        query: loans
        key: [loan]
        title: {en: Lend a book, lo: ໃຫ້ຢືມປຶ້ມ}
"""
BOOK = {
    "number": 7,
    "title": {"lo": "ສິນໄຊ"},
    "shelf": "history",
    "price": "120.50",
    "bought": "2012-02-05",
    "lent": False,
    "isbn": "9789999",
    "publisher": 1,
    "note": "O'Neill",
}
CLIENT = "LA/GOV/MOF/portal"
_ids = itertools.count()


def fill(url: str) -> None:
    """Write the database at ``url`` and its ledger: two books, one publisher."""
    engine = create_engine(url)
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS saphan_writes"))
        for statement in ddl("saphan_writes", engine.dialect.name).split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
        connection.execute(insert(PUBLISHERS), [{"id": 1}])
        old = {"shelf": "b", "price": 10, "bought_on": "01/02/2003", "old": "¦ö´²ºß"}
        connection.execute(
            insert(BOOKS),
            [
                {"book_no": 1, "title_lo": "ໜຶ່ງ", "isbn": "1", **old},
                {"book_no": 2, "title_lo": "ສອງ", "isbn": "2", **old},
            ],
        )
    engine.dispose()


@cache
def _all_rights(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    """What a statement gives, with all rights."""
    with _all_rights(url).begin() as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


@dataclass(frozen=True)
class Library:
    """One kind of database, filled; ``server`` is None for SQLite."""

    kind: str
    url: str
    server: DatabaseServer | None

    def adapter(self, limits: str = "max_connections: 3", mapping: str = MAPPING) -> Adapter:
        parsed = parse_mapping(mapping.replace("LIMITS", limits).encode(), "library.yaml")
        environ = {"LIBRARY_URL": self.url, "LIBRARY_WRITER_URL": self.url}
        return Adapter(parsed, Source(parsed.source, environ, Path()))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return rows(self.url, statement)

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT COUNT(*) FROM {table}")[0][0])  # noqa: S608


async def send(
    adapter: Backend,
    method: str,
    path: str,
    body: Any = None,
    *,
    id: str | None = None,
    client: str = CLIENT,
    timeout_s: float = 20.0,
    kind: str = "application/json",
    **headers: str,
) -> BackendResponse[bytes]:
    """Send one request; without an ``id`` it has one of its own."""
    own = [
        ("x-road-client", client),
        ("x-road-id", id if id is not None else f"m{next(_ids)}"),
        *((name.replace("_", "-"), value) for name, value in headers.items()),
    ]
    data = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    if data:
        own.append(("content-type", kind))
    request = BackendRequest(method, path, "", tuple(own), data, once=True)
    return await adapter.exchange(request, timeout_s=timeout_s)


def content(response: BackendResponse[bytes]) -> dict[str, Any]:
    """The body, as JSON."""
    found: dict[str, Any] = orjson.loads(response.body)
    return found


def header(response: BackendResponse[bytes], name: str) -> str:
    return dict(response.headers)[name]
