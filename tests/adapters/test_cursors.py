"""A cursor carries the key of a row, exactly, and fits only the query that gave it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cursors import (
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


@pytest.mark.parametrize("part", [None, True, b"x", float("nan"), [1], 1 << 63])
def test_a_key_without_an_exact_text_is_unusable(part: object) -> None:
    """A null, a boolean, a not-a-number or a huge number cannot tell where the next page begins."""
    with pytest.raises(UnusableKey):
        format_cursor(BINDING, (part,))


def test_length_is_judged_first() -> None:
    """A cursor that is too long is not even decoded."""
    with pytest.raises(BadCursor):
        parse_cursor("A" * (MAX_CURSOR_LENGTH + 1), BINDING, 1)
    assert parse_cursor(format_cursor(BINDING, (Decimal("1.50"),)), BINDING, 1) == (Decimal("1.5"),)
