"""A schema that judges instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from exchange.schema_sets.places import Place


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
