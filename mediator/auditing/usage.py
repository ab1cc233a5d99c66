"""Usage: who used the records of a subject, when, by which service, for which purpose.

What is told is a provider's answer or refusal that carries the subject's tag; never what was in it.
Asking for the usage of a subject is not itself told. A use is told later than it was made where an
agreement or the server's setting delays it, and not at all while an order hides it; a mandate that
shows what is hidden shows these too, and says why others do not see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from exchange.documents import format_moment
from exchange.journal.auditing import USAGE
from exchange.journal.entries import Kind, Side
from exchange.registrations import AUDITING
from mediator.auditing.scope import Facts, Scope

DelayOf = Callable[[str | None], int]
"""For how many days uses under an agreement (its reference) are not told."""
_OF_USAGE: Final = f"/{AUDITING}/{USAGE}"
_TOLD: Final = ("at", "client", "service", "purpose", "agreement", "id")


@dataclass(frozen=True, slots=True)
class Uses:
    """What one question about usage is told."""

    scope: Scope
    delay: DelayOf

    def tells(self, facts: Facts) -> bool:
        """Whether an entry is a use that is told now."""
        if facts.side != Side.PROVIDER or facts.kind not in (Kind.RESPONSE, Kind.REFUSAL):
            return False
        if (facts.service or "").endswith(_OF_USAGE) or not self.scope.shows(facts):
            return False
        return self.scope.mandate.hidden or self._told_from(facts) <= self.scope.now

    def describe(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A use as it is told; what the mandate does not show is null."""
        answered = entry["kind"] == Kind.RESPONSE and entry.get("status", 200) < 400
        shows = self.scope.mandate.shows
        told: dict[str, Any] = {
            **{name: entry.get(name) if shows(name) else None for name in _TOLD},
            "outcome": "answered" if answered else "refused",
        }
        if self.scope.mandate.hidden:
            told |= self._withheld(Facts.told(entry))
        return told

    def _withheld(self, facts: Facts) -> dict[str, Any]:
        """What keeps others from being told, if anything does."""
        order = self.scope.hidings.hiding(facts, self.scope.now)
        since = self._told_from(facts)
        withheld: dict[str, Any] = {}
        if order is not None:
            withheld["hidden_by"] = order.number
        if since > self.scope.now:
            withheld["told_from"] = format_moment(since)
        return withheld

    def _told_from(self, facts: Facts) -> datetime:
        return facts.at + timedelta(days=self.delay(facts.agreement))
