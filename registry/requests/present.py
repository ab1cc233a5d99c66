"""What is published now, read from the store: roles, the instance, how a member stands."""

from __future__ import annotations

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import (
    INSTANCE_TARGET,
    STANDING_TARGET,
    InstanceRecord,
    parse_instance,
)
from exchange.registry.continuity import Pin, parse_statements
from exchange.registry.delegations import (
    STANDING_ROLE,
    continuity_target,
    read_delegations,
    role_name,
)
from exchange.registry.endings import MEETING_DAYS, End
from exchange.registry.standing import Disabled, parse_standing
from registry.publication.publish import (
    OWN_ROLE,
    read,
)
from registry.requests.submissions import (
    Standing,
)
from registry.store import Store


class Present:
    """The reading part of :class:`registry.registrar.Registrar`."""

    _store: Store
    _decoded: Targets | None

    def _away(self) -> tuple[Disabled, ...]:
        data = self._store.files(STANDING_ROLE).get(STANDING_TARGET)
        return () if data is None else parse_standing(data)

    def _standing(self, member: MemberId) -> Standing:
        keys = read_delegations(self._targets(), self._instance().instance).get(member)
        if keys is None:
            # Of a member that was deleted, clients still know the version of its role.
            past = self._store.role(role_name(member))
            return Standing(version=0 if past is None else past[0])
        statements = self._store.files(OWN_ROLE).get(continuity_target(member))
        number = 0 if statements is None else parse_statements(statements, member)[-1].number
        name = role_name(member)
        published = self._store.role(name)
        version = 0 if published is None else published[0]
        return Standing(Pin(keys, number), version, self._store.files(name))

    def _role(self, name: str) -> tuple[int, bytes]:
        published = self._store.role(name)
        if published is None:
            raise Problem(Code.NOT_FOUND, where=name, detail="the registry has no such role")
        return published

    def _root(self) -> Root:
        return read(Root, self._store.root(), "root")

    def _targets(self) -> Targets:
        """Decoded once a version: with many members that takes longer than the rest of an act."""
        version = self._store.version(OWN_ROLE)
        if self._decoded is None or self._decoded.version != version:
            self._decoded = read(Targets, self._role(OWN_ROLE)[1], OWN_ROLE)
        return self._decoded

    def _snapshot(self) -> Snapshot:
        return read(Snapshot, self._role("snapshot")[1], "snapshot")

    def _timestamp(self) -> Timestamp:
        return read(Timestamp, self._role("timestamp")[1], "timestamp")

    def _standing_role(self) -> Targets:
        return read(Targets, self._role(STANDING_ROLE)[1], STANDING_ROLE)

    def _instance(self) -> InstanceRecord:
        return parse_instance(self._store.files(OWN_ROLE)[INSTANCE_TARGET])

    def ends(self) -> dict[str, End]:
        """When each role of the registry itself ends."""
        signed = {
            "targets": self._targets(),
            "snapshot": self._snapshot(),
            "timestamp": self._timestamp(),
            STANDING_ROLE: self._standing_role(),
        }
        ends = {name: End.of(one.expires, one.unrecognized_fields) for name, one in signed.items()}
        return {"root": End(self._root().expires, days=MEETING_DAYS), **ends}

    def root_bytes(self) -> bytes:
        """The newest root metadata."""
        return self._store.root()

    def targets_bytes(self) -> bytes:
        """The present top-level targets metadata."""
        return self._role(OWN_ROLE)[1]
