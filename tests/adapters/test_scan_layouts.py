"""Sheets as offices keep them: titles above the headers, merged cells, two tables in one sheet."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import orjson
import pytest
import xlsxwriter

from adapters.scan.layout import layout_of
from adapters.text.codec import register
from tests.adapters.legacy import execute
from tests.adapters.test_scan import answers, saphan, scanned
from tests.docs.tables import write_dbf
from tests.services.server import DatabaseServer

TITLE = "ບັນຊີໂຄງການ ປີ 2025"


def test_titles_above_the_headers_are_passed_over(tmp_path: Path) -> None:
    """The row of the headers stands in the mapping, and is told; the service answers."""
    with xlsxwriter.Workbook(str(tmp_path / "plan.xlsx")) as book:
        day = book.add_format({"num_format": "dd/mm/yyyy"})
        sheet = book.add_worksheet("Plan")
        sheet.merge_range("A1:D1", TITLE)
        sheet.merge_range("A2:D2", "Ministry of Planning")
        sheet.write_row(3, 0, ("Code", "ຊື່", "Budget", "Start"))
        for row in range(3):
            sheet.write_row(4 + row, 0, (f"P-{row}", f"ໂຄງການ {row}", row * 1.5))
            sheet.write_datetime(4 + row, 3, datetime(2025, 1, row + 1), day)
    mapping = tmp_path / "plan.yaml"
    told = scanned(str(tmp_path / "plan.xlsx"), mapping)
    assert [(one["place"], one["code"]) for one in told["unsure"]] == [("Plan", "layout")]
    assert "row 4" in told["unsure"][0]["words"]
    assert "header_row: 4" in mapping.read_text("utf-8")
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/plan/P-1") == {
        "code": "P-1", "column_2": "ໂຄງການ 1", "budget": 1.5, "start": "2025-01-02"
    }  # fmt: skip
    assert saphan("drift", mapping).exit_code == 0


def test_lines_above_the_headers_of_a_csv_file(tmp_path: Path) -> None:
    """What a program writes above its export is passed over, too."""
    text = f"{TITLE}\nPrinted;31/12/2025\n\nCode;Births;Deaths\nA-1;4;2\nA-2;5;1\nA-3;6;0\n"
    (tmp_path / "born.csv").write_text(text, "utf-8")
    mapping = tmp_path / "born.yaml"
    told = scanned(str(tmp_path / "born.csv"), mapping)
    assert ("born", "layout") in [(one["place"], one["code"]) for one in told["unsure"]]
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/born/A-2") == {"code": "A-2", "births": 5, "deaths": 1}


HEAD = ("No", "Name", "Plan")
ROWS = [(1, "a", 2.5), (2, "b", 3.5)]


@pytest.mark.parametrize(
    ("lines", "row", "told"),
    [
        ([HEAD, *ROWS], 1, ()),
        ([("Code", 2024.0, 2025.0), *ROWS], 1, ()),
        ([(TITLE,), (), ("Code", 2024.0, 2025.0), *ROWS], 3, ("row 3",)),
        ([(TITLE, "", ""), HEAD, *ROWS], 2, ("row 2",)),
        ([("No", "Budget", "", ""), (1, 2.5, 3.5, ""), (2, 3.5, 4.5, "")], 1, ("column C",)),
        ([HEAD, *ROWS, (), ("", ""), HEAD, *ROWS], 1, ("row 6",)),
        ([HEAD, *ROWS, (), ("Code", "Village", "Head"), *ROWS], 1, ("row 5",)),
        ([HEAD, *ROWS, (), *ROWS], 1, ()),
        ([("Code", "Name"), ("A", "x"), (), ("B", "y")], 1, ()),
        ([HEAD], 1, ()),
        ([(1, 2, 3), (4, 5, 6)], 1, ()),
        ([], 1, ()),
    ],
)
def test_the_form_of_a_sheet_is_told(
    lines: list[tuple[object, ...]], row: int, told: tuple[str, ...]
) -> None:
    """Where the headers are, which columns have none, where another table may begin."""
    found = layout_of(lines)  # type: ignore[arg-type]  # cells of any kind
    assert found.header_row == row
    assert len(found.doubts) == len(told), found.doubts
    assert all(words in doubt for words, doubt in zip(told, found.doubts, strict=True))


def test_headers_that_stand_twice_are_left_out_and_told(tmp_path: Path) -> None:
    """A mapping cannot say which of them it means; the others are served."""
    text = "Code,Amount,Note,Amount\nA,1,x,2\nB,3,y,4\n"
    (tmp_path / "twice.csv").write_text(text, "utf-8")
    mapping = tmp_path / "twice.yaml"
    (told,) = scanned(str(tmp_path / "twice.csv"), mapping)["unsure"]
    assert (told["code"], "Amount" in told["words"]) == ("layout", True)
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/twice/B") == {"code": "B", "note": "y"}


def test_dates_that_only_a_field_can_read(tmp_path: Path) -> None:
    """A leap day of the Buddhist Era, Lao digits, a month by its name: of a file, too."""
    text = (
        "Code,Leap,Digits,Month,Plain\n"
        "A,29/02/2567,໐໕/໐໒/໒໕໕໖,5 ມັງກອນ 2566,31/12/2024\n"
        "B,1/3/2567,໑໕/໑໒/໒໕໕໗,12 ກຸມພາ 2566,01/02/2024\n"
    )
    (tmp_path / "days.csv").write_text(text, "utf-8")
    mapping = tmp_path / "days.yaml"
    scanned(str(tmp_path / "days.csv"), mapping)
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 0, done.output
    assert answers(mapping, "/days/A") == {
        "code": "A", "leap": "2024-02-29", "digits": "2013-02-05", "month": "2023-01-05",
        "plain": "2024-12-31",
    }  # fmt: skip


def test_cells_of_several_types_are_texts(tmp_path: Path) -> None:
    """A word among dates or truth values stands in the way of nothing; it is told."""
    with xlsxwriter.Workbook(str(tmp_path / "mixed.xlsx")) as book:
        day = book.add_format({"num_format": "dd/mm/yyyy"})
        sheet = book.add_worksheet("A")
        sheet.write_row(0, 0, ("code", "since", "open", "amount", "sure"))
        for row in range(1, 5):
            sheet.write_row(row, 0, (f"c{row}", "", row > 2, row, row > 2))
            sheet.write_datetime(row, 1, datetime(2025, 1, row), day)
        sheet.write_row(5, 0, ("c5", "ບໍ່ຮູ້", "maybe", "many", True))
    mapping = tmp_path / "mixed.yaml"
    told = scanned(str(tmp_path / "mixed.xlsx"), mapping)
    codes = {(one["place"], one["code"]) for one in told["unsure"]}
    assert codes == {(f"A.{name}", "unknown-type") for name in ("since", "open", "amount")}
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 0, done.output
    first, last = (answers(mapping, f"/a/c{row}") for row in (1, 5))
    assert first == {
        "code": "c1", "since": "2025-01-01", "open": "false", "amount": "1", "sure": False
    }  # fmt: skip
    assert last == {
        "code": "c5", "since": "ບໍ່ຮູ້", "open": "maybe", "amount": "many", "sure": True
    }  # fmt: skip


def test_empty_cells_are_no_texts(tmp_path: Path) -> None:
    """A column of numbers with gaps in it is one of numbers; nothing is said of it."""
    with xlsxwriter.Workbook(str(tmp_path / "gaps.xlsx")) as book:
        sheet = book.add_worksheet("A")
        for row, cells in enumerate((("code", "sum"), ("a", 1.5), ("b", None), ("c", " "))):
            sheet.write_row(row, 0, cells)
    mapping = tmp_path / "gaps.yaml"
    assert scanned(str(tmp_path / "gaps.xlsx"), mapping)["unsure"] == []
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/a")["items"] == [
        {"code": "a", "sum": 1.5},
        {"code": "b"},
        {"code": "c"},
    ]


def test_truth_values_of_a_dbase_table(tmp_path: Path) -> None:
    """A logical field is true or false in the answers."""
    write_dbf(tmp_path / "t.dbf", "CODE C(4),OPEN L\nA,T\nB,F\n")
    mapping = tmp_path / "t.yaml"
    scanned(str(tmp_path / "t.dbf"), mapping)
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/t/B") == {"code": "B", "open": False}


LINES = "Code\tName\n" + "".join(f"18-0{n}\tບ້ານ ໂພນສີ {n}\n" for n in range(1, 5))


def test_unicode_text_of_excel(tmp_path: Path) -> None:
    """UTF-16 with its mark and tabs."""
    (tmp_path / "a.txt").write_text(LINES, "utf-16")
    mapping = tmp_path / "a.yaml"
    assert scanned(str(tmp_path / "a.txt"), mapping)["unsure"] == []
    assert answers(mapping, "/a/18-02") == {"code": "18-02", "name": "ບ້ານ ໂພນສີ 2"}


def test_a_guessed_encoding_is_told_of_the_file(tmp_path: Path) -> None:
    """Also where no column's values show it: with the command that tells what else it may be."""
    register()
    (tmp_path / "a.csv").write_bytes("ລະຫັດ,A\n1,x\n2,y\n".encode("mulelao-1"))
    (told,) = scanned(str(tmp_path / "a.csv"), tmp_path / "a.yaml")["unsure"]
    assert (told["place"], told["code"]) == ("a", "encoding")
    assert "saphan text detect a.csv" in told["words"]


