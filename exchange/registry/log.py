"""The registry's own log: what its entries say, and what proves that a state is in it.

Everything that the registry does is an entry of a log of tiles (C2SP tlog-tiles) under ``log/`` of
what it publishes; its origin is :func:`origin`. Entries are canonical JSON of two kinds::

    {"v":1,"kind":"act","number":7,"at":TIME,"act":"approve","subject":"LA/GOV/MPI","digest":HEX}
    {"v":1,"kind":"state","root":1,"snapshot":{"sha256":HEX,"version":12},"targets":5}

An act's ``digest`` commits to its whole row, with who did it; the row has a random salt, so that
nobody learns from the log what is not told (no personal data is in it). A state is one snapshot:
whoever is shown a snapshot that is not in the log, or is shown a log that is not everybody's, holds
the proof of it.

``log/state/{version}.tlog-proof`` (C2SP tlog-proof) proves one state; its ``extra`` is the entry.

Invariants:
- ``parse_state(bytes(state)) == state``;
- a proof counts for exactly one snapshot: version and SHA-256 of the signed file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from exchange.documents import format_document, parse_document
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.proof import EXTENSION, parse_proof
from exchange.problems import Code, Problem

FOLDER: Final = "log"
CHECKPOINT: Final = f"{FOLDER}/checkpoint"
MAX_PROOF_BYTES: Final = 64 << 10
MAX_STATE_BYTES: Final = 4096
_MAX_VERSION: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class State:
    """What one snapshot says: itself, and the versions of targets and root beside it."""

    version: int
    digest: str
    targets: int
    root: int

    @classmethod
    def of(cls, snapshot: bytes, version: int, targets: int, root: int) -> State:
        """The state of a signed snapshot."""
        return cls(version, sha256(snapshot).hexdigest(), targets, root)

    def __bytes__(self) -> bytes:
        return format_document(
            {
                "v": 1,
                "kind": "state",
                "snapshot": {"version": self.version, "sha256": self.digest},
                "targets": self.targets,
                "root": self.root,
            }
        )


@dataclass(frozen=True, slots=True)
class ProvenState:
    """A state that is in the log, the head that it was proven by, and its signed note."""

    state: State
    index: int
    checkpoint: Checkpoint
    note: bytes


def origin(instance: str) -> str:
    """The name of an instance's registry log; no server's log has a name of this form."""
    return f"{instance}/registry".replace("+", "%2B")


def proof_path(version: int) -> str:
    """Where the proof of a snapshot is, below the registry's address."""
    return f"{FOLDER}/state/{version}{EXTENSION}"


def act_entry(number: int, at: str, act: str, subject: str, digest: str) -> bytes:
    """The entry of an act; ``digest`` is :func:`act_digest`."""
    return format_document(
        {
            "v": 1,
            "kind": "act",
            "number": number,
            "at": at,
            "act": act,
            "subject": subject,
            "digest": digest,
        }
    )


def act_digest(at: str, actor: str, act: str, subject: str, detail: Mapping[str, Any]) -> str:
    """What an act's entry commits to; ``detail`` has a ``salt``."""
    row = {"at": at, "actor": actor, "act": act, "subject": subject, "detail": detail}
    return sha256(format_document(row)).hexdigest()


def parse_state(data: bytes, where: str = "state") -> State | None:
    """The state that an entry tells of; nothing for an entry of another kind.

    Raises:
        Problem: ``InvalidDocument`` when it is no entry of this log.
    """
    document = parse_document(data, MAX_STATE_BYTES, where)
    if not isinstance(document.value, dict) or document.value.get("kind") != "state":
        return None
    fields = document.members(frozenset({"v", "kind", "snapshot", "targets", "root"}))
    fields["v"].integer(1, 1)
    snapshot = fields["snapshot"].members(frozenset({"version", "sha256"}))
    state = State(
        snapshot["version"].integer(1, _MAX_VERSION),
        snapshot["sha256"].text(64, 64),
        fields["targets"].integer(1, _MAX_VERSION),
        fields["root"].integer(1, _MAX_VERSION),
    )
    if bytes(state) != data:
        raise document.refuse("is not in its canonical form")
    return state


def contradict(earlier: State, later: State) -> bool:
    """Whether a log that tells of both, in this order, shows two states or an older one again.

    The same state may be told twice. New online keys, which the offline root alone can give, may
    begin the snapshots anew.
    """
    return later != earlier and later.version <= earlier.version and later.root <= earlier.root


def check_state(
    proof: bytes, snapshot: bytes, version: int, keys: Sequence[VerifierKey], where: str = "state"
) -> ProvenState:
    """Check that exactly this snapshot is in the log of one of ``keys``.

    Cosignatures and the log's growth are not looked at.

    Raises:
        Problem: ``InvalidProof`` when it proves another state or none; ``InvalidNote`` when the
            checkpoint is not signed by the log.
    """
    found = parse_proof(proof, where)
    if not keys:
        raise Problem(Code.INVALID_PROOF, where=where, detail="the registry has no log")
    if found.extra is None:
        raise Problem(Code.INVALID_PROOF, where=where, detail="the proof names no state")
    state = parse_state(found.extra, where)
    digest = sha256(snapshot).hexdigest()
    if state is None or (state.version, state.digest) != (version, digest):
        raise Problem(
            Code.INVALID_PROOF,
            where=where,
            detail=f"the log does not have the snapshot {version} that was shown",
            facts={"version": version, "shown": digest, "proven": state.digest if state else None},
        )
    checkpoint = open_by_any(found.checkpoint, keys, where)
    merkle.check_inclusion(
        found.index, checkpoint.size, merkle.leaf_hash(found.extra), found.path, checkpoint.root
    )
    return ProvenState(state, found.index, checkpoint, found.checkpoint)


def proves_two_states(first: bytes, second: bytes, keys: Sequence[VerifierKey]) -> bool:
    """Whether two proofs (C2SP tlog-proof) show that one log tells of two states.

    Raises:
        Problem: ``InvalidProof`` or ``InvalidNote`` when an entry is not in the log of ``keys``.
    """
    states: list[tuple[int, State]] = []
    for data in (first, second):
        proof = parse_proof(data)
        checkpoint = open_by_any(proof.checkpoint, keys)
        entry = proof.extra or b""
        merkle.check_inclusion(
            proof.index, checkpoint.size, merkle.leaf_hash(entry), proof.path, checkpoint.root
        )
        state = parse_state(entry)
        if state is None:
            return False
        states.append((proof.index, state))
    (earlier, old), (later, new) = states
    return earlier < later and contradict(old, new)


def open_by_any(note: bytes, keys: Sequence[VerifierKey], where: str = "checkpoint") -> Checkpoint:
    """Open a checkpoint that one of the log's keys signed.

    Raises:
        Problem: ``InvalidNote``.
    """
    problem = Problem(Code.INVALID_NOTE, where=where, detail="no key of the log is known")
    for key in keys:
        try:
            return open_checkpoint(note, key, where=where)
        except Problem as refused:
            problem = refused
    raise problem
