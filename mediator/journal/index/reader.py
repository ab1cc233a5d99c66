"""Searching the index of one journal, or of several as if they were one.

The index answers questions; it proves nothing. What it finds is shown from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from exchange.log import merkle
from exchange.problems import Code, Problem
from mediator.journal.index.query import (
    Cursor,
    Hit,
    Page,
    Query,
    shape_conditions,
    time_conditions,
)
from mediator.journal.index.sqlite import open_file
from mediator.journal.index.store import Away, Damaged, GaveUp, Store, StoreError
from mediator.journal.index.tables import (
    ENTRY,
    KEYS,
    PART_BITS,
    PART_SHIFT,
    PLACE_MASK,
    SHAPE,
    checksum,
    to_time,
)
from mediator.journal.index.writer import holds

_UNION = 400
"""Terms in one statement; SQLite takes 500."""
_SHAPES = 2000
"""Beyond so many, entries are looked through in the order of time."""
_ROWS = 500
_ORDER = "ORDER BY at DESC, idx DESC"
# Found first, so that no database looks for the text instead, which has no index.
_FOUND = f"""found (text, place) AS MATERIALIZED (
  SELECT w.text, (p.part << {PART_BITS}) + (k.key & {PLACE_MASK})
  FROM wanted w CROSS JOIN parts p CROSS JOIN keys k
  WHERE p.latest >= w.since AND p.earliest < w.until
  AND k.key BETWEEN (p.part << {PART_BITS + PART_SHIFT}) + w.low
  AND (p.part << {PART_BITS + PART_SHIFT}) + w.low + {PLACE_MASK}
)"""  # noqa: S608
_BY_KEY = "SELECT DISTINCT e.at, e.idx FROM found f CROSS JOIN entries e WHERE e.idx = f.place"
_WANTED = "(CAST(? AS text), CAST(? AS bigint), CAST(? AS bigint), CAST(? AS bigint))"
_ALWAYS = (-(2**62), 2**62)


class IndexReader:
    """Answers queries over one journal's index, and over what it does not have yet (``rest``)."""

    def __init__(self, store: Store, origin: str, published: int = merkle.MAX_SIZE) -> None:
        self._store = store
        self._published = published
        self._shapes: dict[int, Sequence[Any]] = {}
        self.origin = origin
        self.rest: IndexReader | None = None

    @classmethod
    def open(cls, path: Path, origin: str, published: int = merkle.MAX_SIZE) -> IndexReader:
        """Open a file for reading only; what is added to it meanwhile is not seen.

        Args:
            path: the file.
            origin: of the log.
            published: entries from this index on are left out: the checkpoint does not have them.

        Raises:
            OSError: when there is none, or it is damaged or of another version.
        """
        try:
            return cls(open_file(path), origin, published)
        except StoreError as error:
            raise OSError(f"{path}: {error}") from error

    @classmethod
    def open_database(cls, url: str, origin: str, published: int = merkle.MAX_SIZE) -> IndexReader:
        """Open a log's index in PostgreSQL for reading; as :meth:`open`."""
        # Imported where it is wanted: it takes 0.2 s and 10 MB of every start.
        from mediator.journal.index.postgresql import name_of, open_log

        try:
            return cls(open_log(url, origin), origin, published)
        except StoreError as error:
            raise OSError(f"{name_of(url)}: {error}") from error

    def give_up_after(self, seconds: float) -> None:
        """Let no search take longer: what is asked for may need a look at every entry."""
        try:
            self._store.give_up_after(seconds)
        except StoreError as error:
            raise self._problem(error) from error

    @property
    def size(self) -> int:
        """How many entries are known.

        Raises:
            Problem: as :meth:`search`.
        """
        if self.rest is not None:
            return self.rest.size
        ((last,),) = self._run("SELECT max(idx) FROM entries")
        return 0 if last is None else int(last) + 1

    def holds(self, index: int, entry: bytes) -> bool:
        """Whether this entry is known under this index: not so in an index of another log.

        Raises:
            Problem: as :meth:`search`.
        """
        try:
            return holds(self._store, index, entry)
        except StoreError as error:
            raise self._problem(error) from error

    def search(self, query: Query, limit: int, cursor: Cursor | None = None) -> list[Hit]:
        """The newest entries that fit, newest first, at most ``limit``, from ``cursor`` on.

        Raises:
            Problem: ``JournalCorrupt`` when the index is damaged; ``ServerOverloaded`` when it
                takes too long (:meth:`give_up_after`); ``SourceFailed`` when its database does
                not answer.
        """
        try:
            places = self._places(query, limit, cursor)
            hits = [*self._hits([index for _, index in places])]
            hits.sort(key=lambda hit: hit.order, reverse=True)
        except (TypeError, OverflowError) as error:
            raise self._problem(Damaged(str(error))) from error
        if self.rest is not None:
            hits += self.rest.search(query, limit, cursor)
            hits.sort(key=lambda hit: hit.order, reverse=True)
            del hits[limit:]
        return hits

    def of_message(self, message_id: str) -> list[int]:
        """The indexes of all entries of a message id, in order.

        Raises:
            Problem: as :meth:`search`.
        """
        hits = self.search(Query(id=message_id), merkle.MAX_SIZE)
        return sorted(hit.index for hit in hits)

    def _places(self, query: Query, limit: int, cursor: Cursor | None) -> list[Any]:
        """The times and indexes of the newest entries that fit."""
        conditions = time_conditions(query, self.origin, cursor, self._published)
        of_shapes, values = shape_conditions(query)
        chosen = f"SELECT number FROM shapes WHERE {' AND '.join(of_shapes)}"  # noqa: S608
        if (wanted := _wanted(query)) is not None:
            return self._by_key(query, wanted, conditions, (chosen, of_shapes, values), limit)
        if of_shapes:
            numbers = [number for (number,) in self._run(chosen, values)]
            if len(numbers) <= _SHAPES:
                return self._by_shape(numbers, conditions, limit)
            conditions.append(f"e.shape IN ({chosen})")
        sql = f"SELECT e.at, e.idx FROM entries e WHERE {' AND '.join(conditions)}"  # noqa: S608
        return self._run(f"{sql} {_ORDER} LIMIT {limit}", values)

    def _by_key(
        self,
        query: Query,
        wanted: tuple[str, list[tuple[Any, ...]]],
        conditions: list[str],
        shapes: tuple[str, list[str], list[Any]],
        limit: int,
    ) -> list[Any]:
        """By an identifier or a subject; further ones are conditions like others."""
        driver, rows = wanted
        chosen, of_shapes, values = shapes
        found: list[Any] = []
        conditions, more = [f"e.{driver} = f.text", *conditions], list[Any]()
        for name in KEYS:
            if name != driver and (value := getattr(query, name)) is not None:
                texts = [tag.tag for tag in value] if name == "subject" else [value]
                conditions.append(f"e.{name} IN ({', '.join('?' * len(texts)) or 'NULL'})")
                more += texts
        if of_shapes:
            conditions.append(f"e.shape IN ({chosen})")
            more += values
        for at in range(0, len(rows), _UNION):
            some = rows[at : at + _UNION]
            sql = (
                "WITH wanted (text, low, since, until) AS (VALUES "
                f"{', '.join([_WANTED] * len(some))}), {_FOUND} {_BY_KEY} "
                f"AND {' AND '.join(conditions)} "
                f"{_ORDER} LIMIT {limit}"
            )
            found += self._run(sql, [value for row in some for value in row] + more)
        return _newest(found, limit)

    def _by_shape(self, numbers: list[int], conditions: list[str], limit: int) -> list[Any]:
        """The newest of each shape, merged: each lies in the order of time."""
        found: list[Any] = []
        where = " AND ".join(conditions)
        for at in range(0, len(numbers), _UNION):
            terms = [
                f"SELECT at, idx FROM (SELECT e.at, e.idx FROM entries e "  # noqa: S608
                f"WHERE e.shape = {number} AND {where} {_ORDER} LIMIT {limit}) AS s{number}"
                for number in numbers[at : at + _UNION]
            ]
            found += self._run(f"{' UNION ALL '.join(terms)} {_ORDER} LIMIT {limit}")
        return _newest(found, limit)

    def _hits(self, indexes: Sequence[int]) -> Iterator[Hit]:
        columns = ", ".join(ENTRY)
        for at in range(0, len(indexes), _ROWS):
            some = ", ".join(map(str, indexes[at : at + _ROWS]))
            rows = self._run(f"SELECT {columns} FROM entries WHERE idx IN ({some})")  # noqa: S608
            self._learn({row[2] for row in rows} - self._shapes.keys())
            for index, moment, shape, message_id, request_id, trace, subject in rows:
                members = dict(zip(SHAPE, self._shapes[shape], strict=True))
                yield Hit(
                    origin=self.origin,
                    index=index,
                    at=to_time(moment),
                    id=message_id,
                    request_id=request_id,
                    trace=trace,
                    subject=subject,
                    **members,
                )

    def _learn(self, numbers: set[int]) -> None:
        """Read shapes that are not known yet."""
        if not numbers:
            return
        some = ", ".join(map(str, numbers))
        sql = f"SELECT number, {', '.join(SHAPE)} FROM shapes WHERE number IN ({some})"  # noqa: S608
        found = {row[0]: row[1:] for row in self._run(sql)}
        if numbers - found.keys():
            raise self._problem(Damaged("entries of unknown shape"))
        self._shapes |= found

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._store.execute(sql, values)
        except StoreError as error:
            raise self._problem(error) from error

    def _problem(self, error: StoreError) -> Problem:
        """What a failed statement means for whoever asked."""
        if isinstance(error, GaveUp):
            return Problem(
                Code.OVERLOADED,
                where="search index",
                detail="the search takes too long; narrow it by since and until, or ask for an id",
            )
        if isinstance(error, Away):
            return Problem(
                Code.SOURCE_FAILED,
                where="search index",
                detail="its database does not answer; ask again later",
                status=503,
            )
        name = self._store.name
        return Problem(
            Code.JOURNAL_CORRUPT,
            where=name,
            detail=f"the search index is damaged ({error}); delete it: it is derived and made anew",
            facts={"file": name},
        )

    def close(self) -> None:
        self._store.close()
        if self.rest is not None:
            self.rest.close()


