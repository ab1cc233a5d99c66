"""A witness that really listens, and journals that have it cosign."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.notes import VerifierKey, parse_note
from exchange.log.policy import Policy, any_of
from exchange.log.witness import Submission, format_submission
from exchange.problems import Problem
from mediator.journal.log import Journal, JournalSettings
from mediator.witness.alone import LoneWitness, open_lone
from mediator.witness.cosigning import Cosigning
from mediator.witness.known import Asked
from mediator.witness.line import WitnessLine, to_url, trusting
from mediator.witness.misbehaviour import Misbehaviour
from mediator.witness.settings import LoneWitnessSettings, WitnessSettings
from serving.clock import SystemClock
from tests.journal.world import MPI, VERIFIER, entry, until
from tests.journal.world import journal_in as open_journal

OFTEN = JournalSettings(publish_interval_s=0.01, anchor_s=0.01)
PATIENT = WitnessSettings(timeout_s=20, retry_max_s=0.1, hold_s=20, alarm_s=0)


@contextlib.asynccontextmanager
async def witness_in(
    directory: Path, name: str = "w.example/1", listen: str = "127.0.0.1:0", **more: Any
) -> AsyncIterator[LoneWitness]:
    """A witness of the test journal's log (and of ``logs``)."""
    settings = LoneWitnessSettings(
        name=name,
        directory=directory,
        listen=listen,
        **{"logs": (str(VERIFIER),), **more},
    )
    async with open_lone(settings) as running:
        yield running


def asked_of(witness: LoneWitness, name: str = "w1") -> Asked:
    return Asked(name, witness.witness.key, None, f"{witness.listener.url}/witness")


def line_to(asked: Asked) -> WitnessLine:
    return to_url(asked, 5.0, trusting(None))


@dataclass
class Cosigned:
    """An open journal that has witnesses cosign it."""

    journal: Journal
    cosigning: Cosigning
    reported: list[Misbehaviour] = field(default_factory=list)

    async def record(self, *numbers: int) -> None:
        for number in numbers:
            await self.journal.record(entry(number), MPI)

    async def witnessed(self, size: int | None = None) -> None:
        """Wait until the newest anchor, of all that is recorded, has a quorum."""
        wanted = self.journal.size if size is None else size
        await until(
            lambda: (
                self.cosigning.quorum is not None and self.cosigning.quorum.covered_size >= wanted
            ),
            30,
        )


@contextlib.asynccontextmanager
async def cosigned_journal(
    directory: Path,
    asked: list[Asked],
    *,
    quorum: int = 1,
    settings: WitnessSettings = PATIENT,
    sought: Callable[[], tuple[list[Asked], Policy]] | None = None,
    **more: Any,
) -> AsyncIterator[Cosigned]:
    """The test journal, held until the witnesses were heard, as a server has it."""
    policy = any_of({one.name: one.key for one in asked}, quorum)
    async with open_journal(directory, OFTEN, held=True, **more) as journal:
        reported: list[Misbehaviour] = []

        async def report(found: Misbehaviour) -> None:
            reported.append(found)

        cosigning = Cosigning(
            journal,
            VERIFIER,
            settings,
            sought or (lambda: (asked, policy)),
            line_to,
            report,
            SystemClock(),
            "the test",
        )
        running = asyncio.create_task(cosigning.run())
        try:
            yield Cosigned(journal, cosigning, reported)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def submit(
    asked: Asked, old: int, proof: tuple[bytes, ...], note: bytes, where: str = ""
) -> tuple[int, bytes]:
    """Ask once: status and body."""
    line = line_to(asked)
    try:
        said = await line.add_checkpoint(
            format_submission(Submission(old, proof, parse_note(note))), 20
        )
    finally:
        await line.close()
    return said.status, said.body


async def remembered(asked: Asked, origin: str, key: VerifierKey) -> Checkpoint | None:
    """What a witness shows as the last checkpoint of a log."""
    line = line_to(asked)
    try:
        said = await line.last_checkpoint(origin, 20)
    finally:
        await line.close()
    if said.status == 404:
        return None
    assert said.status == 200
    return open_checkpoint(said.body, key)


def code_of(problem: Problem | None) -> str | None:
    return None if problem is None else problem.code.value
