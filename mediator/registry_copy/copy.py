"""The copy as a whole: opened from disk, synchronised, judged again when time has passed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from exchange.problems import Code, Problem
from exchange.trust import RegistryState
from mediator.registry_copy.accepted import MAX_VERSION, Accepted, AcceptedFolder
from mediator.registry_copy.borders import disk, tuf_problems, untrusted
from mediator.registry_copy.following import Following
from mediator.registry_copy.log import FollowedLog
from mediator.registry_copy.log_growth import SeenLog
from mediator.registry_copy.tuf_client import TufClient
from mediator.registry_fetcher import RegistryFetcher
from mediator.witness.misbehaviour import Misbehaviour

# What is told when no address gives a good answer: the gravest.
_GRAVITY = {Code.LOG_CONTRADICTED: 3, Code.ROLLBACK_DETECTED: 2, Code.REGISTRY_UNREACHABLE: 0}


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
        self._is_followed = False  # the first time, troubles are found again even if nothing is new
        self.state: RegistryState | None = None
        self.parsed_members = 0

    @property
    def checked_at(self) -> datetime:
        """When the registry was last asked and answered well."""
        return self._accepted.checked_at

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
            client = TufClient(self._metadata, self._folder.files, url, self._root, self._fetcher)
            client.refresh(at)
            root, timestamp, snapshot, targets = (
                client.verified(Root, "root"),
                client.verified(Timestamp, "timestamp"),
                client.verified(Snapshot, "snapshot"),
                client.verified(Targets, "targets"),
            )
            self._refuse_rollback(root, snapshot)
            digest = sha256(client.verified_bytes("snapshot")).hexdigest()
            same = (snapshot.version, digest) == (self._accepted.version, self._accepted.snapshot)
            changed = not (same and self._is_followed and not self._accepted.unfinished)
            if changed:
                following = Following(client, self._accepted, self._log, at)
                try:
                    following.follow(root, snapshot, targets)
                finally:
                    self.parsed_members += following.parsed
            self._accepted.snapshot = digest
            self._accept(root.version, snapshot.version, timestamp.expires, at)
            if changed:
                self._folder.sweep(self._accepted)
        return changed

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
        self.state = RegistryState.build(
            accepted.shared.instance,
            (known.admitted for known in current.values()),
            openapi={
                service: data
                for known in current.values()
                for service, data in known.openapi.items()
            },
            schemas=accepted.shared.schemas,
            standing=accepted.shared.standing,
            elements=accepted.shared.elements,
            version=accepted.version,
            expires=accepted.expires,
            complaints=(*accepted.troubles.values(), *lapsed),
            reviews=(known.expires + self._grace for known in current.values()),
        )
