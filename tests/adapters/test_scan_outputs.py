"""What a scan proposes beside the mapping: a schema, a contract and test data that keep both."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

import schemas
from adapters.mapping.file import parse_mapping
from adapters.openapi import PAGE_SCHEMA, document
from adapters.scan.drafting import draft
from adapters.scan.found import SAMPLE_ROWS, FoundColumn, FoundTable
from adapters.scan.inventing import invent
from adapters.scan.planning import plans_of
from adapters.scan.proposing import propose
from adapters.text.codec import register
from console.cli.main import main
from exchange.identifiers import ApplicationId
from tests.docs.tables import write_dbf

PEOPLE = 60
TABLES = """
CREATE TABLE province (code CHAR(5) PRIMARY KEY, name_la VARCHAR(40) NOT NULL);
INSERT INTO province VALUES ('LA-VT', 'ນະຄອນຫຼວງວຽງຈັນ'), ('LA-LP', 'ຫຼວງພະບາງ');
CREATE TABLE person (person_id INTEGER PRIMARY KEY, nid CHAR(13) NOT NULL, full_name TEXT, dob TEXT,
  sex CHAR(1), email TEXT, salary NUMERIC(10, 2), phone INTEGER, village TEXT, grade TEXT,
  pupils INTEGER, paid NUMERIC(10, 2), is_active BOOLEAN, changed DATETIME,
  prov CHAR(5) REFERENCES province (code));
"""
PRIVATE = ("nid", "full_name", "dob", "email", "salary", "phone")


def person(number: int) -> tuple[Any, ...]:
    return (
        number + 7000, f"01{number:011}", f"ທ້າວ ສົມພອນ{number}", f"{number % 28 + 1:02}/03/1988",
        "MF"[number % 2], f"som{number}@mail.la", 1000 * number + 0.5, 2055500000 + number,
        "ບ້ານນາສາ" if number % 3 else None, "ABC"[number % 3], number % 40 + 20, number + 0.25,
        bool(number % 4), f"2026-01-02 08:{number:02}:00", "LA-VT" if number % 2 else "LA-LP",
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of people."""
    path = tmp_path_factory.mktemp("source") / "people.db"
    with sqlite3.connect(path) as database:
        database.executescript(TABLES)
        places = ", ".join("?" * len(person(0)))
        rows = map(person, range(PEOPLE))
        database.executemany(f"INSERT INTO person VALUES ({places})", rows)  # noqa: S608
    database.close()
    return path


def scan(source: str, folder: Path, *more: str) -> dict[str, Any]:
    """The files that a scan wrote, by their names."""
    command = ["adapter", "scan", source, "--service", "people", "-o", str(folder), *more]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return {path.name: orjson.loads(path.read_bytes()) for path in folder.glob("*.json")}


def test_a_folder_gets_all_that_is_proposed(source: Path, tmp_path: Path) -> None:
    """Mapping, contract, schema, test data; the mapping is where the next command looks."""
    files = scan(f"sqlite:///{source}", tmp_path / "people")
    assert {*files} == {"people.openapi.json", "records.schema.json", "test-data.json"}
    mapping = tmp_path / "people" / "mapping.yaml"
    checked = CliRunner().invoke(main, ["adapter", "check", str(mapping), "--rows"])
    assert checked.exit_code == 0, checked.output
    again = CliRunner().invoke(
        main, ["adapter", "scan", f"sqlite:///{source}", "-o", str(mapping.parent)]
    )
    assert again.exit_code == 1
    assert "is there already" in again.output


def test_contract_and_schema_are_what_the_standards_say(source: Path, tmp_path: Path) -> None:
    """By validators of other hands."""
    files = scan(f"sqlite:///{source}", tmp_path / "people")
    contract = orjson.dumps(files["people.openapi.json"]).decode()
    page = orjson.loads(schemas.load_all()[PAGE_SCHEMA])
    whole = orjson.loads(contract.replace(PAGE_SCHEMA, "#/components/schemas/page"))
    whole["components"]["schemas"]["page"] = {key: page[key] for key in page if key[0] != "$"}
    validate(whole)
    Draft202012Validator.check_schema(files["records.schema.json"])


