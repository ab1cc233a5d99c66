"""An index elsewhere follows the published log in a thread of its own.

A database may be slow or away: neither publication nor a message ever waits for it. What it misses
meanwhile it gets from the entry bundles when it is back.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic

import structlog

from exchange.problems import Problem
from mediator.journal.index.writer import IndexWriter
from serving.log.tiles import TileFolder

RETRY_S = 2.0
CLOSE_S = 10.0
log = structlog.get_logger("mediator.journal.index")


class IndexFeed:
    """Keeps an index up with a log; takes the place of a writer in publication."""

    size = 0
    """Of what it was given; always behind, so that publication says how far the log is."""

    def __init__(self, writer: IndexWriter, folder: TileFolder) -> None:
        self.trouble: str | None = None
        self.indexed = 0
        self.first = 0
        """Where the index begins: later where older entries were removed before it was made."""
        self._writer = writer
        self._folder = TileFolder(folder.directory)  # of this thread
        self._wanted = 0
        self._stop_at: float | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="journal-index", daemon=True)
        self._thread.start()

    def add(self, first: int, entries: Sequence[bytes]) -> None:
        """Nothing: entries are read from the bundles."""

    def catch_up(self, folder: TileFolder, size: int) -> None:
        """Say how far the log is published; returns at once."""
        with self._changed:
            self._wanted = max(self._wanted, size)
            self._changed.notify()

    def close(self) -> None:
        """Follow to the end, if that takes no longer than :data:`CLOSE_S`. Blocks."""
        with self._changed:
            self._stop_at = monotonic() + CLOSE_S
            self._changed.notify()
        self._thread.join(CLOSE_S + 1)  # a statement that hangs ends with the process

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stop_at is not None or self._wanted > self.indexed,
                    timeout=None if self.trouble is None else RETRY_S,
                )
                stop_at, wanted = self._stop_at, self._wanted
            if stop_at is not None and (
                self.indexed >= wanted or self.trouble is not None or monotonic() >= stop_at
            ):
                break
            self._follow(wanted)
            if self.trouble is not None:
                with self._changed:
                    self._changed.wait_for(lambda: self._stop_at is not None, RETRY_S)
        self._writer.close()

    def _follow(self, wanted: int) -> None:
        try:
            self._writer.catch_up(self._folder, wanted, self._told)
        except _Stopped:
            return
        except (OSError, Problem) as error:
            if self.trouble is None:
                log.warning("index_behind", why=str(error))
            self.trouble = str(error)
            return
        if self.trouble is not None:
            log.info("index_follows", size=self._writer.size)
        self.trouble = None
        self.indexed = self._writer.size
        if self._writer.first != self.first:
            self.first = self._writer.first
            log.warning("index_begins_late", first=self.first)

    def _told(self, what: str, done: int, total: int) -> None:
        self.indexed = done
        if self._stop_at is not None and monotonic() >= self._stop_at:
            raise _Stopped


class _Stopped(Exception):
    """The time for following to the end is over."""
