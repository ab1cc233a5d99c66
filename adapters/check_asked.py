"""Checking what answers no whole records row by row: searches by name, and yes or no.

- Search: is each record found by its own name? Are the sounds in the owner's column those that its
  names have today, no less and no more?
- Predicates: is each record known by its own key, and does asking of it end in yes or no?

Findings name the record's key, the place and the rule, never the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Row

from adapters.answers.faults import Fault
from adapters.answers.orders import Key
from adapters.answers.predicates import answer_predicate
from adapters.answers.rows import NoRecord
from adapters.answers.running import run
from adapters.answers.statements import LIMIT, Statement
from adapters.check import place_of, plan_of
from adapters.fields import Field, Mismatch
from adapters.fields.written import write_json
from adapters.findings import Finding
from adapters.mapping.model import Endpoint, Service
from adapters.mapping.predicates import Predicate
from adapters.mapping.searching import Search
from adapters.text.names import LONGEST_NAME, keys, match
from exchange.problems import Problem

MOST_ASKED: Final = 10_000
"""Records that a predicate is asked about: each is a question to the source."""

MAX_FINDINGS: Final = 1_000
_NO_LIMIT: Final = 2**31 - 1
_AT_ONCE: Final = 500


@dataclass(slots=True)
class AskedSweep:
    """The records of one search or predicate, and what asking for them finds."""

    service: Service
    endpoint: Endpoint
    given: Mapping[str, str]
    progress: Callable[[int], None]

    def run(self, connection: Connection) -> list[Finding]:
        findings: list[Finding] = []
        number = 0
        for row, finding in self._found(connection):
            if finding is None:
                number += 1
                if number % _AT_ONCE == 0:
                    self.progress(_AT_ONCE)
                continue
            findings.append(replace(finding, row=row))
            if len(findings) >= MAX_FINDINGS:
                break
        self.progress(number % _AT_ONCE)
        return findings

    def _found(self, connection: Connection) -> Iterator[tuple[int, Finding | None]]:
        """What is wrong with each record; and nothing, once, after each."""
        search, predicate = self.endpoint.search, self.endpoint.predicate
        records = None
        if search is not None:
            records = self._searched(connection, search)
        elif predicate is not None:
            records = self._asked(connection, predicate)
        for number, found in enumerate(records or (), 1):
            yield from ((number, one) for one in found)
            yield number, None

    # Searches.

    def _searched(self, connection: Connection, search: Search) -> Iterator[list[Finding]]:
        order = list(self.endpoint.order)
        named = [(field, field.converter()) for field in search.names]
        columns = [*(key.column for key in order), *(field.column for field, _ in named)]
        sounds = [] if search.sounds is None else [search.sounds]
        heard = self._heard(connection, search.sounds) if search.sounds else {}
        rows = self._rows(connection, [*columns, *sounds], order)
        for key, group in groupby(rows, lambda row: tuple(row[: len(order)])):
            same = list(group)
            label = ", ".join(
                f"{one.column}={value}" for one, value in zip(order, key, strict=True)
            )
            names: dict[str, Field] = {}
            for (field, read), value in zip(named, same[0][len(order) :], strict=False):
                try:
                    text = read(value)
                except Mismatch as mismatch:
                    yield [self._told(mismatch.rule, label, field, type=mismatch.type)]
                    continue
                if text:
                    names[text] = field
            stored = {row[-1] for row in same} if sounds else None
            yield list(self._of_names(search, names, stored, heard, label))

    def _of_names(
        self,
        search: Search,
        names: Mapping[str, Field],
        stored: set[Any] | None,
        heard: Mapping[Any, int],
        label: str,
    ) -> Iterator[Finding]:
        wanted: set[str] = set()
        for text, field in names.items():
            own = keys(text)
            wanted.update(own)
            if not own or len(text) > LONGEST_NAME or match(text, text).score < search.threshold:
                rule = f"no search finds it: a name has letters, and at most {LONGEST_NAME} signs"
                yield self._told(rule, label, field, warning=True)
                continue
            lacking = [] if stored is None else [one for one in own if one not in stored]
            if lacking:
                rule = f"the column {search.sounds} lacks {len(lacking)} of its {len(own)} sounds"
                yield self._told(f"{rule}: make it anew (saphan text keys)", label, field)
            elif sum(heard.get(one, 0) for one in own) > search.max_candidates:
                rule = "a search for its whole name is refused: too many records sound alike"
                yield self._told(rule, label, field, warning=True)
        stale = {one for one in stored or () if one is not None} - wanted
        if stale:
            rule = f"the column {search.sounds} holds {len(stale)} that no name of it has"
            yield self._told(f"{rule}: make it anew (saphan text keys)", label, None)

    def _heard(self, connection: Connection, sounds: str) -> dict[Any, int]:
        """How many rows have each sound: the sounds of names are few, whatever their number."""
        found: dict[Any, int] = {}
        for row in self._rows(connection, [sounds], ()):
            found[row[0]] = found.get(row[0], 0) + 1
        return found

    # Predicates.

    def _asked(self, connection: Connection, predicate: Predicate) -> Iterator[list[Finding]]:
        by = dict(self.endpoint.keys)
        columns = [key.field.column for key in by.values()]
        # All read first: MariaDB asks nothing else over a connection that rows still come from.
        rows = list(self._rows(connection, columns, (), MOST_ASKED + 1))
        connection.execution_options(stream_results=False, yield_per=None)
        for row in rows[:MOST_ASKED]:
            label = ", ".join(f"{name}={value}" for name, value in zip(columns, row, strict=True))
            try:
                asked = {
                    name: _written(key.field, value)
                    for (name, key), value in zip(by.items(), row, strict=True)
                }
            except Mismatch as mismatch:
                yield [self._told(f"nobody can ask of it: its key {mismatch.rule}", label)]
                continue
            if None in asked.values():
                yield [self._told("nobody can ask of it: its key is null", label, warning=True)]
                continue
            yield list(self._answer(connection, predicate, asked, label))
        if len(rows) > MOST_ASKED:
            rule = f"only the first {MOST_ASKED:,} records were asked about"
            yield [self._told(rule, "", warning=True)]

    def _answer(
        self,
        connection: Connection,
        predicate: Predicate,
        asked: Mapping[str, str | None],
        label: str,
    ) -> Iterator[Finding]:
        try:
            plan = plan_of(self.endpoint, {**self.given, **asked})  # type: ignore[dict-item]
            answer_predicate(plan, predicate)(connection)
        except NoRecord:
            yield self._told("its own key does not find it: see how the source compares", label)
        except Fault as fault:
            yield self._told(f"asking of it is refused: {fault.where}: {fault.detail}", label)
        except Problem as problem:
            yield self._told(f"asking of it fails: {problem.detail}", label)

    # Both.

    def _rows(
        self,
        connection: Connection,
        columns: Sequence[str],
        order: Sequence[Key],
        most: int = _NO_LIMIT,
    ) -> Iterator[Row[Any]]:
        query = self.endpoint.query
        statement = Statement(query.select, list(dict.fromkeys(columns)), (), order)
        places = [list(dict.fromkeys(columns)).index(one) for one in columns]
        plan = plan_of(self.endpoint, self.given)
        values = {name: plan.values[name] for name in query.parameters} | {LIMIT: most}
        streamed = connection.execution_options(stream_results=True, yield_per=_AT_ONCE)
        for row in run(streamed, query, statement, values):
            yield tuple(row[place] for place in places)  # type: ignore[misc]

    def _told(
        self,
        rule: str,
        label: str,
        field: Field | None = None,
        *,
        type: str = "",
        warning: bool = False,
    ) -> Finding:
        place = "" if field is None else field.pointer
        where = place_of(self.service, self.endpoint)
        return Finding(where, rule, key=label, place=place, type=type, warning=warning)


def _written(field: Field, value: Any) -> str | None:
    """The text that a caller asks with for a stored value; None for a null."""
    answered = field.converter()(value)
    if answered is None:
        return None
    text = write_json(answered).decode()
    return str(orjson.loads(text)) if text.startswith('"') else text
