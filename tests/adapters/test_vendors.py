"""SQL Server and Oracle, at the level of the SQL that they would be sent: no server is here.

The statements are compiled by SQLAlchemy's dialect and parsed by sqlglot's grammar of it. What
they mean is shown by turning them into SQLite's words (sqlglot) and running both there.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import sqlglot
from sqlalchemy.dialects.mssql import pymssql
from sqlalchemy.dialects.oracle import oracledb
from sqlglot import exp

from adapters.answers.comparisons import NOT_TOLD, writer
from adapters.answers.dialects import COMMON, dialect_of
from adapters.answers.orders import Key, Nulls
from adapters.answers.requests import find, plan
from adapters.answers.running import prepare
from adapters.answers.statements import (
    BEGINS,
    LIMIT,
    Compares,
    Condition,
    Statement,
    check_select,
    count,
)
from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Limits
from adapters.sources import vendors
from adapters.sources.addresses import parse_url
from adapters.sources.binding import bound
from adapters.sources.failures import is_timeout, state_of
from adapters.sources.guard import DIALECTS, Refused, check_reads_only
from adapters.sources.sessions import open_server
from exchange.problems import Code, Problem
from tests.adapters.legacy import MAPPING

VENDORS = {"mssql": pymssql.dialect(), "oracle": oracledb.dialect()}
EACH = pytest.mark.parametrize("vendor", VENDORS)
PARSED = parse_mapping(MAPPING.format(limits="max_connections: 1").encode(), "legacy.yaml")
SELECT = check_select("SELECT a, b, c FROM t WHERE c <> :least")
ROWS = [(1, None, 1), (2, 5, 1), (3, 5, 2), (4, 2, 1), (5, None, 3), (6, 9, 1)]
ORDERS = [
    (Key("a"),),
    (Key("a", descending=True),),
    (Key("b", nulls=Nulls.FIRST), Key("a")),
    (Key("b", descending=True, nulls=Nulls.LAST), Key("a", descending=True)),
    (Key("c"), Key("b", nulls=Nulls.LAST), Key("a")),
]


def parsed(statement: str, vendor: str) -> exp.Expr:
    """The statement by the grammar of the vendor: one SELECT."""
    found = sqlglot.parse(statement, dialect=DIALECTS[vendor])
    assert len(found) == 1
    assert isinstance(found[0], exp.Select)
    return found[0]


def run(statement: str, values: dict[str, Any], vendor: str | None = None) -> list[tuple[Any, ...]]:
    """What a statement gives in SQLite, turned into its words when it is a vendor's."""
    if vendor is not None:
        statement = parsed(statement, vendor).sql(dialect="sqlite")
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (a INTEGER, b INTEGER, c INTEGER)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
        rows = database.execute(statement, values).fetchall()
    database.close()
    return rows


def said(statement: Statement, values: dict[str, Any], vendor: str) -> str:
    """The statement as the vendor's server is sent it."""
    form = dialect_of(vendor)
    return statement.write(form, writer(form, NOT_TOLD, values))


@EACH
@pytest.mark.parametrize("path", ["/items", "/items/by-date", "/items/P-001", "/whole", "/totals"])
def test_every_statement_is_of_the_dialect(vendor: str, path: str) -> None:
    """SQLAlchemy's dialect compiles it with all parameters bound, sqlglot's grammar reads it."""
    endpoint, variables = find(PARSED.services["items"], path)
    query = "status=ongoing&least=5" if path == "/items" else ""
    asked = plan(endpoint, variables, query)
    prepared, _ = prepare(endpoint.query, asked.asked, asked.values, vendor)
    compiled = prepared.compile(dialect=VENDORS[vendor])
    assert {LIMIT, *asked.values} == set(compiled.params)
    tree = parsed(str(prepared.text), vendor)
    assert " LIMIT " not in tree.sql(dialect=DIALECTS[vendor])
    limit = tree.args.get("limit")
    assert isinstance(limit, exp.Limit if vendor == "mssql" else exp.Fetch)
    if vendor == "oracle":
        assert ") AS saphan_q" not in str(prepared.text)
    names = {one.name for one in tree.find_all(exp.Placeholder)}
    assert {LIMIT, *asked.values} == names


