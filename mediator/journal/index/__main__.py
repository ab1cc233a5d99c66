"""Keeping the index of a busy server in a process of its own: ``-m mediator.journal.index``.

It reads from standard input where the log and the index are, then, line by line, how far the log
is published; it answers how many entries the index has, and ends with its input
(:mod:`mediator.journal.index.keeper`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import Final

import orjson

from mediator.journal.index.writer import IndexWriter
from serving import logs
from serving.log.tiles import TileFolder

NICENESS: Final = 10
IDLE_S: Final = 60.0
BATCH: Final = 16_384
"""Entries in a transaction: each writes most pages of the newest part anew."""


def main() -> None:
    """Follow a log until nobody asks any more."""
    os.nice(NICENESS)  # messages go first
    for number in (signal.SIGINT, signal.SIGTERM):  # these are the server's, which ends us
        signal.signal(number, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever prints: only answers are read there
    logs.configure()
    order, _, rest = _read().partition(b"\n")
    places = orjson.loads(order)
    writer = IndexWriter(Path(places["index"]))
    folder = TileFolder(Path(places["folder"]))

    def told(what: str, done: int, total: int) -> None:
        os.write(answers, b"%d\n" % done)

    with contextlib.closing(writer), contextlib.suppress(BrokenPipeError):  # the server is gone
        while rest := rest or _read():
            size = int(rest.split()[-1])
            writer.catch_up(folder, size, told, BATCH)
            told("", writer.size, size)
            rest = b""


def _read() -> bytes:
    """Whole lines; nothing when there are no more, or none for a while."""
    data = b""
    while not data.endswith(b"\n"):
        if not select.select([0], [], [], IDLE_S)[0] or not (some := os.read(0, 4096)):
            return b""
        data += some
    return data


if __name__ == "__main__":
    main()
