"""Retention: what of an exchange the journal keeps sealed, and for how many days.

Server, service and agreement each may say it; what keeps less wins, member by member. At the
provider all agreements between client and service count, since the message is recorded before
anybody knows which of them allows it. At the consumer the settings of the call count: agreements
are pinned at the provider.

What is kept does not change afterwards: a later setting holds for later messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from exchange.agreements import Keep, Retention
from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.entries import Entry, Side
from exchange.journal.sealed_parts import SealedPart
from mediator.journal.keyring import DEFAULT_DAYS, MAX_DAYS
from serving.settings import setting

_LESS: Final = {Keep.METADATA: 0, Keep.HEADERS: 1, Keep.BODIES: 2}


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """What is kept and for how long, where this says so."""

    keep: Keep | None = setting(
        "metadata (the entry alone), headers or bodies: what is kept, encrypted", default=None
    )
    days: int | None = setting(
        "days after the month's end, when what was kept is erased", default=None, low=1,
        high=MAX_DAYS,
    )  # fmt: skip


class Kept(NamedTuple):
    """What is kept of one exchange."""

    keep: Keep = Keep.BODIES
    days: int = DEFAULT_DAYS

    def and_not_more_than(self, other: RetentionSettings | Retention | None) -> Kept:
        """The stricter of both, member by member."""
        if other is None:
            return self
        keep, days = other.keep or self.keep, other.days or self.days
        return Kept(min(self.keep, keep, key=_LESS.__getitem__), min(self.days, days))

    def of(self, part: SealedPart | None) -> SealedPart | None:
        """What is sealed of a part; None when nothing is."""
        if part is None or self.keep is Keep.BODIES:
            return part
        return None if self.keep is Keep.METADATA else part._replace(body=b"")


class Agreed(Protocol):
    """Says what the agreements between a client and a service want kept."""

    @property
    def retentions(self) -> Mapping[tuple[ApplicationId, ServiceId], Sequence[Retention]]: ...


class Retentions:
    """What one server keeps, exchange by exchange."""

    def __init__(
        self,
        server: RetentionSettings | None = None,
        services: Mapping[ServiceId, RetentionSettings] | None = None,
        calls: Mapping[ServiceId, RetentionSettings] | None = None,
        agreements: Agreed | None = None,
    ) -> None:
        """``services`` are offered here, ``calls`` go to those of others."""
        self._default = Kept(days=(server and server.days) or DEFAULT_DAYS)
        self._default = self._default.and_not_more_than(server)
        self._services = _stricter(self._default, services)
        self._calls = _stricter(self._default, calls)
        self._agreements = agreements

    @property
    def longest_days(self) -> int:
        """The longest retention of all: nothing is kept after it."""
        return self._default.days

    def of(self, entry: Entry) -> Kept:
        """What is kept beside an entry."""
        service = entry.service
        if entry.side is Side.SERVER:  # what the server says of itself is no message
            return self._default._replace(keep=Keep.BODIES)
        if service is None:
            return self._default
        if entry.side is Side.CONSUMER:
            return self._calls.get(service, self._default) if self._calls else self._default
        kept = self._services.get(service, self._default) if self._services else self._default
        agreements = self._agreements
        if agreements is None or not agreements.retentions or entry.client is None:
            return kept
        for agreed in agreements.retentions.get((entry.client, service), ()):
            kept = kept.and_not_more_than(agreed)
        return kept


def _stricter(
    default: Kept, settings: Mapping[ServiceId, RetentionSettings] | None
) -> dict[ServiceId, Kept]:
    return {service: default.and_not_more_than(said) for service, said in (settings or {}).items()}
