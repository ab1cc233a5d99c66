"""The slow, obvious reference: the ``jsonschema`` library on the schemas as they are written.

It takes the documents unchanged, with all annotations and references, so a comparison with
:mod:`exchange.schema_sets` also judges what that module leaves out and rewrites. Where the two
engines differ by themselves, the decision stands here in plain Python:
- patterns match as ECMA-262 does (:func:`exchange.contracts.patterns.for_python`);
- ``multipleOf`` is exact on the decimals as they are written;
- formats are those of :data:`exchange.contracts.formats.ASSERTED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonschema
import orjson
from jsonschema import FormatChecker
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from exchange.contracts import formats, patterns


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def pattern(_validator: Any, text: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not re.search(patterns.for_python(text), instance):
        yield jsonschema.ValidationError("pattern")


def pattern_properties(validator: Any, by: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(instance, dict):
        for text, schema in by.items():
            for name, value in instance.items():
                if re.search(patterns.for_python(text), name):
                    yield from validator.descend(value, schema, path=name, schema_path=text)


def exact(number: float) -> Fraction:
    return Fraction(Decimal(repr(number)))


def multiple_of(_validator: Any, step: float, instance: Any, _schema: Any) -> Iterator[Any]:
    if is_number(instance) and (exact(instance) / exact(step)).denominator != 1:
        yield jsonschema.ValidationError("multipleOf")


def checker() -> FormatChecker:
    found = FormatChecker(formats=())
    for name, rule in formats.ASSERTED.items():
        found.checks(name)(lambda value, rule=rule: not isinstance(value, str) or rule(value))
    return found


Reference = extend(
    jsonschema.Draft202012Validator,
    {"pattern": pattern, "patternProperties": pattern_properties, "multipleOf": multiple_of},
)


def without_dialect(schema: bytes) -> Any:
    """``jsonschema`` would choose its own class by ``$schema`` and forget the decisions above."""
    found = orjson.loads(schema)
    del found["$schema"]
    return found


def reference(schema: Any, shared: Mapping[str, bytes] | None = None) -> Any:
    """A ``jsonschema`` validator that knows the shared schemas."""
    registry: Registry[Any] = Registry().with_resources(
        (name, DRAFT202012.create_resource(without_dialect(content)))
        for name, content in (shared or {}).items()
    )
    return Reference(schema, registry=registry, format_checker=checker())
