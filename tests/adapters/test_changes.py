"""Changes of real sources: what is awkward in them, what fails, and how it goes on."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from adapters.changes.reading import Reader
from console.cli.main import main
from exchange.problems import Code, Problem
from tests.adapters.conftest import EACH_KIND
from tests.adapters.replica import (
    COMPARISON,
    EPOCH,
    LOG,
    MAPPING,
    WATERMARK,
    Table,
    Telling,
    mapping,
    put,
)

_numbers = itertools.count()
LOGGING = [
    pytest.param("postgresql", marks=pytest.mark.needs_postgresql),
    pytest.param("mariadb", marks=pytest.mark.needs_mariadb),
]
GUARDED = COMPARISON.replace("max_removed_share: 1", "max_removed_share: 0.2")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(f"sqlite:///{tmp_path}/changes.db")
    table.create()
    return table


@pytest.fixture(params=EACH_KIND)
def any_table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "sqlite":
        table = Table(f"sqlite:///{tmp_path}/changes.db")
    else:
        server = request.getfixturevalue(f"{request.param}_server")
        table = Table(server.new_database(f"told_{next(_numbers)}"))
    table.create()
    return table


@pytest.fixture
def logged(postgresql_server: Any, tmp_path: Path) -> tuple[Table, Telling]:
    table = Table(postgresql_server.new_database(f"logged_{next(_numbers)}"))
    table.create()
    telling = telling_of(table, tmp_path, LOG)
    table.script(telling.owner_sql())
    return table, telling


def telling_of(table: Table, folder: Path, method: str, **more: Any) -> Telling:
    told = mapping(method, more.pop("page_size", 2))
    return Telling(told, {"CHANGES_URL": table.url}, folder / "x.state", **more)


async def told(telling: Telling, **options: Any) -> list[tuple[str, str]]:
    """What one run tells: (what, of which key)."""
    return [(str(event.told), event.subject) for event in await telling.round(**options)]


# What rows may hold.


async def test_a_row_that_fits_no_record_is_told_and_passed_by(
    any_table: Table, tmp_path: Path
) -> None:
    """Once for each content, with place and rule, not the value; consumers keep what they had."""
    for number in range(5):
        any_table.put(number, "ກ", number, 1)
    telling = telling_of(any_table, tmp_path, COMPARISON)
    assert await told(telling) == [("created", str(number)) for number in range(5)]
    any_table.run("UPDATE tbl_book SET price = NULL, book_no = 9 WHERE book_no = 3")
    strict = MAPPING.replace("scale: 2}}", "scale: 2, 'null': refuse}}")
    telling.mapping = _mapping(strict, COMPARISON)
    assert await told(telling) == [("refused", "9"), ("removed", "3")]
    assert telling.replica.refused == {
        "9": {"where": "/price", "rule": "must not be null", "type": "NoneType"}
    }
    assert await told(telling) == []
    any_table.put(9, "ຂ", 7, 1)
    assert await told(telling) == [("created", "9")]
    any_table.run("UPDATE tbl_book SET price = NULL WHERE book_no = 9")
    assert await told(telling) == [("refused", "9")]
    assert telling.replica.records["9"]["price"] == 7
    any_table.run("DELETE FROM tbl_book WHERE book_no = 9")
    assert await told(telling) == [("removed", "9")]


def _mapping(text: str, method: str) -> Any:
    from adapters.mapping.file import parse_mapping

    return parse_mapping(text.format(method=method, page_size=2).encode(), "library.yaml")


@pytest.mark.needs_mariadb
async def test_a_walk_by_a_key_that_has_two_orders_is_refused_where_it_would_go_on(
    mariadb_server: Any, tmp_path: Path
) -> None:
    """An ENUM is ordered by numbers and compared by words: rows would be missed."""
    table = Table(mariadb_server.new_database(f"enum_{next(_numbers)}"))
    table.create()
    for number in range(3):
        table.put(number, "ກ", number, 1)
    table.run("ALTER TABLE tbl_book ADD shelf ENUM('z', 'a', 'm')")
    table.run("UPDATE tbl_book SET shelf = ELT(book_no + 1, 'z', 'a', 'm')")
    text = MAPPING.replace("key: [book_no]", "key: [shelf]")
    telling = Telling(_mapping(text, COMPARISON), {"CHANGES_URL": table.url}, tmp_path / "x.state")
    with pytest.raises(Problem) as caught:
        await told(telling)
    assert caught.value.code is Code.SOURCE_FAILED
    assert "cast it" in caught.value.detail
    cast = '"SELECT tbl_book.*, CAST(shelf AS CHAR) AS word FROM tbl_book"'
    text = text.replace("SELECT * FROM tbl_book", cast).replace("key: [shelf]", "key: [word]")
    telling.mapping = _mapping(text, COMPARISON)
    assert [one for _, one in await told(telling)] == ["a", "m", "z"]


@pytest.mark.parametrize("way", [COMPARISON, WATERMARK], ids=["comparison", "watermark"])
async def test_a_row_that_the_driver_cannot_read_does_not_stop_the_others(
    table: Table, tmp_path: Path, way: str
) -> None:
    """Text that is not UTF-8 fails its whole page; the rows beside it are told all the same."""
    telling = telling_of(table, tmp_path, way, page_size=10)
    assert await told(telling) == []
    for number in range(4):
        table.put(number, "ກ", number, 1)
    table.run("UPDATE tbl_book SET title_lo = CAST(x'ff' AS TEXT) WHERE book_no = 2")
    assert await told(telling) == [
        ("created", "0"),
        ("created", "1"),
        ("refused", "2"),
        ("created", "3"),
    ]
    assert await told(telling) == []


@pytest.mark.needs_postgresql
async def test_a_time_beyond_the_drivers_years_is_one_row_only(
    postgresql_server: Any, tmp_path: Path
) -> None:
    """PostgreSQL's infinity is no time of the driver: the row is told as refused."""
    table = Table(postgresql_server.new_database(f"years_{next(_numbers)}"))
    table.create()
    for number in range(4):
        table.put(number, None, number, 1)
    table.run("UPDATE tbl_book SET changed_at = 'infinity' WHERE book_no = 2")
    text = MAPPING.replace(
        "      price:", "      at: {{column: changed_at, type: datetime, zone: UTC}}\n      price:"
    )
    telling = Telling(_mapping(text, COMPARISON), {"CHANGES_URL": table.url}, tmp_path / "x.state")
    assert await told(telling) == [
        ("created", "0"),
        ("created", "1"),
        ("refused", "2"),
        ("created", "3"),
    ]


