"""Rules of serving.sqlite_files: what each way of opening promises."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from serving.sqlite_files import open_book, open_evidence, open_read_only

Opening = Callable[[Path], sqlite3.Connection]


def _setting(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize(
    ("opening", "settings"),
    [
        (open_evidence, {"journal_mode": "truncate", "synchronous": 3}),
        (open_book, {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}),
    ],
)
def test_a_file_is_begun_with_its_durability(
    tmp_path: Path, opening: Opening, settings: dict[str, object]
) -> None:
    """Each commit is on the disk when it returns, as SQLite's documentation of the pragmas says."""
    connection = opening(tmp_path / "file.sqlite")
    assert {name: _setting(connection, name) for name in settings} == settings
    connection.close()


@pytest.mark.parametrize("opening", [open_evidence, open_book])
def test_another_thread_may_use_the_connection(tmp_path: Path, opening: Opening) -> None:
    """Writers have a thread of their own; whoever opened a file closes it."""
    connection = opening(tmp_path / "file.sqlite")
    thread = Thread(target=lambda: connection.execute("CREATE TABLE made (one)"))
    thread.start()
    thread.join()
    assert connection.execute("SELECT count(*) FROM made").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("opening", [open_evidence, open_book])
def test_what_is_no_database_is_told_at_once(tmp_path: Path, opening: Opening) -> None:
    """And stays as it is."""
    path = tmp_path / "file.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        opening(path)
    assert path.read_bytes() == b"no database at all" * 100


def test_reading_makes_and_changes_nothing(tmp_path: Path) -> None:
    """Of a name with signs that mean something in an address, too."""
    path = tmp_path / "what? #1 100%.sqlite"
    with pytest.raises(sqlite3.OperationalError):
        open_read_only(path)
    writing = open_evidence(path)
    writing.execute("CREATE TABLE made (one)")
    writing.close()
    reading = open_read_only(path)
    assert reading.execute("SELECT * FROM made").fetchall() == []
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reading.execute("INSERT INTO made VALUES (1)")
    reading.close()
    assert {one.name for one in tmp_path.iterdir() if one.stat().st_size} == {path.name}
