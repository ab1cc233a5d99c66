"""Sheets with totals, notes and signatures below the rows, and with headers of two rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
import yaml

from adapters.scan.feet import find_foot
from adapters.scan.layout import layout_of
from adapters.sources.headers import combined
from tests.adapters.test_scan import answers, saphan, scanned

HEAD = ("No", "ຊື່", "2024", "2025")
BODY = [(n, f"ໂຄງການ {n}", n * 10, n * 20) for n in range(1, 6)]
TOTAL = ("", "ລວມ", 150, 300)
SIGNED = [(), ("", "", "ວັນທີ 31/12/2025", ""), ("", "ຜູ້ສະຫຼຸບ", "", "ຫົວໜ້າ")]


def table_of(mapping: Path, name: str) -> dict[str, Any]:
    source = yaml.safe_load(mapping.read_text("utf-8"))["source"]
    table: dict[str, Any] = source["tables"][name]
    return table


def book(path: Path, rows: list[tuple[Any, ...]], merged: tuple[str, ...] = ()) -> str:
    with xlsxwriter.Workbook(str(path)) as file:
        sheet = file.add_worksheet("Plan")
        for number, cells in enumerate(rows):
            for place, cell in enumerate(cells):
                if cell != "":
                    sheet.write(number, place, cell)
        for cells in merged:
            first = rows[int(cells[1]) - 1][ord(cells[0]) - ord("A")]
            sheet.merge_range(cells, first)
    return str(path)


def test_a_total_and_signatures_are_left_out_by_a_rule_of_the_mapping(tmp_path: Path) -> None:
    """The scan says which rows, and that it is unsure; check says it each time."""
    source = book(tmp_path / "plan.xlsx", [HEAD, *BODY, TOTAL, *SIGNED])
    mapping = tmp_path / "plan.yaml"
    told = scanned(source, mapping)["unsure"]
    assert [(one["place"], one["code"]) for one in told] == [("Plan", "layout")]
    assert "rows 7 to 10 are taken for totals or notes" in told[0]["words"]
    assert table_of(mapping, "plan")["ends_at"] == {"header": "ຊື່", "begins_with": ["ລວມ"]}
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 0, done.output
    assert "plan.xlsx: rows 7 to 10 are left out, below the end of the rows" in done.output
    found = answers(mapping, "/plan")["items"]
    assert [one["no"] for one in found] == [1, 2, 3, 4, 5]
    assert found[4]["n_2025"] == 100
    assert saphan("drift", mapping).exit_code == 0


def test_a_foot_of_a_csv_file_with_fewer_cells(tmp_path: Path) -> None:
    """A line of another length is refused above the end and passed over below it."""
    lines = "Code;Births;Deaths\n" + "".join(f"A-{n};{n};{n}\n" for n in range(4))
    (tmp_path / "a.csv").write_text(f"{lines}Total;6;6\n\nSource: registers\n", "utf-8")
    mapping = tmp_path / "a.yaml"
    scanned(str(tmp_path / "a.csv"), mapping)
    assert table_of(mapping, "a")["ends_at"] == {"header": "Code", "begins_with": ["Total"]}
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert [one["code"] for one in answers(mapping, "/a")["items"]] == ["A-0", "A-1", "A-2", "A-3"]
    (tmp_path / "a.csv").write_text(f"{lines}A-9;6\nTotal;6;6\n", "utf-8")
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 1
    assert "a.csv row 6 column 3: the row has 2 cell(s), the header has 3" in done.output


def test_a_record_below_the_end_is_never_passed_over(tmp_path: Path) -> None:
    """Somebody adds a row below the total: the file is refused, and the last good reading stays."""
    lines = "Code;Births\n" + "".join(f"A-{n};{n}\n" for n in range(4))
    (tmp_path / "a.csv").write_text(f"{lines}Total;6\n", "utf-8")
    mapping = tmp_path / "a.yaml"
    scanned(str(tmp_path / "a.csv"), mapping)
    (tmp_path / "a.csv").write_text(f"{lines}Total;6\nA-4;7\nA-5;8\n", "utf-8")
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 1
    for row in (7, 8):
        words = f"a.csv row {row}: has the form of a record, below the end of the rows (6)"
        assert words in done.output
    assert saphan("try", mapping, "/a").exit_code == 1


NOTE = [("ໝາຍເຫດ: ບໍ່ລວມ 2023", "", "", "")]


@pytest.mark.parametrize(
    ("rows", "first", "rule"),
    [
        (BODY, 0, None),
        ([*BODY, TOTAL], 6, ("ຊື່", "ລວມ")),
        ([*BODY, ("Grand Total", "", 1, 2)], 6, ("No", "Grand Total")),
        ([*BODY, *NOTE], 6, ("No", "ໝາຍເຫດ")),
        ([*BODY, (), *SIGNED], 8, ("No", None)),
        ([*BODY, TOTAL, *SIGNED, *NOTE], 6, ("ຊື່", "ລວມ")),
        ([*BODY, ("", "", 150, 300)], 6, ("No", None)),
        ([*BODY, (6, "ໂຄງການ 6", "", "")], 0, None),
        ([*BODY, ("", "ໂຄງການ 6", 1, 2)], 0, None),
        ([*BODY, (6, "", "", "")], 6, None),
        ([(1, "ລວມພັດທະນາ", 1, 2), *BODY, TOTAL], 6 + 1, ("No", None)),
        ([*BODY[:1], TOTAL], 0, None),
        ([], 0, None),
    ],
)
def test_where_the_rows_seem_to_end(
    rows: list[tuple[Any, ...]], first: int, rule: tuple[str, str | None] | None
) -> None:
    """By a word for a total or a note, or by the first column, that each record has."""
    found = find_foot(HEAD, enumerate(rows, 1))
    assert found.first == first
    given = found.ends_at
    assert (given and (given.header, next(iter(given.begins_with), None))) == rule


def test_totals_between_the_rows_are_told() -> None:
    """They would be records like others."""
    found = find_foot(HEAD, enumerate([*BODY, TOTAL, *BODY, TOTAL], 1))
    assert found.totals == (6,)
    assert any("row 6" in words for words in found.doubts())


def test_the_foot_of_a_long_sheet_is_found(tmp_path: Path) -> None:
    """Below the rows that are sampled."""
    lines = "".join(f"A-{n};{n}\n" for n in range(2_000))
    (tmp_path / "a.csv").write_text(f"Code;Births\n{lines}ລວມ;9\n", "utf-8")
    mapping = tmp_path / "a.yaml"
    told = scanned(str(tmp_path / "a.csv"), mapping)["unsure"]
    assert any("row 2002 are" in one["words"] or "row 2002" in one["words"] for one in told)
    assert saphan("check", mapping, "--rows").exit_code == 0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("{header: Code}", "empty (true) and begins_with"),
        ("{header: Code, begins_with: []}", "empty (true) and begins_with"),
        ("{header: Code, begins_with: [' ']}", "does not have the form"),
        ("{header: Nothing, empty: true}", "no column has the header 'Nothing'"),
    ],
)
def test_an_end_that_cannot_be_found_is_refused(keys: str, words: str, tmp_path: Path) -> None:
    """In the mapping, or where the file has no such column."""
    (tmp_path / "a.csv").write_text("Code;Births\nA;1\nB;2\n", "utf-8")
    mapping = tmp_path / "a.yaml"
    scanned(str(tmp_path / "a.csv"), mapping)
    text = mapping.read_text("utf-8").replace("delimiter:", f"ends_at: {keys}\n      delimiter:")
    mapping.write_text(text, "utf-8")
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 1
    assert words in done.output + done.stderr


def test_each_cell_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Not the first alone: who corrects the file wants to know of all. No value is told."""
    (tmp_path / "a.csv").write_text("Code;Sum\nA;1\nB;2\n", "utf-8")
    mapping = tmp_path / "a.yaml"
    scanned(str(tmp_path / "a.csv"), mapping)
    (tmp_path / "a.csv").write_text("Code;Sum\nA;one\nB;2\nC;three\nD;4;5\n", "utf-8")
    done = saphan("check", mapping)
    assert done.exit_code == 1
    for place in ("row 2 column 2 (Sum)", "row 4 column 2 (Sum)", "row 5 column 3"):
        assert f"a.csv {place}" in done.output
    assert "three" not in done.output
    os.truncate(tmp_path / "a.csv", 0)
    (tmp_path / "a.csv").write_text("Code;Sum\n" + "A;x\n" * 200, "utf-8")
    done = saphan("check", mapping)
    assert done.output.count("(Sum)") == 100
    assert "only the first 100 are told" in done.output


