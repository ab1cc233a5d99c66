"""Finding a provider's server: what is thought of each peer server, and which is asked next.

Pure but for the chance that it is given: the time, in seconds of any clock that never goes back,
is an argument.

A **breaker** for each server keeps calls away from one that does not answer. Its states and what
leads from one to another is the table :data:`NEXT`: *closed* (messages go there), *open* (none
does, for a time that doubles with each failed look), *half-open* (one message looks whether it
answers again). Only what happens within a state counts for it: a failure of a message that was
sent before the state changed is late news, but an answer always closes.

The **choice** is that of two random choices: of two servers picked by chance, the one with fewer
failures in a row of late (within ``breaker_s``), then with fewer messages under way.

Invariants:
- a server that rests is not chosen while another one is closed; when its rest is over, one message
  looks (a safe one; an unsafe one only when no safe one has come for the longest rest);
- when all rest, one message looks at each of them once in ``breaker_s``, and the others are told
  at once that there is nobody;
- of the messages to a server at most ``retry_share``, and ``retry_reserve`` besides, are repeated
  after they failed there: repeats cannot multiply an overload.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from exchange.identifiers import ServerId
from exchange.problems import Problem
from exchange.registrations import ServerRecord
from mediator.settings import PeerSettings

MAX_PEERS: Final = 4096


class State(StrEnum):
    """Of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Event(StrEnum):
    """What a breaker hears of."""

    ANSWERED = "answered"
    FAILED = "failed"
    FAILED_OFTEN = "failed often"
    """As often in a row as the setting says, or the server said itself that it goes away."""
    LOOKED = "looked"
    """A message sets out to see whether the server answers again."""
    LEFT = "left"
    """That message ended without a word about the server."""


NEXT: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.CLOSED, Event.ANSWERED): State.CLOSED,
        (State.CLOSED, Event.FAILED): State.CLOSED,
        (State.CLOSED, Event.FAILED_OFTEN): State.OPEN,
        (State.CLOSED, Event.LEFT): State.CLOSED,
        (State.OPEN, Event.ANSWERED): State.CLOSED,
        (State.OPEN, Event.LOOKED): State.HALF_OPEN,
        (State.HALF_OPEN, Event.ANSWERED): State.CLOSED,
        (State.HALF_OPEN, Event.FAILED): State.OPEN,
        (State.HALF_OPEN, Event.FAILED_OFTEN): State.OPEN,
        (State.HALF_OPEN, Event.LOOKED): State.HALF_OPEN,
        (State.HALF_OPEN, Event.LEFT): State.OPEN,
    }
)


class Trouble(NamedTuple):
    """The last that went wrong with a server."""

    problem: Problem
    at: datetime


class Peer:
    """What is thought of one server; changed by :class:`Peers` alone."""

    __slots__ = (
        "allowance",
        "epoch",
        "failed_at",
        "failures",
        "id",
        "looked_at",
        "rest_s",
        "rests_until",
        "running",
        "state",
        "trouble",
    )

    def __init__(self, server: ServerId, reserve: float) -> None:
        self.id = server
        self.state = State.CLOSED
        self.epoch = 0
        self.failures = 0
        """In a row, up to now."""
        self.failed_at = 0.0
        self.running = 0
        self.allowance = reserve
        """How many messages may be repeated now."""
        self.rest_s = 0.0
        self.rests_until = 0.0
        self.looked_at = 0.0
        self.trouble: Trouble | None = None

    def hear(self, event: Event) -> State:
        """Go on by the table."""
        state = NEXT[self.state, event]
        if state is not self.state:
            self.state = state
            self.epoch += 1
        return state


@dataclass(frozen=True, slots=True)
class Visit:
    """A message that is under way to a server; ends by exactly one of the methods of `Peers`."""

    server: ServerRecord
    peer: Peer
    epoch: int


