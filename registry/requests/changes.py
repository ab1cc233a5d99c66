"""What a request would change: computed, never told by whoever asks.

A member hands in its whole role; what is new in it, against what is published, is a list of
:class:`Change`. The approver reads it, policy is matched against it, and it is recorded.

Invariant: two different sets of files never give an empty list, so nothing is changed unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeVar

from cryptography import x509

from exchange.certificates.reading import fingerprint_of
from exchange.documents import format_document
from exchange.problems import Text
from exchange.registrations import (
    ApplicationRecord,
    MemberRecord,
    ServerRecord,
    ServiceRecord,
    member_target,
)


class ChangeKind(StrEnum):
    """Every kind of change; the setting ``approval`` speaks of these."""

    REGISTER_MEMBER = "register member"
    CHANGE_MEMBER = "change member"
    CHANGE_KEYS = "change registry keys"
    ADD_SEAL = "add seal"
    REMOVE_SEAL = "remove seal"
    REGISTER_SERVER = "register server"
    CHANGE_SERVER = "change server"
    DELETE_SERVER = "delete server"
    ADD_CERTIFICATE = "add server certificate"
    REMOVE_CERTIFICATE = "remove server certificate"
    REGISTER_APPLICATION = "register application"
    CHANGE_APPLICATION = "change application"
    DELETE_APPLICATION = "delete application"
    REGISTER_SERVICE = "register service"
    CHANGE_SERVICE = "change service"
    DELETE_SERVICE = "delete service"
    HAND_OVER = "hand over"
    TAKE_OVER = "take over"
    KEEP = "hand over no more"
    GIVE_UP = "take over no more"
    ADD_FILE = "add file"
    CHANGE_FILE = "change file"
    REMOVE_FILE = "remove file"
    RENEW = "renew"
    PUBLISH = "publish"
    WITHDRAW = "withdraw"
    DISABLE = "disable"
    ENABLE = "enable"
    DELETE_MEMBER = "delete member"
    MERGE_MEMBER = "merge member"


OF_SERVICES = frozenset(
    {ChangeKind.REGISTER_SERVICE, ChangeKind.CHANGE_SERVICE, ChangeKind.DELETE_SERVICE}
)
ALWAYS_APPROVED = frozenset(
    {
        ChangeKind.REGISTER_MEMBER,
        ChangeKind.CHANGE_KEYS,
        ChangeKind.PUBLISH,
        ChangeKind.WITHDRAW,
        ChangeKind.DELETE_MEMBER,
        ChangeKind.MERGE_MEMBER,
    }
)
"""What the registry's offline keys sign: a person must act, whatever policy says."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One change: its kind, what it is of, and its particulars in a few words."""

    kind: ChangeKind
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}" + (f": {self.detail}" if self.detail else "")

    def describe(self) -> dict[str, str]:
        """The change as JSON."""
        return {"kind": self.kind.value, "subject": self.subject, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Published:
    """A member's record with its files by target path."""

    record: MemberRecord
    files: Mapping[str, bytes]


def compare(
    before: Published | None, after: Published, *, has_new_keys: bool = False
) -> tuple[Change, ...]:
    """What ``after`` changes of ``before``, in a fixed order.

    A role that says the same again only renews its end.
    """
    found = sorted(_changes(before, after, has_new_keys))
    member = str(after.record.member)
    if not found and before is not None and before.files != after.files:
        found = [Change(ChangeKind.CHANGE_MEMBER, member, "the same in another order")]
    return tuple(found) or (Change(ChangeKind.RENEW, member, "the same again, later end"),)


def digest_of(changes: Iterable[Change]) -> str:
    """A short name for exactly this list of changes: what an approver has seen."""
    return sha256(format_document([change.describe() for change in changes])).hexdigest()


def _changes(before: Published | None, after: Published, has_new_keys: bool) -> Iterator[Change]:
    record = after.record
    member = str(record.member)
    old = None if before is None else before.record
    if old is None:
        yield Change(ChangeKind.REGISTER_MEMBER, member, _name(record.name))
    elif old.name != record.name:
        detail = f"{_name(old.name)} → {_name(record.name)}"
        yield Change(ChangeKind.CHANGE_MEMBER, member, f"name {detail}")
    if has_new_keys:
        yield Change(ChangeKind.CHANGE_KEYS, member)
    yield from _certificates(
        member,
        () if old is None else old.seal_certificates,
        record.seal_certificates,
        (ChangeKind.ADD_SEAL, ChangeKind.REMOVE_SEAL),
    )
    yield from _servers(() if old is None else old.servers, record.servers)
    yield from _applications(() if old is None else old.applications, record.applications)
    yield from _services(before, after)
    yield from _moves(old, record)
    yield from _files(before, after)


def _certificates(
    owner: str,
    before: tuple[x509.Certificate, ...],
    after: tuple[x509.Certificate, ...],
    kinds: tuple[ChangeKind, ChangeKind],
) -> Iterator[Change]:
    for kind, one, other in ((kinds[0], after, before), (kinds[1], before, after)):
        for certificate in one:
            if certificate not in other:
                end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
                yield Change(kind, owner, f"{fingerprint_of(certificate)[:16]}… until {end}")


def _servers(before: tuple[ServerRecord, ...], after: tuple[ServerRecord, ...]) -> Iterator[Change]:
    known, new = _by_id(before), _by_id(after)
    for identifier in known.keys() - new.keys():
        yield Change(ChangeKind.DELETE_SERVER, identifier)
    for identifier, server in new.items():
        old = known.get(identifier)
        if old is None:
            yield Change(ChangeKind.REGISTER_SERVER, identifier, server.address)
        else:
            fields = ("address", "journal", "witness", "shares")
            if detail := _differences(old, server, fields):
                yield Change(ChangeKind.CHANGE_SERVER, identifier, detail)
        yield from _certificates(
            identifier,
            () if old is None else old.auth_certificates,
            server.auth_certificates,
            (ChangeKind.ADD_CERTIFICATE, ChangeKind.REMOVE_CERTIFICATE),
        )


def _applications(
    before: tuple[ApplicationRecord, ...], after: tuple[ApplicationRecord, ...]
) -> Iterator[Change]:
    known, new = _by_id(before), _by_id(after)
    for identifier in known.keys() - new.keys():
        yield Change(ChangeKind.DELETE_APPLICATION, identifier)
    for identifier, application in new.items():
        old = known.get(identifier)
        if old is None:
            yield Change(ChangeKind.REGISTER_APPLICATION, identifier, _name(application.name))
        elif detail := _differences(old, application, ("name", "servers")):
            yield Change(ChangeKind.CHANGE_APPLICATION, identifier, detail)


def _services(before: Published | None, after: Published) -> Iterator[Change]:
    known = _by_id(() if before is None else before.record.services)
    new = _by_id(after.record.services)
    for identifier in known.keys() - new.keys():
        yield Change(ChangeKind.DELETE_SERVICE, identifier)
    for identifier, service in new.items():
        old = known.get(identifier)
        if old is None or before is None:
            yield Change(ChangeKind.REGISTER_SERVICE, identifier, _name(service.title))
            continue
        details = [_differences(old, service, ("type", "title", "openapi"))]
        if _contract(old, before) != _contract(service, after):
            details.append("another OpenAPI document")
        if detail := ", ".join(filter(None, details)):
            yield Change(ChangeKind.CHANGE_SERVICE, identifier, detail)


def _moves(before: MemberRecord | None, after: MemberRecord) -> Iterator[Change]:
    """What goes to another member, and what comes from one."""
    for name, kinds in (
        ("moved", (ChangeKind.HAND_OVER, ChangeKind.KEEP)),
        ("taken", (ChangeKind.TAKE_OVER, ChangeKind.GIVE_UP)),
    ):
        known = set() if before is None else set(getattr(before, name))
        new = set(getattr(after, name))
        for kind, pairs in zip(kinds, (new - known, known - new), strict=True):
            word = "to" if name == "moved" else "from"
            yield from (Change(kind, str(own), f"{word} {other}") for own, other in pairs)


def _contract(service: ServiceRecord, published: Published) -> bytes | None:
    path = service.openapi_target
    return None if path is None else published.files.get(path)


def _files(before: Published | None, after: Published) -> Iterator[Change]:
    """Files that no service names, such as agreements."""
    known = {} if before is None else _others(before)
    new = _others(after)
    for path in known.keys() | new.keys():
        if path not in new:
            yield Change(ChangeKind.REMOVE_FILE, path)
        elif path not in known:
            yield Change(ChangeKind.ADD_FILE, path)
        elif known[path] != new[path]:
            yield Change(ChangeKind.CHANGE_FILE, path)


def _others(published: Published) -> dict[str, bytes]:
    named = {service.openapi_target for service in published.record.services}
    named.add(member_target(published.record.member))
    return {path: data for path, data in published.files.items() if path not in named}


def _differences(before: Any, after: Any, names: tuple[str, ...]) -> str:
    return ", ".join(
        f"{name} {_show(getattr(before, name))} → {_show(getattr(after, name))}"
        for name in names
        if getattr(before, name) != getattr(after, name)
    )


def _show(value: object) -> str:
    if isinstance(value, Text):
        return _name(value)
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _name(text: Text) -> str:
    return f"{text.en} · {text.lo}"


Record = TypeVar("Record", ServerRecord, ApplicationRecord, ServiceRecord)


def _by_id(records: tuple[Record, ...]) -> dict[str, Record]:
    return {str(record.id): record for record in records}
