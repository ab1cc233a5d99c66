"""Rows are joined with what belongs to them as an obvious program would do it."""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from sqlglot import exp

from adapters.answers.dialects import dialect_of
from adapters.answers.joins import Joined, complete
from adapters.answers.layout import Layout, lay_out
from adapters.answers.narrowing import Sight
from adapters.answers.orders import Key
from adapters.answers.statements import OneOf, Statement, check_select
from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Limits
from adapters.sources.guard import DIALECTS
from exchange.problems import Code, Problem
from tests.adapters.legacy import INJECTION, MAPPING, Legacy, get
from tests.adapters.test_sorts_and_counts import SORTED

JOINED = """
saphan_mapping: 1
application: LA/GOV/MPI/joined
title: {en: Joined, lo: ຮວມ}
source: {kind: sql, url: "sqlite:///x.db"}
records:
  child: {title: {en: Child, lo: ລູກ}, fields: {n: integer}}
  parent:
    title: {en: Parent, lo: ແມ່}
    fields: {id: integer}
    nested:
      children: {query: children, join: {KEYS}, order: [n], most: 50}
queries:
  children: {record: child, sql: SELECT * FROM child}
  parents: {record: parent, sql: SELECT * FROM parent}
services:
  x:
    title: {en: X, lo: X}
    endpoints:
      /parents: {operation: list, query: parents, order: [id], title: {en: X, lo: X}}
"""
HOSTILE = st.sampled_from([INJECTION, "", "'", "\\", ":a", "%s", "ລາວ", "a", "A", "a "])
WORDS = st.one_of(st.none(), HOSTILE, st.text(st.characters(exclude_categories=["Cs"]), max_size=3))
PARENTS = st.lists(st.tuples(WORDS, st.one_of(st.none(), st.integers(0, 3))), max_size=9)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PARENTS, PARENTS, st.booleans())
def test_a_join_gives_what_belongs_together(
    parents: list[tuple[Any, Any]], children: list[tuple[Any, Any]], both: bool
) -> None:
    """Whatever stands in the keys, of one column or two: equal keys meet, nulls meet nothing."""
    keys = "word: word, number: number" if both else "word: word"
    mapping = parse_mapping(JOINED.replace("KEYS", keys).encode())
    layout = lay_out(mapping.records["parent"], None, Sight())
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        for name, column, rows in (("parent", "id", parents), ("child", "n", children)):
            connection.execute(text(f"CREATE TABLE {name} ({column} INTEGER, word TEXT, number)"))
            for number, (word, other) in enumerate(rows):
                values = {"a": number, "b": word, "c": other}
                connection.execute(text(f"INSERT INTO {name} VALUES (:a, :b, :c)"), values)  # noqa: S608
        wanted = ", ".join(layout.columns)
        found = connection.execute(text(f"SELECT {wanted} FROM parent ORDER BY id")).fetchall()  # noqa: S608
        cells = complete(connection, found, layout, Limits())
    engine.dispose()
    for (word, other), (_, joined) in zip(parents, cells, strict=True):
        assert isinstance(joined, Joined)
        assert [row[0] for row in joined.rows] == [
            number
            for number, (own, own_other) in enumerate(children)
            if own is not None
            and own == word
            and (not both or (other is not None and own_other == other))
        ]


@pytest.mark.parametrize("keys", ["word: word", "word: word, number: number"])
def test_a_long_page_is_joined_in_parts(keys: str) -> None:
    """No statement has more keys than the most modest database takes; none is lost between."""
    mapping = parse_mapping(JOINED.replace("KEYS", keys).encode())
    layout = lay_out(mapping.records["parent"], None, Sight())
    engine = create_engine("sqlite://", poolclass=StaticPool)
    asked: list[int] = []
    with engine.begin() as connection:
        for name, column in (("parent", "id"), ("child", "n")):
            connection.execute(text(f"CREATE TABLE {name} ({column} INTEGER, word TEXT, number)"))
            values = [{"a": n, "b": f"w{n}", "c": n % 7} for n in range(1300)]
            connection.execute(text(f"INSERT INTO {name} VALUES (:a, :b, :c)"), values)  # noqa: S608
        found = connection.execute(text(f"SELECT {', '.join(layout.columns)} FROM parent"))  # noqa: S608
        limits, parents = Limits(), found.fetchall()

        def look(connection: Any, statement: str, values: Any) -> None:
            asked.append(sum(name.startswith("saphan_j") for name in values))

        cells = complete(connection, parents, layout, limits, look)
    engine.dispose()
    assert [[row[0] for row in joined.rows] for _, joined in cells] == [[n] for n in range(1300)]
    parts = keys.count(":")
    assert asked == [512 * parts, 512 * parts, 512 * parts]


