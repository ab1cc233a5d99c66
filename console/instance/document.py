"""GovStack's configuration document (IMconf): read, merged, replaced and written; no I/O.

Invariants:
- a :class:`Configuration` that exists is consistent: members differ in class and code and in name,
  applications and services differ in id, every right names an application of the document;
- :func:`read` tells every mistake of a document at once, each with its JSON pointer (RFC 6901);
- members are the same by class and code, applications and services by id, rights by whom they
  name. What is merged (PATCH) keeps what it does not describe; what replaces (PUT) is the whole;
- :func:`write` gives what :func:`read` reads back.

The published file names a right's consumer by the member's *name*; names may change, so rights are
held by class and code, and written with the name of the day. Also read: ``memberClass``,
``memberCode`` and ``applicationId`` as in the access rights of the same file, and ``spec_url`` and
``service_url`` as in GovStack's example document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from console.instance.reading import HOST, NAME, At, Reader

MAX_DOCUMENT_BYTES: Final = 1 << 20
MAX_MEMBERS: Final = 64
MAX_APPLICATIONS: Final = 64
MAX_SERVICES: Final = 64
MAX_RIGHTS: Final = 512


class Connection(StrEnum):
    """How an application connects to its server; GovStack's default is https."""

    HTTPS = "https"
    HTTP = "http"
    MTLS = "mtls"


