"""Scope: which entries of a journal a mandate shows.

A journal holds the entries of all members that its server hosts; a mandate is of one of them. An
entry is of the member on whose side it was recorded; what names no hosted member (a handshake, a
start, a message for somebody else) is of the member that owns the server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from exchange.agreements import Mandate
from exchange.identifiers import MemberId
from exchange.journal.entries import Kind, Side
from mediator.auditing.hidings import HIDING, Hidings
from mediator.journal.index import Hit


class Facts(NamedTuple):
    """What of an entry decides whether it is shown; as text, as the index has it."""

    at: datetime
    kind: str
    side: str
    client: str | None
    service: str | None
    purpose: str | None
    agreement: str | None
    id: str | None
    event: str | None = None

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """Those of an entry that a search found."""
        return cls(
            hit.at,
            hit.kind,
            hit.side,
            hit.client,
            hit.service,
            hit.purpose,
            hit.agreement,
            hit.id,
            hit.event,
        )

    @classmethod
    def told(cls, entry: Mapping[str, Any]) -> Self:
        """Those of an entry as it is in the log."""
        get = entry.get
        return cls(
            datetime.fromisoformat(entry["at"]),
            entry["kind"],
            entry["side"],
            get("client"),
            get("service"),
            get("purpose"),
            get("agreement"),
            get("id"),
            get("event"),
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """What one mandate shows; ``owner`` is the member whose server this is."""

    provider: MemberId
    owner: MemberId
    hosted: Collection[MemberId]
    mandate: Mandate
    hidings: Hidings
    now: datetime
    _members: frozenset[str] = field(init=False, repr=False)
    _others: frozenset[str] = field(init=False, repr=False)
    _services: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # As text, which is what entries have: a search compares thousands of them.
        object.__setattr__(self, "_members", frozenset(map(str, self.hosted)))
        object.__setattr__(self, "_others", frozenset(map(str, self.mandate.organisations)))
        object.__setattr__(self, "_services", frozenset(map(str, self.mandate.services)))

    def shows(self, facts: Facts) -> bool:
        """Whether the mandate shows an entry."""
        mandate = self.mandate
        if facts.at < mandate.since or (mandate.until is not None and facts.at >= mandate.until):
            return False
        own, other = self._parties(facts)
        if own != str(self.provider):
            return False
        if self._others and other not in self._others:
            return False
        if self._services and facts.service not in self._services:
            return False
        return mandate.hidden or not (
            self.hidings.hiding(facts, self.now) is not None
            or (facts.kind == Kind.SYSTEM and (facts.event or "").startswith(HIDING))
        )

    def _parties(self, facts: Facts) -> tuple[str, str | None]:
        """The member whose entry it is, and the other side's."""
        client, service = _member(facts.client), _member(facts.service)
        if facts.side == Side.CONSUMER:
            own, other = client, service
        elif facts.side == Side.PROVIDER:
            own, other = service, client
        else:
            own, other = None, None
        return (own if own is not None and own in self._members else str(self.owner)), other


def _member(identifier: str | None) -> str | None:
    """The member of an application or a service."""
    return None if identifier is None else "/".join(identifier.split("/")[:3])
