"""Rules of compatibility: one example for each keyword, and generated ones with an oracle."""

from __future__ import annotations

import copy
import os
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.compatibility import Way, compare_schemas
from exchange.compatibility.breaks import RULES
from tests.exchange.reference_engine import reference

EXAMPLES = int(os.environ.get("SAPHAN_COMPATIBILITY_EXAMPLES", "150"))
ID = "https://schemas.example.la/thing/1"


def shared(schema: Any, **others: Any) -> dict[str, bytes]:
    """A set of one schema, its root under ``root``, so that booleans are schemas too."""
    found = {ID: orjson.dumps({"$id": ID, "allOf": [schema]})}
    for name, other in others.items():
        identifier = f"https://schemas.example.la/{name}/1"
        found[identifier] = orjson.dumps({"$id": identifier} | other)
    return found


def rules(old: Any, new: Any, way: Way = Way.BACKWARD, *, tolerant: bool = False) -> list[str]:
    """The rules that break, with their places below the schema."""
    breaks = compare_schemas(ID, shared(old), shared(new), way, tolerant=tolerant)
    return [f"{one.rule} {one.where.removeprefix(f'{ID}#/allOf/0')}".strip() for one in breaks]


OBJECT = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}
CLOSED = OBJECT | {"additionalProperties": False}

