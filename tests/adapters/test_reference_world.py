"""The reference world's registers, through their mappings, over each kind of database."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from sqlalchemy import create_engine, text

import schemas
from adapters import check, check_rows
from adapters.mapping.file import load_mapping
from adapters.records import Records
from adapters.service import Adapter, load, load_all, open_source
from console.reference_world import MAPPINGS, data, registers
from console.reference_world.ingo import PROJECTS as INGO_PROJECTS
from console.reference_world.ingo import write_ingo
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from tests.adapters.conftest import EACH_KIND
from tests.adapters.legacy import get, items, walk

GIVEN = {"nid": registers.PERSON}
World = dict[str, str]
WRITERS: dict[str, Callable[[str], None]] = {
    "ODA_MIS_URL": data.write_oda_mis,
    "ENTERPRISES_URL": data.write_enterprises,
    "GAZETTE_URL": registers.write_gazette,
    "CIVIL_REGISTER_URL": registers.write_civil_register,
}
NAMES = (
    "oda-mis",
    "ingo-register",
    "enterprise-register",
    "gazette",
    "civil-register",
    "province-reports",
)


@pytest.fixture(scope="session", params=EACH_KIND)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The environment of the mappings, with filled databases of one kind."""
    folder = tmp_path_factory.mktemp("world")
    if request.param == "sqlite":
        urls = {name: f"sqlite:///{folder}/{name}.db" for name in WRITERS}
    else:
        server = request.getfixturevalue(f"{request.param}_server")
        urls = {name: server.new_database(f"world_{name.lower()}") for name in WRITERS}
    for name, write in WRITERS.items():
        write(urls[name])
    write_ingo(folder)
    registers.write_drops(folder)
    return urls | {"INGO_FOLDER": str(folder), "DROPS_FOLDER": str(folder)}


async def of(world: World, name: str, service: str) -> Adapter:
    return load(MAPPINGS / f"{name}.yaml", world, service)


async def total(adapter: Adapter, year: int) -> Decimal:
    summary = await items(adapter, f"/summary?fiscal_year={year}")
    return sum((Decimal(item["actual_usd"]) for item in summary), Decimal(0))


@pytest.mark.parametrize("name", NAMES)
async def test_every_row_keeps_its_schema_but_the_one_that_should_not(
    world: World, name: str
) -> None:
    """The check finds the broken project and nothing else."""
    path = MAPPINGS / f"{name}.yaml"
    mapping, shared = load_mapping(path), schemas.load_all()
    source = check.checking_source(mapping, lambda changed: open_source(changed, path, world))
    source.lease()
    found = check.against_schemas(mapping, shared)
    found += await check.against_source(mapping, source, GIVEN)
    found += await check_rows.rows(mapping, source, shared, GIVEN)
    await source.close()
    expected = [(f"proj_code={data.BROKEN_PROJECT}", "/commitment")] if name == "oda-mis" else []
    assert [(finding.key, finding.place) for finding in found if not finding.warning] == expected


async def test_the_registers_are_as_large_as_they_should_be(world: World) -> None:
    """500 projects, 5,000 disbursements, 120 INGO projects, 200 enterprises, 60 laws, each once."""
    for name, service, path, key, number in (
        ("oda-mis", "projects", "/projects", "code", data.PROJECTS),
        ("oda-mis", "disbursements", "/disbursements", "id", data.DISBURSEMENTS),
        ("ingo-register", "projects", "/projects", "code", INGO_PROJECTS),
        ("gazette", "laws", "/laws", "id", registers.LAWS),
        (
            "enterprise-register",
            "enterprises",
            "/enterprises",
            "registration_number",
            data.ENTERPRISES,
        ),
    ):
        adapter = await of(world, name, service)
        keys = [item[key] for page in await walk(adapter, path) for item in page]
        assert (len(keys), len(set(keys))) == (number, number)
        await adapter.close()


async def test_the_summary_is_the_sum_of_the_disbursements(world: World) -> None:
    """Actual disbursement by province and sector adds up to what was paid, to the cent."""
    adapter = await of(world, "oda-mis", "disbursements")
    for year in data.FISCAL_YEARS:
        pages = await walk(
            adapter, f"/disbursements?fiscal_year={year}&kind=actual&fields=amount_usd"
        )
        paid = sum(Decimal(item["amount_usd"]) for page in pages for item in page)
        assert await total(adapter, year) == paid > 0
    assert await items(adapter, "/summary?fiscal_year=1999") == []
    await adapter.close()


async def test_both_registers_sum_in_the_same_shape(world: World) -> None:
    """MPI's and MOFA's summaries have the same members, so that MOF can add them."""
    oda = await of(world, "oda-mis", "disbursements")
    ingo = await of(world, "ingo-register", "projects")
    first = (await items(oda, "/summary?fiscal_year=2024"))[0]
    second = (await items(ingo, "/summary?fiscal_year=2024"))[0]
    assert first.keys() == second.keys()
    assert await total(ingo, 2024) > 0
    await asyncio.gather(oda.close(), ingo.close())


