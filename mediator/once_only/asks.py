"""Asks: the exchanges that an evidence request takes, one for each place that is asked.

Elements of one record are asked for together, and where the source lets callers pick fields, no
other fields are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from exchange.contracts.contract import Contract
from exchange.identifiers import ServiceId
from exchange.journal.subjects import HEADER as SUBJECT
from exchange.once_only.elements import EACH, Element
from exchange.once_only.evidence_requests import HEADER as BASIS
from exchange.problems import Problem
from mediator import xroad
from mediator.message.stages import Call
from mediator.once_only.values import Wanted
from serving.bodies import Room

MAX_ELEMENTS: Final = 32
MAX_ASKS: Final = 16
MAX_URL: Final = 8000


@dataclass(frozen=True, slots=True)
class Ask:
    """One exchange: the elements that one place of a source gives about a subject."""

    service: ServiceId
    path: str
    elements: tuple[Element, ...]

    def without(self, name: str) -> tuple[Ask, tuple[Element, ...]]:
        """The same without the elements of a field, and those."""
        out = tuple(one for one in self.elements if name in _names(one))
        rest = tuple(one for one in self.elements if one not in out)
        return Ask(self.service, self.path, rest), out


def asks_of(wanted: Wanted) -> list[Ask]:
    """The exchanges for a request; elements at one place share one."""
    found: dict[tuple[ServiceId, str], list[Element]] = {}
    for element in wanted.elements:
        path = element.source.path_of(wanted.identifier)
        found.setdefault((element.source.service, path), []).append(element)
    return [Ask(service, path, tuple(elements)) for (service, path), elements in found.items()]


def target_of(ask: Ask, contract: Contract | None) -> str:
    """The request target; it picks the fields that are needed, where the contract lets it."""
    target = f"/r1/{ask.service}{ask.path}"
    selects = _selects(ask, contract)
    fields = [_field(one) for one in ask.elements]
    if selects is None or None in fields:
        return target
    names = quote(",".join(dict.fromkeys(name for name in fields if name)), safe=",")
    return f"{target}{'&' if '?' in target else '?'}{quote(selects, safe='')}={names}"


def call_of(wanted: Wanted, number: str, target: str, room: Room) -> Call:
    """The call for an ask, as if the application had made it.

    Raises:
        Problem: ``InvalidRequest`` for a subject of which no path can be made.
    """
    headers = [
        ("accept", "application/json"),
        ("exchange-purpose", wanted.purpose),
        (SUBJECT, wanted.subject),
        (BASIS, wanted.basis),
        ("x-road-id", f"{wanted.id}.{number}"),
    ]
    if wanted.trace:
        headers.append(("traceparent", wanted.trace))
    named = xroad.service_of(target, MAX_URL)
    return xroad.call_of(
        "GET", target, named, tuple(headers), b"", wanted.client, xroad.new_request_id(), room
    )


def _selects(ask: Ask, contract: Contract | None) -> str | None:
    if contract is None:
        return None
    try:
        return contract.find("GET", ask.path.partition("?")[0]).operation.selects
    except Problem:
        return None  # told by the exchange


def _field(element: Element) -> str | None:
    """The member of a record that an element is; None when it stands elsewhere."""
    tokens = element.source.tokens
    *before, name = tokens
    plain = not before or (len(before) == 2 and before[1] == EACH)
    return name if plain and "," not in name and name != EACH else None


def _names(element: Element) -> tuple[str, str]:
    """A field as a refusal may name it."""
    return element.source.tokens[-1], element.source.pointer