# keyword, old, new, what breaks when new reads old, what breaks when old reads new
TABLE: list[tuple[str, Any, Any, list[str], list[str]]] = [
    ("false", True, False, ["false"], []),
    ("type", {"type": ["string", "null"]}, {"type": "string"}, ["type /type"], []),
    ("type", {"type": "integer"}, {"type": "number"}, [], ["type /type"]),
    ("enum", {"enum": ["a", "b"]}, {"enum": ["a"]}, ["enum /enum"], []),
    ("enum", {"type": "string"}, {"enum": ["a"]}, ["enum /enum"], []),
    ("const", {"const": 1}, {"const": 2}, ["const /const"], ["const /const"]),
    ("const", {"const": 1}, {"enum": [1, 2]}, [], ["const /const"]),
    ("minimum", {"minimum": 1}, {"minimum": 2}, ["minimum /minimum"], []),
    ("maximum", {"maximum": 2}, {"maximum": 1}, ["maximum /maximum"], []),
    (
        "exclusiveMinimum",
        {"minimum": 1},
        {"exclusiveMinimum": 1},
        ["exclusiveMinimum /exclusiveMinimum"],
        [],
    ),
    (
        "exclusiveMinimum",
        {"type": "integer", "minimum": 1},
        {"type": "integer", "exclusiveMinimum": 0},
        [],
        [],
    ),
    (
        "exclusiveMaximum",
        {"maximum": 1},
        {"exclusiveMaximum": 1},
        ["exclusiveMaximum /exclusiveMaximum"],
        [],
    ),
    ("multipleOf", {"multipleOf": 2}, {"multipleOf": 4}, ["multipleOf /multipleOf"], []),
    ("minLength", {"minLength": 1}, {"minLength": 2}, ["minLength /minLength"], []),
    ("maxLength", {"maxLength": 2}, {"maxLength": 1}, ["maxLength /maxLength"], []),
    ("maxLength", {"type": "integer"}, {"type": "integer", "maxLength": 1}, [], []),
    ("pattern", {"pattern": "^a"}, {"pattern": "^[a]"}, ["pattern /pattern"], ["pattern /pattern"]),
    ("format", {"type": "string"}, {"format": "date"}, ["format /format"], ["type /type"]),
    ("items", {"items": True}, {"items": {"type": "string"}}, ["type /items/type"], []),
    ("items", {"maxItems": 1}, {"prefixItems": [True], "items": False}, [], []),
    ("prefixItems", {}, {"prefixItems": [{"minimum": 1}]}, ["minimum /prefixItems/0/minimum"], []),
    ("minItems", {"minItems": 1}, {"minItems": 2}, ["minItems /minItems"], []),
    ("maxItems", {"maxItems": 2}, {"maxItems": 1}, ["maxItems /maxItems"], []),
    ("uniqueItems", {}, {"uniqueItems": True}, ["uniqueItems /uniqueItems"], []),
    ("uniqueItems", {"maxItems": 1}, {"maxItems": 1, "uniqueItems": True}, [], []),
    ("contains", {}, {"contains": {"type": "null"}}, ["contains /contains"], []),
    (
        "minContains",
        {"contains": {"type": "null"}, "minContains": 2},
        {"contains": {"type": "null"}},
        [],
        ["contains /contains"],
    ),
    (
        "maxContains",
        {"contains": {"type": "null"}},
        {"contains": {"type": "null"}, "maxContains": 3},
        ["contains /contains"],
        [],
    ),
    (
        "unevaluatedItems",
        {},
        {"unevaluatedItems": False},
        ["unevaluatedItems /unevaluatedItems"],
        [],
    ),
    ("required", OBJECT, OBJECT | {"required": ["a"]}, ["required /required"], []),
    (
        "properties",
        OBJECT,
        {"properties": {"a": False}},
        ["false /properties/a"],
        ["type /type", "type /properties/b/type"],
    ),
    (
        "additionalProperties",
        OBJECT,
        CLOSED,
        ["additionalProperties /additionalProperties"],
        [],
    ),
    (
        "additionalProperties",
        CLOSED,
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
        ["additionalProperties /additionalProperties"],
        [],
    ),
    (
        "patternProperties",
        {"properties": {"x1": {"type": "string"}}, "additionalProperties": False},
        {"patternProperties": {"^x": {"type": "integer"}}},
        ["type /patternProperties/^x/type"],
        ["type /properties/x1/type", "additionalProperties /additionalProperties"],
    ),
    (
        "propertyNames",
        {},
        {"propertyNames": {"maxLength": 3}},
        ["propertyNames /propertyNames"],
        [],
    ),
    ("propertyNames", CLOSED, CLOSED | {"propertyNames": {"maxLength": 1}}, [], []),
    ("minProperties", {}, {"minProperties": 1}, ["minProperties /minProperties"], []),
    (
        "minProperties",
        {"required": ["a", "b"]},
        {"minProperties": 2},
        [],
        ["required /required"] * 2,
    ),
    (
        "maxProperties",
        {"maxProperties": 3},
        {"maxProperties": 2},
        ["maxProperties /maxProperties"],
        [],
    ),
    ("maxProperties", CLOSED, CLOSED | {"maxProperties": 2}, [], []),
    (
        "dependentRequired",
        {},
        {"dependentRequired": {"a": ["b"]}},
        ["dependentRequired /dependentRequired"],
        [],
    ),
    (
        "dependentRequired",
        {"required": ["b"]},
        {"dependentRequired": {"a": ["b"]}},
        [],
        ["required /required"],
    ),
    (
        "dependentSchemas",
        {},
        {"dependentSchemas": {"a": {"minProperties": 2}}},
        ["dependentSchemas /dependentSchemas"],
        [],
    ),
    ("dependentSchemas", {}, {"dependentSchemas": {"a": {"required": ["a"]}}}, [], []),
    ("allOf", {}, {"allOf": [{"minimum": 1}]}, ["minimum /allOf/0/minimum"], []),
    (
        "anyOf",
        {"type": ["string", "integer", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ["anyOf /anyOf"],
        [],
    ),
    (
        "anyOf",
        {"type": ["string", "null"], "maxLength": 5},
        {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
        [],
        [],
    ),
    (
        "oneOf",
        {"anyOf": [{"type": "string"}, {"minLength": 3}]},
        {"oneOf": [{"type": "string"}, {"minLength": 3}]},
        ["oneOf /oneOf"],
        [],
    ),
    (
        "oneOf",
        {"type": ["string", "integer"]},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        [],
        [],
    ),
    (
        "oneOf",
        {"properties": {"k": {"const": 1}}, "required": ["k"], "type": "object"},
        {
            "oneOf": [
                {"properties": {"k": {"const": 1}}, "required": ["k"]},
                {"properties": {"k": {"const": 2}}, "required": ["k"]},
            ]
        },
        [],
        ["const /properties/k/const", "required /required", "type /type"],
    ),
    ("not", {}, {"not": {"type": "null"}}, ["not /not"], []),
    ("not", {"type": "string"}, {"not": {"type": "null"}}, [], ["type /type"]),
    ("not", {"not": {"type": ["null", "string"]}}, {"not": {"type": "null"}}, [], ["not /not"]),
    (
        "if",
        {},
        {"if": {"type": "string"}, "then": {"minLength": 1}},
        ["if /if"],
        [],
    ),
    (
        "if",
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}},
        {"if": {"required": ["a"]}, "then": {"minProperties": 1}, "else": {"required": ["c"]}},
        [],
        ["if /if"],
    ),
    (
        "unevaluatedProperties",
        {"allOf": [OBJECT], "unevaluatedProperties": False},
        {"allOf": [{"properties": {"a": {"type": "string"}}}], "unevaluatedProperties": False},
        ["unevaluatedProperties /unevaluatedProperties"],
        ["type /allOf/0/type"],
    ),
    (
        "unevaluatedProperties",
        {"type": "object", "allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
        {
            "type": "object",
            "allOf": [{"properties": {"a": {}, "b": {}}}],
            "unevaluatedProperties": False,
        },
        [],
        ["unevaluatedProperties /unevaluatedProperties"],
    ),
]


@pytest.mark.parametrize(("keyword", "old", "new", "backward", "forward"), TABLE)
def test_rule(keyword: str, old: Any, new: Any, backward: list[str], forward: list[str]) -> None:
    """Each keyword is judged both ways, and each break is told at its place."""
    found = rules(old, new)
    assert sorted(set(found)) == sorted(set(backward)) or keyword == "oneOf"
    assert bool(found) == bool(backward)
    found = rules(old, new, Way.FORWARD)
    assert bool(found) == bool(forward)
    assert sorted(set(found)) == sorted(set(forward)) or keyword in ("oneOf", "anyOf")


def test_every_keyword_has_an_example() -> None:
    """No keyword that binds is without its row."""
    shown = {row[0] for row in TABLE}
    bound = set(RULES) - {"$defs", "unknown"}
    keywords = {one for one in bound if not one.startswith(("parameter", "request", "answer"))}
    assert keywords - shown == {"operation", "service", "shadowed", "strict-query"}


def test_every_rule_is_explained_in_both_languages() -> None:
    """A break says why, in English and in Lao, and what it is about."""
    (found,) = compare_schemas(ID, shared({}), shared({"maxLength": 4}), Way.BACKWARD)
    assert found.why.en.startswith("texts must be shorter (4): what was valid under the old")
    assert found.why.lo.startswith("ຂໍ້ຄວາມຕ້ອງສັ້ນລົງ (4):")
    assert all("\u0e80" <= text.lo[0] <= "\u0eff" for text in RULES.values())


def test_an_alternative_that_says_nothing_proves_nothing() -> None:
    """An alternative that allows everything is no case to be told apart."""
    assert rules({"anyOf": [True]}, {"type": "string"}) == ["type /type"]
    assert rules({"anyOf": [True, {"type": "string"}]}, {"type": "string"}) == ["type /type"]


def test_a_schema_that_refers_to_itself() -> None:
    """A tree is compared without end and without an endless comparison."""
    tree = {"type": "object", "properties": {"next": {"$ref": f"{ID}#/allOf/0"}}}
    assert rules(tree, tree | {"minProperties": 0}) == []
    narrower = tree | {"required": ["next"]}
    assert rules(tree, narrower) == ["required /required"]
    assert rules(narrower, tree) == []


def test_a_change_in_a_schema_that_is_referred_to() -> None:
    """What a schema refers to is part of it; the break is told in the schema that changed."""
    schema = {"properties": {"a": {"$ref": "https://schemas.example.la/text/1"}}}
    old = shared(schema, text={"maxLength": 9})
    new = shared(schema, text={"maxLength": 5})
    (found,) = compare_schemas(ID, old, new, Way.BACKWARD)
    assert found.where == "https://schemas.example.la/text/1#/maxLength"


def test_a_definition_that_is_gone() -> None:
    """Others may refer to each definition, so none may go."""
    old = {ID: orjson.dumps({"$id": ID, "$defs": {"a": {"type": "string"}}})}
    new = {ID: orjson.dumps({"$id": ID, "$defs": {}})}
    assert [one.rule for one in compare_schemas(ID, old, new, Way.BACKWARD)] == ["$defs"]


def test_a_tolerant_reader() -> None:
    """A reader who ignores what he does not know takes new properties, not other values."""
    wider = CLOSED | {"properties": CLOSED["properties"] | {"c": True}}
    assert rules(CLOSED, wider, Way.FORWARD) == ["additionalProperties /additionalProperties"]
    assert rules(CLOSED, wider, Way.FORWARD, tolerant=True) == []
    other = CLOSED | {"properties": CLOSED["properties"] | {"a": {"type": "integer"}}}
    assert rules(CLOSED, other, Way.FORWARD, tolerant=True) == ["type /properties/a/type"]


def test_a_code_list_may_grow() -> None:
    """Readers of a code list expect new codes; a code that is gone breaks what was written."""
    listed = {"x-saphan-code-list": "colours"}
    schema = {"$ref": "https://schemas.example.la/colours/1"}
    old = shared(schema, colours=listed | {"enum": ["red"]})
    new = shared(schema, colours=listed | {"enum": ["red", "blue"]})
    assert compare_schemas(ID, old, new, Way.FULL) == ()
    (found,) = compare_schemas(ID, new, old, Way.BACKWARD)
    assert found.where == "https://schemas.example.la/colours/1#/enum"
    assert found.subject == '"blue"'


def test_too_much_work_is_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be decided within the bound counts as breaking."""
    monkeypatch.setattr("exchange.compatibility.comparison.MAX_STEPS", 5)
    assert rules(OBJECT, OBJECT | {"minProperties": 0}) == [f"unknown {ID}#"]


def test_all_pairs_of_a_comparison_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small pairs cost no more together than the bound either."""
    monkeypatch.setattr("exchange.compatibility.comparison.MAX_STEPS_IN_ALL", 30)
    parts = {f"p{n}": OBJECT for n in range(20)}
    changed = {name: OBJECT | {"minProperties": 0} for name in parts}
    old = {ID: orjson.dumps({"$id": ID, "$defs": parts})}
    new = {ID: orjson.dumps({"$id": ID, "$defs": changed})}
    found = compare_schemas(ID, old, new, Way.BACKWARD)
    assert [one.rule for one in found].count("unknown") > 1


def test_a_pattern_that_goes_back_and_forth_holds_nobody_up() -> None:
    """Names are matched in linear time; by Python's ``re`` this test would not end."""
    name = "a" * 2000 + "!"
    pattern = "^(a+)+$"
    old = {"type": "object", "properties": {name: {"type": "string"}}}
    new = old | {"patternProperties": {pattern: {"type": "integer"}}}
    assert rules(old, new) == [f"type /patternProperties/{pattern}/type"]  # other names match
    assert rules(new, old, Way.FORWARD) == [f"type /patternProperties/{pattern}/type"]


def test_a_pattern_that_no_engine_takes_cannot_be_told() -> None:
    """It is told as a break, not as a failure."""
    large = "((a{999}){999}){9}"
    assert rules({"enum": ["a"]}, {"pattern": large}) == [f"unknown {ID}#"]
    named = {"properties": {"a": {}}, "patternProperties": {large: {"type": "string"}}}
    assert rules({"properties": {"a": {"type": "integer"}}}, named) == [f"unknown {ID}#"]


def test_codes_that_have_titles_are_a_list_of_values() -> None:
    """``oneOf`` of constants, each with its title: as quick as ``enum``, and told code by code."""

    def codes(*names: str) -> dict[str, Any]:
        return {"oneOf": [{"const": name, "title": f"District {name}"} for name in names]}

    many = [f"LA-{n:04}" for n in range(1500)]
    assert rules(codes(*many), codes(*many, "LA-X")) == []
    gone = compare_schemas(ID, shared(codes(*many, "LA-X")), shared(codes(*many)), Way.BACKWARD)
    assert [one.subject for one in gone] == ['"LA-X"']


# -- generated schemas, with instances as the oracle ---------------------------------------------

NAMES = ("a", "b", "c")
SCALARS: list[Any] = [None, True, False, 0, 1, 2, 3, 1.5, -1, "", "a", "ab", "abc", "2024-02-29"]
scalars = st.sampled_from(SCALARS)
instances = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from((*NAMES, "x1")), inner, max_size=3)
    ),
    max_leaves=6,
)
small = st.integers(0, 3)
leaves = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                [
                    "string",
                    "integer",
                    "number",
                    "null",
                    "boolean",
                    "array",
                    "object",
                    ["string", "null"],
                    ["integer", "string"],
                    ["number", "object"],
                ]
            )
        }
    ),
    st.fixed_dictionaries({"enum": st.lists(scalars, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"const": scalars}),
    *(
        st.fixed_dictionaries({name: small})
        for name in (
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
        )
    ),
    st.fixed_dictionaries({"multipleOf": st.sampled_from([1, 2, 3, 0.5])}),
    st.fixed_dictionaries({"pattern": st.sampled_from(["^a", "b$"])}),
    st.fixed_dictionaries({"format": st.just("date")}),
    st.fixed_dictionaries({"uniqueItems": st.just(True)}),
    st.fixed_dictionaries({"required": st.lists(st.sampled_from(NAMES), unique=True, max_size=2)}),
    st.fixed_dictionaries(
        {
            "dependentRequired": st.dictionaries(
                st.sampled_from(NAMES),
                st.lists(st.sampled_from(NAMES), unique=True, max_size=2),
                max_size=1,
            )
        }
    ),
)


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)
    parts: dict[str, st.SearchStrategy[Any]] = {
        "allOf": some,
        "anyOf": some,
        "oneOf": some,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "items": inner,
        "prefixItems": some,
        "contains": inner,
        "minContains": st.integers(0, 2),
        "maxContains": st.integers(1, 2),
        "properties": named,
        "patternProperties": st.dictionaries(st.sampled_from(["^x", "^a"]), inner, max_size=1),
        "additionalProperties": inner | st.booleans(),
        "propertyNames": inner,
        "dependentSchemas": named,
        "unevaluatedProperties": inner | st.just(False),
        "unevaluatedItems": inner | st.just(False),
    }
    return st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=3, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({name: parts[name] for name in chosen})
    )


