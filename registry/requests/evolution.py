"""How schemas and services may change: compatibly, or with the consent of those who use them.

A breaking change is published as something new beside the old (another major version of a schema,
another service), or when every consumer under agreement has consented to just this change. That a
service or an operation goes is a breaking change; an announced end frees nobody whose agreement
lasts longer.

Consumers are those of the agreements that members publish (:mod:`registry.requests.uses`). A
consent is a file ``consent.*.json`` of the provider, or ``consents/*.json`` in the registry's own
role for a shared schema, or one that the consumer handed in to the request. Judged by documents
alone; touches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from exchange.code_lists import parse_code_list
from exchange.compatibility import Break, Way, compare_openapi, compare_schemas, distinct
from exchange.documents import invalid, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import (
    MAX_SCHEMA_BYTES,
    MemberRecord,
    ServiceRecord,
    is_code_list_target,
    is_consent_file,
    is_consent_target,
    is_schema_target,
    member_target,
    parse_member,
)
from exchange.registry.consents import Consent, digest_of, open_consent
from exchange.trust.shared_schemas import schema_id, shared_schemas
from registry.requests.moves import successor_of
from registry.requests.uses import File, Use, Uses

MAX_TOLD: Final = 50
_BESIDE: Final = "publish it as something new beside the old"
_VERSION: Final = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
VERSION: Final = "x-saphan-version"

Files = Mapping[str, bytes]
_Step = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Breaking:
    """A change that breaks somebody: of a service, or of a schema (``of`` its ``$id``).

    ``after`` is empty when it goes. ``missing`` are those of its users who have not consented.
    """

    of: str
    path: str
    before: bytes
    after: bytes
    breaks: tuple[Break, ...]
    uses: tuple[Use, ...]
    users: tuple[MemberId, ...]
    missing: tuple[MemberId, ...]
    refused: tuple[Problem, ...] = ()

    @property
    def is_end(self) -> bool:
        """Whether it goes altogether."""
        return not self.after

    def is_asked(self, consent: Consent) -> bool:
        """Whether this is one of the consents that it lacks."""
        step = (self.of, digest_of(self.before), digest_of(self.after))
        return (
            consent.consumer in self.missing and (consent.of, consent.before, consent.after) == step
        )

    def describe(self) -> dict[str, Any]:
        """What those read who are asked to consent."""
        told = self.breaks[:MAX_TOLD]
        return {
            "of": self.of,
            "ends": self.is_end,
            "before": digest_of(self.before),
            "after": digest_of(self.after),
            "breaks": [{"where": one.where, "why": one.why.as_dict()} for one in told],
            "users": [str(one) for one in self.users],
            "missing": [str(one) for one in self.missing],
        }

    def problem(self) -> Problem:
        """That consents are missing."""
        told = [f"{one.where}: {one.why.en}" for one in self.breaks[:MAX_TOLD]]
        uses = [str(use) for use in self.uses if use.consumer in self.missing]
        others = [str(one) for one in self.missing if all(u.consumer != one for u in self.uses)]
        instead = "wait until their agreements have ended" if self.is_end else _BESIDE
        detail = (
            f"{len(self.breaks)} breaking places, the first: {told[0]} Consents are missing of "
            f"{', '.join([*uses, *others][:MAX_TOLD])}; ask them (--ask-consents), or {instead}"
        )
        if self.refused:
            detail += f". A consent is not accepted: {self.refused[0]}"
        return Problem(
            Code.BREAKING_CHANGE,
            where=f"{self.path}#{self.breaks[0].where.rpartition('#')[2]}",
            detail=detail,
            facts={
                "breaks": told,
                "breaks_lo": [f"{one.where}: {one.why.lo}" for one in self.breaks[:MAX_TOLD]],
                "missing": [str(one) for one in self.missing],
            },
        )


def breaking_services(
    record: MemberRecord,
    files: Files,
    published: Files,
    schemas: Files,
    uses: Uses,
    consents: Consents,
    others: Mapping[MemberId, tuple[MemberRecord, Files]],
) -> tuple[Breaking, ...]:
    """The services of a member that change so that it breaks consumers, also where none is known:
    then nobody's consent is missing, and whoever hands in and approves is told.

    Args:
        files, published: the files of the member's new role and of its present one, by path.
        schemas: the published shared schemas by ``$id``.
        others: all members with their published files: one that goes to another member is held
            against what it is there.
    """
    present = {service.id: service for service in record.services}
    found = []
    for before in _services(record.member, published):
        after = present.get(before.id)
        old = published.get(before.openapi_target or "", b"")
        new = b"" if after is None else files.get(after.openapi_target or "", b"")
        moved = successor_of(before.id, record) if after is None else None
        if moved is not None:
            there = others.get(moved.member)
            after = None if there is None else _service(moved, there[0])
            new = b"" if there is None or after is None else _document(after, there[1])
        if after is not None and old in {b"", new}:
            continue
        breaks = _breaks_of(before.id, old, None if after is None else new, schemas)
        if breaks:
            target = None if after is None else after.openapi_target
            found.append(
                consents.asked(
                    str(before.id),
                    target or member_target(record.member),
                    (old, new),
                    breaks,
                    uses.of(before.id),
                )
            )
    return tuple(found)


def _breaks_of(
    service: ServiceId, old: bytes, new: bytes | None, schemas: Files
) -> tuple[Break, ...]:
    if new is None:
        return (Break(Way.BACKWARD, "", "service", str(service)),)
    if not new:
        return (Break(Way.BACKWARD, "", "unknown", str(service)),)
    return compare_openapi(old, new, schemas, schemas)


def breaking_schemas(
    changed: Files,
    own: Files,
    members: Iterable[tuple[MemberRecord, Files]],
    uses: Uses,
    consents: Consents,
) -> tuple[Breaking, ...]:
    """The registry's shared schemas that change so that it breaks who uses them.

    Args:
        changed: the registry's own files that are new or other than before, by path.
        own: those that are published.
        members: every member with its published files; read only if something breaks.

    Raises:
        Problem: ``InvalidDocument`` for a version that does not grow.
    """
    before, after = shared_schemas(own), shared_schemas({**own, **changed})
    for path, data in changed.items():
        if path in own:
            check_version(path, own[path], data)
    breaks = {
        identifier: found
        for identifier in before
        if (found := compare_schemas(identifier, before, after, Way.FULL))
    }
    if not breaks:
        return ()
    users = users_of(breaks.keys(), members, uses)
    paths = {schema_id(data, path): path for path, data in own.items() if _is_shared(path)}
    told = distinct(one for found in breaks.values() for one in found)
    place = paths[next(iter(breaks))]
    return tuple(
        replace(asked, path=place)
        for of, path in paths.items()
        if path in changed
        and (asked := consents.asked(of, path, (own[path], changed[path]), told, (), users)).users
    )


def judge_withdrawals(
    gone: Iterable[str], own: Files, members: Iterable[tuple[MemberRecord, Files]]
) -> None:
    """Refuse to withdraw a shared schema that a published service or schema refers to.

    Raises:
        Problem: ``Conflict`` that names who refers to it.
    """
    paths = [path for path in gone if _is_shared(path)]
    lost = {schema_id(own[path], path): path for path in paths}
    if not lost:
        return
    kept = [item for item in own.items() if _is_shared(item[0]) and item[0] not in paths]
    for path, data in [*kept, *(item for _, files in members for item in files.items())]:
        for identifier, target in lost.items():
            if _refers(data, identifier):
                raise Problem(
                    Code.CONFLICT,
                    where=target,
                    detail=f"{path} refers to it; it can be withdrawn when nothing does",
                )


def check_version(path: str, before: bytes, after: bytes) -> None:
    """Refuse a schema that changed without its version, within its major.

    Raises:
        Problem: ``InvalidDocument`` at ``x-saphan-version``.
    """
    if before == after or not _is_shared(path):
        return
    if is_code_list_target(path):
        listed, changed = parse_code_list(before, path), parse_code_list(after, path)
        if changed.version <= listed.version:
            raise invalid(path, "/version", "must be higher than the one that is published")
        return
    major = major_of(path)
    old, new = version_of(before, path, major), version_of(after, path, major)
    if new <= old:
        raise invalid(
            path,
            f"/{VERSION}",
            f"must be higher than {'.'.join(map(str, old))}, which is published",
        )


def major_of(path: str) -> int:
    """The major version in the target path of a shared schema."""
    return int(path.removesuffix(".json").rpartition(".")[2])


def version_of(data: bytes, path: str, major: int) -> tuple[int, int, int]:
    """The version that a shared schema gives itself; ``MAJOR.0.0`` when it gives none.

    Raises:
        Problem: ``InvalidDocument`` when it is no version of this major.
    """
    text = parse_document(data, MAX_SCHEMA_BYTES, path).value.get(VERSION, f"{major}.0.0")
    found = _VERSION.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[1]) != major:
        raise invalid(path, f"/{VERSION}", f"must be MAJOR.MINOR.PATCH with the major {major}")
    return int(found[1]), int(found[2]), int(found[3])


def _service(service: ServiceId, record: MemberRecord) -> ServiceRecord | None:
    return next((one for one in record.services if one.id == service), None)


def _document(service: ServiceRecord, files: Files) -> bytes:
    return files.get(service.openapi_target or "", b"")


def _services(member: MemberId, published: Files) -> tuple[ServiceRecord, ...]:
    data = published.get(member_target(member))
    return () if data is None else parse_member(data, member).services


def _is_shared(path: str) -> bool:
    return is_schema_target(path) or is_code_list_target(path)


def _refers(document: bytes, identifier: str) -> bool:
    """Whether a document names a schema, or a part of it."""
    return any(f'"{identifier}{end}'.encode() in document for end in ('"', "#"))


def users_of(
    identifiers: Iterable[str], members: Iterable[tuple[MemberRecord, Files]], uses: Uses
) -> set[MemberId]:
    """Members whose services refer to one of the schemas, and their consumers."""
    sought = tuple(identifiers)
    found: set[MemberId] = set()
    for record, files in members:
        for service in record.services:
            document = files.get(service.openapi_target or "", b"")
            if any(_refers(document, one) for one in sought):
                found |= {record.member} | uses.consumers(service.id)
    return found


class Consents:
    """Consents that were given; what cannot be opened is told only when one is missing."""

    def __init__(
        self, given: Iterable[File], authorities: Sequence[x509.Certificate], at: datetime
    ) -> None:
        self._given: set[Consent] = set()
        self._refused: list[Problem] = []
        for path, data in given:
            if _is_consent(path):
                try:
                    self._given.add(open_consent(data, authorities, at, path))
                except Problem as problem:
                    self._refused.append(problem)

    def asked(
        self,
        of: str,
        path: str,
        step: _Step,
        breaks: tuple[Break, ...],
        uses: tuple[Use, ...] = (),
        users: Iterable[MemberId] = (),
    ) -> Breaking:
        """A breaking step with its users, and who of them has not consented."""
        before, after = (digest_of(one) for one in step)
        everybody = tuple(sorted({*users, *(use.consumer for use in uses)}))
        missing = tuple(
            one for one in everybody if Consent(one, of, before, after) not in self._given
        )
        return Breaking(of, path, *step, breaks, uses, everybody, missing, tuple(self._refused))


def _is_consent(path: str) -> bool:
    return is_consent_target(path) or is_consent_file(path.rpartition("/")[2])
