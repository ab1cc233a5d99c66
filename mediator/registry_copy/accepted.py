"""The last good copy: in memory, and on disk as names and digests."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from orjson import Fragment

from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.log.checkpoint import MAX_CHECKPOINT_SIZE, parse_text
from exchange.log.compact_range import CompactRange
from exchange.log.notes import parse_note
from exchange.problems import Code, Problem
from exchange.registrations import InstanceRecord, MemberRecord, member_target, parse_member
from exchange.registry.continuity import Pin
from exchange.registry.key_sets import format_keys, parse_keys
from exchange.registry.log import MAX_STATE_BYTES, parse_state
from exchange.trust.admission import AdmittedMember, admit_member
from mediator.registry_copy.borders import tuf_problems, untrusted
from mediator.registry_copy.log_growth import SeenLog
from mediator.registry_copy.shared import Shared, read_shared
from serving.durable_files import replace_file

ACCEPTED = "accepted.json"
FILES = "files"
MAX_ACCEPTED_BYTES = 64 << 20
MAX_MEMBERS = 100_000
MAX_VERSION = 1 << 53
T = TypeVar("T")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A file of the copy: it stays on disk."""

    folder: str = field(compare=False)
    sha256: str

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            Problem: ``UntrustedMetadata`` when it is gone or damaged.
        """
        try:
            # without pathlib, which keeps every name that it ever saw
            with open(f"{self.folder}/{self.sha256}", "rb") as file:
                data = file.read()
        except OSError as error:
            detail = "a file of the last good copy is gone"
            raise untrusted(self.sha256, detail) from error
        if sha256(data).hexdigest() != self.sha256:
            raise untrusted(self.sha256, "a file of the last good copy is damaged")
        return data


@dataclass(frozen=True, slots=True)
class AcceptedMember:
    """A member's last good state: what its role said, and what was read from its files."""

    openapi: Mapping[ServiceId, KeptDocument]
    files: Mapping[str, str]
    version: int
    expires: datetime
    admitted: AdmittedMember

    @property
    def record(self) -> MemberRecord:
        """What its document says."""
        return self.admitted.record

    def readmitted(self, instance: InstanceRecord, at: datetime) -> AcceptedMember:
        """The same, with its certificates judged again."""
        return replace(self, admitted=admit_member(self.record, instance, at))


@dataclass(slots=True)
class Accepted:
    """The last good copy in memory; ``snapshot`` is the SHA-256 of the snapshot's file.

    ``unfinished`` are members whose files could not be had, ``troubles`` what is wrong with
    members; neither is kept on disk.
    """

    root_version: int = 0
    version: int = 0
    expires: datetime = _NEVER
    checked_at: datetime = _NEVER
    snapshot: str = ""
    log: SeenLog | None = None
    shared: Shared | None = None
    shared_files: dict[str, str] = field(default_factory=dict)
    members: dict[MemberId, AcceptedMember] = field(default_factory=dict)
    pins: dict[MemberId, Pin] = field(default_factory=dict)
    unfinished: set[MemberId] = field(default_factory=set)
    troubles: dict[MemberId, Problem] = field(default_factory=dict)

    def readmit(self, instance: InstanceRecord, at: datetime) -> None:
        """Judge the certificates of all members again."""
        for member, known in self.members.items():
            self.members[member] = known.readmitted(instance, at)

    @contextlib.contextmanager
    def troubled(self, member: MemberId) -> Iterator[None]:
        """What goes wrong with one member stays with that member; a dead line is everybody's."""
        try:
            with tuf_problems():
                yield
        except Problem as problem:
            if problem.code is Code.REGISTRY_UNREACHABLE and "status" not in problem.facts:
                raise
            if problem.code is Code.REGISTRY_UNREACHABLE:
                self.unfinished.add(member)
            problem.facts["member"] = str(member)
            self.troubles[member] = problem


