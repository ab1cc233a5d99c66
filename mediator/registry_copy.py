"""This server's verified copy of the registry: followed, checked and kept on disk.

:class:`RegistryCopy` joins three things: the TUF client workflow (python-tuf's ``Updater``), the
continuity of members' keys (:mod:`exchange.continuity`), and the last good copy. It blocks, so
:mod:`mediator.view` runs it in a thread; one thread at a time.

What lies in the folder:

- ``metadata/``: the TUF client's own cache (anchors against rollback);
- ``files/{sha256}``: target files by their content;
- ``accepted.json``: what was accepted last, as names and digests, and the pins of all members ever
  seen. It is replaced in one rename, after everything that it names is on disk: a crash leaves the
  old copy or the new one. It carries its own SHA-256, so that damage is not taken for a change.

Invariants:
- the version of the snapshot, and that of each member's role, never falls, also when the TUF
  client's own cache was lost; new online keys, which the offline root alone can give, may begin
  the snapshots anew;
- a member whose new state fails in any way (continuity, form, missing file) keeps its last good
  state and is told in ``complaints``; the others move on;
- pins are never lost: if ``accepted.json`` is damaged, the copy refuses to open, because trusting
  the present keys anew is a person's decision;
- nothing changed costs two requests and no parsing of members; one changed member costs that
  member's.

Not checked here: signatures of what this server itself wrote to its own disk.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import (
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import Updater, UpdaterConfig

from exchange.continuity import (
    KeySet,
    Pin,
    Statement,
    check_continuity,
    continuity_target,
    format_keys,
    parse_keys,
    parse_statements,
    read_delegations,
    role_name,
    root_keys,
)
from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import (
    INSTANCE_TARGET,
    MAX_OPENAPI_BYTES,
    is_schema_target,
    member_target,
)
from exchange.trust import (
    AdmittedMember,
    InstanceRecord,
    MemberRecord,
    RegistryState,
    admit_member,
    parse_instance,
    parse_member,
    schema_id,
)
from mediator.registry_fetcher import RegistryFetcher

ACCEPTED = "accepted.json"
MAX_ACCEPTED_BYTES = 64 << 20
MAX_ROLE_BYTES = 5_000_000
MAX_MEMBERS = 100_000
MAX_VERSION = 1 << 53
MAX_MEMBER_FILES_BYTES = 32 << 20
MAX_PREFETCH_BYTES = 64 << 20
_BATCH = 64
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Member:
    """A member's last good state: what its role said, and what was read from its files."""

    record: MemberRecord
    openapi: Mapping[ServiceId, bytes]
    files: Mapping[str, str]
    version: int
    expires: datetime
    admitted: AdmittedMember


@dataclass(slots=True)
class _Accepted:
    """The last good copy in memory."""

    root_version: int = 0
    version: int = 0
    expires: datetime = _NEVER
    checked_at: datetime = _NEVER
    instance: InstanceRecord | None = None
    schemas: dict[str, bytes] = field(default_factory=dict)
    shared_files: dict[str, str] = field(default_factory=dict)
    members: dict[MemberId, _Member] = field(default_factory=dict)
    pins: dict[MemberId, Pin] = field(default_factory=dict)


