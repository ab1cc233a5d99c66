"""Erasures: which records were erased, by which entries of the log, on which ground.

An erasure is an entry (event ``erasure``) before it is done: what it names is forgotten by the key
afterwards, and again at each start. So a crash in between is finished at the next start, and a key
file of a backup that was put back forgets anew.

Invariants:
- the log is the truth. ``erasures.json`` repeats its erasures so that they are at hand, and says up
  to which entry it was looked through; what is behind is looked through where it is wanted, and
  all of the log when the file is missing;
- the file never says that less was erased than the log does: a record that it does not know of,
  and whose key is gone, is told as such.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from exchange.identifiers import MemberId
from exchange.journal.entries import ERASURE, Erased, Sealed, parse_entry
from exchange.problems import Code, Problem
from mediator.journal.holdings import Holdings
from mediator.journal.keyring import IndexName, KeyName, KeyRing
from serving.log.files import Files, RealFiles
from serving.log.tiles import TileFolder

FILE: Final = "erasures.json"
_MARK: Final = f'"event":"{ERASURE}"'.encode()
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Erasure:
    """One entry of the log that says what was erased."""

    index: int
    at: datetime
    erased: Erased

    def covers(self, sealed: Sealed, index: int) -> bool:
        """Whether it erased this record."""
        erased = self.erased
        if erased.key != sealed.key or index >= self.index:
            return False
        if erased.before is not None:
            return sealed.leaf < erased.before
        return sealed.leaf in erased.leaves

    def __str__(self) -> str:
        day = f"{self.at:%Y-%m-%d %H:%M} UTC"
        return f"erased on {day}, by entry {self.index}; legal ground: {self.erased.ground}"


@dataclass(slots=True)
class Erasures:
    """The erasures of a log, up to the entry before ``scanned``."""

    scanned: int = 0
    entries: dict[int, bytes] = field(default_factory=dict)
    _by_key: dict[str, list[Erasure]] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> Erasures:
        """What is at hand in a journal's directory; a damaged file counts as none."""
        with contextlib.suppress(OSError, Problem):
            return cls.parse((directory / FILE).read_bytes())
        return cls()

    @classmethod
    def parse(cls, data: bytes) -> Erasures:
        """What a file holds.

        Raises:
            Problem: ``JournalCorrupt`` when it is damaged.
        """
        found = cls()
        try:
            document = orjson.loads(data)
            if document["v"] != _VERSION:
                raise ValueError("version")
            for index, text in document["entries"]:
                found.add(int(index), text.encode())
            found.scanned = int(document["scanned"])
        except (ValueError, KeyError, TypeError, AttributeError, Problem) as error:
            raise Problem(
                Code.JOURNAL_CORRUPT, where=FILE, detail="it is no list of erasures; delete it"
            ) from error
        return found

    def write(self, directory: Path, files: Files | None = None) -> None:
        """Keep them at hand.

        Raises:
            OSError: the file is as it was.
        """
        files = files or RealFiles()
        entries = [(index, data.decode()) for index, data in sorted(self.entries.items())]
        draft = directory / "staging" / FILE
        files.write_file(
            draft,
            orjson.dumps({"v": _VERSION, "scanned": self.scanned, "entries": entries}),
        )
        files.rename(draft, directory / FILE)
        files.sync_directory(directory)

    def add(self, index: int, entry: bytes) -> None:
        """Take an entry of the log; it counts when it is an erasure.

        Raises:
            Problem: ``InvalidDocument`` when it is no entry.
        """
        parsed = parse_entry(entry, f"entry {index}")
        if parsed.event == ERASURE and parsed.erased is not None and index not in self.entries:
            self.entries[index] = entry
            erasure = Erasure(index, parsed.at, parsed.erased)
            self._by_key.setdefault(parsed.erased.key, []).append(erasure)

    def look_through(self, directory: Path, size: int) -> int:
        """Take what the published log has behind what was looked through; how many are new.

        Raises:
            Problem: ``JournalCorrupt`` when a bundle cannot be read.
        """
        known = len(self.entries)
        start = max(self.scanned, Holdings.read(directory).entries_from)
        for index, entry in TileFolder(directory / "log").entries(start, size, size):
            if _MARK in entry:
                self.add(index, entry)
        self.scanned = max(self.scanned, size)
        return len(self.entries) - known

    def of(self, sealed: Sealed, index: int) -> Erasure | None:
        """The erasure that took this record's key, if one is known."""
        for erasure in self._by_key.get(sealed.key, ()):
            if erasure.covers(sealed, index):
                return erasure
        return None

    def __iter__(self) -> Iterator[Erasure]:
        for erasures in self._by_key.values():
            yield from erasures


def carry_out(keyring: KeyRing, erasures: Iterable[Erasure]) -> list[Erasure]:
    """Have the keys forget what these say; those of which anything was still known. Blocks.

    Raises:
        OSError: some may not be carried out: do it again.
        Problem: ``SealedPartUnreadable`` when a key's file cannot be read.
    """
    done = []
    for erasure in erasures:
        erased = erasure.erased
        index_key = _index_name(erased.key)
        if index_key is not None:
            forgot = keyring.destroy_index_key(index_key)
        else:
            name = KeyName.parse(erased.key)
            forgot = keyring.puncture(name, erased.leaves, erased.before or 0)
        if forgot:
            done.append(erasure)
    return done


def _index_name(text: str) -> IndexName | None:
    member, _, rest = text.partition(" ")
    month, _, word = rest.partition(" ")
    return IndexName(MemberId.parse(member, "key"), month) if word == "index" else None
