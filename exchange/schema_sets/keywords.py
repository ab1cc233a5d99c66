"""The keywords of JSON Schema and OpenAPI that bind, that are refused, and that hold schemas.

Sources: JSON Schema 2020-12 core and validation; OpenAPI 3.0.4 section 4.7.24 and 3.1.1 section
4.8.24.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from exchange.contracts import formats

DRAFT_2020_12: Final = "https://json-schema.org/draft/2020-12/schema"
DIALECTS: Final = frozenset({DRAFT_2020_12, "https://spec.openapis.org/oas/3.1/dialect/base"})

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
KEPT: Final = _PLAIN | LIST | MAP
FORMATS: Final = tuple(formats.ASSERTED)
IN_PLACE: Final = frozenset(
    {"allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"}
)
NEVER: Final = {
    "$anchor": "refer to the place by its JSON pointer",
    "$dynamicAnchor": "dynamic references are not supported",
    "$dynamicRef": "dynamic references are not supported",
    "$recursiveAnchor": "a keyword of draft 2019-09",
    "$recursiveRef": "a keyword of draft 2019-09",
    "$vocabulary": "vocabularies are not supported",
    "additionalItems": "a keyword of draft 2019-09; use items beside prefixItems",
    "dependencies": "a keyword of draft 7; use dependentRequired or dependentSchemas",
}
NOT_IN_3_0: Final = (
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
"""What marks a property to be counted; see :mod:`exchange.contracts.marks`."""


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
