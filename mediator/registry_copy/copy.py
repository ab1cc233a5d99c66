"""The copy as a whole: opened from disk, synchronised, judged again when time has passed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import orjson
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registry.delegations import STANDING_ROLE
from exchange.registry.endings import End
from exchange.trust.state import RegistryState
from mediator.registry_copy.accepted import (
    MAX_VERSION,
    Accepted,
    AcceptedFolder,
    AcceptedMember,
)
from mediator.registry_copy.borders import disk, tuf_problems, untrusted
from mediator.registry_copy.fetcher import RegistryFetcher
from mediator.registry_copy.following import Delegated, Following
from mediator.registry_copy.log import FollowedLog
from mediator.registry_copy.log_growth import SeenLog
from mediator.registry_copy.tuf_client import Known, TufClient
from mediator.witness.misbehaviour import Misbehaviour

# What is told when no address gives a good answer: the gravest.
_GRAVITY = {Code.LOG_CONTRADICTED: 3, Code.ROLLBACK_DETECTED: 2, Code.REGISTRY_UNREACHABLE: 0}
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class RegistryCopy:
    """The copy in ``directory`` of the registry at ``url``.

    Args:
        url: the registry's base address; metadata, targets and log are under it.
        root: the trusted root metadata, got by another way than from this registry.
        grace: for how long after its end a member's role still counts.
        mirrors: further addresses of the same files, asked in turn when one fails in any way.
        log: follows the registry's log.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        root: bytes,
        fetcher: RegistryFetcher,
        grace: timedelta,
        *,
        mirrors: Sequence[str] = (),
        log: FollowedLog | None = None,
    ) -> None:
        self._urls = (url, *mirrors)
        self._turn = 0
        self._root = root
        self._fetcher = fetcher
        self._log = log or FollowedLog(fetcher)
        self._grace = grace
        self._folder = AcceptedFolder(directory)
        self._metadata = directory / "metadata"
        self._accepted = Accepted()
        self._known: Known | None = None
        self._delegated: Delegated | None = None
        self._in_force: dict[MemberId, AcceptedMember] = {}
        self._ends = _NEVER
        self._is_followed = False  # the first time, troubles are found again even if nothing is new
        self.state: RegistryState | None = None
        self.parsed_members = 0
        self.ends: Mapping[str, End] = {}
        """When each role of the registry itself ends, as far as it was seen."""

    @property
    def checked_at(self) -> datetime:
        """When the registry was last asked and answered well."""
        return self._accepted.checked_at

    def end_of(self, member: MemberId) -> End | None:
        """When the role of a member ends."""
        known = self._accepted.members.get(member)
        return None if known is None else End(known.expires)

    def compare(self, note: bytes, at: datetime) -> bool:
        """Compare a head of the registry's log that a peer accepted; whether it is newer than ours.

        Raises:
            Problem: ``InvalidNote``, ``LogContradicted``, or as :meth:`synchronise`.
        """
        accepted = self._accepted
        if accepted.log is None or accepted.shared is None:
            return False
        keys = accepted.shared.instance.log
        with disk(self._folder.directory), tuf_problems():
            return self._log.compare(self._url, accepted.log, note, keys, at)

    def try_next(self) -> None:
        """Ask another address first from now on."""
        self._turn = (self._turn + 1) % len(self._urls)

    def take_found(self) -> list[Misbehaviour]:
        """What convicts the registry and was not taken yet."""
        found, self._log.found[:] = list(self._log.found), []
        return found

    @property
    def _url(self) -> str:
        return self._urls[self._turn].rstrip("/")

    @property
    def seen_log(self) -> SeenLog | None:
        """What was accepted of the registry's log."""
        return self._accepted.log

    def load(self, at: datetime) -> None:
        """Take up the last good copy from disk, if there is one; uses no network.

        Raises:
            Problem: ``InvalidDocument`` when ``accepted.json`` is damaged, ``InternalError`` when
                the folder cannot be read or made.
        """
        with disk(self._folder.directory):
            self._metadata.mkdir(parents=True, exist_ok=True)
            self._folder.prepare()
            accepted = self._folder.load(at)
        if accepted is not None:
            self._accepted = accepted
            self.ends = _ends_in(self._metadata)
            self._rebuild(at)

    def synchronise(self, at: datetime) -> bool:
        """Ask the registry and take over what it says now; tells whether the state changed.

        Raises:
            Problem: ``RegistryUnreachable``, ``UntrustedMetadata``, ``RollbackDetected``,
                ``OutdatedGlobalConf`` (metadata that has expired), ``InvalidProof``,
                ``NotWitnessed`` or ``LogContradicted`` (the registry's log), ``InternalError``
                (disk). The last good copy then stays in force.
        """
        changed = self._in_turn(at)
        if changed:
            self._is_followed = True
            self._rebuild(at)
        return self.review(at) or changed

    def _in_turn(self, at: datetime) -> bool:
        """Ask the address that was good last, then the others."""
        problems: list[Problem] = []
        for _ in self._urls:
            self._fetcher.begin()
            try:
                changed = self._synchronise(self._url, at)
            except Problem as problem:
                if problem.code is Code.INTERNAL_ERROR:
                    raise  # our disk: another address is no help
                problems.append(problem)
                self.try_next()
                continue
            if self._accepted.unfinished:
                self.try_next()
            return changed
        raise max(problems, key=lambda problem: _GRAVITY.get(problem.code, 1))

    def _synchronise(self, url: str, at: datetime) -> bool:
        with disk(self._folder.directory), tuf_problems():
            client = TufClient(
                self._metadata, self._folder.files, url, self._root, self._fetcher, self._known
            )
            client.begin(at)
            if self._is_same(client, at):
                accepted = self._accepted
                self._accept(accepted.root_version, accepted.version, client.timestamp.expires, at)
                self.ends = {**self.ends, "timestamp": _end(client.timestamp)}
                return False
            client.go_on()
            root, snapshot = client.root, client.snapshot
            self._refuse_rollback(root, snapshot)
            data = client.snapshot_bytes
            digest = sha256(data).hexdigest()
            same = (snapshot.version, digest) == (self._accepted.version, self._accepted.snapshot)
            changed = not (same and self._is_followed and not self._accepted.unfinished)
            if changed:
                following = Following(client, self._accepted, self._log, at, self._delegated)
                try:
                    following.follow(data)
                finally:
                    self.parsed_members += following.parsed
                self._delegated = following.delegated
            self._accepted.snapshot = digest
            self._known = client.known
            self._ends = min(snapshot.expires, self._known.targets.expires)
            signed = (root, client.targets, snapshot, client.timestamp)
            self.ends = {**self.ends, **{one.type: _end(one) for one in signed}}
            if changed:
                self.ends = {**self.ends, **following.standing_end}
            self._accept(root.version, snapshot.version, client.timestamp.expires, at)
            if changed:
                self._folder.sweep(self._accepted, all_files=client.has_bundled)
                if not self._accepted.unfinished:
                    client.forget_bundle()
        return changed

    def _is_same(self, client: TufClient, at: datetime) -> bool:
        """Whether a timestamp names the snapshot that was taken over, and all of it is in force."""
        accepted, named = self._accepted, client.timestamp.snapshot_meta
        return (
            self._is_followed
            and not accepted.unfinished
            and (client.root.version, named.version) == (accepted.root_version, accepted.version)
            and (named.hashes or {}).get("sha256", accepted.snapshot) == accepted.snapshot
            and at < min(client.timestamp.expires, self._ends)
        )

    def review(self, at: datetime) -> bool:
        """Judge certificates and roles again if the time has come; uses no network."""
        if self.state is None or self.state.review_at is None or at < self.state.review_at:
            return False
        self._accepted.readmit(self.state.instance, at)
        self._rebuild(at)
        return True

    def _refuse_rollback(self, root: Root, snapshot: Snapshot) -> None:
        # The TUF client compares with its cache only, which it does not flush to disk.
        accepted = self._accepted
        if snapshot.version > MAX_VERSION:
            raise untrusted("snapshot", f"its version is higher than {MAX_VERSION}")
        if root.version <= accepted.root_version and snapshot.version < accepted.version:
            raise Problem(
                Code.ROLLBACK_DETECTED,
                where="registry",
                detail=f"snapshot {snapshot.version} is older than {accepted.version}, "
                "which was accepted before",
            )

    def _accept(self, root_version: int, version: int, expires: datetime, at: datetime) -> None:
        accepted = self._accepted
        known = (accepted.root_version, accepted.version, accepted.expires)
        is_new = known != (root_version, version, expires) or accepted.unfinished
        accepted.root_version, accepted.version = root_version, version
        accepted.expires, accepted.checked_at = expires, at
        if is_new or not self._is_followed:
            self._folder.store(accepted)
        if self.state is not None and self.state.expires != expires:
            self.state = self.state.prolonged(expires)

    def _rebuild(self, at: datetime) -> None:
        """Make the state in force of what was accepted."""
        accepted = self._accepted
        if accepted.shared is None:
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
        changed: dict[MemberId, AcceptedMember | None] = dict.fromkeys(
            self._in_force.keys() - current.keys()
        )
        changed |= {
            member: known
            for member, known in current.items()
            if self._in_force.get(member) is not known
        }
        shared, before = accepted.shared, self.state
        if before is None or (before.instance, before.standing) != (
            shared.instance,
            shared.standing,
        ):
            changed = dict(current)
            before = RegistryState.build(
                shared.instance,
                (),
                openapi={},
                schemas={},
                standing=shared.standing,
                version=0,
                expires=accepted.expires,
            )
        self.state = before.after(
            {
                member: None if known is None else known.admitted
                for member, known in changed.items()
            },
            openapi={
                service: data
                for known in changed.values()
                if known is not None
                for service, data in known.openapi.items()
            },
            schemas=shared.schemas,
            elements=shared.elements,
            version=accepted.version,
            expires=accepted.expires,
            complaints=(*accepted.troubles.values(), *lapsed),
            reviews=(known.expires + self._grace for known in current.values()),
        )
        self._in_force = current


def _end(signed: Root | Timestamp | Snapshot | Targets) -> End:
    return End.of(signed.expires, signed.unrecognized_fields)


def _ends_in(metadata: Path) -> dict[str, End]:
    """The ends of the roles in the client's own cache; what cannot be read is left out."""
    found = {}
    for role in ("root", "targets", "snapshot", "timestamp", STANDING_ROLE):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            signed = orjson.loads((metadata / f"{role}.json").read_bytes())["signed"]
            found[role] = End.of(datetime.fromisoformat(signed["expires"]), signed)
    return found
