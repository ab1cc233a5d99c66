"""What is told of a record, what a mark is, and what the state keeps: without a source."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.changes import marks
from adapters.changes.events import Bad, Good, Known, Standing, Told, judge, subject
from adapters.changes.state import State
from adapters.mapping.file import parse_mapping
from exchange.problems import Code, Problem
from tests.adapters.replica import COMPARISON, LOG, MAPPING

NEW, OLD = Good(b'{"a":1}'), Good(b'{"a":0}')
MISFIT, OTHER = Bad("/a", "must be a date", "str", "x"), Bad("/a", "must be a date", "str", "y")
GONE = Known(Standing.GONE, b"", "e")


def told(found: Good | Bad) -> Known:
    return Known(Standing.TOLD, found.digest, "e")


def refused(found: Bad) -> Known:
    return Known(Standing.REFUSED, found.digest, "e")


@pytest.mark.parametrize(
    ("known", "found", "event", "standing"),
    [
        (None, NEW, Told.CREATED, Standing.TOLD),
        (None, MISFIT, Told.REFUSED, Standing.REFUSED),
        (None, None, None, Standing.GONE),
        (told(NEW), NEW, None, Standing.TOLD),
        (told(OLD), NEW, Told.CHANGED, Standing.TOLD),
        (told(OLD), MISFIT, Told.REFUSED, Standing.TOLD),
        (told(MISFIT), MISFIT, None, Standing.TOLD),
        (told(MISFIT), OTHER, Told.REFUSED, Standing.TOLD),
        (told(MISFIT), OLD, Told.CHANGED, Standing.TOLD),
        (told(MISFIT), None, Told.REMOVED, Standing.GONE),
        (told(OLD), None, Told.REMOVED, Standing.GONE),
        (refused(MISFIT), MISFIT, None, Standing.REFUSED),
        (refused(MISFIT), OTHER, Told.REFUSED, Standing.REFUSED),
        (refused(MISFIT), NEW, Told.CREATED, Standing.TOLD),
        (refused(MISFIT), None, None, Standing.GONE),
        (GONE, NEW, Told.CREATED, Standing.TOLD),
        (GONE, MISFIT, Told.REFUSED, Standing.REFUSED),
        (GONE, None, None, Standing.GONE),
    ],
)
def test_what_is_known_and_found_decides_what_is_told(
    known: Known | None, found: Good | Bad | None, event: Told | None, standing: Standing
) -> None:
    """The table of adapters.changes.events, case by case; the same twice is told once."""
    said, after = judge("s", "k", known, found)
    assert (said and said.told, after.standing) == (event, standing)
    assert judge("s", "k", after, found)[0] is None


def test_an_id_stands_for_one_event() -> None:
    """Repeated before it is noted it is the same; a record that comes back has another."""
    first, known = judge("s", "k", None, NEW)
    again, _ = judge("s", "k", None, NEW)
    gone, after = judge("s", "k", known, None)
    back, _ = judge("s", "k", after, NEW)
    elsewhere, _ = judge("t", "k", None, NEW)
    beside, _ = judge("s", "l", None, NEW)
    events = [first, gone, back, elsewhere, beside]
    assert first == again
    assert len({event.id for event in events if event}) == len(events)


def test_an_event_is_a_cloud_event() -> None:
    """The required attributes of CloudEvents 1.0 (section 3.1), a time with its zone."""
    event, _ = judge("s", "k", None, NEW)
    assert event is not None
    line = event.line("/LA/x", datetime(2026, 1, 2, tzinfo=UTC), "https://x/y")
    assert b"\n" not in line
    assert orjson.loads(line) == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/LA/x",
        "type": "saphan.record.created",
        "subject": "k",
        "time": "2026-01-02T00:00:00.000+00:00",
        "datacontenttype": "application/json",
        "dataschema": "https://x/y",
        "data": {"a": 1},
    }
    gone, _ = judge("s", "k", told(NEW), None)
    assert gone is not None
    assert "data" not in orjson.loads(gone.line("/LA/x", datetime.now(UTC)))


@given(st.lists(st.text(max_size=5), min_size=2, max_size=2))
def test_two_keys_have_two_subjects(key: list[str]) -> None:
    """The parts of a key can be told apart, whatever they hold; none looks like a null key."""
    from urllib.parse import unquote

    text = subject(key)
    assert [unquote(part) for part in text.split("/")] == key
    assert not text.startswith("%null")


ZONE = timezone(timedelta(hours=7))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mark", "earlier", "present"),
    [
        (100, 40, None),
        (Decimal("100.5"), Decimal("40.5"), None),
        (100.5, 40.5, None),
        (datetime(2026, 1, 1), datetime(2025, 12, 31, 23, 59), datetime(2026, 3, 1, 19)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, 23, 59, tzinfo=UTC), NOW),
        (date(2026, 1, 1), date(2025, 12, 31), date(2026, 3, 1)),
        ("2026-01-01 00:00:00", "2025-12-31 23:59:00", "2026-03-01 19:00:00"),
        ("2026-01-01T00:00:00", "2025-12-31T23:59:00", "2026-03-01T19:00:00"),
        ("2026-01-01", "2025-12-31", "2026-03-01"),
    ],
)
def test_a_mark_of_any_type_goes_back_and_ends_at_the_present(
    mark: Any, earlier: Any, present: Any
) -> None:
    """Each in its own type and form, so that the source can compare it; the state keeps it."""
    assert marks.is_mark(mark)
    assert marks.earlier(mark, 60) == earlier
    assert type(marks.earlier(mark, 60)) is type(earlier)
    assert marks.present(mark, NOW, ZONE) == present
    assert marks.parse_mark(marks.format_mark(mark)) == mark


@pytest.mark.parametrize("mark", [None, "n/a", "", float("inf"), True, b"x"])
def test_what_is_no_mark_is_no_position(mark: Any) -> None:
    """A word, nothing or a truth value leads no position."""
    assert not marks.is_mark(mark)


def test_before_the_first_day_is_the_first_day() -> None:
    """A mark of the year 1 has nothing before it."""
    assert marks.earlier(datetime.min, 60) == datetime.min


# The state.


def test_a_state_is_of_one_process(tmp_path: Path) -> None:
    """A second one is refused until the first has ended, and only its owner may read the file."""
    path = tmp_path / "x.state"
    with State(path, "/LA/x") as state:
        assert os.stat(path).st_mode & 0o777 == 0o600
        with pytest.raises(Problem) as caught:
            State(path, "/LA/x")
        assert caught.value.code is Code.CHANGE_STATE_UNUSABLE
        assert "another process" in caught.value.detail
        first = state.id
    with State(path, "/LA/x") as state:
        assert state.id == first


def test_a_state_is_of_one_source(tmp_path: Path) -> None:
    """What was told of one source says nothing of another."""
    State(tmp_path / "x.state", "/LA/x").close()
    with pytest.raises(Problem) as caught:
        State(tmp_path / "x.state", "/LA/y")
    assert "/LA/x" in caught.value.detail


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\x00" + b"\xff" * 4080])
def test_a_damaged_state_is_told(tmp_path: Path, content: bytes) -> None:
    """A file that is none is a problem with its place."""
    path = tmp_path / "x.state"
    path.write_bytes(content)
    with pytest.raises(Problem) as caught:
        State(path, "/LA/x")
    assert (caught.value.code, caught.value.where) == (Code.CHANGE_STATE_UNUSABLE, str(path))


def test_what_was_told_and_the_position_change_together(tmp_path: Path) -> None:
    """When the one cannot be written, the other is not."""
    with State(tmp_path / "x.state", "/LA/x") as state:
        state.store({"k": told(OLD)}, {"position": "1"})
        bad: Any = {"k": told(NEW), "l": Known(Standing.TOLD, object(), "e")}  # type: ignore[arg-type]
        with pytest.raises(Problem):
            state.store(bad, {"position": "2"})
        assert state.known(["k", "l"]) == {"k": told(OLD)}
        assert state.read("position") == "1"


def test_the_state_holds_no_value_of_a_record(tmp_path: Path) -> None:
    """Keys and digests: who reads the file learns no more."""
    path = tmp_path / "x.state"
    with State(path, "/LA/x") as state:
        _, known = judge(state.id, "k", None, Good(b'{"name":"Somphone"}'))
        state.store({"k": known}, {})
    with sqlite3.connect(path) as sql:
        assert [row[0] for row in sql.execute("SELECT key FROM known")] == ["k"]
    assert b"Somphone" not in path.read_bytes()


# The section of the mapping.


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("method: comparison", "method: magic", "is not one of"),
        ("method: comparison", "method: watermark", "belong together"),
        ("method: comparison", "method: comparison\n    log: {}", "belong together"),
        ("    query: books\n", "    query: none\n", "there is no query"),
        ("key: [book_no]", "key: []", "one to 8"),
        ("key: [book_no]", "key: [a, a]", "different columns"),
        ("key: [book_no]", "key: ['a; b']", "does not have the form"),
        ("max_removed_share: 1", "max_removed_share: 2", "not between"),
        ("  books:\n    query", f"  {'b' * 41}:\n    query", "at most 40"),
        ("method: comparison", "method: comparison\n    often: 1", "unknown key"),
        (COMPARISON, LOG.replace("[book_no]", "[a, b]"), "the key has 1 column"),
        (COMPARISON, LOG.replace("tbl_book", "a.b.c"), "is not a name of a table"),
        ("sql: SELECT * FROM tbl_book", "sql: 'SELECT * FROM tbl_book WHERE :a = 1',"
         " parameters: {a: {type: integer}}", "has no parameters"),
    ],
)  # fmt: skip
def test_a_fault_in_the_section_is_told_with_its_place(old: str, new: str, words: str) -> None:
    """What cannot work is refused when the file is read, not when the source is asked."""
    text = MAPPING.format(method=COMPARISON, page_size=2)
    assert old in text
    with pytest.raises(Problem) as caught:
        parse_mapping(text.replace(old, new).encode(), "library.yaml")
    assert caught.value.code is Code.INVALID_MAPPING
    assert "/changes" in caught.value.where
    assert words in caught.value.detail
