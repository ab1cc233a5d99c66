"""What the registry says now, taken over part by part: its own files, pins, members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import TypeVar

from tuf.api.metadata import Root, Snapshot, TargetFile, Targets

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import (
    INSTANCE_TARGET,
    STANDING_TARGET,
    InstanceRecord,
    member_target,
    parse_member,
)
from exchange.registry.bundles import is_read_by_servers
from exchange.registry.continuity import Statement, check_continuity, parse_statements
from exchange.registry.delegations import (
    STANDING_ROLE,
    continuity_target,
    read_delegations,
    read_standing_keys,
    role_name,
)
from exchange.registry.endings import End
from exchange.registry.key_sets import KeySet, root_keys
from exchange.trust.admission import admit_member
from mediator.registry_copy.accepted import MAX_VERSION, Accepted, AcceptedMember
from mediator.registry_copy.borders import untrusted
from mediator.registry_copy.log import FollowedLog
from mediator.registry_copy.shared import Shared, is_shared, read_shared
from mediator.registry_copy.tuf_client import TufClient, digest_of

MAX_MEMBER_FILES_BYTES = 32 << 20
_BATCH = 64
_FEW = 8
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delegated:
    """What one version of the registry's own role says of members: read once.

    ``files`` has the members by the name that the snapshot gives the file of their role,
    ``broken`` those whose keys have no continuity.
    """

    targets: Targets
    files: Mapping[str, MemberId]
    broken: Mapping[MemberId, Problem]


class Following:
    """One round: what ``client`` verified goes into ``accepted``, as far as the rules let it.

    ``parsed`` counts the members whose files were read, ``delegated`` is for the next round.
    """

    def __init__(
        self,
        client: TufClient,
        accepted: Accepted,
        log: FollowedLog,
        at: datetime,
        delegated: Delegated | None,
    ) -> None:
        self._client = client
        self._accepted = accepted
        self._log = log
        self._at = at
        self.delegated = delegated
        self.parsed = 0
        self.standing_end: dict[str, End] = {}

    def follow(self, data: bytes) -> None:
        """Take everything over; ``data`` is the snapshot's file.

        Raises:
            Problem: for what concerns all members; the trouble of one stays in
                ``accepted.troubles``.
        """
        root, snapshot, targets = self._client.root, self._client.snapshot, self._client.targets
        if not root.consistent_snapshot:
            raise untrusted("root", "the registry must use consistent snapshots")
        if self._is_far_behind(snapshot):
            self._client.take_bundle()
        instance = self._follow_shared(root, snapshot, targets, data)
        self.delegated = delegated = self._read_delegated(root, targets, instance)
        accepted = self._accepted
        accepted.troubles = dict(delegated.broken)
        versions = {
            member: meta.version
            for name, meta in snapshot.meta.items()
            if (member := delegated.files.get(name)) is not None
        }
        members = delegated.files.values()
        for gone in accepted.members.keys() - set(members):
            del accepted.members[gone]
        wanted = [
            member
            for member in members
            if member not in accepted.troubles and self._is_stale(member, versions.get(member, 0))
        ]
        accepted.unfinished = set()
        for batch in _batches(wanted, _BATCH):
            self._client.prefetch_roles(batch, versions)
            loaded = {member: self._load_role(member) for member in batch}
            self._client.prefetch(
                file for role in loaded.values() if role is not None for file in _files_of(role)
            )
            for member, role in loaded.items():
                if role is not None:
                    self._take_member(member, role, instance)

    def _is_far_behind(self, snapshot: Snapshot) -> bool:
        """Whether so much is to be fetched that a bundle of everything is worth it."""
        accepted = self._accepted.members
        if self.delegated is None:
            files = {f"{role_name(member)}.json": member for member in accepted}
        else:
            files = dict(self.delegated.files)
        known = {name: accepted[one].version for name, one in files.items() if one in accepted}
        stale = sum(known.get(name) != meta.version for name, meta in snapshot.meta.items())
        return stale > _FEW and stale * 4 >= len(snapshot.meta)

    def _follow_shared(
        self, root: Root, snapshot: Snapshot, targets: Targets, data: bytes
    ) -> InstanceRecord:
        accepted = self._accepted
        shared, digests = self._read_shared(targets, self._standing(targets, snapshot))
        known = None if accepted.shared is None else accepted.shared.instance
        if known is not None and known.instance != shared.instance.instance:
            raise untrusted(INSTANCE_TARGET, "the registry changed its instance")
        if sha256(data).hexdigest() != accepted.snapshot:
            accepted.log = self._log.check(
                self._client.url,
                known,
                accepted.log,
                shared.instance,
                root,
                (snapshot.version, data),
                self._at,
            )
        if known is not None and known != shared.instance:
            accepted.readmit(shared.instance, self._at)
        accepted.shared, accepted.shared_files = shared, digests
        return shared.instance

    def _standing(self, targets: Targets, snapshot: Snapshot) -> dict[str, TargetFile]:
        """The file of the online role that takes away, if there is such a role."""
        if read_standing_keys(targets) is None or f"{STANDING_ROLE}.json" not in snapshot.meta:
            return {}
        role = self._client.role(STANDING_ROLE)
        self.standing_end = {STANDING_ROLE: End.of(role.expires, role.unrecognized_fields)}
        file = role.targets.get(STANDING_TARGET)
        return {} if file is None else {STANDING_TARGET: file}

    def _read_shared(
        self, targets: Targets, standing: Mapping[str, TargetFile]
    ) -> tuple[Shared, dict[str, str]]:
        known = self._accepted.shared_files
        wanted = {path: file for path, file in targets.targets.items() if is_shared(path)}
        wanted |= standing
        self._client.prefetch(
            file for path, file in wanted.items() if known.get(path) != digest_of(file)
        )
        shared = read_shared({path: self._client.read(file) for path, file in wanted.items()})
        return shared, {path: digest_of(file) for path, file in wanted.items()}

    def _read_delegated(self, root: Root, targets: Targets, instance: InstanceRecord) -> Delegated:
        """The delegations of a role that is not the one of the round before, and the pins after
        them. The client gives the same role only under the same root."""
        if self.delegated is not None and self.delegated.targets is targets:
            return self.delegated
        offered = read_delegations(targets, instance.instance)
        broken = self._follow_pins(targets, offered, root_keys(root))
        return Delegated(targets, {f"{role_name(one)}.json": one for one in offered}, broken)

    def _follow_pins(
        self, targets: Targets, offered: Mapping[MemberId, KeySet], root: KeySet
    ) -> dict[MemberId, Problem]:
        pins, troubles = self._accepted.pins, {}
        for member, keys in offered.items():
            pin = pins.get(member)
            if pin is not None and pin.keys.identity == keys.identity:
                continue
            try:
                statements = self._statements(targets, member)
                pins[member] = check_continuity(member, pin, keys, statements, root)
            except Problem as problem:
                troubles[member] = problem
        return troubles

    def _statements(self, targets: Targets, member: MemberId) -> tuple[Statement, ...]:
        file = targets.targets.get(continuity_target(member))
        return () if file is None else parse_statements(self._client.read(file), member)

    def _is_stale(self, member: MemberId, version: int) -> bool:
        known = self._accepted.members.get(member)
        return known is None or known.version != version or member in self._accepted.unfinished

    def _load_role(self, member: MemberId) -> Targets | None:
        """The member's verified role; nothing, and a trouble, when it cannot be had."""
        with self._accepted.troubled(member):
            role = self._client.role(role_name(member))
            if member_target(member) not in role.targets:
                raise untrusted(str(member), "its role holds no member.json")
            for file in role.targets.values():
                digest_of(file)
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
            raise untrusted(str(member), f"its role's version is higher than {MAX_VERSION}")
        if sum(file.length for file in role.targets.values()) > MAX_MEMBER_FILES_BYTES:
            raise untrusted(
                str(member), f"its files are larger than {MAX_MEMBER_FILES_BYTES} bytes together"
            )

    def _take_member(self, member: MemberId, role: Targets, instance: InstanceRecord) -> None:
        with self._accepted.troubled(member):
            own = {
                path: file
                for path, file in role.targets.items()
                if path.rpartition("/")[0] == str(member)
            }
            record = parse_member(self._client.read(own[member_target(member)]), member)
            self.parsed += 1
            openapi = {}
            for service in record.services:
                path = service.openapi_target
                if path is not None:
                    if path not in own:
                        raise untrusted(path, "a service names a file that its member lacks")
                    openapi[service.id] = self._client.kept(own[path])
            self._accepted.members[member] = AcceptedMember(
                openapi=openapi,
                files={
                    path: digest_of(file)
                    for path, file in own.items()
                    if path == member_target(member)
                    or path in {service.openapi_target for service in record.services}
                },
                version=role.version,
                expires=role.expires,
                admitted=admit_member(record, instance, self._at),
            )


def _files_of(role: Targets) -> Iterator[TargetFile]:
    """The files that will be read."""
    return (file for path, file in role.targets.items() if is_read_by_servers(path))


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
