"""How schemas and services may change: compatibly, or with the consent of those who use them.

A breaking change is published as something new beside the old (another major version of a schema,
another service), or when every consumer under agreement has consented to just this change.

Consumers are those of the agreements that the provider publishes beside its document; a consent is
a file ``consent.*.json`` beside them, or ``consents/*.json`` in the registry's own role for a
shared schema. Judged by documents alone; touches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from exchange.agreements import Agreement, open_agreement
from exchange.code_lists import parse_code_list
from exchange.compatibility import Break, Way, compare_openapi, compare_schemas
from exchange.consents import Consent, digest_of, open_consent
from exchange.deprecation import is_over, read_deprecations
from exchange.documents import invalid, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import (
    MAX_SCHEMA_BYTES,
    MEMBER_FILE,
    InstanceRecord,
    MemberRecord,
    is_code_list_target,
    is_consent_file,
    is_consent_target,
    is_schema_target,
    member_target,
    parse_member,
)
from exchange.trust import schema_id, shared_schemas, trusted_authorities

MAX_TOLD: Final = 50
_VERSION: Final = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
VERSION: Final = "x-saphan-version"

Files = Mapping[str, bytes]
_Step = tuple[bytes, bytes]


def judge_services(
    record: MemberRecord,
    files: Files,
    published: Files,
    schemas: Files,
    instance: InstanceRecord,
    at: datetime,
) -> None:
    """Decide whether a member's services may change as submitted.

    Args:
        files, published: the files of the member's new role and of its present one, by path.
        schemas: the published shared schemas by ``$id``.

    An operation whose announced end is over may go.

    Raises:
        Problem: ``BreakingChange`` at the document of the service.
    """
    documents = _documents(record.member, published)
    for service in record.services:
        path = service.openapi_target or member_target(record.member)
        before, after = documents.get(service.id), files.get(service.openapi_target or "")
        if before is None or before == after:
            continue
        if after is None:
            breaks = [Break(Way.BACKWARD, "", "unknown", str(service.id))]
        else:
            breaks = [
                one
                for one in compare_openapi(before, after, schemas, schemas)
                if not _has_ended(before, one, at)
            ]
        if breaks:
            consumers = consumers_of(service.id, [*published.items(), *files.items()], instance, at)
            consents = _Consents(files, _is_members_consent, instance, at)
            missing = consents.missing(consumers, str(service.id), (before, after or b""))
            remedy = "publish it as another service beside this one"
            _refuse(path, breaks, missing, consents.refused, remedy)


def judge_schemas(
    changed: Files,
    own: Files,
    members: Iterable[tuple[MemberRecord, Files]],
    instance: InstanceRecord,
    at: datetime,
) -> None:
    """Decide whether the registry's shared schemas may change.

    Args:
        changed: the registry's own files that are new or other than before, by path.
        own: those that are published.
        members: every member with its published files; read only if something breaks.

    Raises:
        Problem: ``BreakingChange`` at the schema; ``InvalidDocument`` for a version that does not
            grow.
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
        return
    consents = _Consents({**own, **changed}, is_consent_target, instance, at)
    users = set(_users(breaks.keys(), members, instance, at))
    paths = {schema_id(data, path): path for path, data in own.items() if _is_shared(path)}
    steps = [(one, own[path], changed[path]) for one, path in paths.items() if path in changed]
    missing = {
        member for of, old, new in steps for member in consents.missing(users, of, (old, new))
    }
    path = paths[next(iter(breaks))]
    told = [one for found in breaks.values() for one in found]
    remedy = "publish it as the next major version beside this one"
    _refuse(path, told, sorted(missing), consents.refused, remedy)


def judge_withdrawals(
    gone: Iterable[str], own: Files, members: Iterable[tuple[MemberRecord, Files]]
) -> None:
    """Refuse to withdraw a shared schema that a published service or schema refers to.

    Raises:
        Problem: ``Conflict`` that names who refers to it.
    """
    paths = [path for path in gone if _is_shared(path)]
    lost = {schema_id(own[path], path).encode(): path for path in paths}
    if not lost:
        return
    kept = [item for item in own.items() if _is_shared(item[0]) and item[0] not in paths]
    for path, data in [*kept, *(item for _, files in members for item in files.items())]:
        for identifier, target in lost.items():
            if b'"' + identifier in data:
                raise Problem(
                    Code.CONFLICT,
                    where=target,
                    detail=f"{path} refers to it; it can be withdrawn when nothing does",
                )


