"""Changes told to one who does not see everything: what they tell is what a reader would see."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
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

from adapters.changes.grants import caller_of, granted
from adapters.changes.views import Audience
from adapters.mapping.callers import Caller
from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Mapping
from console.cli.main import main
from exchange.agreements import (
    Agreement,
    format_agreement,
    parse_agreement,
    revocation_of,
    seal_agreement,
    seal_revocation,
)
from exchange.identifiers import ApplicationId, MemberId
from exchange.keys import signing_key
from exchange.problems import Code, Problem, Text
from tests.adapters.replica import COMPARISON, LOG, WATERMARK, Table, Telling
from tests.certs.pki import seal

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
BUDGET = Caller(ApplicationId.parse("LA/GOV/MOF/budget", ""))
SCHOOLS = Caller(ApplicationId.parse("LA/GOV/MOES/schools", ""))
DAY = datetime(2026, 6, 1, tzinfo=UTC)
_files = itertools.count()


def mapping(method: str, text: str = MAPPING) -> Mapping:
    return parse_mapping(text.replace("METHOD", method).encode(), "library.yaml")


def agreement(*fields: str, prices: list[str] | None = None, **changed: Any) -> Agreement:
    """One of the library with the schools: the list, some of its fields, of some prices."""
    grant: dict[str, Any] = {
        "service": "LA/GOV/MOES/library/books",
        "endpoints": [{"method": "GET", "path": "/books"}],
        "fields": list(fields or ("*",)),
    }
    if prices is not None:
        grant["rows"] = {"price": prices}
    said = {"en": "Books", "lo": "ປຶ້ມ"}
    document: dict[str, Any] = {
        "id": "moes-books",
        "version": 1,
        "title": said,
        "provider": "LA/GOV/MOES",
        "consumer": "LA/GOV/MOES/schools",
        "grants": [grant],
        "purposes": [{"code": "audit", "title": said, "legal_basis": said}],
        "valid_from": "2023-01-01T00:00:00Z",
        "valid_until": "2999-01-01T00:00:00Z",
    }
    return parse_agreement(orjson.dumps(document | changed))


def under(held: Agreement, text: str = MAPPING, path: str | None = None) -> Audience:
    told = mapping(COMPARISON, text)
    return Audience(
        caller_of(held, None, "audit"), granted(told, told.changes["books"], held, path)
    )


AUDIENCES = {
    "some rows": Audience(BUDGET),
    "some rows of the agreement": under(agreement(prices=["2"])),
    "some fields of the agreement": under(agreement("/items/*/number", "/items/*/price")),
    "both": under(agreement("/items/*/price", "/items/*/number", prices=["0", "1"])),
    "titles alone": under(agreement("/items/*/number", "/items/*/title")),
    "all, unmasked": Audience(replace(SCHOOLS, purpose="audit")),
    "nothing": Audience(Caller(ApplicationId.parse("LA/GOV/MOH/care", ""))),
}


def seen(name: str, rows: list[tuple[int, str | None, int]]) -> dict[str, Any]:
    """The model: what an audience sees of the rows, written without the adapter."""
    prices = {"some rows": {1, 2}, "some rows of the agreement": {2}, "nothing": set[int]()}
    prices["both"] = {0, 1}
    members = {"some fields of the agreement": {"price"}, "both": {"price"}}
    members["titles alone"] = {"title"}
    whole = ("all, unmasked", "some rows of the agreement", "titles alone")
    found = {}
    for number, title, price in rows:
        if price in prices.get(name, {price}):
            shown: dict[str, Any] = {"number": number, "price": price}
            if title is not None:
                shown["title"] = title if name in whole else "***" + title[-1]
            kept = {"number"} | members.get(name, set(shown))
            found[str(number)] = {one: value for one, value in shown.items() if one in kept}
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
        if name in ("some rows", "some fields of the agreement", "both"):
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
    other = Caller(ApplicationId.parse("LA/GOV/MOH/care", ""), "", "today")
    feed = telling(table, tmp_path, Audience(other))
    feed.clock = lambda: datetime(2024, 1, 2, 16, 0, tzinfo=UTC)  # 23:00 in Vientiane
    assert await told(feed) == [("created", "1")]
    assert await told(feed) == []
    feed.clock = lambda: datetime(2024, 1, 2, 17, 0, tzinfo=UTC)
    assert await told(feed) == [("created", "2")]


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
    feed = telling(table, tmp_path, Audience(SCHOOLS), "method: comparison")
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


NUMBERS = ("/items/*/number",)


@pytest.mark.parametrize(
    ("held", "path", "code"),
    [
        (agreement("/items/*/title"), None, Code.FIELD_NOT_RELEASED),
        (agreement("/items/*/number/x"), None, Code.FIELD_NOT_RELEASED),
        (agreement("/next"), None, Code.FIELD_NOT_RELEASED),
        (agreement("/number"), None, Code.FIELD_NOT_RELEASED),
        (agreement(), "/other", Code.INVALID_USAGE),
    ],
    ids=["without the key", "below the key", "no record", "of one record", "another list"],
)
def test_what_opens_no_record_with_its_key_tells_none(
    held: Agreement, path: str | None, code: Code
) -> None:
    """Every event names the key, and what is released is released of a list."""
    with pytest.raises(Problem) as caught:
        under(held, path=path)
    assert caught.value.code is code


def granting(*grants: tuple[str, list[str], dict[str, Any]]) -> Agreement:
    whole = [
        {
            "service": "LA/GOV/MOES/library/books",
            "endpoints": [{"method": "GET", "path": path}],
            "fields": fields,
            **more,
        }
        for path, fields, more in grants
    ]
    return agreement(grants=whole)


ENDPOINTS = """
      /books/{number}: {operation: one, query: books, title: {en: One, lo: ໜຶ່ງ}}
      /dear: {operation: list, query: books, title: {en: Dear, lo: ແພງ}, order: [book_no], VISIBLE}