async def test_rows_without_a_key_and_keys_of_two_rows_are_told(
    table: Table, tmp_path: Path
) -> None:
    """They cannot be told apart, so that they are refused; the others go on."""
    table.run("DROP TABLE tbl_book")
    table.run("CREATE TABLE tbl_book (book_no INTEGER, title_lo TEXT, price INTEGER)")
    for number in (1, 2, 2, None, None):
        table.run("INSERT INTO tbl_book VALUES (:n, 'ກ', 1)", n=number)
    telling = telling_of(table, tmp_path, COMPARISON, page_size=10)
    assert await told(telling) == [("created", "1"), ("refused", "2"), ("refused", "%null")]
    assert "2 row(s) have no key" in telling.replica.refused["%null"]["rule"]
    assert await told(telling) == []
    table.run("DELETE FROM tbl_book WHERE book_no IS NULL")
    assert await told(telling) == []


# Marks.


async def test_marks_of_the_future_hide_nothing(any_table: Table, tmp_path: Path) -> None:
    """A wrong clock, or "never", leads the position no further than the present."""
    now = datetime(2024, 1, 1, 0, 1, tzinfo=UTC)
    telling = telling_of(any_table, tmp_path, WATERMARK, clock=lambda: now)
    any_table.put(1, None, 1, 10)
    any_table.put(2, None, 2, 5_000_000)
    assert await told(telling) == [("created", "1"), ("created", "2")]
    any_table.put(3, None, 3, 20)
    any_table.put(2, None, 4, 5_000_001)
    assert sorted(await told(telling)) == [("changed", "2"), ("created", "3")]
    any_table.put(4, None, 4, 21)
    assert await told(telling) == [("created", "4")]


async def test_what_commits_a_little_late_is_seen(any_table: Table, tmp_path: Path) -> None:
    """A mark older than the last one, by no more than the overlap; nothing is repeated."""
    telling = telling_of(any_table, tmp_path, WATERMARK)
    any_table.put(1, None, 1, 100)
    await told(telling)
    for number, mark in ((2, 95), (3, 100), (4, 101), (5, 98)):
        any_table.put(number, None, number, mark)
        assert await told(telling) == [("created", str(number))]


async def test_a_row_without_a_mark_is_looked_at_each_time(
    any_table: Table, tmp_path: Path
) -> None:
    """Null is no place in an order, so these rows are compared."""
    telling = telling_of(any_table, tmp_path, WATERMARK)
    any_table.put(1, None, 1, None)
    assert await told(telling) == [("created", "1")]
    any_table.put(1, None, 2, None)
    any_table.put(2, None, 2, None)
    assert await told(telling) == [("changed", "1"), ("created", "2")]


