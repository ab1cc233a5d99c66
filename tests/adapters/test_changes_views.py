"""Changes told to one who does not see everything: what they tell is what a reader would see."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from adapters.changes.views import Audience, audience_of
from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Mapping
from console.cli.main import main
from exchange.problems import Code, Problem
from tests.adapters.replica import COMPARISON, LOG, WATERMARK, Table, Telling

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOES/library
title: {en: Library, lo: ຫໍສະໝຸດ}
source: {kind: sql, url: "${CHANGES_URL}", zone: Asia/Vientiane, failures_before_pause: 0}
records:
  book:
    title: {en: Book, lo: ປຶ້ມ}
    visible:
      rules:
        - when: {client: LA/GOV/MOF/budget}
          rows: {price: [1, 2]}
        - {when: {client: LA/GOV/MOES}, rows: all}
        - {when: {purpose: today}, rows: {bought: {at_most: today}}}
      otherwise: nothing
    fields:
      number: {column: book_no, type: integer}
      title:
        column: title_lo
        type: string
        mask: {rules: [{when: {purpose: audit}, show: whole}], otherwise: last_1}
      price: {type: decimal, scale: 2}
      bought:
        column: bought_on
        type: date
        mask: {rules: [{when: {purpose: today}, show: whole}], otherwise: absent}
queries:
  books: {record: book, sql: "SELECT tbl_book.*, date(changed_at) AS bought_on FROM tbl_book"}
changes:
  books:
    query: books
    key: [book_no]
    page_size: 2
    METHOD
services:
  books:
    title: {en: Books, lo: ປຶ້ມ}
    endpoints:
      /books: {operation: list, query: books, title: {en: All, lo: ທັງໝົດ}, order: [book_no]}
"""
BUDGET = (("x-road-client", "LA/GOV/MOF/budget"),)
SCHOOLS = (("x-road-client", "LA/GOV/MOES/schools"),)
AUDIENCES = {
    "some rows": audience_of(BUDGET),
    "some rows of the agreement": audience_of((*SCHOOLS, ("exchange-rows", '{"price":["2"]}'))),
    "all, unmasked": audience_of((*SCHOOLS, ("exchange-purpose", "audit"))),
    "nothing": audience_of((("x-road-client", "LA/GOV/MOH/care"),)),
}
_files = itertools.count()


def mapping(method: str, text: str = MAPPING) -> Mapping:
    return parse_mapping(text.replace("METHOD", method).encode(), "library.yaml")


def seen(name: str, rows: list[tuple[int, str | None, int]]) -> dict[str, Any]:
    """The model: what an audience sees of the rows, written without the adapter."""
    prices = {"some rows": {1, 2}, "some rows of the agreement": {2}, "nothing": set[int]()}
    found = {}
    for number, title, price in rows:
        if price in prices.get(name, {price}):
            shown = {"number": number, "price": price}
            if title is not None:
                shown["title"] = title if name == "all, unmasked" else "***" + title[-1]
            found[str(number)] = shown
    return found


