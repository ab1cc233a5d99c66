"""A row's key goes into bytes and comes back exactly."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from ipaddress import ip_interface
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.answers.row_keys import BadKey, UnusableKey, pack, unpack
from adapters.changes.marks import format_mark, parse_mark
from exchange.problems import Problem

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
KEYS = st.lists(PARTS, min_size=1, max_size=4).map(tuple)


@given(KEYS)
def test_a_key_comes_back(key: tuple[object, ...]) -> None:
    """``unpack(pack(x)) == x``, types included."""
    found = unpack(pack(key))
    assert found == key
    assert [type(part) for part in found] == [type(part) for part in key]


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_bytes_are_a_key_in_its_one_spelling_or_refused(data: bytes) -> None:
    """Whatever is read, nothing is taken that would be written in another way."""
    try:
        key = unpack(data)
    except BadKey:
        return
    assert pack(key, range(len(key))) == data


@pytest.mark.parametrize(
    "data", [b'""', b"{}", b"null", b"1", b"[[]]", b"[1 ]", b"[{}]", b"[1.5]", rb'["\u0061"]']
)
def test_json_of_another_form_is_no_key(data: bytes) -> None:
    """A key is a list of its parts, each written in one way."""
    with pytest.raises(BadKey):
        unpack(data)


@pytest.mark.parametrize("number", ["1E+999999999", "0E+999999999", "1E-999999999", "sNaN", "NaN7"])
def test_no_number_that_takes_a_gigabyte_to_write_is_in_a_key(number: str) -> None:
    """A driver writes all digits of a number: there is none in a key that no database gives."""
    with pytest.raises(BadKey):
        unpack(orjson.dumps([{"n": number}]))
    with pytest.raises(UnusableKey):
        pack((Decimal(number),))


@pytest.mark.parametrize("part", [None, [1], {"a": 1}, "a\x00b"])
def test_a_part_without_an_exact_text_is_unusable(part: object) -> None:
    """A null, a list or a document cannot tell where the next page begins."""
    with pytest.raises(UnusableKey):
        pack((part,))


def test_a_null_is_only_where_nulls_may_be() -> None:
    """The part that tells rows apart is never null."""
    assert unpack(pack((None, 5), {0})) == (None, 5)
    with pytest.raises(UnusableKey):
        pack((None, None), {0})


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
    assert unpack(pack((part,))) == (read,)


@pytest.mark.parametrize(
    ("kept", "mark"),
    [
        ("WyJtYXJrIiw1XQ", 5),
        ("WyJtYXJrIix7InQiOiIyMDI0LTAxLTMxVDA4OjAwOjAwIn1d", datetime(2024, 1, 31, 8)),
        ("WyJtYXJrIiwiMjAyNC0wMS0zMSJd", "2024-01-31"),
    ],
)
def test_a_state_of_changes_is_read_as_it_was_kept(kept: str, mark: object) -> None:
    """How far a table was read is in a file of the owner's, in clear."""
    assert parse_mark(kept) == mark
    assert format_mark(mark) == kept
    for other in (kept + "=", kept[1:], "WyJtYXJrcyIsNV0", "NQ", "é", ""):
        with pytest.raises(Problem, match="malformed"):
            parse_mark(other)