class RegistryCopy:
    """The copy in ``directory`` of the registry at ``url``.

    Args:
        url: the registry's base address; metadata and targets are under it.
        root: the trusted root metadata, got by another way than from this registry.
        grace: for how long after its end a member's role still counts.
    """

    def __init__(
        self, directory: Path, url: str, root: bytes, fetcher: RegistryFetcher, grace: timedelta
    ) -> None:
        base = url.rstrip("/")
        self._metadata_url = f"{base}/metadata/"
        self._targets_url = f"{base}/targets/"
        self._root = root
        self._fetcher = fetcher
        self._grace = grace
        self._directory = directory
        self._metadata = directory / "metadata"
        self._files = directory / "files"
        self._accepted = _Accepted()
        self._unfinished: set[MemberId] = set()
        self._is_followed = False  # the first time, troubles are found again even if nothing is new
        self._troubles: dict[MemberId, Problem] = {}
        self.state: RegistryState | None = None
        self.parsed_members = 0

    @property
    def checked_at(self) -> datetime:
        """When the registry was last asked and answered well."""
        return self._accepted.checked_at

    def load(self, at: datetime) -> None:
        """Take up the last good copy from disk, if there is one; uses no network.

        Raises:
            Problem: ``InvalidDocument`` when ``accepted.json`` is damaged, ``InternalError`` when
                the folder cannot be read or made.
        """
        with _disk(self._directory):
            self._metadata.mkdir(parents=True, exist_ok=True)
            self._files.mkdir(exist_ok=True)
            try:
                data = (self._directory / ACCEPTED).read_bytes()
            except FileNotFoundError:
                return
        self._accepted = self._read_accepted(data, at)
        self._rebuild(at)

    def synchronise(self, at: datetime) -> bool:
        """Ask the registry and take over what it says now; tells whether the state changed.

        Raises:
            Problem: ``RegistryUnreachable``, ``UntrustedMetadata``, ``RollbackDetected``,
                ``OutdatedGlobalConf`` (metadata that has expired) or ``InternalError`` (disk). The
                last good copy then stays in force.
        """
        with _disk(self._directory), _tuf_problems():
            updater = self._refreshed(at)
            root, timestamp, snapshot, targets = (
                self._verified(Root, "root"),
                self._verified(Timestamp, "timestamp"),
                self._verified(Snapshot, "snapshot"),
                self._verified(Targets, "targets"),
            )
            self._refuse_rollback(root, snapshot)
            same = snapshot.version == self._accepted.version
            changed = not (same and self._is_followed and not self._unfinished)
            if changed:
                self._follow(updater, root, snapshot, targets, at)
            self._accept(root.version, snapshot.version, timestamp.expires, at)
            if changed:
                self._sweep()
        if changed:
            self._is_followed = True
            self._rebuild(at)
        return self.review(at) or changed

    def review(self, at: datetime) -> bool:
        """Judge certificates and roles again if the time has come; uses no network."""
        if self.state is None or self.state.review_at is None or at < self.state.review_at:
            return False
        instance = self.state.instance
        for member, known in self._accepted.members.items():
            self._accepted.members[member] = _readmitted(known, instance, at)
        self._rebuild(at)
        return True

    # ------------------------------------------------------------------ following the registry

    def _refreshed(self, at: datetime) -> Updater:
        config = UpdaterConfig(max_delegations=MAX_MEMBERS, targets_max_length=4 * MAX_ROLE_BYTES)
        updater = Updater(
            str(self._metadata),
            self._metadata_url,
            str(self._files),
            self._targets_url,
            self._fetcher,
            config,
            bootstrap=self._root,
        )
        # The client workflow judges expiry at one moment, fixed at its start (TUF 1.0.34, 5.1);
        # python-tuf has no argument for it, and this server's time comes from its clock alone.
        updater._trusted_set.reference_time = at
        updater.refresh()
        return updater

    def _verified(self, kind: type[T], role: str) -> T:
        # The client persists metadata only after it has verified it.
        path = self._metadata / f"{quote(role, '')}.json"
        signed = Metadata[Any].from_bytes(path.read_bytes()).signed
        if not isinstance(signed, kind):
            raise _untrusted(role, "not metadata of this role")
        return signed

    def _refuse_rollback(self, root: Root, snapshot: Snapshot) -> None:
        # The TUF client compares with its cache only, which it does not flush to disk.
        accepted = self._accepted
        if snapshot.version > MAX_VERSION:
            raise _untrusted("snapshot", f"its version is higher than {MAX_VERSION}")
        if root.version <= accepted.root_version and snapshot.version < accepted.version:
            raise Problem(
                Code.ROLLBACK_DETECTED,
                where="registry",
                detail=f"snapshot {snapshot.version} is older than {accepted.version}, "
                "which was accepted before",
            )

    def _follow(
        self, updater: Updater, root: Root, snapshot: Snapshot, targets: Targets, at: datetime
    ) -> None:
        if not root.consistent_snapshot:
            raise _untrusted("root", "the registry must use consistent snapshots")
        reader = _Reader(updater, self._fetcher, self._files, self._targets_url)
        instance = self._follow_shared(reader, targets, at)
        offered = read_delegations(targets, instance.instance)
        self._troubles = self._follow_pins(reader, targets, offered, root_keys(root))
        versions = {
            member: snapshot.meta[f"{role_name(member)}.json"].version
            for member in offered
            if f"{role_name(member)}.json" in snapshot.meta
        }
        for gone in self._accepted.members.keys() - offered.keys():
            del self._accepted.members[gone]
        wanted = [
            member
            for member in offered
            if member not in self._troubles and self._is_stale(member, versions.get(member, 0))
        ]
        self._unfinished = set()
        for batch in _batches(wanted, _BATCH):
            self._prefetch_roles(batch, versions)
            loaded = {member: self._load_role(updater, member) for member in batch}
            reader.prefetch(
                file for role in loaded.values() if role is not None for file in _files_of(role)
            )
            for member, role in loaded.items():
                if role is not None:
                    self._take_member(reader, member, role, instance, at)

    def _follow_shared(self, reader: _Reader, targets: Targets, at: datetime) -> InstanceRecord:
        accepted = self._accepted
        known = dict(accepted.shared_files)
        wanted = {
            path: file
            for path, file in targets.targets.items()
            if path == INSTANCE_TARGET or is_schema_target(path)
        }
        if INSTANCE_TARGET not in wanted:
            raise _untrusted("targets", f"the registry publishes no {INSTANCE_TARGET}")
        reader.prefetch(file for path, file in wanted.items() if known.get(path) != _digest(file))
        instance = parse_instance(reader.read(wanted[INSTANCE_TARGET]))
        if accepted.instance is not None and accepted.instance.instance != instance.instance:
            raise _untrusted(INSTANCE_TARGET, "the registry changed its instance")
        schemas: dict[str, bytes] = {}
        for path, file in wanted.items():
            if path != INSTANCE_TARGET:
                data = reader.read(file)
                schemas[schema_id(data, path)] = data
        if instance != accepted.instance:
            accepted.instance = instance
            for member, known_member in accepted.members.items():
                accepted.members[member] = _readmitted(known_member, instance, at)
        accepted.schemas = schemas
        accepted.shared_files = {path: _digest(file) for path, file in wanted.items()}
        return instance

    def _follow_pins(
        self,
        reader: _Reader,
        targets: Targets,
        offered: Mapping[MemberId, KeySet],
        root: KeySet,
    ) -> dict[MemberId, Problem]:
        pins, troubles = self._accepted.pins, {}
        for member, keys in offered.items():
            pin = pins.get(member)
            if pin is not None and pin.keys.identity == keys.identity:
                continue
            try:
                statements = _statements(reader, targets, member)
                pins[member] = check_continuity(member, pin, keys, statements, root)
            except Problem as problem:
                troubles[member] = problem
        return troubles

    def _is_stale(self, member: MemberId, version: int) -> bool:
        known = self._accepted.members.get(member)
        return known is None or known.version != version or member in self._unfinished

    def _prefetch_roles(
        self, members: Iterable[MemberId], versions: Mapping[MemberId, int]
    ) -> None:
        self._fetcher.prefetch(
            {
                f"{self._metadata_url}{versions[member]}.{quote(role_name(member), '')}.json": (
                    MAX_ROLE_BYTES
                )
                for member in members
                if member in versions
            }
        )

    def _load_role(self, updater: Updater, member: MemberId) -> Targets | None:
        """The member's verified role; nothing, and a trouble, when it cannot be had."""
        with self._troubled(member):
            if updater.get_targetinfo(member_target(member)) is None:
                raise _untrusted(str(member), "its role holds no member.json")
            role = self._verified(Targets, role_name(member))
            for file in role.targets.values():
                _digest(file)
            self._judge_role(member, role)
            return role
        return None

    def _judge_role(self, member: MemberId, role: Targets) -> None:
        known = self._accepted.members.get(member)
        if known is not None and role.version < known.version:
            raise Problem(
                Code.ROLLBACK_DETECTED,
                where=str(member),
                detail=f"version {role.version} of its role is older than {known.version}, "
                "which was accepted before",
            )
        if role.version > MAX_VERSION:
            raise _untrusted(str(member), f"its role's version is higher than {MAX_VERSION}")
        if sum(file.length for file in role.targets.values()) > MAX_MEMBER_FILES_BYTES:
            raise _untrusted(
                str(member), f"its files are larger than {MAX_MEMBER_FILES_BYTES} bytes together"
            )

    def _take_member(
        self,
        reader: _Reader,
        member: MemberId,
        role: Targets,
        instance: InstanceRecord,
        at: datetime,
    ) -> None:
        with self._troubled(member):
            own = {
                path: file
                for path, file in role.targets.items()
                if path.rpartition("/")[0] == str(member)
            }
            record = parse_member(reader.read(own[member_target(member)]), member)
            self.parsed_members += 1
            openapi = {}
            for service in record.services:
                path = service.openapi_target
                if path is not None:
                    if path not in own:
                        raise _untrusted(path, "a service names a file that its member lacks")
                    openapi[service.id] = reader.read(own[path])
            self._accepted.members[member] = _Member(
                record=record,
                openapi=openapi,
                files={
                    path: _digest(file)
                    for path, file in own.items()
                    if path == member_target(member)
                    or path in {service.openapi_target for service in record.services}
                },
                version=role.version,
                expires=role.expires,
                admitted=admit_member(record, instance, at),
            )

    @contextlib.contextmanager
    def _troubled(self, member: MemberId) -> Iterator[None]:
        """What goes wrong with one member stays with that member; a dead line is everybody's."""
        try:
            with _tuf_problems():
                yield
        except Problem as problem:
            if problem.code is Code.REGISTRY_UNREACHABLE and "status" not in problem.facts:
                raise
            if problem.code is Code.REGISTRY_UNREACHABLE:
                self._unfinished.add(member)
            problem.facts["member"] = str(member)
            self._troubles[member] = problem

    # ----------------------------------------------------------------------- the state in force

    def _accept(self, root_version: int, version: int, expires: datetime, at: datetime) -> None:
        accepted = self._accepted
        known = (accepted.root_version, accepted.version, accepted.expires)
        is_new = known != (root_version, version, expires) or self._unfinished
        accepted.root_version, accepted.version = root_version, version
        accepted.expires, accepted.checked_at = expires, at
        if is_new or not self._is_followed:
            self._write_accepted()
        if self.state is not None and self.state.expires != expires:
            self.state = self.state.prolonged(expires)

    def _rebuild(self, at: datetime) -> None:
        accepted = self._accepted
        if accepted.instance is None:
            return
        current = {
            member: known
            for member, known in accepted.members.items()
            if at < known.expires + self._grace
        }
        lapsed = [
            Problem(
                Code.REGISTRY_STATE_EXPIRED,
                where=str(member),
                detail="the member's registration has expired",
                facts={"member": str(member)},
            )
            for member in accepted.members.keys() - current.keys()
        ]
        self.state = RegistryState.build(
            accepted.instance,
            (known.admitted for known in current.values()),
            openapi={
                service: data
                for known in current.values()
                for service, data in known.openapi.items()
            },
            schemas=accepted.schemas,
            version=accepted.version,
            expires=accepted.expires,
            complaints=(*self._troubles.values(), *lapsed),
            reviews=(known.expires + self._grace for known in current.values()),
        )

    # ----------------------------------------------------------------------------------- on disk

    def _write_accepted(self) -> None:
        accepted = self._accepted
        document = {
            "format": 1,
            "root_version": accepted.root_version,
            "version": accepted.version,
            "expires": accepted.expires.isoformat(),
            "checked_at": accepted.checked_at.isoformat(),
            "shared": accepted.shared_files,
            "members": {
                str(member): {
                    "version": known.version,
                    "expires": known.expires.isoformat(),
                    "files": dict(known.files),
                }
                for member, known in accepted.members.items()
            },
            "pins": {
                str(member): {"number": pin.number, **format_keys(pin.keys)}
                for member, pin in accepted.pins.items()
            },
        }
        digest = sha256(format_document(document)).hexdigest()
        _replace_file(self._directory / ACCEPTED, format_document({**document, "sha256": digest}))

    def _read_accepted(self, data: bytes, at: datetime) -> _Accepted:
        where = f"{self._directory / ACCEPTED}"
        document = parse_document(data, MAX_ACCEPTED_BYTES, where)
        fields = document.members(
            frozenset({"format", "version", "expires", "checked_at", "shared", "members", "pins"}),
            frozenset({"root_version", "sha256"}),  # earlier releases wrote neither
        )
        fields["format"].integer(1, 1)
        _check_digest(document, fields.get("sha256"))
        root_version = fields.get("root_version")
        accepted = _Accepted(
            root_version=0 if root_version is None else root_version.integer(0, MAX_VERSION),
            version=fields["version"].integer(0, MAX_VERSION),
            expires=_moment(fields["expires"]),
            checked_at=_moment(fields["checked_at"]),
            shared_files={path: node.text(64) for path, node in fields["shared"].entries(10_000)},
            pins=dict(_read_pin(name, node) for name, node in fields["pins"].entries(MAX_MEMBERS)),
        )
        try:
            instance = self._read_shared(accepted)
        except Problem:
            # A file is damaged: pins and versions are safe, the rest is fetched again.
            return _Accepted(accepted.root_version, accepted.version, pins=accepted.pins)
        accepted.instance = instance
        for name, node in fields["members"].entries(MAX_MEMBERS):
            member = MemberId.parse(name)
            with self._troubled(member):
                accepted.members[member] = self._read_member(member, node, instance, at)
            if member not in accepted.members:
                self._unfinished.add(member)
        return accepted

    def _read_shared(self, accepted: _Accepted) -> InstanceRecord:
        for path, digest in accepted.shared_files.items():
            if path != INSTANCE_TARGET:
                data = self._read_file(digest)
                accepted.schemas[schema_id(data, path)] = data
        return parse_instance(self._read_file(accepted.shared_files.get(INSTANCE_TARGET, "")))

    def _read_member(
        self, member: MemberId, node: Node, instance: InstanceRecord, at: datetime
    ) -> _Member:
        fields = node.members(frozenset({"version", "expires", "files"}))
        files = {path: item.text(64) for path, item in fields["files"].entries(10_000)}
        record = parse_member(self._read_file(files.get(member_target(member), "")), member)
        return _Member(
            record=record,
            openapi={
                service.id: self._read_file(files.get(service.openapi_target, ""))
                for service in record.services
                if service.openapi_target is not None
            },
            files=files,
            version=fields["version"].integer(0, MAX_VERSION),
            expires=_moment(fields["expires"]),
            admitted=admit_member(record, instance, at),
        )

    def _read_file(self, digest: str) -> bytes:
        try:
            data = (self._files / digest).read_bytes()
        except OSError as error:
            raise _untrusted(digest[:64], "a file of the last good copy is gone") from error
        if sha256(data).hexdigest() != digest:
            raise _untrusted(digest[:64], "a file of the last good copy is damaged")
        return data

    def _sweep(self) -> None:
        """Remove files that the copy no longer names."""
        accepted = self._accepted
        named = set(accepted.shared_files.values())
        for known in accepted.members.values():
            named.update(known.files.values())
        for entry in os.scandir(self._files):
            if entry.name not in named:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)


