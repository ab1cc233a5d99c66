"""What a database refused, as an answer that the caller can act upon: the field and the rule.

Databases say what was broken by a number, and where by words in which the value stands as well.
So only the number and names of columns are taken from what they say, and a name is told only as
the field that it is.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import exc as sqlalchemy_exc

from adapters.sources.failures import is_timeout, state_of


class Kind(Enum):
    """What a database says of a statement that failed."""

    UNIQUE = "unique"
    REFERENCE = "reference"
    REFERENCED = "referenced"
    MISSING = "missing"
    CHECK = "check"
    TOO_LONG = "too long"
    OUT_OF_RANGE = "out of range"
    WRONG_TYPE = "wrong type"
    RULE = "rule"
    AGAIN = "again"
    BUSY = "busy"
    TIMEOUT = "timeout"
    GONE = "gone"
    FULL = "full"
    READ_ONLY = "read only"
    OTHER = "other"


CONFLICTS: Mapping[Kind, str] = {
    Kind.UNIQUE: "another record has this value already",
    Kind.REFERENCED: "other records refer to this one",
    Kind.RULE: "a rule of the source does not allow this change",
}
"""What is there already stands against it: 409."""

UNFIT: Mapping[Kind, str] = {
    Kind.REFERENCE: "refers to a record that is not there",
    Kind.MISSING: "must have a value",
    Kind.CHECK: "breaks a condition that the source sets",
    Kind.TOO_LONG: "is longer than the source can hold",
    Kind.OUT_OF_RANGE: "is larger or smaller than the source can hold",
    Kind.WRONG_TYPE: "is not of the type that the source holds",
}
"""The value itself is not one that the source takes: 422."""

UNABLE: Mapping[Kind, str] = {
    Kind.FULL: "the source has no room left; nothing was written",
    Kind.READ_ONLY: "the source can only be read now, as a standby can; nothing was written",
}
"""The database cannot write anything: its operators have to act."""

_POSTGRESQL = {
    "23505": Kind.UNIQUE,
    "23P01": Kind.UNIQUE,
    "23503": Kind.REFERENCE,
    "23001": Kind.REFERENCED,
    "23502": Kind.MISSING,
    "23514": Kind.CHECK,
    "44000": Kind.CHECK,
    "22001": Kind.TOO_LONG,
    "22003": Kind.OUT_OF_RANGE,
    "22008": Kind.OUT_OF_RANGE,
    "22P02": Kind.WRONG_TYPE,
    "22007": Kind.WRONG_TYPE,
    "42804": Kind.WRONG_TYPE,
    "22P05": Kind.WRONG_TYPE,
    "P0001": Kind.RULE,
    "40001": Kind.AGAIN,
    "40P01": Kind.AGAIN,
    "55P03": Kind.BUSY,
    "53100": Kind.FULL,
    "25006": Kind.READ_ONLY,
}
_NOT_SUPPORTED = "0A000"
_MARIADB = {
    1062: Kind.UNIQUE,
    1586: Kind.UNIQUE,
    1452: Kind.REFERENCE,
    1216: Kind.REFERENCE,
    1451: Kind.REFERENCED,
    1217: Kind.REFERENCED,
    1048: Kind.MISSING,
    1364: Kind.MISSING,
    4025: Kind.CHECK,
    3819: Kind.CHECK,
    1369: Kind.CHECK,
    1406: Kind.TOO_LONG,
    1264: Kind.OUT_OF_RANGE,
    1690: Kind.OUT_OF_RANGE,
    1265: Kind.WRONG_TYPE,
    1292: Kind.WRONG_TYPE,
    1366: Kind.WRONG_TYPE,
    1411: Kind.WRONG_TYPE,
    1644: Kind.RULE,
    1213: Kind.AGAIN,
    1020: Kind.AGAIN,
    1205: Kind.BUSY,
    1021: Kind.FULL,
    1114: Kind.FULL,
    1290: Kind.READ_ONLY,
    1792: Kind.READ_ONLY,
    1836: Kind.READ_ONLY,
}
_SQLITE = {
    "SQLITE_CONSTRAINT_UNIQUE": Kind.UNIQUE,
    "SQLITE_CONSTRAINT_PRIMARYKEY": Kind.UNIQUE,
    "SQLITE_CONSTRAINT_ROWID": Kind.UNIQUE,
    "SQLITE_CONSTRAINT_FOREIGNKEY": Kind.REFERENCE,
    "SQLITE_CONSTRAINT_NOTNULL": Kind.MISSING,
    "SQLITE_CONSTRAINT_CHECK": Kind.CHECK,
    "SQLITE_CONSTRAINT_DATATYPE": Kind.WRONG_TYPE,
    "SQLITE_MISMATCH": Kind.WRONG_TYPE,
    "SQLITE_CONSTRAINT_TRIGGER": Kind.RULE,
    "SQLITE_BUSY": Kind.BUSY,
    "SQLITE_BUSY_SNAPSHOT": Kind.AGAIN,
    "SQLITE_LOCKED": Kind.BUSY,
    "SQLITE_FULL": Kind.FULL,
    "SQLITE_READONLY": Kind.READ_ONLY,
    "SQLITE_READONLY_DIRECTORY": Kind.READ_ONLY,
}
# Of MariaDB's messages: a value may hold anything, so names are taken at the end.
_MARIADB_COLUMN = re.compile(
    r"(?:Column|Field) '([^']+)' (?:cannot be null|doesn't have a default value)"
    r"|for column (?:'([^']+)'|(?:`[^`]+`\.){0,2}`([^`]+)`) at row \d+\Z",
    re.DOTALL,
)
_MARIADB_FOREIGN = re.compile(r"FOREIGN KEY \(((?:`[^`]+`(?:, )?)+)\) REFERENCES", re.ASCII)
_SQLITE_COLUMNS = re.compile(r"(?:UNIQUE|NOT NULL) constraint failed: ([\w., ]+)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Said:
    """What a database said of a statement: the kind, and the columns where it can be told."""

    kind: Kind
    columns: tuple[str, ...] = ()


def kind_of(error: sqlalchemy_exc.DBAPIError) -> Kind:
    """What kind of refusal, or failure, a driver's exception is."""
    origin = error.orig
    if error.connection_invalidated:
        return Kind.GONE
    if isinstance(origin, sqlite3.Error):
        state = str(getattr(origin, "sqlite_errorname", "") or "")
        if state == "SQLITE_INTERRUPT":
            return Kind.TIMEOUT
        return _SQLITE.get(state, Kind.OTHER)
    state = state_of(origin) if origin is not None else ""
    if origin is not None and is_timeout(origin, state):
        return Kind.TIMEOUT
    if state == _NOT_SUPPORTED and (error.statement or "").startswith("BEGIN"):
        return Kind.READ_ONLY  # a hot standby begins no transaction that writes
    if state.isdigit() and len(state) == 4:
        return _MARIADB.get(int(state), Kind.OTHER)
    return _POSTGRESQL.get(state, Kind.OTHER)


def said(error: sqlalchemy_exc.DBAPIError, kind: Kind, verb: str) -> Said:
    """What the driver's exception tells by itself; :mod:`adapters.writes.places` may tell more."""
    origin: Any = error.orig
    if kind is Kind.REFERENCE and verb == "DELETE":
        kind = Kind.REFERENCED  # SQLite and PostgreSQL have one number for both
    words = str(origin.args[-1]) if getattr(origin, "args", ()) else ""
    if isinstance(origin, sqlite3.Error):
        match = _SQLITE_COLUMNS.search(words)
        found = match[1].split(", ") if match else []
        return Said(kind, tuple(part.rpartition(".")[2].lower() for part in found))
    diagnosis = getattr(origin, "diag", None)
    if diagnosis is not None:
        column = getattr(diagnosis, "column_name", None)
        return Said(kind, (column.lower(),) if column else ())
    match = _MARIADB_COLUMN.search(words)
    if match:
        column = next(group for group in match.groups() if group)
        return Said(kind, (column.lower(),))
    match = _MARIADB_FOREIGN.search(words) if kind is Kind.REFERENCE else None
    if match:
        return Said(kind, tuple(name.lower() for name in re.findall("`([^`]+)`", match[1])))
    return Said(kind)
