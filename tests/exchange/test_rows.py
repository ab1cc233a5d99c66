"""Rules of exchange.agreements.rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.agreements import (
    ROWS_HEADER,
    RowCondition,
    format_agreement,
    parse_agreement,
    read_rows,
    rows_header,
)
from exchange.problems import Code, Problem
from tests.exchange.test_agreements import DOCUMENT

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
VALUES = st.lists(TEXTS, min_size=1, max_size=6, unique=True)
FIELDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


def with_rows(rows: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(DOCUMENT))
    document["grants"][1]["rows"] = rows
    return document


def parsed(rows: Any) -> tuple[RowCondition, ...]:
    return parse_agreement(json.dumps(with_rows(rows)).encode()).grants[1].rows


@given(st.dictionaries(FIELDS, VALUES, min_size=1, max_size=5))
def test_the_header_says_what_the_agreement_says(rows: dict[str, list[str]]) -> None:
    """In ASCII, whatever the values are; the document is read back as it was."""
    document = json.dumps(with_rows(rows)).encode()
    agreement = parse_agreement(document)
    found = agreement.grants[1].rows
    assert {one.field: list(one.values) for one in found} == rows
    assert parse_agreement(format_agreement(agreement)) == agreement
    header = rows_header(found)
    assert header.isascii()
    assert read_rows((("accept", "*/*"), (ROWS_HEADER, header))) == found


@pytest.mark.parametrize(
    "rows",
    [
        {},
        [],
        {"province": []},
        {"province": ["LA-VT", "LA-VT"]},
        {"province": [1]},
        {"province": "LA-VT"},
        {"": ["x"]},
        {"a b": ["x"]},
        {"province'; --": ["x"]},
        {"province": ["x" * 201]},
        {"province": [f"{number:0200}" for number in range(200)]},
        {f"f{number}": ["x"] for number in range(9)},
    ],
)
def test_what_says_nothing_clear_is_refused(rows: Any) -> None:
    """With the place in the agreement; a condition is never left out."""
    with pytest.raises(Problem) as refused:
        parsed(rows)
    assert refused.value.code is Code.AGREEMENT_INVALID
    assert refused.value.where.startswith("agreement#/grants/1/rows")


def test_an_agreement_without_conditions_says_nothing_of_them() -> None:
    """Agreements that were sealed before stay valid byte for byte."""
    agreement = parse_agreement(json.dumps(DOCUMENT).encode())
    assert b'"rows"' not in format_agreement(agreement)
    assert read_rows(()) == ()


@pytest.mark.parametrize(
    "headers",
    [
        ((ROWS_HEADER, '{"a":["b"]}'), (ROWS_HEADER, '{"a":["b"]}')),
        ((ROWS_HEADER, ""),),
        ((ROWS_HEADER, "a=b"),),
        ((ROWS_HEADER, "{}"),),
        ((ROWS_HEADER, '{"a":["b"],"a":["c"]}'),),
    ],
)
def test_a_header_that_is_not_understood_is_refused(headers: tuple[tuple[str, str], ...]) -> None:
    """Twice, empty, of another form: no record is shown because of a misunderstanding."""
    with pytest.raises(Problem) as refused:
        read_rows(headers)
    assert refused.value.code is Code.INVALID_DOCUMENT
