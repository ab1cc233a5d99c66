"""Schema sets: the JSON Schemas of one document and the shared ones it refers to, compiled.

Invariants:
- nothing is ever fetched: a ``$ref`` leads to a place in the document or to a shared schema by its
  absolute ``$id``, or the document is refused;
- every schema reaches the engine in one dialect, JSON Schema 2020-12: OpenAPI 3.0's own dialect is
  translated, annotations are left out, formats are asserted as :mod:`exchange.contracts.formats`
  says and patterns kept to what :mod:`exchange.contracts.patterns` accepts;
- keywords that an author would expect to bind but that the dialect ignores are refused, so that
  "checked" means what its author meant;
- every schema has passed its metaschema before it is compiled;
- references never turn in circles on one instance, and the work of one check is bounded.

Sources: JSON Schema 2020-12 core and validation; OpenAPI 3.0.4 section 4.7.24 and 3.1.1 section
4.8.24.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urldefrag, urljoin

import jsonschema_rs
import orjson

from exchange.contracts import formats, patterns
from exchange.problems import Problem
from exchange.schema_sets.compiled import CompiledSchema
from exchange.schema_sets.keywords import (
    DIALECTS,
    DRAFT_2020_12,
    FORMATS,
    KEPT,
    LIST,
    MAP,
    MARK,
    NEVER,
    ONE,
    Dialect,
    Direction,
)
from exchange.schema_sets.metaschema import check_metaschema, shared_schema
from exchange.schema_sets.openapi_3_0 import from_3_0
from exchange.schema_sets.places import Place, refuse
from exchange.schema_sets.questions import check_work, has_alternatives, items_of, types_of

MAX_SCHEMAS: Final = 5_000
MAX_PARTS: Final = 10_000
"""Schemas in all, those inside others counted."""
MAX_WEIGHT: Final = 50_000
"""What the engine compiles for one document: about 1 KiB and 10 microseconds for each unit.

Every operation's schemas are compiled with all that they refer to, once for each.
"""
_BUNDLE: Final = "urn:saphan:schema-set"


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
        self.memory: dict[tuple[str, int], Any] = {}
        """What comparisons worked out of its schemas, by question and identity of the schema."""
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
        base, fragment = urldefrag(reference)
        # urljoin knows no relation to schemes such as urn: a part of the same document is one's own
        base = urljoin(place.base, base) if base else place.base
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
            self._documents[place.base] = shared_schema(place.base, self._shared[place.base])
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
            node = from_3_0(node, place, direction, self._marked)
        self._check_identity(node, place)
        out: dict[str, Any] = {}
        for keyword, value in node.items():
            here = place / keyword
            if keyword in NEVER:
                raise refuse(here, NEVER[keyword])
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
            elif keyword in KEPT or (keyword == "format" and value in FORMATS):
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
        if "$schema" in node and node["$schema"] not in DIALECTS:
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

        check_metaschema({"$defs": self._schemas}, origin)
        check_work(self._schemas, self._origins)
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
                has_alternatives(self._schemas, name),
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
        return types_of(self._schemas, self._schemas[name])

    def items(self, name: str) -> frozenset[str]:
        """The JSON types that items of an array of this schema can have."""
        return items_of(self._schemas, name)