class Rights(RuleBasedStateMachine):
    """Rows come into view and leave it; ``table``, ``folder`` and ``method`` are given."""

    table: Table
    folder: Path
    method: str

    @initialize()
    def begin(self) -> None:
        self.table.create()
        environ = {"CHANGES_URL": self.table.url}
        self.tellings = {
            name: Telling(
                mapping(self.method), environ, self.folder / f"{next(_files)}", audience=one
            )
            for name, one in AUDIENCES.items()
        }
        if self.method == LOG:
            self.table.script(self.tellings["nothing"].owner_sql())
        self.runner = asyncio.Runner()
        self.rows: dict[int, tuple[str | None, int]] = {}
        self.now = 100

    @rule(
        number=st.integers(1, 6),
        title=st.sampled_from([None, "ລັບກ", "ລັດກ", "ລັບຂ"]),
        price=st.integers(0, 3),
    )
    def write(self, number: int, title: str | None, price: int) -> None:
        self.now += 1
        self.table.put(number, title, price, self.now)
        self.rows[number] = (title, price)

    @rule(number=st.integers(1, 6))
    def delete(self, number: int) -> None:
        if self.method != WATERMARK:  # which sees no deletions
            self.table.run("DELETE FROM tbl_book WHERE book_no = :n", n=number)
            self.rows.pop(number, None)

    @rule(name=st.sampled_from(sorted(AUDIENCES)))
    def tell(self, name: str) -> None:
        """The replica is what this audience sees; what it does not see makes no event."""
        telling = self.tellings[name]
        before = dict(telling.replica.records)
        events = self.runner.run(telling.round())
        model = seen(name, [(number, *row) for number, row in self.rows.items()])
        assert telling.replica.records == model
        changed = {key for key in before | model if before.get(key) != model.get(key)}
        assert {event.subject for event in events} == changed
        if name != "all, unmasked":
            assert not any("ລ".encode() in (event.data or b"") for event in events)

    @rule(name=st.sampled_from(sorted(AUDIENCES)))
    def crash(self, name: str) -> None:
        """What was told and not noted is told again, with the same ids."""
        telling = self.tellings[name]
        lost = self.runner.run(telling.round(crash_after=0))
        again = self.runner.run(telling.round())
        assert {event.id for event in lost} <= {event.id for event in again}

    def teardown(self) -> None:
        if hasattr(self, "tellings"):
            for name, telling in self.tellings.items():
                self.tell(name)
                self.runner.run(telling.close())
            self.runner.close()


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("sqlite", COMPARISON),
        pytest.param("mariadb", WATERMARK, marks=pytest.mark.needs_mariadb),
        pytest.param("postgresql", LOG, marks=pytest.mark.needs_postgresql),
    ],
    ids=["comparison", "watermark", "log"],
)
def test_each_audience_is_told_what_it_sees(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, way: str
) -> None:
    """Rows by client and by agreement, masks by purpose: any history, against a model."""
    url = f"sqlite:///{tmp_path}/rights.db"
    if kind != "sqlite":
        server = request.getfixturevalue(f"{kind}_server")
        url = server.new_database(f"rights_{next(_files)}")
    given = {"table": Table(url), "folder": tmp_path, "method": way}
    few = settings(
        max_examples=4,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_machine(type("AnyRights", (Rights,), given), settings=few)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(f"sqlite:///{tmp_path}/changes.db")
    table.create()
    for number, price in ((1, 1), (2, 2), (3, 3)):
        table.put(number, "ລັບກ", price, 60 * 60 * 24 * number)
    return table


def telling(table: Table, folder: Path, audience: Audience, method: str = WATERMARK) -> Telling:
    told = mapping(method)
    return Telling(told, {"CHANGES_URL": table.url}, folder / "x.state", audience=audience)


async def told(telling: Telling, **options: Any) -> list[tuple[str, str]]:
    return [(str(event.told), event.subject) for event in await telling.round(**options)]


async def test_what_is_shown_by_the_day_is_compared_each_day(table: Table, tmp_path: Path) -> None:
    """At midnight in the source's zone, though nothing in the table has changed."""
    purpose = ("exchange-purpose", "today")
    feed = telling(table, tmp_path, audience_of((_other(), purpose)))
    feed.clock = lambda: datetime(2024, 1, 2, 16, 0, tzinfo=UTC)  # 23:00 in Vientiane
    assert await told(feed) == [("created", "1")]
    assert await told(feed) == []
    feed.clock = lambda: datetime(2024, 1, 2, 17, 0, tzinfo=UTC)
    assert await told(feed) == [("created", "2")]


def _other() -> tuple[str, str]:
    return ("x-road-client", "LA/GOV/MOH/care")


async def test_rights_that_end_are_told_and_a_source_that_is_empty_is_not(
    table: Table, tmp_path: Path
) -> None:
    """Rows that are there and not shown are removed at once; missing ones only when allowed."""
    feed = telling(table, tmp_path, AUDIENCES["some rows"], "method: comparison")
    assert await told(feed) == [("created", "1"), ("created", "2")]
    narrower = MAPPING.replace("rows: {price: [1, 2]}", "rows: nothing")
    feed.mapping = mapping("method: comparison", narrower)
    assert await told(feed) == [("removed", "1"), ("removed", "2")]
    feed.mapping = mapping("method: comparison")
    assert await told(feed) == [("created", "1"), ("created", "2")]
    table.run("DELETE FROM tbl_book")
    with pytest.raises(Problem) as caught:
        await feed.round()
    assert caught.value.code is Code.TOO_MANY_REMOVED


async def test_rows_inside_a_record_are_those_that_are_shown(table: Table, tmp_path: Path) -> None:
    """A loan that the audience does not see is none, and a change of it no event."""
    text = MAPPING.replace(
        "queries:\n",
        """    nested:
      loans: {query: loans, join: {book_no: book_no}, order: [day], most: 5}
  loan:
    title: {en: Loan, lo: ການຢືມ}
    visible: {rules: [{when: {client: LA/GOV/MOES}, rows: all}], otherwise: {day: [1]}}
    fields: {day: {type: integer}, who: {type: string, mask: absent}}
queries:
  loans: {record: loan, sql: SELECT * FROM tbl_loan}
""",
    )
    table.run("CREATE TABLE tbl_loan (book_no INTEGER, day INTEGER, who TEXT)")
    for day in (1, 2):
        table.run("INSERT INTO tbl_loan VALUES (1, :d, 'ລັບ')", d=day)
    some = telling(table, tmp_path, AUDIENCES["some rows"])
    whole = telling(table, tmp_path, AUDIENCES["all, unmasked"])
    whole.state = tmp_path / "whole.state"
    for feed, days in ((some, [1]), (whole, [1, 2])):
        feed.mapping = mapping("method: comparison", text)
        await feed.round()
        assert feed.replica.records["1"]["loans"] == [{"day": day} for day in days]
    table.run("UPDATE tbl_loan SET day = 3, who = 'x' WHERE day = 2")
    assert await told(some) == []
    assert await told(whole) == [("changed", "1")]


async def test_a_row_that_fits_no_record_tells_nothing_of_what_is_masked(
    table: Table, tmp_path: Path
) -> None:
    """It is refused once for each fault, however often a hidden value of it changes."""
    strict = MAPPING.replace("price: {type: decimal, scale: 2}", "price: {type: integer}")
    table.run("UPDATE tbl_book SET price = 1.5")
    feed = telling(table, tmp_path, audience_of(SCHOOLS), "method: comparison")
    feed.mapping = mapping("method: comparison", strict)
    assert [what for what, _ in await told(feed)] == ["refused"] * 3
    table.run("UPDATE tbl_book SET title_lo = 'ລັບຂ'")
    assert await told(feed) == []


async def test_whom_it_is_for_must_be_said(table: Table, tmp_path: Path) -> None:
    """Nobody is guessed, a key that is masked cannot be told, and a state is of one audience."""
    with pytest.raises(Problem) as caught:
        await telling(table, tmp_path, Audience()).round()
    assert (caught.value.code, caught.value.where) == (Code.INVALID_USAGE, "--client")
    with pytest.raises(Problem) as caught:
        mapping(WATERMARK, MAPPING.replace("key: [book_no]", "key: [title_lo]"))
    assert "every event names it" in caught.value.detail
    await telling(table, tmp_path, AUDIENCES["some rows"]).round()
    with pytest.raises(Problem) as caught:
        await telling(table, tmp_path, AUDIENCES["nothing"]).round()
    assert caught.value.code is Code.CHANGE_STATE_UNUSABLE


def test_the_command_tells_what_a_client_sees(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By --client and --rows, with a state of its own."""
    monkeypatch.setenv("CHANGES_URL", table.url)
    file = tmp_path / "library.yaml"
    file.write_text(MAPPING.replace("METHOD", COMPARISON), "utf-8")
    command = ["adapter", "changes", str(file), "--client", "LA/GOV/MOF/budget"]
    result = CliRunner().invoke(main, command)
    assert "--state" in result.stderr
    assert result.exit_code == 2
    command += ["--state", str(tmp_path / "mof.state"), "--rows", '{"price": ["2"]}']
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.stderr
    events = [orjson.loads(line) for line in result.stdout.splitlines()]
    assert [event["data"] for event in events] == [{"number": 2, "title": "***ກ", "price": 2}]
