"""Numbers as offices write them: read exactly, by the form that the mapping says, or refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import xlsxwriter
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapters.fields import Mismatch, Negative, NumberForm
from tests.adapters.test_scan import answers, saphan, scanned

KIP = ("ກີບ", "LAK")


@pytest.mark.parametrize(
    ("form", "text", "plain"),
    [
        (NumberForm(), "1250000.50", "1250000.50"),
        (NumberForm(), "-5", "-5"),
        (NumberForm(), "໑໒໕໐", "1250"),
        (NumberForm(","), "1,250,000", "1250000"),
        (NumberForm(","), "1,250,000.5", "1250000.5"),
        (NumberForm(","), "250", "250"),
        (NumberForm(".", ","), "1.250.000,75", "1250000.75"),
        (NumberForm(" ", ","), "1 250 000,75", "1250000.75"),
        (NumberForm("", ","), "12,5", "12.5"),
        (NumberForm(",", negative=Negative.BRACKETS), "(1,200)", "-1200"),
        (NumberForm(",", negative=Negative.BRACKETS), "-1,200", "-1200"),
        (NumberForm(",", unit_words=KIP), "1,250,000 ກີບ", "1250000"),
        (NumberForm(",", unit_words=KIP), "LAK1,250,000", "1250000"),
        (NumberForm(",", unit_words=KIP), "໑,໒໕໐ ກີບ", "1250"),
        (NumberForm(",", unit_words=("$",)), "-$1,250.25", "-1250.25"),
        (NumberForm(",", "." , Negative.BRACKETS, ("$",)), "($1,250)", "-1250"),
        (NumberForm(",", ".", Negative.BRACKETS, KIP), "(1,250) ກີບ", "-1250"),
        (NumberForm(unit_words=("%",)), "12.5%", "12.5"),
    ],
)  # fmt: skip
def test_a_number_is_read_by_its_form(form: NumberForm, text: str, plain: str) -> None:
    """Thousands, decimals, brackets, units and Lao digits, as the mapping says."""
    assert form.plain(text) == plain


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (NumberForm(), "1,250"),
        (NumberForm(), "(5)"),
        (NumberForm(), "5%"),
        (NumberForm(), "໑2"),
        (NumberForm(), "+5"),
        (NumberForm(), ""),
        (NumberForm(","), "1,5"),
        (NumberForm(","), "1,25,000"),
        (NumberForm(","), "0,250"),
        (NumberForm(","), "1,250,"),
        (NumberForm(","), "12500,000"),
        (NumberForm(".", ","), "1.250.000.75"),
        (NumberForm(",", negative=Negative.BRACKETS), "(-1,200)"),
        (NumberForm(",", negative=Negative.BRACKETS), "(1,200"),
        (NumberForm(",", unit_words=KIP), "1,250 $"),
        (NumberForm(",", unit_words=KIP), "ກີບ"),
        (NumberForm(unit_words=("%",)), "12%%"),
        (NumberForm(unit_words=("a", "b")), "ab1"),
    ],
)
def test_what_is_not_of_the_form_is_refused(form: NumberForm, text: str) -> None:
    """1,5 with a sign between thousands is no 15; a dollar among kip is no kip."""
    with pytest.raises(Mismatch):
        form.plain(text)


FORMS = st.builds(
    NumberForm,
    st.sampled_from(["", ",", " ", "'", "\u00a0"]),
    st.just("."),
    st.sampled_from(list(Negative)),
    st.sampled_from([(), KIP, ("$",), ("%",)]),
) | st.just(NumberForm(".", ",", Negative.BRACKETS, KIP))


AMOUNTS = st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=2)


@given(FORMS, AMOUNTS, st.booleans(), st.integers(0, 3), st.booleans())
def test_every_spelling_of_a_number_is_that_number(
    form: NumberForm, number: Decimal, lao: bool, unit: int, brackets: bool
) -> None:
    """Whatever digits, signs and units it is written with, no digit is lost."""
    text = f"{abs(number):,.2f}".replace(",", "\x00").replace(".", form.decimal_sign)
    text = text.replace("\x00", form.thousands)
    if lao:
        text = text.translate(str.maketrans("0123456789", "໐໑໒໓໔໕໖໗໘໙"))
    if form.unit_words and unit:
        word = form.unit_words[0]
        text = (f"{word}{text}", f"{text} {word}", f"{word} {text}")[unit - 1]
    if number < 0:
        within = brackets and form.negative is Negative.BRACKETS
        text = f"({text})" if within else f"-{text}"
    assert Decimal(form.plain(text)) == number


@given(form=FORMS, text=st.text("0123456789,. '()-$%ກີບLAK໑໒", max_size=12))
def test_what_is_read_is_what_is_written(form: NumberForm, text: str) -> None:
    """Of any text that is read, the digits are the number's, and all of them."""
    try:
        plain = form.plain(text)
    except Mismatch:
        return
    latin = text.translate(str.maketrans("໑໒", "12"))
    assert "".join(filter(str.isdigit, latin)) == "".join(filter(str.isdigit, plain))
    assert (plain.startswith("-")) == ("-" in text or "(" in text)


