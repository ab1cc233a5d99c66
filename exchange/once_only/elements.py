"""Data elements: the dictionary behind ask-once, ``elements.json`` in the registry's own role.

An element is a fact that an authority holds about a person, a business, a parcel…: its name and
definition in Lao and English, the schema of its value, and the *one* service that gives it.

Invariants:
- ``parse_elements(format_elements(dictionary)) == dictionary``;
- an element has one source, and a place in a source's answers is one element: whoever comes second
  is refused with a pointer to the first (``ElementHasSource``);
- a source asks for one value of the subject's scheme: its path holds ``{subject}`` once, and is
  asked by GET alone, so that asking changes nothing;
- a predicate (``predicate_of``) is ``true`` or ``false`` and tells of another element of the same
  subjects: it is answered where that element is, which does not move;
- a later dictionary gives an element another source only where it says so (``follows`` names the
  one before), and another meaning only with a higher version.

Not checked here: that the source is published and can answer this
(:mod:`registry.requests.once_only`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote

from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import ServiceId
from exchange.journal.subjects import normal_subject
from exchange.problems import Code, Problem, Text
from exchange.registrations import ELEMENTS_TARGET
from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.compiled import CompiledSchema
from exchange.schema_sets.keywords import Dialect, Direction
from exchange.schema_sets.places import Place

MARK: Final = "x-saphan-element"
"""What says in a schema which element a property is."""
MAX_ELEMENTS_BYTES: Final = 2 << 20
MAX_ELEMENTS: Final = 2000
MAX_EXCEPTIONS: Final = 64
MAX_VALIDITY: Final = timedelta(days=36_500)
EACH: Final = "*"
_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,39}(?:\.[a-z][a-z0-9-]{0,39}){1,3}", re.ASCII)
_SCHEME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PATH: Final = re.compile(
    r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2}|\{subject\})*"
    r"(?:\?(?:[A-Za-z0-9._~!$'()*+,;=:@/?&-]|%[0-9A-F]{2}|\{subject\})*)?",
    re.ASCII,
)
_SUBJECT: Final = "{subject}"
_POINTER: Final = re.compile(r"(?:/(?:[^~/\x00-\x1f]|~[01])+){1,16}")
_DURATION: Final = re.compile(
    r"P(?:([1-9][0-9]{0,4})D)?(?:T(?:([1-9][0-9]?)H)?(?:([1-9][0-9]?)M)?)?", re.ASCII
)

Value: TypeAlias = Any


def is_element_id(text: str) -> bool:
    """Whether ``text`` is written as an element's id: ``person.birth-date``."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Source:
    """The one service that gives an element: ``pointer`` leads to it in the answer at ``path``.

    ``pointer`` is a JSON pointer (RFC 6901) with ``*`` for every item of a list of records, of
    which there must be one. ``follows`` is the source before, where it was another.
    """

    service: ServiceId
    path: str
    pointer: str
    follows: ServiceId | None = None

    @property
    def tokens(self) -> tuple[str, ...]:
        """The steps of the pointer."""
        parts = self.pointer[1:].split("/")
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)

    def path_of(self, identifier: str) -> str:
        """The path and query to ask about one subject; ``identifier`` is not encoded."""
        return self.path.replace(_SUBJECT, quote(identifier, safe=""))


@dataclass(frozen=True, slots=True)
class Exemption:
    """A service that may ask people for the element all the same, on a ground, before a day."""

    service: ServiceId
    ground: Text
    until: date


@dataclass(frozen=True, slots=True)
class Element:
    """One element; ``subject`` is the scheme of the subjects that it is asked about
    (:mod:`exchange.journal.subjects`), ``validity`` for how long an answer may be relied upon."""

    id: str
    version: int
    name: Text
    definition: Text
    schema: Mapping[str, Any]
    subject: str
    source: Source
    legal_basis: Text
    validity: timedelta
    predicate_of: str | None = None
    exceptions: tuple[Exemption, ...] = ()

    def excepts(self, service: ServiceId, at: datetime) -> bool:
        """Whether a service may ask people for it at the time ``at``."""
        today = at.astimezone(UTC).date()
        return any(one.service == service and today < one.until for one in self.exceptions)