"""


def test_who_may_ask_for_one_record_is_told_of_none() -> None:
    """A key that one must know opens no stream of all keys; nor does an audit's or another's."""
    text = MAPPING + ENDPOINTS.strip("\n").replace(", VISIBLE", "") + "\n"
    with pytest.raises(Problem) as caught:
        under(granting(("/books/{number}", ["*"], {})), text)
    assert caught.value.code is Code.ACCESS_DENIED


async def test_of_two_lists_the_one_that_is_meant_must_be_said(
    table: Table, tmp_path: Path
) -> None:
    """Where they show other rows or fields; the rules of that list hold, too."""
    rule = "visible: {rules: [], otherwise: {price: [3]}}"
    text = MAPPING + ENDPOINTS.strip("\n").replace("VISIBLE", rule) + "\n"
    both = granting(("/books", list(NUMBERS), {}), ("/dear", list(NUMBERS), {}))
    with pytest.raises(Problem) as caught:
        under(both, text)
    assert (caught.value.code, caught.value.where) == (Code.INVALID_USAGE, "--list")
    feed = telling(table, tmp_path, under(both, text, "/dear"), "method: comparison")
    feed.mapping = mapping("method: comparison", text)
    assert await told(feed) == [("created", "3")]
    assert feed.replica.records == {"3": {"number": 3}}


async def test_an_agreement_that_is_not_at_hand_tells_nothing(table: Table, tmp_path: Path) -> None:
    """Its name alone does not say what it releases."""
    named = Audience(replace(SCHOOLS, agreement="moes-books"))
    with pytest.raises(Problem) as caught:
        await telling(table, tmp_path, named).round()
    assert (caught.value.code, caught.value.where) == (Code.INVALID_USAGE, "--agreement")


@pytest.mark.parametrize(
    ("changed", "purpose", "code"),
    [
        ({"valid_until": "2026-05-31T00:00:00Z"}, "audit", Code.AGREEMENT_EXPIRED),
        ({"valid_from": "2026-06-02T00:00:00Z"}, "audit", Code.AGREEMENT_NOT_YET_VALID),
        ({}, "other", Code.PURPOSE_NOT_ALLOWED),
        ({"subject": "required"}, "audit", Code.SUBJECT_MISSING),
    ],
    ids=["ended", "to come", "another purpose", "a subject"],
)
async def test_what_the_server_would_refuse_is_not_told(
    table: Table, tmp_path: Path, changed: dict[str, Any], purpose: str, code: Code
) -> None:
    """An agreement opens changes when it opens the list: now, and for its purposes."""
    audience = under(agreement(**changed))
    audience = replace(audience, caller=replace(audience.caller, purpose=purpose))
    feed = telling(table, tmp_path, audience)
    feed.clock = lambda: DAY
    with pytest.raises(Problem) as caught:
        await feed.round()
    assert caught.value.code is code
    assert feed.replica.told == []


async def test_a_new_version_tells_what_it_opens_and_what_it_closes(
    table: Table, tmp_path: Path
) -> None:
    """It is one audience: rows come and go, members too, without a change in the source."""
    feed = telling(table, tmp_path, under(agreement(*NUMBERS, prices=["1", "2"])))
    assert await told(feed) == [("created", "1"), ("created", "2")]
    fields = (*NUMBERS, "/items/*/price")
    feed.audience = under(agreement(*fields, prices=["2", "3"], version=2))
    assert sorted(await told(feed)) == [("changed", "2"), ("created", "3"), ("removed", "1")]
    assert feed.replica.records["2"] == {"number": 2, "price": 2}


async def test_a_fault_of_what_is_not_released_is_not_told(table: Table, tmp_path: Path) -> None:
    """A member that nobody reads fits: not its place, its rule nor its changes are told."""
    strict = MAPPING.replace("price: {type: decimal, scale: 2}", "price: {type: integer}")
    table.run("UPDATE tbl_book SET price = 1.5")
    held = under(agreement("/items/*/number", "/items/*/title"), strict)
    feed = telling(table, tmp_path, held, "method: comparison")
    feed.mapping = mapping("method: comparison", strict)
    assert [what for what, _ in await told(feed)] == ["created"] * 3
    table.run("UPDATE tbl_book SET price = 2.5")
    assert await told(feed) == []


async def test_what_is_released_inside_of_records_is_cut_too(table: Table, tmp_path: Path) -> None:
    """Of each loan its day, on those days that the agreement opens; a change of who is no event."""
    text = MAPPING.replace(
        "queries:\n",
        """    nested:
      loans: {query: loans, join: {book_no: book_no}, order: [day], most: 5}
  loan:
    title: {en: Loan, lo: ການຢືມ}
    fields: {day: {type: integer}, who: {type: string}}
