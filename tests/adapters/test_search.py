"""Search by name: likest first, with score and explanation, over databases and files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, create_engine, insert

import schemas
from adapters import openapi
from adapters.check import against_source, checking_source
from adapters.check_rows import rows
from adapters.findings import Finding
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from adapters.text.names import KEYS_VERSION, keys, match
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from tests.adapters.legacy import Legacy, execute, get
from tests.adapters.persons import ask

NAMES = [
    "ທ້າວ ສົມພອນ ວົງສາ", "Somphone Wongsa", "ສົມພອນ ວົງສາ", "ສົມພົງ ວົງສາ", "Somphong Vongsa",
    "ນາງ ບຸນມີ ໄຊຍະວົງ", "Bounmy Xayavong", "ບຸນມີ ໄຊຍະວົງ", "Khamla Sisavath", "ຄຳຫຼ້າ ສີສະຫວາດ",
    "Phonesavanh", "ພອນສະຫວັນ", None,
]  # fmt: skip
MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOHA/names
title: {{en: Names, lo: ຊື່}}
source: {source}
records:
  person:
    title: {{en: Person, lo: ບຸກຄົນ}}
    visible:
      rules: [{{when: {{client: LA/GOV/MOF}}, rows: {{village: ["2"]}}}}]
      otherwise: all
    fields:
      id: integer
      name:
        type: string
        mask: {{rules: [{{when: {{client: LA/GOV/MOES}}, show: initials}}], otherwise: whole}}
      village: string
queries:
  all: {{record: person, sql: "SELECT id, name, village FROM person"}}
  sounding:
    record: person
    sql: |
      SELECT s.sound, p.id, p.name, p.village
      FROM person_name_sounds s JOIN person p ON p.{row} = s.row_no
services:
  names:
    title: {{en: Names, lo: ຊື່}}
    endpoints:
      /search:
        operation: search
        query: sounding
        title: {{en: By name, lo: ຕາມຊື່}}
        names: [name]
        sounds: sound
        order: [id]
        page_size: 3
        cache_s: 60
        filters: [village]
      /few:
        operation: search
        query: all
        title: {{en: By name, lo: ຕາມຊື່}}
        names: [name]
        order: [id]
        threshold: 0.8
        max_candidates: {most}
"""
SQL = '{kind: sql, url: "${LEGACY_URL}", large_table_rows: 1000}'
FILES = """
  kind: files
  tables:
    person:
      file: "${FOLDER}/person.csv"
      columns:
        id: {header: Id, type: integer}
        name: {header: Name, sounds: true}
        village: Village
"""
ROWS = [
    {"id": number, "name": name, "village": str(number % 3)} for number, name in enumerate(NAMES)
]


def fill(url: str, rows: list[dict[str, Any]], *, index: bool = True) -> None:
    metadata = MetaData()
    person = Table(
        "person",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", String(120)),
        Column("village", String(10)),
    )
    sounds = Table(
        "person_name_sounds", metadata, Column("sound", String(8)), Column("row_no", Integer)
    )
    if index:
        Index("sounds_sound", sounds.c.sound)
    engine = create_engine(url)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    found = [
        {"sound": sound, "row_no": one["id"]} for one in rows for sound in keys(one["name"] or "")
    ]
    with engine.begin() as connection:
        connection.execute(insert(person), rows)
        connection.execute(insert(sounds), found)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in ("person", "person_name_sounds"):
            word = "ANALYZE TABLE" if url.startswith(("mysql", "mariadb")) else "ANALYZE"
            connection.exec_driver_sql(f"{word} {table}")
    engine.dispose()


def opened(source: str, environ: dict[str, str], row: str, most: int = 100) -> Adapter:
    mapping = parse_mapping(MAPPING.format(source=source, row=row, most=most).encode(), "n.yaml")
    return Adapter(mapping, Source(mapping.source, environ, Path()))


@pytest.fixture
async def names(legacy: Legacy) -> AsyncIterator[Adapter]:
    fill(legacy.url, ROWS)
    adapter = opened(SQL, {"LEGACY_URL": legacy.url}, "id")
    yield adapter
    await adapter.close()


async def hits(adapter: Adapter, target: str, **headers: str) -> list[dict[str, Any]]:
    caller = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await ask(adapter, target, caller)
    assert response.status == 200, response.body
    found: list[dict[str, Any]] = orjson.loads(response.body)["items"]
    return found


def expected(name: str, least: float, rows: list[dict[str, Any]]) -> list[tuple[float, int]]:
    scored = [(match(name, one["name"] or "").score, one["id"]) for one in rows]
    return sorted(((score, key) for score, key in scored if score >= least), key=lambda x: -x[0])


