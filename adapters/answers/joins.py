"""Rows with what belongs to them: nested records are fetched by one statement a member, not a row.

``WHERE key IN (keys of the page)`` asks for the rows of all records of a page at once, or of 512 at
a time, and once more for each other way in which a key is written on the page, up to 32; keys are
bound values. How many rows one record may have, and all of them together, is bounded: more are
refused, never cut. The number of keys in a statement is rounded up (the last is said again), so
that there are few forms of it.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection

from adapters.answers.layout import Join, Layout
from adapters.answers.running import Look, drivers_rows, run
from adapters.answers.statements import LIMIT, OneOf, Statement
from adapters.mapping.model import Limits
from exchange.problems import Code, Problem

Row: TypeAlias = Sequence[Any]
Key: TypeAlias = tuple[Any, ...]
Loose: TypeAlias = Callable[[Key], Key]
_KEY: Final = "saphan_j"
_MOST_SPELLINGS: Final = 32
_AT_ONCE: Final = 512  # Oracle takes 1,000 values in a list, SQL Server 2,100 in a statement


@dataclass(frozen=True, slots=True)
class Joined:
    """The rows, as cells, of a nested member of one record; ``indexes`` as of its layout."""

    rows: list[Row]
    indexes: tuple[int, ...]


def complete(
    connection: Connection,
    rows: Sequence[Row],
    layout: Layout,
    limits: Limits,
    look: Look | None = None,
) -> Sequence[Row]:
    """The cells of each row: of a computed member its values, of a nested one its rows.

    Raises:
        Problem: ``ResponseTooLarge`` when there are more nested rows than are allowed;
            ``SourceFailed`` when a nested record is there twice; what ``look`` raises.
    """
    cells = layout.cells
    if cells is None:
        return rows
    made = [
        [row[one] if isinstance(one, int) else tuple([row[n] for n in one]) for one in cells]
        for row in rows
    ]
    for join in layout.joins:
        found = _found(connection, join, [row[join.cell] for row in made], limits, look)
        for row in made:
            row[join.cell] = found.get(row[join.cell]) or Joined([], join.layout.indexes)
    return made


def _found(
    connection: Connection, join: Join, keys: Iterable[Key], limits: Limits, look: Look | None
) -> dict[Key, Joined]:
    name, nested = join.nested.name, join.nested
    try:
        wanted = list(dict.fromkeys(key for key in keys if None not in key))
    except TypeError as error:  # an array of PostgreSQL, a document
        raise _unlike(f"a key of {name} is of a type that cannot be compared") from error
    if not wanted:
        return {}
    most = min(limits.max_rows, nested.most * len(wanted)) if nested.many else len(wanted)
    rows: list[Row] = []
    owners: list[Key] = []
    loose = _LOOSE.get(connection.dialect.name, _loose)
    for asked in _batches(name, wanted, loose):
        new = _rows(connection, join, list(asked.values()), most + 1 - len(rows), look)
        rows += new
        owners += [_owner(name, join, row, asked, loose) for row in new]
        if len(rows) > most:
            break
    if len(rows) > most and nested.many and most == limits.max_rows:
        raise _too_many(f"the records have more than {most:,} {name} together: ask for fewer")
    cells = complete(connection, rows, join.layout, limits, look)
    found = {key: Joined([], join.layout.indexes) for key in wanted}
    for owner, cell in zip(owners, cells, strict=True):
        found[owner].rows.append(cell)
    for joined in found.values():
        if nested.many and len(joined.rows) > nested.most:
            raise _too_many(f"a record has more than {nested.most:,} {name}")
        if not nested.many and len(joined.rows) > 1:
            raise _unlike(f"a record has more than one {name}")
    return found


def _batches(name: str, keys: Sequence[Key], loose: Loose) -> Iterator[dict[Key, Key]]:
    """The keys of one statement each, by what is one for all that a database may take for equal:
    never two of these.

    What it takes for equal may be written in another case or with blanks, and is then of both:
    asked for together, a row would not say whose it is.

    Raises:
        Problem: ``SourceFailed`` when one key is written in more ways than there may be statements.
    """
    rounds: list[dict[Key, Key]] = []
    counts: dict[Key, int] = {}
    for key in keys:
        one = loose(key)
        number = counts[one] = counts.get(one, -1) + 1
        if number == len(rounds):
            rounds.append({})
        rounds[number][one] = key
    if len(rounds) > _MOST_SPELLINGS:
        detail = f"the records of a page have a key of {name} in more than {_MOST_SPELLINGS} ways"
        raise _unlike(f"{detail}: bring it to one in the SQL, or ask for smaller pages")
    for some in (list(found.items()) for found in rounds):
        for first in range(0, len(some), _AT_ONCE):
            yield dict(some[first : first + _AT_ONCE])


def _owner(name: str, join: Join, row: Row, asked: Mapping[Key, Key], loose: Loose) -> Key:
    """The key, of those ``asked`` for, that the row belongs to."""
    owner = asked.get(loose(tuple(row[place] for place in join.own_keys)))
    if owner is None:
        raise _unlike(f"a key of {name} is written otherwise than that of the record")
    return owner


def _rows(
    connection: Connection, join: Join, keys: list[Key], limit: int, look: Look | None
) -> Sequence[Row]:
    nested = join.nested
    size = 1 << (len(keys) - 1).bit_length()
    filled = keys + [keys[-1]] * (size - len(keys))
    condition = OneOf(tuple(own for own, _ in nested.join), _KEY, size)
    values: dict[str, Any] = {
        f"{_KEY}_{number}_{part}": value
        for number, key in enumerate(filled)
        for part, value in enumerate(key)
    }
    values |= {name: one.default for name, one in nested.query.parameters.items()}
    values |= {**join.values, LIMIT: limit}
    statement = Statement(
        nested.query.select, join.layout.columns, [condition, *join.conditions], nested.order
    )
    return drivers_rows(run(connection, nested.query, statement, values, look))


def try_join(connection: Connection, join: Join, look: Look | None = None) -> None:
    """Run the statement of ``join``, and those of joins inside it, for no record.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: when the database refuses it.
    """
    _rows(connection, join, [(None,) * len(join.keys)], 1, look)
    for inner in join.layout.joins:
        try_join(connection, inner, look)


def _loose(key: Key) -> Key:
    """One for all keys that a database may take for equal: other case, blanks, marks on letters."""
    return tuple(_bare(str(part)) for part in key)


def _loose_of_sqlite(key: Key) -> Key:
    """NOCASE knows the letters of ASCII alone, RTRIM blanks."""
    return tuple(str(part).rstrip(" ").translate(_SMALL) for part in key)


def _loose_of_icu(key: Key) -> Key:
    """A collation of PostgreSQL may pass over signs between letters, too."""
    return tuple("".join(filter(str.isalnum, _bare(str(part)))) for part in key)


def _bare(text: str) -> str:
    if not text.isascii():
        signs = unicodedata.normalize("NFKD", text)
        text = "".join(sign for sign in signs if unicodedata.category(sign)[0] != "M")
    return text.rstrip().casefold()


_SMALL: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_LOOSE: Final[dict[str, Loose]] = {"sqlite": _loose_of_sqlite, "postgresql": _loose_of_icu}


def _unlike(detail: str) -> Problem:
    """The source is not as the mapping says."""
    return Problem(Code.SOURCE_FAILED, where="source", detail=detail, retryable=False)


def _too_many(detail: str) -> Problem:
    return Problem(Code.RESPONSE_TOO_LARGE, where="body", detail=detail)
