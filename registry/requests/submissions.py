"""What a member hands in: its new role with the files that it names, judged.

A submission is a member's new role (signed by the member's own keys), the files that are new in it
and proofs that the member holds the keys of its new certificates
(:mod:`registry.requests.possession`). Takes bytes, values and the time, and touches nothing.

Invariants:
- only the member's own keys sign what the member says of itself, also for its operator;
- a first registration, and a change of keys, take a new delegation, which the targets keys sign;
  a change of keys also takes a statement that clients will believe;
- nothing that clients would leave out is let in: foreign or expired certificates, services without
  a readable OpenAPI document;
- no certificate is registered by whoever has not its key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509
from tuf.api.metadata import Targets

from exchange.contracts.contract import Contract
from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import (
    MAX_OPENAPI_BYTES,
    InstanceRecord,
    MemberRecord,
    ServiceRecord,
    member_target,
    parse_member,
)
from exchange.registry.continuity import (
    Pin,
    Statement,
    check_continuity,
    format_statement,
    parse_statement,
)
from exchange.registry.key_sets import KeySet, format_keys, parse_keys
from exchange.trust.admission import admit_member
from registry.publication.publish import check_file, judge_member_role
from registry.requests.changes import Change, Published, compare
from registry.requests.lifecycle import Kind
from registry.requests.possession import check_possession

MAX_SUBMISSION_BYTES = 32 << 20
MAX_FILES = 4096
MAX_PROOFS = 2048
MAX_ENCODED_CODE = 200  # codes become names of folders
_BASE64_CHARS = MAX_OPENAPI_BYTES * 4 // 3 + 4


@dataclass(frozen=True, slots=True)
class Submission:
    """What a member sends: its role, the keys that signed it, and the files by their names."""

    member: MemberId
    keys: KeySet
    role: bytes
    files: Mapping[str, bytes]
    statement: Statement | None
    note: str
    proofs: Mapping[str, bytes] = field(default_factory=dict)
    """By the key of each new certificate, by the fingerprint of the certificate."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands in the registry: nothing of it, or what is published."""

    pin: Pin | None = None
    version: int = 0
    files: Mapping[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A submission that may wait for approval."""

    submission: Submission
    kind: Kind
    role: Targets
    record: MemberRecord
    files: Mapping[str, bytes]
    """All files of the role by their target path."""
    changes: tuple[Change, ...]


def parse_submission(data: bytes) -> Submission:
    """Parse the body of ``POST /api/v1/submissions``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    fields = parse_document(data, MAX_SUBMISSION_BYTES, "submission").members(
        frozenset({"member", "keys", "role", "files"}), frozenset({"statement", "note", "proofs"})
    )
    try:
        member = MemberId.parse(fields["member"].text(2048))
    except Problem as problem:
        raise fields["member"].refuse(problem.detail) from problem
    statement, note = fields.get("statement"), fields.get("note")
    proofs = fields.get("proofs")
    return Submission(
        member=member,
        keys=parse_keys(fields["keys"]),
        role=decode(fields["role"]),
        files={name: decode(node) for name, node in fields["files"].entries(MAX_FILES)},
        statement=None if statement is None else parse_statement(statement, member),
        note="" if note is None else note.text(2000, 0),
        proofs={}
        if proofs is None
        else {name: decode(node) for name, node in proofs.entries(MAX_PROOFS)},
    )


def format_submission(submission: Submission) -> bytes:
    """The body of ``POST /api/v1/submissions``."""
    members: dict[str, Any] = {
        "member": str(submission.member),
        "keys": format_keys(submission.keys),
        "role": encode(submission.role),
        "files": {name: encode(data) for name, data in submission.files.items()},
        "note": submission.note,
        "proofs": {name: encode(proof) for name, proof in submission.proofs.items()},
    }
    if submission.statement is not None:
        members["statement"] = format_statement(submission.statement)
    return format_document(members)


def judge_submission(
    submission: Submission,
    standing: Standing,
    instance: InstanceRecord,
    schemas: Mapping[str, bytes],
    root: KeySet,
    at: datetime,
) -> Judged:
    """Decide whether a submission may wait for approval.

    Args:
        standing: how the member stands now.
        schemas: the published shared schemas by ``$id``.
        root: the keys of the root role, which may vouch for a change of keys.

    Files that are published already with the same content need not be sent again.

    Raises:
        Problem: ``InvalidDocument``, ``UntrustedMetadata``, ``RollbackDetected``,
            ``DigestMismatch``, ``ContinuityBroken``, a judgement of a certificate,
            ``DevelopmentOnly``, or ``InvalidSignatureValue`` for a new certificate without a
            proof, each with its place.
    """
    member = submission.member
    if member.instance != instance.instance:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where="submission#/member",
            detail=f"this registry is of the instance {instance.instance}",
        )
    if any(len(code) > MAX_ENCODED_CODE for code in str(member).split("/")):
        raise Problem(
            Code.INVALID_DOCUMENT,
            where="submission#/member",
            detail=f"a code of more than {MAX_ENCODED_CODE} characters cannot be published",
        )
    kind = _kind(submission, standing)
    role = judge_member_role(submission.role, member, submission.keys, standing.version, at)
    if kind is Kind.KEYS and submission.statement is not None:
        check_continuity(member, standing.pin, submission.keys, [submission.statement], root)
    files = _whole_files(submission, role, standing.files or {})
    target = member_target(member)
    if target not in files:
        raise Problem(Code.INVALID_DOCUMENT, where="submission#/files", detail=f"lacks {target}")
    record = parse_member(files[target], member)
    _judge_certificates(record, instance, at)
    published = _published(member, standing)
    check_possession(
        member, _new_certificates(published, record), submission.role, submission.proofs
    )
    for service in record.services:
        _judge_service(service, files, schemas)
    changes = compare(published, Published(record, files), has_new_keys=kind is Kind.KEYS)
    return Judged(submission, kind, role, record, files, changes)


