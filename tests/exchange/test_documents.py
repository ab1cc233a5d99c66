"""Strict reading of JSON documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.documents import Node, format_document, format_moment, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


@given(JSON)
def test_the_canonical_form_reads_back_the_same(value: object) -> None:
    """What is formatted is parsed to an equal value, and formats to the same bytes."""
    data = format_document(value)
    node = parse_document(data, 1 << 20, "document")
    assert node.value == value
    assert format_document(node.value) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No bytes make the reader fail in another way than with a problem."""
    outcome: Node | Problem
    try:
        outcome = parse_document(data, 1000, "document")
    except Problem as problem:
        outcome = problem
    if isinstance(outcome, Node):
        assert outcome.value == json.loads(data)
    else:
        assert outcome.code is Code.INVALID_DOCUMENT
        assert outcome.where.startswith("document#")


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'[{"b":{"a":1,"\\u0061":2}}]',
        b"NaN",
        b"[Infinity]",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"",
        b"[" * 100_000,
        b"1" * 5000,
        b'"' + b"x" * 10_000 + b'"',
    ],
)
def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    """Duplicate keys, NaN, a byte order mark, trailing text, depth, length."""
    with pytest.raises(Problem) as caught:
        parse_document(data, 100_001 if data.startswith(b"[[") else 9_000, "document")
    assert caught.value.code is Code.INVALID_DOCUMENT


def test_a_refusal_names_the_place() -> None:
    """The place is a JSON pointer with ~ and / escaped (RFC 6901)."""
    node = parse_document(b'{"a":[{"b/c~d":1}]}', 100, "document")
    item = next(node.members(frozenset({"a"}))["a"].items(9))
    (_, inner) = next(item.entries(9))
    with pytest.raises(Problem) as caught:
        inner.text()
    assert caught.value.where == "document#/a/0/b~1c~0d"


@pytest.mark.parametrize("value", ["", "x" * 501, "a\x00b", "\x1b[31m", 1, None, ["x"], "\ud800"])
def test_text_is_of_bounded_length_and_without_control_characters(value: object) -> None:
    """A text that a terminal or a log could misread is refused."""
    with pytest.raises(Problem):
        Node(value, "document", "").text()


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 11])
def test_a_whole_number_is_no_bool_and_no_float(value: object) -> None:
    """Numbers are whole and within their bounds."""
    with pytest.raises(Problem):
        Node(value, "document", "").integer(1, 10)


def test_an_identifier_is_read_in_its_one_spelling() -> None:
    """What is none is told as a fault of the document, at its place."""
    assert Node("LA/GOV/MPI", "document", "/member").identifier(MemberId) == MemberId(
        "LA", "GOV", "MPI"
    )
    for value in ("LA/GOV", "LA/GOV/MPI/", "LA/GOV/M PI", "LA/GOV/%4DPI", "", 7, None):
        with pytest.raises(Problem) as refused:
            Node(value, "document", "/member").identifier(MemberId)
        assert (refused.value.code, refused.value.where) == (
            Code.INVALID_DOCUMENT,
            "document#/member",
        )


@given(st.datetimes(timezones=st.timezones()).filter(lambda at: 1 < at.year < 9999))
def test_a_time_is_written_to_the_second_in_utc_and_read_back(at: datetime) -> None:
    """Whatever zone it was in; fractions of a second are dropped."""
    text = format_moment(at)
    read = Node(text, "document", "/at").moment()
    assert format_moment(read) == text
    assert timedelta() <= at.astimezone(UTC) - read < timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31",
        "2026-01-31T00:00:00",
        "2026-01-31T00:00:00+00:00",
        "2026-01-31T00:00:00.5Z",
        "2026-1-31T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T00:00:60Z",
        "٢٠٢٦-01-31T00:00:00Z",
        "2026-01-31T00:00:00Z\n",
    ],
)
def test_a_time_in_another_form_is_refused(text: str) -> None:
    """There is one spelling of a time in a document."""
    with pytest.raises(Problem) as refused:
        Node(text, "document", "/at").moment()
    assert refused.value.code is Code.INVALID_DOCUMENT


def test_an_unknown_key_is_told_with_those_that_are_known() -> None:
    """A slip of the pen is mended without looking into the documentation."""
    node = parse_document(b'{"sevice":1,"fields":2}', 100, "grant")
    with pytest.raises(Problem) as caught:
        node.members(frozenset({"fields"}), frozenset({"endpoints", "service"}))
    assert "'sevice' (did you mean 'service'?)" in caught.value.detail
    assert caught.value.detail.endswith("endpoints, fields, service")