def _wanted(query: Query) -> tuple[str, list[tuple[Any, ...]]] | None:
    """By which identifier entries are found, and what of it: text, checksum, from when to when."""
    for name in KEYS:
        value = getattr(query, name)
        if value is not None and name == "subject":
            return name, [
                (each.tag, checksum(each.tag), *each.bounds) for each in query.subject or ()
            ]
        if value is not None:
            return name, [(value, checksum(value), *_ALWAYS)]
    return None


def _newest(found: list[Any], limit: int) -> list[Any]:
    found.sort(reverse=True)
    return found[:limit]


def open_others(url: str, origin: str) -> list[IndexReader]:
    """The indexes of the other logs in a shared database: those of the member's other servers.

    Raises:
        Problem: ``SourceFailed`` when the database does not answer.
    """
    from mediator.journal.index.postgresql import origins

    found = list[IndexReader]()
    try:
        for each in origins(url):
            if each != origin:
                found.append(IndexReader.open_database(url, each))
    except (StoreError, OSError) as error:
        for reader in found:
            reader.close()
        raise Problem(
            Code.SOURCE_FAILED,
            where="search index",
            detail="its database does not answer",
            status=503,
        ) from error
    return found


def search(
    readers: Iterable[IndexReader], query: Query, limit: int, cursor: Cursor | None = None
) -> Page:
    """Search several journals as if they were one.

    Raises:
        Problem: as :meth:`IndexReader.search`.
    """
    found = [hit for reader in readers for hit in reader.search(query, limit + 1, cursor)]
    found.sort(key=lambda hit: hit.order, reverse=True)
    hits = found[:limit]
    if len(found) <= limit or not hits:
        return Page(hits, None)
    return Page(hits, Cursor(*hits[-1].order))
