"""OpenAPI documents (3.0 and 3.1, JSON) read into operations.

Invariants: what a document declares and this reader cannot hold is refused with its JSON pointer,
never passed over: ``in: cookie``, styles other than ``form`` and ``simple``, objects as
parameters, ``content`` of parameters. Passed over, because they bind nothing that is checked here:
servers, security, callbacks, webhooks, links, response headers, tags, examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from exchange.contracts import paths
from exchange.contracts.deprecation import deprecation_of, service_deprecation
from exchange.contracts.marks import Mark, marks_of
from exchange.contracts.operations import Body, Content, Operation, is_json
from exchange.contracts.parameters import KINDS, Parameter, acceptor
from exchange.schema_sets.collecting import SchemaSet
from exchange.schema_sets.keywords import Dialect, Direction
from exchange.schema_sets.places import Place, parse_document, refuse

MAX_OPERATIONS: Final = 1000
METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_VERSION: Final = re.compile(r"3\.([01])\.[0-9]{1,3}(?:-[0-9A-Za-z.-]{1,20})?")
_STATUS: Final = re.compile(r"[1-5](?:[0-9]{2}|XX)")
_MEDIA_TYPE: Final = re.compile(
    r"(?:\*/\*|[a-z0-9!#$&^_.+-]{1,127}/(?:\*|[a-z0-9!#$&^_.+-]{1,127}))"
)
_STYLES: Final = {"path": "simple", "query": "form", "header": "simple"}
_NOT_PARAMETERS: Final = frozenset({"accept", "content-type", "authorization"})


@dataclass(frozen=True, slots=True)
class Draft:
    """An operation whose schemas are collected but not compiled."""

    method: str
    template: str
    place: Place
    node: Mapping[str, Any]
    parameters: tuple[Declared, ...]
    selects: str | None
    request: DraftContent | None
    responses: Mapping[str, DraftContent]


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter; ``schema`` is its name in the schema set."""

    place: Place
    node: Mapping[str, Any]
    location: str
    name: str
    schema: str


@dataclass(frozen=True, slots=True)
class DraftContent:
    """A body: the names of its schemas by media type, None where it has none that is judged."""

    required: bool
    schemas: Mapping[str, str | None]


