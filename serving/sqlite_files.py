"""SQLite files of servers, opened in the ways that they are used; transactions are begun by hand.

Derived files (the search index, drafts) and files of others (sources of adapters) have settings of
their own and are opened where they belong.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

BUSY_S = 5.0
"""How long a statement waits for another process, where nothing else is said."""


def open_read_only(
    path: Path, *, busy_s: float = BUSY_S, check_same_thread: bool = True
) -> sqlite3.Connection:
    """Open a file that is there and change nothing of it.

    Raises:
        sqlite3.Error: when it is not there. That it is no database shows at the first statement.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=busy_s,
        check_same_thread=check_same_thread,
        isolation_level=None,
    )


def open_evidence(path: Path, *, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """Open or begin a file that must lose nothing that was committed, and is written seldom.

    At rest all of it is in the file, which can be copied; an empty journal may lie beside it. Any
    thread may use the connection, one at a time.

    Raises:
        sqlite3.Error: when it cannot be opened or is no database.
    """
    # As durable as deleting the rollback journal each time, at half the work.
    return _open(path, busy_s, "journal_mode = TRUNCATE", "synchronous = EXTRA")


def open_book(path: Path, *, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """Open or begin a file that is written with each message, and overwrites what it deletes.

    Any thread may use the connection, one at a time.

    Raises:
        sqlite3.Error: when it cannot be opened or is no database.
    """
    return _open(path, busy_s, "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON")


def _open(path: Path, busy_s: float, *pragmas: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_s, check_same_thread=False, isolation_level=None
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection
