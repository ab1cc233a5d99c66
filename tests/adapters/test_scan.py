"""From an unknown source to a mapping that answers, what was unsure, and what drifted since."""

from __future__ import annotations

import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dbf
import orjson
import pytest
import xlsxwriter
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, Text, create_engine

from adapters.fields import Kind
from adapters.mapping.file import parse_mapping
from adapters.scan import files
from adapters.scan.found import FoundColumn
from adapters.scan.inferring import DoubtCode, infer
from adapters.sources import workbook
from adapters.text.codec import register
from console.cli.main import main
from exchange.problems import Problem
from tests.adapters.legacy import Legacy, execute


def saphan(*arguments: str | Path, **environ: str) -> Result:
    return CliRunner().invoke(main, ["adapter", *map(str, arguments)], env=environ)


def scanned(source: str, output: Path, *more: str) -> dict[str, Any]:
    result = saphan("scan", source, "-o", output, "--json", *more)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = orjson.loads(result.stdout)
    return told


def answers(mapping: Path, target: str) -> Any:
    result = saphan("try", mapping, target, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)["body"]


# Whole scans.


def test_an_unknown_database_answers_after_three_commands(
    own_legacy: Legacy, tmp_path: Path
) -> None:
    """scan, check every row, try: in each kind of database, with each command naming the next."""
    execute(own_legacy.url, "CREATE TABLE parts (id INTEGER PRIMARY KEY, item_id INTEGER,"
            " note VARCHAR(20), FOREIGN KEY (item_id) REFERENCES tbl_item (id))")  # fmt: skip
    execute(own_legacy.url, "INSERT INTO parts VALUES (7, 1, 'N/A')")
    mapping = tmp_path / "items.yaml"
    first = saphan("scan", own_legacy.url, "--service", "items", "-o", mapping)
    assert first.exit_code == 0, first.output
    assert f"Next: saphan adapter check {mapping} --rows" in first.stderr
    second = saphan("check", mapping, "--rows")
    assert second.exit_code == 0, second.output
    assert f"Next: saphan adapter add {mapping} " in second.stderr
    item = answers(mapping, "/tbl_item/1")
    assert item["amount"] == 1000.1
    assert item["signed_on"] == "2024-02-06"
    assert item["start_text"] == "2024-02-02"
    assert len(answers(mapping, "/tbl_item")["items"]) == 57
    assert answers(mapping, "/parts/7") == {"id": 7, "item_id": 1}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("reader:p%40ss:w%2Ford@db.gov.la/library", "reader:${V}@db.gov.la/library"),
        ("reader:${LIBRARY}@db.gov.la/library", None),
        ("${WHO}:secret@${HOST}:${PORT}/x", "${WHO}:${V}@${HOST}:${PORT}/x"),
        ("reader:a${REST}@db.gov.la/x", "reader:${V}@db.gov.la/x"),
        ("db.gov.la/x?password=secret&user=a", "db.gov.la/x?password=${V}&user=a"),
        ("db.gov.la/x?password=${LIBRARY}&user=a", None),
        ("reader@db.gov.la/x", None),
    ],
)
def test_a_password_does_not_come_into_the_mapping(given: str, shown: str | None) -> None:
    """A variable of the environment stands in its place, whatever signs the password has, and
    wherever an address may hold it; what comes from the environment stays as it was given."""
    from adapters.scan.scanning import _without_password

    expected = f"postgresql://{shown or given}", shown is not None
    assert _without_password(f"postgresql://{given}", "V") == expected


