"""Whole columns become what their values become one by one, or fail as they do."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.answers.columns import column_converter, types_of
from adapters.answers.rows import RecordWriter
from adapters.fields import Emit, Field, Kind, Mismatch, Null, Otherwise
from adapters.fields.written import NotJson, Written, write_json
from adapters.mapping.model import Record

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from([0.0, -0.0, 0.1, 1.005, 2.5, 1e15, 1e16, 1.0]),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.sampled_from([Decimal("1.0"), Decimal("1.00"), Decimal("-0.00"), Decimal("1E+2")]),
    st.sampled_from([Decimal("9" * 26 + ".25"), Decimal("9" * 27 + ".25"), Decimal("2.50")]),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.text(max_size=6),
    st.sampled_from(["", "-", "A", " A ", "1", "2024-02-29", "true", "\ud800"]),
    st.binary(max_size=4),
)
# PostgreSQL tells times by the clock of the session, which shows an hour of autumn twice.
TWICE = [datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=n) for n in (0, 1)]
COLUMNS = st.one_of(
    st.lists(VALUES, max_size=8),
    *(
        st.lists(st.one_of(st.none(), one), max_size=8)
        for one in (
            st.integers(-5, 5),
            st.text("A-1 ", max_size=2),
            st.floats(-9, 9),
            st.decimals(-9, 9, places=2),
            st.sampled_from([Decimal("9" * 26 + ".25"), Decimal("9" * 27 + ".25")]),
            st.dates(),
            st.floats(),
            st.sampled_from(TWICE),
            st.sampled_from(["1.50", "-2.25", "0.00", "10.00"]),
            st.sampled_from(["1.50", "", "1.00,2.00", "-0.00", "01.00", "1.50 ", "1.5", "9" * 30]),
        )
    ),
)
# Where quick ways end: each value beside each other one of its kind.
EDGES: tuple[tuple[Any, ...], ...] = (
    (None, 0, 1, True, False, (1 << 63) - 1, -(1 << 63), 1 << 63, -(1 << 63) - 1, 1 << 64, 1.0),
    (None, 1, 2.5, -0.0, 0.005, 1e13, 1e13 - 0.25, 10**13, -1e13, math.nan, math.inf, "1.50"),
    (
        None,
        "1.50",
        "NaN",
        "-0.00",
        "1E+2",
        "1.5",
        ".50",
        "9" * 26 + ".25",
        "9" * 27 + ".25",
        "1.50,1.50",
    ),
    (None, "2024-02-29", "2024-02-29 00:00:00", "0001-01-01", "2023-02-29", "10000-01-01", ""),
    (
        None,
        date(1, 1, 1),
        date(9999, 12, 31),
        datetime(1, 1, 1),
        datetime(1, 1, 1, 1),
        "0001-01-01",
    ),
    (None, "ກ", "\ud800", "A", b"A", b"\xff", 1, 1.0, True, Decimal(1)),
)
TABLE = {"A": "a", "1": "one"}
FIELDS = [
    Field(name="x", column="x", kind=Kind.STRING),
    Field(name="x", column="x", kind=Kind.STRING, trim=True, null_words=frozenset({"-"})),
    Field(name="x", column="x", kind=Kind.STRING, separator=" "),
    Field(name="x", column="x", kind=Kind.STRING, null=Null.REFUSE),
    Field(name="x", column="x", kind=Kind.INTEGER),
    Field(name="x", column="x", kind=Kind.INTEGER, null=Null.NULL),
    Field(name="x", column="x", kind=Kind.DECIMAL),
    Field(name="x", column="x", kind=Kind.DECIMAL, scale=0),
    Field(name="x", column="x", kind=Kind.DECIMAL, scale=2),
    Field(name="x", column="x", kind=Kind.DECIMAL, scale=2, emit=Emit.STRING),
    Field(name="x", column="x", kind=Kind.DATE),
    Field(name="x", column="x", kind=Kind.DATE, format="%d/%m/%Y"),
    Field(name="x", column="x", kind=Kind.DATETIME, zone=UTC),
    Field(name="x", column="x", kind=Kind.BOOLEAN),
    Field(name="x", column="x", kind=Kind.ENUMERATION, table=TABLE, otherwise=Otherwise.NULL),
    Field(name="x", column="x", kind=Kind.ENUMERATION, table=TABLE),
]


def one_by_one(field: Field, values: list[Any]) -> bytes | None:
    """The JSON of what the converter makes of each; None when it refuses one."""
    convert = field.converter()
    try:
        return write_json([convert(value) for value in values])
    except (Mismatch, NotJson):
        return None


@pytest.mark.parametrize("field", FIELDS, ids=[f"{n}-{one.kind}" for n, one in enumerate(FIELDS)])
@given(values=COLUMNS)
@settings(max_examples=60, deadline=None)
def test_a_column_is_the_sum_of_its_values(field: Field, values: list[Any]) -> None:
    """Byte by byte the same JSON, or none where one value is refused."""
    try:
        found = write_json(list(column_converter(field)(values, types_of(values))))
    except (Mismatch, NotJson):
        found = None
    assert found == one_by_one(field, values)


@pytest.mark.parametrize("field", FIELDS, ids=[f"{n}-{one.kind}" for n, one in enumerate(FIELDS)])
def test_an_edge_is_the_same_beside_any_other(field: Field) -> None:
    """The last number of 64 bits, the first day, numbers that are none, bytes among texts."""
    for edges in EDGES:
        for values in map(list, product(edges, repeat=2)):
            try:
                found = write_json(list(column_converter(field)(values, types_of(values))))
            except (Mismatch, NotJson):
                found = None
            assert found == one_by_one(field, values), values


@pytest.mark.parametrize("edges", EDGES)
def test_the_types_of_a_column_are_those_of_its_values(edges: tuple[Any, ...]) -> None:
    """1, 1.0 and true are three types, a day and a time are two."""
    for values in product(edges, repeat=2):
        assert types_of(values) == set(map(type, values))


def test_the_two_times_of_one_clock_are_two() -> None:
    """Half past two of the night when summer time ends, twice: they are not one moment."""
    field = Field(name="x", column="x", kind=Kind.DATETIME, zone=UTC)
    found = column_converter(field)(TWICE, types_of(TWICE))
    assert found == ["2025-10-26T00:30:00+00:00", "2025-10-26T01:30:00+00:00"]


ROWS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.one_of(st.none(), st.text("ab", max_size=2)),
        st.one_of(st.none(), st.text("cd", max_size=2)),
        st.one_of(st.none(), st.dates()),
        st.integers(),
    ),
    max_size=6,
)


@pytest.mark.parametrize("nested", [False, True])
@given(rows=ROWS)
@settings(max_examples=60, deadline=None)
def test_records_of_a_page_are_the_records_of_its_rows(
    nested: bool, rows: list[tuple[Any, ...]]
) -> None:
    """The same members in the same order, nested or not; nulls omitted or kept."""
    names = ("id", "title.lo", "title.en", "day") if nested else ("id", "lo", "en", "day")
    kinds = (Kind.INTEGER, Kind.STRING, Kind.STRING, Kind.DATE)
    fields = tuple(
        Field(name=name, column="x", kind=kind, null=Null.NULL if index == 2 else Null.OMIT)
        for index, (name, kind) in enumerate(zip(names, kinds, strict=True))
    )
    writer = RecordWriter(Record("r", None, {"en": "r", "lo": "r"}, fields))
    for indexes in ([0, 1, 2, 3], [1, 3], [2]):
        shown = [(*(row[index] for index in indexes), row[4]) for row in rows]
        expected = [write_json(writer.build(row, indexes, "")) for row in shown]
        found = writer.build_all(shown, indexes) if rows else []
        assert [write_json(one) for one in found] == expected
        page = writer.write_all(shown, indexes) if rows else b"[]"
        assert page == b"[" + b",".join(expected) + b"]"


def test_a_member_may_be_called_as_python_calls_something() -> None:
    """Names are the mapping's, not Python's, and nothing of them is a program."""
    names = ("class", "m0", "None.m1", "None.self", "__init__")
    fields = tuple(Field(name=name, column="x", kind=Kind.STRING) for name in names)
    writer = RecordWriter(Record("r", None, {"en": "r", "lo": "r"}, fields))
    page = writer.write_all([("a", "b", "c", "d", "e")], range(5))
    expected = b'[{"class":"a","m0":"b","None":{"m1":"c","self":"d"},"__init__":"e"}]'
    assert page == expected


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.text(), st.dates()
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(value=JSON)
@settings(deadline=None)
def test_json_is_written_as_everywhere_else(value: object) -> None:
    """Of what fields answer, byte by byte what the rest of Saphan writes."""
    assert write_json(value) == orjson.dumps(value)


def test_a_number_is_written_as_it_was_given() -> None:
    """Its decimals are part of it; a text that UTF-8 does not have is refused."""
    assert write_json([Written("12.50"), {"a": Written("-0.10")}]) == b'[12.50,{"a":-0.10}]'
    with pytest.raises(NotJson):
        write_json(["\ud800"])


def test_a_date_is_not_a_time() -> None:
    """Equal values of one type are converted once; other types never borrow their result."""
    convert = column_converter(Field(name="x", column="x", kind=Kind.BOOLEAN))
    assert list(convert([1, 0, 1], {int})) == [True, False, True]
    with pytest.raises(Mismatch):
        convert([1, 1.0], {int, float})
    dates = column_converter(Field(name="x", column="x", kind=Kind.DATE))
    day = [date(2024, 1, 1), datetime(2024, 1, 1)]
    assert list(dates(day, {date, datetime})) == ["2024-01-01", "2024-01-01"]
