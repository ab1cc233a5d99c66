"""Records inside records and computed members, on real databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from sqlalchemy import create_engine, event, text

import schemas
from adapters import check_rows, openapi
from adapters.check import against_source, checking_source
from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from tests.adapters.conftest import EACH_KIND
from tests.adapters.legacy import INJECTION, get, items, walk
from tests.adapters.nested import (
    MAPPING,
    MINISTRIES,
    PAYMENTS,
    PROJECTS,
    TABLES,
    TRANCHES,
    adapter_of,
    mapping_of,
    opened,
)
from tests.adapters.persons import ask


@pytest.fixture(scope="module", params=EACH_KIND)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A filled database that tests only read."""
    kind = request.param
    if kind == "sqlite":
        address = f"sqlite:///{tmp_path_factory.mktemp('nested')}/nested.db"
    else:
        address = request.getfixturevalue(f"{kind}_server").new_database("nested")
    engine = create_engine(address)
    with engine.begin() as connection:
        for statement in TABLES:
            connection.execute(text(statement))
        for table, rows in (
            ("ministry", MINISTRIES),
            ("project", PROJECTS),
            ("tranche", TRANCHES),
            ("payment", PAYMENTS),
        ):
            for row in rows:
                names = ", ".join(f":v{n}" for n in range(len(row)))
                values = {f"v{n}": value for n, value in enumerate(row)}
                connection.execute(text(f"INSERT INTO {table} VALUES ({names})"), values)  # noqa: S608
    engine.dispose()
    return address


@pytest.fixture
async def projects(url: str) -> AsyncIterator[Adapter]:
    adapter = adapter_of(url, mapping_of())
    yield adapter
    await adapter.close()


