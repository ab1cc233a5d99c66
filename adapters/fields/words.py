"""The words that a mapping says of a field, and what a value that does not fit it is."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeAlias

Converter: TypeAlias = Callable[[Any], Any]
Schema: TypeAlias = dict[str, Any]


class Mismatch(Exception):
    """A value that the field cannot express: the rule it breaks and the type it has.

    ``place`` is where it is inside a value that holds others, as a JSON pointer.
    """

    def __init__(self, rule: str, value: object, *, place: str = "", kind: str = "") -> None:
        self.rule = rule
        self.type = kind or type(value).__name__
        self.place = place
        super().__init__(f"a value of type {self.type} breaks the rule: {rule}")

    def of(self, name: str) -> Mismatch:
        """The same, said of the input ``name`` of a computed value."""
        return Mismatch(f"{name} {self.rule}", None, kind=self.type)


class Kind(StrEnum):
    """What a field's value is in the answer."""

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    DATETIME = "datetime"
    BOOLEAN = "boolean"
    ENUMERATION = "enumeration"


class Null(StrEnum):
    """What becomes of a null."""

    OMIT = "omit"
    NULL = "null"
    REFUSE = "refuse"


class Emit(StrEnum):
    """How an exact decimal is written in JSON."""

    NUMBER = "number"
    STRING = "string"


class Otherwise(StrEnum):
    """What becomes of a word that the translation table does not know."""

    REFUSE = "refuse"
    NULL = "null"
    KEEP = "keep"


class Stored(StrEnum):
    """What the source compares a filter's word with, for enumerations, booleans and old text."""

    STRING = "string"
    INTEGER = "integer"
    BYTES = "bytes"