class _Reader:
    """Reads target files by their digest: from disk, else from the registry."""

    def __init__(
        self, updater: Updater, fetcher: RegistryFetcher, files: Path, targets_url: str
    ) -> None:
        self._updater = updater
        self._fetcher = fetcher
        self._files = files
        self._targets_url = targets_url

    def prefetch(self, files: Iterable[TargetFile]) -> None:
        """Fetch side by side what is not on disk yet, as much as memory may hold at a time."""
        wanted: dict[str, int] = {}
        left = MAX_PREFETCH_BYTES
        for file in files:
            if not (self._files / _digest(file)).exists() and file.length <= left:
                left -= file.length
                folder, _, name = file.path.rpartition("/")
                path = f"{folder}/{_digest(file)}.{name}" if folder else f"{_digest(file)}.{name}"
                wanted[f"{self._targets_url}{path}"] = file.length
        self._fetcher.prefetch(wanted)

    def read(self, file: TargetFile) -> bytes:
        """The bytes of a target file, checked against its length and digests.

        Raises:
            Problem: ``UntrustedMetadata`` when it is larger than any file here may be.
        """
        if file.length > MAX_OPENAPI_BYTES:
            raise _untrusted(file.path, f"{file.length} bytes are more than {MAX_OPENAPI_BYTES}")
        path = self._files / _digest(file)
        try:
            data = path.read_bytes()
            file.verify_length_and_hashes(data)
        except (OSError, RepositoryError):
            partial = path.with_suffix(".part")
            self._updater.download_target(file, str(partial))
            os.replace(partial, path)
            data = path.read_bytes()
        return data


