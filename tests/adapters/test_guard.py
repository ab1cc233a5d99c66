"""What is not a query that only reads is refused by its grammar, in every dialect."""

from __future__ import annotations

import pytest

from adapters.service import load
from adapters.sources.guard import DIALECTS, Refused, check_reads_only
from exchange.problems import Code, Problem
from tests.adapters.legacy import MAPPING

EVERYWHERE = (
    "SELECT a, b FROM t WHERE y = :year AND z = 'x:y'",
    "SELECT t.a, count(*) AS n FROM t JOIN u ON u.id = t.id GROUP BY t.a HAVING count(*) > 1",
    "SELECT a, (SELECT max(b) FROM u WHERE u.id = t.id) AS b FROM t",
    "SELECT replace(a, 'b', 'c') AS a, coalesce(b, 0), CASE WHEN a = 'x' THEN 1 END AS c FROM t",
    "SELECT a FROM t WHERE :name IS NULL OR a LIKE :name",
)
OF_ONE = (
    *(
        (one, "WITH w AS (SELECT a FROM t UNION ALL SELECT b FROM u) SELECT a FROM w")
        for one in ("sqlite", "postgresql", "mariadb", "oracle")
    ),
    ("postgresql", "SELECT a::text, data->>'x' AS x, date_trunc('year', d) AS y FROM s.t"),
    ("postgresql", "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC"),
    ("mariadb", "SELECT `order`, group_concat(b) AS b, IF(a, 1, 0) AS c FROM `t`"),
    ("sqlite", "SELECT rowid, strftime('%Y', d) AS y, a || ' ' || b AS c FROM t"),
    ("oracle", "SELECT a, NVL(b, 0) AS b, ROWNUM AS n FROM s.t WHERE c = :c"),
    ("mssql", "SELECT TOP 10 [order], ISNULL(b, 0) AS b FROM dbo.t WHERE c = :c"),
)
REFUSED = (
    ("postgresql", "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x"),
    ("postgresql", "WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x"),
    ("postgresql", "SELECT a INTO u FROM t"),
    ("postgresql", "SELECT a FROM t FOR UPDATE"),
    ("postgresql", "SELECT pg_catalog.pg_read_file('/etc/passwd') AS a"),
    ("postgresql", "SELECT \"pg_read_file\"('/etc/passwd') AS a"),
    ("postgresql", "SELECT * FROM dblink('host=x', 'DELETE FROM t') AS r(a int)"),
    ("postgresql", "SELECT query_to_xml('DELETE FROM t', true, true, '') AS a"),
    ("postgresql", "SELECT nextval('s') AS a"),
    ("postgresql", "SELECT lo_export(1, '/tmp/x') AS a"),
    ("postgresql", "SELECT pg_sleep(60) AS a"),
    ("postgresql", "SELECT pg_terminate_backend(1) AS a"),
    ("postgresql", "SELECT 1; DELETE FROM t"),
    ("mariadb", "SELECT load_file('/etc/passwd') AS a"),
    ("mariadb", "SELECT a FROM t INTO OUTFILE '/tmp/x'"),
    ("mariadb", "SELECT a FROM t LOCK IN SHARE MODE"),
    ("mariadb", "SELECT @x := 1 AS a"),
    ("mariadb", "SELECT benchmark(1000000, md5('x')) AS a"),
    ("mariadb", "SELECT get_lock('x', 60) AS a"),
    ("sqlite", "SELECT load_extension('/tmp/x.so') AS a"),
    ("sqlite", "PRAGMA writable_schema = 1"),
    ("sqlite", "REPLACE INTO t VALUES (1)"),
    ("oracle", "SELECT utl_http.request('http://x') AS a FROM dual"),
    ("oracle", "SELECT dbms_lock.sleep(60) AS a FROM dual"),
    ("oracle", "SELECT s.nextval AS a FROM dual"),
    ("mssql", "EXEC xp_cmdshell 'dir'"),
    ("mssql", "SELECT a FROM OPENROWSET('x', 'y', 'z')"),
    ("mssql", "SELECT a INTO u FROM t"),
    ("mssql", "WAITFOR DELAY '0:0:30'"),
    ("sqlite", "SELECT a FROM WHERE"),
    ("sqlite", "SELECT " + "(" * 5000 + "1" + ")" * 5000),
)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("query", EVERYWHERE)
def test_a_query_that_reads_passes(query: str, dialect: str) -> None:
    """What every database understands, every grammar lets pass."""
    check_reads_only(query, dialect)


@pytest.mark.parametrize(("dialect", "query"), OF_ONE)
def test_what_one_database_understands_passes_there(dialect: str, query: str) -> None:
    """A query is judged by the grammar of the database that will run it."""
    check_reads_only(query, dialect)


@pytest.mark.parametrize(
    ("dialect", "query"), REFUSED, ids=[f"{dialect}-{query[:40]}" for dialect, query in REFUSED]
)
def test_what_does_more_than_read_is_refused(dialect: str, query: str) -> None:
    """Writing, defining, locking, waiting, files, other servers and what is not understood."""
    with pytest.raises(Refused):
        check_reads_only(query, dialect)


def test_a_mapping_with_such_a_query_does_not_open(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A function that the form of the text cannot tell is refused when the source is known."""
    text = MAPPING.format(limits="").replace("SELECT * FROM tbl_item", "SELECT load_extension('x')")
    path = tmp_path / "legacy.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Problem) as caught:
        load(path, {"LEGACY_URL": "sqlite:///x.db"})
    assert caught.value.code is Code.INVALID_MAPPING
    assert "load_extension" in caught.value.detail
    assert caught.value.where.startswith("legacy.yaml:")
