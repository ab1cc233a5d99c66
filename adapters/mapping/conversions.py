"""The keys of a field that convert its values: units, rounding, calendars."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from decimal import Decimal
from typing import Any

from adapters.fields import Calendar, Field, Kind, Rounding, Unit, UnknownForm
from adapters.mapping.reader import Node

_FACTOR = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_OFFSET = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_YEAR_FORMS = ("%Y", "%y")


def read_conversion(found: Map[str, Node]) -> dict[str, Any]:
    """What the keys of a field say of conversions, as arguments of :class:`Field`."""
    unit = None
    if "factor" in found or "offset" in found:
        factor = Decimal(found["factor"].text(_FACTOR)) if "factor" in found else Decimal(1)
        if not factor:
            found["factor"].refuse("must be above zero")
        offset = Decimal(found["offset"].text(_OFFSET)) if "offset" in found else Decimal(0)
        unit = Unit(factor, offset)
    return {
        "unit": unit,
        "rounding": found["rounding"].choice(Rounding) if "rounding" in found else Rounding.REFUSE,
        "calendar": found["calendar"].choice(Calendar)
        if "calendar" in found
        else Calendar.GREGORIAN,
        "years_from": found["years_from"].integer(1, 9_900) if "years_from" in found else None,
    }


def check_conversion(field: Field, node: Node) -> None:
    """Refuse conversions that contradict each other, at ``node``."""
    if field.kind is Kind.DECIMAL and field.rounding is not Rounding.REFUSE and field.scale is None:
        node.refuse("what is rounded needs the key 'scale'")
    short = field.format is not None and "%y" in field.format
    if field.is_year:
        if field.unit is not None or field.rounding is not Rounding.REFUSE:
            node.refuse("a year has no unit and is not rounded")
        if field.format not in (None, *_YEAR_FORMS):
            node.refuse(f"a year is written as one of: {', '.join(_YEAR_FORMS)}")
        if field.separator is not None:
            node.refuse("a year is no list")
        short = short or field.format is None
    if field.years_from is not None and not short:
        node.refuse("years_from is for years of two digits: there is no %y in the format")
    if field.kind in (Kind.DATE, Kind.DATETIME):
        try:
            _ = field.form
        except UnknownForm as error:
            node.refuse(f"{field.format!r}: {error}")