class Peers:
    """All that is thought of the other servers; belongs to one event loop."""

    def __init__(self, settings: PeerSettings, chance: random.Random | None = None) -> None:
        self._settings = settings
        self._chance = chance or random.Random()
        self._peers: dict[ServerId, Peer] = {}

    @property
    def known(self) -> Sequence[Peer]:
        """All servers that were asked since the start, and that are still remembered."""
        return tuple(self._peers.values())

    def of(self, server: ServerId) -> Peer:
        """What is thought of a server; one that was never asked is taken to be well."""
        peer = self._peers.get(server)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                self._forget()
            peer = self._peers[server] = Peer(server, self._settings.retry_reserve)
        return peer

    # --- the choice --------------------------------------------------------------------------

    def choose(self, servers: Sequence[ServerRecord], now: float, *, safe: bool) -> Visit | None:
        """The server that gets a message now; none when all rest or there is none."""
        if len(servers) == 1:  # the common case, without lists
            server = servers[0]
            peer = self.of(server.id)
            if peer.state is State.CLOSED:
                return self._visit(server, peer, now)
        closed: list[tuple[ServerRecord, Peer]] = []
        resting: list[tuple[ServerRecord, Peer]] = []
        for server in servers:
            peer = self.of(server.id)
            (closed if peer.state is State.CLOSED else resting).append((server, peer))
        looks = self._due(resting, now, safe, alone=not closed) if resting else None
        if looks is not None:
            return self._visit(*looks, now)
        if not closed:
            return None
        if len(closed) > 2:
            closed = self._chance.sample(closed, 2)
        elif len(closed) == 2 and self._chance.random() < 0.5:
            closed.reverse()
        return self._visit(*min(closed, key=lambda item: self._rank(item[1], now)), now)

    def _rank(self, peer: Peer, now: float) -> tuple[int, int]:
        """Failures count for a while only: a server that had one must get messages again."""
        of_late = peer.failures and now < peer.failed_at + self._settings.breaker_s
        return peer.failures if of_late else 0, peer.running

    def looks_in_s(self, servers: Sequence[ServerRecord], now: float) -> float:
        """In how many seconds one of these resting servers may be asked again."""
        soon = [self.of(server.id).looked_at for server in servers]
        return max(0.0, min(soon, default=now) + self._settings.breaker_s - now)

    def _due(
        self,
        resting: Sequence[tuple[ServerRecord, Peer]],
        now: float,
        safe: bool,
        *,
        alone: bool,
    ) -> tuple[ServerRecord, Peer] | None:
        """The server whose turn it is to be looked at, the one that has waited longest."""
        settings = self._settings
        if alone:
            due = [item for item in resting if now >= item[1].looked_at + settings.breaker_s]
        else:
            more_s = 0.0 if safe else settings.breaker_max_s
            due = [
                item
                for item in resting
                if item[1].state is State.OPEN and now >= item[1].rests_until + more_s
            ]
        return min(due, key=lambda item: item[1].looked_at, default=None)

    def _visit(self, server: ServerRecord, peer: Peer, now: float) -> Visit:
        if peer.state is not State.CLOSED:
            peer.hear(Event.LOOKED)
            peer.looked_at = now
        peer.running += 1
        settings = self._settings
        peer.allowance = min(peer.allowance + settings.retry_share, settings.retry_reserve + 1)
        return Visit(server, peer, peer.epoch)

    # --- how it went -------------------------------------------------------------------------

    def answered(self, visit: Visit) -> None:
        """The server did what it is there for, be it to refuse."""
        peer = visit.peer
        peer.running -= 1
        if peer.state is not State.CLOSED or peer.failures:
            peer.hear(Event.ANSWERED)
            peer.failures = 0
            peer.rest_s = 0.0

    def failed(
        self, visit: Visit, problem: Problem, at: datetime, now: float, *, leaves: bool = False
    ) -> None:
        """The server did not answer, or said that it goes away (then it rests at once)."""
        peer = visit.peer
        peer.running -= 1
        peer.trouble = Trouble(problem, at)
        if visit.epoch != peer.epoch:
            return
        peer.failures += 1
        peer.failed_at = now
        settings = self._settings
        often = leaves or peer.failures >= settings.breaker_failures
        if peer.hear(Event.FAILED_OFTEN if often else Event.FAILED) is State.OPEN:
            peer.rest_s = min(peer.rest_s * 2 or settings.breaker_s, settings.breaker_max_s)
            # Not all servers that call it come back at one moment.
            peer.rests_until = now + peer.rest_s * self._chance.uniform(1, 1.2)
            peer.looked_at = now

    def left(self, visit: Visit) -> None:
        """The message ended for a reason that says nothing of the server."""
        peer = visit.peer
        peer.running -= 1
        if visit.epoch == peer.epoch:
            peer.hear(Event.LEFT)

    def may_repeat(self, server: ServerId) -> bool:
        """Take one of the repeats that messages which failed at this server may have."""
        peer = self.of(server)
        if peer.allowance < 1:
            return False
        peer.allowance -= 1
        return True

    def _forget(self) -> None:
        """Servers come and go with the registry: forget those of which nothing bad is known."""
        for peer in self.known:
            if peer.state is State.CLOSED and not peer.running:
                del self._peers[peer.id]
