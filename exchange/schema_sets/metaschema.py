"""Schemas held against the metaschema of their dialect (JSON Schema 2020-12)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final

import jsonschema_rs
import orjson

from exchange.schema_sets.keywords import DRAFT_2020_12
from exchange.schema_sets.places import Place, escape, parse_document, refuse

MAX_EXPLAINED_BYTES: Final = 64 << 10


@lru_cache(maxsize=128)  # most services refer to the same few
def shared_schema(name: str, content: bytes) -> dict[str, Any]:
    """A shared schema, checked whole; callers do not change it."""
    schema = parse_document(content, name)
    if not isinstance(schema, dict) or schema.get("$id") != name:
        raise refuse(name, "a shared schema must carry its own $id")
    if schema.get("$schema", DRAFT_2020_12) != DRAFT_2020_12:
        raise refuse(f"{name}#/$schema", "shared schemas are JSON Schema 2020-12")
    check_metaschema(schema, lambda path: Place(name, path))
    return schema


@cache
def _metaschema() -> jsonschema_rs.Draft202012Validator:
    """It asserts that patterns are such; where references lead is looked at elsewhere."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": DRAFT_2020_12},
        validate_formats=True,
        formats={"regex": _is_pattern, "uri": _is_any, "uri-reference": _is_any},
        offline=True,
    )


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _is_any(_: str) -> bool:
    return True


def check_metaschema(schema: dict[str, Any], origin: Callable[[str], Place]) -> None:
    """Refuse what is no schema of JSON Schema 2020-12; ``origin`` gives the place of a path."""
    try:
        _metaschema().validate(schema)
    except jsonschema_rs.ValidationError as error:
        path, keyword = _broken_rule(schema, error)
        raise refuse(
            origin(path), f"not a valid schema: the value breaks {keyword!r} of the metaschema"
        ) from error


def _broken_rule(schema: Any, found: jsonschema_rs.ValidationError) -> tuple[str, str]:
    """Where the metaschema is broken, and its keyword.

    ``jsonschema`` tells the innermost place of alternatives; it is slow, loaded only for this, and
    asked only of what is neither large nor deep.
    """
    import jsonschema

    path, keyword = list(found.instance_path), found.kind.name
    try:
        if len(orjson.dumps(schema)) <= MAX_EXPLAINED_BYTES:
            jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        path, keyword = list(error.absolute_path), str(error.validator)
    except RecursionError:
        pass
    return "".join(f"/{escape(str(token))}" for token in path), keyword
