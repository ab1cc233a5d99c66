"""The index beside a journal, kept by publication or, where much is recorded, by a process.

What an entry adds to the index costs as much of the interpreter as recording it, and the
interpreter's lock is the message path's. So publication adds only what is little. When much comes,
or much is missing, a process of its own follows the published log, from its bundles
(:mod:`mediator.journal.index.__main__`); it ends when nothing was asked of it for a minute.

Invariants:
- publication never waits for the process: it tells it how far the log is, and looks at what it
  answered meanwhile;
- one of the two writes at a time; a process that outlives its server is noticed by what it added
  (:meth:`Store.load`);
- whatever becomes of the process, publication goes on by itself.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import IO, Final

import orjson
import structlog

from mediator.journal.index.writer import IndexWriter
from serving.log.tiles import TileFolder

MUCH: Final = 4096
"""More entries at once than this ..."""
MUCH_PER_S: Final = 4000
"""... and more of them a second than this go to the process."""
_SINCE_S: Final = 2.0  # over which entries a second are counted at most
ALONE_S: Final = 60.0
"""For so long publication does all by itself after a process that failed."""
CLOSE_S: Final = 10.0
log = structlog.get_logger("mediator.journal.index")


class IndexKeeper:
    """Keeps an index up with a log; used by one thread at a time.

    Args:
        path: of the index.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = IndexWriter(path)
        self._following: _Following | None = None
        self._wanted = 0
        self._taken_at = monotonic()
        self._alone_until = 0.0

    @property
    def size(self) -> int:
        """How many entries it has, as far as is known."""
        return self._writer.size if self._following is None else self._following.indexed

    @property
    def process(self) -> int | None:
        """The process that keeps it now, if there is one."""
        return None if self._following is None else self._following.number

    def add(self, first: int, entries: Sequence[bytes]) -> None:
        """Add entries that follow what is there, if they are few; as :meth:`IndexWriter.add`.

        Raises:
            OSError: when the index cannot be written.
        """
        if self._following is None and not self._is_much(len(entries)):
            self._writer.add(first, entries)
            self._taken_at = monotonic()

    def catch_up(self, folder: TileFolder, size: int) -> None:
        """Add what is missing up to ``size``, or have it added.

        Raises:
            OSError, Problem: as :meth:`IndexWriter.catch_up`.
        """
        self._wanted = size
        if self._following is None and self._is_much(size - self._writer.size):
            self._begin(folder)
        if self._following is not None:
            self._follow(0)
        else:
            self._writer.catch_up(folder, size)
        self._taken_at = monotonic()

    def close(self) -> None:
        """Let the process follow to the end, if that takes no longer than :data:`CLOSE_S`. Blocks;
        idempotent."""
        until = monotonic() + CLOSE_S
        while self._following is not None and self._following.indexed < self._wanted:
            left = until - monotonic()
            if left <= 0:
                break
            self._follow(left)
        if self._following is not None:
            self._following.end()
            self._following = None
        self._writer.close()

    def _is_much(self, count: int) -> bool:
        now = monotonic()
        if count <= MUCH or now < self._alone_until:
            return False
        return count > MUCH_PER_S * min(now - self._taken_at, _SINCE_S)

    def _begin(self, folder: TileFolder) -> None:
        known = self._writer.size
        self._writer.close()
        try:
            self._following = _Following(self._path, folder.directory, known)
        except OSError as error:
            self._stay_alone(str(error))

    def _follow(self, wait_s: float) -> None:
        following = self._following
        if following is not None and not following.follow(self._wanted, wait_s):
            done = following.indexed >= following.asked
            code = following.end()
            self._following = None
            if code or not done:
                self._stay_alone(f"its process ended with {code}")

    def _stay_alone(self, why: str) -> None:
        log.warning("index_without_process", index=str(self._path), why=why)
        self._alone_until = monotonic() + ALONE_S


class _Following:
    """The process, and how far it is."""

    def __init__(self, path: Path, folder: Path, indexed: int) -> None:
        self.indexed = indexed
        self.asked = 0
        self._answer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mediator.journal.index"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.number = self._process.pid
        self._orders = _pipe(self._process.stdin)
        self._answers = _pipe(self._process.stdout)
        order = {"folder": str(folder.resolve()), "index": str(path.resolve())}
        os.write(self._orders, orjson.dumps(order) + b"\n")

    def follow(self, size: int, wait_s: float) -> bool:
        """Tell how far the log is, unless it is at work; read what it did. Whether it lives."""
        try:
            if self.indexed >= self.asked and size > self.asked:
                os.write(self._orders, b"%d\n" % size)
                self.asked = size
            if wait_s:
                select.select([self._answers], [], [], wait_s)
            while True:
                data = os.read(self._answers, 4096)
                if not data:
                    return False
                *lines, self._answer = (self._answer + data).split(b"\n")
                if lines:
                    self.indexed = int(lines[-1])
        except BlockingIOError:
            return True
        except OSError:
            return False

    def end(self) -> int:
        """Have it end, at once where it does not by itself; what it ended with."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            return self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _pipe(file: IO[bytes] | None) -> int:
    assert file is not None  # noqa: S101  # it was asked for
    os.set_blocking(file.fileno(), False)
    return file.fileno()
