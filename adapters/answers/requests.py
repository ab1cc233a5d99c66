"""A request as an adapter understands it: endpoint, bound values, fields, page.

Everything that a caller can get wrong is found here, before a place at the source is taken, and is
a :class:`Fault` with its own status and place. Nothing here touches the source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from adapters.answers.cursors import OWN, BadCursor, Cursors, bind
from adapters.answers.faults import Fault as Fault
from adapters.answers.faults import bad as bad
from adapters.answers.faults import checked, parse_query
from adapters.answers.layout import Layout, lay_out, profile
from adapters.answers.masking import Profile
from adapters.answers.narrowing import Draft, Sight
from adapters.answers.orders import CURSOR, Nulls
from adapters.answers.routes import find as find
from adapters.answers.statements import Compares, Condition, Statement, count
from adapters.fields import Kind
from adapters.mapping.callers import NOBODY, Caller
from adapters.mapping.model import Count, Endpoint
from adapters.mapping.parameters import parameter_value
from adapters.mapping.predicates import UNKNOWN
from adapters.mapping.searching import PARAMETERS, Search
from adapters.text.names import keys
from exchange.agreements import RowCondition
from exchange.problems import Code

_SCORE = re.compile(r"0\.[5-9][0-9]{0,3}|1(\.0)?", re.ASCII)
_PAGE_SIZE = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask the source: an endpoint, its statement and the values to bind.

    What is ``asked`` reads first the columns of ``members``, then those of the order that are not
    among them; ``places`` say whose the values are, as those of a draft. ``key`` is where in a row
    those of the order stand, and those of its parts that are ``nullable`` may be null. ``cursors``
    seals the next one for ``binding``; ``count`` is the statement that counts the records, if they
    shall be.
    """

    endpoint: Endpoint
    asked: Statement
    values: Mapping[str, Any]
    places: Mapping[str, str]
    members: frozenset[str] | None
    page_size: int
    binding: bytes
    layout: Layout
    cursors: Cursors = OWN
    key: tuple[int, ...] = ()
    nullable: frozenset[int] = frozenset()
    masked: Profile = ()
    count: Statement | None = None
    steps: tuple[tuple[str, Statement], ...] = ()
    day: date | None = None
    name: str = ""
    threshold: float = 0.0

    @property
    def statement(self) -> str:
        """The text of what is asked, as most databases take it."""
        return self.asked.write()

    @property
    def takes_several(self) -> bool:
        """Whether the answer may take more than one statement."""
        predicate = self.endpoint.predicate
        asks_why = predicate is not None and predicate.asks_why
        return bool(self.layout.joins or self.count or asks_why)

    def key_of(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """The values of the order's columns in ``row``."""
        return tuple(row[index] for index in self.key)


def plan(
    endpoint: Endpoint,
    variables: Mapping[str, str],
    query: str,
    rows: Sequence[RowCondition] = (),
    caller: Caller = NOBODY,
    today: date | None = None,
    cursors: Cursors = OWN,
) -> Plan:
    """Read the parameters of a request for ``endpoint``.

    Args:
        rows: conditions that every record of the answer meets.
        caller: who asks; the mapping may show others other rows and members.
        today: the day in the source's zone, where it has one.
        cursors: what opens the request's cursor, and seals that of the next page.

    Raises:
        Fault: 400 with the place for an unknown, repeated, missing or malformed parameter, and
            for a cursor that is not of this query; 403 where a member would be searched that the
            caller sees masked; 503 for a condition on rows that this mapping
            cannot apply, so that no record leaves unjudged.
    """
    given = parse_query(query)
    _check_known(endpoint, given)
    if "sort" in given:
        endpoint = _sorted(endpoint, given["sort"])
    masked = profile(endpoint.record, caller)
    _check_seen(endpoint, given, masked)
    draft = Draft()
    for visible in endpoint.rights:
        draft.show(visible.of(caller), today)
    sees_all = not (rows or draft.conditions)
    for name, key in endpoint.keys.items():
        exact = key.field.kind is Kind.STRING and not key.field.trim
        how = Compares.AS_KEY if exact else Compares.LOOSELY
        draft.add(key, checked(variables[name], f"path.{name}"), f"path.{name}", how)
    sight = Sight(caller, today, tuple(rows))
    sight.narrow(draft, endpoint.record)
    of_key = len(draft.conditions)
    for name, narrowing in endpoint.filters.items():
        if name in given:
            draft.add(narrowing, given[name], f"query.{name}")
    for name, parameter in endpoint.query.parameters.items():
        place = f"path.{name}" if name in variables else f"query.{name}"
        text = variables[name] if name in variables else given.get(name)
        draft.values[name] = parameter_value(parameter, text, place)
        if text is not None and parameter.table is None:
            draft.places[name] = place

    if endpoint.predicate is not None:
        return _question(endpoint, draft, of_key, today)
    if endpoint.search is not None:
        return _searched(endpoint, endpoint.search, draft, given, masked, sight)
    narrowing_texts = {
        name: text
        for name, text in given.items()
        if name in endpoint.filters or name in endpoint.query.parameters or name == "sort"
    }
    binding = bind(endpoint, narrowing_texts | dict(variables), caller, masked, rows)
    nullable = frozenset(n for n, key in enumerate(endpoint.order) if key.nulls is not Nulls.NEVER)
    nulls: list[int] = []
    after = given.get("cursor")
    if after is not None:
        for index, value in enumerate(_opened(cursors, after, binding)):
            if value is None:
                nulls.append(index)
            else:
                draft.values[f"{CURSOR}_{index}"] = value
                draft.places[f"{CURSOR}_{index}"] = "query.cursor"
    members = _members(endpoint, given.get("fields"))
    page_size = _page_size(endpoint, given.get("page_size"))
    layout = lay_out(endpoint.record, members, sight)
    columns = list(layout.columns)
    columns += dict.fromkeys(k.column for k in endpoint.order if k.column not in columns)
    select = endpoint.query.select
    return Plan(
        endpoint,
        Statement(
            select,
            columns,
            draft.conditions,
            endpoint.order,
            after=after is not None,
            nulls=nulls,
        ),
        draft.values,
        draft.places,
        members,
        page_size,
        binding,
        layout,
        cursors,
        key=tuple(columns.index(key.column) for key in endpoint.order),
        nullable=nullable,
        masked=masked,
        count=_count(endpoint, draft.conditions, sees_all=sees_all) if _counted(given) else None,
    )


def _count(
    endpoint: Endpoint, conditions: Sequence[Condition], *, sees_all: bool
) -> Statement | None:
    """The statement that counts; an estimate is made of all rows, so it is for who sees them."""
    estimated = endpoint.count is Count.ESTIMATED
    if estimated and not sees_all:
        return None
    return count(endpoint.query.select, conditions, estimated=estimated)


def _question(endpoint: Endpoint, draft: Draft, of_key: int, today: date | None) -> Plan:
    """The plan of a predicate: what must hold comes after the conditions that are of the key."""
    terms = endpoint.predicate.terms if endpoint.predicate is not None else ()
    for term in terms:
        draft.hold(term, today)
    names = (UNKNOWN, *endpoint.filters, *(term.field.name for term in terms))
    layout = Layout(endpoint.record.columns[:1], ())
    statements = [
        Statement(endpoint.query.select, layout.columns, draft.conditions[:count])
        for count in range(of_key, len(draft.conditions) + 1)
    ]
    steps = tuple(zip(names, statements, strict=True))
    asked = (endpoint, statements[-1], draft.values, draft.places)
    return Plan(*asked, None, 1, b"", layout, steps=steps, day=today)


def _searched(
    endpoint: Endpoint,
    search: Search,
    draft: Draft,
    given: Mapping[str, str],
    masked: Profile,
    sight: Sight,
) -> Plan:
    """The plan of a search: the statement gives candidates, which are compared afterwards."""
    search.check_version()
    name, threshold = given.get("name", ""), given.get("threshold")
    sounds = keys(name)
    if not sounds:
        raise bad("query.name", "is needed here: a name of at least one letter")
    if threshold is not None and not _SCORE.fullmatch(threshold):
        raise bad("query.threshold", "must be a number from 0.5 to 1")
    if search.sounds is not None:
        draft.conditions.append(Condition(search.sounds, "=", "saphan_s", len(sounds)))
        draft.values |= {f"saphan_s_{index}": sound for index, sound in enumerate(sounds)}
    asked = {"name": name, "threshold": threshold or ""}
    layout = lay_out(endpoint.record, None, sight)
    columns = list(layout.columns)
    columns += dict.fromkeys(k.column for k in endpoint.order if k.column not in columns)
    return Plan(
        endpoint,
        Statement(endpoint.query.select, columns, draft.conditions),
        draft.values,
        draft.places,
        None,
        _page_size(endpoint, given.get("page_size")),
        bind(endpoint, asked, sight.caller, masked, sight.rows),
        layout,
        key=tuple(columns.index(key.column) for key in endpoint.order),
        masked=masked,
        name=name,
        threshold=search.threshold if threshold is None else float(threshold),
    )


def stored_columns(endpoint: Endpoint) -> list[tuple[str, int]]:
    """The columns that a row begins with and, of each, the index of its field in the record."""
    return [
        (field.column, index)
        for index, field in enumerate(endpoint.record.fields)
        if field.compute is None
    ]


def _check_known(endpoint: Endpoint, given: Mapping[str, str]) -> None:
    known = {"fields", *endpoint.filters, *endpoint.query.parameters}
    if endpoint.predicate is not None:
        known.remove("fields")
        for name in endpoint.filters:
            if name not in given:
                raise bad(f"query.{name}", "is needed here")
    if endpoint.search is not None:
        known = {*PARAMETERS, "page_size", *endpoint.filters, *endpoint.query.parameters}
    known -= set(endpoint.variables)
    if endpoint.order and endpoint.search is None:
        known |= {"cursor", "page_size"}
    if endpoint.sorts:
        known.add("sort")
    if endpoint.count is not Count.NONE:
        known.add("count")
    for name in given:
        if name not in known:
            detail = f"unknown parameter; known here: {', '.join(sorted(known))}"
            raise bad(f"query.{name[:80]}", detail)


def _check_seen(endpoint: Endpoint, given: Mapping[str, str], masked: Profile) -> None:
    """Whoever may search by a value may guess it: a masked member is not searched by."""
    if not masked or endpoint.predicate is not None:
        return  # what a predicate tells of hidden values, and to which questions, its owner wrote
    hidden = endpoint.record.telling(dict(masked))
    asked = {f"path.{name}": key.field for name, key in endpoint.keys.items()}
    narrowing = endpoint.filters.items()
    asked |= {f"query.{name}": one.field for name, one in narrowing if name in given}
    if endpoint.search is not None:
        asked |= {f"query.name ({one.name})": one for one in endpoint.search.names}
    for where, one in asked.items():
        if one.column.lower() in hidden:
            detail = f"{one.name} is not shown to you as a whole, so it cannot be searched by"
            raise bad(where, detail, Code.FIELD_NOT_RELEASED, 403)


def _sorted(endpoint: Endpoint, name: str) -> Endpoint:
    if name not in endpoint.sort_names:
        raise bad("query.sort", f"must be one of: {', '.join(endpoint.sort_names)}")
    return endpoint.sorted_by(name)


def _counted(given: Mapping[str, str]) -> bool:
    text = given.get("count", "false")
    if text not in ("true", "false"):
        raise bad("query.count", "must be true or false")
    return text == "true"


def _opened(cursors: Cursors, text: str, binding: bytes) -> tuple[Any, ...]:
    try:
        return cursors.parse(text, binding)
    except BadCursor as error:
        raise other_list() from error


def other_list() -> Fault:
    """The refusal of a cursor, which says no more to who forged it than to who changed a filter."""
    return bad("query.cursor", "the cursor is not of this list; begin again without it")


def _members(endpoint: Endpoint, text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    known = endpoint.record.selectable
    names = text.split(",")
    for name in names:
        if name not in known:
            inside = name.rpartition(".")[0]
            near = [one for one in known if one.rpartition(".")[0] == inside]
            told = ", ".join(near or endpoint.record.members)
            raise bad("query.fields", f"there is no field {name[:80]!r}; known: {told}")
    if len(set(names)) != len(names) or any(
        one.startswith(f"{other}.") for one in names for other in names
    ):
        raise bad("query.fields", "names a field twice")
    return frozenset(names)


def _page_size(endpoint: Endpoint, text: str | None) -> int:
    if text is None:
        return endpoint.page_size
    if not _PAGE_SIZE.fullmatch(text) or int(text) > endpoint.page_size:
        raise bad("query.page_size", f"must be a number from 1 to {endpoint.page_size}")
    return int(text)
