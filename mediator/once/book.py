"""The exactly-once book as the message path sees it: claim, and say how it ended.

Invariants:
- :meth:`OnceBook.claim` gives a :class:`Claim` to one exchange at most, and only when it is
  durable; it is given up by :meth:`OnceBook.done`, :meth:`OnceBook.release` or
  :meth:`OnceBook.lose`, once;
- a claim costs a message one committed step (:mod:`mediator.once.writer`); endings need not be
  waited for, since the journal holds them (:mod:`mediator.once.recovery`);
- repeats on this server wait for the claim in memory, those on another server look again and
  again; both are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import structlog

from exchange.problems import ACTED, Code, Problem
from mediator.once.claims import (
    Row,
    State,
    Totals,
    Wanted,
    in_progress,
    judge,
    not_kept,
    reused,
    unavailable,
)
from mediator.once.engine import Engine
from mediator.once.settings import OnceSettings
from mediator.once.vault import ASKER_SIZE, Answer, Vault
from mediator.once.writer import Asked, Claim, Ended, Erase, Freed, Recover, Work, Writer
from serving.clock import Clock

log = structlog.get_logger("mediator.once")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
RETRY_AFTER_S = 60
"""About so often it is looked at who crowds the book."""
_CLOSE_S = 10.0


class OnceBook:
    """An open book; belongs to the event loop that runs when it is made."""

    pending_max_bytes = 64 * 1024 * 1024
    """Answers that wait for the database, all together; a further one is not kept."""

    def __init__(
        self, engine: Engine, vault: Vault, settings: OnceSettings, clock: Clock, recover: Recover
    ) -> None:
        self.vault = vault
        self.problem: Problem | None = unavailable("it is being opened")
        """Why claims are refused now."""
        self.totals = Totals(0, 0)
        self.counts: Counter[str] = Counter()
        """What repeats and claims came to, for the metrics."""
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._held: dict[bytes, Claim] = {}
        self._pending_bytes = 0
        self._closed = False
        self._work: SimpleQueue[Work] = SimpleQueue()
        self._writer = Writer(engine, vault, settings, clock, recover, self._work, self._tell)
        self._writer.start()

    @property
    def engine(self) -> str:
        """The kind of database."""
        return self._engine.name

    @property
    def waiting(self) -> int:
        """Claims that are being carried out, or whose ending is not written yet."""
        return len(self._held)

    async def claim(
        self, key: bytes, fingerprint: bytes, nonce: str, running_s: float
    ) -> Claim | Answer:
        """The right to carry a message out, or what came of it before.

        Args:
            key, fingerprint: from :attr:`vault`.
            nonce: of the request's signature, which tells this exchange from its repeats.
            running_s: how long it may run, and how long a repeat waits for it.

        Raises:
            Problem: ``MessageIdReused``, ``OutcomeUnknown`` or ``AnswerNotKept`` by what is known
                of it; ``MessageInProgress`` when it still runs after ``running_s``;
                ``ExactlyOnceUnavailable`` when the database is down; ``ServerOverloaded`` when
                the book is full; ``QuotaExceeded`` when it fills up and most is this
                application's.
        """
        try:
            found = await self._claim(key, fingerprint, nonce, running_s)
        except Problem as problem:
            self.counts[problem.code.value] += 1
            raise
        self.counts["claimed" if isinstance(found, Claim) else "repeated"] += 1
        return found

    async def _claim(
        self, key: bytes, fingerprint: bytes, nonce: str, running_s: float
    ) -> Claim | Answer:
        give_up, pause = self._loop.time() + running_s, _FIRST_PAUSE_S
        while True:
            held = self._held.get(key)
            if held is not None:
                if held.fingerprint != fingerprint:
                    raise reused()
                if held.answer is not None:
                    return _kept(held.answer)
                await self._wait(held, give_up, running_s)
                continue
            claim = self._held[key] = Claim(key, fingerprint, nonce)
            try:
                found = await self._ask(claim, running_s)
            except BaseException:
                self._let_go(claim)
                raise
            if found is None:
                return claim
            self._let_go(claim)
            row, answer = found
            if judge(row, fingerprint, self._clock.unix()) is State.DONE:
                if answer is None:
                    raise not_kept("it cannot be decrypted")
                return answer
            # Another server has it, or this one just now took it back.
            if self._loop.time() + pause > give_up:
                raise in_progress(running_s)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _ask(self, claim: Claim, running_s: float) -> tuple[Row, Answer | None] | None:
        if self._closed:
            raise Problem(Code.SHUTTING_DOWN, where="exactly-once book")
        if self.totals.claims >= self._settings.claims_max:
            raise Problem(
                Code.OVERLOADED,
                where="exactly-once book",
                detail=f"{self.totals.claims} ids, at most {self._settings.claims_max} are kept",
                facts={ACTED: False},
            )
        if claim.key[:ASKER_SIZE] in self.totals.crowding:
            raise Problem(
                Code.QUOTA_EXCEEDED,
                where="exactly-once book",
                detail=f"{self.totals.claims} ids of {self._settings.claims_max} are kept, and "
                "more than half of them are of this application",
                facts={
                    ACTED: False,
                    "limit": "once.claims_max",
                    "retry_after_s": RETRY_AFTER_S,
                },
            )
        now = self._clock.unix()
        wanted = Wanted(claim.key, claim.fingerprint, claim.nonce, now, now + running_s)
        asked = Asked(wanted, self._loop.create_future())
        self._work.put(asked)
        try:
            async with asyncio.timeout(self._settings.claim_s):
                return await asked.found
        except TimeoutError as error:
            why = f"its database did not answer in {self._settings.claim_s:g} s"
            raise unavailable(why) from error

    async def _wait(self, held: Claim, give_up: float, running_s: float) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        held.waiters.append(waiter)
        try:
            async with asyncio.timeout_at(give_up):
                await waiter
        except TimeoutError as error:
            raise in_progress(running_s) from error

    def _let_go(self, claim: Claim) -> None:
        if self._held.get(claim.key) is claim:
            del self._held[claim.key]
        claim.wake()

    def done(self, claim: Claim, answer: Answer) -> None:
        """The message was carried out; its repeats get this. Never blocks or waits."""
        size = len(answer.body or b"")
        if size > self._settings.answer_max_bytes or (
            self._pending_bytes + size > self.pending_max_bytes
        ):
            answer = answer._replace(body=None)
        self._pending_bytes += len(answer.body or b"")
        claim.answer = answer
        claim.wake()
        self._work.put(Ended(claim, State.DONE, self._clock.unix(), answer))

    async def release(self, claim: Claim) -> None:
        """Nothing reached the backend: a repeat is carried out. Waits for it, within bounds."""
        freed = Freed(claim, self._loop.create_future())
        self._work.put(freed)
        try:
            async with asyncio.timeout(self._settings.claim_s):
                await asyncio.shield(freed.written)
        except TimeoutError:
            log.warning("claim_not_released_yet", why=str(self.problem))

    def lose(self, claim: Claim) -> None:
        """The exchange was cut off: nobody knows whether it was carried out. Never blocks."""
        self._work.put(Ended(claim, State.UNKNOWN, self._clock.unix(), None))

    async def erase(self, keys: Sequence[bytes] | None) -> bool:
        """Forget the answers of these claims, or all; whether it is durable within the bounds.

        When it is not, it is done as soon as the database can be used, while this server runs.
        """
        erase = Erase(keys, self._loop.create_future())
        self._work.put(erase)
        try:
            async with asyncio.timeout(self._settings.claim_s):
                await asyncio.shield(erase.written)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Write what waits, within bounds, and disconnect; idempotent."""
        if not self._closed:
            self._closed = True
            self._work.put(None)
            await asyncio.to_thread(self._writer.join, _CLOSE_S)

    # what the writer's thread has to say

    def _tell(self, heard: list[Callable[[OnceBook], None]]) -> None:
        """Called by the writer's thread, once a group."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._hear, heard)

    def _hear(self, heard: list[Callable[[OnceBook], None]]) -> None:
        for one in heard:
            one(self)

    def answered(self, asked: Asked, found: tuple[Row, Answer | None] | None) -> None:
        """A claim was made, or found. One that nobody waits for any more is taken back."""
        if not asked.found.done():
            asked.found.set_result(found)
        elif found is None:
            wanted = asked.wanted
            claim = Claim(wanted.key, wanted.fingerprint, wanted.nonce)
            self._work.put(Freed(claim, self._loop.create_future()))

    def refused(self, asked: Asked, problem: Problem) -> None:
        """A claim could not be written."""
        if not asked.found.done():
            asked.found.set_exception(problem)

    def written(self, work: Ended | Freed) -> None:
        """How a claim ended is durable."""
        if isinstance(work, Ended):
            self._pending_bytes -= work.size
        elif not work.written.done():
            work.written.set_result(None)
        self._let_go(work.claim)

    def reported(self, problem: Problem | None, totals: Totals) -> None:
        """How the book is now."""
        self.problem, self.totals = problem, totals


def _kept(answer: Answer) -> Answer:
    if answer.body is None:
        raise not_kept("it was too large")
    return answer
