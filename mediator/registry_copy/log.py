"""The registry's own log as this server follows it: a state counts when it is an entry of the log.

For each new snapshot, and only then, the proof that it is in the log is asked for, and the entries
since the last head that was accepted (:mod:`.log_growth`).

Invariants:
- nothing of a new state is taken over before :meth:`FollowedLog.check` has returned;
- the first head ever is taken as it is (trust on first use), and compared with those of peers later
  (:mod:`mediator.background.gossip`);
- a log once seen is never given up: its keys change only by what one of the known keys signed, or
  what the offline root vouches for (``x-saphan-log`` in the root role);
- a contradiction is kept as evidence in :attr:`FollowedLog.found`, and refused.

Not checked here: that no entry is missing which ought to be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Root

from exchange.log.checkpoint import Checkpoint
from exchange.log.notes import VerifierKey, parse_note
from exchange.log.policy import Policy
from exchange.problems import Code, Problem
from exchange.registrations import InstanceRecord
from exchange.registry.log import (
    MAX_PROOF_BYTES,
    ProvenState,
    check_state,
    open_by_any,
    origin,
    proof_path,
)
from mediator.registry_copy.borders import untrusted
from mediator.registry_copy.fetcher import RegistryFetcher
from mediator.registry_copy.log_growth import Growth, SeenLog
from mediator.registry_copy.log_tiles import LogTiles
from mediator.witness.misbehaviour import Misbehaviour

ROOT_FIELD: Final = "x-saphan-log"
"""Keys of the log that the offline root vouches for, when the old ones are lost."""
KEPT_HEADS: Final = 256


class FollowedLog:
    """Checks states against the log; used by one thread at a time.

    Args:
        policy: whose cosignatures are demanded; without it, those that the instance's record names.
        seen_by: who tells of a contradiction.
    """

    def __init__(
        self, fetcher: RegistryFetcher, policy: Policy | None = None, seen_by: str = ""
    ) -> None:
        self.found: list[Misbehaviour] = []
        self._fetcher = fetcher
        self._policy = policy
        self._seen_by = seen_by
        self._heads: dict[int, bytes] = {}

    def check(
        self,
        url: str,
        known: InstanceRecord | None,
        seen: SeenLog | None,
        offered: InstanceRecord,
        root: Root,
        snapshot: tuple[int, bytes],
        at: datetime,
    ) -> SeenLog | None:
        """Check that a snapshot is in the log, and that the log only grew; nothing without a log.

        Args:
            known: the instance as it was accepted, ``offered`` as the new state has it.
            seen: what was accepted of the log.
            snapshot: version and signed bytes.

        Raises:
            Problem: ``UntrustedMetadata`` when no proof is published or the log is given up;
                ``InvalidProof``, ``InvalidNote``; ``NotWitnessed``; ``LogContradicted`` when the
                log contradicts what it showed before.
            DownloadError: of python-tuf.
        """
        keys = trusted_keys(known, offered, root)
        if not keys:
            return None
        if not offered.log:
            raise untrusted("instance.json", "the registry gives up its log")
        proven = self._proven(url, keys, snapshot)
        demanded = self._policy or (known or offered).witnesses
        if demanded is not None:
            _demand(demanded, proven.note)
        size = max(proven.checkpoint.size, seen.range.size if seen else 0)
        growth = self._growth(url, size, keys, at)
        taken = growth.first(proven) if seen is None else growth.grown(seen, proven)
        self._remember(taken.checkpoint)
        return taken

    def compare(
        self, url: str, seen: SeenLog, note: bytes, keys: Sequence[VerifierKey], at: datetime
    ) -> bool:
        """Compare a head that a peer accepted with what was accepted here.

        Returns whether the peer's is newer, so that nothing can be told yet.

        Raises:
            Problem: ``InvalidNote`` when the log has not signed it; ``LogContradicted``.
            DownloadError: of python-tuf.
        """
        theirs, ours = open_by_any(note, keys, "peer"), seen.checkpoint
        if theirs.size > ours.size:
            return True
        if self._heads.get(theirs.size) != theirs.root:
            growth = self._growth(url, ours.size, list(keys), at)
            growth.check(note, theirs, seen.note, ours)
            self._remember(theirs)
        return False

    def _growth(self, url: str, size: int, keys: list[VerifierKey], at: datetime) -> Growth:
        tiles = LogTiles(self._fetcher, url, size)
        return Growth(tiles, keys, self._seen_by, at, self.found.append)

    def _proven(
        self, url: str, keys: list[VerifierKey], snapshot: tuple[int, bytes]
    ) -> ProvenState:
        version, data = snapshot
        path = proof_path(version)
        try:
            proof = self._fetcher.get(f"{url}/{path}", MAX_PROOF_BYTES)
        except DownloadHTTPError as error:
            if error.status_code != 404:
                raise
            detail = "nothing proves that this state is in the registry's log"
            raise untrusted(path, detail) from error
        return check_state(proof, data, version, keys, path)

    def _remember(self, checkpoint: Checkpoint) -> None:
        self._heads[checkpoint.size] = checkpoint.root
        while len(self._heads) > KEPT_HEADS:
            del self._heads[next(iter(self._heads))]


def trusted_keys(
    known: InstanceRecord | None, offered: InstanceRecord, root: Root
) -> list[VerifierKey]:
    """Whose signature on the log counts: of the keys that were accepted, not of those offered."""
    if known is None or not known.log:
        return list(offered.log)
    return [*known.log, *_vouched(root, known.instance)]


def _vouched(root: Root, instance: str) -> list[VerifierKey]:
    listed: Any = root.unrecognized_fields.get(ROOT_FIELD)
    found: list[VerifierKey] = []
    for text in listed if isinstance(listed, list) else []:
        key = VerifierKey.parse(str(text), f"root#/{ROOT_FIELD}")
        if key.name == origin(instance):
            found.append(key)
    return found


def _demand(policy: Policy, note: bytes) -> None:
    cosigners = policy.cosigners(parse_note(note), "registry log")
    if not policy.is_quorum(cosigners):
        raise Problem(
            Code.NOT_WITNESSED,
            where="registry log",
            detail=f"cosigned by {', '.join(sorted(cosigners)) or 'no witness of the policy'}; "
            f"the quorum is {policy.quorum}",
            facts={"cosigners": sorted(cosigners), "quorum": policy.quorum},
        )