UPPER = ("No", "ຊື່", "ງົບປະມານ", "", "Note")
LOWER = ("", "", 2024, 2025, "")
LINES = [(n, f"ໂຄງການ {n}", n * 1.5, n * 2.5, "x") for n in range(1, 4)]


def test_headers_of_two_rows_are_combined(tmp_path: Path) -> None:
    """A title that is merged over years goes on over each; the rows stand in the mapping."""
    rows = [("ບັນຊີ",), UPPER, LOWER, *LINES, ("", "ລວມ", 9, 15, "")]
    source = book(tmp_path / "plan.xlsx", rows, ("C2:D2", "A2:A3", "B2:B3"))
    mapping = tmp_path / "plan.yaml"
    told = scanned(source, mapping)["unsure"]
    assert [one["code"] for one in told if one["place"] == "Plan"] == ["layout", "layout"]
    assert "rows 2 and 3" in told[0]["words"]
    assert "'ງົບປະມານ 2024'" in told[0]["words"]
    table = table_of(mapping, "plan")
    assert (table["header_row"], table["header_rows"]) == (2, 2)
    columns = [one if isinstance(one, str) else one["header"] for one in table["columns"].values()]
    assert columns == ["No", "ຊື່", "ງົບປະມານ 2024", "ງົບປະມານ 2025", "Note"]
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 0, done.output
    found = answers(mapping, "/plan/3")
    assert list(found.values())[:4] == [3, "ໂຄງການ 3", 4.5, 7.5]
    assert saphan("drift", mapping).exit_code == 0