async def test_what_a_watermark_misses_a_comparison_finds(table: Table, tmp_path: Path) -> None:
    """Deletions, and what committed later than the overlap: ``compare_every_s``."""
    now = datetime(2024, 1, 2, tzinfo=UTC)
    way = f"{WATERMARK}\n    compare_every_s: 3600\n    max_removed_share: 1"
    telling = telling_of(table, tmp_path, way, clock=lambda: now)
    for number in range(3):
        table.put(number, None, number, 100)
    await told(telling)
    table.run("DELETE FROM tbl_book WHERE book_no = 0")
    table.put(1, None, 7, 10)
    assert await told(telling) == []
    now += timedelta(hours=1)
    assert await told(telling) == [("changed", "1"), ("removed", "0")]


async def test_another_mapping_tells_anew(table: Table, tmp_path: Path) -> None:
    """A field that was added is in every record: all have changed."""
    telling = telling_of(table, tmp_path, WATERMARK)
    table.put(1, "ກ", 1, 100)
    table.put(2, "ຂ", 1, 1)
    await told(telling)
    text = MAPPING.replace(
        "      price:", "      name: {{column: title_lo, type: string}}\n      price:"
    )
    telling.mapping = _mapping(text, WATERMARK)
    assert await told(telling) == [("changed", "1"), ("changed", "2")]
    assert await told(telling) == []


@pytest.mark.parametrize(
    ("way", "since", "first"),
    [
        (COMPARISON, "now", []),
        (WATERMARK, "now", []),
        (WATERMARK, str(EPOCH + timedelta(seconds=50)), [("changed", "2"), ("changed", "3")]),
    ],
)
async def test_what_was_there_before_a_position_is_known_and_not_told(
    any_table: Table, tmp_path: Path, way: str, since: str, first: list[tuple[str, str]]
) -> None:
    """``--since``: consumers have a copy; what follows is told as usual, also after a crash."""
    for number, mark in ((1, 10), (2, 50), (3, 90)):
        any_table.put(number, None, number, mark)
    telling = telling_of(any_table, tmp_path, way)
    telling.replica.records = {str(number): {} for number in (1, 2, 3)}
    assert await telling.round(since=since, crash_after=1) == []
    assert await told(telling) == first
    any_table.put(1, None, 9, 91)
    any_table.put(4, None, 4, 92)
    assert sorted(await told(telling)) == [("changed", "1"), ("created", "4")]
    with pytest.raises(Problem) as caught:
        await told(telling, since="now")
    assert caught.value.where == "--since"


@pytest.mark.parametrize("since", ["yesterday", "10"])
async def test_a_position_that_is_none_is_refused(table: Table, tmp_path: Path, since: str) -> None:
    """A word, or a number where marks are times."""
    table.put(1, None, 1, 1)
    with pytest.raises(Problem) as caught:
        await told(telling_of(table, tmp_path, WATERMARK), since=since)
    assert (caught.value.code, caught.value.where) == (Code.INVALID_USAGE, "--since")


# A source that is not whole.


@pytest.mark.parametrize(("whole", "left"), [(40, 0), (40, 1), (40, 29), (3, 0)])
async def test_a_source_that_is_not_whole_removes_nothing(
    table: Table, tmp_path: Path, whole: int, left: int
) -> None:
    """Emptied, or half written: a problem and no removal; whole again, nothing has happened."""
    for number in range(whole):
        table.put(number, None, number, 1)
    rows = table.rows()
    telling = telling_of(table, tmp_path, GUARDED, page_size=10)
    await told(telling)
    table.run("DELETE FROM tbl_book WHERE book_no >= :left", left=left)
    with pytest.raises(Problem) as caught:
        await told(telling)
    assert caught.value.code is Code.TOO_MANY_REMOVED
    assert caught.value.facts == {"known": whole, "missing": whole - left}
    assert telling.replica.records == rows
    for number in range(left, whole):
        table.put(number, None, number, 1)
    assert await told(telling) == []


async def test_removals_are_told_when_they_are_few_or_accepted(
    table: Table, tmp_path: Path
) -> None:
    """A part of the records may go at once; more, and the last one, only by word."""
    for number in range(40):
        table.put(number, None, number, 1)
    telling = telling_of(table, tmp_path, GUARDED, page_size=10)
    await told(telling)
    table.run("DELETE FROM tbl_book WHERE book_no >= 30")
    assert len(await told(telling)) == 10
    table.run("DELETE FROM tbl_book")
    with pytest.raises(Problem):
        await told(telling)
    assert len(await told(telling, accept_removals=True)) == 30
    assert telling.replica.records == {}


