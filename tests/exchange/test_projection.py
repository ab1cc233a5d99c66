"""Rules of exchange.projection."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchange.contracts.projection import Projection
from exchange.problems import Code, Problem

PAGE = {
    "items": [
        {"code": "A", "amount_usd": 10, "province": {"code": "LA-VT", "name": "ວຽງຈັນ"}},
        {"code": "B", "contact": "someone", "province": None},
    ],
    "next": None,
    "total": 2,
}

NAMES = ["a", "b", "c", "~", "/", "*", "0"]
_MISSING = object()


def pointer(tokens: list[str]) -> str:
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def tokens_of(field: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in field[1:].split("/")]


def slow_project(fields: list[str], value: Any) -> Any:
    """The obvious reference: ask of every place in the value, by its path, whether it may stay."""
    if fields == ["*"]:
        return value
    pointers = [tokens_of(field) for field in fields]

    def fits(token: str, step: str | int) -> bool:
        return token == "*" if isinstance(step, int) else token == step and token != "*"

    def stays(path: list[str | int], here: Any) -> Any:
        above = [p for p in pointers if all(map(fits, p, path))]
        if any(len(p) <= len(path) for p in above):
            return here
        onward = {p[len(path)] for p in above}
        if isinstance(here, dict) and onward - {"*"}:
            kept = {name: stays([*path, name], below) for name, below in here.items()}
            return {name: below for name, below in kept.items() if below is not _MISSING}
        if isinstance(here, list) and "*" in onward:
            kept_items = [stays([*path, index], below) for index, below in enumerate(here)]
            return [below for below in kept_items if below is not _MISSING]
        return _MISSING

    result = stays([], value)
    return None if result is _MISSING else result


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(pointer),
    min_size=1,
    max_size=6,
    unique=True,
)


@given(FIELDS, VALUES)
@example(["/a", "/a/b"], {"a": {"b": 1, "c": 2}})
@example(["/a/b", "/a"], {"a": {"b": 1, "c": 2}})
@example(["/*/a", "/*"], [{"a": 1, "b": 2}])
@example(["/a/*/b", "/a/c"], {"a": [{"b": 1}, 5]})
def test_the_projection_is_that_of_the_slow_reference(fields: list[str], value: Any) -> None:
    """The compiled projection keeps exactly what asking place by place keeps."""
    before = copy.deepcopy(value)
    assert Projection.compile(fields).project(value) == slow_project(fields, value)
    assert value == before


@given(FIELDS, VALUES)
def test_projecting_twice_changes_nothing(fields: list[str], value: Any) -> None:
    """What is released is released."""
    projection = Projection.compile(fields)
    once = projection.project(value)
    assert projection.project(once) == once


def test_only_released_members_of_a_page_stay() -> None:
    """A list of records keeps the released fields of each; the rest of the page goes."""
    projection = Projection.compile(["/items/*/code", "/items/*/province/code", "/next"])
    assert projection.project(PAGE) == {
        "items": [{"code": "A", "province": {"code": "LA-VT"}}, {"code": "B"}],
        "next": None,
    }


def test_releasing_a_parent_releases_its_subtree() -> None:
    """A pointer to an object releases all of it, whatever else is listed below it."""
    fields = ["/items/*/province/code", "/items/*/province"]
    assert Projection.compile(fields).project(PAGE) == {
        "items": [{"province": {"code": "LA-VT", "name": "ວຽງຈັນ"}}, {"province": None}]
    }


def test_an_empty_list_stays_an_empty_list() -> None:
    """That nothing was found is an answer, too."""
    assert Projection.compile(["/items/*/code"]).project({"items": []}) == {"items": []}


@pytest.mark.parametrize("value", ["secret", 5, None, ["secret"], [{"a": 1}]])
def test_a_value_of_another_shape_is_not_released(value: Any) -> None:
    """Where the pointer expects an object, nothing else passes, not even inside an array."""
    assert Projection.compile(["/a"]).project(value) is None
    assert Projection.compile(["/x/a"]).project({"x": value}) == {}


def test_everything_is_one_field() -> None:
    """The field * alone releases the value itself."""
    projection = Projection.compile(["*"])
    assert projection.everything
    assert projection.project(PAGE) is PAGE
    assert projection.releases("anything")
    assert not Projection.compile(["/a"]).everything


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [""],
        ["/"],
        ["a"],
        ["/a//b"],
        ["/a/"],
        ["/~2"],
        ["/a~"],
        ["/a\n"],
        ["/a", "/a"],
        ["*", "/a"],
        ["/a", "*"],
        ["/a" * 17],
        ["/" + "a" * 512],
        [f"/a{number}" for number in range(513)],
    ],
)
def test_malformed_fields_are_refused(fields: list[str]) -> None:
    """A field that is no pointer, comes twice, or is beside * makes the agreement invalid."""
    with pytest.raises(Problem) as caught:
        Projection.compile(fields)
    assert caught.value.code is Code.AGREEMENT_INVALID


@pytest.mark.parametrize(
    ("fields", "asked", "answer"),
    [
        (["/items/*/amount_usd"], "amount_usd", True),
        (["/items/*/amount_usd"], "amount", False),
        (["/items/*/amount_usd"], "*", False),
        (["/items/*/province/code"], "code", True),
        (["/items/*/province/code"], "province", False),
        (["/items"], "amount_usd", True),
        (["/items/*"], "amount_usd", True),
        (["/*"], "amount_usd", True),
        (["/items/*/tags/*"], "amount_usd", False),
        (["/items/*/amount_usd"], "/items/*/amount_usd", True),
        (["/items/*/amount_usd"], "/items/17/amount_usd", True),
        (["/items/*/amount_usd"], "/items/x/amount_usd", False),
        (["/items/*/amount_usd"], "/items/017/amount_usd", False),
        (["/items/*/province"], "/items/*/province/name", True),
        (["/items/*/province/name"], "/items/*/province", False),
        (["/a~1b"], "a/b", True),
        (["/a"], "/", False),
        (["/a"], "/~9", False),
        (["/items/*/parts/*/amount"], "parts.amount", True),
        (["/items/*/parts/*/amount"], "amount", True),
        (["/items/*/parts/*/amount"], "parts.number", False),
        (["/items/*/parts/*/amount"], "parts", False),
        (["/items/*/parts/*/amount"], "other.amount", False),
        (["/items/*/parts/*/amount"], "parts.amount.x", True),
        (["/items/*/parts"], "parts.amount", True),
        (["/items/*/parts"], "parts.deep.amount", True),
        (["/items/*/a/*/b/*/c"], "a.b.c", True),
        (["/items/*/a/*/b/*/c"], "a.c", False),
        (["/items/*"], "parts.amount", True),
        (["/parts/*/amount"], "parts.amount", True),
        (["/items/*/name"], "parts.name", False),
        (["/items/*/name"], "parts.", False),
        (["/items/*/a.b"], "a.b", True),
    ],
)
def test_a_caller_may_ask_for_released_fields(fields: list[str], asked: str, answer: bool) -> None:
    """A bare name is matched against the ends of pointers, a pointer against whole places, a path
    with dots step by step."""
    assert Projection.compile(fields).releases(asked) is answer


@given(FIELDS | st.just(["*"]), VALUES, st.lists(st.sampled_from(["a", "b", "~", "/"]), max_size=2))
@example(["/items/*/name"], {"name": 1, "other": 2}, ["items"])
def test_what_is_released_below_a_place_is_what_is_left_of_it_there(
    fields: list[str], value: Any, place: list[str]
) -> None:
    """``within``: a value is cut as it would be where it stands."""
    whole: Any = value
    for name in reversed(place):
        whole = {name: [whole]}
    steps = [step for name in place for step in (name, "*")]
    inner = Projection.compile(fields).within(*steps)
    cut: Any = Projection.compile(fields).project(whole)
    for name in place:
        cut = (cut.get(name) if isinstance(cut, dict) else None) or [None]
        cut = cut[0]
    assert (None if inner is None else inner.project(value)) == cut