@dataclass(frozen=True, slots=True)
class Dictionary:
    """All elements, in the order of their registration."""

    elements: tuple[Element, ...] = ()
    _by_id: Mapping[str, Element] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_id = {element.id: element for element in self.elements}
        object.__setattr__(self, "_by_id", MappingProxyType(by_id))

    def get(self, identifier: str) -> Element | None:
        """The element with this id, if there is one."""
        return self._by_id.get(identifier)

    def find(self, identifier: str, where: str = "element") -> Element:
        """The element with this id.

        Raises:
            Problem: ``UnknownElement``.
        """
        element = self._by_id.get(identifier)
        if element is None:
            raise Problem(
                Code.UNKNOWN_ELEMENT,
                where=where,
                detail=f"the dictionary has no element {identifier[:80]!r}",
                facts={"element": identifier[:120]},
            )
        return element


NO_ELEMENTS: Final = Dictionary()


# --- the document ----------------------------------------------------------------------------


def parse_elements(data: bytes, noun: str = ELEMENTS_TARGET) -> Dictionary:
    """Parse ``elements.json``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong;
            ``ElementHasSource`` for what is registered twice.
    """
    document = parse_document(data, MAX_ELEMENTS_BYTES, noun).members(frozenset({"elements"}))
    nodes = list(document["elements"].items(MAX_ELEMENTS))
    dictionary = Dictionary(tuple(_element(node) for node in nodes))
    _check_single(dictionary, nodes)
    for element, node in zip(dictionary.elements, nodes, strict=True):
        if element.predicate_of is not None:
            _check_predicate(dictionary, element, node)
    return dictionary


def format_elements(dictionary: Dictionary) -> bytes:
    """The canonical bytes of ``elements.json``."""
    return format_document({"elements": [describe(one) for one in dictionary.elements]})


def describe(element: Element) -> dict[str, Any]:
    """An element as it stands in the document."""
    source: dict[str, Any] = {
        "service": str(element.source.service),
        "path": element.source.path,
        "pointer": element.source.pointer,
    }
    if element.source.follows is not None:
        source["follows"] = str(element.source.follows)
    described: dict[str, Any] = {
        "id": element.id,
        "version": element.version,
        "name": element.name.as_dict(),
        "definition": element.definition.as_dict(),
        "schema": dict(element.schema),
        "subject": element.subject,
        "source": source,
        "legal_basis": element.legal_basis.as_dict(),
        "validity": format_duration(element.validity),
    }
    if element.predicate_of is not None:
        described["predicate_of"] = element.predicate_of
    if element.exceptions:
        described["exceptions"] = [
            {
                "service": str(one.service),
                "ground": one.ground.as_dict(),
                "until": one.until.isoformat(),
            }
            for one in element.exceptions
        ]
    return described


def check_succession(new: Dictionary, published: Dictionary) -> None:
    """Whether a dictionary may follow the one that is published.

    Raises:
        Problem: ``ElementHasSource`` for an element that would get another source without saying
            that it ``follows`` the first; ``Conflict`` for one that changes without a higher
            version, or whose version falls.
    """
    places = {one.id: number for number, one in enumerate(published.elements)}
    for number, element in enumerate(new.elements):
        before = published.get(element.id)
        if before is None or before == element:
            continue
        at = f"{ELEMENTS_TARGET}#/elements/{number}"
        first, now = before.source.service, element.source
        if now.service != first and now.follows != first:
            raise _has_source(f"{at}/source", element.id, first, places[element.id])
        same = replace(element, exceptions=()) == replace(before, exceptions=())
        if element.version < before.version or (element.version == before.version and not same):
            raise Problem(
                Code.CONFLICT,
                where=f"{at}/version",
                detail=f"{element.id} is published as version {before.version}; a change of "
                "anything but its exceptions needs a higher one",
                facts={"element": element.id, "version": before.version},
            )


