"""Previews: values that a person sees before they are passed on, kept in memory for a while.

Invariants: at most :data:`MAX_KEPT` of all applications and :data:`MAX_EACH` of one, with values of
:data:`MAX_BYTES` together, for :data:`KEPT_S`; only the application that asked finds its own; a
decision stands: the same one again gets the same answer, another one is refused. A restart forgets
previews: nothing was passed on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from mediator.once_only.values import Answered

KEPT_S: Final = 900.0
MAX_KEPT: Final = 2000
MAX_EACH: Final = 1000
MAX_BYTES: Final = 32 << 20


@dataclass(slots=True)
class Preview:
    """What a person decides upon; ``declined`` is None until that was decided and recorded.

    Decisions on one preview come one after the other (``deciding``).
    """

    answered: Answered
    until: float
    declined: frozenset[str] | None = None
    deciding: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def size(self) -> int:
        """The bytes of its values."""
        return sum(one.size for one in self.answered.given)


class Previews:
    """All open previews of this server, the oldest first."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._kept: OrderedDict[str, Preview] = OrderedDict()
        self._each: dict[ApplicationId, int] = {}
        self._bytes = 0

    def check_room(self, client: ApplicationId, size: int = 0) -> None:
        """Raises: Problem ``ServerOverloaded`` or ``QuotaExceeded`` when one more is too many."""
        self._forget()
        if self._each.get(client, 0) >= MAX_EACH:
            raise Problem(
                Code.QUOTA_EXCEEDED,
                where="preview",
                detail=f"{client} has {MAX_EACH} previews that wait for a decision",
                facts={"retry_after_s": 60},
            )
        if len(self._kept) >= MAX_KEPT or self._bytes + size > MAX_BYTES:
            raise Problem(
                Code.OVERLOADED,
                where="preview",
                detail=f"{len(self._kept)} previews of {self._bytes} bytes wait for a decision",
                facts={"retry_after_s": 60},
            )

    def put(self, answered: Answered) -> Preview:
        """Keep what waits for a decision.

        Raises:
            Problem: as :meth:`check_room`.
        """
        client = answered.wanted.client
        preview = Preview(answered, self._now() + KEPT_S)
        self.check_room(client, preview.size)
        self._kept[answered.wanted.id] = preview
        self._bytes += preview.size
        self._each[client] = self._each.get(client, 0) + 1
        return preview

    def find(self, identifier: str, client: ApplicationId) -> Preview:
        """The preview of this id, if the application has it.

        Raises:
            Problem: ``NotFound``.
        """
        self._forget()
        preview = self._kept.get(identifier)
        if preview is None or preview.answered.wanted.client != client:
            raise Problem(
                Code.NOT_FOUND,
                where="path.id",
                detail=f"no preview of this id waits here; it does for {int(KEPT_S)} seconds",
            )
        return preview

    def _forget(self) -> None:
        now = self._now()
        while self._kept:
            identifier, oldest = next(iter(self._kept.items()))
            if oldest.until > now:
                return
            del self._kept[identifier]
            self._bytes -= oldest.size
            client = oldest.answered.wanted.client
            left = self._each[client] - 1
            if left:
                self._each[client] = left
            else:
                del self._each[client]
