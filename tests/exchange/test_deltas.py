"""Rules of exchange.deltas: what a delta leads to, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.problems import Code, Problem
from exchange.registry import deltas
from exchange.registry.deltas import apply_delta, encode, make_delta

# 0 and 1 are left out: Python takes them for false and true, which are in no metadata
LEAVES = st.none() | st.booleans() | st.integers(2, 9) | st.text("a/~1é", max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text("a/~0é", max_size=3), inner)
    ),
    max_leaves=20,
)
DOCUMENTS = st.fixed_dictionaries({"a": VALUES, "padding": st.just("x" * 4000)})


@given(DOCUMENTS, DOCUMENTS)
def test_a_delta_leads_from_one_document_to_the_next(old: Any, new: Any) -> None:
    """Whatever changed, the delta leads to exactly the bytes of the next document."""
    delta = make_delta(encode(old), encode(new))
    assert delta is not None
    assert apply_delta(encode(old), delta) == encode(new)


@given(VALUES, VALUES)
def test_a_foreign_implementation_would_agree(old: Any, new: Any) -> None:
    """Applied by the letter of RFC 6902, one value after the other, the result is the same."""
    before, after = {"a": old, "p": "x" * 4000}, {"a": new, "p": "x" * 4000}
    delta = make_delta(encode(before), encode(after))
    assert delta is not None
    value: Any = before
    for operation in json.loads(delta):
        value = by_the_letter(value, operation["path"].split("/")[1:], operation)
    assert value == after


def by_the_letter(value: Any, path: list[str], operation: dict[str, Any]) -> Any:
    """RFC 6902 sections 4.1 to 4.3, slow and obvious: a new value each time."""
    token, *rest = path
    token = token.replace("~1", "/").replace("~0", "~")
    if isinstance(value, dict):
        if rest:
            return {**value, token: by_the_letter(value[token], rest, operation)}
        others = {key: one for key, one in value.items() if key != token}
        return others if operation["op"] == "remove" else {**others, token: operation["value"]}
    at = int(token)
    if rest:
        return [*value[:at], by_the_letter(value[at], rest, operation), *value[at + 1 :]]
    added = [] if operation["op"] == "remove" else [operation["value"]]
    return [*value[:at], *added, *value[at + (operation["op"] != "add") :]]


def test_an_element_in_the_midst_of_a_list_costs_itself() -> None:
    """One more member among a thousand is one operation."""
    roles = [{"name": f"M{number}", "keyids": ["0" * 64]} for number in range(1000)]
    new = {"roles": [*roles[:-1], {"name": "New", "keyids": ["1" * 64]}, roles[-1]]}
    delta = make_delta(encode({"roles": roles}), encode(new))
    assert delta is not None
    assert [one["path"] for one in json.loads(delta)] == ["/roles/999"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (encode({"a": 1}), b'{"a": 2}'),
        (encode({"a": 1}), encode({"a": "x" * 70_000})),
        (encode({"a": list(range(9000))}), encode({"a": list(range(1, 9001))})),
        (b"no json", encode({})),
    ],
    ids=["another form", "longer than the document", "too many operations", "no JSON"],
)
def test_no_delta_is_made_that_is_not_worth_it(old: bytes, new: bytes) -> None:
    """Where a delta would not lead to the same bytes, or saves nothing, there is none."""
    assert make_delta(old, new) is None


@pytest.mark.parametrize(
    "delta",
    [
        b"{}",
        b"nothing",
        b"[" * 100_000,
        b'[{"op":"copy","from":"/a","path":"/b"}]',
        b'[{"op":"move","from":"/a","path":"/b"}]',
        b'[{"op":"test","path":"/n","value":1}]',
        b'[{"op":"add","path":""}]',
        b'[{"op":"add","path":"","value":1}]',
        b'[{"op":"add","path":"/b"}]',
        b'[{"op":"add","path":7,"value":1}]',
        b'[{"op":"add","path":"/a/2","value":1}]',
        b'[{"op":"add","path":"/a/-1","value":1}]',
        b'[{"op":"replace","path":"/a/01","value":1}]',
        '[{"op":"replace","path":"/a/\u0661","value":1}]'.encode(),
        b'[{"op":"replace","path":"/a/-","value":1}]',
        b'[{"op":"replace","path":"/b","value":1}]',
        b'[{"op":"remove","path":"/b"}]',
        b'[{"op":"remove","path":"/n/x"}]',
        b'[{"op":"add","path":"/%s","value":1}]' % (b"a/" * 50),
        b"[%s]" % b",".join([b"1"] * (deltas.MAX_OPERATIONS + 1)),
        b" " * (deltas.MAX_DELTA_BYTES + 1),
        b"[7]",
        b'["op"]',
        b'[{"op":"add","path":"/b","value":%s}]' % (b"[" * 1000 + b"]" * 1000),
    ],
    ids=range(24),
)
def test_what_does_not_fit_is_refused(delta: bytes) -> None:
    """Foreign operations, pointers that lead nowhere, endless and bottomless deltas are refused."""
    with pytest.raises(Problem) as caught:
        apply_delta(b'{"a":[0],"n":1}', delta)
    assert caught.value.code is Code.INVALID_DOCUMENT
