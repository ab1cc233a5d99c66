"""The mapping: what a legacy source shows to others, as one strict YAML file.

A mapping describes one source, the records in it and the services over it. These are the values;
:mod:`adapters.mapping.file` reads them. docs/mapping.md is the reference of the format.

Invariants of a :class:`Mapping`: every name that is used is defined; every query is a SELECT whose
parameters are all declared; every list with a next page has an order; paths are unique within
a service.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from adapters.answers.orders import Key
from adapters.answers.statements import Select
from adapters.fields import Field, Kind, Null
from adapters.mapping.head import Texts as Texts
from adapters.mapping.marks import Marks
from adapters.mapping.masks import Mask
from adapters.mapping.predicates import Predicate
from adapters.mapping.searching import Search
from adapters.mapping.settings import EndsAt as EndsAt
from adapters.mapping.settings import FileColumn as FileColumn
from adapters.mapping.settings import FileFormat as FileFormat
from adapters.mapping.settings import FileTable as FileTable
from adapters.mapping.settings import Limits as Limits
from adapters.mapping.settings import SourceKind as SourceKind
from adapters.mapping.settings import SourceSettings as SourceSettings
from adapters.mapping.settings import Wide as Wide
from adapters.mapping.settings import WritableTable as WritableTable
from adapters.mapping.settings import Writing as Writing
from adapters.mapping.terms import Comparison as Comparison
from adapters.mapping.visibility import Visible
from exchange.identifiers import ApplicationId, ServiceId

if TYPE_CHECKING:
    from adapters.mapping.changes import Changes


class Operation(StrEnum):
    """What an endpoint answers."""

    LIST = "list"
    ONE = "one"
    PREDICATE = "predicate"
    SEARCH = "search"


class Change(StrEnum):
    """What an endpoint that writes does with its record."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Count(StrEnum):
    """How a list tells how many records it has, when it is asked."""

    NONE = "none"
    EXACT = "exact"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True)