BUDGET = """Code;ງົບປະມານ;Spent;Growth;Share;Plan;People
A-1;1,250,000 ກີບ;1.250.000,50;(1,200);12%;໑໒໕;12 ຄົນ
A-2;950,000 ກີບ;950.000,00;300;7.5%;໑໐໐;7 ຄົນ
A-3;;0,25;-;0%;-;1,300 ຄົນ
"""


def test_a_scan_proposes_the_form_and_the_service_answers_numbers(tmp_path: Path) -> None:
    """What is proposed is told, every row is judged, and filters, sorts and pages are by number."""
    (tmp_path / "budget.csv").write_text(BUDGET, "utf-8")
    mapping = tmp_path / "budget.yaml"
    told = scanned(str(tmp_path / "budget.csv"), mapping)
    doubts = [(one["place"], one["words"]) for one in told["unsure"]]
    assert all(one["code"] == "written-numbers" for one in told["unsure"])
    assert {place for place, _ in doubts} == {
        f"budget.{name}" for name in ("ງົບປະມານ", "Spent", "Growth", "Share", "Plan", "People")
    }
    assert any("1250000 is answered" in words for _, words in doubts)
    assert any("the unit ກີບ is not in the answer" in words for _, words in doubts)
    columns = yaml.safe_load(mapping.read_text("utf-8"))["source"]["tables"]["budget"]["columns"]
    kip, spent, growth = (columns[name] for name in ("column_2", "spent", "growth"))
    assert (kip["type"], kip["thousands"], kip["unit_words"]) == ("integer", ",", ["ກີບ"])
    assert (spent["type"], spent["thousands"]) == ("decimal", ".")
    assert (growth["negative"], growth["null_words"]) == ("brackets", ["-"])
    done = saphan("check", mapping, "--rows")
    assert done.exit_code == 0, done.output
    assert answers(mapping, "/budget")["items"] == [
        {"code": "A-1", "column_2": 1250000, "spent": 1250000.5, "growth": -1200, "share": 12.0,
         "plan": 125, "people": 12},
        {"code": "A-2", "column_2": 950000, "spent": 950000.0, "growth": 300, "share": 7.5,
         "plan": 100, "people": 7},
        {"code": "A-3", "spent": 0.25, "share": 0.0, "people": 1300},
    ]  # fmt: skip
    assert saphan("drift", mapping).exit_code == 0


def test_filters_sorts_and_pages_are_by_the_number(tmp_path: Path) -> None:
    """As texts, 950,000 would come after 1,250,000."""
    rows = [("A", "1,250,000 ກີບ"), ("B", "950,000 ກີບ"), ("C", "ກີບ 20"), ("D", "(3) ກີບ")]
    text = "Code;Sum\n" + "".join(f"{code};{words}\n" for code, words in rows)
    (tmp_path / "a.csv").write_text(text, "utf-8")
    mapping = tmp_path / "a.yaml"
    scanned(str(tmp_path / "a.csv"), mapping)
    written = mapping.read_text("utf-8")
    assert "order: [code]" in written
    written = written.replace("order: [code]", "order: [sum]").replace(
        "filters: [code]", "filters: [sum]"
    )
    mapping.write_text(written.replace("page_size: 100", "page_size: 2"), "utf-8")
    first = answers(mapping, "/a")
    second = answers(mapping, f"/a?cursor={quote(first['next'])}")
    assert [one["sum"] for one in first["items"] + second["items"]] == [-3, 20, 950000, 1250000]
    assert [one["code"] for one in answers(mapping, "/a?sum=950000")["items"]] == ["B"]
    assert answers(mapping, "/a?sum=950")["items"] == []


def workbook(path: Path, *rows: tuple[Any, ...]) -> str:
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet("A")
        for number, cells in enumerate(rows):
            sheet.write_row(number, 0, cells)
    return str(path)