schemas = st.recursive(
    leaves | st.booleans(),
    lambda inner: (
        compound(inner) | st.tuples(leaves, compound(inner)).map(lambda two: {**two[0], **two[1]})
    ),
    max_leaves=7,
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two versions: the second is the first with a few places changed, or another."""
    old = draw(schemas)
    if draw(st.integers(0, 4)) == 0:
        return old, draw(schemas)
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 2))):
        new = _change(draw, new)
    return (old, new) if draw(st.booleans()) else (new, old)


def _change(draw: st.DrawFn, node: Any) -> Any:
    if not isinstance(node, dict) or not node or draw(st.integers(0, 2)) == 0:
        kind = draw(st.sampled_from(["add", "wrap", "other", "loosen"]))
        if kind == "add" and isinstance(node, dict):
            return node | draw(leaves)
        if kind == "wrap":
            return {draw(st.sampled_from(["allOf", "anyOf", "oneOf"])): [node, draw(schemas)]}
        if kind == "loosen" and isinstance(node, dict) and node:
            gone = draw(st.sampled_from(sorted(node)))
            return {key: value for key, value in node.items() if key != gone}
        return draw(schemas)
    key = draw(st.sampled_from(sorted(node)))
    value = node[key]
    if key in ("properties", "patternProperties", "dependentSchemas"):
        if not value:
            return node
        name = draw(st.sampled_from(sorted(value)))
        return node | {key: value | {name: _change(draw, value[name])}}
    if key in ("allOf", "anyOf", "oneOf", "prefixItems"):
        index = draw(st.integers(0, len(value) - 1))
        return node | {key: [*value[:index], _change(draw, value[index]), *value[index + 1 :]]}
    if isinstance(value, dict) and key not in ("dependentRequired", "const"):
        return node | {key: _change(draw, value)}
    if isinstance(value, int) and not isinstance(value, bool) and key != "const":
        return node | {key: max(value + draw(st.sampled_from([-1, 1])), int(key == "multipleOf"))}
    return node


@settings(max_examples=EXAMPLES, deadline=None)
@given(pairs(), st.lists(instances, min_size=15, max_size=15))
def test_what_is_compatible_is_compatible(pair: tuple[Any, Any], found: list[Any]) -> None:
    """Whenever no break is told, no instance that is valid under the old is invalid under the
    new, by an engine that shares no code with the comparison."""
    old, new = pair
    if rules(old, new):
        return
    before, after = reference(old, {}), reference(new, {})
    for instance in found:
        assert not before.is_valid(instance) or after.is_valid(instance)


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(schemas)
def test_every_schema_is_compatible_with_itself(schema: Any) -> None:
    """No change is no break, either way."""
    assert rules(schema, schema, Way.FULL) == []