def test_a_file_that_would_fill_the_memory_is_not_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workbook is judged by what it unpacks to before it is opened; what reads Access has its
    time."""
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/sharedStrings.xml", bytes(1 << 20))
    monkeypatch.setattr(workbook, "MAX_UNPACKED_BYTES", 1 << 19)
    program = tmp_path / "mdb-tables"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(files, "_TABLES_S", 0.1)
    (tmp_path / "a.mdb").write_bytes(b"x")
    for name, said in (("a.xlsx", "unpacks to"), ("a.mdb", "timed out")):
        with pytest.raises(Problem) as caught:
            files.find_sheets(tmp_path / name)
        assert said in caught.value.detail


def test_an_address_out_of_the_environment_stays() -> None:
    """There is nothing in clear in it."""
    from adapters.scan.scanning import _without_password

    assert _without_password("${LIBRARY_URL}", "V") == ("${LIBRARY_URL}", False)


def test_paths_are_typed_from_here_and_written_from_the_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database and a file beside the mapping, named from the folder above."""
    (tmp_path / "office").mkdir()
    execute(f"sqlite:///{tmp_path}/office/x.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    (tmp_path / "office/a.csv").write_text("code,name\nA,x\n")
    monkeypatch.chdir(tmp_path)
    scanned("sqlite:///office/x.db", Path("office/x.yaml"))
    scanned("office/a.csv", Path("office/a.yaml"))
    assert "url: sqlite:///x.db" in Path("office/x.yaml").read_text()
    assert "file: a.csv" in Path("office/a.yaml").read_text()
    for name in ("x", "a"):
        assert saphan("check", f"office/{name}.yaml", "--rows").exit_code == 0


def test_only_the_tables_that_are_named(own_legacy: Legacy, tmp_path: Path) -> None:
    """``--table`` narrows; a table that is not there is told with those that are."""
    execute(own_legacy.url, "CREATE TABLE other (id INTEGER)")
    told = scanned(own_legacy.url, tmp_path / "m.yaml", "--table", "tbl_item")
    assert told["tables"] == 1
    missing = saphan("scan", own_legacy.url, "--table", "nothing")
    assert missing.exit_code != 0
    assert "tbl_item" in missing.stderr


def test_a_mapping_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """A person may have worked on it."""
    (tmp_path / "m.yaml").write_text("mine")
    result = saphan("scan", "sqlite:///x.db", "-o", tmp_path / "m.yaml")
    assert result.exit_code == 1
    assert (tmp_path / "m.yaml").read_text() == "mine"


@pytest.mark.parametrize("source", ["sqlite:///nothing.db", "nothing.csv", "redis://x", "nothing"])
def test_a_source_that_is_none_is_told(source: str, tmp_path: Path) -> None:
    """No traceback: a problem with its code and next step."""
    result = saphan("scan", source)
    assert result.exit_code not in (0, None)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


# Files.


def test_a_workbook_becomes_a_service(tmp_path: Path) -> None:
    """Each sheet with a header is a table; Lao headers are titles."""
    with xlsxwriter.Workbook(str(tmp_path / "Register 2025.xlsx")) as book:
        day = book.add_format({"num_format": "dd/mm/yyyy"})
        sheet = book.add_worksheet("ໂຄງການ")
        sheet.write_row(0, 0, ("No.", "ຊື່ໂຄງການ", "Budget (USD)", "Start"))
        for row in range(1, 4):
            sheet.write_row(row, 0, (row, f"ໂຄງການ {row}", row * 1.5))
            sheet.write_datetime(row, 3, datetime(2025, 1, row), day)
        book.add_worksheet("Empty")
        other = book.add_worksheet("Offices")
        other.write_row(0, 0, ("Code", "Province"))
        other.write_row(1, 0, ("A1", "ວຽງຈັນ"))
    mapping = tmp_path / "register.yaml"
    told = scanned(str(tmp_path / "Register 2025.xlsx"), mapping)
    assert told["tables"] == 2
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/table_1/2") == {
        "no": 2,
        "column_2": "ໂຄງການ 2",
        "budget_usd": 3.0,
        "start": "2025-01-02",
    }
    assert "lo: ຊື່ໂຄງການ" in mapping.read_text(encoding="utf-8")
    assert answers(mapping, "/offices")["items"] == [{"code": "A1", "province": "ວຽງຈັນ"}]


def test_a_csv_file_says_its_own_form(tmp_path: Path) -> None:
    """Delimiter and encoding are found; a date in text is a date."""
    text = "Code;Name;Day\n" + "".join(f"C{n};จังหวัด;{n:02}/03/2024\n" for n in range(1, 25))
    (tmp_path / "lines.csv").write_bytes(text.encode("cp874"))
    mapping = tmp_path / "m.yaml"
    scanned(str(tmp_path / "lines.csv"), mapping)
    assert saphan("check", mapping, "--rows").exit_code == 0
    found = answers(mapping, "/lines/C24")
    assert found["day"] == "2024-03-24"