def _published(member: MemberId, standing: Standing) -> Published | None:
    files = standing.files or {}
    data = files.get(member_target(member))
    return None if data is None else Published(parse_member(data, member), files)


def _new_certificates(
    published: Published | None, record: MemberRecord
) -> tuple[x509.Certificate, ...]:
    known = set() if published is None else set(certificates_of(published.record))
    return tuple(one for one in certificates_of(record) if one not in known)


def certificates_of(record: MemberRecord) -> Iterator[x509.Certificate]:
    """All certificates of a member: its seals', its servers'."""
    yield from record.seal_certificates
    for server in record.servers:
        yield from server.auth_certificates


def _kind(submission: Submission, standing: Standing) -> Kind:
    if standing.pin is None:
        return Kind.FIRST
    same = standing.pin.keys.identity == submission.keys.identity
    return Kind.UPDATE if same else Kind.KEYS


def _whole_files(
    submission: Submission, role: Targets, published: Mapping[str, bytes]
) -> dict[str, bytes]:
    sent = {member_target(submission.member, name): data for name, data in submission.files.items()}
    if strange := sorted(sent.keys() - role.targets.keys()):
        raise Problem(
            Code.INVALID_DOCUMENT,
            where="submission#/files",
            detail=f"{strange[0][:120]!r} is not named by the role",
        )
    files = {}
    for path, file in role.targets.items():
        data = sent.get(path, published.get(path))
        if data is None:
            raise Problem(
                Code.INVALID_DOCUMENT,
                where="submission#/files",
                detail=f"lacks {path}, which the role names",
            )
        check_file(file, data)
        files[path] = data
    return files


def _judge_certificates(record: MemberRecord, instance: InstanceRecord, at: datetime) -> None:
    complaints = admit_member(record, instance, at).complaints
    if complaints:
        raise complaints[0]


def _judge_service(
    service: ServiceRecord, files: Mapping[str, bytes], schemas: Mapping[str, bytes]
) -> None:
    path = service.openapi_target
    if path is None:
        return
    if path not in files:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=f"{member_target(service.id.member)}#/services",
            detail=f"{service.id} names {path}, which was not sent",
        )
    check_openapi(files[path], path, schemas)


def check_openapi(data: bytes, path: str, schemas: Mapping[str, bytes]) -> None:
    """Compile a service's OpenAPI document as every server will.

    Raises:
        Problem: ``InvalidDocument`` with the file and the place in it.
    """
    try:
        Contract.compile(data, schemas)
    except Problem as problem:
        raise Problem(
            problem.code,
            where=f"{path}#{problem.where.partition('#')[2]}",
            detail=problem.detail,
            facts=problem.facts,
        ) from problem


def encode(data: bytes) -> str:
    """Bytes in JSON: base64 (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def decode(node: Node) -> bytes:
    """Bytes out of JSON; only what encodes back identically.

    Raises:
        Problem: ``InvalidDocument`` for anything else.
    """
    text = node.value
    if not isinstance(text, str) or len(text) > 2 * _BASE64_CHARS + (8 << 20):
        raise node.refuse("must be a base64 string of a few megabytes at most")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise node.refuse("not base64") from error
    if encode(data) != text:
        raise node.refuse("not base64 in its one form")
    return data
