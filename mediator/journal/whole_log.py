"""A journal that is here, as one side of a reconciliation (:mod:`mediator.journal.reconcile`).

Where a period is asked for, the entries of it are found by halving: they are taken to be in the
order of time but for a margin.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from exchange.identifiers import ServerId
from exchange.journal.entries import parse_entry
from exchange.log.checkpoint import Checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.proof import LogProof
from exchange.log.tiles import WIDTH
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.reader import JournalReader
from mediator.journal.reconcile import Asked, Covered
from mediator.own_keys import origin_of


@dataclass(frozen=True, slots=True)
class WholeLog:
    """Entries ``[start, end)`` of a journal; implements :class:`mediator.journal.reconcile.Log`."""

    journal: JournalReader
    server: ServerId
    start: int
    end: int

    @property
    def place(self) -> str:
        return str(self.journal.directory)

    @property
    def key(self) -> VerifierKey:
        return self.journal.key

    @property
    def checkpoint(self) -> Checkpoint:
        return self.journal.checkpoint

    @property
    def count(self) -> int:
        return self.end - self.start

    @property
    def covered(self) -> Covered | None:
        return None

    def entries(self, *, content: bool) -> Iterator[tuple[int, bytes, str | None]]:
        """See :class:`mediator.journal.reconcile.Log`."""
        proven = self.journal.proven(self.start, self.end)
        if not content:
            for index, data in proven:
                yield index, data, None
            return
        sealed = self._ciphertexts()
        at, ciphertext = next(sealed, (self.end, b""))
        for index, data in proven:
            while at < index:
                at, ciphertext = next(sealed, (self.end, b""))
            yield index, data, _signed(self.journal, data, ciphertext) if at == index else None

    def show(self, index: int) -> tuple[bytes, LogProof]:
        """See :class:`mediator.journal.reconcile.Log`."""
        return self.journal.entry(index), self.journal.prove(index)

    def describe(self) -> str:
        """See :class:`mediator.journal.reconcile.Log`."""
        return (
            f"entries {self.start:,} to {self.end:,} of {self.checkpoint.size:,}, all proven, root "
            f"{self.checkpoint.root.hex()[:16]}…"
        )

    def _ciphertexts(self) -> Iterator[tuple[int, bytes]]:
        """The sealed parts from the first that is asked for on, as far as they are whole."""
        folder = self.journal.directory / "segments"
        firsts = segments.segments_in(folder)
        before = [first for first in firsts if first <= self.start]
        for first in firsts[max(len(before) - 1, 0) :]:
            if first >= self.end:
                return
            for group in segments.read_groups(segments.path_of(folder, first), first):
                if isinstance(group, segments.Broken):
                    break
                yield from enumerate(group.sealed, group.first)


def whole_log(journal: JournalReader, asked: Asked) -> WholeLog:
    """A journal, between the entries of what is asked for.

    Raises:
        Problem: ``InvalidIdentifier`` as :func:`server_of`; ``JournalCorrupt``.
    """
    start, end = 0, journal.checkpoint.size
    if asked.since is not None:
        start = max(journal.first_bundle(asked.since - asked.margin) - WIDTH, 0)
    if asked.until is not None:
        end = max(start, journal.first_bundle(asked.until + asked.margin))
    return WholeLog(journal, server_of(journal), start, end)


def server_of(journal: JournalReader) -> ServerId:
    """The server whose log it is, by the log's name.

    Raises:
        Problem: ``InvalidIdentifier`` when the name names no server.
    """
    name = journal.origin.rpartition("/")[0].replace("%2B", "+")
    server = ServerId.parse(name, f"origin {journal.origin}")
    if origin_of(server) != journal.origin:
        raise Problem(
            Code.INVALID_IDENTIFIER, where=str(journal.directory), detail="names no server's log"
        )
    return server


def _signed(journal: JournalReader, data: bytes, ciphertext: bytes) -> str | None:
    """A digest of the signature base and the signature; None where they cannot be read."""
    with suppress(Problem):
        entry = parse_entry(data)
        if entry.sealed is not None and ciphertext:
            part = journal.open(entry, ciphertext).part
            if part.base:
                return sha256(part.base + part.signature).hexdigest()[:32]
    return None
