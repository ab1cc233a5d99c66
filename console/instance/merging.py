"""A configuration out of a draft, which is merged into what is there or replaces it; no I/O.

Members are the same by class and code, applications and services by id, rights by whom they name.
What is merged (PATCH) keeps what it does not describe; what replaces (PUT) is the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from console.instance.configuration import (
    Application,
    Configuration,
    Connection,
    Consumer,
    Member,
    Service,
)
from console.instance.drafts import (
    MAX_MEMBERS,
    Draft,
    DraftApplication,
    DraftMember,
    DraftRight,
    resolve,
)
from console.instance.reading import Reader


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
    application: DraftApplication,
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
            found = resolve(right, names, reader)
            if found is not None:
                rights[found] = None


def _rights(
    member: DraftMember, names: Mapping[str, tuple[str, str]], reader: Reader
) -> Iterator[tuple[DraftRight, Consumer]]:
    for application in member.applications or ():
        for service in application.services or ():
            for right in service.rights or ():
                found = resolve(right, names, reader)
                if found is not None:
                    yield right, found
