"""Read-only sessions of SQLite: in a file that may be replaced, or in one that is made."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import URL, Engine, event
from sqlalchemy import exc as sqlalchemy_exc

from adapters.mapping.model import Limits
from adapters.sources.engines import new_engine

_PROGRESS_STEPS = 5_000


class SqliteDatabase(Protocol):
    """A SQLite database that may be replaced by another while connections to it are pooled."""

    def connect(self) -> sqlite3.Connection:
        """A new connection, usable in any thread."""
        ...

    def mark(self) -> Hashable:
        """What tells this database from one that replaced it.

        Raises:
            OSError: when it is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database in a file, opened for reading only."""

    path: Path

    def connect(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self.path))}?mode=ro"
        return sqlite3.connect(address, uri=True, check_same_thread=False, timeout=2.0)

    def mark(self) -> Hashable:
        state = self.path.stat()
        return (state.st_dev, state.st_ino)


def open_sqlite(database: SqliteDatabase, limits: Limits) -> Engine:
    """An engine over ``database``; nothing is opened yet."""
    engine = new_engine(URL.create("sqlite"), limits, ping=False)

    def connect(dialect: Any, record: Any, *arguments: Any) -> sqlite3.Connection:
        # The mark is taken before: a replacement in between is noticed at the next checkout.
        with suppress(OSError):
            record.info["mark"] = database.mark()
        return database.connect()

    def prepare(connection: sqlite3.Connection, record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    def check(connection: Any, record: Any, proxy: Any) -> None:
        # A file that was moved away or replaced must not be read through an old handle.
        try:
            same = record.info.get("mark") == database.mark()
        except OSError as error:
            raise sqlalchemy_exc.DisconnectionError("the file is gone") from error
        if not same:
            raise sqlalchemy_exc.DisconnectionError("the file was replaced")

    def end(connection: sqlite3.Connection | None, record: Any) -> None:
        if connection is not None:
            connection.set_progress_handler(None, 0)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "checkout", check)
    event.listen(engine, "checkin", end)
    return engine


def limit_time(raw: sqlite3.Connection, timeout_s: float) -> None:
    """Cut what runs next after ``timeout_s``: SQLite asks now and then whether to go on."""
    end = time.monotonic() + timeout_s
    raw.set_progress_handler(lambda: time.monotonic() > end, _PROGRESS_STEPS)