queries:
  loans: {record: loan, sql: SELECT * FROM tbl_loan}
""",
    )
    table.run("CREATE TABLE tbl_loan (book_no INTEGER, day INTEGER, who TEXT)")
    for day in (1, 2):
        table.run("INSERT INTO tbl_loan VALUES (1, :d, 'ລັບ')", d=day)
    fields = [*NUMBERS, "/items/*/loans/*/day"]
    held = granting(("/books", fields, {"rows": {"price": ["1"], "loans.day": ["2"]}}))
    feed = telling(table, tmp_path, under(held, text), "method: comparison")
    feed.mapping = mapping("method: comparison", text)
    await feed.round()
    assert feed.replica.records == {"1": {"number": 1, "loans": [{"day": 2}]}}
    table.run("UPDATE tbl_loan SET who = 'x'")
    table.run("UPDATE tbl_loan SET day = 9 WHERE day = 1")
    assert await told(feed) == []


def test_the_command_tells_what_an_agreement_releases(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its sealed file, for as long as nothing beside it revokes it; else nothing at all."""
    monkeypatch.setenv("CHANGES_URL", table.url)
    file, pinned = tmp_path / "library.yaml", tmp_path / "moes-books.jws"
    file.write_text(MAPPING.replace("METHOD", COMPARISON), "utf-8")
    held = agreement("/items/*/number", "/items/*/title", prices=["2"])
    issued = seal(MemberId.parse("LA/GOV/MOES", ""))
    assert issued.private_key is not None
    signing = (signing_key(issued.private_key, issued.certificate), issued.certificate)
    command = ["adapter", "changes", str(file), "--agreement", str(pinned), "--purpose", "audit"]

    def run(*more: str) -> tuple[int, str, list[Any]]:
        result = CliRunner().invoke(main, [*command, *more])
        lines = [orjson.loads(line) for line in result.stdout.splitlines()]
        return result.exit_code, result.stderr, lines

    state = ("--state", str(tmp_path / "mof.state"))
    code, said, _ = run(*state)
    assert (code, "--agreement" in said) == (1, True)  # it is not there
    pinned.write_bytes(seal_agreement(format_agreement(held), *signing))
    code, said, _ = run()
    assert (code, "--state" in said) == (2, True)
    code, said, events = run(*state)
    assert code == 0, said
    assert [event["data"] for event in events] == [{"number": 2, "title": "ລັບກ"}]
    table.run("UPDATE tbl_book SET price = 2.0, changed_at = '2025-01-01 00:00:00'")
    revoked = seal_revocation(revocation_of(held, DAY, Text("Over", "ສິ້ນສຸດ")), *signing)
    (tmp_path / f"{held.id}.0.revocation.jws").write_bytes(revoked)
    code, said, events = run(*state)
    assert (code, "AgreementRevoked" in said, events) == (1, True, [])


def test_another_organisation_is_told_nothing_without_an_agreement(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a client opens nothing; an application of one's own sees what it sees."""
    monkeypatch.setenv("CHANGES_URL", table.url)
    file = tmp_path / "library.yaml"
    file.write_text(MAPPING.replace("METHOD", COMPARISON), "utf-8")
    command = ["adapter", "changes", str(file), "--state", str(tmp_path / "x.state"), "--client"]
    result = CliRunner().invoke(main, [*command, "LA/GOV/MOF/budget"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--agreement" in result.stderr
    result = CliRunner().invoke(main, [*command, "LA/GOV/MOES/schools"])
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 3
