"""Queries only read, and values are only bound."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.answers.orders import Key
from adapters.answers.statements import Condition, NotSelect, Statement, check_select


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT 1", set()),
        ("select a from b where c = :c and d = :d_1", {"c", "d_1"}),
        ("WITH x AS (SELECT 1 AS a) SELECT * FROM x", set()),
        ("SELECT a::numeric, ':not' FROM t WHERE b = :b", {"b"}),
        ("SELECT 'DROP TABLE x', \"delete\", `update` FROM t", set()),
        ("SELECT REPLACE(a, 'x', 'it''s') FROM t", set()),
        ("SELECT updated_at, created FROM t", set()),
        ("SELECT ' 12:30 :x' AS t", set()),
    ],
)
def test_a_query_that_reads_is_accepted(sql: str, parameters: set[str]) -> None:
    """Parameters are those outside literals; casts and literals are no parameters."""
    assert check_select(sql).parameters == parameters


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "INSERT INTO t VALUES (1)",
        "SELECT 1; DROP TABLE t",
        "SELECT 1;",
        "SELECT 1 -- comment",
        "SELECT 1 /* comment */",
        "SELECT /*! 1 INTO OUTFILE 'x' */ 2",
        "SELECT 1 # comment",
        "SELECT * INTO other FROM t",
        "SELECT a FROM t INTO OUTFILE '/tmp/x'",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT a FROM t FOR UPDATE",
        "WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x",
        "SELECT '\\' OR 1=1'",
        "SELECT $$x$$",
        "SELECT 'unfinished",
        'SELECT "unfinished',
        "PRAGMA writable_schema = 1",
        "ATTACH 'x' AS y",
        "EXPLAIN SELECT 1",
        "VALUES (1)",
        "SELECT 1" + " " * 20_000,
    ],
)
def test_anything_else_is_refused(sql: str) -> None:
    """Another statement, a second one, a comment, a word that writes or reaches files."""
    with pytest.raises(NotSelect):
        check_select(sql)


@given(st.text(alphabet="SELECT fromw'\"`:;-/*\\#$aé1 (),%\n", max_size=60))
def test_what_is_accepted_holds_no_second_statement(text: str) -> None:
    """SQLite, a foreign judge: what is accepted is never two statements."""
    try:
        check_select("SELECT " + text)
    except NotSelect:
        return
    assert sqlite3.complete_statement("SELECT " + text) is False  # no end mark outside literals


def test_a_page_is_wrapped_around_the_query() -> None:
    """Filters, order and cursor stand outside the query; every value is a placeholder."""
    statement = Statement(
        check_select("SELECT * FROM t WHERE y = :y"),
        ["a", "b"],
        [Condition("a", "=", "f0"), Condition("b", "=", "f1", 2), Condition("c", "=", "f2", 0)],
        [Key("a"), Key("b", descending=True)],
        after=True,
    ).write()
    assert statement == (
        "SELECT saphan_q.a, saphan_q.b\n"
        "FROM (\nSELECT * FROM t WHERE y = :y\n) AS saphan_q\n"
        "WHERE saphan_q.a = :f0_0\n"
        "  AND saphan_q.b IN (:f1_0, :f1_1)\n"
        "  AND 1 = 0\n"
        "  AND saphan_q.a >= :saphan_key_0 AND ((saphan_q.a > :saphan_key_0)"
        " OR (saphan_q.a = :saphan_key_0 AND saphan_q.b < :saphan_key_1))\n"
        "ORDER BY saphan_q.a, saphan_q.b DESC\n"
        "LIMIT :saphan_limit"
    )