async def test_a_source_that_fails_in_the_middle_repeats_nothing(
    table: Table, tmp_path: Path
) -> None:
    """What was noted before it failed is not told again; nobody is told as removed."""
    for number in range(6):
        table.put(number, None, number, 1)
    telling = telling_of(table, tmp_path, COMPARISON)
    assert telling.mapping.changes["books"].page_size == 2
    path = Path(table.url.removeprefix("sqlite:///"))
    apply = telling.replica.apply

    def moving(event: Any) -> None:
        apply(event)
        if event.subject == "3":
            path.rename(path.with_suffix(".away"))

    telling.replica.apply = moving  # type: ignore[method-assign]
    with pytest.raises(Problem) as caught:
        await told(telling)
    assert caught.value.code is Code.SOURCE_FAILED
    path.with_suffix(".away").rename(path)
    assert await told(telling) == [("created", "4"), ("created", "5")]


# The log.


@pytest.mark.parametrize("kind", LOGGING)
async def test_a_log_needs_its_owner(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Without its table the next step is told; installing it twice changes nothing."""
    server = request.getfixturevalue(f"{kind}_server")
    table = Table(server.new_database(f"owner_{next(_numbers)}"))
    table.create()
    path = write_mapping(tmp_path, table.url, LOG)
    assert "--owner-sql" in str(await asyncio.to_thread(findings, path))
    telling = telling_of(table, tmp_path, LOG)
    with pytest.raises(Problem) as caught:
        await told(telling)
    assert "--owner-sql" in caught.value.detail
    table.script(telling.owner_sql())
    table.put(1, None, 1, None)
    table.script(telling.owner_sql())
    assert await told(telling) == [("created", "1")]
    table.put(1, None, 2, None)
    assert await told(telling) == [("changed", "1")]
    assert await asyncio.to_thread(findings, path) == []


@pytest.mark.needs_mariadb
async def test_accounts_of_mariadb_need_no_rights_for_the_log(
    mariadb_server: Any, tmp_path: Path
) -> None:
    """Who writes the table has none, who reads may only SELECT; keys are of any text."""
    table = Table(mariadb_server.new_database(f"rights_{next(_numbers)}"))
    table.run("CREATE TABLE tbl_book (book_no VARCHAR(300), title_lo TEXT, price INTEGER)")
    reader, writer = (f"{what}_{next(_numbers)}" for what in ("reader", "writer"))
    telling = telling_of(table, tmp_path, LOG)
    text = MAPPING.replace("type: integer", "type: string")
    telling.mapping = _mapping(text, LOG)
    telling.environ = {"CHANGES_URL": table.url.replace("//root@", f"//{reader}@")}
    table.script(telling.owner_sql())
    table.run(f"CREATE USER {reader}@'%', {writer}@'%'")
    table.run(f"GRANT SELECT ON tbl_book TO {reader}@'%'")
    table.run(f"GRANT SELECT ON saphan_changes TO {reader}@'%'")
    table.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON tbl_book TO {writer}@'%'")
    await told(telling)
    own = Table(table.url.replace("//root@", f"//{writer}@"))
    for key in ("ກ" * 300, "a'b\"c\\", "A", "a"):
        own.run("INSERT INTO tbl_book VALUES (:n, NULL, 1)", n=key)
        assert ("created", key) in await told(telling)
    own.run("DELETE FROM tbl_book WHERE book_no LIKE 'ກ%'")
    assert await told(telling) == [("removed", "ກ" * 300)]
    own.engine.dispose()


@pytest.mark.needs_postgresql
async def test_an_account_that_may_only_select_reads_the_log(
    postgresql_server: Any, tmp_path: Path
) -> None:
    """The triggers write with their owner's rights, for whoever changes the table."""
    table = Table(postgresql_server.new_database(f"rights_{next(_numbers)}"))
    table.create()
    role = f"reader_{next(_numbers)}_{os.getpid()}"
    table.run(f"CREATE ROLE {role} LOGIN")
    table.run(f"GRANT SELECT ON tbl_book TO {role}")
    telling = telling_of(table, tmp_path, LOG)
    telling.environ = {"CHANGES_URL": table.url.replace("//saphan@", f"//{role}@")}
    table.script(telling.owner_sql())
    await told(telling)
    table.put(1, None, 1, None)
    assert await told(telling) == [("created", "1")]


@pytest.mark.needs_postgresql
@pytest.mark.parametrize("why", ["thinned out", "set up anew", "rolled back"])
async def test_entries_that_are_gone_are_made_up_for(
    logged: tuple[Table, Telling], why: str
) -> None:
    """Away for longer than entries are kept, or another server: everything is compared."""
    table, telling = logged
    now = datetime.now(UTC)
    telling.clock = lambda: now
    for number in (1, 2):
        table.put(number, None, number, None)
    await told(telling)
    if why == "rolled back":
        with table.engine.connect() as connection:
            connection.exec_driver_sql("UPDATE tbl_book SET price = 9")
            connection.rollback()
        assert await told(telling) == []
        return
    table.put(2, None, 7, None)
    table.run("TRUNCATE saphan_changes")
    assert await told(telling) == []
    if why == "thinned out":
        now += timedelta(days=28)
    else:
        with sqlite3.connect(telling.state) as sql:
            sql.execute("UPDATE meta SET value = '[9999999999, 0]' WHERE name = 'position'")
        sql.close()
    assert await told(telling) == [("changed", "2")]
    table.put(1, None, 8, None)
    assert await told(telling) == [("changed", "1")]


@pytest.mark.needs_postgresql
async def test_a_transaction_that_commits_last_is_told_last(logged: tuple[Table, Telling]) -> None:
    """It took its numbers first: those of others wait for it, and none is passed over."""
    table, telling = logged
    await told(telling)
    with table.engine.connect() as late:
        put(late, 1, None, 1, None)
        table.put(2, None, 2, None)
        assert await told(telling) == []
        late.commit()
    assert await told(telling) == [("created", "1"), ("created", "2")]


@pytest.mark.needs_postgresql
async def test_a_walk_that_overlaps_a_transaction_misses_nothing(
    logged: tuple[Table, Telling],
) -> None:
    """The position is taken before the walk: what commits after it is read from the log."""
    table, telling = logged
    with table.engine.connect() as late:
        put(late, 1, None, 1, None)
        table.put(2, None, 2, None)
        assert await told(telling) == [("created", "2")]
        late.commit()
    assert await told(telling) == [("created", "1")]


# The command.


def write_mapping(folder: Path, url: str, method: str, page_size: int = 2) -> Path:
    text = MAPPING.format(method=method, page_size=page_size)
    path = folder / "library.yaml"
    path.write_text(text.replace("${CHANGES_URL}", url), encoding="utf-8")
    return path


def saphan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["adapter", *map(str, arguments)])