def compile_schemas(
    dictionary: Dictionary, shared: Mapping[str, bytes]
) -> Mapping[str, CompiledSchema]:
    """What judges the values of each element, by its id.

    Raises:
        Problem: ``InvalidDocument`` at the place in a schema that is not accepted.
    """
    document = {"elements": [{"schema": dict(one.schema)} for one in dictionary.elements]}
    schemas = SchemaSet(document, Dialect.JSON_SCHEMA_2020_12, shared)
    try:
        names = {
            one.id: schemas.add(Place("", "") / "elements" / number / "schema", Direction.RESPONSE)
            for number, one in enumerate(dictionary.elements)
        }
        schemas.close()
        return {identifier: schemas.compiled(name) for identifier, name in names.items()}
    except Problem as problem:
        base, _, pointer = problem.where.partition("#")
        raise Problem(
            problem.code, where=f"{base or ELEMENTS_TARGET}#{pointer}", detail=problem.detail
        ) from problem


# --- asking ----------------------------------------------------------------------------------


def identifier_of(subject: str, where: str) -> tuple[str, str]:
    """Scheme and identifier of a subject as it stands in the header Exchange-Subject.

    The identifier is decoded and otherwise as it was written: its source may tell a from A.

    Raises:
        Problem: ``InvalidHeader`` at ``where`` when it is not written as it must be.
    """
    normal_subject(subject, where)
    scheme, _, identifier = subject.partition(":")
    return scheme, unquote(identifier)


def records_at(document: Value, tokens: tuple[str, ...]) -> Iterator[Value]:
    """The values at a pointer with ``*`` in a document, one for each record; None for a record
    without one."""
    at: list[Value] = [document]
    for token in tokens:
        if token == EACH:
            at = [item for each in at if isinstance(each, list) for item in each]
        else:
            at = [each.get(token) if isinstance(each, dict) else None for each in at]
    yield from at


# --- durations -------------------------------------------------------------------------------


