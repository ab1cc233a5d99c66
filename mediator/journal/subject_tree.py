"""The index of subjects of a part of the log, as a file: made from entries, answers with proofs.

The file is derived: whoever has the entries can make it, and what it answers is proven against the
commitment in the log (:mod:`exchange.journal.subject_index`). It is made in a database, not in
memory: a month may have ten million entries.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TypeAlias

import orjson

from exchange.journal.entries import SubjectIndex
from exchange.journal.subject_index import Answer, Leaf, format_line
from exchange.log import merkle
from exchange.problems import Code, Problem
from serving.log.tiles import TileFolder
from serving.sqlite_files import open_read_only

FOLDER = "subjects"
Progress: TypeAlias = Callable[[str, int, int], None]
_WIDTH = 256
_SLICE = 8192
_MARK = b'"subject":"'
_ALL = "SELECT number, tag, line, indexes FROM leaves ORDER BY number"
_ROW = "SELECT hashes FROM row"


def path_of(journal: Path, first: int, end: int) -> Path:
    """Where a journal keeps the index of a part of its log."""
    return journal / FOLDER / f"{first}-{end}.sqlite"


def make(
    path: Path,
    folder: TileFolder,
    first: int,
    end: int,
    size: int,
    progress: Progress = lambda what, done, total: None,
) -> SubjectIndex:
    """Make the index of the entries ``[first, end)`` of a log of ``size``; what it amounts to.

    The file is whole when it is there: it is made beside its place.

    Raises:
        OSError, Problem: it cannot be written, or the entries cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    try:
        with _failures(path), contextlib.closing(_connect(draft)) as connection:
            months = _collect(connection, folder, first, end, size, progress)
            leaves, root = _plant(connection)
            connection.execute("DROP TABLE seen")
            connection.execute("COMMIT")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return SubjectIndex(first, end, leaves, tuple(sorted(months)), root.hex())


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")  # a draft: whole, or made again
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE seen (tag TEXT, idx INTEGER)")
    connection.execute(
        "CREATE TABLE leaves (number INTEGER PRIMARY KEY, tag TEXT NOT NULL UNIQUE, "
        "line TEXT NOT NULL, indexes TEXT NOT NULL)"
    )
    connection.execute("CREATE TABLE row (hashes BLOB NOT NULL)")
    return connection


def _collect(
    connection: sqlite3.Connection,
    folder: TileFolder,
    first: int,
    end: int,
    size: int,
    progress: Progress,
) -> set[str]:
    """Note the tag of each entry that has one; the months of these entries."""
    months: set[str] = set()
    for start in range(first, end, _SLICE):
        stop = min(start + _SLICE, end)
        found = []
        for index, month, tag in tagged(folder.entries(start, stop, size)):
            found.append((tag, index))
            months.add(month)
        connection.executemany("INSERT INTO seen VALUES (?, ?)", found)
        progress("index of subjects", stop - first, end - first)
    return months


def _plant(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Write the leaves in order, and the row of the tree above 256 of them; count and root."""
    row, hashes, number, waiting = bytearray(), bytearray(), 0, []
    seen = connection.execute("SELECT tag, idx FROM seen ORDER BY tag, idx")
    for tag, group in groupby(seen, key=lambda each: each[0]):
        indexes = [index for _, index in group]
        line = format_line(tag, indexes)
        waiting.append((number, tag, line, ",".join(map(str, indexes))))
        hashes += merkle.leaf_hash(line.encode())
        number += 1
        if number % _WIDTH == 0:
            row += merkle.root_of_hashes(bytes(hashes))
            hashes.clear()
            connection.executemany("INSERT INTO leaves VALUES (?, ?, ?, ?)", waiting)
            waiting.clear()
    connection.executemany("INSERT INTO leaves VALUES (?, ?, ?, ?)", waiting)
    connection.execute("INSERT INTO row VALUES (?)", (bytes(row),))
    rest = merkle.root_of_hashes(bytes(hashes)) if hashes else b""
    return number, merkle.root_of_hashes(bytes(row) + rest)


class SubjectTree:
    """An index of subjects, open for answers."""

    def __init__(self, path: Path, committed: SubjectIndex) -> None:
        """Open a file.

        Raises:
            OSError: when it is not there or not readable.
        """
        self._committed = committed
        self._path = path
        with _failures(path):
            self._connection = open_read_only(path)
            ((self._row,),) = self._connection.execute(_ROW).fetchall()

    def answer(self, tag: str) -> Answer:
        """What the index says of a tag; to be checked against the commitment.

        Raises:
            OSError: the file is damaged.
        """
        with _failures(self._path):
            found = self._connection.execute(
                "SELECT number, tag, line, indexes FROM leaves WHERE tag >= ? ORDER BY tag LIMIT 1",
                (tag,),
            ).fetchone()
            if found is not None and found[1] == tag:
                indexes = tuple(map(int, found[3].split(",")))
                return Answer(tag, indexes, leaf=self._leaf(found[0], found[2]))
            after = self._committed.leaves if found is None else found[0]
            return Answer(
                tag,
                (),
                before=self._leaf(after - 1) if after else None,
                after=self._leaf(after) if found is not None else None,
            )

    def _leaf(self, number: int, line: str | None = None) -> Leaf:
        if line is None:
            ((line,),) = self._lines(number, number + 1)
        path = merkle.prove_inclusion(number, self._committed.leaves, self._subtree)
        return Leaf(number, line, path)

    def _lines(self, start: int, end: int) -> list[tuple[str]]:
        sql = "SELECT line FROM leaves WHERE number >= ? AND number < ? ORDER BY number"
        return self._connection.execute(sql, (start, end)).fetchall()

    def _subtree(self, level: int, index: int) -> bytes:
        start, end = index << level, (index + 1) << level
        if level >= 8:
            part = self._row[start // _WIDTH * 32 : end // _WIDTH * 32]
            return merkle.root_of_hashes(part)
        lines = self._lines(start, end)
        return merkle.root_of_hashes(
            b"".join([merkle.leaf_hash(line.encode()) for (line,) in lines])
        )

    def close(self) -> None:
        self._connection.close()


def is_same(made: Path, kept: Path) -> bool:
    """Whether a file that is kept answers as the one that was made does."""
    with (
        contextlib.closing(open_read_only(made)) as one,
        contextlib.closing(open_read_only(kept)) as two,
    ):
        try:
            rows = (one.execute(_ALL), two.execute(_ALL))
            leaves = all(a == b for a, b in zip_longest(*rows))
            return leaves and one.execute(_ROW).fetchall() == two.execute(_ROW).fetchall()
        except sqlite3.DatabaseError:
            return False


def tagged(entries: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, str, str]]:
    """The index, month and tag of each entry that has a tag."""
    for index, entry in entries:
        if _MARK in entry:
            document = orjson.loads(entry)
            if (tag := document.get("subject")) is not None:
                yield index, document["at"][:7], tag


@contextlib.contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        raise OSError(f"{path}: {error}") from error


def unreadable(error: OSError) -> Problem:
    """What it means that an index of subjects cannot be made or read."""
    return Problem(
        Code.JOURNAL_CORRUPT,
        where=FOLDER,
        detail=f"an index of subjects cannot be used ({error}); delete it: it is derived",
    )
