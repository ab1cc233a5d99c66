"""The registry's own log: entries of the database become tiles and a signed head.

The database is the intake: an act and a state are entries of the log in the transaction that makes
them (:mod:`registry.store`). Each process derives the tiles in its own published tree; the signed
head is kept in the database and replaced by compare-and-swap, so that all processes put out one
log. The order of :meth:`RegistryLog.publish`, and what a crash after each step means:

1. tiles are put in their places: files that no head names yet, written again next time;
2. the head is signed and swapped in: the log has it from now on; the next call puts it out;
3. witnesses are asked; what they sign is added to the head;
4. ``log/checkpoint`` is replaced.

Invariants:
- a head is signed only for a tree that extends the signed one;
- nothing is signed when the published tree has more entries than the database, which an older copy
  of the database would have: then a person must look.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, parse_text
from exchange.log.notes import Note, VerifierKey, parse_note, sign_note
from exchange.log.proof import LogProof, format_proof
from exchange.problems import Code, Problem
from exchange.registry.log import CHECKPOINT, FOLDER, open_by_any, parse_state, proof_path
from registry.publication.witnesses import Witnesses
from serving.log.files import Files, RealFiles
from serving.log.tiles import Edge, TileFolder

_BATCH = 1000
_ATTEMPTS = 16


class Head(Protocol):
    """The signed head that a store keeps."""

    @property
    def size(self) -> int: ...

    @property
    def note(self) -> bytes: ...


class LogStore(Protocol):
    """What this module needs of :class:`registry.store.Store`."""

    def log_size(self) -> int: ...

    def log(self, *, after: int = -1, limit: int = 1000) -> list[tuple[int, bytes]]: ...

    def checkpoint(self) -> Head | None: ...

    def put_checkpoint(self, expected_size: int | None, size: int, note: bytes) -> bool: ...


class RegistryLog:
    """The log of one registry, in the published tree under ``directory``; one thread at a time.

    Args:
        origin: the log's name (:func:`exchange.registry.log.origin`).
        keys: that sign its heads, all of them; more than one while they change.
        published: the keys that servers know from the instance's record.
        witnesses: who cosigns, if anybody.
    """

    def __init__(
        self,
        store: LogStore,
        directory: Path,
        origin: str,
        keys: Sequence[Ed25519PrivateKey],
        published: Sequence[VerifierKey] = (),
        witnesses: Witnesses | None = None,
        files: Files | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._origin = origin
        self._keys = keys
        self._verifiers = [
            *published,
            *(VerifierKey.of(origin, key.public_key()) for key in keys),
        ]
        self._witnesses = witnesses
        self._files = files or RealFiles()
        self._tiles = TileFolder(directory / FOLDER)
        self._staging = directory / ".log"
        self._edge: Edge | None = None
        self._head: Note | None = None

    def publish(self) -> Checkpoint:
        """Put out all entries of the database; returns the head.

        Raises:
            Problem: ``JournalForked`` when the database or the tree is not of this log's past.
            OSError: the disk failed; the next call goes on from there.
        """
        self._staging.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            head = self._store.checkpoint()
            edge = self._caught_up(head)
            if head is not None and edge.size == head.size:
                return self._shown(head.note)
            checkpoint = Checkpoint(self._origin, edge.size, edge.root())
            self._store.put_checkpoint(
                None if head is None else head.size, edge.size, bytes(self._signed(checkpoint))
            )
        raise Problem(
            Code.OVERLOADED, where="log", detail="other processes change the log all the time"
        )

    def prove_state(self, version: int) -> bytes | None:
        """The proof that the newest state of a version is in the log, by the head that is out.

        Raises:
            Problem: ``JournalCorrupt`` when a tile cannot be read.
        """
        if self._head is None:
            return None
        end = size = parse_text(self._head.text).size
        while end > 0:
            start = max(0, end - _BATCH)
            rows = self._store.log(after=start - 1, limit=end - start)
            for index, entry in reversed(rows):
                state = parse_state(entry)
                if state is not None and state.version == version:
                    path = merkle.prove_inclusion(index, size, self._tiles.subtrees(size))
                    return format_proof(LogProof(index, path, bytes(self._head), entry))
            end = start
        return None

    def put_out_proof(self, version: int) -> bool:
        """Write the proof of a state where servers look for it; tells whether there is one."""
        proof = self.prove_state(version)
        if proof is not None:
            self._put(proof_path(version), proof)
        return proof is not None

    def cosign(self) -> bool:
        """Ask the witnesses that have not cosigned the head; tells whether that is enough.

        A head that got more signatures is out afterwards.
        """
        if self._witnesses is None or self._head is None:
            return True
        note, size = self._head, parse_text(self._head.text).size
        read = self._tiles.subtrees(size)
        lines = self._witnesses.ask(note, lambda old: merkle.prove_consistency(old, size, read))
        if lines:
            note = Note(note.text, (*note.signatures, *lines))
            if self._store.put_checkpoint(size, size, bytes(note)):
                self._shown(bytes(note))
        return self._witnesses.enough(note)

    def _signed(self, checkpoint: Checkpoint) -> Note:
        text = str(checkpoint)
        signatures = [
            line for key in self._keys for line in sign_note(text, self._origin, key).signatures
        ]
        return Note(text, tuple(signatures))

    def _caught_up(self, head: Head | None) -> Edge:
        """The edge of all entries, checked against the signed head on the way; tiles are out."""
        size = self._store.log_size()
        if head is not None:
            self._check_past(head, size)
            edge = self._advanced(head.size)
            if edge.root() != parse_text(parse_note(head.note).text).root:
                self._edge = Edge.empty()  # a damaged tile, or one of another database
                edge = self._advanced(head.size)
                if edge.root() != parse_text(parse_note(head.note).text).root:
                    raise _forked("the entries of the database are not those of its signed head")
        return self._advanced(size)

    def _check_past(self, head: Head, size: int) -> None:
        """The database must not be an older copy of what is published."""
        open_by_any(head.note, self._verifiers, "log")
        out = self._out()
        if size < head.size or (out is not None and out.size > max(size, head.size)):
            raise _forked(
                f"{out.size if out else head.size} entries are published, the database has {size}: "
                "was an old copy of it put back? (saphan registry restore)"
            )

    def _out(self) -> Checkpoint | None:
        try:
            data = (self._directory / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None
        return parse_text(parse_note(data).text)

    def _advanced(self, size: int) -> Edge:
        """The edge at a size, which is not below the present one, with its tiles written."""
        if self._edge is not None and self._edge.size == size:
            return self._edge
        edge = self._edge or self._from_disk(size)
        if edge.size > size:
            edge = Edge.empty()
        while edge.size < size:
            rows = self._store.log(after=edge.size - 1, limit=min(_BATCH, size - edge.size))
            entries = [entry for index, entry in rows if index < size]
            if not entries:
                raise _forked("entries of the log are missing in the database")
            full = list(edge.append(entries))
            self._tiles.write(self._files, self._staging, full)
        self._tiles.write(self._files, self._staging, edge.partial())
        self._edge = edge
        return edge

    def _from_disk(self, size: int) -> Edge:
        """Where the tree on disk ends, when it can be trusted; else the beginning."""
        try:
            out = self._out()
            if out is None or out.size > size:
                return Edge.empty()
            edge = self._tiles.edge(out.size)
            return edge if edge.root() == out.root else Edge.empty()
        except Problem:
            return Edge.empty()

    def _shown(self, note: bytes) -> Checkpoint:
        path = self._directory / CHECKPOINT
        if not path.exists() or path.read_bytes() != note:
            self._put(CHECKPOINT, note)
        self._head = parse_note(note)
        return parse_text(self._head.text)

    def _put(self, name: str, data: bytes) -> None:
        path = self._directory / name
        self._files.make_directory(path.parent)
        draft = self._staging / path.name
        self._files.write_file(draft, data)
        self._files.rename(draft, path)
        self._files.sync_directory(path.parent)


def _forked(detail: str) -> Problem:
    return Problem(Code.JOURNAL_FORKED, where="log", detail=detail)
