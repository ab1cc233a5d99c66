"""The engine of the message path against the reference engine: their verdicts are equal."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_engine import reference

import schemas
from exchange.contracts import formats
from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.compiled import CompiledSchema
from exchange.schema_sets.keywords import Dialect, Direction
from exchange.schema_sets.places import Place

SHARED = schemas.load_all()
RECORDS = sorted(name for name in SHARED if "code-lists" not in name and "values" not in name)
QUICK = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


def engine(schema: Any) -> CompiledSchema:
    collected = SchemaSet({"schema": schema}, Dialect.JSON_SCHEMA_2020_12, SHARED)
    name = collected.add(Place("", "/schema"), Direction.RESPONSE)
    collected.close()
    return collected.compiled(name)


@cache
def engines(name: str) -> tuple[CompiledSchema, Any]:
    schema = {"$ref": name}
    return engine(schema), reference(schema, SHARED)


def examples(name: str) -> list[Any]:
    short = name.split("/")[-2]
    file = schemas.resources.files("schemas") / "examples" / f"{short}.json"
    found = orjson.loads(file.read_bytes())
    return [*found["valid"], *(one["instance"] for one in found["invalid"])]


# Texts that engines are known to read differently, besides any text.
TEXTS = st.sampled_from(
    [
        "", "\n", "0.00", "-0.00", "1.00\n", "1.0", "00.00", "໑.00", "２.00", "LA-AT", "la-at",
        "LA-AT ", "USD", "ໂຄງການ", "ກ\u0eb3", "2025-02-29", "2024-02-29", "0000-01-01", "2024-1-1",
        "2025-06-30T23:59:60Z", "2025-06-30t00:00:00z", "2025-06-30T24:00:00Z", "2025-06-30 00:00Z",
        "http://x", "urn:a:b", "a@b", "a@b.la", "ກ@b.la", "12220", "\u0000", "\u2028", "😀" * 3,
    ]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [0, -1, 1, 3, 17, 19, 2025, 2025.0, 2025.5, -0.0, 0.1, 100.0, 100.00000000000001, 1e308, 5e-324,
     2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2**63, 2**64 - 1, -(2**63), True, False, None]
)  # fmt: skip
SCALARS = (
    TEXTS | NUMBERS | st.text(max_size=8) | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
KEYS = st.sampled_from(["en", "lo", "a", "b", "ab", "code", "province", "ref", ""]) | st.text(
    max_size=3
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path]
    if isinstance(value, dict):
        for name, child in value.items():
            found += places(child, (*path, name))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            found += places(child, (*path, index))
    return found


def changed(value: Any, path: tuple[Any, ...], change: str, new: Any, name: str) -> Any:
    """A copy of a value with one place replaced, removed, doubled or renamed."""
    if not path:
        return new
    root = copy.deepcopy(value)
    parent = root
    for token in path[:-1]:
        parent = parent[token]
    token = path[-1]
    if change == "remove":
        del parent[token]
    elif change == "add" and isinstance(parent, dict):
        parent[name] = new
    elif change == "double" and isinstance(parent, list):
        parent.append(parent[token])
    else:
        parent[token] = new
    return root


@st.composite
def instances(draw: st.DrawFn, name: str) -> Any:
    value = draw(st.sampled_from(examples(name)))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(value)))
        change = draw(st.sampled_from(["replace", "replace", "remove", "add", "double"]))
        value = changed(value, path, change, draw(JSON), draw(KEYS))
    return value


@pytest.mark.parametrize("name", RECORDS)
def test_shared_schemas_get_one_verdict(name: str) -> None:
    """Whatever becomes of an example, both engines accept it or both refuse it."""
    ours, theirs = engines(name)

    @QUICK
    @given(instances(name))
    def compare(instance: Any) -> None:
        assert ours.is_valid(instance) == theirs.is_valid(instance)

    compare()


@given(name=st.sampled_from(RECORDS), instance=JSON)
@QUICK
def test_any_json_gets_one_verdict(name: str, instance: Any) -> None:
    """JSON that has nothing to do with the schema is judged alike."""
    ours, theirs = engines(name)
    assert ours.is_valid(instance) == theirs.is_valid(instance)


PATTERNS = st.sampled_from(
    ["^a$", "a", "^[ກ-ຮ]+$", r"^\d+$", r"^\w*$", r"\s", r"^[^\d\s]+$", "^(?:ab|c)?$", "^.{2}$",
     r"^\u0e81", "^a{1,2}$", r"\S", r"^[\w.-]+$", "(a|b)+?c*"]
)  # fmt: skip
STEPS = st.sampled_from([1, 2, 3, 0.5, 0.1, 0.01, 2.5, 1e-8, 7.0])


def scalar_schemas() -> st.SearchStrategy[Any]:
    types = ["string", "integer", "number", "boolean", "null", "array", "object"]
    kinds = st.sampled_from(types)
    return st.one_of(
        st.just(True),
        st.just({}),
        st.fixed_dictionaries({"type": kinds | st.lists(kinds, min_size=1, unique=True)}),
        st.fixed_dictionaries({"enum": st.lists(JSON, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"const": JSON}),
        st.fixed_dictionaries({"pattern": PATTERNS}),
        st.fixed_dictionaries({"multipleOf": STEPS}),
        st.fixed_dictionaries({"minimum": NUMBERS.filter(lambda n: type(n) in (int, float))}),
        st.fixed_dictionaries(
            {"exclusiveMaximum": NUMBERS.filter(lambda n: type(n) in (int, float))}
        ),
        st.fixed_dictionaries(
            {"minLength": st.integers(0, 3), "maxLength": st.integers(0, 6)},
        ),
        st.fixed_dictionaries({"format": st.sampled_from([*formats.ASSERTED, "iri", "int32"])}),
        st.fixed_dictionaries({"uniqueItems": st.booleans(), "maxItems": st.integers(0, 4)}),
    )


def joined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    many = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(KEYS, inner, max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "properties": named,
                "required": st.lists(KEYS, max_size=2, unique=True),
                "additionalProperties": inner,
                "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
                "propertyNames": inner,
                "dependentRequired": st.dictionaries(KEYS, st.lists(KEYS, max_size=2, unique=True)),
                "minProperties": st.integers(0, 2),
            },
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "items": inner,
                "prefixItems": many,
                "contains": inner,
                "minContains": st.integers(0, 2),
                "uniqueItems": st.booleans(),
            },
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "allOf": many, "anyOf": many, "oneOf": many, "not": inner,
                "if": inner, "then": inner, "else": inner,
                "dependentSchemas": named, "unevaluatedProperties": inner,
                "unevaluatedItems": inner, "properties": named, "prefixItems": many,
            },
        ),
    )  # fmt: skip


SCHEMAS = st.recursive(scalar_schemas(), joined, max_leaves=6)


@given(schema=SCHEMAS, tries=st.lists(JSON, min_size=3, max_size=6))
@settings(QUICK, max_examples=120)
def test_any_schema_gets_one_verdict(schema: Any, tries: list[Any]) -> None:
    """Every keyword that is passed on means the same to both engines."""
    ours, theirs = engine(schema), reference(schema)
    for instance in tries:
        assert ours.is_valid(instance) == theirs.is_valid(instance), (schema, instance)
