"""Memory of the signatures that were accepted, so that none is accepted twice.

RFC 9421 section 7.2.2 leaves replay to the application: a (keyid, nonce) pair is remembered until
its signature could no longer be fresh, :data:`KEEP_S` seconds. The durable copy is the journal:
after a restart the memory is filled from the requests recorded in the last minutes
(:func:`mediator.memory.remember`).

Clocks are set back. What was forgotten before could then be fresh again, so the memory keeps until
when it has forgotten, and takes no signature that ended before that.
"""

from __future__ import annotations

from collections import deque

from exchange.messages.signed import MAX_AGE_S, MAX_SKEW_S
from exchange.problems import Code, Problem

MAX_REMEMBERED = 2_000_000
KEEP_S = MAX_SKEW_S + MAX_AGE_S + MAX_SKEW_S + 1
"""The longest time from a signature's first arrival to its last: dated ahead by the skew, living
for the greatest age, taken a skew after its end; and freshness is judged in whole seconds."""


class ReplayMemory:
    """Bounded by time and by number; not shared between processes.

    ``since`` is when the memory begins: what is from before, :meth:`restore` brings in, and what
    it does not bring in had ended by then.
    """

    def __init__(self, *, keep_s: float = KEEP_S, since: float = 0.0) -> None:
        self._keep_s = keep_s
        self._forgotten_until = since
        self._seen: set[tuple[str, str]] = set()
        self._order: deque[tuple[float, tuple[str, str]]] = deque()

    def __len__(self) -> int:
        return len(self._seen)

    def restore(self, keyid: str, nonce: str, at: float) -> None:
        """Note a signature that the journal holds as accepted at the time ``at``."""
        pair = (keyid, nonce)
        if pair not in self._seen:
            self._seen.add(pair)
            self._order.append((at + self._keep_s, pair))

    def remember(self, keyid: str, nonce: str, expires: float, now: float) -> None:
        """Note one accepted signature, which says that it ends at ``expires``.

        Raises:
            Problem: ``ReplayedMessage`` when it was noted before; ``StaleSignature`` when it may
                have been noted and forgotten, because the clock was set back meanwhile;
                ``ServerOverloaded`` when the memory is full, since forgetting early would reopen
                the door.
        """
        order = self._order
        while order and order[0][0] < now:
            end, pair = order.popleft()
            self._seen.discard(pair)
            self._forgotten_until = max(self._forgotten_until, end)
        # A second more, since freshness is judged in whole seconds.
        if expires + MAX_SKEW_S + 1 <= self._forgotten_until:
            raise Problem(
                Code.STALE_SIGNATURE,
                where="signature-input",
                detail="the clock of this server was set back, to a time whose signatures it has "
                "forgotten",
                facts={"now": int(now), "forgotten_until": int(self._forgotten_until)},
            )
        pair = (keyid, nonce)
        if pair in self._seen:
            raise Problem(
                Code.REPLAYED_MESSAGE,
                where="Signature-Input nonce",
                detail="a message with this signature was received before",
            )
        if len(order) >= MAX_REMEMBERED:
            raise Problem(
                Code.OVERLOADED, where="replay memory", detail="too many messages a minute"
            )
        self._seen.add(pair)
        order.append((now + self._keep_s, pair))

    def forget(self, keyid: str, nonce: str) -> None:
        """Take back a signature whose message was not accepted after all: its body did not come."""
        self._seen.discard((keyid, nonce))