@contextmanager
def started(*arguments: str | Path, **files: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "console.cli.main", "adapter", "changes", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **files)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_event(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    assert process.stdout is not None
    event = orjson.loads(process.stdout.readline())
    return event["type"].removeprefix("saphan.record."), event["subject"]


def test_the_command_tells_and_keeps_its_state(table: Table, tmp_path: Path) -> None:
    """JSON lines, the state beside the mapping, a next step; the second run tells nothing."""
    path = write_mapping(tmp_path, table.url, COMPARISON)
    table.put(1, "ກ", 1, 1)
    first = saphan("changes", path, "books")
    assert first.exit_code == 0, first.output
    event = orjson.loads(first.stdout)
    assert (event["type"], event["subject"]) == ("saphan.record.created", "1")
    assert event["data"] == {"number": 1, "title": {"lo": "ກ"}, "price": 1.0}
    assert "Next:" in first.stderr
    assert (tmp_path / "library.yaml.books.state").exists()
    assert saphan("changes", path).stdout == ""
    assert saphan("changes", path, "none").exit_code == 1


@pytest.mark.parametrize("after", [0, 1, 7, 23, 40])
def test_a_command_that_is_killed_loses_nothing(table: Table, tmp_path: Path, after: int) -> None:
    """Killed after any number of lines: the lines of both runs are all events, by their ids."""
    path = write_mapping(tmp_path, table.url, COMPARISON, page_size=5)
    for number in range(40):
        table.put(number, "x", 1, None)
    lines: list[bytes] = []
    with started(path) as process:
        assert process.stdout is not None
        lines += [process.stdout.readline() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        lines += [line for line in process.stdout.read().splitlines(True) if line.endswith(b"\n")]
    lines += saphan("changes", path).stdout_bytes.splitlines(True)
    events = {(event := orjson.loads(line))["id"]: event["subject"] for line in lines}
    assert sorted(map(int, events.values())) == list(range(40))


def test_a_line_that_was_torn_swallows_no_event(table: Table, tmp_path: Path) -> None:
    """What a full disk left of a line stays a line of its own: the next event is read whole."""
    path = write_mapping(tmp_path, table.url, COMPARISON)
    table.put(1, "ກ", 1, 1)
    events = tmp_path / "events.jsonl"
    events.write_bytes(b'{"specversion":"1')
    command = [sys.executable, "-m", "console.cli.main", "adapter", "changes", str(path)]
    for _ in range(2):  # nothing more is written where lines end
        with events.open("ab") as out:
            subprocess.run(command, stdout=out, stderr=subprocess.DEVNULL, check=True)
    torn, event = events.read_bytes().splitlines()
    assert torn == b'{"specversion":"1'
    assert orjson.loads(event)["subject"] == "1"


def test_a_reader_that_goes_away_is_told_again(table: Table, tmp_path: Path) -> None:
    """A closed pipe ends the command; what did not get through is not noted."""
    path = write_mapping(tmp_path, table.url, COMPARISON, page_size=5)
    for number in range(20):
        table.put(number, "x" * 10_000, number, 1)  # together more than a pipe holds
    with started(path) as process:
        assert next_event(process) == ("created", "0")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr.read() == b""
        process.stdout = None
    left = [orjson.loads(line)["subject"] for line in saphan("changes", path).stdout.splitlines()]
    assert left[-1] == "19"
    assert left == [str(number) for number in range(int(left[0]), 20)]


@pytest.mark.needs_postgresql
def test_a_follower_is_woken_and_survives_its_server(
    logged: tuple[Table, Telling], postgresql_server: Any, tmp_path: Path
) -> None:
    """It is told at once, though it would look but once an hour; while the server is away it
    waits, and nothing that happened before it listens again is lost."""
    table, _ = logged
    path = write_mapping(tmp_path, table.url, f"{LOG}\n    poll_s: 3600")
    table.put(1, None, 1, None)
    with started(path, "--follow") as process:
        assert next_event(process) == ("created", "1")
        table.put(2, None, 2, None)
        assert next_event(process) == ("created", "2")
        table.run("DELETE FROM tbl_book WHERE book_no = 1")
        assert next_event(process) == ("removed", "1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    path = write_mapping(tmp_path, table.url, f"{LOG}\n    poll_s: 0.2")
    with started(path, "--follow") as process:
        table.put(3, None, 3, None)
        assert next_event(process) == ("created", "3")
        postgresql_server.stop()
        assert process.stderr is not None
        try:
            assert b"SourceFailed" in process.stderr.readline()
        finally:
            postgresql_server.start()
        table.put(4, None, 4, None)
        assert next_event(process) == ("created", "4")


@pytest.mark.needs_postgresql
def test_a_notification_of_the_owners_own_wakes_any_method(
    postgresql_server: Any, tmp_path: Path
) -> None:
    """``listen``: a watermark is looked at when the owner's program says so."""
    table = Table(postgresql_server.new_database(f"woken_{next(_numbers)}"))
    table.create()
    way = f"{WATERMARK}\n    listen: books_changed\n    poll_s: 3600"
    path = write_mapping(tmp_path, table.url, way)
    table.put(1, None, 1, 1)
    with started(path, "--follow") as process:
        assert next_event(process) == ("created", "1")
        for number in (2, 3):
            table.put(number, None, number, number)
            table.run("NOTIFY books_changed")
            assert next_event(process) == ("created", str(number))


def test_a_follower_outlives_a_source_that_is_not_whole(table: Table, tmp_path: Path) -> None:
    """It says so on standard error, and goes on when the source is whole again."""
    path = write_mapping(tmp_path, table.url, f"{GUARDED}\n    poll_s: 0.1", page_size=50)
    for number in range(20):
        table.put(number, None, number, 1)
    with started(path, "--follow") as process:
        for _ in range(20):
            next_event(process)
        with table.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE kept AS SELECT * FROM tbl_book")
            connection.exec_driver_sql("DELETE FROM tbl_book")
        assert process.stderr is not None
        assert b"TooManyRemoved" in process.stderr.readline()
        with table.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO tbl_book SELECT * FROM kept")
            connection.exec_driver_sql("UPDATE tbl_book SET price = 99 WHERE book_no = 7")
        assert next_event(process) == ("changed", "7")


# The check.


def findings(path: Path, *options: str) -> list[dict[str, Any]]:
    result = saphan("check", path, "--json", *options)
    found: list[dict[str, Any]] = orjson.loads(result.stdout)["findings"]
    return [one for one in found if "/changes" in one["where"]]


def test_a_check_looks_at_keys_and_marks(table: Table, tmp_path: Path) -> None:
    """A key that does not tell rows apart, or is null, is wrong; rows without a mark are slow."""
    table.run("DROP TABLE tbl_book")
    table.run("CREATE TABLE tbl_book (book_no INTEGER, title_lo TEXT, price REAL, changed_at TEXT)")
    table.run(
        "INSERT INTO tbl_book VALUES (1, 'a', 1, NULL), (1, 'b', 1, NULL), (NULL, 'c', 1, NULL)"
    )
    path = write_mapping(tmp_path, table.url, WATERMARK)
    assert findings(path) == []
    text = path.read_text(encoding="utf-8").replace(", order: [book_no]", "")
    path.write_text(text, encoding="utf-8")
    rules = {one["rule"]: one.get("warning", False) for one in findings(path, "--rows")}
    assert rules == {
        "1 key(s) (book_no) do not tell one row from another": False,
        "1 row(s) have no key (book_no is null): their changes cannot be told": False,
        "3 row(s) have no mark: they are read each time": True,
    }


def test_a_check_misses_the_index_of_a_mark(table: Table, tmp_path: Path) -> None:
    """On a large table; with the index it is silent."""
    for number in range(20):
        table.put(number, None, number, number)
    path = write_mapping(tmp_path, table.url, WATERMARK)
    text = path.read_text(encoding="utf-8").replace("kind: sql", "kind: sql, large_table_rows: 10")
    path.write_text(text, encoding="utf-8")
    assert {one["rule"].split(" reads")[0] for one in findings(path)} == {"the look by mark"}
    table.run("CREATE INDEX by_mark ON tbl_book (changed_at, book_no)")
    assert findings(path) == []


@pytest.mark.needs_postgresql
def test_a_check_looks_for_the_owners_triggers(
    logged: tuple[Table, Telling], tmp_path: Path
) -> None:
    """A trigger that was dropped or switched off is told by its name."""
    table, _ = logged
    path = write_mapping(tmp_path, table.url, LOG)
    assert findings(path) == []
    table.run("ALTER TABLE tbl_book DISABLE TRIGGER saphan_books")
    table.run("DROP TRIGGER saphan_books_emptied ON tbl_book")
    assert ["saphan_books:" in one["rule"] for one in findings(path)] == [True, False]


def test_sqlite_has_no_log(table: Table, tmp_path: Path) -> None:
    """Another database is refused with what it can do instead."""
    path = write_mapping(tmp_path, table.url, LOG)
    assert "use comparison or watermark" in findings(path)[0]["rule"]
    assert "use comparison or watermark" in saphan("changes", path).output


# Records of several tables.


PRICE = "price: {{type: decimal, scale: 2}}\n"
NESTED = MAPPING.replace(
    PRICE,
    PRICE
    + """      half:
        {{type: decimal, scale: 2, rounding: half_up, compute: {{divide: [price, number]}}}}
    nested:
      loans: {{query: loans, join: {{book_no: book_no}}, order: [day], most: 2}}
  loan: {{title: {{en: Loan, lo: ຢືມ}}, fields: {{day: integer}}}}
""",
).replace("queries:\n", "queries:\n  loans: {{record: loan, sql: SELECT * FROM tbl_loan}}\n")


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(COMPARISON, id="comparison"),
        pytest.param(LOG, id="log", marks=pytest.mark.needs_postgresql),
    ],
)
async def test_what_belongs_to_a_record_is_told_with_it(
    request: pytest.FixtureRequest, tmp_path: Path, way: str
) -> None:
    """A nested row that comes or goes changes its record; too many of them spoil it alone."""
    if way == LOG:
        request.getfixturevalue("postgresql_server")
        table = Table(
            request.getfixturevalue("postgresql_server").new_database(f"n_{next(_numbers)}")
        )
    else:
        table = Table(f"sqlite:///{tmp_path}/changes.db")
    table.create()
    table.run("CREATE TABLE tbl_loan (book_no INTEGER, day INTEGER)")
    way = way.replace("{tbl_book: [book_no]}", "{tbl_book: [book_no], tbl_loan: [book_no]}")
    telling = Telling(_mapping(NESTED, way), {"CHANGES_URL": table.url}, tmp_path / "x.state")
    if "log:" in way:
        table.script(telling.owner_sql())
    for number in (1, 2):
        table.put(number, None, 3, None)
    assert await told(telling) == [("created", "1"), ("created", "2")]
    table.run("INSERT INTO tbl_loan VALUES (2, 7)")
    assert await told(telling) == [("changed", "2")]
    assert telling.replica.records["2"] == {
        "number": 2,
        "price": 3.0,
        "half": 1.5,
        "loans": [{"day": 7}],
    }
    table.run("INSERT INTO tbl_loan VALUES (2, 8), (2, 9), (1, 5)")
    assert sorted(await told(telling)) == [("changed", "1"), ("refused", "2")]
    assert telling.replica.refused["2"]["rule"] == "a record has more than 2 loans"
    table.run("DELETE FROM tbl_loan WHERE day = 9")
    assert await told(telling) == [("changed", "2")]


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(COMPARISON, id="comparison"),
        pytest.param(WATERMARK, id="watermark"),
        pytest.param(LOG, id="log", marks=pytest.mark.needs_postgresql),
    ],
)
async def test_a_key_of_several_columns(
    request: pytest.FixtureRequest, tmp_path: Path, way: str
) -> None:
    """Texts and numbers together, page by page and by the log; a slash inside is no border."""
    table = Table(f"sqlite:///{tmp_path}/changes.db")
    if way == LOG:
        server = request.getfixturevalue("postgresql_server")
        table = Table(server.new_database(f"pairs_{next(_numbers)}"))
    table.create()
    text = MAPPING.replace("key: [book_no]", "key: [title_lo, book_no]")
    way = way.replace("{tbl_book: [book_no]}", "{tbl_book: [title_lo, book_no]}")
    telling = Telling(_mapping(text, way), {"CHANGES_URL": table.url}, tmp_path / "x.state")
    if "log:" in way:
        table.script(telling.owner_sql())
    titles = ("ກ", "ກ/ຂ", "ກ", "50%", "ກ")
    for number, title in enumerate(titles):
        table.put(number, title, 1, 100)
    assert sorted(await told(telling)) == [
        ("created", "50%25/3"),
        ("created", "ກ%2Fຂ/1"),
        ("created", "ກ/0"),
        ("created", "ກ/2"),
        ("created", "ກ/4"),
    ]
    for number, title in enumerate(titles):
        table.put(number, title, 2, 101)
    assert len(await told(telling)) == 5
    table.run("DELETE FROM tbl_book WHERE book_no IN (1, 2)")
    gone = [] if "watermark" in way else [("removed", "ກ%2Fຂ/1"), ("removed", "ກ/2")]
    assert sorted(await told(telling)) == gone