def test_a_dbase_table_becomes_a_service(tmp_path: Path) -> None:
    """Its fields are the columns."""
    table = dbf.Table(str(tmp_path / "ngo.dbf"), "CODE C(8); AMOUNT N(12,2)", dbf_type="db3")
    table.open(dbf.READ_WRITE)
    table.append(("N1", 12.5))
    table.close()
    mapping = tmp_path / "m.yaml"
    scanned(str(tmp_path / "ngo.dbf"), mapping)
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/ngo/N1") == {"code": "N1", "amount": 12.5}


# Columns.

Y, LAO = "%d/%m/%Y", "Asia/Vientiane"
COLUMNS = [
    ("INTEGER", [1, 2, None], Kind.INTEGER, {}, ()),
    ("NUMERIC(18, 2)", [Decimal("1.50")], Kind.DECIMAL, {"scale": 2}, ()),
    ("REAL", [1.5, 2.25], Kind.DECIMAL, {"scale": 2}, ()),
    ("fraction", [1.0, 2.0], Kind.INTEGER, {}, ()),
    ("DATE", [date(2024, 1, 2)], Kind.DATE, {}, ()),
    ("DATETIME", [datetime(2024, 1, 2, 3)], Kind.DATETIME, {"zone": LAO}, (DoubtCode.ZONE,)),
    ("TINYINT(1)", [0, 1], Kind.BOOLEAN, {"stored": "integer"}, ()),
    ("BOOLEAN", [True], Kind.BOOLEAN, {}, ()),
    ("TEXT", ["a ", "b"], Kind.STRING, {"trim": True}, ()),
    ("TEXT", ["a", "-", "N/A"], Kind.STRING, {"null_words": ["-", "N/A"]}, (DoubtCode.NULLS,)),
    ("TEXT", ["31/12/2024", "01/02/2024"], Kind.DATE, {"format": Y}, ()),
    ("TEXT", ["01/12/2024", "01/02/2024"], Kind.DATE, {"format": Y}, (DoubtCode.DAY_OR_MONTH,)),
    ("TEXT", ["2024-01-31", "2024-02-01"], Kind.DATE, {}, ()),
    (
        "TEXT",
        ["2024-01-31 00:00:00", "2024-02-01 14:30:00"],
        Kind.DATETIME,
        {"format": "%Y-%m-%d %H:%M:%S", "zone": LAO},
        (DoubtCode.ZONE,),
    ),
    ("TEXT", ["2024-01-31 00:00:00"], Kind.DATE, {"format": "%Y-%m-%d 00:00:00"}, ()),
    (
        "TEXT",
        ["31/12/2567", "29/02/2567"],
        Kind.DATE,
        {"calendar": "buddhist", "format": "%d/%m/%Y"},
        (DoubtCode.BUDDHIST_YEARS,),
    ),
    ("TEXT", ["5/2/2013", "15/12/2014"], Kind.DATE, {"format": Y}, ()),
    ("TEXT", ["12 January 2013", "5 May 2014"], Kind.DATE, {"format": "%d %B %Y"}, ()),
    ("TEXT", ["12-Jan-2013", "05-MAY-2014"], Kind.DATE, {"format": "%d-%b-%Y"}, ()),
    *(
        (
            "TEXT",
            texts,
            Kind.DATE,
            {"calendar": "buddhist", "format": form},
            (DoubtCode.BUDDHIST_YEARS,),
        )
        for texts, form in (
            (["5/2/2556", "15/12/2557"], Y),
            (["໐໕/໐໒/໒໕໕໖", "໑໕/໑໒/໒໕໕໗"], Y),
            (["5 ມັງກອນ 2566", "12 ກຸມພາ 2566"], "%d %B %Y"),
        )
    ),
    (
        "TEXT",
        ["5/2/2013 8:30", "15/12/2014 17:45"],
        Kind.DATETIME,
        {"format": "%d/%m/%Y %H:%M", "zone": LAO},
        (DoubtCode.ZONE,),
    ),
    ("TEXT", ["5/2/2013 8h", "15/12/2014 17h"], Kind.STRING, {}, ()),
    ("DATE", [date(2567, 1, 2)], Kind.DATE, {"calendar": "buddhist"}, (DoubtCode.BUDDHIST_YEARS,)),
    ("DATE", [date(2567, 1, 2), date(2024, 1, 2)], Kind.DATE, {}, (DoubtCode.BUDDHIST_YEARS,)),
    ("TEXT", ["31/12/2567", "01/02/2024"], Kind.STRING, {}, (DoubtCode.BUDDHIST_YEARS,)),
    ("TEXT", ["31/12/2024"] * 9 + ["ປີ 2024"], Kind.STRING, {}, (DoubtCode.DATE_TEXT,)),
    ("TEXT", ["A", "B"] * 5, Kind.STRING, {}, (DoubtCode.CODE_LIST,)),
    ("TEXT", ["Y", "N"] * 5, Kind.BOOLEAN, {"true_words": ["Y"], "false_words": ["N"]}, ()),
    ("TEXT", ["001", "002"], Kind.STRING, {}, ()),
    ("TEXT", ["a@b.la", "c@d.la"], Kind.STRING, {}, (DoubtCode.PERSONAL,)),
    ("TEXT", ["020 5551 2345"], Kind.STRING, {}, (DoubtCode.PERSONAL,)),
    ("VARCHAR(10)", [], Kind.STRING, {}, (DoubtCode.EMPTY,)),
    ("GEOMETRY", [], Kind.STRING, {}, (DoubtCode.TYPE, DoubtCode.EMPTY)),
    ("BIGINT", [None], Kind.INTEGER, {}, (DoubtCode.EMPTY,)),
]