def test_the_schema_says_what_was_seen(source: Path, tmp_path: Path) -> None:
    """Formats, lengths, code lists, and what is never null; no word of what may be private."""
    files = scan(f"sqlite:///{source}", tmp_path / "people")
    found = files["records.schema.json"]["$defs"]["person"]
    properties = found["properties"]
    assert found["required"] == ["person_id", "nid"]
    assert properties["dob"]["format"] == "date"
    assert properties["changed"]["format"] == "date-time"
    assert properties["grade"]["enum"] == ["A", "B", "C"]
    assert properties["nid"]["maxLength"] == 13
    assert "enum" not in properties["sex"]
    assert "enum" not in properties["prov"]


def test_made_up_records_keep_schema_and_contract(source: Path, tmp_path: Path) -> None:
    """Each record of each table, by another validator; Lao where the source has Lao, and keys of
    one table where another refers to it."""
    files = scan(f"sqlite:///{source}", tmp_path / "people")
    contract = files["people.openapi.json"]["components"]["schemas"]
    data = files["test-data.json"]
    assert {*data} == {"person", "province"}
    for name, records in data.items():
        for schema in (files["records.schema.json"]["$defs"][name], contract[name]):
            judge = Draft202012Validator(schema, format_checker=FormatChecker())
            assert [error.message for one in records for error in judge.iter_errors(one)] == []
        assert len(records) == 20
    people = data["person"]
    assert len({one["person_id"] for one in people}) == len(people)
    assert {one["prov"] for one in people} <= {one["code"] for one in data["province"]}
    assert all("\u0e80" <= one["full_name"][0] <= "\u0eff" for one in people)
    assert any("village" not in one for one in people)
    assert all(20 <= one["pupils"] < 60 for one in people)


def test_no_private_value_is_taken_over(source: Path, tmp_path: Path) -> None:
    """Of columns that are likely personal, whatever seed is taken: not one value of a real row, nor
    a text of any other column that is no code."""
    columns = [line.split()[0] for line in TABLES.split("person (")[1].split(",")]
    real = {
        name: {str(person(number)[columns.index(name)]) for number in range(PEOPLE)}
        for name in PRIVATE
    }
    real["dob"] = {f"1988-03-{day:02}" for day in range(1, 29)}
    for seed in range(1, 8):
        files = scan(f"sqlite:///{source}", tmp_path / f"people{seed}", "--seed", str(seed))
        for one in files["test-data.json"]["person"]:
            assert all(str(one.get(name)) not in real[name] for name in PRIVATE)
        written = b"".join(
            path.read_bytes() for path in (tmp_path / f"people{seed}").glob("*.json")
        )
        assert "ສົມພອນ".encode() not in written
        assert b"@mail.la" not in written


