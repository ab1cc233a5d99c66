"""Values are converted exactly or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fields import Emit, Field, Kind, Mismatch, Null, Otherwise, Stored, parse_plain
from adapters.fields.written import write_json

VIENTIANE = ZoneInfo("Asia/Vientiane")


def field(kind: Kind, **options: Any) -> Field:
    return Field(name="x", column="x", kind=kind, **options)


def written(one: Field, value: Any) -> str:
    """The JSON text of the converted value."""
    return write_json(one.converter()(value)).decode()


TABLE = {"1": "one", "2": "two", "zwei": "two"}
GOOD: list[tuple[Field, Any, str]] = [
    (field(Kind.STRING), "ສະບາຍດີ", '"ສະບາຍດີ"'),
    (field(Kind.STRING), 42, '"42"'),
    (field(Kind.STRING), b"\xe0\xba\xaa", '"ສ"'),
    (field(Kind.STRING, trim=True), "  a ", '"a"'),
    (field(Kind.STRING, null_words=frozenset({"-"})), "-", "null"),
    (field(Kind.STRING, trim=True, null_words=frozenset({""})), "   ", "null"),
    (field(Kind.STRING, separator=","), " a, ,b", '["a","b"]'),
    (field(Kind.INTEGER), 7, "7"),
    (field(Kind.INTEGER), True, "1"),
    (field(Kind.INTEGER), "-7", "-7"),
    (field(Kind.INTEGER), Decimal("7.00"), "7"),
    (field(Kind.INTEGER), 7.0, "7"),
    (field(Kind.INTEGER, separator=","), "3,18", "[3,18]"),
    (field(Kind.DECIMAL), Decimal("1.10"), "1.10"),
    (field(Kind.DECIMAL, scale=2), Decimal("1.1"), "1.10"),
    (field(Kind.DECIMAL, scale=2), 0.1 + 0.2, "0.30"),
    (field(Kind.DECIMAL, scale=2), "1000000000000000000.10", "1000000000000000000.10"),
    (field(Kind.DECIMAL, scale=2), Decimal("-0.00"), "0.00"),
    (field(Kind.DECIMAL, scale=0), 5, "5"),
    (field(Kind.DECIMAL, emit=Emit.STRING), Decimal("1E+3"), '"1000"'),
    (field(Kind.DATE), date(2026, 1, 2), '"2026-01-02"'),
    (field(Kind.DATE), datetime(2026, 1, 2), '"2026-01-02"'),
    (field(Kind.DATE), "2026-01-02", '"2026-01-02"'),
    (field(Kind.DATE), "2026-01-02 00:00:00", '"2026-01-02"'),
    (field(Kind.DATE, format="%d/%m/%Y"), "2/1/2026", '"2026-01-02"'),
    (
        field(Kind.DATETIME, zone=VIENTIANE),
        datetime(2026, 1, 2, 3, 4, 5),
        '"2026-01-02T03:04:05+07:00"',
    ),
    (
        field(Kind.DATETIME, zone=VIENTIANE),
        datetime(2026, 1, 2, 20, 4, 5, 6000, UTC),
        '"2026-01-03T03:04:05.006+07:00"',
    ),
    (
        field(Kind.DATETIME, zone=timezone(timedelta(hours=7, minutes=6, seconds=30))),
        "1900-01-01 00:00:00",
        '"1899-12-31T16:53:30+00:00"',
    ),
    (field(Kind.DATETIME, zone=UTC), "2026-01-02 03:04:05", '"2026-01-02T03:04:05+00:00"'),
    (field(Kind.BOOLEAN), 1, "true"),
    (field(Kind.BOOLEAN), b"\x00", "false"),
    (field(Kind.BOOLEAN), Decimal(1), "true"),
    (
        field(Kind.BOOLEAN, true_words=frozenset({"ແມ່ນ"}), false_words=frozenset({"ບໍ່"})),
        "ບໍ່",
        "false",
    ),
    (field(Kind.ENUMERATION, table=TABLE), 1, '"one"'),
    (field(Kind.ENUMERATION, table=TABLE, otherwise=Otherwise.KEEP), "3", '"3"'),
    (field(Kind.ENUMERATION, table=TABLE, otherwise=Otherwise.NULL), "3", "null"),
    (field(Kind.ENUMERATION, table=TABLE, separator=","), "1, zwei", '["one","two"]'),
    (field(Kind.STRING), None, "null"),
]


@pytest.mark.parametrize(("one", "value", "expected"), GOOD)
def test_a_value_is_converted(one: Field, value: Any, expected: str) -> None:
    """The JSON text of each kind of value, as each driver gives it."""
    assert written(one, value) == expected


BAD: list[tuple[Field, Any]] = [
    (field(Kind.STRING), 1.5),
    (field(Kind.STRING), True),
    (field(Kind.STRING), b"\xff"),
    (field(Kind.STRING), "\ud800"),
    (field(Kind.STRING, null=Null.REFUSE), None),
    (field(Kind.STRING, null=Null.REFUSE, null_words=frozenset({"-"})), "-"),
    (field(Kind.STRING, separator=","), 5),
    (field(Kind.INTEGER), 1.5),
    (field(Kind.INTEGER), 1e300),
    (field(Kind.INTEGER), "1_000"),
    (field(Kind.INTEGER), "໑"),
    (field(Kind.INTEGER), 1 << 70),
    (field(Kind.DECIMAL), "1,000"),
    (field(Kind.DECIMAL), float("nan")),
    (field(Kind.DECIMAL), Decimal("Infinity")),
    (field(Kind.DECIMAL), True),
    (field(Kind.DECIMAL, scale=2), Decimal("1.005")),
    (field(Kind.DECIMAL, scale=2), 1.005),
    (field(Kind.DECIMAL, scale=2), 1e14),
    (field(Kind.DATE), "02/01/2026"),
    (field(Kind.DATE), datetime(2026, 1, 2, 3)),
    (field(Kind.DATE), 20260102),
    (field(Kind.DATE), "0000-00-00"),
    (field(Kind.DATE, format="%d/%m/%Y"), "31/02/2026"),
    (field(Kind.DATETIME, zone=UTC), "yesterday"),
    (field(Kind.DATETIME, zone=UTC), date(2026, 1, 2)),
    (field(Kind.BOOLEAN), 2),
    (field(Kind.BOOLEAN), "yes!"),
    (field(Kind.ENUMERATION, table=TABLE), "3"),
]


@pytest.mark.parametrize(("one", "value"), BAD)
def test_what_cannot_be_converted_exactly_is_a_mismatch(one: Field, value: Any) -> None:
    """No guess and no rounding; the mismatch tells the type and the rule, never the value."""
    with pytest.raises(Mismatch) as caught:
        one.converter()(value)
    assert caught.value.type in (type(value).__name__, "NoneType")
    assert caught.value.rule
    if isinstance(value, str) and len(value) > 1:
        assert value not in str(caught.value)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12
    )
)
def test_money_survives_a_binary_float(amount: Decimal) -> None:
    """Up to 15 digits, a decimal that SQLite kept as a double comes out as it went in."""
    money = field(Kind.DECIMAL, scale=2)
    assert Decimal(written(money, float(amount))) == amount


@given(st.lists(st.integers(-(10**9), 10**9), max_size=300))
def test_sums_of_floats_come_out_exact(cents: list[int]) -> None:
    """What a database sums as doubles is the exact sum, or a mismatch, but never another number."""
    total = sum(cent / 100 for cent in cents)
    try:
        text = written(field(Kind.DECIMAL, scale=2), total)
    except Mismatch:
        return
    assert Decimal(text) * 100 == sum(cents)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6
    )
)
def test_a_decimal_keeps_every_digit(value: Decimal) -> None:
    """Decimals of the driver are written digit by digit."""
    assert Decimal(written(field(Kind.DECIMAL), value)) == value


# Filters: from the caller's words to the source's.

FILTERS: list[tuple[Field, str, list[Any]]] = [
    (field(Kind.STRING), "' OR 1=1", ["' OR 1=1"]),
    (field(Kind.INTEGER), "12", [12]),
    (field(Kind.DECIMAL), "1.50", [Decimal("1.50")]),
    (field(Kind.DATE), "2026-01-02", [date(2026, 1, 2)]),
    (field(Kind.DATE, format="%j/%Y"), "2026-01-02", ["002/2026"]),
    (field(Kind.BOOLEAN), "true", [True]),
    (field(Kind.BOOLEAN, stored=Stored.INTEGER), "false", [0]),
    (
        field(Kind.BOOLEAN, true_words=frozenset({"Y", "y"}), false_words=frozenset({"N"})),
        "true",
        ["Y", "y"],
    ),
    (field(Kind.ENUMERATION, table=TABLE), "two", ["2", "zwei"]),
    (field(Kind.ENUMERATION, table=TABLE, stored=Stored.INTEGER), "two", [2]),
    (field(Kind.ENUMERATION, table=TABLE, otherwise=Otherwise.KEEP), "3", ["3"]),
    (field(Kind.ENUMERATION, table=TABLE, otherwise=Otherwise.KEEP), "two", ["2", "zwei", "two"]),
    (field(Kind.INTEGER, years_from=1950), "2024", [2024, 24]),
    (field(Kind.INTEGER, years_from=1950), "24", []),
    (
        field(Kind.DATETIME, zone=timezone(timedelta(hours=7))),
        "2026-01-02T00:00:00Z",
        [datetime(2026, 1, 2, 7, tzinfo=timezone(timedelta(hours=7)))],
    ),
]


@pytest.mark.parametrize(("one", "text", "expected"), FILTERS)
def test_a_filter_speaks_the_words_of_the_source(
    one: Field, text: str, expected: list[Any]
) -> None:
    """A filter's text is turned into every value that stands for it in the source."""
    assert one.to_source(text) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.INTEGER, "1_0"),
        (Kind.INTEGER, " 1"),
        (Kind.INTEGER, "01"),
        (Kind.INTEGER, "-0"),
        (Kind.INTEGER, "໑໒"),
        (Kind.INTEGER, "9" * 19),
        (Kind.DECIMAL, "1e5"),
        (Kind.DECIMAL, ".5"),
        (Kind.BOOLEAN, "True"),
        (Kind.DATE, "2026-1-2"),
        (Kind.DATE, "20260102"),
        (Kind.DATE, "2026-02-30"),
        (Kind.DATETIME, "2026-01-02T03:04:05"),
        (Kind.DATETIME, "2026-01-02 03:04:05Z"),
    ],
)
def test_a_parameter_is_read_strictly(kind: Kind, text: str) -> None:
    """Only one spelling of a value is accepted."""
    with pytest.raises(Mismatch):
        parse_plain(kind, text)