def _statements(reader: _Reader, targets: Targets, member: MemberId) -> tuple[Statement, ...]:
    file = targets.targets.get(continuity_target(member))
    return () if file is None else parse_statements(reader.read(file), member)


def _files_of(role: Targets) -> Iterator[TargetFile]:
    """The files that will be read, as far as their customary names tell."""
    for path, file in role.targets.items():
        if path.rpartition("/")[2].startswith(("member.", "openapi.")):
            yield file


def _readmitted(known: _Member, instance: InstanceRecord, at: datetime) -> _Member:
    return _Member(
        known.record,
        known.openapi,
        known.files,
        known.version,
        known.expires,
        admit_member(known.record, instance, at),
    )


def _digest(file: TargetFile) -> str:
    """The SHA-256 of a file, and nothing else: it becomes part of file names and addresses."""
    digest = file.hashes.get("sha256", "")
    if not _SHA256.fullmatch(digest) or len(file.hashes) != 1:
        raise _untrusted(file.path, "must have a SHA-256 in lower-case hexadecimal, alone")
    return digest


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


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _replace_file(path: Path, data: bytes) -> None:
    """Durable before visible: written, flushed to disk, renamed, and the rename flushed."""
    temporary = path.with_suffix(".new")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _tuf_problems() -> Iterator[None]:
    """python-tuf's exceptions stop here."""
    try:
        yield
    except DownloadHTTPError as error:
        raise Problem(
            Code.REGISTRY_UNREACHABLE, detail=str(error), facts={"status": error.status_code}
        ) from error
    except DownloadError as error:
        detail = f"{error}" + (f": {error.__cause__}" if error.__cause__ else "")
        raise Problem(Code.REGISTRY_UNREACHABLE, detail=detail) from error
    except BadVersionNumberError as error:
        raise Problem(Code.ROLLBACK_DETECTED, where="registry", detail=str(error)) from error
    except ExpiredMetadataError as error:
        raise Problem(Code.REGISTRY_STATE_EXPIRED, where="registry", detail=str(error)) from error
    except RepositoryError as error:
        raise _untrusted("registry", str(error)) from error


@contextlib.contextmanager
def _disk(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Problem(
            Code.INTERNAL_ERROR,
            where=str(directory),
            detail=f"the copy of the registry cannot be read or written: {error.strerror}",
        ) from error


def _untrusted(where: str, detail: str) -> Problem:
    return Problem(Code.UNTRUSTED_METADATA, where=where, detail=detail)