def test_headers_of_two_rows_in_a_csv_file(tmp_path: Path) -> None:
    """As an export leaves them, with empty cells where others were merged."""
    text = "Code,Person,,Place,\n,Name,Age,Village,District\n" + "".join(
        f"A-{n},ສົມ {n},{20 + n},ບ້ານ {n},ເມືອງ {n}\n" for n in range(4)
    )
    (tmp_path / "a.csv").write_text(text, "utf-8")
    mapping = tmp_path / "a.yaml"
    scanned(str(tmp_path / "a.csv"), mapping)
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/a/A-2") == {
        "code": "A-2", "person_name": "ສົມ 2", "person_age": 22, "place_village": "ບ້ານ 2",
        "place_district": "ເມືອງ 2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([UPPER, LOWER, *LINES], (1, 2)),
        ([("ບັນຊີ",), (), UPPER, LOWER, *LINES], (3, 2)),
        ([("A", "", "B", ""), ("x", "y", "v", "w"), *[(1, 2, 3, 4)] * 3], (1, 2)),
        ([("", "", "ງົບ", ""), ("No", "Name", 2024.0, 2025.0), *[(1, "a", 3, 4)] * 3], (1, 2)),
        ([("ບັນຊີ", "", "", ""), ("No", "Name", 2024.0, 2025.0), *[(1, "a", 3, 4)] * 3], (2, 1)),
        ([("", "ບັນຊີ", "", ""), ("No", "Name", "Plan", "Done"), *[(1, "a", 3, 4)] * 3], (2, 1)),
        ([("Code", "Name", "", "Note"), *[("A", "x", "y", "z")] * 3], (1, 1)),
        ([("Code", "Name", "Note"), *[("A", "x", "y")] * 3], (1, 1)),
    ],
)
def test_which_rows_are_headers(lines: list[tuple[Any, ...]], found: tuple[int, int]) -> None:
    """Two rows where a title stands over several; a title of the sheet is none."""
    layout = layout_of(lines)
    assert (layout.header_row, layout.header_rows) == found


@pytest.mark.parametrize(
    ("rows", "titles"),
    [
        ([["A", "B"]], ["A", "B"]),
        ([["No", "P", ""], ["", "x", "y"]], ["No", "P x", "P y"]),
        ([["P", "", "Note", ""], ["x", "y", "", "z"]], ["P x", "P y", "Note", "z"]),
        ([["P"], ["x", "y"]], ["P x", "P y"]),
        (
            [["P", "", "", ""], ["a", "", "b", ""], ["1", "2", "1", "2"]],
            ["P a 1", "P a 2", "P b 1", "P b 2"],
        ),
        ([["P", "Q"], ["P", ""]], ["P", "Q"]),
        ([], []),
    ],
)
def test_titles_are_combined(rows: list[list[str]], titles: list[str]) -> None:
    """From above, and to the right for as long as there is a title below."""
    assert combined(rows) == titles
