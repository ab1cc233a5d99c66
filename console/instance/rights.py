"""Access rights as GovStack's API speaks of them: read, applied to a configuration, paged; no I/O.

A *pair* is a service and an application that is allowed to call it. Pages are counted in pairs, as
the published file wants it, and a page begins behind the last pair of the one before: pairs that
come and go in between neither repeat nor hide others.

``AllowedApplication`` of the published file requires ``member`` and ``application`` but defines
``memberClass``, ``memberCode`` and ``applicationId``: either is read, both are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from console.instance.configuration import Configuration, Consumer
from console.instance.drafts import consumer
from console.instance.reading import At, Reader

NOUN: Final = "rights"
MAX_ITEMS: Final = 1000
MAX_RIGHTS: Final = 512
MAX_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """A service within the instance."""

    member_class: str
    member_code: str
    application: str
    service: str


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A service and an application that may call it."""

    service: ServiceKey
    consumer: Consumer


@dataclass(frozen=True, slots=True)
class Filter:
    """Which services are asked for; None is all."""

    member_class: str | None = None
    member_code: str | None = None
    application: str | None = None
    service: str | None = None

    def fits(self, key: ServiceKey) -> bool:
        """Whether a service is asked for."""
        return all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.member_class, key.member_class),
                (self.member_code, key.member_code),
                (self.application, key.application),
                (self.service, key.service),
            )
        )


def read_rights(value: object, known: Configuration) -> frozenset[Pair]:
    """The pairs of a ``ServiceAccessRights`` document.

    Raises:
        Mistaken: with everything wrong in it, a service or application that is not there included.
    """
    reader = Reader()
    names = {member.name: member.key for member in known.members}
    services = {
        ServiceKey(*member.key, application.id, service.id)
        for member, application, service in known.services()
    }
    applications = known.applications()
    found: set[Pair] = set()
    for at in reader.root(value).items(MAX_ITEMS):
        fields = at.members(("memberClass", "memberCode", "applicationId", "serviceId", "rights"))
        if fields is None:
            continue
        keys = ("memberClass", "memberCode", "applicationId", "serviceId")
        codes = [fields[key].code() for key in keys]
        key = ServiceKey(*codes)
        if all(codes) and key not in services:
            at.wrong(f"there is no service {'/'.join(codes)}")
            continue
        for place in fields["rights"].items(MAX_RIGHTS):
            allowed = consumer(place, names)
            if allowed is not None and _is_known(allowed, applications, place):
                found.add(Pair(key, allowed))
    reader.close(NOUN)
    return frozenset(found)


def _is_known(allowed: Consumer, applications: frozenset[Consumer], at: At) -> bool:
    if allowed in applications:
        return True
    if allowed.application:
        who = f"{allowed.member_class}/{allowed.member_code}"
        at.wrong(f"{who} has no application {allowed.application}")
    return False


def allow(known: Configuration, pairs: Iterable[Pair]) -> Configuration:
    """The configuration with these rights added."""
    return _changed(known, {**dict.fromkeys(pairs, True)})


def deny(known: Configuration, pairs: Iterable[Pair]) -> Configuration:
    """The configuration without these rights."""
    return _changed(known, {**dict.fromkeys(pairs, False)})


def _changed(known: Configuration, changes: Mapping[Pair, bool]) -> Configuration:
    of: dict[ServiceKey, list[tuple[Consumer, bool]]] = {}
    for pair, is_allowed in sorted(changes.items()):
        of.setdefault(pair.service, []).append((pair.consumer, is_allowed))
    members = []
    for member in known.members:
        applications = []
        for application in member.applications:
            services = []
            for service in application.services:
                rights = dict.fromkeys(service.rights)
                key = ServiceKey(*member.key, application.id, service.id)
                for allowed, is_allowed in of.get(key, ()):
                    if is_allowed:
                        rights[allowed] = None
                    else:
                        rights.pop(allowed, None)
                services.append(replace(service, rights=tuple(rights)))
            applications.append(replace(application, services=tuple(services)))
        members.append(replace(member, applications=tuple(applications)))
    return replace(known, members=tuple(members))


def page(pairs: Iterable[Pair], after: Pair | None, size: int) -> tuple[list[Pair], bool]:
    """The next ``size`` pairs behind ``after``, in order, and whether there are more."""
    rest = sorted(pair for pair in pairs if after is None or pair > after)
    return rest[:size], len(rest) > size


def write_rights(pairs: Sequence[Pair], known: Configuration) -> list[dict[str, Any]]:
    """The ``ServiceAccessRights`` document of ordered pairs."""
    names = {member.key: member.name for member in known.members}
    found: list[dict[str, Any]] = []
    before: ServiceKey | None = None
    for pair in pairs:
        key, allowed = pair.service, pair.consumer
        if key != before:
            found.append(
                {
                    "memberClass": key.member_class,
                    "memberCode": key.member_code,
                    "applicationId": key.application,
                    "serviceId": key.service,
                    "rights": [],
                }
            )
            before = key
        member = (allowed.member_class, allowed.member_code)
        found[-1]["rights"].append(
            {
                "member": names.get(member, "/".join(member)),
                "application": allowed.application,
                "memberClass": allowed.member_class,
                "memberCode": allowed.member_code,
                "applicationId": allowed.application,
            }
        )
    return found
