"""A cursor carries the key of a row, exactly, and fits only the query that gave it."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, time
from decimal import Decimal
from ipaddress import ip_interface
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.answers.cursors import (
    MAX_CURSOR_LENGTH,
    BadCursor,
    UnusableKey,
    bind,
    format_cursor,
    parse_cursor,
)

PARTS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=4),
    st.dates(),
    st.datetimes(),
    st.booleans(),
    st.binary(max_size=20),
    st.timedeltas(),
)
BINDING = bind("/items", {"a": "1"})


@given(st.lists(PARTS, min_size=1, max_size=4).map(tuple))
def test_a_cursor_gives_back_its_key(key: tuple[object, ...]) -> None:
    """``parse(format(x)) == x``, types included."""
    found = parse_cursor(format_cursor(BINDING, key), BINDING, len(key))
    assert found == key
    assert [type(part) for part in found] == [type(part) for part in key]


@given(st.text(max_size=80))
def test_no_other_text_is_a_cursor(text: str) -> None:
    """Whatever a caller sends, it is a cursor or it is refused."""
    with pytest.raises(BadCursor):
        parse_cursor(text, BINDING, 1)


@given(st.integers(0, 60), st.sampled_from("AZaz09-_=+/é"))
def test_a_changed_cursor_is_refused_or_another_key(place: int, sign: str) -> None:
    """There is one spelling of a cursor."""
    good = format_cursor(BINDING, ("code-1", 5))
    text = good[: place % len(good)] + sign + good[place % len(good) + 1 :]
    try:
        key = parse_cursor(text, BINDING, 2)
    except BadCursor:
        return
    assert format_cursor(BINDING, key) == text


@pytest.mark.parametrize("data", [b"[]", b'""', b"{}", b"null", b"1", b"[[]]"])
def test_json_of_another_form_is_no_cursor(data: bytes) -> None:
    """A cursor is a list that begins with what it is of."""
    with pytest.raises(BadCursor):
        parse_cursor(encoded(data), BINDING, 1)


@pytest.mark.parametrize("number", ["1E+999999999", "0E+999999999", "1E-999999999", "sNaN", "NaN7"])
def test_no_number_that_takes_a_gigabyte_to_write_is_in_a_cursor(number: str) -> None:
    """A driver writes all digits of a number: there is none in a cursor that no database gives."""
    with pytest.raises(BadCursor):
        parse_cursor(encoded(orjson.dumps([BINDING, {"n": number}])), BINDING, 1)
    with pytest.raises(UnusableKey):
        format_cursor(BINDING, (Decimal(number),))


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_cursor_is_of_one_query() -> None:
    """Another endpoint, other filters or another number of keys make it useless."""
    cursor = format_cursor(BINDING, (1,))
    for binding, count in (
        (bind("/items", {"a": "2"}), 1),
        (bind("/others", {"a": "1"}), 1),
        (BINDING, 2),
    ):
        with pytest.raises(BadCursor):
            parse_cursor(cursor, binding, count)


@pytest.mark.parametrize("part", [None, [1], {"a": 1}, "a\x00b", "ກ" * 2_000])
def test_a_key_without_an_exact_text_is_unusable(part: object) -> None:
    """A null, a list, a document or a text without end cannot tell where the next page begins."""
    with pytest.raises(UnusableKey):
        format_cursor(BINDING, (part,))


@pytest.mark.parametrize(
    ("part", "read"),
    [
        (1 << 63, Decimal(1 << 63)),
        (float("inf"), float("inf")),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (time(8, 30, tzinfo=UTC), "08:30:00+00:00"),
        (ip_interface("10.0.0.0/8"), "10.0.0.0/8"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_what_is_read_back_as_another_type_is_the_same_value_to_the_database(
    part: object, read: object
) -> None:
    """A number of more than 64 bits goes as a decimal, what PostgreSQL reads from text as text."""
    assert parse_cursor(format_cursor(BINDING, (part,)), BINDING, 1) == (read,)


def test_length_is_judged_first() -> None:
    """A cursor that is too long is not even decoded."""
    with pytest.raises(BadCursor):
        parse_cursor("A" * (MAX_CURSOR_LENGTH + 1), BINDING, 1)
    assert parse_cursor(format_cursor(BINDING, (Decimal("1.50"),)), BINDING, 1) == (Decimal("1.5"),)