@dataclass(frozen=True, slots=True, order=True)
class Consumer:
    """An application that is allowed: class and code of its member, and its id."""

    member_class: str
    member_code: str
    application: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service, where its OpenAPI document and its backend are, and who may call it."""

    id: str
    spec_url: str
    service_url: str
    rights: tuple[Consumer, ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """An application of a member."""

    id: str
    connection: Connection = Connection.HTTPS
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation."""

    name: str
    member_class: str
    code: str
    applications: tuple[Application, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.member_class, self.code


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an instance is to be."""

    domain: str
    instance: str
    members: tuple[Member, ...] = ()

    def services(self) -> Iterator[tuple[Member, Application, Service]]:
        """Every service with whose it is."""
        for member in self.members:
            for application in member.applications:
                for service in application.services:
                    yield member, application, service

    def applications(self) -> frozenset[Consumer]:
        """Every application, as rights name it."""
        return frozenset(
            Consumer(*member.key, application.id)
            for member in self.members
            for application in member.applications
        )


# ------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Right:
    """A right as it is written: by name, or by class and code."""

    pointer: str
    name: str | None
    key: tuple[str, str] | None
    application: str


@dataclass(frozen=True, slots=True)
class _Service:
    id: str
    spec_url: str
    service_url: str
    rights: tuple[_Right, ...] | None


@dataclass(frozen=True, slots=True)
class _Application:
    id: str
    connection: Connection | None
    services: tuple[_Service, ...] | None


@dataclass(frozen=True, slots=True)
class _Member:
    pointer: str
    name: str
    key: tuple[str, str]
    applications: tuple[_Application, ...] | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A document whose form is right; what its rights name is looked up by :func:`settle`."""

    domain: str
    instance: str
    members: tuple[_Member, ...]

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


def _member(at: At) -> _Member | None:
    fields = at.members(("name", "class", "code"), ("applications",))
    if fields is None:
        return None
    applications: list[Any] | None = None
    if "applications" in fields:
        places = fields["applications"].items(MAX_APPLICATIONS)
        applications = [_application(place) for place in places]
        _distinct(applications, lambda item: item.id, places, "application")
    return _Member(
        at.pointer,
        fields["name"].text(NAME, "a name of 1 to 200 characters without control characters"),
        (fields["class"].code(), fields["code"].code()),
        None if applications is None else tuple(item for item in applications if item is not None),
    )


def _application(at: At) -> _Application | None:
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
    return _Application(
        fields["id"].code(),
        connection,
        None if services is None else tuple(item for item in services if item is not None),
    )


_SPELLINGS: Final = {"spec_url": "specUrl", "service_url": "serviceUrl"}


def _service(at: At) -> _Service | None:
    value = at.value
    if isinstance(value, dict):
        for old, new in _SPELLINGS.items():
            if old in value and new not in value:
                value = {new if key == old else key: item for key, item in value.items()}
    fields = At(at.reader, value, at.pointer).members(("id", "specUrl", "serviceUrl"), ("rights",))
    if fields is None:
        return None
    rights: tuple[_Right, ...] | None = None
    if "rights" in fields:
        read = [_right(place) for place in fields["rights"].items(MAX_RIGHTS)]
        rights = tuple(item for item in read if item is not None)
    return _Service(
        fields["id"].code(),
        fields["specUrl"].url(("https", "http", "file")),
        fields["serviceUrl"].url(("https", "http"), base=True),
        rights,
    )


def _right(at: At) -> _Right | None:
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
    return _Right(at.pointer, name, key, ids.pop())


def consumer(at: At, names: Mapping[str, tuple[str, str]]) -> Consumer | None:
    """An application of the access rights API; a mistake is noted."""
    right = _right(at)
    return None if right is None else _resolve(right, names, at.reader)


def _resolve(right: _Right, names: Mapping[str, tuple[str, str]], to: Reader) -> Consumer | None:
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


# ------------------------------------------------------------------- merging and replacing


@dataclass(slots=True)
class _Open:
    """A configuration under way: everything by what makes it the same."""

    names: dict[tuple[str, str], str] = field(default_factory=dict)
    connections: dict[tuple[str, str, str], Connection] = field(default_factory=dict)
    services: dict[tuple[str, str, str, str], tuple[str, str]] = field(default_factory=dict)
    rights: dict[tuple[str, str, str, str], dict[Consumer, None]] = field(default_factory=dict)

    def close(self, domain: str, instance: str) -> Configuration:
        services: dict[tuple[str, str, str], list[Service]] = {}
        for key, urls in self.services.items():
            made = Service(key[3], *urls, tuple(self.rights[key]))
            services.setdefault(key[:3], []).append(made)
        applications: dict[tuple[str, str], list[Application]] = {}
        for at, connection in self.connections.items():
            application = Application(at[2], connection, tuple(services.get(at, ())))
            applications.setdefault(at[:2], []).append(application)
        members = (
            Member(name, *key, tuple(applications.get(key, ()))) for key, name in self.names.items()
        )
        return Configuration(domain, instance, tuple(members))


def settle(draft: Draft, known: Configuration | None = None) -> Configuration:
    """The configuration that a document makes, merged into ``known`` where that is given.

    Raises:
        Mistaken: when it is of another instance than ``known``, a right names nobody, or two
            members would have one name.
    """
    reader = Reader()
    if known is not None and draft.instance != known.instance:
        reader.mistake("/instance", f"this instance is {known.instance}, and stays it")
    whole = _opened(known)
    for member in draft.members:
        whole.names[member.key] = member.name
    if len(whole.names) > MAX_MEMBERS:
        reader.mistake("/members", f"{len(whole.names)} members, at most {MAX_MEMBERS} are allowed")
    names = {name: key for key, name in whole.names.items()}
    shared = Counter(whole.names.values())
    for member in draft.members:
        if shared[member.name] > 1:
            reader.mistake(f"{member.pointer}/name", "another member has that name")
        for application in member.applications or ():
            _put(application, member.key, names, whole, reader)
    known_applications = whole.connections.keys()
    for member in draft.members:
        for right, found in _rights(member, names, Reader()):
            if (found.member_class, found.member_code, found.application) not in known_applications:
                reader.mistake(
                    right.pointer,
                    f"{found.member_class}/{found.member_code} has no application "
                    f"{found.application}",
                )
    reader.close()
    return whole.close(draft.domain, draft.instance)


def _opened(known: Configuration | None) -> _Open:
    whole = _Open()
    for member in () if known is None else known.members:
        whole.names[member.key] = member.name
        for application in member.applications:
            whole.connections[(*member.key, application.id)] = application.connection
            for service in application.services:
                key = (*member.key, application.id, service.id)
                whole.services[key] = (service.spec_url, service.service_url)
                whole.rights[key] = dict.fromkeys(service.rights)
    return whole


def _put(
    application: _Application,
    member: tuple[str, str],
    names: Mapping[str, tuple[str, str]],
    whole: _Open,
    reader: Reader,
) -> None:
    key = (*member, application.id)
    before = whole.connections.get(key, Connection.HTTPS)
    whole.connections[key] = application.connection or before
    for service in application.services or ():
        at = (*key, service.id)
        whole.services[at] = (service.spec_url, service.service_url)
        rights = whole.rights.setdefault(at, {})
        for right in service.rights or ():
            found = _resolve(right, names, reader)
            if found is not None:
                rights[found] = None


def _rights(
    member: _Member, names: Mapping[str, tuple[str, str]], reader: Reader
) -> Iterator[tuple[_Right, Consumer]]:
    for application in member.applications or ():
        for service in application.services or ():
            for right in service.rights or ():
                found = _resolve(right, names, reader)
                if found is not None:
                    yield right, found


# ------------------------------------------------------------------------------------- writing


def write(configuration: Configuration) -> dict[str, Any]:
    """The document of a configuration, every optional member written out."""
    names = {member.key: member.name for member in configuration.members}
    return {
        "domain": configuration.domain,
        "instance": configuration.instance,
        "members": [
            {
                "name": member.name,
                "class": member.member_class,
                "code": member.code,
                "applications": [
                    _write_application(application, names) for application in member.applications
                ],
            }
            for member in configuration.members
        ],
    }


def _write_application(
    application: Application, names: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    return {
        "id": application.id,
        "connection": application.connection.value,
        "services": [
            {
                "id": service.id,
                "specUrl": service.spec_url,
                "serviceUrl": service.service_url,
                "rights": [
                    {
                        "member": names[right.member_class, right.member_code],
                        "application": right.application,
                    }
                    for right in service.rights
                ],
            }
            for service in application.services
        ],
    }
