"""Having the own log cosigned: each witness gets the newest anchor, at its own pace.

Nothing here is on the way of a message. A witness that does not answer is asked again after growing
waits, and gets the newest anchor then: it covers all before it, so an outage of any length is made
good with one request.

A witness remembers what this log signed, even when this server does not: after a start from an old
copy, or when two servers run on copies of one journal. So its word is heard before the first
checkpoint is signed (for ``hold_s`` at most, traffic does not wait), and whenever it contradicts
ours: then nothing more is signed, the proof is kept, and a person must look.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import structlog

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint, parse_text
from exchange.log.notes import Note, VerifierKey, parse_note
from exchange.log.policy import Policy
from exchange.log.witness import (
    SIZE_TYPE,
    Submission,
    format_submission,
    read_cosignatures,
    read_size,
)
from exchange.problems import Code, Problem
from mediator.journal.anchors import Anchor
from mediator.journal.log import Journal
from mediator.journal.publication import CHECKPOINT
from mediator.witness.known import Asked
from mediator.witness.line import WitnessLine
from mediator.witness.misbehaviour import Misbehaviour, Misdeed, moment
from mediator.witness.settings import WitnessSettings
from serving import replies
from serving.clock import Clock
from serving.log.tiles import TileFolder

FIRST_RETRY_S: Final = 0.5
LOOK_S: Final = 5.0
"""How often the set of witnesses and the quorum are looked at when nothing happens."""
_ATTEMPTS: Final = 3
_RECENT: Final = 64
log = structlog.get_logger("mediator.witness")

Sought = Callable[[], tuple[list[Asked], Policy]]
"""Who is asked now, and what counts as enough."""
Report = Callable[[Misbehaviour], Awaitable[None]]


@dataclass(slots=True)
class Standing:
    """How it goes with one witness."""

    name: str
    cosigned_size: int = 0
    cosigned_at: int | None = None
    failures: int = 0
    problem: Problem | None = None
    known_size: int = 0

    def describe(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": self.name,
            "cosigned_size": self.cosigned_size,
            "cosigned_at": self.cosigned_at,
            "failures": self.failures,
        }
        if self.problem is not None:
            row["problem"] = str(self.problem)
        return row


@dataclass(slots=True)
class Quorum:
    """Whether enough witnesses cosigned, as it was looked at last.

    ``sought_at`` is since when this policy is that of a running server (POSIX seconds): what was
    before lacks nothing that was asked for. Zero at a start, which may be within an outage.
    """

    policy: Policy
    sought_at: float = 0.0
    covered_size: int = 0
    since: float | None = None
    alarmed: bool = False
    looked_at: bool = False


@dataclass(slots=True)
class _Running:
    line: WitnessLine
    task: asyncio.Task[None]


class Cosigning:
    """Asks the witnesses of one journal."""

    def __init__(
        self,
        journal: Journal,
        key: VerifierKey,
        settings: WitnessSettings,
        sought: Sought,
        line: Callable[[Asked], WitnessLine],
        report: Report,
        clock: Clock,
        seen_by: str,
    ) -> None:
        """Args:
        key: the journal's verifier key; its name is the origin.
        line: makes the way to a witness.
        report: keeps the proof that our log was shown in another shape than we know it.
        """
        self.standings: dict[str, Standing] = {}
        self.quorum: Quorum | None = None
        self._journal = journal
        self._key = key
        self._settings = settings
        self._sought = sought
        self._line = line
        self._report = report
        self._clock = clock
        self._seen_by = seen_by
        self._folder = TileFolder(journal.directory / "log")
        self._running: dict[VerifierKey, _Running] = {}
        self._contradicted = False
        self._heard = asyncio.Event()
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        journal.anchors.watch(self._told)

    async def run(self) -> None:
        """Hear what the witnesses remember, let the journal sign, then ask for cosignatures.

        Until cancelled; when that is before the witnesses were heard, nothing is signed.
        """
        await self._hear()
        self._journal.release()
        self._heard.set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    news = self._news
                    self._meet(group)
                    await self._look_at_quorum()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S):
                            await news.wait()
        finally:
            for running in self._running.values():
                await running.line.close()
            self._running.clear()

    async def heard(self) -> None:
        """Wait until the witnesses were heard: a stop right after a start publishes what it has.

        For ``hold_s`` at most, and a moment for what that brings.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.hold_s + 1.0):
                await self._heard.wait()

    @property
    def waiting_s(self) -> float:
        """For how long entries have been without a quorum; 0 when the newest anchor has it."""
        quorum = self.quorum
        if quorum is None or quorum.since is None:
            return 0.0
        return max(0.0, self._clock.unix() - quorum.since)

    def describe(self) -> dict[str, Any]:
        """What health and the administration tell."""
        quorum, waiting_s = self.quorum, self.waiting_s
        return {
            "ok": waiting_s <= self._settings.alarm_s,
            "witnesses": [standing.describe() for standing in self.standings.values()],
            "quorum": str(quorum.policy).strip().splitlines()[-2:] if quorum else [],
            "witnessed_size": quorum.covered_size if quorum else 0,
            "waiting_s": round(waiting_s, 1),
        }

    # --- who is asked ------------------------------------------------------------------------

    def _told(self) -> None:
        """Of a new anchor, by the thread that publishes."""
        with suppress(RuntimeError):  # the loop has ended: nobody asks any more
            self._loop.call_soon_threadsafe(self._notify)

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _meet(self, group: asyncio.TaskGroup) -> None:
        """Ask those who are to be asked now, and nobody else."""
        try:
            asked, policy = self._sought()
        except Problem as problem:
            log.warning("witnesses_unknown", why=str(problem))
            return
        if self.quorum is None:
            self.quorum = Quorum(policy)
        elif self.quorum.policy != policy:
            self.quorum = Quorum(policy, self._clock.unix(), alarmed=self.quorum.alarmed)
        wanted = {one.key: one for one in asked}
        for key, running in list(self._running.items()):
            if wanted.get(key) != running.line.asked or running.task.done():
                running.task.cancel()
                del self._running[key]
                self.standings.pop(running.line.asked.name, None)
        for key, one in wanted.items():
            if key not in self._running:
                line = self._line(one)
                standing = self.standings[one.name] = Standing(one.name)
                self._running[key] = _Running(line, group.create_task(self._serve(line, standing)))

    async def _serve(self, line: WitnessLine, standing: Standing) -> None:
        """Have one witness cosign each newest anchor."""
        try:
            while True:
                news = self._news
                try:
                    anchor = await asyncio.to_thread(self._journal.anchors.latest)
                    if anchor is None or self._contradicted or self._done(anchor, line):
                        await news.wait()
                        continue
                    await self._cosign(line, standing, anchor)
                except Problem as problem:
                    self._failed(standing, problem)
                except OSError as error:  # the disk: the journal tells of it, too
                    self._failed(
                        standing,
                        Problem(Code.LOGGING_FAILED, where="anchors", detail=str(error)),
                    )
                except Exception:
                    # A fault of ours must not end the server, whose traffic does not need this.
                    log.exception("witnessing_failed", witness=standing.name)
                    self._failed(standing, replies.internal())
                else:
                    self._succeeded(standing)
                    self._notify()
                    continue
                await asyncio.sleep(self._retry_s(standing.failures))
        finally:
            await line.close()

    def _done(self, anchor: Anchor, line: WitnessLine) -> bool:
        """Whether a witness has cosigned, or its cosignature would not be taken any more."""
        return anchor.size <= self._journal.anchors.closed_size or _has(anchor, line.asked.key)

    def _retry_s(self, failures: int) -> float:
        longest = self._settings.retry_max_s
        wait = min(longest, FIRST_RETRY_S * float(1 << min(failures - 1, 16)))
        return wait * random.uniform(0.5, 1.0)  # so that many do not come at once

    def _failed(self, standing: Standing, problem: Problem) -> None:
        standing.failures += 1
        standing.problem = problem
        if standing.failures == 1:
            log.warning("witness_failed", witness=standing.name, why=str(problem))

    def _succeeded(self, standing: Standing) -> None:
        if standing.failures:
            log.info("witness_back", witness=standing.name, after=standing.failures)
        standing.failures, standing.problem = 0, None

    # --- one cosignature ---------------------------------------------------------------------

    async def _cosign(self, line: WitnessLine, standing: Standing, anchor: Anchor) -> None:
        """Submit an anchor and keep the cosignature.

        Raises:
            Problem: no cosignature: the witness cannot be reached, or does not give one.
            OSError: it cannot be kept.
        """
        where = f"witness {line.asked.name}"
        note = parse_note(anchor.note)
        for _ in range(_ATTEMPTS):
            old = min(standing.known_size, anchor.size)
            submission = await asyncio.to_thread(self._submission, old, anchor.size, note)
            said = await line.add_checkpoint(
                format_submission(submission), self._settings.timeout_s
            )
            if said.status == 200:
                for cosignature, what in read_cosignatures(
                    said.body, note, [line.asked.key], where
                ):
                    await asyncio.to_thread(
                        self._journal.anchors.add_cosignature, anchor.size, str(cosignature)
                    )
                    standing.cosigned_at = what.timestamp
                standing.known_size = standing.cosigned_size = anchor.size
                return
            if said.status == 409 and said.type == SIZE_TYPE:
                size = read_size(said.body, where)
                if size <= anchor.size:
                    standing.known_size = size
                    continue
            if said.status in (409, 422):
                # Somebody may have shown it a checkpoint that is newer than the last anchor.
                await self._compare(line)
            raise Problem(
                Code.PEER_NONSENSE,
                where=where,
                detail=f"answered {said.status} to a checkpoint of size {anchor.size}",
                facts={"status": said.status},
            )
        raise Problem(Code.PEER_NONSENSE, where=where, detail="names another size each time")

    def _submission(self, old: int, size: int, note: Note) -> Submission:
        read = self._folder.subtrees(max(size, self._journal.published_size))
        return Submission(old, merkle.prove_consistency(old, size, read), note)

    # --- what witnesses remember -------------------------------------------------------------

    async def _hear(self) -> None:
        """Ask all witnesses what they remember of this log; for ``hold_s`` at most."""
        try:
            lines = [self._line(asked) for asked in self._sought()[0]]
        except Problem as problem:
            log.warning("witnesses_unknown", why=str(problem))
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.hold_s):
                    await asyncio.gather(*(self._first(line) for line in lines))
        finally:
            for line in lines:
                await line.close()

    async def _first(self, line: WitnessLine) -> None:
        try:
            await self._compare(line)
        except Problem as problem:
            log.info("witness_not_heard", witness=line.asked.name, why=str(problem))

    async def _compare(self, line: WitnessLine) -> None:
        """Compare what a witness remembers of this log with the log itself.

        Raises:
            Problem: the witness does not answer, or shows nothing that this log signed; and
                ``JournalForked``, after the journal was stopped and the proof was kept.
        """
        where = f"witness {line.asked.name}"
        said = await line.last_checkpoint(self._key.name, self._settings.timeout_s)
        if said.status == 404:
            return
        if said.status != 200:
            raise Problem(Code.PEER_NONSENSE, where=where, detail=f"answered {said.status}")
        theirs = open_checkpoint(said.body, self._key, where=where)
        found = await asyncio.to_thread(self._contradiction, theirs, said.body)
        if found is None:
            return
        problem = Problem(
            Code.JOURNAL_FORKED,
            where=where,
            detail=f"it remembers a checkpoint of size {theirs.size} that this log signed and does "
            "not continue: was an old copy put back, or does another server run on a copy?",
            facts={"size": theirs.size},
        )
        self._contradicted = True  # there is nothing more to be cosigned
        self._journal.stop_signing(problem)
        log.error("own_log_contradicted", witness=line.asked.name, size=theirs.size)
        await self._report(found)
        raise problem

    def _contradiction(self, theirs: Checkpoint, note: bytes) -> Misbehaviour | None:
        """The proof that this log does not continue a checkpoint that it signed; None if it does.

        Raises:
            Problem: ``JournalCorrupt`` when a tile cannot be read.
        """
        try:
            shown = (self._journal.directory / "log" / CHECKPOINT).read_bytes()
            own = parse_text(parse_note(shown).text)
        except OSError:
            # Nothing is published yet: a log that signed before cannot be empty.
            shown, own = b"", Checkpoint(self._key.name, 0, merkle.EMPTY_ROOT)
        misdeed, proof = Misdeed.ROLLBACK, tuple[bytes, ...]()
        if theirs.size <= own.size:
            read = self._folder.subtrees(own.size)
            if merkle.root(theirs.size, read) == theirs.root:
                return None
            misdeed = Misdeed.FORK
            proof = merkle.prove_consistency(theirs.size, own.size, read)
        return Misbehaviour(
            misdeed,
            self._key.name,
            (str(self._key),),
            moment(self._clock.now()),
            self._seen_by,
            None,
            note,
            shown,
            theirs.size if misdeed is Misdeed.FORK else 0,
            proof,
        )

    # --- the quorum --------------------------------------------------------------------------

    async def _look_at_quorum(self) -> None:
        quorum = self.quorum
        if quorum is None:
            return
        try:
            await asyncio.to_thread(self._update, quorum)
        except (Problem, OSError) as error:
            log.error("anchors_unreadable", why=str(error))
            return
        missing = self.waiting_s > self._settings.alarm_s
        if missing and not quorum.alarmed:
            log.error("quorum_missing", seconds=round(self.waiting_s), size=quorum.covered_size)
        elif quorum.alarmed and not missing:
            log.info("quorum_back", size=quorum.covered_size)
        quorum.alarmed = missing

    def _update(self, quorum: Quorum) -> None:
        """Find the newest anchor with a quorum.

        Only the newest ones can have got one lately; all that were cosigned are gone through once.
        """
        anchors = self._journal.anchors
        candidates = islice(anchors.newest(), _RECENT) if quorum.looked_at else anchors.cosigned()
        for anchor in candidates:
            if anchor.size <= quorum.covered_size:
                break
            if quorum.policy.is_met(anchor.checkpoint):
                quorum.covered_size = anchor.size
                break
        quorum.looked_at = True
        waiting = anchors.after(quorum.covered_size) if quorum.policy.demands else None
        quorum.since = None if waiting is None else max(waiting.at, quorum.sought_at)


def _has(anchor: Anchor, key: VerifierKey) -> bool:
    return any(line.is_by(key) for line in parse_note(anchor.checkpoint).signatures)