def test_numbers_and_texts_of_numbers_in_a_workbook(tmp_path: Path) -> None:
    """Somebody typed the unit into some cells; digits typed as a text stay a code."""
    source = workbook(
        tmp_path / "a.xlsx",
        ("Code", "Sum", "Tax", "Mixed"),
        ("101", 1250000, 0.12, "5 $"),
        ("102", "950,000 ກີບ", "12%", "7 ກີບ"),
        ("103", "-", 0.5, "9 $"),
    )
    mapping = tmp_path / "a.yaml"
    told = {(one["place"], one["code"]) for one in scanned(source, mapping)["unsure"]}
    assert told == {
        ("A.Sum", "written-numbers"), ("A.Mixed", "written-numbers"), ("A.Tax", "unknown-type")
    }  # fmt: skip
    assert saphan("check", mapping, "--rows").exit_code == 0
    assert answers(mapping, "/a/102") == {
        "code": "102", "sum": 950000, "tax": "12%", "mixed": "7 ກີບ"
    }  # fmt: skip
    assert answers(mapping, "/a/103") == {"code": "103", "tax": "0.5", "mixed": "9 $"}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("1,250", "3,500"), "could also stand before decimals"),
        (("1.250", "3.500"), "could also stand between thousands"),
        (("1,250", "12,5"), "for '1,250', 1.250 is answered"),
        (("1,250", "3,500", "950", "about 7"), "75% are numbers; others are not"),
    ],
)
def test_what_only_the_owner_knows_is_told(
    cells: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """A sign that may stand for thousands or decimals, and cells that are no numbers."""
    lines = "".join(f"A{number};{cell}\n" for number, cell in enumerate(cells))
    (tmp_path / "a.csv").write_text(f"Code;Sum\n{lines}", "utf-8")
    told = [one["words"] for one in scanned(str(tmp_path / "a.csv"), tmp_path / "a.yaml")["unsure"]]
    assert any(words in one for one in told), told
    assert saphan("check", tmp_path / "a.yaml", "--rows").exit_code == 0


@pytest.mark.parametrize(
    "cells",
    [("020 551 122", "020 551 123"), ("1.2.3", "1.2.4"), ("18-01", "18-02"), ("007", "008"),
     ("8561234567890", "8561234567891"), ("ຫ້ອງ 12", "ຫ້ອງ 13"), ("ດີ", "ບໍ່ດີ")],
)  # fmt: skip
def test_codes_stay_texts(cells: tuple[str, ...], tmp_path: Path) -> None:
    """A telephone, a version, a room: nothing is said of them, and nothing converted."""
    lines = "".join(f"A{number};{cell}\n" for number, cell in enumerate(cells))
    (tmp_path / "a.csv").write_text(f"Code;Sum\n{lines}", "utf-8")
    told = scanned(str(tmp_path / "a.csv"), tmp_path / "a.yaml")["unsure"]
    assert "written-numbers" not in {one["code"] for one in told}
    assert answers(tmp_path / "a.yaml", "/a/A1")["sum"] == cells[1]


KEYS = """saphan_mapping: 1
application: LA/GOV/MOF/budget
title: {{en: Budget, lo: ງົບປະມານ}}
source:
  kind: files
  tables: {{a: {{file: a.csv, columns: {{sum: {{header: Sum, {keys}}}}}}}}}
records: {{a: {{title: {{en: A, lo: ກ}}, fields: {{sum: decimal}}}}}}
queries: {{a: {{record: a, sql: SELECT sum FROM a}}}}
services:
  a:
    title: {{en: A, lo: ກ}}
    endpoints: {{/a: {{operation: list, query: a, title: {{en: A, lo: ກ}}}}}}
"""


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("type: string, thousands: ','", "only a number"),
        ("type: date, unit_words: [ກີບ]", "only a number"),
        ("type: decimal, thousands: ',', decimal_sign: ','", "between thousands, too"),
        ("type: decimal, unit_words: ['5']", "does not have the form"),
        ("type: decimal, unit_words: ['(']", "does not have the form"),
        ("type: decimal, unit_words: ['-']", "does not have the form"),
        ("type: decimal, negative: red", "is not one of"),
    ],
)
def test_a_form_that_cannot_be_one_is_refused(keys: str, words: str, tmp_path: Path) -> None:
    """With the place in the mapping."""
    (tmp_path / "a.yaml").write_text(KEYS.format(keys=keys), "utf-8")
    done = saphan("check", tmp_path / "a.yaml")
    assert done.exit_code == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    "cell", ["12345678901234567.89", "0.1234567890123456789", "9223372036854775808.5"]
)
def test_digits_that_cannot_be_kept_are_refused(cell: str, tmp_path: Path) -> None:
    """A decimal of a file is never answered with other digits than it has."""
    (tmp_path / "a.yaml").write_text(KEYS.format(keys="type: decimal"), "utf-8")
    (tmp_path / "a.csv").write_text(f"Sum\n{cell}\n", "utf-8")
    done = saphan("check", tmp_path / "a.yaml", "--rows")
    assert done.exit_code == 1
    assert "at most 15 digits" in done.output + done.stderr
    assert cell not in done.output + done.stderr


@pytest.mark.parametrize("cell", ["123456789012.25", "9223372036854775807", "0.1", "-7.000"])
def test_digits_that_can_be_kept_are_answered(cell: str, tmp_path: Path) -> None:
    """Fifteen digits, and whole numbers of 64 bits."""
    (tmp_path / "a.yaml").write_text(KEYS.format(keys="type: decimal"), "utf-8")
    (tmp_path / "a.csv").write_text(f"Sum\n{cell}\n", "utf-8")
    (item,) = answers(tmp_path / "a.yaml", "/a")["items"]
    assert Decimal(str(item["sum"])) == Decimal(cell)