class AcceptedFolder:
    """The copy on disk: ``accepted.json`` and the files that it names by their digests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._written: dict[MemberId, tuple[AcceptedMember, Fragment]] = {}
        self._pins: dict[MemberId, tuple[Pin, Fragment]] = {}
        self._named: set[str] | None = None
        self.files = directory / FILES

    def prepare(self) -> None:
        """Make the folders. Raises: OSError."""
        self.files.mkdir(parents=True, exist_ok=True)

    def load(self, at: datetime) -> Accepted | None:
        """The copy, if there is one.

        Raises:
            Problem: ``InvalidDocument`` when ``accepted.json`` is damaged.
            OSError: it cannot be read.
        """
        try:
            data = (self.directory / ACCEPTED).read_bytes()
        except FileNotFoundError:
            return None
        return self._parse(data, at)

    def store(self, accepted: Accepted) -> None:
        """Replace ``accepted.json``, durably. Raises: OSError."""
        document = self._format(accepted)
        digest = sha256(format_document(document)).hexdigest()
        replace_file(self.directory / ACCEPTED, format_document({**document, "sha256": digest}))

    def sweep(self, accepted: Accepted, *, all_files: bool) -> None:
        """Remove files that the copy no longer names: all that lie there, or that it named."""
        named = set(accepted.shared_files.values())
        for known in accepted.members.values():
            named.update(known.files.values())
        if all_files or self._named is None:
            self._named = {entry.name for entry in os.scandir(self.files)}
        for digest in self._named - named:
            (self.files / digest).unlink(missing_ok=True)
        self._named = named

    def _parse(self, data: bytes, at: datetime) -> Accepted:
        where = f"{self.directory / ACCEPTED}"
        document = parse_document(data, MAX_ACCEPTED_BYTES, where)
        fields = document.members(
            frozenset({"format", "version", "expires", "checked_at", "shared", "members", "pins"}),
            # earlier releases wrote none of these
            frozenset({"root_version", "snapshot", "log", "sha256"}),
        )
        fields["format"].integer(1, 1)
        _check_digest(document, fields.get("sha256"))
        root_version, log = fields.get("root_version"), fields.get("log")
        snapshot = fields.get("snapshot")
        accepted = Accepted(
            root_version=0 if root_version is None else root_version.integer(0, MAX_VERSION),
            version=fields["version"].integer(0, MAX_VERSION),
            expires=_moment(fields["expires"]),
            checked_at=_moment(fields["checked_at"]),
            snapshot="" if snapshot is None else snapshot.text(64, 0),
            log=None if log is None else _read_log(log),
            shared_files={path: node.text(64) for path, node in fields["shared"].entries(10_000)},
            pins=dict(_read_pin(name, node) for name, node in fields["pins"].entries(MAX_MEMBERS)),
        )
        try:
            shared = read_shared(
                {path: self._read(digest) for path, digest in accepted.shared_files.items()}
            )
        except Problem:
            # A file is damaged: pins and versions are safe, the rest is fetched again.
            return Accepted(
                accepted.root_version, accepted.version, log=accepted.log, pins=accepted.pins
            )
        accepted.shared = shared
        for name, node in fields["members"].entries(MAX_MEMBERS):
            member = MemberId.parse(name)
            with accepted.troubled(member):
                accepted.members[member] = self._member(member, node, shared.instance, at)
            if member not in accepted.members:
                accepted.unfinished.add(member)
        return accepted

    def _member(
        self, member: MemberId, node: Node, instance: InstanceRecord, at: datetime
    ) -> AcceptedMember:
        fields = node.members(frozenset({"version", "expires", "files"}))
        files = {path: item.text(64) for path, item in fields["files"].entries(10_000)}
        record = parse_member(self._read(files.get(member_target(member), "")), member)
        return AcceptedMember(
            openapi={
                service.id: self._kept(files.get(service.openapi_target, ""))
                for service in record.services
                if service.openapi_target is not None
            },
            files=files,
            version=fields["version"].integer(0, MAX_VERSION),
            expires=_moment(fields["expires"]),
            admitted=admit_member(record, instance, at),
        )

    def _kept(self, digest: str) -> KeptDocument:
        """A file that is whole and stays on disk."""
        self._read(digest)
        return KeptDocument(str(self.files), digest)

    def _read(self, digest: str) -> bytes:
        if not _SHA256.fullmatch(digest):
            raise untrusted(digest[:64], "a file of the last good copy is not named")
        return KeptDocument(str(self.files), digest).read()

    def _format(self, accepted: Accepted) -> dict[str, Any]:
        """The record; what it says of a member is encoded when that member changed."""
        return {
            "format": 1,
            "root_version": accepted.root_version,
            "version": accepted.version,
            "expires": accepted.expires.isoformat(),
            "checked_at": accepted.checked_at.isoformat(),
            "snapshot": accepted.snapshot,
            "log": None if accepted.log is None else _format_log(accepted.log),
            "shared": accepted.shared_files,
            "members": _encoded(accepted.members, self._written, _format_member),
            "pins": _encoded(accepted.pins, self._pins, _format_pin),
        }


def _encoded(
    values: Mapping[MemberId, T],
    known: dict[MemberId, tuple[T, Fragment]],
    form: Callable[[T], dict[str, Any]],
) -> dict[str, Fragment]:
    for member, value in values.items():
        if (before := known.get(member)) is None or before[0] is not value:
            # a copy: what the encoder gives holds on to its buffer, which is some times as long
            encoded = bytes(memoryview(format_document(form(value))))
            known[member] = value, Fragment(encoded)
    for gone in known.keys() - values.keys():
        del known[gone]
    return {str(member): encoded for member, (_, encoded) in known.items()}


def _format_member(known: AcceptedMember) -> dict[str, Any]:
    return {
        "version": known.version,
        "expires": known.expires.isoformat(),
        "files": dict(known.files),
    }


def _format_pin(pin: Pin) -> dict[str, Any]:
    return {"number": pin.number, **format_keys(pin.keys)}


def _format_log(log: SeenLog) -> dict[str, Any]:
    return {
        "note": log.note.decode(),
        "hashes": [subtree.hex() for subtree in log.range.hashes],
        "state": bytes(log.state).decode(),
        "index": log.index,
    }


def _read_log(node: Node) -> SeenLog:
    fields = node.members(frozenset({"note", "hashes", "state", "index"}))
    note = fields["note"].text(MAX_CHECKPOINT_SIZE).encode()
    try:
        hashes = tuple(bytes.fromhex(item.text(64)) for item in fields["hashes"].items(64))
        checkpoint = parse_text(parse_note(note).text)
        state = parse_state(fields["state"].text(MAX_STATE_BYTES).encode())
        log = CompactRange(checkpoint.size, hashes)
    except (ValueError, Problem) as error:
        raise node.refuse(f"is damaged: {error}") from error
    if state is None or log.root() != checkpoint.root:
        raise node.refuse("is damaged: no state, or not the range of its checkpoint")
    return SeenLog(note, log, state, fields["index"].integer(0, MAX_VERSION))


def _check_digest(document: Node, digest: Node | None) -> None:
    if digest is not None:
        rest = {key: value for key, value in document.value.items() if key != "sha256"}
        if sha256(format_document(rest)).hexdigest() != digest.value:
            raise digest.refuse("is not the digest of the rest: the file is damaged")


def _read_pin(name: str, node: Node) -> tuple[MemberId, Pin]:
    fields = node.members(frozenset({"number", "keys", "threshold"}))
    keys = Node({key: node.value[key] for key in ("keys", "threshold")}, node.noun, node.pointer)
    return MemberId.parse(name), Pin(parse_keys(keys), fields["number"].integer(0, 1_000_000))


def _moment(node: Node) -> datetime:
    try:
        moment = datetime.fromisoformat(node.text(40))
    except ValueError as error:
        raise node.refuse("not a time") from error
    if moment.tzinfo is None:
        raise node.refuse("a time without zone")
    return moment