@pytest.mark.parametrize(
    ("kind", "values", "field", "keys", "doubts"),
    COLUMNS,
    ids=[f"{number}-{column[0]}" for number, column in enumerate(COLUMNS)],
)
def test_a_column_is_judged_by_its_type_and_values(
    kind: str, values: list[Any], field: Kind, keys: dict[str, Any], doubts: tuple[DoubtCode, ...]
) -> None:
    """What is certain is a key of the field, what is not is a doubt."""
    found = infer(FoundColumn("x", kind), values)
    assert (found.kind, found.keys) == (field, keys)
    assert tuple(doubt.code for doubt in found.doubts) == doubts


@pytest.mark.parametrize(
    "name", ["first_name", "SURNAME", "date_of_birth", "dob", "phone_no", "ນາມສະກຸນ", "passport_no"]
)
def test_a_name_tells_of_a_person(name: str) -> None:
    """Columns of persons are marked by their names, in English and Lao."""
    codes = [doubt.code for doubt in infer(FoundColumn(name, "TEXT"), ["x"]).doubts]
    assert DoubtCode.PERSONAL in codes


@pytest.mark.parametrize(
    ("name", "code"),
    [("phone", DoubtCode.PERSONAL), ("x", DoubtCode.PERSONAL), ("user_password", DoubtCode.SECRET),
     ("access_token", DoubtCode.SECRET), ("pin", DoubtCode.SECRET)],
)  # fmt: skip
def test_no_value_of_a_person_is_told(name: str, code: DoubtCode) -> None:
    """Nor of a password: a doubt says that there may be a code list, not what is in it."""
    found = infer(FoundColumn(name, "TEXT"), ["020 5551 2345"] * 20)
    assert code in {doubt.code for doubt in found.doubts}
    assert DoubtCode.CODE_LIST in {doubt.code for doubt in found.doubts}
    assert not any("5551" in doubt.words for doubt in found.doubts)


def test_no_odd_value_of_a_person_is_told() -> None:
    """What stands among dates is shown where it helps, but not of a person."""
    values = ["020 5551 2345", *["2024-01-02"] * 9]
    for name, told in (("since", True), ("dob", False)):
        (first, *_) = infer(FoundColumn(name, "TEXT"), values).doubts
        assert (first.code, "5551" in first.words) == (DoubtCode.DATE_TEXT, told)


def test_text_from_before_unicode_is_marked() -> None:
    """Lao in the codes of a font looks like Western signs: the encoding is told and proposed."""
    lao = "ສາທາລະນະລັດ ປະຊາທິປະໄຕ ປະຊາຊົນລາວ ນະຄອນຫຼວງວຽງຈັນ ແຂວງຈຳປາສັກ"
    register()
    copied = lao.encode("cp1133", "ignore").decode("latin-1")
    found = infer(FoundColumn("title", "TEXT"), [copied] * 3)
    assert DoubtCode.ENCODING in [doubt.code for doubt in found.doubts]
    assert found.keys["decode"] == "utf-8:ibm1133"
    assert not found.searchable


NAMES = st.text(st.characters(exclude_characters="\x00\\", exclude_categories=["Cs"]), min_size=1,
                max_size=20)  # fmt: skip
VALUES = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12))


