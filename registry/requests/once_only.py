"""Ask once, as the registry sees to it: what may become an element, and who asks people again.

Two judgements: of the registry's own ``elements.json`` before it is published, and of a member's
services before they are. Whether the second warns or refuses is the registry's setting
``once_only``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from exchange.agreements import Endpoint, Grant
from exchange.contracts.contract import Contract
from exchange.contracts.projection import Projection
from exchange.contracts.reach import idle_parts
from exchange.identifiers import MemberId, ServiceId
from exchange.once_only.asked import Asked, asked_elements, asks_again
from exchange.once_only.elements import (
    Dictionary,
    Element,
    check_succession,
    compile_schemas,
    parse_elements,
)
from exchange.problems import Code, Problem
from exchange.registrations import ELEMENTS_TARGET, ServiceRecord, member_target, parse_member
from registry.requests.submissions import Submission

Documents = Iterable[tuple[ServiceRecord, bytes | None]]
"""Services with their OpenAPI documents, where they have one."""


class Policy(StrEnum):
    """What becomes of a service that asks people for what another organisation gives."""

    WARN = "warn"
    REFUSE = "refuse"


class Question(NamedTuple):
    """A service that asks for a registered element, and whether it may."""

    service: ServiceId
    asked: Asked
    problem: Problem | None


def judge_elements(
    data: bytes,
    published: Dictionary,
    openapi_of: Mapping[ServiceId, bytes],
    schemas: Mapping[str, bytes],
) -> Dictionary:
    """Decide whether a dictionary may be published.

    Args:
        published: the one before.
        openapi_of: the published documents of the services that it names as sources.

    Raises:
        Problem: ``InvalidDocument`` with the place, also for a source that is not published or
            whose answers cannot hold the element; ``ElementHasSource``; ``Conflict``.
    """
    dictionary = parse_elements(data)
    check_succession(dictionary, published)
    compile_schemas(dictionary, schemas)
    contracts: dict[ServiceId, Contract] = {}
    for number, element in enumerate(dictionary.elements):
        if published.get(element.id) != element:
            where = f"{ELEMENTS_TARGET}#/elements/{number}/source"
            _check_source(element, openapi_of, schemas, contracts, where)
    return dictionary


def _check_source(
    element: Element,
    openapi_of: Mapping[ServiceId, bytes],
    schemas: Mapping[str, bytes],
    contracts: dict[ServiceId, Contract],
    where: str,
) -> None:
    source = element.source
    document = openapi_of.get(source.service)
    if document is None:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=f"{where}/service",
            detail=f"{source.service} is not published, or has no OpenAPI document",
        )
    contract = contracts.get(source.service)
    if contract is None:
        contract = contracts[source.service] = Contract.compile(document, schemas)
    path = source.path_of("x").partition("?")[0]
    try:
        template = contract.find("GET", path).operation.template
    except Problem as problem:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=f"{where}/path",
            detail=f"{source.service} has no endpoint GET {source.path}",
        ) from problem
    grant = Grant(
        source.service, (Endpoint("GET", template),), Projection.compile([source.pointer])
    )
    if idle := idle_parts(grant, document, schemas):
        raise Problem(Code.INVALID_DOCUMENT, where=f"{where}/pointer", detail=idle[0])


def questions(
    services: Documents, dictionary: Dictionary, schemas: Mapping[str, bytes], at: datetime
) -> Iterator[Question]:
    """What services ask people for."""
    for service, document in services:
        asked = () if document is None else asked_elements(document, schemas)
        yield from _judged(service, asked, dictionary, at)


def _judged(
    service: ServiceRecord, asked: tuple[Asked, ...], dictionary: Dictionary, at: datetime
) -> Iterator[Question]:
    where = service.openapi_target or ""
    for one in asked:
        problems = asks_again(service.id, (one,), dictionary, at, where)
        yield Question(service.id, one, problems[0] if problems else None)


def services_of(
    submission: Submission, published: Mapping[str, bytes]
) -> list[tuple[ServiceRecord, bytes | None]]:
    """The services that a submission describes, with their documents.

    Args:
        published: the member's published files, which need not be sent again.

    Raises:
        Problem: ``InvalidDocument`` when its member's document is malformed.
    """
    member = submission.member
    sent = {member_target(member, name): data for name, data in submission.files.items()}
    files = {**published, **sent}
    data = files.get(member_target(member))
    record = None if data is None else parse_member(data, member)
    return [
        (service, files.get(service.openapi_target or ""))
        for service in (() if record is None else record.services)
    ]


def lost_sources(
    member: MemberId, services: Documents, dictionary: Dictionary, schemas: Mapping[str, bytes]
) -> Iterator[dict[str, Any]]:
    """The elements of which a member is the source, and which these services could not give any
    more; as :func:`told`."""
    documents = {one.id: document for one, document in services if document is not None}
    contracts: dict[ServiceId, Contract] = {}
    for number, element in enumerate(dictionary.elements):
        source = element.source
        if source.service.member != member:
            continue
        where = f"{ELEMENTS_TARGET}#/elements/{number}/source"
        try:
            _check_source(element, documents, schemas, contracts, where)
        except Problem as problem:
            yield {
                "service": str(source.service),
                "element": element.id,
                "method": "GET",
                "path": source.path,
                "place": problem.where,
                "code": problem.code.value,
                "source": str(source.service),
                "detail": f"is the source of {element.id}: {problem.detail}",
            }


def refuse_new_questions(found: Iterable[Question], published: Iterable[Question]) -> None:
    """Refuse services that begin to ask again; what they asked before is for a warning.

    Raises:
        Problem: ``AskOnce`` or ``UnknownElement``, the first.
    """
    before = {(one.service, one.asked.element) for one in published}
    for one in found:
        if one.problem is not None and (one.service, one.asked.element) not in before:
            raise one.problem


@dataclass(slots=True)
class Meter:
    """Who still asks for registered facts, over all that is published; documents that did not
    change are read once."""

    _known: dict[ServiceId, tuple[bytes, Mapping[str, bytes], tuple[Asked, ...]]] = field(
        default_factory=dict
    )

    def questions(
        self,
        services: Documents,
        dictionary: Dictionary,
        schemas: Mapping[str, bytes],
        at: datetime,
    ) -> Iterator[Question]:
        """As :func:`questions`."""
        for service, document in services:
            if document is not None:
                asked = self._asked(service.id, document, schemas)
                yield from _judged(service, asked, dictionary, at)

    def _asked(
        self, service: ServiceId, document: bytes, schemas: Mapping[str, bytes]
    ) -> tuple[Asked, ...]:
        known = self._known.get(service)
        if known is None or known[0] is not document or known[1] is not schemas:
            known = self._known[service] = (document, schemas, asked_elements(document, schemas))
        return known[2]


def told(question: Question) -> dict[str, Any]:
    """A question as the API tells it; ``problem`` is null where the service may ask."""
    problem = question.problem
    return {
        "service": str(question.service),
        "element": question.asked.element,
        "method": question.asked.method,
        "path": question.asked.template,
        "place": question.asked.place,
        "code": None if problem is None else problem.code.value,
        "source": None if problem is None else problem.facts.get("source"),
        "detail": None if problem is None else problem.detail,
    }