def consumers_of(
    service: ServiceId, files: Iterable[tuple[str, bytes]], instance: InstanceRecord, at: datetime
) -> set[MemberId]:
    """The other members whom an agreement that has not ended lets call a service."""
    return {
        agreement.consumer.member
        for agreement in _agreements(files, instance, at)
        if any(grant.service == service for grant in agreement.grants)
    } - {service.member}


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


def _refuse(
    path: str, breaks: list[Break], missing: list[MemberId], refused: list[Problem], remedy: str
) -> None:
    if not missing:
        return
    told = [f"{one.where}: {one.why.en}" for one in breaks[:MAX_TOLD]]
    detail = (
        f"{len(breaks)} breaking places, the first: {told[0]} Consents are missing of "
        f"{', '.join(map(str, missing))}; have them consent, or {remedy}"
    )
    if refused:
        detail += f". A consent is not accepted: {refused[0]}"
    raise Problem(
        Code.BREAKING_CHANGE,
        where=f"{path}#{breaks[0].where.rpartition('#')[2]}",
        detail=detail,
        facts={
            "breaks": told,
            "breaks_lo": [f"{one.where}: {one.why.lo}" for one in breaks[:MAX_TOLD]],
            "missing": [str(one) for one in missing],
        },
    )


def _documents(member: MemberId, published: Files) -> dict[ServiceId, bytes]:
    """The published OpenAPI documents by their service, whatever their files are called."""
    data = published.get(member_target(member))
    services = () if data is None else parse_member(data, member).services
    found = {one.id: published.get(one.openapi_target or "") for one in services}
    return {service: document for service, document in found.items() if document is not None}


def _has_ended(document: bytes, found: Break, at: datetime) -> bool:
    """Whether the break is that an operation is gone whose announced end is over."""
    if found.rule != "operation":
        return False
    method, _, template = found.subject.partition(" ")
    announced = read_deprecations(document).get((method, template))
    return announced is not None and is_over(announced, at)


def _is_shared(path: str) -> bool:
    return is_schema_target(path) or is_code_list_target(path)


def _users(
    identifiers: Iterable[str],
    members: Iterable[tuple[MemberRecord, Files]],
    instance: InstanceRecord,
    at: datetime,
) -> Iterator[MemberId]:
    """Members whose services refer to one of the schemas, and their consumers."""
    sought = [f'"{identifier}'.encode() for identifier in identifiers]
    for record, files in members:
        for service in record.services:
            document = files.get(service.openapi_target or "", b"")
            if any(one in document for one in sought):
                yield record.member
                yield from consumers_of(service.id, files.items(), instance, at)


def _agreements(
    files: Iterable[tuple[str, bytes]], instance: InstanceRecord, at: datetime
) -> Iterator[Agreement]:
    authorities = trusted_authorities(instance)
    for path, data in dict.fromkeys(files):
        if path.rpartition("/")[2] == MEMBER_FILE or b'"signatures"' not in data:
            continue
        try:
            agreement = open_agreement(data, authorities, at)
        except Problem:
            continue  # opens no door either
        if agreement.valid_until > at:
            yield agreement


def _is_members_consent(path: str) -> bool:
    return is_consent_file(path.rpartition("/")[2])


class _Consents:
    """The consents among some files; what cannot be opened is told only when one is missing."""

    def __init__(
        self, files: Files, named: Callable[[str], bool], instance: InstanceRecord, at: datetime
    ) -> None:
        authorities = trusted_authorities(instance)
        self.given: set[Consent] = set()
        self.refused: list[Problem] = []
        for path, data in files.items():
            if named(path):
                try:
                    self.given.add(open_consent(data, authorities, at, path))
                except Problem as problem:
                    self.refused.append(problem)

    def missing(self, consumers: Iterable[MemberId], of: str, step: _Step) -> list[MemberId]:
        """Who of the consumers has not consented to a step."""
        before, after = (digest_of(one) for one in step)
        return sorted(
            one for one in set(consumers) if Consent(one, of, before, after) not in self.given
        )
