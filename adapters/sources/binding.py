"""Values as the drivers bind them."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from adapters.fields.inward import Near
from adapters.sources import vendors


def bound(dialect: str, value: Any) -> Any:
    """``value`` as the driver of ``dialect`` binds it: SQLite knows no decimals and no dates,
    Oracle and SQL Server no truth values.

    PostgreSQL gets times that name their zone, and floats, as texts without a type, which it reads
    as the column's: so the zone counts where the column has one, and a ``real`` equals itself. To
    the others a time is that of its clock. What a database has no value of, such as
    SQLite of a duration, is only in a cursor of somebody's own making: nothing compares with it.
    """
    if isinstance(value, Near):
        value = value.number
    if dialect == "postgresql":
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.isoformat(sep=" ")
        return value
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None)
    if isinstance(value, Decimal | float) and not math.isfinite(value):
        return float(value) if dialect == "sqlite" else None
    if dialect != "sqlite":
        return int(value) if dialect in vendors.EXTRAS and isinstance(value, bool) else value
    match value:
        case Decimal():
            whole = abs(value) < 1 << 63 and value == value.to_integral_value()
            return int(value) if whole else float(value)
        case datetime():
            return value.isoformat(sep=" ")
        case date():
            return value.isoformat()
        case timedelta():
            return None
        case _:
            return value
