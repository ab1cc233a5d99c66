"""Units and calendars: exact on the way out, and back for filters."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.check_text import unfound
from adapters.fields import Calendar, Field, Kind, Mismatch, Rounding, Unit
from adapters.fields.calendars import MONTHS, DateForm, UnknownForm
from adapters.fields.written import write_json
from adapters.mapping.file import parse_mapping
from exchange.problems import Code, Problem
from tests.adapters.legacy import MAPPING

BUDDHIST = Calendar.BUDDHIST
VIENTIANE = ZoneInfo("Asia/Vientiane")


def field(kind: Kind, **options: Any) -> Field:
    return Field(name="x", column="x", kind=kind, **options)


def written(one: Field, value: Any) -> str:
    return write_json(one.converter()(value)).decode()


def unit(factor: str, offset: str = "0") -> Unit:
    return Unit(Decimal(factor), Decimal(offset))


MILLIONS = field(Kind.DECIMAL, scale=2, unit=unit("1000000"))
NAMED = "%d %B %Y"
GOOD: list[tuple[Field, Any, str]] = [
    (MILLIONS, Decimal("1.5"), "1500000.00"),
    (MILLIONS, 0.1, "100000.00"),
    (MILLIONS, "12", "12000000.00"),
    (field(Kind.DECIMAL, unit=unit("1", "-273.15")), Decimal("300"), "26.85"),
    (field(Kind.INTEGER, unit=unit("1000")), Decimal("1.234"), "1234"),
    (field(Kind.INTEGER, rounding=Rounding.HALF_UP), Decimal("2.5"), "3"),
    (field(Kind.DECIMAL, scale=1, rounding=Rounding.HALF_EVEN), Decimal("0.25"), "0.2"),
    (field(Kind.DECIMAL, scale=1, rounding=Rounding.HALF_UP), Decimal("-0.25"), "-0.3"),
    (field(Kind.DECIMAL, scale=0, rounding=Rounding.DOWN), Decimal("1.9"), "1"),
    (field(Kind.DATE, calendar=BUDDHIST), date(2569, 5, 12), '"2026-05-12"'),
    (field(Kind.DATE, calendar=BUDDHIST), "2567-02-29", '"2024-02-29"'),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "12/05/2569", '"2026-05-12"'),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "໑໒/໕/໒໕໖໙", '"2026-05-12"'),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "๑๒/๐๕/๒๕๖๙", '"2026-05-12"'),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "29/02/2567", '"2024-02-29"'),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%y"), "12/05/69", '"2026-05-12"'),
    (
        field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%y", years_from=2450),
        "12/05/69",
        '"1926-05-12"',
    ),
    (field(Kind.DATE, calendar=BUDDHIST, format=NAMED), "12 ພຶດສະພາ 2569", '"2026-05-12"'),
    (field(Kind.DATE, calendar=BUDDHIST, format=NAMED), "໑໒ ພຶດສະພາ ໒໕໖໙", '"2026-05-12"'),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d %b %y"), "๑๒ พ.ค. ๖๙", '"2026-05-12"'),
    (field(Kind.DATE, format="ວັນທີ %d %B %Y"), "ວັນທີ 2 ທັນວາ 1975", '"1975-12-02"'),
    (field(Kind.DATE, format="%d-%b-%Y"), "12-MAY-2026", '"2026-05-12"'),
    (field(Kind.DATE, format="%j %Y"), "132 2026", '"2026-05-12"'),
    (
        field(Kind.DATETIME, zone=VIENTIANE, calendar=BUDDHIST),
        datetime(2569, 5, 12, 8, 30),
        '"2026-05-12T08:30:00+07:00"',
    ),
    (
        field(Kind.DATETIME, zone=VIENTIANE, calendar=BUDDHIST, format="%d/%m/%Y %H:%M"),
        "12/05/2569 8:30",
        '"2026-05-12T08:30:00+07:00"',
    ),
    (field(Kind.INTEGER, calendar=BUDDHIST), 2569, "2026"),
    (field(Kind.INTEGER, calendar=BUDDHIST), "2569", "2026"),
    (field(Kind.INTEGER, calendar=BUDDHIST, years_from=2500), 69, "2026"),
    (field(Kind.INTEGER, calendar=BUDDHIST, format="%Y"), "໒໕໖໙", "2026"),
    (field(Kind.INTEGER, calendar=BUDDHIST, format="%y"), "69", "2026"),
    (field(Kind.INTEGER, format="%y"), "69", "1969"),
    # Trimming and words for nothing come first.
    (
        field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y", trim=True),
        " 12/05/2569 ",
        '"2026-05-12"',
    ),
    (
        field(Kind.DATE, calendar=BUDDHIST, trim=True, null_words=frozenset({"-"})),
        " - ",
        "null",
    ),
    (field(Kind.DECIMAL, unit=unit("1000"), null_words=frozenset({"n/a"})), "n/a", "null"),
]


@pytest.mark.parametrize(("one", "value", "expected"), GOOD)
def test_a_value_is_converted(one: Field, value: Any, expected: str) -> None:
    """Units, rounding where it is stated, Buddhist years, short years, names, digits."""
    assert written(one, value) == expected


BAD: list[tuple[Field, Any]] = [
    (MILLIONS, Decimal("0.000000001")),
    (MILLIONS, "one"),
    (field(Kind.INTEGER, unit=unit("1000")), Decimal("0.0001")),
    (field(Kind.INTEGER, unit=unit("1000")), Decimal("1E+30")),
    (field(Kind.DECIMAL, scale=2, unit=unit("1")), Decimal("1E+400")),
    (field(Kind.DATE, calendar=BUDDHIST), date(2026, 5, 12)),  # a common year typed in
    (field(Kind.DATE, calendar=BUDDHIST), date(2568, 2, 29)),  # no leap year
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "29/02/2568"),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "12/05/2026"),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "໑2/05/2569"),
    (field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y"), "12/05/69"),
    (field(Kind.DATE, calendar=BUDDHIST, format=NAMED), "12 ພຶດສະພາພາ 2569"),
    (field(Kind.DATE, format="%Y%m%d"), "2026112"),
    (field(Kind.INTEGER, calendar=BUDDHIST), 69),
    (field(Kind.INTEGER, calendar=BUDDHIST, format="%y"), "2569"),
    (field(Kind.INTEGER, calendar=BUDDHIST, format="%Y"), "²569"),
]


@pytest.mark.parametrize(("one", "value"), BAD)
def test_what_cannot_be_converted_exactly_is_a_mismatch(one: Field, value: Any) -> None:
    """Nothing is rounded unasked, no calendar is guessed, no digits are mixed."""
    with pytest.raises(Mismatch) as caught:
        one.converter()(value)
    assert str(value) not in str(caught.value)


def test_the_months_are_those_of_the_c_library() -> None:
    """A foreign source of the names: the locales of glibc, where they are installed."""
    for language, column in (("lo_LA", 0), ("th_TH", 1)):
        path = Path("/usr/share/i18n/locales") / language
        if not path.exists():
            pytest.skip("the sources of glibc's locales are not installed")
        text = path.read_text(encoding="utf-8")
        for letter, key in (("B", "mon"), ("b", "abmon")):
            found = re.search(rf"^{key}\s+((?:\"[^\"]*\";?/?\s*){{12}})", text, re.MULTILINE)
            assert found is not None
            names = [
                re.sub(r"<U([0-9A-F]{4})>", lambda code: chr(int(code[1], 16)), name)
                for name in re.findall(r'"([^"]*)"', found[1])
            ]
            assert names == [each[column] for each in MONTHS[letter]]


FORMS = ["%d/%m/%Y", "%Y%m%d", "%d %B %Y", "%d-%b-%y", "ວັນທີ %d ເດືອນ %m ປີ %Y", "%m.%d.%y"]


@given(
    st.dates(min_value=date(1801, 1, 1), max_value=date(7000, 12, 31)),
    st.sampled_from(FORMS),
    st.sampled_from(Calendar),
)
def test_dates_go_there_and_back(day: date, pattern: str, calendar: Calendar) -> None:
    """Every spelling that a filter asks for is read as the day that the caller meant; and a day
    has one, unless two digits cannot say its year."""
    one = field(Kind.DATE, format=pattern, calendar=calendar)
    spellings = one.to_source(day.isoformat())
    short = "%y" in pattern
    first = calendar.years_from - calendar.shift
    assert bool(spellings) == (not short or first <= day.year < first + 100)
    assert len(spellings) == len(set(spellings)) <= 60
    for text in spellings:
        assert written(one, text) == f'"{day.isoformat()}"'


@given(st.text(alphabet="0123456789໐໑໒໓໔໕໖໗໘໙๑๒/ ມີນາກ", max_size=12), st.sampled_from(Calendar))
def test_what_is_read_as_a_day_is_found_by_its_filter(text: str, calendar: Calendar) -> None:
    """No row shows a day that a filter for this day does not find."""
    for pattern in ("%d/%m/%Y", "%d %B %Y"):
        one = field(Kind.DATE, format=pattern, calendar=calendar)
        try:
            day = one.converter()(text)
        except Mismatch:
            continue
        assert text in one.to_source(day)


@given(st.dates(min_value=date(1801, 1, 1), max_value=date(9000, 12, 31)))
def test_columns_of_buddhist_dates_go_there_and_back(day: date) -> None:
    """Where the column is of dates, a filter binds a date; 29 February may have no place there."""
    one = field(Kind.DATE, calendar=BUDDHIST)
    try:
        (stored,) = one.to_source(day.isoformat())
    except Mismatch:
        assert (day.month, day.day) == (2, 29)
        return
    assert written(one, stored) == f'"{day.isoformat()}"'


@given(st.integers(1801, 7000), st.sampled_from([None, "%Y", "%y"]), st.booleans())
def test_years_go_there_and_back(year: int, pattern: str | None, short: bool) -> None:
    """Of a year every form in which the column can hold it is asked for."""
    years_from = 2480 if short and pattern is None else None
    one = field(Kind.INTEGER, calendar=BUDDHIST, format=pattern, years_from=years_from)
    for stored in one.to_source(str(year)):
        assert written(one, stored) == str(year)


@given(
    st.decimals(min_value=-(10**12), max_value=10**12, places=4),
    st.sampled_from(["0.001", "1000", "2.5", "0.0625", "1000000"]),
    st.decimals(min_value=-1000, max_value=1000, places=2),
)
def test_units_go_there_and_back(stored: Decimal, factor: str, offset: Decimal) -> None:
    """What a unit makes of a number, a filter turns back into that number, digit by digit."""
    one = field(Kind.DECIMAL, unit=Unit(Decimal(factor), offset))
    assert one.searchable
    (back,) = one.to_source(written(one, stored))
    assert back == stored


@given(st.decimals(min_value="0.000001", max_value=10**6, places=6))
def test_a_unit_says_whether_it_turns_back(factor: Decimal) -> None:
    """A factor whose inverse does not end has no way back; one that turns back loses nothing."""
    assume(factor > 0)
    one = Unit(factor)
    numerator = factor.as_integer_ratio()[0]
    for prime in (2, 5):
        while numerator % prime == 0:
            numerator //= prime
    assert not one.turns_back or numerator == 1
    if one.turns_back:
        assert one.inward(one.outward(Decimal("123.456"))) == Decimal("123.456")


def test_a_value_with_blanks_is_one_that_a_filter_may_miss() -> None:
    """Trimming is for the answer; the source compares what it has."""
    day = field(Kind.DATE, calendar=BUDDHIST, format="%d/%m/%Y", trim=True)
    assert "blanks" in unfound(day, " 12/05/2569")
    assert unfound(day, "12/05/2569") == ""
    assert unfound(field(Kind.STRING, trim=True, null_words=frozenset({"-"})), " - ") == ""
    assert unfound(day, " no day ") == ""  # who converts it tells that


@pytest.mark.parametrize(
    "pattern", ["%d/%m", "%d/%m/%Y %d", "%d/%m/%Q", "%d/%m/%Y%", "%d/%m/%Y/%y"]
)
def test_a_form_says_a_whole_date_once(pattern: str) -> None:
    """What is missing would be guessed."""
    with pytest.raises(UnknownForm):
        DateForm.compile(pattern, BUDDHIST, None)


@pytest.mark.parametrize(
    ("field_text", "words"),
    [
        ("{type: decimal, factor: 0}", "above zero"),
        ("{type: decimal, factor: 1/3}", "form"),
        ("{type: decimal, rounding: half_up}", "scale"),
        ("{type: string, factor: 2}", "no meaning"),
        ("{type: integer, calendar: buddhist, factor: 2}", "no unit"),
        ("{type: integer, calendar: buddhist, format: '%d'}", "%Y"),
        ("{type: date, calendar: buddhist, format: '%j %Y'}", "%j"),
        ("{type: date, calendar: buddhist, format: '%m/%Y'}", "each once"),
        ("{type: date, format: '%d/%m/%Y', years_from: 2000}", "two digits"),
        ("{type: date, calendar: julian}", "julian"),
    ],
)
def test_conversions_that_contradict_are_refused(field_text: str, words: str) -> None:
    """Faults of a mapping are found when it is read, with their place."""
    text = MAPPING.format(limits="max_rows: 10").replace(
        "rate: {type: decimal, scale: 6, emit: string}", f"rate: {field_text}"
    )
    with pytest.raises(Problem) as caught:
        parse_mapping(text.encode(), "m.yaml")
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail
    assert "/records/item/fields/rate" in caught.value.where


@pytest.mark.parametrize(
    ("conversion", "words"),
    [
        ("factor: 3", "no exact way back"),
        ("scale: 2, rounding: half_up", "rounded"),
    ],
)
def test_what_does_not_turn_back_is_no_filter(conversion: str, words: str) -> None:
    """A filter that would miss rows is refused when the mapping is read, with the reason."""
    text = MAPPING.format(limits="max_rows: 10").replace(
        "amount: {type: decimal, scale: 2}", f"amount: {{type: decimal, {conversion}}}", 1
    )
    with pytest.raises(Problem) as caught:
        parse_mapping(text.encode(), "m.yaml")
    assert words in caught.value.detail
    assert "/filters/least" in caught.value.where