class Record:
    """The members of one record and the schema it must satisfy (an ``$id``), if it has one.

    ``hidden`` fields are read, for filters and computed fields, and not answered.
    """

    name: str
    schema: str | None
    title: Texts
    fields: tuple[Field, ...]
    visible: Visible | None = None
    masks: Map[str, Mask] = dataclasses.field(default_factory=dict)
    marks: Map[str, Marks] = dataclasses.field(default_factory=dict)
    hidden: tuple[Field, ...] = ()
    nested: tuple[Nested, ...] = ()

    @property
    def known(self) -> tuple[Field, ...]:
        """The fields that are answered and those that are not."""
        return (*self.fields, *self.hidden)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that its fields are made of, at least one."""
        return tuple(dict.fromkeys(column for one in self.known for column in one.columns))

    def field(self, name: str) -> Field | None:
        return next((one for one in self.known if one.name == name), None)

    @property
    def by_caller(self) -> bool:
        """Whether what is shown of it, or of a nested record, depends on who asks."""
        inner = any(one.query.record.by_caller for one in self.nested)
        return bool(self.visible or self.masks or inner)

    @property
    def masked_columns(self) -> frozenset[str]:
        """The columns of which some callers do not see the whole, in small letters as SQL."""
        return frozenset(one.column.lower() for one in self.fields if one.name in self.masks)

    @property
    def shown_columns(self) -> frozenset[str]:
        """The columns that everybody sees the whole of, in small letters."""
        shown = (one for one in self.fields if one.name not in self.masks and one.compute is None)
        return frozenset(one.column.lower() for one in shown)

    def telling(self, masked: Container[str]) -> frozenset[str]:
        """The columns, in small letters, that tell of the fields ``masked``: theirs and, of those
        that are computed, the ones that no other field answers as they are."""
        own: set[str] = set()
        inner: set[str] = set()
        shown: set[str] = set()
        for one in self.fields:
            columns = {column.lower() for column in one.columns}
            if one.name in masked:
                (own if one.compute is None else inner).update(columns)
            elif one.compute is None:
                shown |= columns
        return frozenset(own | (inner - shown))

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the record's own members."""
        names = [one.path[0] for one in self.fields] + [one.name for one in self.nested]
        return tuple(dict.fromkeys(names))

    @property
    def selectable(self) -> tuple[str, ...]:
        """What ``fields=`` can ask for: its members and, as paths with dots, those inside them."""
        names = [
            ".".join(one.path[:count])
            for one in self.fields
            for count in range(1, len(one.path) + 1)
        ]
        for nested in self.nested:
            inner = nested.query.record.selectable
            names += [nested.name, *(f"{nested.name}.{name}" for name in inner)]
        return tuple(dict.fromkeys(names))


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
class Nested:
    """A member that is a record, or a list of records (``many``), of another query.

    Its rows are those whose columns equal columns of the record's own row: ``join`` has the pairs,
    the query's first. One record has at most ``most`` of them; ``null`` is what a missing one
    becomes.
    """

    name: str
    query: Query
    join: tuple[tuple[str, str], ...]
    many: bool
    order: tuple[Key, ...] = ()
    most: int = 100
    null: Null = Null.OMIT
    title: Texts | None = None
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A parameter that narrows a list by a field of the record; ``values`` are those that it may
    have, none for any."""

    name: str
    field: Field
    comparison: Comparison = Comparison.EQUALS
    example: str | None = None
    title: Texts | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``GET path``: a query and how its rows are answered.

    ``keys`` are the variables of the path that are filters; a variable may also be a parameter
    of the query. ``sorts`` are other orders that a caller may ask for by name; each ends with the
    keys of ``order``.
    """

    path: str
    operation: Operation
    query: Query
    title: Texts
    keys: Map[str, Filter]
    filters: Map[str, Filter]
    order: tuple[Key, ...] = ()
    sorts: Map[str, tuple[Key, ...]] = dataclasses.field(default_factory=dict)
    count: Count = Count.NONE
    page_size: int = 100
    cache_s: float = 0.0
    operation_id: str = ""
    where: str = ""
    visible: Visible | None = None
    predicate: Predicate | None = None
    search: Search | None = None

    @property
    def rights(self) -> tuple[Visible, ...]:
        """The rules of the record and those of the endpoint: all apply."""
        both = (self.record.visible, self.visible)
        return tuple(one for one in both if one is not None)

    @property
    def by_caller(self) -> bool:
        """Whether the answer depends on who asks."""
        return bool(self.rights or self.record.by_caller)

    @property
    def sort_names(self) -> tuple[str, ...]:
        """What ``sort=`` may be: each name, and the name with ``-`` for the other way round."""
        return tuple(f"{sign}{name}" for name in self.sorts for sign in ("", "-"))

    def sorted_by(self, name: str) -> Endpoint:
        """The endpoint in the order of one of :attr:`sort_names`."""
        order = self.sorts[name.removeprefix("-")]
        if name.startswith("-"):
            order = tuple(key.turned() for key in order)
        return replace(self, order=order)

    @property
    def record(self) -> Record:
        return self.query.record

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/")[1:])

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.segments if part.startswith("{"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A named INSERT, UPDATE or DELETE.

    ``returns`` names the fields that its RETURNING gives; ``rows`` is the number of rows it must
    touch, None for any; ``parameters`` are those of its ``:names`` that are no field's.
    """

    name: str
    verb: str
    sql: str
    text: str
    names: frozenset[str]
    parameters: Map[str, Parameter]
    returns: tuple[str, ...] = ()
    rows: int | None = 1
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """``METHOD path``: statements that run in one transaction, and the record they leave.

    ``read`` reads the record by ``key`` (names of its path variables and fields), before and after.
    ``fields`` are the fields that statements bind, by the names that they have there; ``body`` is
    the ``$id`` of the schema that the request's body must satisfy, None for one that is made of
    the fields.
    """

    method: str
    change: Change
    statements: tuple[Statement, ...]
    read: Endpoint
    key: tuple[str, ...]
    variables: tuple[str, ...]
    fields: Map[str, Field]
    parameters: Map[str, Parameter]
    title: Texts
    body: str | None = None
    match_needed: bool = False
    operation_id: str = ""
    where: str = ""

    @property
    def path(self) -> str:
        return self.read.path

    @property
    def segments(self) -> tuple[str, ...]:
        return self.read.segments

    @property
    def returned(self) -> frozenset[str]:
        """Names of fields that a statement gives instead of the request."""
        return frozenset(name for one in self.statements for name in one.returns)

    @property
    def members(self) -> dict[str, Field]:
        """The fields that the body gives, by the names that statements have for them."""
        return {
            name: field
            for name, field in self.fields.items()
            if name not in self.variables and field.name not in self.returned
        }


@dataclass(frozen=True, slots=True)
class Service:
    """What one service of the application answers."""

    id: ServiceId
    title: Texts
    endpoints: tuple[Endpoint, ...]
    writes: tuple[Write, ...] = ()

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
    changes: Map[str, Changes] = dataclasses.field(default_factory=dict)
