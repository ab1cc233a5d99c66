"""Places: who runs how many exchanges at the same time, and how many they may.

The gate bounds the whole; here nobody takes all of it. A ship's bulkheads: many slow calls of one
application, or to one slow backend, fill their own compartment, and the others go on.

Invariants: nobody holds more than the bound under which a place was taken; every place is given
back when its exchange ends, however it ends; only those who hold something take memory. A full
compartment refuses at once: there is no queue.
"""

from __future__ import annotations

from typing import NamedTuple

from exchange.problems import ACTED, Code, Problem

RETRY_AFTER_S = 1


class Bound(NamedTuple):
    """At most ``most`` places for ``holder``; ``limit`` is the setting or member that says so.

    ``ours`` tells whose bound it is: the server's own (503) or the caller's share (429).
    """

    holder: str
    most: int
    limit: str
    ours: bool = False


class Places:
    """Who holds how many places now."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def holder(self) -> Held:
        """The places of one exchange, none yet; a context that gives back what was taken."""
        return Held(self._held)

    def held(self, holder: str) -> int:
        """How many places ``holder`` has."""
        return self._held.get(holder, 0)

    @property
    def holders(self) -> int:
        """How many hold anything."""
        return len(self._held)


class Held:
    """The places of one exchange."""

    __slots__ = ("_all", "_taken")

    def __init__(self, held: dict[str, int]) -> None:
        self._all = held
        self._taken: list[str] = []

    def take(self, bound: Bound) -> None:
        """Take one more place.

        Raises:
            Problem: ``QuotaExceeded`` or, when the bound is ours, ``ServerOverloaded``.
        """
        running = self._all.get(bound.holder, 0)
        if running >= bound.most:
            raise Problem(
                Code.OVERLOADED if bound.ours else Code.QUOTA_EXCEEDED,
                where=bound.holder,
                detail=f"{running} exchanges of {bound.holder} are running; "
                f"{bound.limit} is {bound.most}",
                facts={
                    "limit": bound.limit,
                    "most": bound.most,
                    "retry_after_s": RETRY_AFTER_S,
                    ACTED: False,
                },
            )
        self._all[bound.holder] = running + 1
        self._taken.append(bound.holder)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *raised: object) -> None:
        held = self._all
        while self._taken:
            holder = self._taken.pop()
            left = held[holder] - 1
            if left:
                held[holder] = left
            else:
                del held[holder]
