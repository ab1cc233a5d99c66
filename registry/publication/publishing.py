"""Publishing: the online keys sign what is new, and what must be signed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Targets

from exchange.problems import Code, Problem
from exchange.registrations import (
    STANDING_TARGET,
)
from exchange.registry.delegations import STANDING_ROLE, read_standing_keys
from exchange.registry.standing import Disabled, format_standing
from registry.publication.publish import (
    OWN_ROLE,
    living,
    member_role,
    next_snapshot,
    next_timestamp,
    sign,
)
from registry.requests.lifecycle import Policy as Approvals
from registry.requests.once_only import (
    Policy,
)
from registry.requests.present import Present
from registry.store import Publication

Roles = dict[str, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """The keys that lie beside the running registry."""

    snapshot: Signer
    timestamp: Signer
    standing: Signer
    further: tuple[Signer, ...] = ()
    """Keys that coming metadata will name, or that past ones named."""

    def of(self, role: str, root: Root) -> Signer:
        """The key that a root lets sign a role.

        Raises:
            Problem: ``NotFound`` when it does not lie here.
        """
        return self._named(role, root.roles[role].keyids, "root")

    def of_standing(self, targets: Targets) -> Signer:
        """The key that the registry's own role lets say what is disabled.

        Raises:
            Problem: ``NotFound`` when it does not lie here.
        """
        keys = read_standing_keys(targets)
        keyids = [] if keys is None else [key.keyid for key in keys.keys]
        return self._named(STANDING_ROLE, keyids, "targets role")

    def _named(self, role: str, keyids: Sequence[str], by: str) -> Signer:
        for signer in (self.snapshot, self.timestamp, self.standing, *self.further):
            if signer.public_key.keyid in keyids:
                return signer
        raise Problem(
            Code.NOT_FOUND,
            where=f"online/{role}.pem",
            detail=f"the {by} names another key for {role}; put it beside as online/{role}-2.pem "
            "and start the registry again",
            facts={"keyids": sorted(keyids)},
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """How long online metadata is valid, how many must approve what, what becomes of services
    that ask people for registered facts, and how long people take to answer."""

    timestamp_validity: timedelta
    snapshot_validity: timedelta
    approval: Approvals
    once_only: Policy = Policy.WARN
    minutes_per_field: float = 0.5


class Publishing(Present):
    """The publishing part of :class:`registry.registrar.Registrar`; within a transaction."""

    _keys: OnlineKeys
    _terms: Terms

    def _renew_all(self, at: datetime) -> None:
        signed, files = self._sign_away(self._away(), at)
        self._publish({STANDING_ROLE: signed}, {STANDING_ROLE: files}, at)

    def _sign_away(
        self, disabled: tuple[Disabled, ...], at: datetime, own: Targets | None = None
    ) -> tuple[tuple[int, bytes], dict[str, bytes]]:
        """The next version of the online role that takes away, by the key that ``own`` names: the
        published targets, unless others are about to be."""
        signer = self._keys.of_standing(own or self._targets())
        files = {STANDING_TARGET: format_standing(disabled)}
        version = self._role(STANDING_ROLE)[0] + 1
        role = member_role(files, version=version, expires=at + self._terms.snapshot_validity)
        return (version, sign(living(role, at), [signer])), files

    def _publish(
        self, roles: Roles, files: Mapping[str, Mapping[str, bytes]], at: datetime
    ) -> None:
        """Sign a snapshot of the new versions, and a timestamp; within a transaction."""
        snapshot = next_snapshot(
            self._snapshot(),
            {name: version for name, (version, _) in roles.items()},
            expires=at + self._terms.snapshot_validity,
            own=(roles.get(OWN_ROLE) or self._role(OWN_ROLE))[1],
        )
        signer = self._keys.of("snapshot", self._root())
        signed = (snapshot.version, sign(living(snapshot, at), [signer]))
        self._stamp({**roles, "snapshot": signed}, files, signed, at)

    def _stamp(
        self,
        roles: Roles,
        files: Mapping[str, Mapping[str, bytes]],
        snapshot: tuple[int, bytes],
        at: datetime,
    ) -> None:
        version, data = snapshot
        timestamp = next_timestamp(
            self._timestamp(),
            version,
            expires=at + self._terms.timestamp_validity,
            snapshot=data,
        )
        signer = self._keys.of("timestamp", self._root())
        signed = (timestamp.version, sign(living(timestamp, at), [signer]))
        self._store.publish(Publication({**roles, "timestamp": signed}, files), at)
