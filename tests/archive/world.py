"""What the tests of the archive share: a journal of several segments, and stores."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from mediator.archive.archiver import Archiver, Outcome, archiving
from mediator.archive.stores import Content, FolderStore, Store, Stored, failed
from mediator.journal.log import JournalSettings
from mediator.journal.reader import JournalReader
from tests.journal.world import MPI, entry, journal_in, part

SMALL = JournalSettings(publish_interval_s=0.02, segment_max_bytes=64 * 1024, index=False)


async def fill(directory: Path, start: int, end: int) -> None:
    """Record entries, many at once, in segments of about 64 KiB (about 60 entries)."""
    async with journal_in(directory, SMALL) as journal:
        for first in range(start, end, 40):
            await asyncio.gather(
                *(
                    journal.record(entry(number), MPI, part(number))
                    for number in range(first, min(first + 40, end))
                )
            )


def archive(directory: Path, store: Store) -> Outcome:
    """One run of the archiver."""
    with archiving(directory):
        return Archiver(JournalReader(directory), store, parallel=1).run()


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def flip(path: Path) -> None:
    """Damage a file: one bit in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


class FailingStore(FolderStore):
    """A folder whose operation number ``at`` fails: before it, after it, or with a bit flipped."""

    def __init__(self, folder: Path, at: int, how: str) -> None:
        super().__init__(folder)
        self.count = 0
        self._at = at
        self._how = how

    def put(self, stored: Stored, content: Content) -> None:
        self.count += self._how != "read"
        hit = self.count == self._at
        if hit and self._how == "before":
            raise failed(self.url, stored.name, "the line was lost")
        super().put(stored, content)
        if hit and self._how == "after":
            raise failed(self.url, stored.name, "the line was lost")
        if hit and self._how == "damaged":
            flip(self.folder / stored.name)

    def read(self, name: str) -> Iterator[bytes]:
        self.count += self._how == "read"
        if self.count == self._at and self._how == "read":
            raise failed(self.url, name, "the line was lost")
        return super().read(name)


class ForgettingStore(FolderStore):
    """A folder that damages everything of some name that is put there."""

    def __init__(self, folder: Path, ending: str) -> None:
        super().__init__(folder)
        self._ending = ending

    def put(self, stored: Stored, content: Content) -> None:
        super().put(stored, content)
        if stored.name.endswith(self._ending):
            os.truncate(self.folder / stored.name, max(stored.size - 1, 0))
