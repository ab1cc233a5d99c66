"""A source: bounded threads that read from a database and never block the event loop.

Invariants:
- at most ``max_connections`` statements run at once and at most ``max_waiting`` requests wait for
  one; more are refused at once (``ServerOverloaded``), so a slow database cannot fill the memory;
- a request gets its answer or a problem by its deadline; a statement that outlives the request
  keeps its place until the database's own time limit cuts it, so places are never lent twice, and
  none is begun for an answer that nobody waits for any more;
- nothing is connected before the first request, and a source that is down is a problem of that
  request only; one that stays down is left alone for a while (:mod:`adapters.sources.breaker`);
- no more is asked in an hour than the mapping allows, and no statement reads a large table whole
  against the mapping's will (:mod:`adapters.sources.plans`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy import Connection, Engine, event
from sqlalchemy import exc as sqlalchemy_exc

from adapters.mapping.model import SourceKind, SourceSettings, Wide
from adapters.sources.accounts import may_write
from adapters.sources.addresses import parse_url
from adapters.sources.breaker import Breaker, Budget
from adapters.sources.engines import ALONE
from adapters.sources.failures import problem_of
from adapters.sources.plans import PlanBook
from adapters.sources.sessions import KEPT, aside, check_moment, limit_time, open_server
from adapters.sources.snapshot import MadeTable, Snapshot, SnapshotFile, age
from adapters.sources.sqlite import SqliteFile, open_sqlite
from adapters.sources.variables import VARIABLE, resolve, resolve_key
from adapters.writes.sessions import open_writing
from exchange.problems import Code, Problem

T = TypeVar("T")
_CLOSE_S = 5.0
# After telling an answer a thread leaves the interpreter to the loop, which else may wait for it.
_ASIDE_S = 1e-4
_log = structlog.get_logger("saphan.adapters")


@dataclass(slots=True)
class _Asked(Generic[T]):
    """A future of the loop, and whether the thread has told what becomes of it."""

    answer: asyncio.Future[T]
    told: bool = False


class Source:
    """The records of one mapping; see the module for what it promises.

    Args:
        settings: the ``source`` of a mapping.
        environ: what ``${NAME}`` is taken from.
        folder: what relative paths in the mapping are relative to.
        writes: whether this is the part that writes, with the address and the few connections
            that the mapping has for it. A source that only reads has it as ``writing``.
        made: what makes tables, by their names, that are in no file of their own.

    Raises:
        Problem: ``InvalidMapping`` for an address that cannot be one or a missing ``${NAME}``.
    """

    def __init__(
        self,
        settings: SourceSettings,
        environ: Mapping[str, str],
        folder: Path,
        *,
        writes: bool = False,
        made: Mapping[str, MadeTable] | None = None,
    ) -> None:
        self._limits = settings.limits
        self.writing: Source | None = None
        if settings.writing is not None and not writes:
            few = replace(settings.limits, max_connections=settings.writing.max_connections)
            changed = replace(settings, limits=few)
            self.writing = Source(changed, environ, folder, writes=True)
        self._writes = writes
        self._snapshot: Snapshot | None = None
        self.mask_key = resolve_key(settings.mask_key, environ, settings.where)
        self.file: Path | None = None  # of a SQLite database, for who checks the mapping
        if settings.kind is SourceKind.FILES:
            files = [
                SnapshotFile(
                    table,
                    folder / resolve(table.file, environ, table.where),
                    (made or {}).get(table.name),
                )
                for table in settings.tables
            ]
            self._snapshot = Snapshot(files, self._limits.reading_wait_s)
            self.dialect = "sqlite"
            self._engine = open_sqlite(self._snapshot, self._limits)
        elif writes and settings.writing is not None:
            self.dialect, self._engine, self.file = open_writing(
                settings.writing, self._limits, environ, folder, settings.where
            )
        else:
            self.dialect, self._engine, self.file = _open(settings, environ, folder)
        if not writes:  # a transaction that writes knows what it may still do
            event.listen(self._engine, "before_cursor_execute", _in_time)
        # Rows come from the driver's own cursor, whose exceptions SQLAlchemy does not see.
        self._foreign: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._threads = ThreadPoolExecutor(
            self._limits.max_connections, thread_name_prefix="saphan-source"
        )
        self._places = asyncio.Semaphore(self._limits.max_connections)
        self._breaker = Breaker(self._limits.failures_before_pause, self._limits.longest_pause_s)
        self._budget = Budget(self._limits.max_statements_per_hour)
        self._wide = settings.wide_queries
        self._plans = PlanBook(self._limits.large_table_rows)
        # A snapshot is the adapter's own, and an account that writes is known to.
        self._account_known = writes or self._snapshot is not None
        self._waiting = 0
        self._running: set[Future[Any]] = set()
        self._changes = 0
        self._leases = 0
        self._closed = False

    def lease(self) -> Source:
        """Count one more user; the source closes when as many have closed it."""
        self._leases += 1
        return self

    @property
    def large_table_rows(self) -> int:
        """The rows from which on a table is not to be read whole."""
        return self._limits.large_table_rows

    def data_age(self, read: Connection | None = None) -> tuple[float, str] | None:
        """For a snapshot: seconds since its oldest file was written and that time (RFC 9110).

        Args:
            read: a connection, for the age of what was read by it; else it is the present one.
        """
        if self._snapshot is None:
            return None
        mark = self._snapshot.current if read is None else read.info["mark"]
        return None if mark is None else age(mark)

    def note_change(self) -> None:
        """Something was changed through this adapter; told in the event loop."""
        self._changes += 1

    def reading(self) -> str:
        """What tells answers of the present state from those of before a change or a new file."""
        return f"{self._changes if self._snapshot is None else self._snapshot.current}"

    def spend(self) -> None:
        """Count one question against the hour's budget.

        Raises:
            Problem: ``ServerOverloaded`` with ``retry_after_s`` when it is spent.
        """
        left = self._budget.wait_s(monotonic())
        if left:
            detail = f"this source is asked at most {self._limits.max_statements_per_hour:,} times"
            facts = {"retry_after_s": math.ceil(left)}
            detail += " in an hour, which are spent"
            raise Problem(Code.OVERLOADED, where="source", detail=detail, facts=facts)

    def check_width(
        self, connection: Connection, statement: str, values: Mapping[str, Any]
    ) -> None:
        """Look at how the database would run ``statement``; called in the source's threads.

        Raises:
            Problem: ``QueryTooWide`` where the mapping refuses statements that read a large table
                whole.
        """
        if self._wide is Wide.ALLOW:
            return
        scans, new = self._plans.scans(connection, statement, values)
        if not scans:
            return
        named = ", ".join(f"{scan.table} (about {scan.rows:,} rows)" for scan in scans)
        if new:
            _log.warning("wide_query", tables=named, policy=str(self._wide), statement=statement)
        if self._wide is Wide.REFUSE:
            # How many rows there are in all is not for every caller to know.
            tables = ", ".join(scan.table for scan in scans)
            detail = f"this would read the whole of {tables}: there is no index for what it asks"
            raise Problem(Code.QUERY_TOO_WIDE, where="query", detail=detail)

    async def run(
        self, work: Callable[[Connection], T], *, timeout_s: float, alone: bool = False
    ) -> T:
        """Run ``work`` with a connection in one of the source's threads.

        Args:
            alone: whether one statement is all that ``work`` answers by.

        Raises:
            Problem: what ``work`` raises; ``SourceFailed`` when the source cannot be reached,
                refuses the query, or failed so often that it is left alone for
                ``retry_after_s``; ``BackendTimeout`` when it does not answer in time;
                ``ServerOverloaded`` when too many wait already.
        """
        if self._closed:
            raise _closed()
        pause_s = self._breaker.wait_s(monotonic())
        if pause_s:
            detail = "the source failed several times in a row and is left alone for a while"
            facts = {"retry_after_s": math.ceil(pause_s)}
            raise Problem(Code.SOURCE_FAILED, where="source", detail=detail, facts=facts)
        end = monotonic() + timeout_s
        await self._take_place(timeout_s)
        asked: _Asked[T] = _Asked(asyncio.get_running_loop().create_future())
        try:
            job = self._threads.submit(self._work, work, end, asked, alone)
        except RuntimeError as error:  # closed while waiting
            self._places.release()
            raise _closed() from error
        self._running.add(job)
        job.add_done_callback(partial(self._done, asked))
        try:
            # A caller that gives up leaves the job alone: it keeps its place until it ends.
            async with asyncio.timeout(max(0.0, end - monotonic())):
                return await asked.answer
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
            running = map(asyncio.wrap_future, tuple(self._running))
            await asyncio.wait(running, timeout=_CLOSE_S)
        self._engine.dispose()
        if self._snapshot is not None:
            self._snapshot.close()

    async def _take_place(self, timeout_s: float) -> None:
        if not self._places.locked():
            await self._places.acquire()  # at once
            return
        if self._waiting >= self._limits.max_waiting:
            raise Problem(
                Code.OVERLOADED,
                where="source",
                detail=f"{self._waiting} requests wait for this source already",
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise _too_late("the source was busy for the whole time allowed") from error
        finally:
            self._waiting -= 1

    def _tell(self, asked: _Asked[T], result: T | None, error: BaseException | None) -> None:
        """In the job's thread: one hop to the loop, where nobody may be any more."""
        if asked.told:
            return
        asked.told = True
        with contextlib.suppress(RuntimeError):
            asked.answer.get_loop().call_soon_threadsafe(self._ended, asked.answer, result, error)

    def _done(self, asked: _Asked[T], job: Future[None]) -> None:
        """In the job's thread, which is free again."""
        self._running.discard(job)
        self._tell(asked, None, _closed() if job.cancelled() else job.exception())

    def _ended(self, answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._places.release()
        if isinstance(error, Problem) and error.facts.get("reached") is False:
            self._breaker.failed(monotonic())
        elif not self._closed:
            self._breaker.succeeded()
        if answer.done():  # nobody waits any more
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def _work(
        self, work: Callable[[Connection], T], end: float, asked: _Asked[T], alone: bool
    ) -> None:
        """In a thread: the border where the drivers' exceptions stop."""
        reached, kept = False, None
        ALONE.set(alone)
        try:
            if self._snapshot is not None:
                self._snapshot.refresh()
            with self._engine.connect() as connection:
                reached = True
                left = min(end - monotonic(), self._limits.statement_timeout_s)
                if left <= 0:
                    raise _too_late("no time was left when the source was ready")
                info = connection.info
                info["end"] = end
                try:
                    limit_time(connection, left)
                    if not self._account_known:
                        self._look_at_account(connection)
                    found = work(connection)
                    if not alone and not self._writes:
                        check_moment(connection)
                    # Nobody waits for the end of the transaction, but the next job of this thread.
                    self._tell(asked, found, None)
                    del found
                    sleep(_ASIDE_S)
                finally:
                    info.pop("end", None)
                    kept = info.pop(KEPT, None)
        except (
            sqlalchemy_exc.SQLAlchemyError,
            self._foreign,
            OSError,
            UnicodeDecodeError,
        ) as error:
            problem = problem_of(error, self.dialect)
            # What the database itself refused does not mean that it is down.
            problem.facts["reached"] = reached and not getattr(
                error, "connection_invalidated", False
            )
            _log.warning("source_failed", code=str(problem.code), **problem.facts)
            raise problem from error
        finally:
            del kept  # when the answer is told and the connection given back

    def _look_at_account(self, connection: Connection) -> None:
        """Once, with the first request: an account that may write is worth a warning."""
        self._account_known = True
        reasons: tuple[str, ...] = ()
        with aside(connection):
            reasons = may_write(connection)
        for reason in reasons:
            _log.warning("account_may_write", source=self.dialect, account=reason)


def _open(
    settings: SourceSettings, environ: Mapping[str, str], folder: Path
) -> tuple[str, Engine, Path | None]:
    url = parse_url(resolve(settings.url, environ, settings.where), settings.where)
    dialect = url.get_backend_name()
    if dialect != "sqlite":
        return dialect, open_server(url, settings.limits), None
    if not url.database or url.database.startswith(("file:", ":")):
        detail = "a SQLite address names a file, such as sqlite:///data/register.db"
        raise Problem(Code.INVALID_MAPPING, where=settings.where, detail=detail)
    # A path from the environment is relative to where the process runs, as paths there are.
    base = Path() if VARIABLE.search(settings.url) else folder
    file = base / url.database
    return dialect, open_sqlite(SqliteFile(file), settings.limits), file


def _in_time(connection: Connection, *_: Any) -> None:
    """Before each statement: the last of many may come long after the deadline."""
    if monotonic() > connection.info.get("end", math.inf):
        raise _too_late("the time was over before all was asked")


def _closed() -> Problem:
    return Problem(Code.SOURCE_FAILED, where="source", detail="the adapter is closed")


def _too_late(detail: str) -> Problem:
    return Problem(Code.BACKEND_TIMEOUT, where="source", detail=detail)
