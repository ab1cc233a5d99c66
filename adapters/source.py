"""A source: bounded threads that read from a database and never block the event loop.

Invariants:
- at most ``max_connections`` statements run at once and at most ``max_waiting`` requests wait for
  one; more are refused at once (``ServerOverloaded``), so a slow database cannot fill the memory;
- a request gets its answer or a problem by its deadline; a statement that outlives the request
  keeps its place until the database's own time limit cuts it, so places are never lent twice;
- nothing is connected before the first request, and a source that is down is a problem of that
  request only.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy import exc as sqlalchemy_exc

from adapters import sql
from adapters.files import Snapshot, SnapshotFile
from adapters.mapping import SourceKind, SourceSettings
from exchange.problems import Code, Problem

T = TypeVar("T")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_CLOSE_S = 5.0
_log = structlog.get_logger("saphan.adapters")


def resolve(text: str, environ: Mapping[str, str], where: str) -> str:
    """``text`` with each ``${NAME}`` replaced by the environment's value.

    Raises:
        Problem: ``InvalidMapping`` when a name is not in the environment or empty.
    """

    def value(match: re.Match[str]) -> str:
        found = environ.get(match[1], "")
        if not found:
            detail = f"the environment has no value for {match[1]}"
            raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
        return found

    return _VARIABLE.sub(value, text)


class Source:
    """The records of one mapping; see the module for what it promises.

    Args:
        settings: the ``source`` of a mapping.
        environ: what ``${NAME}`` is taken from.
        folder: what relative paths in the mapping are relative to.

    Raises:
        Problem: ``InvalidMapping`` for an address that cannot be one or a missing ``${NAME}``.
    """

    def __init__(self, settings: SourceSettings, environ: Mapping[str, str], folder: Path) -> None:
        self._limits = settings.limits
        self._snapshot: Snapshot | None = None
        self.file: Path | None = None  # of a SQLite database, for who checks the mapping
        if settings.kind is SourceKind.CSV:
            files = [
                SnapshotFile(table, folder / resolve(table.file, environ, table.where))
                for table in settings.tables
            ]
            self._snapshot = Snapshot(files)
            self.dialect = "sqlite"
            self._engine = sql.open_sqlite(self._snapshot, self._limits)
        else:
            self.dialect, self._engine, self.file = _open(settings, environ, folder)
        self._threads = ThreadPoolExecutor(
            self._limits.max_connections, thread_name_prefix="saphan-source"
        )
        self._places = asyncio.Semaphore(self._limits.max_connections)
        self._waiting = 0
        self._running: set[asyncio.Future[Any]] = set()
        self._leases = 0
        self._closed = False

    def lease(self) -> Source:
        """Count one more user; the source closes when as many have closed it."""
        self._leases += 1
        return self

    def data_age(self) -> tuple[float, str] | None:
        """For a snapshot: seconds since its oldest file was written and that time (RFC 9110)."""
        return None if self._snapshot is None else self._snapshot.age()

    async def run(self, work: Callable[[Connection], T], *, timeout_s: float) -> T:
        """Run ``work`` with a connection in one of the source's threads.

        Raises:
            Problem: what ``work`` raises; ``SourceFailed`` when the source cannot be reached or
                refuses the query; ``BackendTimeout`` when it does not answer in time;
                ``ServerOverloaded`` when too many wait already.
        """
        if self._closed:
            raise Problem(Code.SOURCE_FAILED, where="source", detail="the adapter is closed")
        end = monotonic() + timeout_s
        await self._take_place(timeout_s)
        loop = asyncio.get_running_loop()
        try:
            future = loop.run_in_executor(self._threads, partial(self._work, work, end))
        except RuntimeError as error:  # closed while waiting
            self._places.release()
            detail = "the adapter is closed"
            raise Problem(Code.SOURCE_FAILED, where="source", detail=detail) from error
        self._running.add(future)
        future.add_done_callback(self._give_back_place)
        try:
            # shield: a caller that gives up must not mark a running thread's future cancelled.
            return await asyncio.wait_for(asyncio.shield(future), max(0.0, end - monotonic()))
        except TimeoutError as error:
            raise _too_late("the source did not answer in time") from error

    async def close(self) -> None:
        """Give back the lease; the last one closes connections and threads. Idempotent."""
        self._leases -= 1
        if self._leases > 0 or self._closed:
            return
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._running:
            # Statements end by themselves; connections are closed under none that still runs.
            await asyncio.wait(self._running, timeout=_CLOSE_S)
        self._engine.dispose()
        if self._snapshot is not None:
            self._snapshot.close()

    async def _take_place(self, timeout_s: float) -> None:
        if self._places.locked() and self._waiting >= self._limits.max_waiting:
            raise Problem(
                Code.OVERLOADED,
                where="source",
                detail=f"{self._waiting} requests wait for this source already",
            )
        self._waiting += 1
        try:
            await asyncio.wait_for(self._places.acquire(), timeout_s)
        except TimeoutError as error:
            raise _too_late("the source was busy for the whole time allowed") from error
        finally:
            self._waiting -= 1

    def _give_back_place(self, future: asyncio.Future[Any]) -> None:
        self._running.discard(future)
        self._places.release()
        if not future.cancelled():
            future.exception()  # seen here, so that nothing is logged when nobody waits any more

    def _work(self, work: Callable[[Connection], T], end: float) -> T:
        """In a thread: the border where the drivers' exceptions stop."""
        try:
            if self._snapshot is not None:
                self._snapshot.refresh()
            with self._engine.connect() as connection:
                left = min(end - monotonic(), self._limits.statement_timeout_s)
                if left <= 0:
                    raise _too_late("no time was left when the source was ready")
                sql.limit_time(connection, left)
                return work(connection)
        except (sqlalchemy_exc.SQLAlchemyError, OSError, UnicodeDecodeError) as error:
            problem = sql.problem_of(error, self.dialect)
            _log.warning("source_failed", code=str(problem.code), **problem.facts)
            raise problem from error


def _open(
    settings: SourceSettings, environ: Mapping[str, str], folder: Path
) -> tuple[str, Engine, Path | None]:
    url = sql.parse_url(resolve(settings.url, environ, settings.where), settings.where)
    dialect = url.get_backend_name()
    if dialect != "sqlite":
        return dialect, sql.open_server(url, settings.limits), None
    if not url.database or url.database.startswith(("file:", ":")):
        detail = "a SQLite address names a file, such as sqlite:///data/register.db"
        raise Problem(Code.INVALID_MAPPING, where=settings.where, detail=detail)
    # A path from the environment is relative to where the process runs, as paths there are.
    base = Path() if _VARIABLE.search(settings.url) else folder
    file = base / url.database
    return dialect, sql.open_sqlite(sql.SqliteFile(file), settings.limits), file


def _too_late(detail: str) -> Problem:
    return Problem(Code.BACKEND_TIMEOUT, where="source", detail=detail)
