"""Drafts: what GovStack's configuration document (IMconf) says, read strictly; no I/O.

:func:`read` tells every mistake of a document's form at once, each with its JSON pointer
(RFC 6901). The published file names a right's consumer by the member's *name*; also read are
``memberClass``, ``memberCode`` and ``applicationId`` as in the access rights of the same file, and
``spec_url`` and ``service_url`` as in GovStack's example document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from console.instance.configuration import Connection, Consumer
from console.instance.reading import HOST, NAME, At, Reader

MAX_DOCUMENT_BYTES: Final = 1 << 20
MAX_MEMBERS: Final = 64
MAX_APPLICATIONS: Final = 64
MAX_SERVICES: Final = 64
MAX_RIGHTS: Final = 512


@dataclass(frozen=True, slots=True)
class DraftRight:
    """A right as it is written: by name, or by class and code."""

    pointer: str
    name: str | None
    key: tuple[str, str] | None
    application: str


@dataclass(frozen=True, slots=True)
class DraftService:
    """``rights`` is None where the document says nothing of them."""

    id: str
    spec_url: str
    service_url: str
    rights: tuple[DraftRight, ...] | None


@dataclass(frozen=True, slots=True)
class DraftApplication:
    """None stands for what the document says nothing of."""

    id: str
    connection: Connection | None
    services: tuple[DraftService, ...] | None


@dataclass(frozen=True, slots=True)
class DraftMember:
    """``applications`` is None where the document says nothing of them."""

    pointer: str
    name: str
    key: tuple[str, str]
    applications: tuple[DraftApplication, ...] | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A document whose form is right; what its rights name is looked up when it is settled
    (:func:`console.instance.merging.settle`)."""

    domain: str
    instance: str
    members: tuple[DraftMember, ...]

    def specifications(self) -> Iterator[tuple[str, tuple[str, str, str, str], str]]:
        """Of each service that it describes: the place of its specUrl, its codes, and the URL."""
        for member in self.members:
            for at, application in enumerate(member.applications or ()):
                for number, service in enumerate(application.services or ()):
                    pointer = f"{member.pointer}/applications/{at}/services/{number}/specUrl"
                    yield pointer, (*member.key, application.id, service.id), service.spec_url


def read(value: object) -> Draft:
    """Read a decoded document.

    Raises:
        Mistaken: with everything that is wrong in its form.
    """
    reader = Reader()
    draft = _document(reader.root(value), reader)
    reader.close()
    return draft


def _distinct(items: list[Any], key: Callable[[Any], Any], at: list[At], noun: str) -> None:
    seen: set[Any] = set()
    for item, place in zip(items, at, strict=True):
        found = None if item is None else key(item)
        if not found or not all(found):  # told already
            continue
        if found in seen:
            place.wrong(f"the {noun} comes twice")
        seen.add(found)


def _document(at: At, reader: Reader) -> Draft:
    fields = at.members(("domain", "instance"), ("members",))
    if fields is None:
        return Draft("", "", ())
    places = fields["members"].items(MAX_MEMBERS) if "members" in fields else []
    members = [_member(place) for place in places]
    _distinct(members, lambda item: item.key, places, "member")
    _distinct(members, lambda item: item.name, places, "member's name, by which rights name it,")
    return Draft(
        domain=fields["domain"].text(HOST, "a domain name such as sample.sandbox.example"),
        instance=fields["instance"].code(),
        members=tuple(item for item in members if item is not None),
    )


def _member(at: At) -> DraftMember | None:
    fields = at.members(("name", "class", "code"), ("applications",))
    if fields is None:
        return None
    applications: list[Any] | None = None
    if "applications" in fields:
        places = fields["applications"].items(MAX_APPLICATIONS)
        applications = [_application(place) for place in places]
        _distinct(applications, lambda item: item.id, places, "application")
    return DraftMember(
        at.pointer,
        fields["name"].text(NAME, "a name of 1 to 200 characters without control characters"),
        (fields["class"].code(), fields["code"].code()),
        None if applications is None else tuple(item for item in applications if item is not None),
    )


def _application(at: At) -> DraftApplication | None:
    fields = at.members(("id",), ("connection", "services"))
    if fields is None:
        return None
    connection = None
    if "connection" in fields:
        choices = "|".join(Connection)
        text = fields["connection"].text(re.compile(choices), f"one of {choices}")
        connection = Connection(text) if text else None
    services: list[Any] | None = None
    if "services" in fields:
        places = fields["services"].items(MAX_SERVICES)
        services = [_service(place) for place in places]
        _distinct(services, lambda item: item.id, places, "service")
    return DraftApplication(
        fields["id"].code(),
        connection,
        None if services is None else tuple(item for item in services if item is not None),
    )


_SPELLINGS: Final = {"spec_url": "specUrl", "service_url": "serviceUrl"}


def _service(at: At) -> DraftService | None:
    value = at.value
    if isinstance(value, dict):
        for old, new in _SPELLINGS.items():
            if old in value and new not in value:
                value = {new if key == old else key: item for key, item in value.items()}
    fields = At(at.reader, value, at.pointer).members(("id", "specUrl", "serviceUrl"), ("rights",))
    if fields is None:
        return None
    rights: tuple[DraftRight, ...] | None = None
    if "rights" in fields:
        read = [_right(place) for place in fields["rights"].items(MAX_RIGHTS)]
        rights = tuple(item for item in read if item is not None)
    return DraftService(
        fields["id"].code(),
        fields["specUrl"].url(("https", "http", "file")),
        fields["serviceUrl"].url(("https", "http"), base=True),
        rights,
    )


def _right(at: At) -> DraftRight | None:
    """Whom a right names, in either spelling of the published file, or both when they agree."""
    known = ("member", "application", "memberClass", "memberCode", "applicationId")
    fields = at.members((), known)
    if fields is None:
        return None
    ids = {fields[key].code() for key in ("application", "applicationId") if key in fields}
    by_code = {"memberClass", "memberCode"} & fields.keys()
    if len(ids) != 1 or len(by_code) == 1 or not (by_code or "member" in fields):
        at.wrong(
            "must name one application: member (its name) and application, or memberClass, "
            "memberCode and applicationId"
        )
        return None
    name = fields["member"].text(NAME, "a member's name") if "member" in fields else None
    key = (fields["memberClass"].code(), fields["memberCode"].code()) if by_code else None
    return DraftRight(at.pointer, name, key, ids.pop())


def consumer(at: At, names: Mapping[str, tuple[str, str]]) -> Consumer | None:
    """An application of the access rights API; a mistake is noted."""
    right = _right(at)
    return None if right is None else resolve(right, names, at.reader)


def resolve(right: DraftRight, names: Mapping[str, tuple[str, str]], to: Reader) -> Consumer | None:
    """Whom a right names, as members are called in ``names``; a mistake is noted."""
    key = right.key
    if right.name is not None:
        named = names.get(right.name)
        if named is None and key is None:
            to.mistake(right.pointer, f"no member has the name {right.name[:80]!r}")
            return None
        if key is not None and named is not None and named != key:
            to.mistake(right.pointer, "member and memberCode name different members")
            return None
        key = key or named
    return None if key is None else Consumer(*key, right.application)
