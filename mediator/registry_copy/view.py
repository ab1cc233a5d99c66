"""The view of the registry: the trusted state that this server acts on, kept fresh.

A :class:`RegistryView` owns a :class:`~mediator.registry_copy.RegistryCopy` and asks the registry
every ``poll_s`` seconds, in a thread of its own. The message path reads :attr:`RegistryView.state`
and nothing else.

Invariants:
- trouble with the registry never stops exchanges by itself: the last good state stays in force
  until the end of its timestamp role plus ``grace_s``, with a warning logged at every poll after
  that end; only then :attr:`state` raises ``OutdatedGlobalConf``, until the registry answers again;
- a restart without network takes up the copy on disk;
- reading ``state`` is a comparison of two numbers and an attribute.

Closing: cancel the owner of :meth:`run`, then :meth:`close`, which waits for a fetch under way as
long as the fetcher's own deadlines let it last, at most.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from exchange.identifiers import MemberId
from exchange.log.checkpoint import Checkpoint
from exchange.log.policy import Policy
from exchange.problems import Code, Problem
from exchange.registry.endings import End, Told
from exchange.trust.state import RegistryState
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.fetcher import RegistryFetcher
from mediator.registry_copy.log import FollowedLog
from mediator.witness.misbehaviour import Misbehaviour
from serving.clock import Clock, SystemClock

POLL_S = 30.0
GRACE_S = 24 * 3600.0
_JITTER = 0.1

Report = Callable[[Misbehaviour], Awaitable[None]]
log = structlog.get_logger(__name__)


class RegistryView:
    """The registry as this server sees it; made by :meth:`open`."""

    def __init__(
        self,
        copy: RegistryCopy,
        fetcher: RegistryFetcher,
        *,
        poll_s: float,
        grace_s: float,
        clock: Clock,
        hosted: Iterable[MemberId] = (),
    ) -> None:
        self._copy = copy
        self._fetcher = fetcher
        self._poll_s = poll_s
        self._grace_s = grace_s
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry")
        self._state: RegistryState | None = None
        self._usable_until = 0.0
        self._told: frozenset[str] = frozenset()
        self._waiting: list[Misbehaviour] = []
        self._report: Report | None = None
        self.news = asyncio.Event()
        """Set, and replaced, when another head of the registry's log was accepted."""
        self._hosted = tuple(hosted)
        self._told_ends = Told()
        self.problem: Problem | None = None
        """Why the last attempt to reach the registry failed; nothing when it did not."""

    @classmethod
    async def open(
        cls,
        url: str,
        root_bytes: bytes,
        cache_dir: Path,
        *,
        poll_s: float = POLL_S,
        grace_s: float = GRACE_S,
        clock: Clock | None = None,
        context: ssl.SSLContext | None = None,
        mirrors: Sequence[str] = (),
        policy: Policy | None = None,
        seen_by: str = "",
        hosted: Iterable[MemberId] = (),
    ) -> RegistryView:
        """Take up the copy on disk; without one, or with one that is too old, ask the registry.

        Args:
            url: base address of the registry.
            root_bytes: the trusted TUF root, which came by another way than from the registry.
            cache_dir: this server's own folder for the copy; made if it is not there.
            grace_s: for how long exchanges go on after the registry's last word has expired.
            context: TLS settings for an https registry; the system's when absent.
            mirrors: further addresses of the same files.
            policy: whose cosignatures on the registry's log are demanded.
            seen_by: who tells when the registry contradicts itself.
            hosted: members of whose roles' ends is told, besides those of the registry's own.

        Raises:
            Problem: as :meth:`refresh`, when there is no copy and the registry gives none;
                ``InvalidDocument`` when the record of the copy on disk is damaged.
        """
        fetcher = RegistryFetcher(context=context)
        copy = RegistryCopy(
            cache_dir,
            url,
            root_bytes,
            fetcher,
            timedelta(seconds=grace_s),
            mirrors=mirrors,
            log=FollowedLog(fetcher, policy, seen_by),
        )
        view = cls(
            copy,
            fetcher,
            poll_s=poll_s,
            grace_s=grace_s,
            clock=clock or SystemClock(),
            hosted=hosted,
        )
        try:
            await view._in_thread_load()
            if view._state is None:
                try:
                    await view.refresh()
                except Problem as problem:
                    raise _without_copy(problem, url) from problem
            elif view._is_outdated:
                try:
                    await view.refresh()
                except Problem as problem:
                    view._alarm(problem)  # `state` tells that the copy is too old
        except BaseException:
            await view.close()
            raise
        return view

    @property
    def state(self) -> RegistryState:
        """The state in force.

        Raises:
            Problem: ``OutdatedGlobalConf`` when its end and the grace time are over.
        """
        state = self._state
        if state is not None and self._clock.unix() < self._usable_until:
            return state
        raise self._outdated()

    @property
    def head(self) -> Checkpoint | None:
        """The head of the registry's log that was accepted last."""
        seen = self._copy.seen_log
        return None if seen is None else seen.checkpoint

    @property
    def head_note(self) -> bytes | None:
        """The same as it was signed and cosigned."""
        seen = self._copy.seen_log
        return None if seen is None else seen.note

    async def compare(self, note: bytes) -> bool:
        """Compare a head that a peer accepted; tells whether it is newer than the own one.

        Raises:
            Problem: ``InvalidNote``, ``LogContradicted`` (it is reported), ``RegistryUnreachable``.
        """
        async with self._one_at_a_time:
            try:
                return await self._in_thread(lambda at: self._copy.compare(note, at))
            finally:
                await self._tell()

    def try_next(self) -> None:
        """Ask another address of the registry first from now on."""
        self._copy.try_next()

    async def report_to(self, report: Report) -> None:
        """Whom to give what convicts the registry, also what was found already."""
        self._report = report
        await self._tell()

    async def _tell(self) -> None:
        self._waiting += self._copy.take_found()
        if self._report is not None:
            waiting, self._waiting = self._waiting, []
            for found in waiting:
                await self._report(found)

    @property
    def _is_outdated(self) -> bool:
        return self._clock.unix() >= self._usable_until

    @property
    def age_s(self) -> float:
        """Seconds since the registry last answered well."""
        return max(0.0, (self._clock.now() - self._copy.checked_at).total_seconds())

    @property
    def ends(self) -> dict[str, End]:
        """When each role of the registry ends, and those of the hosted members by their ids."""
        ends = dict(self._copy.ends)
        for member in self._hosted:
            if (end := self._copy.end_of(member)) is not None:
                ends[str(member)] = end
        return ends

    async def refresh(self) -> bool:
        """Ask the registry now; tells whether the state changed.

        Raises:
            Problem: ``RegistryUnreachable``, ``UntrustedMetadata``, ``RollbackDetected``,
                ``OutdatedGlobalConf`` or ``InternalError``; the last good state stays in force.
        """
        async with self._one_at_a_time:
            before = self._copy.seen_log
            try:
                changed = await self._in_thread(self._copy.synchronise)
            except Problem as problem:
                self.problem = problem
                await self._in_thread(self._copy.review)
                self._take()
                raise
            finally:
                await self._tell()
                if self._copy.seen_log is not before:
                    self.news.set()
                    self.news = asyncio.Event()
            self.problem = None
            self._take()
            return changed

    async def run(self) -> None:
        """Ask the registry at once and then every ``poll_s`` seconds, until cancelled."""
        while True:
            try:
                if await self.refresh():
                    log.info("registry_state", version=self._version, age_s=0)
            except Problem as problem:
                self._alarm(problem)
            except Exception:
                # Whatever the registry sends, exchanges go on from the last good copy.
                log.exception("registry_poll_failed")
            self._warn_of_ends()
            await asyncio.sleep(self._poll_s * random.uniform(1 - _JITTER, 1 + _JITTER))

    async def close(self) -> None:
        """Give back threads and connections; idempotent."""
        self._fetcher.close()
        await asyncio.to_thread(self._thread.shutdown, wait=True)

    async def _in_thread_load(self) -> None:
        now = self._clock.now()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._copy.load, now)
        self._take()

    async def _in_thread(self, work: Callable[[datetime], bool]) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, self._clock.now())

    def _take(self) -> None:
        state = self._copy.state
        if state is None:
            return
        self._state = state
        self._usable_until = state.expires.timestamp() + self._grace_s
        complaints = frozenset(str(problem) for problem in state.complaints)
        for complaint in sorted(complaints - self._told):
            log.warning("registry_complaint", problem=complaint)
        self._told = complaints

    def _alarm(self, problem: Problem) -> None:
        left_s = self._usable_until - self._clock.unix()
        facts = {"problem": str(problem), "age_s": round(self.age_s), "version": self._version}
        if left_s <= 0:
            log.error("registry_state_outdated", **facts)
        elif problem.code is Code.LOG_CONTRADICTED:
            log.error("registry_contradicted", stops_in_s=round(left_s), **facts)
        elif left_s < self._grace_s:
            log.warning("registry_state_in_grace", stops_in_s=round(left_s), **facts)
        else:
            log.warning("registry_not_followed", **facts)

    def _warn_of_ends(self) -> None:
        ends, hosted = self.ends, {str(member) for member in self._hosted}
        for role, within in self._told_ends.news(ends, self._clock.now()).items():
            log.warning(
                "registry_role_ends",
                role=role,
                ends=ends[role].at.isoformat(),
                within_days=within,
                next_step="sign the member's role again: saphan registry submit"
                if role in hosted
                else "tell the registry's operator, who must sign it again",
            )

    @property
    def _version(self) -> int:
        return 0 if self._state is None else self._state.version

    def _outdated(self) -> Problem:
        detail = "no copy of the registry is here"
        if self._state is not None:
            detail = (
                f"the registry's last word ended at {self._state.expires:%FT%TZ} and "
                f"{self._grace_s:.0f} s of grace are over"
            )
        return Problem(
            Code.REGISTRY_STATE_EXPIRED,
            where="registry",
            detail=detail,
            facts={"age_s": round(self.age_s)},
        )


def _without_copy(problem: Problem, url: str) -> Problem:
    """Why a server that has no copy yet cannot begin."""
    return Problem(
        problem.code,
        where=problem.where or url,
        detail=f"{problem.detail}; there is no copy of an earlier state to begin with",
        facts=problem.facts,
    )
