"""The mapping: what a legacy source shows to others, as one strict YAML file.

A mapping describes one source, the records in it and the services over it. These are the values;
:mod:`adapters.mapping_file` reads them. docs/adapters.md is the reference of the format.

Invariants of a :class:`Mapping`: every name that is used is defined; every query is a SELECT whose
parameters are all declared; every list with a next page has an order; paths are unique within
a service.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from adapters.fields import Field, Kind
from adapters.statements import Key, Select
from exchange.identifiers import ApplicationId, ServiceId

Texts: TypeAlias = Map[str, str]
"""A text in both working languages: the keys ``en`` and ``lo``."""

FORMAT_VERSION = 1


class SourceKind(StrEnum):
    """What kind of thing the records are in."""

    SQL = "sql"
    CSV = "csv"


class Operation(StrEnum):
    """What an endpoint answers."""

    LIST = "list"
    ONE = "one"


class Comparison(StrEnum):
    """How a filter compares the field with its value."""

    EQUALS = "equals"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"

    @property
    def operator(self) -> str:
        return {"equals": "=", "at_least": ">=", "at_most": "<="}[self.value]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost."""

    max_connections: int = 4
    max_waiting: int = 64
    statement_timeout_s: float = 10.0
    connect_timeout_s: float = 5.0
    max_rows: int = 10_000
    max_bytes: int = 10 << 20


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """One column of a spreadsheet: its SQL name, the header over it and how it is stored."""

    name: str
    header: str
    kind: Kind
    format: str | None = None
    thousands: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """One spreadsheet, read as an SQL table of this name; ``file`` may hold ``${NAME}``."""

    name: str
    file: str
    delimiter: str
    encoding: str
    columns: tuple[CsvColumn, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where the records are; ``url`` may hold ``${NAME}`` of the environment."""

    kind: SourceKind
    limits: Limits
    url: str = ""
    tables: tuple[CsvTable, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """The members of one record and the schema it must satisfy (an ``$id``), if it has one."""

    name: str
    schema: str | None
    title: Texts
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the record's own members: what ``fields=`` can ask for."""
        return tuple(dict.fromkeys(field.path[0] for field in self.fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a query: ``:name`` in its SQL, ``name=`` in the request.

    ``table`` gives, for each value that may be asked for, the word that is bound.
    """

    name: str
    kind: Kind
    required: bool = True
    default: Any = None
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    values: tuple[str, ...] = ()
    table: Map[str, str] | None = None
    example: str | None = None
    title: Texts | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A named SELECT and the record that each of its rows is."""

    name: str
    select: Select
    record: Record
    parameters: Map[str, Parameter]
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A parameter that narrows a list by a field of the record."""

    name: str
    field: Field
    comparison: Comparison = Comparison.EQUALS
    example: str | None = None
    title: Texts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``GET path``: a query and how its rows are answered.

    ``keys`` are the variables of the path that are filters; a variable may also be a parameter
    of the query.
    """

    path: str
    operation: Operation
    query: Query
    title: Texts
    keys: Map[str, Filter]
    filters: Map[str, Filter]
    order: tuple[Key, ...] = ()
    page_size: int = 100
    operation_id: str = ""
    where: str = ""

    @property
    def record(self) -> Record:
        return self.query.record

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/")[1:])

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.segments if part.startswith("{"))


@dataclass(frozen=True, slots=True)
class Service:
    """What one service of the application answers."""

    id: ServiceId
    title: Texts
    endpoints: tuple[Endpoint, ...]

    @property
    def code(self) -> str:
        return self.id.service_code


@dataclass(frozen=True, slots=True)
class Mapping:
    """One source and the services over it; ``file`` is the name that places are given by."""

    file: str
    application: ApplicationId
    title: Texts
    version: str
    source: SourceSettings
    records: Map[str, Record]
    queries: Map[str, Query]
    services: Map[str, Service]
