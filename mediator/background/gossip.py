"""Servers compare what the registry shows them, so that it cannot show two of them two histories.

Each server serves the head of the registry's log that it accepted where witnesses serve theirs
(C2SP tlog-witness, the read side of the listener for other servers). At each new head, and now and
then, a server asks a few others, chosen anew by chance, for theirs. An older one must be its own
past, a newer one is looked at again when this server has caught up; what fits with neither convicts
the registry (:mod:`mediator.registry_copy.log_growth`).

What does not work here stops nothing: a peer that does not answer is not asked again this time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from exchange.identifiers import ServerId
from exchange.log.notes import COSIGNATURE_ED25519
from exchange.problems import Code, Problem
from exchange.trust.state import RegistryState
from mediator.own_keys import witness_of
from mediator.registry_copy.view import RegistryView
from mediator.witness.known import Asked, key_of
from mediator.witness.line import WitnessLine

ROUNDS_BEHIND: Final = 3
log = structlog.get_logger("mediator.background.gossip")


class Gossip:
    """Compares the head of the registry's log that ``view`` accepted with those of peers."""

    def __init__(
        self,
        view: RegistryView,
        own: ServerId,
        line: Callable[[Asked], WitnessLine],
        *,
        peers: int,
        pause_s: float,
        timeout_s: float,
    ) -> None:
        """Args:
        line: makes the way to a peer.
        peers: so many are asked each time.
        pause_s: longest time between two rounds.
        """
        self.rounds = 0
        self.behind = 0
        self._view = view
        self._own = own
        self._line = line
        self._peers = peers
        self._pause_s = pause_s
        self._timeout_s = timeout_s

    async def run(self) -> None:
        """Compare at each new head and after each pause, until cancelled."""
        while self._peers:
            news = self._view.news
            try:
                await self.compare()
            except Exception:
                # A fault of ours must not end the server, whose traffic does not need this.
                log.exception("gossip_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s):
                    await news.wait()

    async def compare(self) -> None:
        """Ask a few peers now, and compare."""
        head = self._view.head
        if head is None:
            return
        try:
            candidates = list(_witnesses(self._view.state, self._own))
        except Problem:
            return  # the registry's word is too old: that is told elsewhere
        chosen = random.sample(candidates, min(self._peers, len(candidates)))
        newer = [await self._ask(asked, head.origin) for asked in chosen]
        self.rounds += 1
        self.behind = self.behind + 1 if any(newer) else 0
        if self.behind >= ROUNDS_BEHIND:
            # Others are shown what is kept from this server: another mirror may have it.
            log.warning("registry_shows_others_more", rounds=self.behind)
            self._view.try_next()

    async def _ask(self, asked: Asked, origin: str) -> bool:
        """Whether a peer knows more."""
        line = self._line(asked)
        try:
            said = await line.last_checkpoint(origin, self._timeout_s)
            if said.status != 200:
                return False
            return await self._view.compare(said.body)
        except Problem as problem:
            if problem.code is Code.LOG_CONTRADICTED:
                log.error("registry_contradicted", peer=asked.name, why=str(problem))
            else:
                log.info("peer_not_compared", peer=asked.name, why=str(problem))
            return False
        finally:
            await line.close()


def _witnesses(state: RegistryState, own: ServerId) -> Iterable[Asked]:
    for member in state.members.values():
        for server in member.servers:
            key = key_of(server.witness, witness_of(server.id), COSIGNATURE_ED25519)
            if key is not None and server.id != own:
                yield Asked(str(server.id), key, server, None)
