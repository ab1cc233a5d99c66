"""The story, step 6, over the network: SIA asks the servers of MOF and MPI under its mandates."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from console.auditing.asking import Auditor, Outcome, Told
from console.cli.audit.mandates import Way, open_auditor, read_mandates
from console.reference_world import laos
from console.reference_world.calls import require
from console.reference_world.world import World
from exchange.journal.auditing import JOURNAL

_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Answered:
    """What one server showed of an exchange, proven by the key of its log in the registry."""

    server: str
    mandate: str
    entries: int
    size: int


def inspect(world: World, mandates: tuple[str, ...], message_id: str) -> tuple[Answered, ...]:
    """Ask for one exchange; each server must show its two entries at least."""
    said = asyncio.run(_ask(world, mandates, message_id))
    for one in said:
        require(
            one.outcome is Outcome.PROVEN and len(one.hits) >= 2,
            f"SIA asks {one.server}",
            f"{one.outcome}, {len(one.hits)} entries: {one.code} {one.detail}",
        )
    return tuple(
        Answered(
            str(one.server),
            one.agreement.reference,
            len(one.hits),
            one.checkpoint.size if one.checkpoint is not None else 0,
        )
        for one in said
    )


async def _ask(world: World, mandates: tuple[str, ...], message_id: str) -> list[Told]:
    async with open_auditor(_way(world)) as auditor:
        return await _asked(auditor, mandates, message_id)


async def _asked(auditor: Auditor, mandates: tuple[str, ...], message_id: str) -> list[Told]:
    agreements = read_mandates(map(Path, mandates))
    return await auditor.ask(agreements, JOURNAL, "/entries", {"id": message_id}, None, _LIMIT)


def _way(world: World) -> Way:
    """SIA's application shows its certificate to the server that hosts it."""
    application = world.applications[laos.INSPECTION]
    return Way(
        via=world.servers[laos.DGC_SERVER].url("https"),
        cert=Path(application["certificate"]),
        key=Path(application["key"]),
        ca=world.authorities,
        registry=world.registry_url,
        root=world.anchor,
        purpose=None,
    )