class Reader:
    """Reads one document; :meth:`operations` is the way through."""

    def __init__(self, document: bytes, shared: Mapping[str, bytes]) -> None:
        self._root = Place("", "")
        self._document = _object(parse_document(document), self._root)
        version = self._document.get("openapi")
        found = _VERSION.fullmatch(version) if isinstance(version, str) else None
        if found is None:
            raise refuse("#/openapi", "must be a version 3.0.x or 3.1.x")
        self._old = found[1] == "0"
        dialect = self._document.get("jsonSchemaDialect")
        if dialect not in (
            None,
            "https://json-schema.org/draft/2020-12/schema",
            "https://spec.openapis.org/oas/3.1/dialect/base",
        ):
            raise refuse("#/jsonSchemaDialect", "schemas are JSON Schema 2020-12")
        self._schemas = SchemaSet(
            self._document,
            Dialect.OPENAPI_3_0 if self._old else Dialect.JSON_SCHEMA_2020_12,
            shared,
        )

    @property
    def schemas(self) -> SchemaSet:
        """The schemas that were collected."""
        return self._schemas

    def answers(self) -> dict[tuple[str, str], tuple[str | None, ...]]:
        """The schemas of the JSON answers of every operation that are no errors, by method and
        template; None for an answer without a schema.

        Raises:
            Problem: ``INVALID_DOCUMENT`` at the place that is not accepted.
        """
        found = {
            (draft.method, draft.template): tuple(
                schema
                for status, content in draft.responses.items()
                if status[0] not in "45"
                for kind, schema in content.schemas.items()
                if is_json(kind) or kind.endswith("/*")
            )
            for draft in self.drafts()
        }
        self._schemas.close()
        return found

    def asked(self) -> Iterator[tuple[str, str, Place]]:
        """Method, template and place of everything that an operation takes: its parameters, and
        the schema of each media type of its body.

        Raises:
            Problem: ``INVALID_DOCUMENT`` at the place that is not accepted.
        """
        for draft in self.drafts():
            for declared in draft.parameters:
                yield draft.method, draft.template, declared.place
            if draft.request is not None:
                at, body = self._resolved(draft.node["requestBody"], draft.place / "requestBody")
                for field, media in body["content"].items():
                    if "schema" in media:
                        yield draft.method, draft.template, at / "content" / field / "schema"

    @property
    def weight(self) -> int:
        """How much was compiled so far."""
        return self._schemas.weight

    def operations(self) -> Iterator[Operation]:
        """Every operation, in the document's order.

        Raises:
            Problem: ``INVALID_DOCUMENT`` at the place that is not accepted.
        """
        drafts = list(self.drafts())
        self._schemas.close()
        identifiers: set[str] = set()
        for draft in drafts:
            operation = self._operation(draft)
            if operation.operation_id and operation.operation_id in identifiers:
                raise refuse(draft.place / "operationId", "another operation has it")
            identifiers.add(operation.operation_id)
            yield operation

    # -- collecting ------------------------------------------------------------------------

    def drafts(self) -> Iterator[Draft]:
        """Every operation with its schemas collected but not compiled; ``schemas.close()`` is due.

        Raises:
            Problem: ``INVALID_DOCUMENT`` at the place that is not accepted.
        """
        place = self._root / "paths"
        items = _object(self._document.get("paths", {}), place)
        count = 0
        for template, raw in items.items():
            if template.startswith("x-"):
                continue
            at, item = self._resolved(raw, place / template)
            for method in METHODS:
                if method in item:
                    count += 1
                    if count > MAX_OPERATIONS:
                        raise refuse(place, f"more than {MAX_OPERATIONS} operations")
                    yield self._draft(method, template, item, at)

    def _draft(self, method: str, template: str, item: Mapping[str, Any], at: Place) -> Draft:
        place = at / method
        node = _object(item[method], place)
        declared = dict(self._parameters(item, at))
        declared.update(self._parameters(node, place))
        try:
            names = set(paths.variables(template))
        except ValueError as error:
            raise refuse(self._root / "paths" / template, str(error)) from error
        in_path = {one.name for one in declared.values() if one.location == "path"}
        if names != in_path:
            odd = ", ".join(sorted(names ^ in_path))
            raise refuse(place, f"template and path parameters disagree on {odd}")
        selects = [
            one.name
            for one in declared.values()
            if _flag(one.node, "x-saphan-selects-fields", one.place)
        ]
        if len(selects) > 1 or any(("query", name) not in declared for name in selects):
            raise refuse(place, "one query parameter at most selects fields")
        request = None
        if "requestBody" in node:
            body_at, body = self._resolved(node["requestBody"], place / "requestBody")
            request = self._content(body, body_at, Direction.REQUEST)
        return Draft(
            method.upper(),
            template,
            place,
            node,
            tuple(declared.values()),
            selects[0] if selects else None,
            request,
            dict(self._responses(node, place, selection=bool(selects))),
        )

    def _parameters(
        self, node: Mapping[str, Any], at: Place
    ) -> Iterator[tuple[tuple[str, str], Declared]]:
        place = at / "parameters"
        raw = node.get("parameters", [])
        if not isinstance(raw, list):
            raise refuse(place, "must be an array")
        seen: set[tuple[str, str]] = set()
        for index, one in enumerate(raw):
            declared = self._parameter(one, place / index)
            if declared is None:
                continue
            key = (declared.location, declared.name)
            if key in seen:
                raise refuse(place / index, "the same parameter is declared twice")
            seen.add(key)
            yield key, declared

    def _parameter(self, raw: Any, at: Place) -> Declared | None:
        at, node = self._resolved(raw, at)
        location, name = node.get("in"), node.get("name")
        if location == "cookie":
            raise refuse(at / "in", "cookies are not carried; use a query or header parameter")
        if location not in _STYLES:
            raise refuse(at / "in", "must be path, query or header")
        if not isinstance(name, str) or not name:
            raise refuse(at / "name", "must be a name")
        if location == "header":
            name = name.lower()
            if name in _NOT_PARAMETERS:  # OpenAPI 3.1.1 section 4.8.12.2.1: ignored
                return None
        style = node.get("style", _STYLES[location])
        if style != _STYLES[location]:
            raise refuse(at / "style", f"only style {_STYLES[location]} in {location}")
        for flag in ("required", "explode", "allowEmptyValue"):
            _flag(node, flag, at)
        if location == "path" and node.get("required") is not True:
            raise refuse(at / "required", "must be true in a path")
        if "schema" not in node:
            raise refuse(at, "a parameter needs a schema (content is not supported)")
        schema = self._schemas.add(at / "schema", Direction.REQUEST)
        return Declared(at, node, location, name, schema)

    def _responses(
        self, node: Mapping[str, Any], at: Place, *, selection: bool
    ) -> Iterator[tuple[str, DraftContent]]:
        direction = Direction.SELECTION if selection else Direction.RESPONSE
        place = at / "responses"
        responses = _object(node.get("responses", {} if not self._old else None), place)
        for status, raw in responses.items():
            if status.startswith("x-"):
                continue
            if status != "default" and not _STATUS.fullmatch(status):
                raise refuse(place / status, "must be a status such as 200, 2XX or default")
            response_at, response = self._resolved(raw, place / status)
            yield status, self._content(response, response_at, direction)

    def _content(self, node: Mapping[str, Any], at: Place, direction: Direction) -> DraftContent:
        if direction is Direction.REQUEST and "content" not in node:
            raise refuse(at, "a request body needs content")
        place = at / "content"
        schemas: dict[str, str | None] = {}
        for field, raw in _object(node.get("content", {}), place).items():
            kind = field.partition(";")[0].strip().lower()
            if not _MEDIA_TYPE.fullmatch(kind):
                raise refuse(place / field, "must be a media type or a range such as text/*")
            if kind in schemas:
                raise refuse(place / field, "this media type is declared twice")
            media = _object(raw, place / field)
            judged = is_json(kind) or kind.endswith("/*")
            schemas[kind] = (
                self._schemas.add(place / field / "schema", direction)
                if judged and "schema" in media
                else None
            )
        return DraftContent(_flag(node, "required", at), schemas)

    def _resolved(self, raw: Any, at: Place) -> tuple[Place, Mapping[str, Any]]:
        """Follow the references of a Reference Object within the document."""
        for _ in range(16):
            node = _object(raw, at)
            if "$ref" not in node:
                return at, node
            found = self._schemas.target(node["$ref"], at)
            if found.base:
                raise refuse(at / "$ref", "only a schema can be a shared one")
            at, raw = found, self._schemas.resolve(found)
        raise refuse(at, "too many references in a row")

    # -- compiling -------------------------------------------------------------------------

    def _operation(self, draft: Draft) -> Operation:
        by_location: dict[str, dict[str, Parameter]] = {"path": {}, "query": {}, "header": {}}
        for declared in draft.parameters:
            by_location[declared.location][declared.name] = self._compiled(declared)
        responses = {
            status: self._body(one, counted=status[0] not in "45")
            for status, one in draft.responses.items()
        }
        return Operation(
            method=draft.method,
            template=draft.template,
            operation_id=_text(draft.node, "operationId", draft.place),
            summary=_text(draft.node, "summary", draft.place),
            selects=draft.selects,
            strict_query=_flag(draft.node, "x-saphan-strict-query", draft.place),
            in_path=by_location["path"],
            in_query=by_location["query"],
            in_header=by_location["header"],
            request=self._body(draft.request) if draft.request else None,
            responses={int(s): body for s, body in responses.items() if s.isdigit()},
            response_ranges={int(s[0]): body for s, body in responses.items() if s[1:] == "XX"},
            default_response=responses.get("default"),
            notices=self._notices(draft),
            counts=any(
                content.marks for body in responses.values() for content in body.types.values()
            ),
        )

    def _notices(self, draft: Draft) -> tuple[tuple[str, str], ...]:
        found = deprecation_of(draft.node, "", draft.place.pointer) or service_deprecation(
            self._document
        )
        return () if found is None else found.fields()

    def _compiled(self, declared: Declared) -> Parameter:
        place, node = declared.place, declared.node
        kinds = self._schemas.types(declared.schema) - {"null"}
        array = kinds == {"array"}
        if array:
            kinds = self._schemas.items(declared.schema) - {"null"}
        if len(kinds) > len(KINDS):  # the schema says nothing of types: text is what there is
            kinds = frozenset({"string"})
        if not kinds or kinds - set(KINDS):
            raise refuse(
                place / "schema",
                "a parameter is a string, integer, number or boolean, or an array of these",
            )
        if "number" in kinds:
            kinds -= {"integer"}
        ordered = tuple(kind for kind in KINDS if kind in kinds)
        plain = len(ordered) == 1 and self._schemas.says_only(declared.schema, ordered[0])
        schema = None if plain else self._schemas.compiled(declared.schema)
        return Parameter(
            name=declared.name,
            where=f"{declared.location}.{declared.name}",
            required=node.get("required", False),
            kinds=ordered,
            array=array,
            explode=node.get("explode", declared.location == "query"),
            allow_empty=node.get("allowEmptyValue", False),
            schema=schema,
            accepts=acceptor(ordered, schema),
        )

    def _body(self, content: DraftContent, *, counted: bool = False) -> Body:
        types: dict[str, Content] = {}
        for kind, name in content.schemas.items():
            schema = self._schemas.compiled(name) if name else None
            marks: tuple[Mark, ...] = ()
            if counted and name and self._schemas.marked:
                marks = marks_of(self._schemas, self._schemas.origin(name))
            types[kind] = Content(is_json(kind), schema, marks)
        return Body.of(types, required=content.required)


def head_of(operation: Operation) -> Operation:
    """HEAD as RFC 9110 section 9.3.2 defines it by GET."""
    return replace(operation, method="HEAD")


def _object(value: Any, place: Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse(place, "must be an object")
    return value


def _flag(node: Mapping[str, Any], name: str, place: Place) -> bool:
    value = node.get(name, False)
    if not isinstance(value, bool):
        raise refuse(place / name, "must be true or false")
    return value


def _text(node: Mapping[str, Any], name: str, place: Place) -> str:
    value = node.get(name, "")
    if not isinstance(value, str):
        raise refuse(place / name, "must be a string")
    return value
