"""Answers that are given again for a while: bounded in bytes, each with its age.

Keyed by the statement, the fields that were chosen, those that are masked and how, and every value
that is bound, so conditions on rows, which are bound values, keep callers apart as they do at the
source. Keys are digests, and
count: many small answers take no more memory than few large ones.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

from adapters.answers.requests import Plan

MAX_BYTES = 16 << 20
_OVERHEAD = 512  # what key and bookkeeping of an answer take, measured generously


@dataclass(frozen=True, slots=True)
class Kept:
    """A body, the number of all records if it was asked, and when (monotonic) they were given."""

    body: bytes
    total: str | None
    made: float


class AnswerCache:
    """The last answers of one service; the one not asked for longest goes first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._most = max_bytes
        self._size = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def get(self, key: bytes, now: float, valid_s: float) -> Kept | None:
        """The answer kept under ``key`` if it is not older than ``valid_s``."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now - kept.made > valid_s:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, body: bytes, now: float, total: str | None = None) -> None:
        """Keep ``body``, unless it alone would fill a quarter of the cache."""
        if len(body) > self._most // 4:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = Kept(body, total, now)
        self._size += len(body) + _OVERHEAD
        while self._size > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        self._size -= len(self._kept.pop(key).body) + _OVERHEAD


def key_of(plan: Plan, reading: str = "") -> bytes:
    """What tells this answer from every other of the service.

    Args:
        reading: what tells the present state of a source from others, as far as it is known:
            the reading of its files, the changes that were made through the adapter. What was
            kept of another state is not found again.
    """
    # The form of a value tells its type: 1, 1.0 and True are three values of SQL.
    members = None if plan.members is None else sorted(plan.members)
    values = sorted(plan.values.items())
    masked = [(name, str(shown)) for name, shown in plan.masked]
    asked = (plan.endpoint.path, plan.statement, plan.count, plan.page_size, plan.binding)
    joined = [join.asked for join in plan.layout.joins]
    # The text of the statement does not say how its conditions compare.
    told = repr((*asked, plan.asked.conditions, members, values, reading, masked, joined))
    return sha256(told.encode(errors="backslashreplace")).digest()
