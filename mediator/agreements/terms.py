"""Terms: what bounds one exchange: at the provider, the stricter of service and agreement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from exchange.agreements import Agreement
from exchange.identifiers import ServiceId
from mediator.agreements.quota import Rate, rate_of_agreement, rate_of_service
from mediator.message.places import Bound
from mediator.settings import CallSettings, LimitSettings, ServerSettings, ServiceSettings


@dataclass(frozen=True, slots=True)
class ServiceTerms:
    """What a service says of each exchange, whoever asks for it.

    ``share`` is how many places one agreement may have of the whole server's.
    """

    connect_s: float
    first_byte_s: float
    exchange_s: float
    request_max_bytes: int
    answer_max_bytes: int
    place: Bound
    rate: Rate
    share: int


class Terms(NamedTuple):
    """The bounds of one exchange; where one is exceeded, its name is said."""

    connect_s: float
    first_byte_s: float
    exchange_s: float
    request_max_bytes: int
    answer_max_bytes: int
    places: tuple[Bound, ...]
    rates: tuple[Rate, ...]


def service_terms(offered: ServiceSettings, limits: LimitSettings) -> ServiceTerms:
    """The terms of a service by the settings."""
    name = f"service {offered.id}"
    own = offered.concurrent
    place = (
        Bound(name, limits.service_concurrent, "limits.service_concurrent", ours=True)
        if own is None
        else Bound(name, own, "services.concurrent", ours=True)
    )
    return ServiceTerms(
        connect_s=offered.connect_s,
        first_byte_s=offered.first_byte_s or offered.timeout_s,
        exchange_s=offered.timeout_s,
        request_max_bytes=min(
            offered.request_max_bytes or limits.request_max_bytes, limits.request_max_bytes
        ),
        answer_max_bytes=offered.response_max_bytes,
        place=place,
        rate=rate_of_service(offered.id, offered.per_second, offered.per_day),
        share=share_of(limits),
    )


def share_of(limits: LimitSettings) -> int:
    """How many places one application, agreement or other server may have."""
    return max(1, int(limits.concurrent * limits.share))


@dataclass(frozen=True, slots=True)
class CallBounds:
    """How many exchanges may run for one application, and how many, with which bodies, may go to
    one service of others."""

    share: int
    most: int
    own: Mapping[ServiceId, int]
    request_max_bytes: int
    own_request_max_bytes: Mapping[ServiceId, int]

    def calls_to(self, service: ServiceId) -> Bound:
        """The bound of calls to this service."""
        own = self.own.get(service)
        name = f"calls to {service}"
        if own is None:
            return Bound(name, self.most, "limits.service_concurrent", ours=True)
        return Bound(name, own, "calls.concurrent", ours=True)

    def body_to(self, service: ServiceId) -> int:
        """The longest body of a request to this service."""
        return self.own_request_max_bytes.get(service, self.request_max_bytes)


def call_bounds(limits: LimitSettings, calls: Iterable[CallSettings]) -> CallBounds:
    """The bounds of calls by the settings."""
    calls, most = tuple(calls), limits.request_max_bytes
    own = {call.service: call.concurrent for call in calls if call.concurrent is not None}
    sizes = {call.service: min(call.request_max_bytes or most, most) for call in calls}
    return CallBounds(share_of(limits), limits.service_concurrent, own, most, sizes)


def terms_of(agreement: Agreement, service: ServiceTerms) -> Terms:
    """The stricter of both, bound by bound."""
    limits = agreement.limits
    name = f"agreement {agreement.provider} {agreement.consumer} {agreement.id}"
    own = limits.concurrent
    place = (
        Bound(name, service.share, "limits.share")
        if own is None or own > service.share
        else Bound(name, own, "agreement limits.concurrent")
    )
    return Terms(
        connect_s=min(limits.connect_s or service.connect_s, service.connect_s),
        first_byte_s=min(limits.first_byte_s or service.first_byte_s, service.first_byte_s),
        exchange_s=min(limits.exchange_s or service.exchange_s, service.exchange_s),
        request_max_bytes=min(
            limits.request_max_bytes or service.request_max_bytes, service.request_max_bytes
        ),
        answer_max_bytes=min(
            limits.answer_max_bytes or service.answer_max_bytes, service.answer_max_bytes
        ),
        places=(place, service.place),
        rates=(rate_of_agreement(agreement), service.rate),
    )


class KnownTerms:
    """The terms of pinned agreements with services, put together once and not for each message.

    Known by the objects themselves, which are kept with them: what is pinned or offered anew is
    another object. Bounded: when it is full, it begins anew.
    """

    most = 10_000

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Agreement, ServiceTerms, Terms]] = {}

    def of(self, agreement: Agreement, service: ServiceTerms) -> Terms:
        """See :func:`terms_of`."""
        key = (id(agreement), id(service))
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self.most:
                self._known.clear()
            found = self._known[key] = (agreement, service, terms_of(agreement, service))
        return found[2]


def doubtful_waits(settings: ServerSettings) -> list[str]:
    """Bounds that do not go together: one that never comes into force, or callers who give up.

    What other members set is not known here; their default is taken.
    """
    found, default = [], LimitSettings().first_byte_s
    for offered in settings.services:
        name = f"service {offered.id}"
        if offered.timeout_s >= default:
            found.append(
                f"{name}: its backend may take {offered.timeout_s:g} s (timeout_s), but a caller "
                f"waits {default:g} s for the first byte (limits.first_byte_s) if it sets nothing "
                "else; tell callers to set calls.first_byte_s"
            )
        if (offered.first_byte_s or 0) > offered.timeout_s:
            found.append(f"{name}: first_byte_s is above timeout_s, which comes first")
    limits = settings.limits
    waits = [("limits", limits.connect_s, limits.first_byte_s, limits.exchange_s)]
    for call in settings.calls:
        waits.append(
            (
                f"calls to {call.service}",
                call.connect_s or limits.connect_s,
                call.first_byte_s or limits.first_byte_s,
                call.exchange_s or limits.exchange_s,
            )
        )
    for name, connect_s, first_byte_s, exchange_s in waits:
        for what, value in (("connect_s", connect_s), ("first_byte_s", first_byte_s)):
            if value > exchange_s:
                found.append(f"{name}: {what} is above exchange_s, which comes first")
    return found
