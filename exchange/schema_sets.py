"""Schema sets: the JSON Schemas of one document and the shared ones it refers to, compiled.

Invariants:
- nothing is ever fetched: a ``$ref`` leads to a place in the document or to a shared schema by its
  absolute ``$id``, or the document is refused;
- every schema reaches the engine in one dialect, JSON Schema 2020-12: OpenAPI 3.0's own dialect is
  translated, annotations are left out, formats are asserted as :mod:`exchange.formats` says and
  patterns kept to what :mod:`exchange.patterns` accepts;
- keywords that an author would expect to bind but that the dialect ignores are refused, so that
  "checked" means what its author meant;
- every schema has passed its metaschema before it is compiled;
- references never turn in circles on one instance, and the work of one check is bounded.

Sources: JSON Schema 2020-12 core and validation; OpenAPI 3.0.4 section 4.7.24 and 3.1.1 section
4.8.24.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote, urldefrag, urljoin

import jsonschema_rs
import orjson

from exchange import formats, i_json, patterns
from exchange.problems import Code, Problem

MAX_DOCUMENT_BYTES: Final = 2 * 1024 * 1024
MAX_DOCUMENT_DEPTH: Final = 100
MAX_SCHEMAS: Final = 5_000
MAX_WORK: Final = 10_000
MAX_PARTS: Final = 10_000
"""Schemas in all, those inside others counted."""
MAX_WEIGHT: Final = 50_000
"""What the engine compiles for one document: about 1 KiB and 10 microseconds for each unit.

Every operation's schemas are compiled with all that they refer to, once for each.
"""
DRAFT_2020_12: Final = "https://json-schema.org/draft/2020-12/schema"
_DIALECTS: Final = frozenset({DRAFT_2020_12, "https://spec.openapis.org/oas/3.1/dialect/base"})
_BUNDLE: Final = "urn:saphan:schema-set"

ONE: Final = frozenset(
    {
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
MAP: Final = frozenset({"dependentSchemas", "patternProperties", "properties"})
_PLAIN: Final = frozenset(
    {
        "const",
        "dependentRequired",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "required",
        "type",
        "uniqueItems",
    }
)
_KEPT: Final = _PLAIN | LIST | MAP
_FORMATS: Final = tuple(formats.ASSERTED)
_IN_PLACE: Final = frozenset(
    {"allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"}
)
_NEVER: Final = {
    "$anchor": "refer to the place by its JSON pointer",
    "$dynamicAnchor": "dynamic references are not supported",
    "$dynamicRef": "dynamic references are not supported",
    "$recursiveAnchor": "a keyword of draft 2019-09",
    "$recursiveRef": "a keyword of draft 2019-09",
    "$vocabulary": "vocabularies are not supported",
    "additionalItems": "a keyword of draft 2019-09; use items beside prefixItems",
    "dependencies": "a keyword of draft 7; use dependentRequired or dependentSchemas",
}
_NOT_IN_3_0: Final = (
    "$defs",
    "const",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)


MARK: Final = "x-saphan-statistics"
"""What marks a property to be counted; see :mod:`exchange.marks`."""


class Dialect(StrEnum):
    """The dialect of JSON Schema that a document is written in."""

    OPENAPI_3_0 = "OpenAPI 3.0"
    JSON_SCHEMA_2020_12 = "JSON Schema 2020-12"


class Direction(StrEnum):
    """Which way an instance goes; decides on ``readOnly`` and ``writeOnly`` of OpenAPI 3.0.

    A selection is a response of which the caller may have picked fields: there, schemas marked
    ``"x-saphan-record": true`` require no property.
    """

    REQUEST = "request"
    RESPONSE = "response"
    SELECTION = "selection"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the document (``base`` empty) or in a shared schema (its ``$id``)."""

    base: str
    pointer: str

    def __str__(self) -> str:
        return f"{self.base}#{self.pointer}"

    def __truediv__(self, token: str | int) -> Place:
        return Place(self.base, f"{self.pointer}/{escape(str(token))}")


def escape(token: str) -> str:
    """Escape one token of a JSON pointer (RFC 6901 section 3)."""
    return token.replace("~", "~0").replace("/", "~1")