async def test_projects_are_found_by_province_sector_donor_and_status(world: World) -> None:
    """The filters of the list hold for every item, also where the legacy text is spelt oddly."""
    adapter = await of(world, "oda-mis", "projects")
    tests: tuple[tuple[str, Callable[[dict[str, object]], bool]], ...] = (
        ("province=LA-CH", lambda item: "LA-CH" in item["provinces"]),  # type: ignore[operator]
        ("sector=health", lambda item: item["sector_working_group"] == "health"),
        ("donor=LA-MPI-D06", lambda item: item["donor"]["ref"] == "LA-MPI-D06"),  # type: ignore[index]
        ("status=2", lambda item: item["status"] == "2"),
    )
    everything = [dict(item) for page in await walk(adapter, "/projects") for item in page]
    for query, holds in tests:
        found = [dict(item) for page in await walk(adapter, f"/projects?{query}") for item in page]
        assert found == [item for item in everything if holds(item)]
        assert found
    await adapter.close()


async def test_the_broken_project_is_in_no_list_and_stopped_by_the_contract(world: World) -> None:
    """One key reaches the record that breaks its schema."""
    path = MAPPINGS / "oda-mis.yaml"
    adapter = load(path, world, "projects")
    document = Records(adapter.mapping).document("projects", schemas.load_all())
    pages = await walk(adapter, "/projects?fields=code")
    assert {"code": data.BROKEN_PROJECT} not in [item for page in pages for item in page]
    response = await get(adapter, f"/projects/{data.BROKEN_PROJECT}")
    assert response.status == 200
    match = Contract.compile(document, schemas.load_all()).find("GET", "/projects/x")
    with pytest.raises(Problem) as caught:
        match.operation.check_response(response.status, response.headers, response.body)
    assert caught.value.code is Code.RESPONSE_SCHEMA_VIOLATION
    assert caught.value.where == "body#/commitment"
    await adapter.close()


async def test_the_services_of_a_mapping_share_one_source(world: World) -> None:
    """Closing one service leaves the other its connections."""
    adapters = load_all(MAPPINGS / "oda-mis.yaml", world)
    await adapters["projects"].close()
    assert await items(adapters["disbursements"], "/summary?fiscal_year=2025")
    await adapters["disbursements"].close()


async def test_an_enterprise_is_found_by_its_number(world: World) -> None:
    """The key of a business is its registration number; another form of it is refused."""
    adapter = await of(world, "enterprise-register", "enterprises")
    record = orjson.loads((await get(adapter, "/enterprises/0100007")).body)
    assert record["registration_number"] == "0100007"
    assert (await get(adapter, "/enterprises/0199999")).status == 404
    assert (await get(adapter, "/enterprises/x")).status == 400
    await adapter.close()


async def test_names_of_an_old_font_are_read(world: World) -> None:
    """What stands in the database are Latin letters; what is answered is Lao, one person at a
    time."""
    engine = create_engine(world["CIVIL_REGISTER_URL"])
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT name_la, surname_la FROM tbl_person")).all()
    engine.dispose()
    assert not any("\u0e80" <= sign <= "\u0eff" for row in stored for word in row for sign in word)
    adapter = await of(world, "civil-register", "persons")
    person = orjson.loads((await get(adapter, f"/persons/{registers.PERSON}")).body)
    assert (person["name"], person["surname"]) == ("ນ້ຳຝົນ", "ສົມມຸດ")
    assert (await get(adapter, "/persons")).status == 404
    await adapter.close()


async def test_provinces_write_as_they_can(world: World) -> None:
    """Three encodings and two delimiters become one list."""
    adapter = await of(world, "province-reports", "payments")
    found = await items(adapter, "/payments")
    assert len(found) == registers.LINES * len(registers.DROPS)
    assert {one["province"] for one in found} == {name for name, _, _ in registers.DROPS}
    assert all(one["village"].startswith("ບ້ານ") for one in found)
    await adapter.close()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """The world is the same on every machine."""

    def digest(folder: Path) -> str:
        folder.mkdir()
        data.write_oda_mis(folder / "oda.db")
        registers.write_civil_register(folder / "civil.db")
        files = [*write_ingo(folder), *registers.write_drops(folder / "drops")]
        dump = ""
        for name in ("oda.db", "civil.db"):
            database = sqlite3.connect(folder / name)
            dump += "\n".join(database.iterdump())
            database.close()
        return hashlib.sha256(dump.encode() + b"".join(f.read_bytes() for f in files)).hexdigest()

    assert digest(tmp_path / "a") == digest(tmp_path / "b")