_KEYS = (
    ("timestamp", "2024-01-01 00:00:00.5"),
    ("timestamptz", "2024-01-01 00:00:00.25+07"),
    ("time", "10:00:00.5"),
    ("date", "2024-01-01"),
    ("numeric(10, 2)", "1.50"),
    ("double precision", "5"),
    ("double precision", "1e-7"),
    ("double precision", "1e20"),
    ("uuid", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
    ("char(5)", "ab"),
    ("boolean", "true"),
)


@pytest.mark.needs_postgresql
@pytest.mark.parametrize("keys", [_KEYS[:6], _KEYS[6:]])
async def test_a_log_names_keys_as_a_walk_does(
    postgresql_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keys: tuple[tuple[str, str], ...],
) -> None:
    """Of whatever type, by whoever writes; a row that is deleted makes nobody walk the table."""
    table = Table(postgresql_server.new_database(f"keys_{next(_numbers)}"))
    table.create()
    names = [f"k{number}" for number in range(len(keys))]
    for name, (kind, value) in zip(names, keys, strict=True):
        table.run(f"ALTER TABLE tbl_book ADD COLUMN {name} {kind} NOT NULL DEFAULT '{value}'")
    key = ", ".join(["book_no", *names])
    text = MAPPING.replace("key: [book_no]", f"key: [{key}]")
    way = LOG.replace("{tbl_book: [book_no]}", f"{{tbl_book: [{key}]}}")
    telling = Telling(_mapping(text, way), {"CHANGES_URL": table.url}, tmp_path / "x.state")
    table.script(telling.owner_sql())
    table.put(1, "ກ", 1, 100)
    ((_, subject),) = await told(telling)

    def walk(reader: Reader, *_: Any) -> Any:
        raise AssertionError("the table is walked")

    monkeypatch.setattr(Reader, "by_key", walk)
    table.run("SET LOCAL timezone = 'Asia/Vientiane'; UPDATE tbl_book SET price = 2")
    assert await told(telling) == [("changed", subject)]
    table.run("SET LOCAL timezone = 'Asia/Vientiane'; DELETE FROM tbl_book")
    assert await told(telling) == [("removed", subject)]
    await telling.close()