def refuse(place: Place | str, detail: str) -> Problem:
    """A document that is not accepted, at a JSON pointer."""
    return Problem(Code.INVALID_DOCUMENT, where=str(place), detail=detail)


def parse_document(document: bytes, where: str = "#") -> Any:
    """Read a document of bounded size and depth.

    Raises:
        Problem: ``INVALID_DOCUMENT`` when it is too large, too deep or not I-JSON.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise refuse(where, f"document larger than {MAX_DOCUMENT_BYTES} bytes")
    value = i_json.parse(document, where, Code.INVALID_DOCUMENT)
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DOCUMENT_DEPTH:
            raise refuse(where, f"document nested deeper than {MAX_DOCUMENT_DEPTH} levels")
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return value


@dataclass(frozen=True, slots=True)
class CompiledSchema:
    """One schema, ready to judge instances."""

    engine: jsonschema_rs.Draft202012Validator
    origins: Mapping[str, Place]
    names: frozenset[str]
    is_valid: Callable[[Any], bool]
    """Whether an instance keeps the schema; the message path calls this alone."""
    alternatives: bool
    """Whether ``anyOf`` or ``oneOf`` occurs: their errors hold those of every branch."""

    def errors(self, instance: Any) -> Iterator[jsonschema_rs.ValidationError]:
        """Every error; the engine makes them all at once, so this is for small instances."""
        return self.engine.iter_errors(instance)

    def first_error(self, instance: Any) -> jsonschema_rs.ValidationError | None:
        """The first error, found as quickly as the verdict unless there are alternatives."""
        try:
            self.engine.validate(instance)
        except jsonschema_rs.ValidationError as error:
            return error
        return None

    def rule(self, error: jsonschema_rs.ValidationError) -> str:
        """Where the broken keyword stands: pointer in the document, or URI of a shared schema."""
        location = error.absolute_keyword_location or ""
        _, _, path = location.partition("#/$defs/")
        name, _, rest = path.partition("/")
        origin = self.origins.get(name)
        tail = f"/{unquote(rest)}" if rest else ""
        return f"{origin}{tail}" if origin else str(error.kind.name)


class SchemaSet:
    """Collects schemas by their places, then compiles each on request.

    Use: :meth:`add` every place, then :meth:`close`, then :meth:`compiled`.
    """

    def __init__(self, document: Any, dialect: Dialect, shared: Mapping[str, bytes]) -> None:
        self._documents: dict[str, Any] = {"": document}
        self._dialect = dialect
        self._shared = shared
        self._names: dict[tuple[Place, Direction | None], str] = {}
        self._origins: dict[str, Place] = {}
        self._schemas: dict[str, Any] = {}
        self._known: set[str] = set()
        self._pending: list[tuple[Place, Direction | None]] = []
        self._registry: jsonschema_rs.Registry | None = None
        self._compiled: dict[str, CompiledSchema] = {}
        self._parts = 0
        self._weights: dict[str, int] = {}
        self._links: dict[str, set[str]] = {}
        self._current = ""
        self.weight = 0
        self.marked = False
        """Whether anything that was collected is marked to be counted."""

    # -- collecting ------------------------------------------------------------------------

    def add(self, place: Place, direction: Direction) -> str:
        """Take in the schema at a place of the document, and what it refers to.

        Returns: the name for :meth:`compiled` and :meth:`types`.

        Raises:
            Problem: ``INVALID_DOCUMENT`` at the place that is not accepted.
        """
        name = self._name(place, direction)
        while self._pending:
            at, way = self._pending.pop()
            node = self.resolve(at)
            self._current = self._names[at, way]
            self._weights[self._current], self._links[self._current] = 0, set()
            self._schemas[self._current] = self._translate(node, at, way)
        return name

    def origin(self, name: str) -> Place:
        """Where a schema that was added stands."""
        return self._origins[name]

    def resolve(self, place: Place) -> Any:
        """The value at a place.

        Raises:
            Problem: ``INVALID_DOCUMENT`` when there is no such place.
        """
        node = self._document(place)
        for raw in place.pointer.split("/")[1:]:
            token = raw.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and token in node:
                node = node[token]
            elif isinstance(node, list) and token.isascii() and token.isdigit():
                index = int(token[:9])
                if str(index) != token or index >= len(node):
                    raise refuse(place, "there is no such place")
                node = node[index]
            else:
                raise refuse(place, "there is no such place")
        return node

    def target(self, reference: Any, place: Place) -> Place:
        """The place that a ``$ref`` standing at ``place`` leads to; nothing is fetched.

        Raises:
            Problem: ``INVALID_DOCUMENT`` when it leads out of the document and the shared schemas.
        """
        if not isinstance(reference, str):
            raise refuse(place / "$ref", "$ref must be a string")
        base, fragment = urldefrag(urljoin(place.base, reference))
        if base and base not in self._shared:
            raise refuse(
                place / "$ref",
                f"{reference[:200]!r} is neither in this document nor a shared schema, "
                "and nothing is fetched",
            )
        pointer = unquote(fragment, errors="strict") if fragment.isascii() else fragment
        if pointer and not pointer.startswith("/"):
            raise refuse(place / "$ref", "refer to the place by its JSON pointer (#/…)")
        found = Place(base, pointer)
        try:
            self.resolve(found)
        except Problem as error:
            if error.where != str(found):
                raise
            raise refuse(
                place / "$ref", f"{reference[:200]!r} leads to no place that exists"
            ) from error
        return found

    def _document(self, place: Place) -> Any:
        if place.base not in self._documents:
            self._documents[place.base] = _shared_schema(place.base, self._shared[place.base])
        return self._documents[place.base]

    def _name(self, place: Place, direction: Direction | None) -> str:
        one_meaning = place.base or self._dialect is not Dialect.OPENAPI_3_0
        if one_meaning and direction is not Direction.SELECTION:
            direction = None  # share the compiled schema
        key = (place, direction)
        if key not in self._names:
            if len(self._names) >= MAX_SCHEMAS:
                raise refuse(place, f"more than {MAX_SCHEMAS} schemas")
            self._names[key] = name = f"d{len(self._names)}"
            self._origins[name] = place
            self._pending.append(key)
        return self._names[key]

    # -- translating -----------------------------------------------------------------------

    def _translate(self, node: Any, place: Place, direction: Direction | None) -> Any:
        self._parts += 1
        self._weights[self._current] += 1
        if self._parts > MAX_PARTS:
            raise refuse(place, f"more than {MAX_PARTS} schemas, those inside others counted")
        if isinstance(node, bool) and (place.base or self._dialect is not Dialect.OPENAPI_3_0):
            return node
        if not isinstance(node, dict):
            raise refuse(place, "a schema must be an object")
        self.marked = self.marked or MARK in node
        if not place.base and self._dialect is Dialect.OPENAPI_3_0:
            node = self._from_3_0(node, place, direction)
        self._check_identity(node, place)
        out: dict[str, Any] = {}
        for keyword, value in node.items():
            here = place / keyword
            if keyword in _NEVER:
                raise refuse(here, _NEVER[keyword])
            if keyword == "$ref":
                name = self._name(self.target(value, place), direction)
                out["$ref"] = f"#/$defs/{name}"
                self._links[self._current].add(name)
            elif keyword == "additionalProperties" and isinstance(value, bool):
                out[keyword] = value
            elif keyword in ONE:
                out[keyword] = self._translate(value, here, direction)
            elif keyword in LIST and isinstance(value, list):
                out[keyword] = [
                    self._translate(one, here / index, direction) for index, one in enumerate(value)
                ]
            elif keyword in MAP and isinstance(value, dict):
                out[keyword] = {
                    name: self._translate(one, here / name, direction)
                    for name, one in value.items()
                }
            elif keyword in _KEPT or (keyword == "format" and value in _FORMATS):
                out[keyword] = value
                if isinstance(value, list | dict):
                    self._weights[self._current] += len(orjson.dumps(value)) // 100
        if direction is Direction.SELECTION and node.get("x-saphan-record") is True:
            out.pop("required", None)
        self._check_patterns(out, place)
        if isinstance(properties := out.get("properties"), dict):
            self._known.update(properties)
        if isinstance(required := out.get("required"), list):
            self._known.update(name for name in required if isinstance(name, str))
        return out

    def _check_identity(self, node: dict[str, Any], place: Place) -> None:
        root = bool(place.base) and not place.pointer
        if "$id" in node and not root:
            raise refuse(place / "$id", "only a shared schema has an $id, at its root")
        if "$schema" in node and node["$schema"] not in _DIALECTS:
            raise refuse(place / "$schema", f"schemas are {DRAFT_2020_12}")

    def _check_patterns(self, schema: dict[str, Any], place: Place) -> None:
        found: list[tuple[Place, Any]] = [(place / "pattern", schema.get("pattern"))]
        if isinstance(by_pattern := schema.get("patternProperties"), dict):
            found += [(place / "patternProperties" / name, name) for name in by_pattern]
        for at, pattern in found:
            if isinstance(pattern, str):
                try:
                    patterns.for_python(pattern)
                    self._weights[self._current] += patterns.size(pattern) // 2
                except ValueError as error:
                    raise refuse(at, str(error)) from error

    def _from_3_0(
        self, node: dict[str, Any], place: Place, direction: Direction | None
    ) -> dict[str, Any]:
        """OpenAPI 3.0.4 section 4.7.24: what differs from 2020-12."""
        if "$ref" in node:  # section 4.7.23.1: siblings of a Reference Object are ignored
            return {"$ref": node["$ref"]}
        for keyword in _NOT_IN_3_0:
            if keyword in node:
                raise refuse(
                    place / keyword, "not a keyword of OpenAPI 3.0; declare openapi 3.1 to use it"
                )
        out = dict(node)
        kind = out.get("type")
        if kind is not None and not isinstance(kind, str):
            raise refuse(place / "type", "OpenAPI 3.0 has one type; declare openapi 3.1 for a list")
        if kind == "null":
            raise refuse(place / "type", "OpenAPI 3.0 has no type null; use nullable")
        nullable = out.pop("nullable", False)
        if not isinstance(nullable, bool):
            raise refuse(place / "nullable", "must be true or false")
        if nullable and kind is not None:
            out["type"] = [kind, "null"]
        for bound, exclusive in (
            ("minimum", "exclusiveMinimum"),
            ("maximum", "exclusiveMaximum"),
        ):
            flag = out.pop(exclusive, False)
            if not isinstance(flag, bool):
                raise refuse(place / exclusive, "true or false in OpenAPI 3.0")
            if flag and bound in out:
                out[exclusive] = out.pop(bound)
        self._one_way(out, place, direction)
        return out

    def _one_way(self, out: dict[str, Any], place: Place, direction: Direction | None) -> None:
        """``required`` binds a readOnly property in responses only, a writeOnly in requests."""
        mark = "readOnly" if direction is Direction.REQUEST else "writeOnly"
        required, properties = out.get("required"), out.get("properties")
        if isinstance(required, list) and isinstance(properties, dict):
            out["required"] = [
                name
                for name in required
                if not isinstance(name, str) or not self._marked(properties.get(name), place, mark)
            ]

    def _marked(self, node: Any, place: Place, mark: str) -> bool:
        for _ in range(16):
            if not isinstance(node, dict):
                return False
            if "$ref" not in node:
                return node.get(mark) is True
            node = self.resolve(self.target(node["$ref"], place))
        return False

    # -- compiling -------------------------------------------------------------------------

    def close(self) -> None:
        """Check all that was added against the metaschema and for circles.

        Raises:
            Problem: ``INVALID_DOCUMENT`` at the place that is not accepted.
        """

        def origin(path: str) -> Place:
            _, _, name, *rest = path.split("/")
            found = self._origins[name]
            return Place(found.base, "/".join([found.pointer, *rest]))

        _check_metaschema({"$defs": self._schemas}, origin)
        self._check_work()
        self._registry = jsonschema_rs.Registry(
            [(_BUNDLE, {"$schema": DRAFT_2020_12, "$id": _BUNDLE, "$defs": self._schemas})],
            draft=jsonschema_rs.Draft202012,
        )

    def compiled(self, name: str) -> CompiledSchema:
        """The compiled schema of a name that :meth:`add` gave.

        Raises:
            Problem: ``INVALID_DOCUMENT`` when it cannot be compiled, or all that was compiled
                is heavier than :data:`MAX_WEIGHT`.
        """
        while isinstance(schema := self._schemas[name], dict) and schema.keys() == {"$ref"}:
            name = schema["$ref"].rpartition("/")[2]
        if name not in self._compiled:
            self.weight += sum(self._weights[one] for one in self._reached(name))
            if self.weight > MAX_WEIGHT:
                raise refuse(
                    self._origins[name],
                    "the schemas of all operations, each with what it refers to, its lists and "
                    f"the repetitions of its patterns, weigh more than {MAX_WEIGHT}; "
                    "split the service or simplify its schemas",
                )
            try:
                engine = jsonschema_rs.Draft202012Validator(
                    {"$ref": f"{_BUNDLE}#/$defs/{name}"},
                    registry=self._registry,
                    validate_formats=True,
                    formats=dict(formats.OWN),
                    pattern_options=jsonschema_rs.RegexOptions(),
                    offline=True,
                )
            except (ValueError, jsonschema_rs.ReferencingError) as error:
                raise refuse(self._origins[name], "the schema cannot be compiled") from error
            self._compiled[name] = CompiledSchema(
                engine,
                self._origins,
                frozenset(self._known),
                engine.is_valid,
                self._has_alternatives(name),
            )
        return self._compiled[name]

    def _reached(self, name: str) -> set[str]:
        """A name and all that it refers to, however far."""
        found, further = {name}, [name]
        while further:
            new = self._links[further.pop()] - found
            found |= new
            further += new
        return found

    def _has_alternatives(self, name: str) -> bool:
        nodes, seen = [self._schemas[name]], {name}
        while nodes:
            node = nodes.pop()
            if isinstance(node, dict):
                if "anyOf" in node or "oneOf" in node:
                    return True
                target = str(node.get("$ref", "")).rpartition("/")[2]
                if target in self._schemas and target not in seen:
                    seen.add(target)
                    nodes.append(self._schemas[target])
                nodes.extend(node.values())
            elif isinstance(node, list):
                nodes.extend(node)
        return False

    def judge(self, name: str, pointer: str) -> jsonschema_rs.Draft202012Validator:
        """The engine for one part of a collected schema; for comparisons, not for messages.

        Args:
            pointer: leads to the part within :meth:`schema`.
        """
        return jsonschema_rs.Draft202012Validator(
            {"$ref": f"{_BUNDLE}#/$defs/{name}{quote(pointer)}"},
            registry=self._registry,
            validate_formats=True,
            formats=dict(formats.OWN),
            pattern_options=jsonschema_rs.RegexOptions(),
            offline=True,
        )

    def place_of(self, location: str) -> tuple[str, str]:
        """Where a keyword stands that an engine tells of, and which one it is."""
        _, _, path = location.partition("#/$defs/")
        name, _, rest = path.partition("/")
        origin, rest = self._origins.get(name), unquote(rest)
        keyword = rest.rpartition("/")[2]
        if origin is None:
            return "", keyword
        found = Place(origin.base, f"{origin.pointer}/{rest}")
        return str(found) if found.base else found.pointer, keyword

    def schema(self, name: str) -> Any:
        """The translated schema of a name; references in it are ``#/$defs/{name}``."""
        return self._schemas[name]

    def says_only(self, name: str, kind: str) -> bool:
        """Whether the schema asks for a type and for nothing else."""
        return bool(self._schemas[name] == {"type": kind})

    def types(self, name: str) -> frozenset[str]:
        """The JSON types that the schema of this name can admit, as far as it says so."""
        return self._types(self._schemas[name], 0)

    def items(self, name: str) -> frozenset[str]:
        """The JSON types that items of an array of this schema can have."""
        schema, hops = self._schemas[name], 0
        while isinstance(schema, dict) and "$ref" in schema and "items" not in schema and hops < 32:
            schema, hops = self._schemas[schema["$ref"].rpartition("/")[2]], hops + 1
        return self._types(schema.get("items", True) if isinstance(schema, dict) else True, 0)

    def _types(self, schema: Any, depth: int) -> frozenset[str]:
        admitted = _ALL_TYPES
        if not isinstance(schema, dict) or depth > 32:
            return admitted
        if "type" in schema:
            kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            admitted &= frozenset(kinds) | ({"integer"} if "number" in kinds else frozenset())
        if "enum" in schema:
            admitted &= frozenset(_type_of(value) for value in schema["enum"])
        if "const" in schema:
            admitted &= {_type_of(schema["const"])}
        if "$ref" in schema:
            target = schema["$ref"].rpartition("/")[2]
            admitted &= self._types(self._schemas[target], depth + 1)
        for one in schema.get("allOf", ()):
            admitted &= self._types(one, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                admitted &= frozenset().union(
                    *(self._types(one, depth + 1) for one in schema[keyword])
                )
        return admitted

    def _check_work(self) -> None:
        """Bound the schemas that apply to one instance; a circle would have no bound."""
        work: dict[str, int] = {}
        parts = {name: _in_place(schema) for name, schema in self._schemas.items()}
        for start in self._schemas:
            stack: list[tuple[str, bool]] = [(start, False)]
            open_names: set[str] = set()
            while stack:
                name, done = stack.pop()
                count, targets = parts[name]
                if done:
                    open_names.discard(name)
                    work[name] = count + sum(work[target] for target in targets)
                    if work[name] > MAX_WORK:
                        raise refuse(
                            self._origins[name],
                            f"more than {MAX_WORK} schemas apply to one value",
                        )
                elif name in open_names:
                    raise refuse(self._origins[name], "$ref leads in a circle on one value")
                elif name not in work:
                    open_names.add(name)
                    stack.append((name, True))
                    stack.extend((target, False) for target in targets if target not in work)


_ALL_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds: dict[type, str] = {
        str: "string", int: "integer", float: "number", list: "array", dict: "object"
    }  # fmt: skip
    return kinds.get(type(value), "null")


def _in_place(schema: Any) -> tuple[int, list[str]]:
    """How many schemas apply to the same instance, and the names referred to among them."""
    if not isinstance(schema, dict):
        return 1, []
    count, targets = 1, []
    if "$ref" in schema:
        targets.append(schema["$ref"].rpartition("/")[2])
    for keyword in _IN_PLACE & schema.keys():
        value = schema[keyword]
        parts = value if isinstance(value, list) else [value]
        if keyword == "dependentSchemas":
            parts = list(value.values())
        for part in parts:
            more, further = _in_place(part)
            count += more
            targets += further
    return count, targets


@lru_cache(maxsize=128)  # most services refer to the same few
def _shared_schema(name: str, content: bytes) -> dict[str, Any]:
    """A shared schema, checked whole; callers do not change it."""
    schema = parse_document(content, name)
    if not isinstance(schema, dict) or schema.get("$id") != name:
        raise refuse(name, "a shared schema must carry its own $id")
    if schema.get("$schema", DRAFT_2020_12) != DRAFT_2020_12:
        raise refuse(f"{name}#/$schema", "shared schemas are JSON Schema 2020-12")
    _check_metaschema(schema, lambda path: Place(name, path))
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


def _check_metaschema(schema: dict[str, Any], origin: Callable[[str], Place]) -> None:
    try:
        _metaschema().validate(schema)
    except jsonschema_rs.ValidationError as error:
        path, keyword = _broken_rule(schema, error)
        raise refuse(
            origin(path), f"not a valid schema: the value breaks {keyword!r} of the metaschema"
        ) from error


def _broken_rule(schema: Any, found: jsonschema_rs.ValidationError) -> tuple[str, str]:
    """Where the metaschema is broken, and its keyword.

    ``jsonschema`` tells the innermost place of alternatives; it is slow, and loaded only for this.
    """
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        path, keyword = list(error.absolute_path), error.validator
    else:
        path, keyword = list(found.instance_path), found.kind.name
    return (
        "".join(f"/{escape(str(token))}" for token in path),
        keyword if isinstance(keyword, str) else "schema",
    )