@contextmanager
def statements(adapter: Adapter) -> Iterator[list[str]]:
    """What the database is asked; plans and settings aside."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("SELECT saphan_q"):
            asked.append(statement)

    event.listen(adapter._source._engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(adapter._source._engine, "before_cursor_execute", note)


async def one(adapter: Adapter, target: str) -> dict[str, Any]:
    response = await get(adapter, target)
    assert response.status == 200, response.body
    found: dict[str, Any] = orjson.loads(response.body)
    return found


async def test_a_record_holds_the_records_that_belong_to_it(projects: Adapter) -> None:
    """Lists in their order, two levels deep, and single records; what is computed beside them."""
    assert await one(projects, "/projects/P-1") == {
        "code": "P-1",
        "price": 10.5,
        "signed": "2026-05-12",
        "year": 2026,
        "budget": "1500000.00",
        "status": "ongoing",
        "person": {"name": "Somphone Wongsa", "label": "P-1 (Wongsa)"},
        "country": "LA",
        "first": "Wongsa",
        "spent": 31.5,
        "each": 3.5,
        "signed_year": 2026,
        "region": "north",
        "open": True,
        "tranches": [
            {
                "number": 1,
                "amount": 10.5,
                "payments": [{"paid": 100, "payee": "x"}, {"paid": 50, "payee": INJECTION}],
            },
            {"number": 2, "amount": 20, "payments": [{"paid": 20, "payee": None}]},
        ],
        "ministry": {"name": "Health"},
    }


async def test_what_is_missing_is_empty_null_or_absent(projects: Adapter) -> None:
    """No rows are an empty list; no record is null; of nothing nothing is computed."""
    assert await one(projects, "/projects/P-3") == {
        "code": "P-3",
        "signed": "2024-02-29",
        "status": "ongoing",
        "country": "LA",
        "first": None,
        "signed_year": 2024,
        "open": True,
        "tranches": [],
        "ministry": None,
    }
    assert (await one(projects, "/projects/P-5"))["ministry"] is None
    second = await one(projects, "/projects/P-2")
    assert second["person"] == {"name": "Keo"}  # the template needs every name
    assert "region" not in second  # a word that the table does not know, otherwise null
    assert second["budget"] == "100.00"


async def test_a_page_takes_one_statement_for_each_nested_member(projects: Adapter) -> None:
    """Not one for each record; none for a member that is not asked for; pages stay whole."""
    with statements(projects) as asked:
        pages = await walk(projects, "/projects")
    assert [record["code"] for page in pages for record in page] == ["P-1", "P-2", "P-3", "P-5"]
    assert len(pages) == 2
    # Of two pages: the projects, their tranches, the payments of tranches where there are some,
    # and the ministries.
    assert [
        sum(name in statement for statement in asked)
        for name in ("FROM project WHERE", "FROM tranche", "FROM payment", "FROM ministry")
    ] == [2, 2, 1, 2]
    with statements(projects) as asked:
        found = await items(projects, "/projects?fields=code,ministry")
    assert found[0] == {"code": "P-1", "ministry": {"name": "Health"}}
    assert not any("FROM tranche" in statement for statement in asked)
    with statements(projects) as asked:
        assert (await items(projects, "/projects?fields=spent"))[0] == {"spent": 31.5}
    assert len(asked) == 1
    assert await items(projects, "/projects?fields=country") == [{"country": "LA"}] * 3
    assert await one(projects, "/projects/P-3?fields=country") == {"country": "LA"}


async def test_a_database_that_takes_two_words_for_one_joins_them(projects: Adapter) -> None:
    """MariaDB takes ``moes`` for ``MOES``: the record it finds is given; the others find none."""
    found = (await one(projects, "/projects/P-2"))["ministry"]
    mariadb = projects._source.dialect in ("mariadb", "mysql")
    assert found == ({"name": "Education"} if mariadb else None)


async def test_values_are_values_in_keys_of_joins(projects: Adapter, url: str) -> None:
    """A key that is SQL finds the record of this very key, and changes no statement."""
    odd = mapping_of(
        MAPPING.replace("query: every", "query: odd")
        .replace(
            "queries:\n",
            "queries:\n  odd: {record: project, sql: SELECT * FROM project WHERE id = 4}\n",
        )
        .replace("compute: {divide: [price, number]}", "compute: {add: [price, number]}")
        .replace("rounding: half_up, compute: {add", "compute: {add")
    )
    adapter = adapter_of(url, odd)
    found = await one(adapter, f"/projects/{quote(INJECTION, safe='')}")
    assert found["ministry"] == {"name": "Odd"}
    assert [each["number"] for each in found["tranches"]] == [1, 2, 3]
    assert found["person"]["label"] == f"{INJECTION} (b)"
    await adapter.close()
    for name in ("fields=tranches'--", "fields=tranches.payments.paid.x", "code=' OR 1=1 --"):
        response = await get(projects, f"/projects?{quote(name, safe='=')}")
        assert response.status == 400 or orjson.loads(response.body)["items"] == []


async def test_nothing_divides_by_zero(projects: Adapter) -> None:
    """What cannot be computed stops the answer with its place and rule."""
    with pytest.raises(Problem) as caught:
        await get(projects, f"/projects/{quote(INJECTION, safe='')}")
    assert caught.value.code is Code.RESPONSE_SCHEMA_VIOLATION
    assert caught.value.where == "/each"
    assert "divide by zero" in caught.value.detail


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("signed=2026-05-12", ["P-1"]),
        ("signed=2024-02-01", ["P-2"]),
        ("signed=2024-02-29", ["P-3"]),
        ("signed=2024-02-28", []),
        ("year=2024", ["P-2"]),
        ("year_from=2026", ["P-1", "P-5"]),
        ("budget=1500000", ["P-1"]),
        ("budget=100", ["P-2"]),
        ("budget_from=2000000.00", ["P-5"]),
        ("given=Keo", ["P-2"]),
    ],
)
async def test_filters_speak_the_caller_s_calendar_and_unit(
    projects: Adapter, query: str, codes: list[str]
) -> None:
    """The value is turned back into what the source has, in every spelling."""
    pages = await walk(projects, f"/projects?{query}&fields=code")
    assert [record["code"] for page in pages for record in page] == codes


async def test_more_than_is_allowed_is_refused_and_never_cut(url: str) -> None:
    """Of one record, and of all together."""
    for change, limits in (
        (MAPPING.replace("most: 3", "most: 1"), "max_connections: 2"),
        (MAPPING.replace("most: 3", "most: 500"), "max_rows: 2"),
    ):
        adapter = adapter_of(url, mapping_of(change, limits))
        with pytest.raises(Problem) as caught:
            await get(adapter, "/projects?page_size=2")
        assert caught.value.code is Code.RESPONSE_TOO_LARGE
        assert "tranches" in caught.value.detail
        await adapter.close()


async def test_a_single_record_that_is_there_twice_is_refused(url: str) -> None:
    """Which of them would be a guess."""
    twice = MAPPING.replace("join: {code: ministry_code}", "join: {project_id: id}").replace(
        "query: ministries", "query: tranches"
    )
    adapter = adapter_of(url, mapping_of(twice))
    with pytest.raises(Problem) as caught:
        await get(adapter, "/projects?page_size=1")
    assert caught.value.code is Code.SOURCE_FAILED
    await adapter.close()


async def test_the_byte_cap_ends_a_page_between_whole_records(url: str) -> None:
    """Nested rows count; the next page goes on with the record that did not fit."""
    whole = MAPPING.replace("page_size: 3", "page_size: 100")
    adapter = adapter_of(url, mapping_of(whole, limits="max_bytes: 1000"))
    pages = await walk(adapter, "/projects")
    assert len(pages) > 1
    assert [one["code"] for page in pages for one in page] == ["P-1", "P-2", "P-3", "P-5"]
    assert len(pages[0][0]["tranches"]) == 2
    await adapter.close()


async def test_a_value_that_does_not_fit_is_placed_in_its_nested_record(url: str) -> None:
    """The place goes through both lists; a record of its own says so too."""
    broken = MAPPING.replace(
        'payee: {type: string, null: "null"}', "payee: {type: string, null: refuse}"
    )
    adapter = adapter_of(url, mapping_of(broken))
    with pytest.raises(Problem) as caught:
        await get(adapter, "/projects")
    assert caught.value.where == "/items/0/tranches/1/payments/0/payee"
    with pytest.raises(Problem) as caught:
        await get(adapter, "/projects/P-1")
    assert caught.value.where == "/tranches/1/payments/0/payee"
    await adapter.close()


async def test_the_etag_is_of_the_nested_records_too(projects: Adapter) -> None:
    """The same content has the same tag, with and without what belongs to it other ones."""
    first = dict((await get(projects, "/projects/P-1")).headers)["etag"]
    again = dict((await get(projects, "/projects/P-1")).headers)["etag"]
    other = dict((await get(projects, "/projects/P-1?fields=code")).headers)["etag"]
    assert first == again != other


async def test_the_contract_lets_the_answers_pass(projects: Adapter) -> None:
    """The document describes nested records and their selections as they are answered."""
    document = openapi.document(projects.mapping, None, schemas.load_all())
    contract = Contract.compile(document, schemas.load_all())
    for target in ("/projects", "/projects?fields=code,tranches,ministry", "/projects/P-3"):
        response = await get(projects, target)
        path = target.partition("?")[0]
        operation = contract.find("GET", path).operation
        operation.check_response(response.status, response.headers, response.body)
    tree = orjson.loads(document)["components"]["schemas"]
    assert tree["project"]["properties"]["tranches"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/tranche"},
        "maxItems": 3,
    }
    assert {"payment", "tranche", "ministry"} <= tree.keys()
    assert "given" not in tree["project"]["properties"]


async def findings(url: str, mapping: Mapping) -> list[str]:
    source = checking_source(
        mapping, lambda one: Source(one.source, {"LEGACY_URL": url}, Path())
    ).lease()
    found = await against_source(mapping, source, {"code": "P-1"})
    found = [one for one in found if not one.warning]
    if not found:
        found = await check_rows.rows(mapping, source, schemas.load_all(), {})
    await source.close()
    return [f"{one.where} {one.place} {one.rule}" for one in found]


async def test_check_judges_nested_records_row_by_row(url: str) -> None:
    """A column that is not there, a row too many and a value that does not fit are found."""
    good = MAPPING.replace("query: every", "query: projects")
    assert await findings(url, mapping_of(good)) == []
    gone = await findings(url, mapping_of(good.replace("tranche_no: no}", "trance_no: no}")))
    assert gone
    assert all("trance_no" in one for one in gone)
    few = mapping_of(good.replace("most: 3", "most: 1"))
    many = await findings(url, few)
    assert many
    assert all("more than 1 tranches" in one for one in many)
    misfit = await findings(
        url,
        mapping_of(
            good.replace(
                'payee: {type: string, null: "null"}', "payee: {type: string, null: refuse}"
            )
        ),
    )
    assert len(misfit) == 2
    assert all("/tranches/1/payments/0/payee" in one for one in misfit)


async def test_rights_of_a_nested_record_are_its_own(url: str) -> None:
    """Rows and members that a caller may not see are not there inside another record either."""
    seen = MAPPING.replace(
        "    fields: {paid: integer, payee",
        "    visible: {rules: [{when: {client: LA/GOV/MOF}, rows: all}], otherwise: {paid: 20}}\n"
        "    fields: {paid: integer, payee",
    ).replace(
        "amount: {type: decimal, scale: 2}}", "amount: {type: decimal, scale: 2, mask: absent}}"
    )
    adapter = adapter_of(url, mapping_of(seen))
    found = await one(adapter, "/projects/P-1")
    assert found["tranches"] == [
        {"number": 1, "payments": []},
        {"number": 2, "payments": [{"paid": 20, "payee": None}]},
    ]
    response = await get(adapter, "/projects/P-1")
    assert "vary" in dict(response.headers)
    await adapter.close()


async def test_fields_pick_inside_nested_records(projects: Adapter) -> None:
    """A path with dots asks for one member of what is nested, on every level; what is not asked
    for is not read. The document says what may be asked, and its schema lets the answer pass."""
    fields = "code,person.name,tranches.amount,tranches.payments.payee,ministry.name"
    expected = {
        "code": "P-1",
        "person": {"name": "Somphone Wongsa"},
        "tranches": [
            {"amount": 10.5, "payments": [{"payee": "x"}, {"payee": INJECTION}]},
            {"amount": 20, "payments": [{"payee": None}]},
        ],
        "ministry": {"name": "Health"},
    }
    assert await one(projects, f"/projects/P-1?fields={fields}") == expected
    assert (await items(projects, f"/projects?fields={fields}"))[0] == expected
    with statements(projects) as asked:
        found = await items(projects, "/projects?fields=tranches.number")
    assert found[1:] == [{"tranches": [{"number": 1}]}, {"tranches": []}]
    assert len(asked) == 2
    document = openapi.document(projects.mapping, None, schemas.load_all())
    contract = Contract.compile(document, schemas.load_all())
    for target in (f"/projects?fields={fields}", "/projects/P-1?fields=tranches.payments.payee"):
        path, _, query = target.partition("?")
        match = contract.find("GET", path)
        operation = match.operation
        operation.check_request(match, query, (), b"")
        response = await get(projects, target)
        operation.check_response(response.status, response.headers, response.body)
        whole = (("content-type", "application/json"),)
        with pytest.raises(Problem):  # as a whole record it would lack members
            operation.check_response(response.status, whole, response.body)


async def test_three_levels_are_as_deep_as_it_goes(url: str) -> None:
    """A record in a record in a record in a record."""
    deeper = MAPPING.replace(
        'payee: {type: string, null: "null"}}',
        'payee: {type: string, null: "null"}}\n'
        '    nested: {of: {query: ministries, join: {code: payee}, as: one, "null": "null"}}',
    )
    adapter = adapter_of(url, mapping_of(deeper))
    found = await one(adapter, "/projects/P-1?fields=tranches.payments.of.name")
    assert found == {
        "tranches": [
            {"payments": [{"of": None}, {"of": {"name": "Odd"}}]},
            {"payments": [{"of": None}]},
        ]
    }
    await adapter.close()


async def test_an_agreement_opens_rows_of_nested_records(projects: Adapter) -> None:
    """A condition on a path is on the rows of that member, on each level, in lists and alone."""
    narrowed = opened(code=["P-1", "P-3"], tranches_number=["1"], tranches_payments_paid=["50"])
    expected = [{"number": 1, "amount": 10.5, "payments": [{"paid": 50, "payee": INJECTION}]}]
    response = await ask(projects, "/projects/P-1", narrowed)
    assert orjson.loads(response.body)["tranches"] == expected
    response = await ask(projects, "/projects", narrowed)
    found = {each["code"]: each["tranches"] for each in orjson.loads(response.body)["items"]}
    assert found == {"P-1": expected, "P-3": []}
    response = await ask(projects, "/projects/P-1", opened(tranches_number=["7"]))
    assert orjson.loads(response.body)["tranches"] == []
    hidden = await ask(projects, "/projects/P-1?fields=tranches.amount", narrowed)
    assert orjson.loads(hidden.body) == {"tranches": [{"amount": 10.5}]}


async def test_nested_records_of_files_are_the_same(tmp_path: Path) -> None:
    """Over CSV, where the queries are SQLite's, with Buddhist dates and units."""
    (tmp_path / "p.csv").write_text("id,by,cost\n1,໑໒ ພຶດສະພາ ໒໕໖໙,1.5\n2,,2\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text("project,no\n1,2\n1,1\n", encoding="utf-8")
    mapping = parse_mapping(
        """
saphan_mapping: 1
application: LA/GOV/MPI/files
title: {en: Files, lo: ໄຟລ໌}
source:
  kind: files
  tables:
    p: {file: p.csv, columns: {id: {header: id, type: integer}, by_text: by, cost: cost}}
    t: {file: t.csv, columns: {project: {header: project, type: integer},
        no: {header: "no", type: integer, index: true}}}
records:
  t: {title: {en: T, lo: T}, fields: {"no": integer}}
  p:
    title: {en: P, lo: P}
    fields:
      id: integer
      by: {column: by_text, type: date, calendar: buddhist, format: "%d %B %Y", null_words: [""]}
      cost: {type: decimal, factor: 1000000, scale: 0}
    nested: {parts: {query: t, join: {project: id}, order: ["no"]}}
queries:
  p: {record: p, sql: SELECT * FROM p}
  t: {record: t, sql: SELECT * FROM t}
services:
  p:
    title: {en: P, lo: P}
    endpoints:
      /p: {operation: list, query: p, order: [id], count: exact, filters: [by],
        title: {en: P, lo: P}}
""".encode()
    )
    adapter = Adapter(mapping, Source(mapping.source, {}, tmp_path))
    found = await items(adapter, "/p")
    assert found == [
        {"id": 1, "by": "2026-05-12", "cost": 1500000, "parts": [{"no": 1}, {"no": 2}]},
        {"id": 2, "cost": 2000000, "parts": []},
    ]
    assert await items(adapter, "/p?by=2026-05-12&count=true") == found[:1]
    await adapter.close()


async def test_a_computed_member_may_be_masked(url: str) -> None:
    """A mask of its own hides what it is computed of, in lists and single records."""
    text = MAPPING.replace(
        'compute: {concat: [given, family], separator: " "}}',
        'mask: initials, compute: {concat: [given, family], separator: " "}}',
    )
    adapter = adapter_of(url, mapping_of(text))
    assert (await one(adapter, "/projects/P-1"))["person"]["name"] == "S. W."
    assert (await items(adapter, "/projects"))[0]["person"]["name"] == "S. W."
    await adapter.close()
