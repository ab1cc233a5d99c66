"""The writer: the one thread that touches the exactly-once book's database.

What arrived while a group was written is the next group. Endings alone wait a moment for claims to
go along with.

Invariants:
- a claim is answered only after its group was committed;
- before the first claim of a run, the claims that an earlier run of this server left are ended:
  from the journal, or as unknown;
- of a claim whose writing failed nobody knows whether it is there: it is taken back before the
  next claims are written;
- while the database is down, claims are refused at once, endings are kept, and it is tried again
  every second.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

import structlog

from exchange.problems import Problem
from mediator.once.claims import Ending, Left, Released, Row, State, Totals, Wanted, unavailable
from mediator.once.engine import BATCH, Engine, EngineFailed
from mediator.once.settings import OnceSettings
from mediator.once.vault import ASKER_SIZE, Answer, Vault
from serving.clock import Clock

if TYPE_CHECKING:
    from mediator.once.book import OnceBook

log = structlog.get_logger("mediator.once")

GROUP = 512
RIDE_S = 0.01
RETRY_S = 1.0
_TO_CALLERS = "its database cannot be used now; the server's log and its /healthz say why"
"""What a driver says of its database is not for applications of other organisations."""
CLEAN_S = 60.0
FILLING = 0.5
"""From here on, of the claims that there may be, no application may have more than the others."""
SAMPLE = 2000

Recover: TypeAlias = Callable[[Sequence[Left]], dict[str, Answer]]
"""From the claims that a run left to the outcomes that the journal holds, by nonce; blocks."""

Heard: TypeAlias = "list[Callable[[OnceBook], None]]"
"""What the book is told about a group, on its event loop."""


@dataclass(slots=True, eq=False)
class Claim:
    """The right, and the duty, to carry a message out."""

    key: bytes
    fingerprint: bytes
    nonce: str
    answer: Answer | None = None
    """Set by :meth:`OnceBook.done`: repeats get it from here until it is in the database."""
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def wake(self) -> None:
        """Have those who wait for the same message look again."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A claim on its way to the thread and back."""

    wanted: Wanted
    found: asyncio.Future[tuple[Row, Answer | None] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """How a claim ended, on its way to the thread; ``answer`` is encrypted there."""

    claim: Claim
    state: State
    at: float
    answer: Answer | None
    written: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        return len(self.answer.body or b"") if self.answer else 0


@dataclass(frozen=True, slots=True, eq=False)
class Freed:
    """A claim to be taken back, on its way to the thread."""

    claim: Claim
    written: asyncio.Future[None]


@dataclass(frozen=True, slots=True, eq=False)
class Erase:
    """Answers to be erased (all when ``keys`` is None), on their way to the thread."""

    keys: Sequence[bytes] | None
    written: asyncio.Future[None]


Work: TypeAlias = "Asked | Ended | Freed | Erase | None"


class Writer(threading.Thread):
    """Takes work from ``work`` until it is None; says what came of it by ``tell``."""

    def __init__(
        self,
        engine: Engine,
        vault: Vault,
        settings: OnceSettings,
        clock: Clock,
        recover: Recover,
        work: SimpleQueue[Work],
        tell: Callable[[Heard], None],
    ) -> None:
        super().__init__(name="once", daemon=True)
        self._engine = engine
        self._vault = vault
        self._settings = settings
        self._clock = clock
        self._recover = recover
        self._work = work
        self._tell = tell
        self._opened = False
        self._problem: Problem | None = None
        self._totals = Totals(0, 0)
        self._try_at = self._clean_at = monotonic()
        self._endings: list[tuple[Ended, Ending]] = []
        self._releases: list[tuple[Freed, Released]] = []
        self._doubtful: list[Released] = []
        self._erasing: list[Erase] = []

    def run(self) -> None:
        """Until None is taken from the work."""
        last = False
        try:
            while not last:
                self._open()
                asked, last = self._take()
                self._write(asked)
                self._clean()
        except Exception:
            # A fault of ours. Claims time out from now on, and nothing unsafe is carried out.
            log.exception("once_writer_failed")
            self._report(unavailable("its thread ended by a fault; the server's log says which"))
        finally:
            self._engine.close()

    def _take(self) -> tuple[list[Asked], bool]:
        """The claims of the next group, and whether it is the last; endings go to their lists."""
        asked: list[Asked] = []
        until = self._clean_at if self._opened else self._try_at
        if self._opened and (self._endings or self._releases or self._erasing):
            until = 0.0  # what could not be written when the database was away
        riding = False
        for _ in range(GROUP):
            try:
                work = self._work.get(timeout=max(until - monotonic(), 0.0))
            except Empty:
                break
            match work:
                case None:
                    return asked, True
                case Asked():
                    asked.append(work)
                    until = 0.0
                case Ended():
                    self._endings.append((work, self._ending(work)))
                case Erase():
                    self._erasing.append(work)
                    until = 0.0
                case Freed(claim):
                    self._releases.append((work, Released(claim.key, claim.nonce)))
                    until = 0.0
            if not asked and not riding:
                until, riding = min(until, monotonic() + RIDE_S), True
        return asked, False

    def _ending(self, ended: Ended) -> Ending:
        claim, answer = ended.claim, ended.answer
        data = None
        if answer is not None and answer.body is not None:
            data = self._vault.seal(claim.key, claim.fingerprint, answer)
        return Ending(claim.key, claim.nonce, ended.state, ended.at, data)

    def _open(self) -> None:
        """Connect when it is time to, and put in order what was left undone."""
        if self._opened or monotonic() < self._try_at:
            return
        try:
            self._engine.open(self._vault.proof)
            self._engine.write((), (), self._doubtful)
            self._doubtful = []
            self._end_left()
            self._totals = self._counted()
        except (EngineFailed, Problem) as failure:
            self._failed(failure)
            return
        self._opened = True
        self._report(None)

    def _end_left(self) -> None:
        """End the claims of earlier runs: what the journal holds is done, else it is unknown."""
        left = self._engine.left()
        if not left:
            return
        found = self._recover(left)
        now = self._clock.unix()
        endings = []
        for one in left:
            answer = found.get(one.nonce)
            data = None
            if answer is not None and answer.body is not None:
                size = len(answer.body)
                if size <= self._settings.answer_max_bytes:
                    data = self._vault.seal(one.key, one.fingerprint, answer)
            state = State.UNKNOWN if answer is None else State.DONE
            endings.append(Ending(one.key, one.nonce, state, now, data))
        self._engine.write((), endings, ())
        log.info("claims_recovered", left=len(left), found=len(found))

    def _write(self, asked: Sequence[Asked]) -> None:
        if not (asked or self._endings or self._releases or self._erasing):
            return
        endings, releases = self._endings[:GROUP], self._releases[:GROUP]
        heard: Heard = []
        try:
            if not self._opened:
                self._open()
            if not self._opened:
                raise EngineFailed("the book is not open")
            rows = self._engine.write(
                [one.wanted for one in asked],
                [ending for _, ending in endings],
                [released for _, released in releases],
            )
            for erase in self._erasing:
                self._engine.erase(erase.keys)
        except EngineFailed as failure:
            if self._opened:
                self._doubtful += [Released(one.wanted.key, one.wanted.nonce) for one in asked]
                self._failed(failure)
            self._tell([partial(_refuse, asked=one) for one in asked])
            return
        for one, row in zip(asked, rows, strict=True):
            heard.append(partial(_answer, asked=one, found=self._found(one, row)))
        heard += [partial(_written, work=ended) for ended, _ in endings]
        heard += [partial(_written, work=freed) for freed, _ in releases]
        heard += [partial(_erased, work=erase) for erase in self._erasing]
        self._erasing = []
        del self._endings[: len(endings)], self._releases[: len(releases)]
        self._totals = self._totals._replace(
            claims=self._totals.claims + sum(row is None for row in rows),
            answer_bytes=self._totals.answer_bytes
            + sum(len(ending.answer or b"") for _, ending in endings),
        )
        heard.append(partial(_reported, problem=None, totals=self._totals))
        self._tell(heard)

    def _found(self, asked: Asked, row: Row | None) -> tuple[Row, Answer | None] | None:
        if row is None:
            return None
        wanted = asked.wanted
        if row.answer is None or row.fingerprint != wanted.fingerprint:
            return row, None
        try:
            return row, self._vault.open(wanted.key, wanted.fingerprint, row.answer)
        except Problem:
            log.error("answer_not_readable", engine=self._engine.name)
            return row, None

    def _clean(self) -> None:
        """Delete what is old, a batch at a time, so that claims hardly wait."""
        if not self._opened or monotonic() < self._clean_at:
            return
        settings, now = self._settings, self._clock.unix()
        try:
            changed = self._engine.forget(now - settings.claims_s, now - settings.answers_s)
            more = changed >= BATCH
            self._totals = self._counted()
            over = self._totals.answer_bytes - settings.answers_max_bytes
            if over > 0:
                self._engine.shed(over)
                more = True
        except EngineFailed as failure:
            self._failed(failure)
            return
        self._clean_at = monotonic() + (RIDE_S if more else CLEAN_S)
        self._report(None)

    def _counted(self) -> Totals:
        totals, most = self._engine.totals(), self._settings.claims_max
        if totals.claims >= most:
            totals = totals._replace(claims=self._engine.count())
        if totals.claims > most * FILLING:
            return totals._replace(crowding=crowding(self._engine.sample(SAMPLE)))
        return totals

    def _failed(self, failure: EngineFailed | Problem) -> None:
        self._opened = False
        self._try_at = monotonic() + RETRY_S
        why = f"{self._engine.name}: {failure}"
        if self._problem is None:
            log.error("once_book_unavailable", why=why)
        self._report(unavailable(why))

    def _report(self, problem: Problem | None) -> None:
        if problem is None and self._problem is not None:
            log.info("once_book_available")
        self._problem = problem
        self._tell([partial(_reported, problem=problem, totals=self._totals)])


def crowding(keys: Sequence[bytes]) -> frozenset[bytes]:
    """The applications that have more than half of these claims."""
    counts = Counter(key[:ASKER_SIZE] for key in keys)
    return frozenset(asker for asker, count in counts.items() if 2 * count > len(keys))


def _answer(book: OnceBook, asked: Asked, found: tuple[Row, Answer | None] | None) -> None:
    book.answered(asked, found)


def _refuse(book: OnceBook, asked: Asked) -> None:
    # A new one for each: an exception that is raised twice carries two tracebacks.
    book.refused(asked, unavailable(_TO_CALLERS))


def _written(book: OnceBook, work: Ended | Freed) -> None:
    book.written(work)


def _erased(book: OnceBook, work: Erase) -> None:
    if not work.written.done():
        work.written.set_result(None)


def _reported(book: OnceBook, problem: Problem | None, totals: Totals) -> None:
    book.reported(problem, totals)
