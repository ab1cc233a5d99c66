"""How the tables that a scan found will be called and shown: a plan each, from which the mapping,
the schema and the test data are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.answers.statements import REFUSED_WORDS
from adapters.mapping.model import FileTable
from adapters.scan.fitting import fit
from adapters.scan.found import FoundColumn, FoundTable
from adapters.scan.inferring import LIKELY_SECRET, Doubt, DoubtCode, Proposal, infer, told_as_texts
from adapters.scan.scanned import Unsure
from adapters.text.tables import Table
from exchange.problems import Code, Problem

LAO = re.compile("[\u0e80-\u0eff]")
_WORDS = re.compile(r"[^A-Za-z0-9]+", re.ASCII)
_FIELD_LENGTH = 60
# Words that are no plain names in one of the databases, or that a query of a mapping may not hold.
# fmt: off
WORDS_OF_SQL = REFUSED_WORDS | frozenset({
    "ADD", "ALL", "AND", "ANY", "AS", "ASC", "BETWEEN", "BOTH", "BY", "CASE", "CAST", "CHANGE",
    "CHECK", "COLLATE", "COLUMN", "CONDITION", "CONSTRAINT", "CROSS", "CURRENT", "CURSOR",
    "DEFAULT", "DESC", "DESCRIBE", "DISTINCT", "DIV", "ELSE", "END", "EXCEPT", "EXISTS", "FALSE",
    "FETCH", "FOR", "FOREIGN", "FROM", "FULL", "FUNCTION", "GENERATED", "GROUP", "GROUPS", "HAVING",
    "IF", "IN", "INDEX", "INNER", "INTERSECT", "INTERVAL", "IS", "JOIN", "KEY", "KEYS", "LEADING",
    "LEFT", "LEVEL", "LIKE", "LIMIT", "MATCH", "MOD", "NATURAL", "NOT", "NULL", "NUMBER", "OF",
    "OFFSET", "ON", "OPTION", "OR", "ORDER", "OUTER", "OVER", "PARTITION", "PRIMARY", "PROCEDURE",
    "RANGE", "RANK", "READ", "RECURSIVE", "REFERENCES", "REPLACE", "RETURN", "RIGHT", "ROW", "ROWS",
    "ROW_NUMBER", "SCHEMA", "SELECT", "SET", "SHOW", "SIGNAL", "SOME", "SYSTEM", "TABLE", "THEN",
    "TO", "TRIGGER", "TRUE", "UNION", "UNIQUE", "UNLOCK", "USAGE", "USE", "USER", "USING", "VALUES",
    "VIEW", "WHEN", "WHERE", "WINDOW", "WITH", "WRITE",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of a table as the mapping shows it.

    ``required`` when the source says that no null is there; ``refers`` when its values are keys of
    another table.
    """

    found: FoundColumn
    alias: str
    proposal: Proposal
    values: Sequence[object]
    required: bool
    refers: bool

    @property
    def texts(self) -> list[str]:
        """The sampled texts as they would be answered, without what means nothing."""
        empty = set(self.proposal.keys.get("null_words", ())) | {""}
        texts = [value.strip() for value in self.values if isinstance(value, str)]
        return [text for text in texts if text not in empty]

    @property
    def secret(self) -> bool:
        """Whether no value of it may be told: likely personal data, or a password."""
        private = (DoubtCode.PERSONAL, DoubtCode.SECRET)
        return any(doubt.code in private for doubt in self.proposal.doubts)


@dataclass(frozen=True, slots=True)
class Plan:
    """A table as the mapping shows it: under ``name`` everywhere; but for what is ``left_out``."""

    table: FoundTable
    name: str
    columns: tuple[Shown, ...]
    file: FileTable | None
    left_out: tuple[Shown, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """The key's columns as they are called here; none when one of them is not shown."""
        aliases = {one.found.name: one.alias for one in self.columns}
        found = tuple(aliases.get(name, "") for name in self.table.key)
        return found if all(found) else ()


def plans_of(
    tables: Sequence[FoundTable],
    files: Sequence[FileTable | None] = (),
    own: Sequence[Table] = (),
) -> list[Plan]:
    """The plans of ``tables``; ``files`` are, for each table of a file, how it is read.

    ``own`` are tables of old encodings that an owner brings.

    Raises:
        Problem: ``NotFound`` when there is no table that can be shown.
    """
    plans = [plan for plan in _plans(tables, files, own) if plan.columns]
    if not plans:
        raise Problem(Code.NOT_FOUND, where="source", detail="there is no table to show in it")
    return plans


def _is_shown(name: str) -> bool:
    """Databases read a backslash within a quoted name differently: no query may hold one."""
    return "\\" not in name and "\x00" not in name


def unshown(tables: Sequence[FoundTable]) -> Iterator[Unsure]:
    """What is left out, and why."""
    words = "its name has a sign that no query may hold: make a view with another name"
    for table in tables:
        if table.unread:
            yield Unsure(table.name, DoubtCode.UNREAD, f"left out: {table.unread}")
        if not _is_shown(table.name):
            yield Unsure(table.name, DoubtCode.NAME, words)
        for column in table.columns:
            if not _is_shown(column.name):
                yield Unsure(f"{table.name}.{column.name}", DoubtCode.NAME, words)


def _plans(
    tables: Sequence[FoundTable], files: Sequence[FileTable | None], own: Sequence[Table]
) -> Iterator[Plan]:
    names: set[str] = set()
    for index, table in enumerate(tables):
        if not _is_shown(table.name):
            continue
        name = _unique(_plain(table.name, f"table_{index + 1}"), names)
        aliases: set[str] = set()
        foreign = {one.column for one in table.refers}
        columns = []
        for number, column in enumerate(table.columns, 1):
            if not _is_shown(column.name):
                continue
            alias = _unique(_plain(column.name, f"column_{number}"), aliases)
            values = table.values(number - 1)
            by_it = column.name in table.key or column.name in table.indexed
            proposal = infer(column, values, own)
            if files:
                told_as_texts(proposal)
            else:
                proposal = fit(column, values, proposal, table.as_text, by_it=by_it)
            if not by_it:
                _without_secrets(proposal)
            declared = not files and (column.name in table.key or not column.nullable)
            required = declared and None not in values and "null_words" not in proposal.keys
            columns.append(Shown(column, alias, proposal, values, required, column.name in foreign))
        yield Plan(
            table,
            name,
            tuple(one for one in columns if not one.proposal.refused),
            files[index] if files else None,
            tuple(one for one in columns if one.proposal.refused),
        )


def _without_secrets(proposal: Proposal) -> None:
    """Passwords are left out: who needs such a column after all writes it down himself."""
    for index, doubt in enumerate(proposal.doubts):
        if doubt.code is DoubtCode.SECRET:
            proposal.refused = LIKELY_SECRET
            proposal.doubts[index] = Doubt(doubt.code, f"left out: {LIKELY_SECRET}")


def _plain(name: str, otherwise: str) -> str:
    """A name of letters, digits and '_' that stands for ``name`` in addresses and members."""
    word = _WORDS.sub("_", name).strip("_").lower()[:_FIELD_LENGTH]
    if not word:
        return otherwise
    if word[0].isdigit():
        word = f"n_{word}"
    return f"{word}_" if word.upper() in WORDS_OF_SQL else word


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
