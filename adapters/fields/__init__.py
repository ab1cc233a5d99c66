"""Values of legacy columns as values of a schema, exactly or not at all.

A :class:`Field` says how one column becomes one member of the answer. Invariants:
- a value that cannot be converted exactly is a :class:`Mismatch`, never a guess, and rounded only
  where the mapping says how;
- decimals never pass through a binary float on their way out: they are written digit by digit;
- a time without a zone gets the zone that the mapping names, and leaves as RFC 3339;
- a mismatch names the type of the value and the rule, never the value (it may be a person's).
"""

from __future__ import annotations

from adapters.fields.calendars import Calendar, UnknownForm
from adapters.fields.computing import Computation
from adapters.fields.inward import Near, parse_date, parse_datetime, parse_plain
from adapters.fields.model import Field, plain_schema
from adapters.fields.numbers import PLAIN, Negative, NumberForm
from adapters.fields.units import Rounding, Unit
from adapters.fields.words import (
    Converter,
    Emit,
    Kind,
    Mismatch,
    Null,
    Otherwise,
    Schema,
    Stored,
)

__all__ = [
    "PLAIN",
    "Calendar",
    "Computation",
    "Converter",
    "Emit",
    "Field",
    "Kind",
    "Mismatch",
    "Near",
    "Negative",
    "Null",
    "NumberForm",
    "Otherwise",
    "Rounding",
    "Schema",
    "Stored",
    "Unit",
    "UnknownForm",
    "parse_date",
    "parse_datetime",
    "parse_plain",
    "plain_schema",
]