@EACH
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_pages_are_the_same_rows(vendor: str, order: tuple[Key, ...]) -> None:
    """Walking by the vendor's statements gives what walking by SQLite's gives: nulls stand where
    the order says, each row comes once."""
    walks: list[list[tuple[Any, ...]]] = []
    for dialect in (None, vendor):
        form = COMMON if dialect is None else dialect_of(dialect)
        seen: list[tuple[Any, ...]] = []
        values: dict[str, Any] = {"least": 9, LIMIT: 2}
        nulls: tuple[int, ...] = ()
        after = False
        while True:
            columns = ["a", "b", "c", *(key.column for key in order)]
            statement = Statement(SELECT, columns, (), order, after, nulls)
            page = run(statement.write(form), values, dialect)
            if not page:
                break
            seen += page
            key = page[-1][3:]
            nulls = tuple(index for index, value in enumerate(key) if value is None)
            values = {"least": 9, LIMIT: 2} | {
                f"saphan_key_{index}": value for index, value in enumerate(key) if value is not None
            }
            after = True
        walks.append(seen)
    assert walks[0] == walks[1]
    assert sorted(row[0] for row in walks[1]) == [1, 2, 3, 4, 5, 6]


@EACH
def test_conditions_and_counts_mean_the_same(vendor: str) -> None:
    """Lists of values, bounds, nulls, none at all; and how many there are."""
    for condition, values in (
        (Condition("b", "=", "saphan_f0", 2), {"saphan_f0_0": 5, "saphan_f0_1": 2}),
        (Condition("b", ">=", "saphan_f0"), {"saphan_f0_0": 5}),
        (Condition("b", "=", "saphan_f0", 1, True), {"saphan_f0_0": 5}),
        (Condition("b", "=", "saphan_f0", 0), {}),
    ):
        given = {"least": 9, LIMIT: 100} | values
        page = Statement(SELECT, ["a"], [condition], [Key("a")])
        assert run(said(page, given, vendor), given, vendor) == run(page.write(), given)
        del given[LIMIT]
        counted = count(SELECT, [condition])
        assert run(said(counted, given, vendor), given, vendor) == run(counted.write(), given)


def test_sql_server_compares_sign_by_sign_where_it_is_asked_to() -> None:
    """Its collations take "a " for "a" and mostly A for a; a rule on rows does not."""
    condition = Condition("a", "=", "saphan_f0", 2, how=Compares.EXACTLY)
    values = {"saphan_f0_0": "a", "saphan_f0_1": "b"}
    statement = said(Statement(SELECT, ["a"], [condition]), values, "mssql")
    assert "saphan_q.a IN (:saphan_f0_0, :saphan_f0_1) AND CAST(" in statement
    parsed(statement, "mssql")


@pytest.mark.parametrize(("vendor", "expected"), [("mssql", "![a!%!!%"), ("oracle", "[a!%!!%")])
def test_beginnings_are_patterns_without_a_wildcard(vendor: str, expected: str) -> None:
    """SQL Server takes [ for one, too; Oracle refuses an escape before a sign that is none."""
    values: dict[str, Any] = {"saphan_f0_0": "[a%!"}
    text = said(Statement(SELECT, ["a"], [Condition("a", BEGINS, "saphan_f0")]), values, vendor)
    assert "saphan_q.a LIKE :saphan_w1 ESCAPE '!'" in text
    parsed(text, vendor)
    assert values["saphan_w1"] == expected


def test_the_query_itself_is_never_changed() -> None:
    """Whatever stands in it that looks like ours."""
    text = "SELECT a, 'LIMIT :saphan_limit' AS b FROM t AS saphan_q"
    select = check_select(text)
    for vendor in VENDORS:
        assert select.text in Statement(select, ["a"], ()).write(dialect_of(vendor))


