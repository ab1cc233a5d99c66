"""Made-up answers that keep the schemas of a proposed service, for tests and training.

No example of a document is taken over: it may be somebody's. What is handed out has been judged
by the contract that the mediator will use; what cannot be made up so is left out. The same seed
gives the same answers.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from exchange.contracts.contract import Contract
from exchange.problems import Problem

JSON_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
RECORDS: Final = 5
_COMPONENT: Final = "#/components/schemas/"
_VARIABLE: Final = re.compile(r"\{[^{}]+\}")
_DEEPEST: Final = 8
_TRIES: Final = 200
_MOST: Final = 10**6
_BEGIN: Final = datetime(2020, 1, 1, 8, tzinfo=UTC)
_WORDS: Final = ("example", "ຕົວຢ່າງ", "river", "ພູ", "school", "ໂຮງຮຽນ")


def schema_of(document: bytes) -> dict[str, Any] | None:
    """The named schemas of an OpenAPI document of ours as one JSON Schema, but for those of
    problems and selections; None when there are none."""
    named = _named(orjson.loads(document))
    if not named:
        return None
    text = orjson.dumps(named).replace(f'"{_COMPONENT}'.encode(), b'"#/$defs/')
    return {"$schema": JSON_SCHEMA, "$defs": orjson.loads(text)}


def invent(document: bytes, seed: int) -> dict[str, list[Any]] | None:
    """:data:`RECORDS` answers of each schema that the operations of an OpenAPI document of ours
    promise, by its name, or that of the operation; None when none can be made up.

    Args:
        seed: the same seed gives the same answers.
    """
    tree, found = orjson.loads(document), dict[str, list[Any]]()
    try:
        contract = Contract.compile(document, {})
    except Problem:
        return None  # the check tells why
    for path, methods in tree["paths"].items():
        concrete = _VARIABLE.sub("x", path)
        for method, operation in methods.items():
            judge = contract.find(method.upper(), concrete).operation.check_response
            for status, kind, schema in _promised(operation):
                name = str(schema.get("$ref", operation["operationId"])).rpartition("/")[2]
                chance = random.Random(f"{seed}/{name}")
                maker = _Maker(tree["components"]["schemas"], chance)
                for _ in range(RECORDS if name not in found else 0):
                    value = maker.value(schema, 0)
                    with suppress(Problem):
                        judge(status, (("content-type", kind),), orjson.dumps(value))
                        found.setdefault(name, []).append(value)
    return found or None


def _named(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: schema
        for name, schema in tree["components"]["schemas"].items()
        if name != "problem" and not name.endswith(".selection")
    }


def _promised(operation: Mapping[str, Any]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Status, media type and schema of the JSON answers that are no errors: of each the first."""
    for status, response in operation["responses"].items():
        for kind, content in response.get("content", {}).items():
            if (
                status.startswith("2")
                and "json" in kind
                and isinstance(content.get("schema"), dict)
            ):
                yield int(status), kind, content["schema"]
                break


class _Maker:
    """Values of schemas, which may refer to the named ones."""

    def __init__(self, named: Mapping[str, Any], chance: random.Random) -> None:
        self._named = named
        self._chance = chance

    def value(self, schema: Any, depth: int) -> Any:
        """A value that keeps the schema, as far as its usual words go."""
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return None
        schema = self._plain(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chance.choice(schema["enum"])
        kinds = schema.get("type", "object" if "properties" in schema else "string")
        kind = next((one for one in kinds if one != "null"), "null") if _many(kinds) else kinds
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                least = schema.get("minItems", 0)
                count = max(least, min(2 if depth < _DEEPEST - 2 else 0, schema.get("maxItems", 2)))
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "integer" | "number":
                return self._number(schema, kind)
            case "boolean":
                return self._chance.random() < 0.5
            case "null":
                return None
        return self._text(schema)

    def _plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Without references and alternatives: the first of them, and all of ``allOf``."""
        for _ in range(_DEEPEST):
            rest = {key: value for key, value in schema.items() if key not in _FOLDED}
            parts = [*schema.get("allOf", ()), *schema.get("anyOf", ())[:1]]
            parts += schema.get("oneOf", ())[:1]
            if "$ref" in schema:
                parts.append(self._named.get(str(schema["$ref"]).rpartition("/")[2], {}))
            if not parts:
                break
            schema = rest
            for part in parts:
                schema = _merged(schema, part if isinstance(part, dict) else {})
        return schema

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        needed = schema.get("required", ())
        return {
            name: self.value(one, depth + 1)
            for name, one in schema.get("properties", {}).items()
            if name in needed or (depth < _DEEPEST // 2 and self._chance.random() < 0.8)
        }

    def _number(self, schema: dict[str, Any], kind: str) -> int | float:
        step = schema.get("multipleOf", 1 if kind == "integer" else 0.5)
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + _MOST))
        first = int(low // step) + (1 if low % step or "exclusiveMinimum" in schema else 0)
        last = int(high // step) - (1 if "exclusiveMaximum" in schema and not high % step else 0)
        made: int | float = self._chance.randint(first, max(first, last)) * step
        return int(made) if kind == "integer" else made

    def _text(self, schema: dict[str, Any]) -> str:
        moment = _BEGIN + timedelta(minutes=self._chance.randrange(_MOST))
        match schema.get("format"):
            case "date":
                return moment.date().isoformat()
            case "date-time":
                return moment.isoformat()
            case "time":
                return moment.time().isoformat() + "Z"
            case "email":
                return f"someone{self._chance.randrange(100)}@example.org"
            case "uri" | "url":
                return f"https://example.org/{self._chance.randrange(_MOST)}"
            case "uuid":
                return str(UUID(int=self._chance.getrandbits(128), version=4))
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 100))
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            return self._of_pattern(pattern, least, most)
        text = self._chance.choice(_WORDS)
        return (text * (least // len(text) + 1))[: max(least, min(most, len(text)))]

    def _of_pattern(self, pattern: str, least: int, most: int) -> str:
        """A code that has the form, if one of a few usual forms does; else nothing."""
        with suppress(re.error):
            form = re.compile(pattern)
            for _ in range(_TRIES):
                letters = "".join(self._chance.choices(string.ascii_uppercase, k=_up_to(3, self)))
                digits = "".join(self._chance.choices(string.digits, k=_up_to(13, self)))
                for text in (digits, letters + digits, f"{letters}-{digits}", letters):
                    for one in (text, text.lower()):
                        if least <= len(one) <= most and form.search(one):
                            return one
        return ""


_FOLDED: Final = ("allOf", "anyOf", "oneOf", "$ref")


def _up_to(most: int, maker: _Maker) -> int:
    return maker._chance.randint(1, most)


def _many(kinds: Any) -> bool:
    return isinstance(kinds, list)


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found = {**other, **one}
    if "properties" in one or "properties" in other:
        found["properties"] = {**other.get("properties", {}), **one.get("properties", {})}
    if "required" in one or "required" in other:
        found["required"] = [*other.get("required", ()), *one.get("required", ())]
    return found
