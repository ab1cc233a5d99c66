"""Adding entries to the search index, and making it anew where it is not what it should be.

The index is derived: one that is damaged, of another version, or of another log is removed and made
anew from the entry bundles.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import structlog

from exchange.problems import Problem
from mediator.journal.holdings import Holdings
from mediator.journal.index.sqlite import SqlitePlace
from mediator.journal.index.store import Damaged, Place, Store, StoreError
from mediator.journal.index.tables import KEYS, SHAPE, Shapes, batch_of, readable, to_milliseconds
from serving.log.tiles import TileFolder

Progress: TypeAlias = Callable[[str, int, int], None]
_CATCH_UP = 4096
_WHOLE = (
    f"SELECT at, {', '.join((*KEYS, *SHAPE))} FROM entries JOIN shapes ON shapes.number = shape "  # noqa: S608
    "WHERE idx = ?"
)
log = structlog.get_logger("mediator.journal.index")


class IndexWriter:
    """Adds entries to an index; used by one thread at a time.

    Args:
        place: where it is kept; a path is that of a SQLite file.
        start: the first entry of an empty index: one that holds the rest of another.
    """

    def __init__(self, place: Place | Path | str, start: int = 0) -> None:
        self.place = SqlitePlace(place) if isinstance(place, Path | str) else place
        self.size = start
        self.first = start
        """Where it begins: later in a pruned journal, of which it was made anew; known after
        :meth:`catch_up`."""
        self._start = start
        self._store: Store | None = None
        self._shapes = Shapes((), 0)

    def open(self) -> Store:
        """Open the index; one that is damaged or of another version is made anew.

        Raises:
            StoreError: the database cannot be used.
        """
        if self._store is None:
            try:
                self._store = self._connect()
            except Damaged as error:
                self._say_anew(str(error))
                self.place.remove()
                self._store = self._connect()
        return self._store

    def _connect(self) -> Store:
        store = self.place.connect()
        try:
            self._read_shapes(store)
            ((last,),) = store.execute("SELECT max(idx) FROM entries")
        except BaseException:
            store.close()
            raise
        self.size = self._start if last is None else last + 1
        return store

    def _read_shapes(self, store: Store) -> None:
        def find(key: str) -> int | None:
            rows = store.execute("SELECT number FROM shapes WHERE key = ?", (key,))
            return rows[0][0] if rows else None

        ((last,),) = store.execute("SELECT max(number) FROM shapes")
        known = store.execute("SELECT number, key FROM shapes ORDER BY number DESC LIMIT 32768")
        numbers = ((number, key) for number, key in known)
        self._shapes = Shapes(numbers, (last or 0) + 1, find)

    def add(self, first: int, entries: Sequence[bytes]) -> None:
        """Add entries that follow what is there; does nothing when they do not follow.

        An index that has entries of these numbers already is of another log, or of this one before
        it was set back: it is begun anew, and so is one that turns out to be damaged; ``size``
        tells.

        Raises:
            OSError: when the index cannot be written; the journal itself is not touched by that.
        """
        try:
            store = self.open()
            if entries and first < self.size:
                self._say_anew("it has other entries of these numbers")
                store = self.renew()
            if first != self.size or not entries:
                return
            if self._shapes.full:
                self._read_shapes(store)
            store.load(batch_of(first, entries, self._shapes))
            self.size = first + len(entries)
        except Damaged as error:
            self._say_anew(str(error))
            self._renewed()
        except StoreError as error:
            self.close()
            raise OSError(f"{self.place.name}: {error}") from error

    def _renewed(self) -> None:
        try:
            self.renew()
        except StoreError as error:
            self.close()
            raise OSError(f"{self.place.name}: {error}") from error

    def renew(self) -> Store:
        """Begin the index anew.

        Raises:
            StoreError: the database cannot be used.
        """
        self.close()
        self.place.remove()
        return self.open()

    def catch_up(
        self,
        folder: TileFolder,
        size: int,
        progress: Progress = lambda what, done, total: None,
        batch: int = _CATCH_UP,
    ) -> None:
        """Add what is missing up to ``size`` from the entry bundles, ``batch`` at once.

        Raises:
            OSError, Problem: as :meth:`add`, and when a bundle cannot be read.
        """
        try:
            store = self.open()
            oldest = min(Holdings.read(folder.directory.parent).entries_from, size)
            if self.size > size or not self._is_of(store, folder, oldest, size):
                self._say_anew("it is not of this log, or not whole")
                self.renew()
        except StoreError as error:
            self.close()
            raise OSError(f"{self.place.name}: {error}") from error
        renewals = 0
        while self.size < size:
            if self.size < oldest:  # of a pruned journal, what is left is indexed
                self.size = self.first = oldest
            end = min(self.size + batch, size)
            self.add(self.size, [entry for _, entry in folder.entries(self.size, end, size)])
            renewals += self.size != end
            if renewals > 1:
                raise OSError(f"{self.place.name}: is damaged again and again")
            progress("search index", self.size, size)

    def _is_of(self, store: Store, folder: TileFolder, oldest: int, size: int) -> bool:
        """Whether the index is of this log, by its last entry, and begins where it must."""
        known = self.size
        ((first,),) = store.execute("SELECT min(idx) FROM entries")
        if first is None:
            return True
        if first > max(self._start, oldest):
            return False
        self.first = first
        with contextlib.suppress(Problem):  # a bundle is broken: verification names it
            ((_, entry),) = folder.entries(known - 1, known, size)
            return holds(store, known - 1, entry)
        return True

    def _say_anew(self, why: str) -> None:
        log.warning("index_made_anew", index=self.place.name, why=why)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def holds(store: Store, index: int, entry: bytes) -> bool:
    """Whether this entry is known under this index, as it is: not so in an index of another log.

    Raises:
        StoreError: when the index cannot be read.
    """
    document = readable(entry)
    at = to_milliseconds(datetime.fromisoformat(document["at"]))
    expected = (at, *(document.get(name) for name in (*KEYS, *SHAPE)))
    return [tuple(row) for row in store.execute(_WHOLE, (index,))] == [expected]