@pytest.mark.parametrize("name", ["Somphone Wongsa", "ສົມພອນ ວົງສາ", "ບຸນມີ ໄຊຍະວົງ", "khamla"])
@pytest.mark.parametrize("path", ["/search", "/few"])
async def test_the_likest_come_first_with_score_and_explanation(
    names: Adapter, path: str, name: str
) -> None:
    """In either script, without titles: the scores are those of comparing every name."""
    found = await hits(names, f"{path}?name={quote(name)}&threshold=0.7")
    wanted = expected(name, 0.7, ROWS)
    most = 3 if path == "/search" else 20
    assert [one["score"] for one in found] == [score for score, _ in wanted][:most]
    assert found[0]["record"]["id"] in {key for score, key in wanted if score == wanted[0][0]}
    for one in found:
        compared = match(name, one["record"]["name"])
        assert (one["score"], one["explanation"]) == (compared.score, list(compared.reasons))
        assert one["member"] == "name"
    response = await get(names, f"{path}?name={quote(name)}&threshold=0.7")
    assert orjson.loads(response.body)["more"] is (len(wanted) > most)


async def test_thresholds_filters_and_faults(names: Adapter) -> None:
    """A hit needs the threshold, the mapping's unless one is given; filters narrow; what is not
    known here is refused."""
    name = quote("ສົມພອນ ວົງສາ")
    assert {one["score"] for one in await hits(names, f"/search?name={name}&threshold=1")} == {1.0}
    for least in ("1", "0.9", "0.5", "0.9"):  # also of kept answers
        found = await hits(names, f"/search?name={name}&threshold={least}")
        scores = [score for score, _ in expected("ສົມພອນ ວົງສາ", float(least), ROWS)]
        assert [one["score"] for one in found] == scores[:3]
    few = await hits(names, f"/few?name={name}")
    assert len(few) == len(expected("ສົມພອນ ວົງສາ", 0.8, ROWS))
    one = await hits(names, f"/search?name={name}&village=2&page_size=1")
    assert [hit["record"]["village"] for hit in one] == ["2"]
    for query in (
        "",
        "?name=",
        "?name=%20%2C",
        f"?name={name}&threshold=0.4",
        f"?name={name}&threshold=x",
        f"?name={name}&page_size=4",
        f"?name={name}&fields=id",
        f"?name={name}&cursor=x",
    ):
        assert (await get(names, f"/search{query}")).status == 400, query


async def test_a_search_shows_what_the_caller_sees(names: Adapter) -> None:
    """Hidden records are no candidates, also where an answer was kept; who sees initials does not
    search by names."""
    name = quote("ສົມພອນ ວົງສາ")
    everybody = await hits(names, f"/search?name={name}&threshold=0.5")
    some = await hits(names, f"/search?name={name}&threshold=0.5", x_road_client="LA/GOV/MOF/a")
    assert (
        {one["record"]["village"] for one in some}
        == {"2"}
        != {one["record"]["village"] for one in everybody}
    )
    assert await hits(names, f"/search?name={name}&threshold=0.5") == everybody
    refused = await ask(names, f"/search?name={name}", {"x-road-client": "LA/GOV/MOES/a"})
    assert refused.status == 403


async def test_answers_keep_the_contract(names: Adapter) -> None:
    """That of the document."""
    shared = schemas.load_all()
    contract = Contract.compile(openapi.document(names.mapping, "names", shared), shared)
    response = await get(names, "/search?name=Somphone%20Wongsa")
    kind = (("content-type", "application/json"),)
    operation = contract.find("GET", "/search").operation
    operation.check_response(200, kind, response.body)
    with pytest.raises(Problem):
        operation.check_response(200, kind, response.body.replace(b'"score"', b'"points"'))


async def test_files_have_an_index_of_sounds(tmp_path: Path) -> None:
    """Beside a column that says so."""
    lines = [f"{one['id']},{one['name'] or ''},{one['village']}" for one in ROWS]
    (tmp_path / "person.csv").write_text("Id,Name,Village\n" + "\n".join(lines), encoding="utf-8")
    adapter = opened(FILES, {"FOLDER": str(tmp_path)}, "rowid")
    try:
        found = await hits(adapter, f"/search?name={quote('ບຸນມີ ໄຊຍະວົງ')}")
        assert [one["score"] for one in found] == [
            score for score, _ in expected("ບຸນມີ ໄຊຍະວົງ", 0.85, ROWS)
        ]
        assert len(found) > 1
    finally:
        await adapter.close()