def parse_duration(text: str) -> timedelta | None:
    """A duration of days, hours and minutes (ISO 8601) in its one spelling; None for any other."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes = (int(part or 0) for part in found.groups())
    duration = timedelta(days=days, hours=hours, minutes=minutes)
    return duration if duration and format_duration(duration) == text else None


def format_duration(duration: timedelta) -> str:
    """``P30D``, ``PT12H``, ``P1DT30M``; seconds are left out."""
    hours, rest = divmod(duration.seconds, 3600)
    minutes = rest // 60
    days = f"{duration.days}D" if duration.days else ""
    time = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    return f"P{days}" + (f"T{time}" if time else "")


# --- in detail -------------------------------------------------------------------------------


def _element(node: Node) -> Element:
    fields = node.members(
        frozenset(
            {
                "id", "version", "name", "definition", "schema", "subject", "source",
                "legal_basis", "validity",
            }
        ),
        frozenset({"predicate_of", "exceptions"}),
    )  # fmt: skip
    identifier, schema = fields["id"].text(163), fields["schema"]
    if not is_element_id(identifier):
        raise fields["id"].refuse("must be names with dots between, such as person.birth-date")
    if not isinstance(schema.value, dict):
        raise schema.refuse("must be a JSON Schema: an object")
    subject = fields["subject"].text(63)
    if not _SCHEME.fullmatch(subject):
        raise fields["subject"].refuse("must be a scheme of Exchange-Subject, such as la-nid")
    predicate_of, exceptions = fields.get("predicate_of"), fields.get("exceptions")
    return Element(
        id=identifier,
        version=fields["version"].integer(1, 1_000_000),
        name=fields["name"].bilingual(),
        definition=fields["definition"].bilingual(),
        schema=schema.value,
        subject=subject,
        source=_source(fields["source"]),
        legal_basis=fields["legal_basis"].bilingual(),
        validity=_validity(fields["validity"]),
        predicate_of=None if predicate_of is None else predicate_of.text(163),
        exceptions=()
        if exceptions is None
        else tuple(_exception(item) for item in exceptions.items(MAX_EXCEPTIONS)),
    )


def _source(node: Node) -> Source:
    fields = node.members(frozenset({"service", "path", "pointer"}), frozenset({"follows"}))
    path, pointer = fields["path"].text(500), fields["pointer"].text(500)
    if not _PATH.fullmatch(path) or path.count(_SUBJECT) != 1:
        raise fields["path"].refuse(
            f"must be a path of the service, with or without a query, that holds {_SUBJECT} once"
        )
    if not _POINTER.fullmatch(pointer):
        raise fields["pointer"].refuse("must be a JSON pointer such as /birth_date")
    follows = fields.get("follows")
    return Source(
        fields["service"].identifier(ServiceId),
        path,
        pointer,
        None if follows is None else follows.identifier(ServiceId),
    )


def _exception(node: Node) -> Exemption:
    fields = node.members(frozenset({"service", "ground", "until"}))
    text = fields["until"].text(10)
    try:
        until = date.fromisoformat(text)
    except ValueError as error:
        raise fields["until"].refuse("must be a day such as 2027-12-31") from error
    if until.isoformat() != text:
        raise fields["until"].refuse("must be a day such as 2027-12-31")
    return Exemption(fields["service"].identifier(ServiceId), fields["ground"].bilingual(), until)


def _validity(node: Node) -> timedelta:
    duration = parse_duration(node.text(20))
    if duration is None or duration > MAX_VALIDITY:
        raise node.refuse("must be a duration of days, hours and minutes, such as P30D or PT12H")
    return duration


def _check_single(dictionary: Dictionary, nodes: list[Node]) -> None:
    """One source for an element, and one element for a place in a source's answers."""
    first: dict[str, int] = {}
    places: dict[tuple[ServiceId, str, str], int] = {}
    for number, (element, node) in enumerate(zip(dictionary.elements, nodes, strict=True)):
        source = element.source
        at = first.setdefault(element.id, number)
        if at != number:
            known = dictionary.elements[at].source.service
            raise _has_source(f"{node.noun}#{node.pointer}/id", element.id, known, at)
        at = places.setdefault((source.service, source.path, source.pointer), number)
        if at != number:
            known_id = dictionary.elements[at].id
            raise Problem(
                Code.ELEMENT_HAS_SOURCE,
                where=f"{node.noun}#{node.pointer}/source",
                detail=f"what stands there is registered as {known_id}: see "
                f"{ELEMENTS_TARGET}#/elements/{at}",
                facts={"element": known_id, "first": f"{ELEMENTS_TARGET}#/elements/{at}"},
            )


def _check_predicate(dictionary: Dictionary, element: Element, node: Node) -> None:
    at = Node(element.predicate_of, node.noun, f"{node.pointer}/predicate_of")
    told = dictionary.get(element.predicate_of or "")
    if told is None or told.predicate_of is not None:
        raise at.refuse("must be the id of an element here that is no predicate itself")
    if told.subject != element.subject:
        raise at.refuse(f"is asked about {told.subject}, the predicate about {element.subject}")
    if element.schema.get("type") != "boolean":
        raise Node(element.schema, node.noun, f"{node.pointer}/schema").refuse(
            "a predicate is true or false: its type must be boolean"
        )


def _has_source(where: str, element: str, source: ServiceId, number: int) -> Problem:
    first = f"{ELEMENTS_TARGET}#/elements/{number}"
    return Problem(
        Code.ELEMENT_HAS_SOURCE,
        where=where,
        detail=f"the source of {element} is {source}: see {first}",
        facts={"element": element, "source": str(source), "first": first},
    )