@pytest.mark.parametrize(("ways", "statements"), [(1, 1), (2, 2), (32, 32), (33, 0)])
def test_keys_that_look_alike_take_few_statements(ways: int, statements: int) -> None:
    """One for each way in which a key is written, whatever their number; too many are refused."""
    mapping = parse_mapping(JOINED.replace("KEYS", "word: word").encode())
    layout = lay_out(mapping.records["parent"], None, Sight())
    engine = create_engine("sqlite://", poolclass=StaticPool)
    words = ["".join(sign) for sign in product("aA", repeat=6)][:ways] + [
        f"ກ{n}" for n in range(99)
    ]
    asked: list[str] = []
    with engine.begin() as connection:
        for name, column in (("parent", "id"), ("child", "n")):
            connection.execute(text(f"CREATE TABLE {name} ({column} INTEGER, word TEXT, number)"))
            values = [{"a": n, "b": word, "c": 0} for n, word in enumerate(words)]
            connection.execute(text(f"INSERT INTO {name} VALUES (:a, :b, :c)"), values)  # noqa: S608
        found = connection.execute(text(f"SELECT {', '.join(layout.columns)} FROM parent"))  # noqa: S608
        parents = found.fetchall()

        def look(connection: Any, statement: str, values: Any) -> None:
            asked.append(statement)

        if statements:
            cells = complete(connection, parents, layout, Limits(), look)
            assert [[row[0] for row in joined.rows] for _, joined in cells] == [
                [n] for n in range(len(words))
            ]
        else:
            with pytest.raises(Problem) as caught:
                complete(connection, parents, layout, Limits(), look)
            assert caught.value.code is Code.SOURCE_FAILED
    engine.dispose()
    assert len(asked) == statements


@pytest.mark.parametrize("count", [1, 2, 1024])
def test_keys_are_placeholders(count: int) -> None:
    """Of any number of keys, the statement holds names only, and no long chain."""
    one, two = OneOf(("a",), "k", count), OneOf(("a", "b"), "k", count)
    assert str(one).count(":k_") == count
    assert str(two).count(":k_") == 2 * count
    depth = most = 0
    for sign in str(two):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        most = max(most, depth)
    assert most <= 12


@pytest.mark.parametrize("vendor", sorted(DIALECTS))
def test_every_database_understands_the_keys(vendor: str) -> None:
    """The statement of a join is one of the dialect, whatever the number of key columns."""
    select = check_select("SELECT * FROM t")
    for columns in (("a",), ("a", "b"), ("a", "b", "c", "d")):
        statement = Statement(select, columns, [OneOf(columns, "k", 8)], [Key("a")])
        said = statement.write(dialect_of(vendor))
        tree = sqlglot.parse_one(said, dialect=DIALECTS[vendor])
        assert len(list(tree.find_all(exp.Placeholder))) >= 8 * len(columns)


def test_a_record_of_plain_fields_is_left_as_it_is() -> None:
    """The usual record costs nothing of all this: its rows are its cells."""
    mapping = parse_mapping(MAPPING.format(limits="max_rows: 10").encode())
    layout = lay_out(mapping.records["item"], None, Sight())
    assert layout == Layout(
        tuple(field.column for field in mapping.records["item"].fields), tuple(range(12))
    )


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from(["sort", "count", "fields", "cursor"]), st.text(max_size=20))
async def test_no_text_of_a_caller_is_more_than_a_value(
    legacy: Legacy, name: str, value: str
) -> None:
    """What is not one of the known words is the caller's fault, and nothing fails."""
    adapter = legacy.adapter(SORTED)
    encoded = quote(value.encode(errors="replace"), safe="")
    response = await get(adapter, f"/items?{name}={encoded}")
    await adapter.close()
    assert response.status in (200, 400)
    if response.status == 200:
        assert value in ("amount", "true", "false", "id", "code") or name in ("sort", "fields")
    else:
        assert orjson.loads(response.body)["where"].startswith("query")