async def test_more_candidates_than_may_be_compared_are_refused(own_legacy: Legacy) -> None:
    """With what to do; and a check finds a search over a large table before a caller does: without
    sounds, and with sounds that no index finds."""
    many = [{"id": n, "name": NAMES[n % 12], "village": str(n % 3)} for n in range(1_200)]
    fill(own_legacy.url, many, index=False)
    environ = {"LEGACY_URL": own_legacy.url}
    adapter = opened(SQL, environ, "id")
    try:
        response = await get(adapter, "/few?name=Somphone")
        assert response.status == 422
        assert b"give more of the name" in response.body
        source = checking_source(
            adapter.mapping, lambda changed: Source(changed.source, environ, Path())
        ).lease()
        found = await against_source(adapter.mapping, source, {})
        await source.close()
    finally:
        await adapter.close()
    wrong = [f"{one.where}: {one.rule}" for one in found if not one.warning]
    assert any("GET /few: " in one and "more than 100" in one for one in wrong)
    assert any("GET /search: " in one and "person_name_sounds" in one for one in wrong)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("        names: [name]\n        sounds", "        sounds", "/search"),
        ("names: [name]", "names: [id]", "names"),
        ("names: [name]", "names: [nothing]", "names"),
        ("        order: [id]\n        page_size: 3\n", "", "/search"),
        ("page_size: 3", "page_size: 101", "page_size"),
        ("threshold: 0.8", "threshold: 0.2", "threshold"),
        ("max_candidates: {most}", "max_candidates: 5000", "max_candidates"),
        ("filters: [village]", "filters: {{name: {{}}}}", "/search"),
        ("operation: search", "operation: list", "names"),
        ("sounds: sound\n", "sounds: a-b\n", "sounds"),
    ],
)
def test_a_search_that_cannot_work_is_refused(old: str, new: str, place: str) -> None:
    """With its place, when the mapping is read."""
    assert old in MAPPING
    text = MAPPING.replace(old, new, 1).format(source=SQL, row="id", most=100)
    with pytest.raises(Problem) as refused:
        parse_mapping(text.encode())
    assert place in refused.value.where


async def checked(adapter: Adapter, environ: dict[str, str], counted: list[int]) -> list[Finding]:
    """What ``check --rows`` finds."""
    source = checking_source(
        adapter.mapping, lambda changed: Source(changed.source, environ, Path())
    ).lease()
    try:
        return await rows(adapter.mapping, source, schemas.load_all(), {}, counted.append)
    finally:
        await source.close()


async def test_a_check_of_rows_searches_each_record_by_its_name(own_legacy: Legacy) -> None:
    """Sounds that are there are right; one that is missing, one that is stale and a record that has
    none are told with key and place; names that no search finds are warned of."""
    environ = {"LEGACY_URL": own_legacy.url}
    fill(own_legacy.url, [*ROWS, {"id": 90, "name": "—", "village": "1"}])
    adapter = opened(SQL, environ, "id")
    text = MAPPING.replace("FROM person_name_sounds s JOIN person p ON p.{row} = s.row_no", LEFT)
    mapping = parse_mapping(text.format(source=SQL, most=100).encode(), "n.yaml")
    left = Adapter(mapping, Source(mapping.source, environ, Path()))
    try:
        counted: list[int] = []
        assert [one for one in await checked(adapter, environ, counted) if not one.warning] == []
        assert sum(counted) == 12 + 14  # those with sounds; all
        told = await checked(left, environ, [])
        assert {(one.key, one.place, one.warning) for one in told} >= {("id=90", "/name", True)}
        lacking = keys("Khamla Sisavath")[0]
        gone = f"DELETE FROM person_name_sounds WHERE sound = '{lacking}'"  # noqa: S608
        execute(own_legacy.url, gone)
        execute(own_legacy.url, "DELETE FROM person_name_sounds WHERE row_no = 0")
        execute(own_legacy.url, "INSERT INTO person_name_sounds VALUES ('zzzz', 1)")
        wrong = {one.key: one for one in await checked(left, environ, []) if not one.warning}
        assert wrong.keys() >= {"id=0", "id=1", "id=8"}
        assert "lacks" in wrong["id=8"].rule
        assert "holds 1 that no name of it has" in wrong["id=1"].rule
        assert wrong["id=8"].where == "names GET /search"
        assert all("Khamla" not in str(one.as_dict()) for one in wrong.values())
    finally:
        await adapter.close()
        await left.close()


LEFT = "FROM person p LEFT JOIN person_name_sounds s ON p.id = s.row_no"


async def test_sounds_of_another_version_are_not_searched(names: Adapter, legacy: Legacy) -> None:
    """A column of the keys of another version would miss records without a word: the search is a
    problem that says what to do, in answers and in a check; other endpoints go on."""
    text = MAPPING.replace("sounds: sound\n", "sounds: sound\n        sounds_version: 1\n")
    mapping = parse_mapping(text.format(source=SQL, row="id", most=100).encode(), "n.yaml")
    environ = {"LEGACY_URL": legacy.url}
    old = Adapter(mapping, Source(mapping.source, environ, Path()))
    try:
        with pytest.raises(Problem, match="make it anew") as told:
            await get(old, "/search?name=Khamla")
        assert told.value.code is Code.SOURCE_FAILED
        assert await hits(old, "/few?name=Khamla&threshold=0.6")
        source = checking_source(mapping, lambda one: Source(one.source, environ, Path())).lease()
        found = await against_source(mapping, source, {})
        await source.close()
        assert any("sounds of version 1" in one.rule for one in found)
    finally:
        await old.close()


def test_the_version_of_the_keys_tells_of_every_change() -> None:
    """Keys of known names, as of the version: where these differ, KEYS_VERSION must be higher."""
    samples = [name for name in NAMES if name] + ["Vientiane Capital", "ຄຳມ່ວນ", "ຫຼວງພະບາງ"]
    told = repr([keys(name) for name in samples]).encode()
    assert (KEYS_VERSION, hashlib.sha256(told).hexdigest()[:16]) == (2, "480c8199729d6d32")
