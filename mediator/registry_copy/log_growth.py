"""Whether the registry's log only grew, and what it tells of states; with the proof when not.

With the compact range of the head that was accepted, the entries since must lead to the new head's
root: then the log has grown from what this server saw, by exactly these entries. What was read is
judged, too: a log that tells of two states of one version convicts the registry without a fork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, parse_text
from exchange.log.compact_range import CompactRange
from exchange.log.notes import VerifierKey, parse_note
from exchange.log.proof import LogProof, format_proof
from exchange.log.witness import proves_fork
from exchange.problems import Problem
from exchange.registry.log import ProvenState, State, contradict, parse_state
from mediator.registry_copy.borders import untrusted
from mediator.registry_copy.log_tiles import LogTiles
from mediator.witness.misbehaviour import Misbehaviour, Misdeed, moment

MAX_NEW_ENTRIES: Final = 1_000_000
_STATE: Final = b'"state"'


@dataclass(frozen=True, slots=True)
class SeenLog:
    """The last head of the log that was accepted, and the newest state that the log tells of."""

    note: bytes
    range: CompactRange
    state: State
    index: int

    @property
    def checkpoint(self) -> Checkpoint:
        return parse_text(parse_note(self.note).text)


@dataclass(frozen=True, slots=True)
class Growth:
    """One look at the log: its tiles, whose signature counts, and where evidence goes."""

    tiles: LogTiles
    keys: Sequence[VerifierKey]
    seen_by: str
    at: datetime
    keep: Callable[[Misbehaviour], None]

    def first(self, proven: ProvenState) -> SeenLog:
        """The first head that this server ever sees.

        Raises:
            Problem: ``UntrustedMetadata`` when the tiles are not those of the head.
        """
        grown = CompactRange.read(proven.checkpoint.size, self.tiles.subtrees())
        if grown.root() != proven.checkpoint.root:
            raise untrusted("log", "its tiles do not lead to the signed root")
        return SeenLog(proven.note, grown, proven.state, proven.index)

    def grown(self, seen: SeenLog, proven: ProvenState) -> SeenLog:
        """The head that proves a state, when the log only grew to it.

        Raises:
            Problem: ``LogContradicted``; ``UntrustedMetadata`` when the entries are not those of
                the head.
        """
        ours, theirs = seen.checkpoint, proven.checkpoint
        if theirs.size <= ours.size:
            # Of a copy that lags behind, or proven by an older head: it must be our beginning.
            self.check(proven.note, theirs, seen.note, ours)
            return seen
        if theirs.size - ours.size > MAX_NEW_ENTRIES:
            raise untrusted("log", f"has grown by more than {MAX_NEW_ENTRIES} entries")
        grown = seen.range
        told: list[tuple[int, bytes]] = []
        for first, entries in self.tiles.entries(ours.size, theirs.size):
            grown = grown.grown(map(merkle.leaf_hash, entries))
            told += [(at, entry) for at, entry in enumerate(entries, first) if _STATE in entry]
        if grown.root() != theirs.root:
            self.check(seen.note, ours, proven.note, theirs)
            raise untrusted("log", "its entries do not lead to the signed root")
        last = seen.index, seen.state
        for index, entry in told:
            state = parse_state(entry, f"log entry {index}")
            if state is not None:
                if contradict(last[1], state):
                    raise self._convicted(proven, last, (index, state))
                last = index, state
        return SeenLog(proven.note, grown, last[1], last[0])

    def check(self, old_note: bytes, old: Checkpoint, new_note: bytes, new: Checkpoint) -> None:
        """Check that one head continues another; the proof that it does not is kept.

        Raises:
            Problem: ``LogContradicted``.
        """
        proof: tuple[bytes, ...] = ()
        if 0 < old.size < new.size:
            proof = merkle.prove_consistency(old.size, new.size, self.tiles.subtrees())
        try:
            merkle.check_consistency(old.size, new.size, proof, old.root, new.root)
        except Problem as problem:
            if proof and old.size & (old.size - 1) == 0:  # the other beginning stands before it
                level = old.size.bit_length() - 1
                proof = (self.tiles.subtrees()(level, 0), *proof)
            forked = proves_fork(old, new, old.size, proof)
            misdeed = Misdeed.FORK if forked else Misdeed.INCONSISTENT
            raise self._kept(misdeed, old.origin, old_note, new_note, old.size, proof) from problem

    def _convicted(
        self, proven: ProvenState, first: tuple[int, State], second: tuple[int, State]
    ) -> Problem:
        """Both entries are proven to be in the one log."""
        size, read = proven.checkpoint.size, self.tiles.subtrees()
        known, shown = (
            format_proof(
                LogProof(
                    index, merkle.prove_inclusion(index, size, read), proven.note, bytes(state)
                )
            )
            for index, state in (first, second)
        )
        return self._kept(Misdeed.TWO_STATES, proven.checkpoint.origin, known, shown, 0, ())

    def _kept(
        self,
        misdeed: Misdeed,
        origin: str,
        known: bytes,
        shown: bytes,
        old_size: int,
        proof: tuple[bytes, ...],
    ) -> Problem:
        found = Misbehaviour(
            misdeed,
            origin,
            tuple(str(key) for key in self.keys),
            moment(self.at),
            self.seen_by,
            None,
            known,
            shown,
            old_size,
            proof,
        )
        self.keep(found)
        return found.problem