@given(
    names=st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda name: name.casefold()),
    rows=st.lists(st.lists(VALUES, min_size=5, max_size=5), max_size=12),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_table_is_called_its_mapping_answers(
    names: list[str], rows: list[list[str | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Words of SQL, quotes, colons, Lao, emoji: the proposal is read and every query runs."""
    folder = tmp_path_factory.mktemp("scan")
    engine = create_engine(f"sqlite:///{folder}/x.db")
    table = Table(names[0], MetaData(), *(Column(name, Text) for name in names))
    table.create(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE "back\\slash" (a INTEGER)')
        for row in rows:
            connection.execute(table.insert().values(list(row[: len(names)])))
    engine.dispose()
    scanned(f"sqlite:///{folder}/x.db", folder / "m.yaml")
    parse_mapping((folder / "m.yaml").read_bytes())
    result = saphan("check", folder / "m.yaml")
    assert result.exit_code == 0, (result.output, (folder / "m.yaml").read_text())


def test_what_a_terminal_would_obey_does_not_leave_the_source(tmp_path: Path) -> None:
    """Control signs in values: the mapping is read back, the doubt is shown without them."""
    url = f"sqlite:///{tmp_path}/x.db"
    execute(url, "CREATE TABLE t (id INTEGER PRIMARY KEY, kind TEXT)")
    for number in range(10):
        execute(url, "INSERT INTO t VALUES (:n, :kind)", n=number, kind="A\x1b[2J")
    result = saphan("scan", url, "-o", tmp_path / "m.yaml")
    assert result.exit_code == 0, result.output
    assert "code list?" in result.stderr
    assert "\x1b" not in result.output + (tmp_path / "m.yaml").read_text(encoding="utf-8")
    assert saphan("check", tmp_path / "m.yaml", "--rows").exit_code == 0


# Drift.


@pytest.fixture
def mapped(own_legacy: Legacy, tmp_path: Path) -> tuple[Legacy, Path]:
    execute(own_legacy.url, "CREATE TABLE parts (id INTEGER PRIMARY KEY, note VARCHAR(20))")
    scanned(own_legacy.url, tmp_path / "m.yaml")
    return own_legacy, tmp_path / "m.yaml"


def drift(mapping: Path) -> tuple[int, list[tuple[str, bool]]]:
    result = saphan("drift", mapping, "--json")
    told = orjson.loads(result.stdout)["drift"]
    return result.exit_code, [(one["place"], one["breaks"]) for one in told]


def test_an_unchanged_source_has_not_drifted(mapped: tuple[Legacy, Path]) -> None:
    """Nothing is said right after the scan."""
    assert drift(mapped[1]) == (0, [])


def test_what_has_gone_breaks_the_mapping(mapped: tuple[Legacy, Path]) -> None:
    """A table, a column, and a value that the field no longer understands are named."""
    legacy, mapping = mapped
    execute(legacy.url, "DROP TABLE parts")
    execute(legacy.url, "ALTER TABLE tbl_item DROP COLUMN note")
    execute(legacy.url, "UPDATE tbl_item SET start_text = '2024.01.02' WHERE id = 3")
    status, found = drift(mapping)
    assert status == 1
    assert set(found) == {
        ("parts", True),
        ("tbl_item.note", True),
        ("tbl_item.start_text", True),
    }


def test_what_is_new_does_not_break_it(mapped: tuple[Legacy, Path]) -> None:
    """A new table and a new column are told, and the exit code is 0."""
    legacy, mapping = mapped
    execute(legacy.url, "CREATE TABLE more (id INTEGER)")
    execute(legacy.url, "ALTER TABLE parts ADD COLUMN colour VARCHAR(9)")
    status, found = drift(mapping)
    assert status == 0
    assert set(found) == {("more", False), ("parts.colour", False)}


def test_a_file_that_lost_a_header_has_drifted(tmp_path: Path) -> None:
    """Headers that are gone and new ones, by name."""
    (tmp_path / "a.csv").write_text("code,name\nA,x\nB,y\n")
    scanned(str(tmp_path / "a.csv"), tmp_path / "m.yaml")
    assert drift(tmp_path / "m.yaml") == (0, [])
    (tmp_path / "a.csv").write_text("code,title\nA,x\n")
    status, found = drift(tmp_path / "m.yaml")
    assert (status, set(found)) == (1, {("a.csv name", True), ("a.csv title", False)})