def test_an_index_of_documents_with_words_of_sql(tmp_path: Path) -> None:
    """Columns that are called Order and Group, below a title, are fields of the documents."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.pdf").write_bytes(b"%PDF-1.4\n")
    (tmp_path / "list.csv").write_text("Papers,,\nFile,Order,Group\na.pdf,1,x\n", "utf-8")
    mapping = tmp_path / "papers.yaml"
    told = scanned(str(tmp_path / "papers"), mapping)
    assert [one["code"] for one in told["unsure"]] == ["layout"]
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 0, done.output
    (item,) = answers(mapping, "/documents")["items"]
    assert (item["name"], item["column_2"], item["column_3"]) == ("a.pdf", 1, "x")


def test_a_sqlite_file_needs_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called: it is known by its first bytes."""
    monkeypatch.chdir(tmp_path)
    execute(f"sqlite:///{tmp_path}/old.sav", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    for source in ("old.sav", str(tmp_path / "old.sav")):
        mapping = tmp_path / f"{len(source)}.yaml"
        assert scanned(source, mapping)["tables"] == 1
        assert "url: sqlite:///old.sav" in mapping.read_text("utf-8")
        assert answers(mapping, "/t")["items"] == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing.db", "no file or folder"),
        ("site.sql", "load it into a database"),
        ("data.dat", ".csv, "),
        ("sqlite://old.db", "sqlite:///"),
    ],
)
def test_what_cannot_be_scanned_is_told_with_a_way_on(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump, a file of no known kind, an address with a stroke too few."""
    monkeypatch.chdir(tmp_path)
    for name in ("site.sql", "data.dat"):
        (tmp_path / name).write_text("CREATE TABLE t (id INT);\n")
    told = saphan("scan", source)
    assert told.exit_code == 1
    assert words in told.stderr


def test_passwords_are_left_out(tmp_path: Path) -> None:
    """Five commands must not publish what nobody should see; a key of that name stays, and is
    told."""
    execute(
        f"sqlite:///{tmp_path}/x.db",
        "CREATE TABLE account (pin TEXT PRIMARY KEY, passwd TEXT, name TEXT)",
    )
    execute(f"sqlite:///{tmp_path}/x.db", "INSERT INTO account VALUES ('77', 'secret', 'a')")
    mapping = tmp_path / "x.yaml"
    told = scanned(f"sqlite:///{tmp_path}/x.db", mapping)
    doubts = [(one["place"], one["code"], "left out" in one["words"]) for one in told["unsure"]]
    assert sorted(doubts) == [
        ("account.passwd", "secret", True),
        ("account.pin", "secret", False),
    ]
    assert answers(mapping, "/account/77") == {"name": "a", "pin": "77"}
    assert saphan("drift", mapping).exit_code == 0


def test_a_view_of_mariadb_is_shown_to_who_may_only_select(
    mariadb_server: DatabaseServer, tmp_path: Path
) -> None:
    """Its definition is not, and is not needed."""
    mariadb_server.new_database("scan_view")
    for statement in (
        "CREATE TABLE base (id INT PRIMARY KEY, kind ENUM('x', 'y'), since DATE)",
        "INSERT INTO base VALUES (1, 'x', '2024-01-02')",
        "CREATE VIEW shown AS SELECT id, kind, since FROM base",
        "CREATE OR REPLACE USER view_reader IDENTIFIED BY 'secret'",
        "GRANT SELECT ON scan_view.* TO view_reader",
    ):
        mariadb_server.run(statement, "scan_view")
    mapping = tmp_path / "m.yaml"
    address = f"mariadb://view_reader:secret@127.0.0.1:{mariadb_server.port}/scan_view"
    told = scanned(address, mapping, "--table", "shown")
    assert [one["code"] for one in told["unsure"]] == ["no-key"]
    result = saphan("try", mapping, "/shown", "--json", SOURCE_PASSWORD="secret")
    (item,) = orjson.loads(result.stdout)["body"]["items"]
    assert item == {"id": 1, "kind": "x", "since": "2024-01-02"}