@pytest.mark.parametrize(
    ("vendor", "query"),
    [
        ("mssql", "SELECT * FROM t WITH (UPDLOCK)"),
        ("mssql", "SELECT * FROM far.db.dbo.t"),
        ("mssql", "SELECT * FROM OPENROWSET('a', 'b', 'c')"),
        ("mssql", "SELECT NEXT VALUE FOR s"),
        ("mssql", "SELECT @@VERSION"),
        ("mssql", "SELECT a INTO b FROM t"),
        ("mssql", "EXEC sp_who"),
        ("mssql", "WITH q AS (SELECT 1 AS a) SELECT a FROM q"),
        ("mssql", "SELECT a FROM t ORDER BY a"),
        ("mssql", "SELECT a FROM t OPTION (MAXDOP 1)"),
        ("oracle", "SELECT * FROM t@far"),
        ("oracle", "SELECT * FROM t FOR UPDATE"),
        ("oracle", "SELECT s.nextval FROM dual"),
        ("oracle", "SELECT sys.dbms_lock.sleep(1) FROM dual"),
        ("oracle", "SELECT utl_http.request('x') FROM dual"),
        ("oracle", "BEGIN NULL; END"),
    ],
)
def test_what_does_more_than_read_is_refused(vendor: str, query: str) -> None:
    """By the vendor's own grammar; and what cannot stand inside another query."""
    with pytest.raises(Refused):
        check_reads_only(query, vendor)


@pytest.mark.parametrize(
    ("vendor", "query"),
    [
        ("mssql", "SELECT TOP 5 a FROM dbo.t ORDER BY a"),
        ("mssql", "SELECT [a b] AS c, ISNULL(d, 0) AS d, CONVERT(varchar(9), e, 23) AS e FROM t"),
        (
            "oracle",
            "SELECT NVL(a, 0) AS a, TO_CHAR(b, 'YYYY') AS b FROM s.t WHERE ROWNUM < 5",
        ),
        ("oracle", "WITH q AS (SELECT 1 AS a FROM dual) SELECT a FROM q"),
    ],
)
def test_what_reads_passes(vendor: str, query: str) -> None:
    """In the words of the vendor."""
    check_reads_only(query, vendor)


@EACH
def test_a_driver_that_is_missing_is_told(vendor: str) -> None:
    """With the command that brings it; the address is not repeated."""
    package, extra = vendors.EXTRAS[vendor]
    try:
        __import__(package)
    except ModuleNotFoundError:
        with pytest.raises(Problem) as caught:
            open_server(parse_url(f"{vendor}://u:secret@host/db", "x"), Limits())
        assert caught.value.code is Code.INVALID_MAPPING
        assert f"saphan[{extra}]" in caught.value.detail
        assert "secret" not in str(caught.value)
    else:
        pytest.skip(f"{package} is installed")


@EACH
def test_truth_is_a_number(vendor: str) -> None:
    """Neither has truth values to compare a column with."""
    assert bound(vendor, True) == 1
    assert type(bound(vendor, True)) is int


@EACH
def test_looks_at_rights_are_of_the_dialect(vendor: str) -> None:
    """What is asked of an account is one SELECT each."""
    texts = {
        "mssql": (vendors.MSSQL_RIGHTS, vendors.MSSQL_TABLES),
        "oracle": (vendors.ORACLE_RIGHTS, vendors.ORACLE_TABLES),
    }
    for text in texts[vendor]:
        assert isinstance(sqlglot.parse_one(text, dialect=DIALECTS[vendor]), exp.Query)


class _Said:
    """As oracledb says what went wrong."""

    def __init__(self, full_code: str) -> None:
        self.full_code = full_code


@pytest.mark.parametrize("word", [20003, _Said("DPY-4024"), _Said("ORA-01013")])
def test_a_time_out_of_the_driver_is_one(word: object) -> None:
    """By its number, or the code in the driver's own error value."""
    error = Exception(word)
    assert is_timeout(error, state_of(error))