def test_days_of_the_buddhist_era_are_made_up_as_they_are_answered(tmp_path: Path) -> None:
    """In common years; and no day of birth is taken over, whichever way it is written."""
    with sqlite3.connect(tmp_path / "era.db") as database:
        database.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, dob TEXT, entered TEXT)")
        days = [
            date.fromordinal(date(1990, 1, 1).toordinal() + n)
            for n in range(0, 11_000, 11_000 // SAMPLE_ROWS)
        ][:SAMPLE_ROWS]
        rows = [f"{day:%d/%m}/{day.year + 543}" for day in days]
        database.executemany(
            "INSERT INTO person (dob, entered) VALUES (?, '29/02/2567')", [(one,) for one in rows]
        )
    words = ("scan", f"sqlite:///{tmp_path}/era.db", "--application", "LA/GOV/MOHA/register")
    done = CliRunner().invoke(main, ["adapter", *words, "-o", str(tmp_path / "era")])
    assert done.exit_code == 0, done.output
    [made] = orjson.loads((tmp_path / "era" / "test-data.json").read_bytes()).values()
    assert {one["entered"] for one in made} == {"2024-02-29"}
    assert {str(day) for day in days}.isdisjoint(one["dob"] for one in made)


def test_the_same_seed_gives_the_same_records(source: Path, tmp_path: Path) -> None:
    """Byte for byte; another seed gives others."""
    first, second, other = (
        scan(f"sqlite:///{source}", tmp_path / name, "--seed", seed)["test-data.json"]
        for name, seed in (("a", "5"), ("b", "5"), ("c", "6"))
    )
    assert first == second
    assert first != other


def test_text_of_a_lao_font_is_made_up_in_unicode(tmp_path: Path) -> None:
    """Test data are what would be answered, not what is stored."""
    register()
    names = ["ໂຄງການນ້ຳສະອາດ", "ບ້ານໂພນສີນວນ", "ເມືອງຫຼວງພະບາງ", "ຫ້ອງການແຂວງຈຳປາສັກ"] * 4
    database = sqlite3.connect(tmp_path / "old.db")
    database.execute("CREATE TABLE old (id INTEGER PRIMARY KEY, title TEXT)")
    for number, name in enumerate(names):
        text = name.encode("lswin").decode("cp1252")
        database.execute("INSERT INTO old VALUES (?, ?)", (number, text))
    database.commit()
    database.close()
    files = scan(f"sqlite:///{tmp_path}/old.db", tmp_path / "old")
    records = files["test-data.json"]["old"]
    assert all("\u0e80" <= one["title"][0] <= "\u0eff" for one in records)


def test_files_have_test_data_too(tmp_path: Path) -> None:
    """A dBASE table with dates, numbers and a memo."""
    write_dbf(
        tmp_path / "ngo.dbf",
        "CODE C(8),SINCE D,BUDGET N(12,2),NOTE M\nN-001,2019-05-01,12000.5,ບົດລາຍງານ\nN-002,,80,\n",
    )
    files = scan(str(tmp_path / "ngo.dbf"), tmp_path / "ngo")
    records = files["test-data.json"]["ngo"]
    assert len({one["code"] for one in records}) == 20
    assert all(one["code"].startswith("N-") for one in records)
    judge = Draft202012Validator(files["records.schema.json"])
    assert all(judge.is_valid(one) for one in records)


# Whatever a source holds.

_NAMES = st.sampled_from(["code", "title", "full_name", "phone_no", "paid", "born", "ນາມສະກຸນ", "x"])
_TYPES = st.sampled_from(
    ["INTEGER", "TEXT", "CHAR(3)", "VARCHAR(40)", "NUMERIC(12, 2)", "REAL", "DATE", "DATETIME",
     "BOOLEAN", "GEOMETRY"]
)  # fmt: skip
_KINDS = (
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-1e15, 1e15),
    st.booleans(),
    st.dates(date(1800, 1, 1), date(2500, 1, 1)),
    st.datetimes(datetime(1800, 1, 1), datetime(2500, 1, 1)),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(["A", "B", "", "-", "31/12/2024", "2024-01-31 08:00:00", "ບ້ານ", "Y", "N"]),
    st.binary(max_size=4),
)
_VALUES: st.SearchStrategy[Any] = st.one_of(*_KINDS)


@st.composite
def _columns(draw: st.DrawFn) -> tuple[FoundColumn, list[Any]]:
    values = draw(st.sampled_from([_VALUES, *_KINDS]))
    column = FoundColumn(draw(_NAMES), draw(_TYPES), draw(st.booleans()))
    return column, draw(st.lists(values, min_size=6, max_size=6))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(columns=st.lists(_columns(), min_size=1, max_size=5), key=st.booleans(), seed=st.integers())
def test_whatever_the_samples_are_test_data_keep_the_schema(
    columns: list[tuple[FoundColumn, list[Any]]], key: bool, seed: int
) -> None:
    """Of any types and values, wrong ones for their type too; and they are JSON."""
    found = (FoundColumn("id", "INTEGER"), *(column for column, _ in columns))
    rows = zip(range(6), *(values for _, values in columns), strict=True)
    table = FoundTable(
        name="t",
        columns=found,
        key=(found[1].name,) if key else (),
        samples=list(rows),
        as_text="CAST({} AS TEXT)",
    )
    plans = plans_of([table])
    source = {"kind": "sql", "url": "sqlite:///x.db"}
    mapping, _ = propose(ApplicationId.parse("LA/GOV/MOES/x"), "x", source, plans)
    contract = document(parse_mapping(mapping.encode(), "proposal"), "x")
    schema = draft(plans, contract)
    made = orjson.loads(orjson.dumps(invent(plans, schema, seed)))
    assert made == invent(plans, schema, seed)
    of_contract = orjson.loads(contract)["components"]["schemas"]["t"]
    for one in (schema["$defs"]["t"], of_contract):
        judge = Draft202012Validator(one, format_checker=FormatChecker())
        assert [error.message for record in made["t"] for error in judge.iter_errors(record)] == []
