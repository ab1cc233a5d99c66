"""Violations: how a broken schema is told, with the place and the rule and never the value.

Invariants: a text made here holds names, values, numbers and patterns of the published schema and
JSON types of the instance. Of the instance itself a place, which is journalled, holds only
positions in arrays and names that the schema declares; any other name stands as ``*``, because a
name can be personal data too. A sentence, which the sender and the operator's log get, also names
what is not declared if it is spelled as programmers spell fields (``amount_usd``, ``nameLo``).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import orjson

from exchange.problems import Code, Fact, Problem
from exchange.schema_sets.compiled import CompiledSchema
from exchange.schema_sets.places import escape

MAX_REPORTED: Final = 10
MAX_NAMED: Final = 3
MAX_LISTED: Final = 10
MAX_LISTED_TEXT: Final = 40
_FIELD_NAME: Final = re.compile(r"[a-z_][A-Za-z_-]*[0-9]{0,2}", re.ASCII)
SMALL_BYTES: Final = 4096
"""Instances up to this size get all their violations told.

The engine makes every error of an instance at once, some 25 microseconds each: half a million in
1 MiB. Of larger instances the first is told, and where alternatives could hide a multitude, none.
"""


def violation(code: Code, where: str, schema: CompiledSchema, instance: Any) -> Problem:
    """The problem of an instance that breaks a schema.

    Args:
        code: ``SCHEMA_VIOLATION`` or ``RESPONSE_SCHEMA_VIOLATION``.
        where: what the instance is: ``body``, ``query.fiscal_year``…
        schema: what it breaks.
        instance: the value.

    Returns:
        The problem at the first broken rule. Its facts: ``rule`` (where the broken keyword
        stands), ``keyword``, ``violations`` (their number, counted up to :data:`MAX_REPORTED`)
        and ``places`` (of all that were counted). See :data:`SMALL_BYTES` for large instances.
    """
    if len(orjson.dumps(instance)) <= SMALL_BYTES:
        errors = list(islice(schema.errors(instance), MAX_REPORTED))
    elif schema.alternatives:
        return Problem(code, where=where, detail="breaks the schema; too large to say where")
    else:
        first = schema.first_error(instance)
        errors = [] if first is None else [first]
    if not errors:  # the engine calls it invalid but names no rule: believe the verdict
        return Problem(code, where=where, detail="breaks the schema")
    found = [_deepest(error) for error in errors]
    places = [_place(where, error, schema.names) for error in found]
    facts: dict[str, Fact] = {
        "rule": schema.rule(found[0]),
        "keyword": found[0].kind.name,
        "violations": len(found),
        "places": places,
    }
    return Problem(code, where=places[0], detail=_sentence(found[0], schema.names), facts=facts)


def json_type(value: Any) -> str:
    """The JSON type of a value, with its article."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    names: dict[type, str] = {
        str: "a string", float: "a number", list: "an array", dict: "an object"
    }  # fmt: skip
    return names.get(type(value), "null")


def _deepest(error: jsonschema_rs.ValidationError) -> jsonschema_rs.ValidationError:
    """Of alternatives that all failed, the error of the one that got furthest."""
    for _ in range(32):
        context = getattr(error.kind, "context", None)
        branches = [branch for branch in context or () if branch]
        if not branches:
            break
        best = max((branch[0] for branch in branches), key=lambda one: len(one.instance_path))
        if len(best.instance_path) <= len(error.instance_path):
            break
        error = best
    return error


def _place(where: str, error: jsonschema_rs.ValidationError, names: frozenset[str]) -> str:
    tokens = [
        str(token) if isinstance(token, int) else escape(token) if token in names else "*"
        for token in error.instance_path
    ]
    return f"{where}#/{'/'.join(tokens)}" if tokens else where


def _sentence(error: jsonschema_rs.ValidationError, names: frozenset[str]) -> str:
    kind = error.kind
    rs = jsonschema_rs.ValidationErrorKind
    match kind:
        case rs.Type(types):
            return f"must be of type {' or '.join(types)} but is {json_type(error.instance)}"
        case rs.Required(name):
            return f"lacks the required property {name!r}"
        case rs.AdditionalProperties(extra) | rs.UnevaluatedProperties(extra):
            return _undeclared(extra, names)
        case rs.FalseSchema():
            return "is not allowed by the schema"
        case rs.Enum(options):
            return (
                f"is not one of the {len(options)} values that the schema lists: {_list(options)}"
            )
        case rs.Constant(value):
            return f"is not the one value that the schema allows: {_list([value])}"
        case rs.Format(name):
            return f"is not a valid {name}"
        case rs.Pattern(pattern):
            return f"does not match the pattern {pattern[:200]}"
        case rs.Minimum(limit) | rs.ExclusiveMinimum(limit):
            return f"is under the limit of {limit} ({kind.name})"
        case rs.Maximum(limit) | rs.ExclusiveMaximum(limit):
            return f"is over the limit of {limit} ({kind.name})"
        case rs.MinLength(limit) | rs.MinItems(limit) | rs.MinProperties(limit):
            return f"{json_type(error.instance)} smaller than {kind.name} {limit}"
        case rs.MaxLength(limit) | rs.MaxItems(limit) | rs.MaxProperties(limit):
            return f"{json_type(error.instance)} larger than {kind.name} {limit}"
        case rs.AnyOf() | rs.OneOfNotValid():
            return f"{json_type(error.instance)} that fits none of the alternatives"
        case rs.OneOfMultipleValid():
            return f"{json_type(error.instance)} that fits more than one of the alternatives"
        case _:
            return f"{json_type(error.instance)} that breaks the keyword {kind.name}"


def _undeclared(extra: list[str], names: frozenset[str]) -> str:
    near = sorted({n for name in extra[:5] for n in get_close_matches(name[:64], names, 1, 0.75)})
    named = [name for name in extra if len(name) <= 40 and _FIELD_NAME.fullmatch(name)][:MAX_NAMED]
    count = "a property" if len(extra) == 1 else f"{len(extra)} properties"
    which = f": {', '.join(named)}" if named else ""
    more = ", …" if named and len(named) < len(extra) else ""
    hint = f"; declared names like it: {', '.join(near)}" if near else ""
    return f"holds {count} that the schema does not declare{which}{more}{hint}"


def _list(values: list[Any]) -> str:
    texts = [orjson.dumps(value).decode() for value in values[:MAX_LISTED]]
    short = [
        text if len(text) <= MAX_LISTED_TEXT else f"{text[:MAX_LISTED_TEXT]}…" for text in texts
    ]
    return ", ".join(short) + (", …" if len(values) > MAX_LISTED else "")
