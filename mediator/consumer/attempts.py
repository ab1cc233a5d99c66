"""The attempts for one call: which server is asked next, and when it is enough.

What became of an attempt decides where the next one may go (:class:`Fate`):

- *not sent*: another server, whatever the method (RFC 9110 section 9.2.2 asks no more than that
  the first request was not acted upon);
- *refused*: the server says that it did nothing; another server, whatever the method;
- *unknown*: the message was sent and no answer came. A safe method (RFC 9110 section 9.2.1) may
  go anywhere. Any other may go only to the same server or to one that shares its exactly-once
  book, which answers a repeated message id and does not act again.

Attempts are bounded in number, by the time of the whole exchange, and by what each server has left
of repeats (:mod:`mediator.consumer.discovery`). Repeats after *not sent*, and after a server said
that it goes away, are not counted against that: nobody had the message.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final, NamedTuple

from exchange.identifiers import ServerId
from exchange.messages.heads import SAFE_METHODS
from exchange.problems import ACTED, Code, Problem
from exchange.registrations import ServerRecord
from mediator.administration.metrics import Metrics
from mediator.consumer.discovery import Peers, State, Visit
from mediator.message.stages import OpenedAnswer, Routed
from mediator.settings import PeerSettings
from serving.clock import Clock

# A server that says so rests at once.
_LEAVES: Final = frozenset({Code.MAINTENANCE_MODE, Code.SHUTTING_DOWN})
_MAX_DETAIL: Final = 200


class Fate(StrEnum):
    """What became of a message."""

    NOT_SENT = "not sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Missed(Exception):
    """An attempt that brought no answer to the call; another may be made.

    ``counts`` is False when it says nothing about the server; ``refusal`` is the signed refusal.
    """

    def __init__(
        self,
        problem: Problem,
        fate: Fate,
        *,
        counts: bool = True,
        refusal: OpenedAnswer | None = None,
    ) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.fate = fate
        self.counts = counts
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Trying:
    """What all attempts share; built once by mediator/server.py."""

    peers: Peers
    settings: PeerSettings
    metrics: Metrics
    clock: Clock


class _Told(NamedTuple):
    """What is told of one server at the end; the weightiest gives the problem its code."""

    server: ServerId
    problem: Problem
    weight: int


class Attempts:
    """The attempts for one call; ``begun`` is their number."""

    def __init__(self, routed: Routed, trying: Trying, timeout_s: float) -> None:
        self._servers = routed.servers
        self._service = routed.call.service
        self._safe = routed.call.method in SAFE_METHODS
        self._trying = trying
        self._time = asyncio.get_running_loop().time
        self._deadline = self._time() + timeout_s
        self._failed: list[tuple[ServerId, Missed]] = []
        self._out: set[ServerId] = set()
        """Servers that this call does not go to again."""
        self._bound_to: ServerRecord | None = None
        """The server that may have acted: only it, or one that shares its book, may be asked."""
        self.begun = 0

    @property
    def left_s(self) -> float:
        """Seconds until the whole exchange must have ended."""
        return self._deadline - self._time()

    @property
    def repeats(self) -> bool:
        """Whether a server may have acted on this unsafe call already."""
        return self._bound_to is not None

    @property
    def refusal(self) -> OpenedAnswer | None:
        """The signed refusal of the only server, which says all that there is to say."""
        alone = len(self._servers) == len(self._failed) == 1
        return self._failed[0][1].refusal if alone else None

    async def next(self) -> Visit:
        """The next server, at once, or after a pause when it has had this call before.

        Raises:
            Problem: there is none, or it is enough: why, server by server.
        """
        visit = None
        if not self.begun:
            visit = self._choose(self._servers)
        elif self._may_go_on():
            tried = {server for server, _ in self._failed}
            allowed = self._allowed()
            visit = self._choose([server for server in allowed if server.id not in tried])
            again = [server for server in allowed if server.id in tried]
            if visit is None and again and await self._pause():
                visit = self._choose(again)
        if visit is None:
            raise self._enough()
        self.begun += 1
        return visit

    def answered(self, visit: Visit) -> None:
        """The attempt brought the answer."""
        self._trying.peers.answered(visit)

    def left(self, visit: Visit) -> None:
        """The attempt ended the call without an answer, for a reason that no server helps with."""
        self._trying.peers.left(visit)

    def missed(self, visit: Visit, missed: Missed) -> None:
        """The attempt brought nothing: note what that means for the next one, and of the server."""
        server, code = visit.server, missed.problem.code
        self._failed.append((server.id, missed))
        self._trying.metrics.missed(missed.fate)
        self._tell_of(visit, missed)
        if missed.fate is Fate.UNKNOWN:
            if not self._safe:
                self._bound_to = self._bound_to or server
            elif code is not Code.PEER_UNREACHABLE:
                self._out.add(server.id)  # slow, or no HTTP: it would be so again
        elif missed.fate is Fate.REFUSED or self._bound_to is None:
            self._out.add(server.id)

    def _tell_of(self, visit: Visit, missed: Missed) -> None:
        peers, problem = self._trying.peers, missed.problem
        leaves = missed.fate is Fate.REFUSED and problem.code in _LEAVES
        if missed.fate is Fate.REFUSED and not leaves:
            peers.answered(visit)  # one service, or one caller, has its share: others go on
        elif missed.counts:
            peers.failed(visit, problem, self._trying.clock.now(), self._time(), leaves=leaves)
        else:
            peers.left(visit)

    def _choose(self, servers: Sequence[ServerRecord]) -> Visit | None:
        return self._trying.peers.choose(servers, self._time(), safe=self._safe)

    def _allowed(self) -> list[ServerRecord]:
        bound = self._bound_to
        return [
            server
            for server in self._servers
            if server.id not in self._out and (bound is None or server.shares_book_with(bound))
        ]

    def _may_go_on(self) -> bool:
        """Whether number, time and the last server's repeats allow another attempt at all."""
        if self.begun >= self._trying.settings.attempts or self.left_s <= 0 or not self._allowed():
            return False
        server, missed = self._failed[-1]
        free = missed.fate is not Fate.UNKNOWN and missed.problem.code is not Code.OVERLOADED
        if free or self._trying.peers.may_repeat(server):
            self._trying.metrics.repeated()
            return True
        self._trying.metrics.not_repeated()
        return False

    async def _pause(self) -> bool:
        """Back off; False when the time of the exchange is not enough for that."""
        settings = self._trying.settings
        longest = min(settings.backoff_s * 2 ** (self.begun - 1), settings.backoff_max_s)
        pause_s = longest * random.uniform(0.5, 1)
        if pause_s >= self.left_s:
            return False
        await asyncio.sleep(pause_s)
        return True

    # --- what the application is told --------------------------------------------------------

    def _enough(self) -> Problem:
        told = [
            _Told(server, missed.problem, self._weight(missed)) for server, missed in self._failed
        ]
        if len(told) == 1 and len(self._servers) == 1:
            return told[0].problem
        tried = {item.server for item in told}
        resting = [server for server in self._servers if server.id not in tried]
        told += [_Told(server.id, self._of_resting(server), 0) for server in resting]
        if not told:
            return Problem(Code.PEER_UNREACHABLE, where=str(self._service))
        return _together(told, str(self._service))

    def _weight(self, missed: Missed) -> int:
        if missed.fate is Fate.UNKNOWN:
            return 2 if self._safe else 3
        return 2 if missed.fate is Fate.REFUSED else 1

    def _of_resting(self, server: ServerRecord) -> Problem:
        """A server that was not asked: why it rests, and when it is asked again."""
        peer = self._trying.peers.of(server.id)
        if peer.state is State.CLOSED or peer.trouble is None:
            return Problem(Code.PEER_UNREACHABLE, where=str(server.id), detail="not asked")
        last = peer.trouble.problem
        again_s = max(1, ceil(self._trying.peers.looks_in_s([server], self._time())))
        facts = {"retry_after_s": again_s, **last.facts}
        detail = last.detail
        if last.code is not Code.MAINTENANCE_MODE:
            detail = f"not asked since it failed at {peer.trouble.at:%H:%M:%SZ}: {detail}"
        return Problem(last.code, where=last.where, detail=detail, facts=facts)


def _together(told: Sequence[_Told], where: str) -> Problem:
    """One problem for all servers: the weightiest's code, and each server's reason."""
    weight = max(item.weight for item in told)
    weightiest = [item.problem for item in told if item.weight == weight]
    last = weightiest[-1]
    mixed = weight <= 1 and len({problem.code for problem in weightiest}) > 1
    lines = [f"{name}: {problem.code}: {problem.detail[:_MAX_DETAIL]}" for name, problem, _ in told]
    details = {item.problem.detail for item in told}
    facts = {name: value for name, value in last.facts.items() if name != ACTED}
    waits = [item.problem.facts.get("retry_after_s") for item in told]
    if numbers := [wait for wait in waits if isinstance(wait, int)]:
        facts["retry_after_s"] = min(numbers)
    facts["servers"] = lines
    code = Code.PEER_UNREACHABLE if mixed else last.code
    # A notice that all servers give is told as it is, not once for each.
    one_notice = code is Code.MAINTENANCE_MODE and len(details) == 1
    detail = last.detail if one_notice else "; ".join(lines)
    return Problem(code, where=where, detail=detail, facts=facts)
