"""Crossing: whether what one organisation shows of an exchange, the other side shows too.

An answer that a consumer's server received and proved was sent by the provider; a request that a
provider's server opened was sent by the consumer: each was signed. So the other side's journal must
have it, or it leaves something out. What never arrived is not counted against anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from console.auditing.asking import Found
from exchange.agreements import Agreement
from exchange.identifiers import MemberId
from exchange.journal.auditing import told
from exchange.journal.entries import Kind, Side


class Exchange(NamedTuple):
    """What names an exchange on both sides."""

    id: str
    client: str
    service: str


@dataclass(frozen=True, slots=True)
class Owed:
    """An exchange that one side shows, signed by the other, and when."""

    exchange: Exchange
    shown_by: Found
    by: MemberId
    at: datetime


def owed(found: Iterable[Found]) -> list[Owed]:
    """The exchanges that were found on one side only, though both sides must have them."""
    sides: dict[Exchange, dict[str, list[Found]]] = {}
    for one in found:
        entry = told(one.hit)
        names = [entry.get(name) for name in Exchange._fields]
        if all(isinstance(name, str) for name in names):
            exchange = Exchange(*(str(name) for name in names))
            sides.setdefault(exchange, {}).setdefault(str(entry.get("side")), []).append(one)
    lacking = []
    for exchange, shown in sides.items():
        for side, kind, other, party in (
            (Side.CONSUMER, Kind.RESPONSE, Side.PROVIDER, exchange.service),
            (Side.PROVIDER, Kind.REQUEST, Side.CONSUMER, exchange.client),
        ):
            witnesses = [one for one in shown.get(side, ()) if told(one.hit)["kind"] == kind]
            if witnesses and other not in shown:
                by = MemberId.parse("/".join(party.split("/")[:3]))
                at = datetime.fromisoformat(told(witnesses[0].hit)["at"])
                lacking.append(Owed(exchange, witnesses[0], by, at))
    return lacking


def must_show(mandate: Agreement, debt: Owed) -> bool:
    """Whether a mandate over the other side covers the exchange, so that it must be shown."""
    terms = mandate.mandate
    if terms is None or mandate.provider != debt.by or not terms.shows("id"):
        return False
    counterpart = debt.shown_by.member
    services = set(map(str, terms.services))
    return (
        terms.since <= debt.at
        and (terms.until is None or debt.at < terms.until)
        and (not terms.organisations or counterpart in terms.organisations)
        and (not services or debt.exchange.service in services)
    )
