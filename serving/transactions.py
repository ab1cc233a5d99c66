"""One transaction of an SQLite file: all of it or nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Write alone, from here to the end of the block; what fails in it leaves nothing behind.

    The connection is one without transactions of its own (``isolation_level=None``).

    Raises:
        sqlite3.Error: it cannot begin, or cannot be committed; nothing was changed, or (the disk
            failed at the very end) perhaps all was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself (a full disk): the first failure is what counts.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
