"""What a mapping may let others write, judged before any source is asked."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.answers.statements import scan
from adapters.fields import Field, Kind, Mismatch, Stored
from adapters.fields.units import Rounding
from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Statement, WritableTable
from adapters.service import Adapter
from adapters.sources.guard import DIALECTS, Refused
from adapters.sources.source import Source
from adapters.text.convert import Encoding
from adapters.writes.guard import judge
from adapters.writes.ledger import ddl
from adapters.writes.values import stored, why_not_written
from exchange.lao import ordered
from exchange.problems import Code, Problem
from tests.adapters.writes.library import MAPPING

TABLES = {"t": WritableTable(("id",)), "s.u": WritableTable(("a", "b"), delete=True)}


def statement(sql: str, **more: Any) -> Statement:
    scanned = scan(sql)
    return Statement(
        name="one",
        verb=scanned.words[0],
        sql=sql,
        text=scanned.text,
        names=scanned.parameters,
        parameters={},
        **more,
    )


NAMED = [
    # The names that are listed, a statement, and the databases where it writes just these.
    ("t", "id", "DELETE FROM T WHERE ID = :id", {"sqlite", "postgresql"}),
    ("t", "id", "DELETE FROM t WHERE ID = :id", {"sqlite", "postgresql", "mariadb"}),
    ("t", "id", "DELETE FROM {T} WHERE id = :id", {"sqlite"}),
    ("t", "id", "DELETE FROM {t} WHERE {id} = :id", {"sqlite", "postgresql", "mariadb"}),
    ("t", "id", "DELETE FROM t WHERE {ID} = :id", {"sqlite", "mariadb"}),
    ("T", "Id", "DELETE FROM {T} WHERE {Id} = :id", {"sqlite", "postgresql", "mariadb"}),
    ("T", "Id", "DELETE FROM T WHERE Id = :id", {"sqlite", "mariadb"}),
    ("S.T", "id", "DELETE FROM {S}.{T} WHERE id = :id", {"sqlite", "postgresql", "mariadb"}),
    ("s.t", "id", "DELETE FROM {S}.t WHERE id = :id", {"sqlite"}),
]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mariadb"])
@pytest.mark.parametrize(("table", "key", "sql", "fits"), NAMED)
def test_names_are_compared_as_the_database_compares_them(
    table: str, key: str, sql: str, fits: set[str], dialect: str
) -> None:
    """Book in quotes is not book on PostgreSQL; MariaDB may have both as tables, not as columns."""
    quote = "`" if dialect == "mariadb" else '"'
    written = statement(sql.replace("{", quote).replace("}", quote))
    tables = {table: WritableTable((key,), delete=True)}
    if dialect in fits:
        judge(written, tables, dialect)
    else:
        with pytest.raises(Refused):
            judge(written, tables, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (a, b) VALUES (:a, LOWER(:b))",
        "UPDATE t SET a = :a, b = COALESCE(:b, CURRENT_TIMESTAMP) WHERE id = :id AND (c = 0 OR c = 1)",  # noqa: E501
        "UPDATE t SET a = a + 1 WHERE (id = :id)",
        "DELETE FROM s.u WHERE a = :a AND b = :b",
    ],
)
def test_a_plain_statement_on_a_listed_table_passes(sql: str, dialect: str) -> None:
    """One row added, or rows changed by the whole key."""
    judge(statement(sql), TABLES, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO other (a) VALUES (:a)",
        "INSERT INTO t (a) SELECT :a",
        "INSERT INTO t (a) VALUES (:a), (:b)",
        "INSERT INTO t VALUES (:a)",
        "INSERT INTO t (a) VALUES ((SELECT 1))",
        "INSERT INTO t (a) VALUES (secret(:a))",
        "INSERT INTO t (a) VALUES (pg_sleep(1))",
        "INSERT INTO t (a) VALUES (?)",
        "INSERT INTO t (a) VALUES (:a) ON CONFLICT (a) DO NOTHING",
        "INSERT IGNORE INTO t (a) VALUES (:a)",
        "INSERT OR REPLACE INTO t (a) VALUES (:a)",
        "INSERT INTO t (a) VALUES (:a) ON DUPLICATE KEY UPDATE a = 1",
        "INSERT INTO t (a) VALUES (:a) RETURNING a",
        "UPDATE t SET a = :a",
        "UPDATE t SET a = :a WHERE id = 1",
        "UPDATE t SET a = :a WHERE id = :id OR 1 = 1",
        "UPDATE t SET a = :a WHERE NOT id = :id",
        "UPDATE t SET a = :a WHERE id >= :id",
        "UPDATE t SET a = :a WHERE a = :id",
        "UPDATE t SET id = :a WHERE id = :id",
        "UPDATE t SET a = (SELECT 1) WHERE id = :id",
        "UPDATE t SET a = seq.nextval WHERE id = :id",
        "UPDATE t, u SET a = :a WHERE id = :id",
        "UPDATE t SET a = :a FROM u WHERE t.id = :id",
        "UPDATE s.u SET c = :c WHERE a = :a",
        "DELETE FROM t WHERE id = :id",
        "DELETE FROM s.u WHERE a = :a AND b = :b OR 1 = 1",
        "UPDATE other.t SET a = :a WHERE id = :id",
    ],
)
def test_whatever_does_more_is_refused(sql: str, dialect: str) -> None:
    """Another table, more rows, a query, an unknown function, a conflict that is swallowed."""
    with pytest.raises(Refused):
        judge(statement(sql), TABLES, dialect)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  writes: allowed\n", "", "writes: allowed"),
        ("writes: allowed", "writes: yes", "must be 'allowed'"),
        ("  write_url_env: LIBRARY_WRITER_URL\n", "", "write_url"),
        ("kind: sql\n  url: ${LIBRARY_URL}", "kind: files\n  tables: {}", "files"),
        ("statements: [add]", "statements: [other]", "other"),
        ("key: [number]", "key: [shelf]", "code"),
        (":publisher, :note)", ":publisher, :unknown)", ":unknown"),
        (
            "      note: string\n",
            "      note: {type: string, separator: ';', decode: lswin}\n",
            "cannot be written",
        ),
        ("returns: [loan]", "returns: [nobody]", "nobody"),
        ("POST /books:", "GET /books:", "GET /books"),
        ("operation: create", "operation: delete", "POST"),
        ("DELETE FROM tbl_book WHERE book_no = :number", "DROP TABLE tbl_book", "begins with"),
        ("remove: DELETE FROM tbl_book", "remove: DELETE FROM tbl_book -- x", "--"),
    ],
)
def test_a_mapping_that_would_write_wrongly_is_refused(old: str, new: str, words: str) -> None:
    """With the place and what is wrong, when it is read."""
    assert old in MAPPING
    text = MAPPING.replace("LIMITS", "max_rows: 10").replace(old, new, 1)
    with pytest.raises(Problem) as caught:
        parse_mapping(text.encode(), "library.yaml")
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in str(caught.value)


def test_a_statement_is_judged_before_the_source_is_asked(tmp_path: Path) -> None:
    """An adapter over a mapping that lets others write an unlisted table does not begin."""
    text = MAPPING.replace("LIMITS", "max_rows: 10").replace("    tbl_loan: [loan_no]\n", "")
    parsed = parse_mapping(text.encode(), "library.yaml")
    environ = dict.fromkeys(("LIBRARY_URL", "LIBRARY_WRITER_URL"), f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(Problem, match="tbl_loan is not writable"):
        Adapter(parsed, Source(parsed.source, environ, tmp_path))


@pytest.mark.parametrize("vendor", ["mssql", "oracle"])
def test_a_database_that_is_only_read_is_told(tmp_path: Path, vendor: str) -> None:
    """No promise about crashes is made where none was tried."""
    parsed = parse_mapping(MAPPING.replace("LIMITS", "max_rows: 10").encode(), "library.yaml")
    environ = {"LIBRARY_URL": "sqlite:///x.db", "LIBRARY_WRITER_URL": f"{vendor}://u:p@host/x"}
    with pytest.raises(Problem, match="is only read"):
        Source(parsed.source, environ, tmp_path)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mariadb", "mysql"])
def test_the_ledger_is_printed_for_each_dialect(dialect: str) -> None:
    """The owner of any of them can run it, and its key is of both columns."""
    import sqlglot

    trees = sqlglot.parse(ddl("saphan_writes", dialect), dialect=DIALECTS[dialect])
    assert len([tree for tree in trees if tree is not None]) == 2
    assert "PRIMARY KEY (client, id)" in ddl("saphan_writes", dialect)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Field(name="a", column="a", kind=Kind.STRING, null_words=frozenset({"-"})), "-"),
        (Field(name="a", column="a", kind=Kind.STRING), 1),
        (Field(name="a", column="a", kind=Kind.STRING), "a\x00"),
        (Field(name="a", column="a", kind=Kind.STRING, separator=","), ["a,b"]),
        (Field(name="a", column="a", kind=Kind.STRING, separator=","), "a"),
        (Field(name="a", column="a", kind=Kind.INTEGER), True),
        (Field(name="a", column="a", kind=Kind.INTEGER), 2**63),
        (Field(name="a", column="a", kind=Kind.DATE, format="%d/%m/%y"), "1950-01-01"),
        (Field(name="a", column="a", kind=Kind.BOOLEAN), "true"),
    ],
)
def test_a_value_that_would_be_read_as_another_is_refused(field: Field, value: Any) -> None:
    """Nothing is stored that the field itself would not give back."""
    with pytest.raises(Mismatch):
        stored(field, value)


def old(encoding: str, **more: Any) -> Field:
    return Field(name="a", column="a", kind=Kind.STRING, decode=Encoding.parse(encoding), **more)


@pytest.mark.parametrize("encoding", ["lswin", "cp1133", "mulelao-1", "utf-8:lswin"])
@pytest.mark.parametrize("kept", [Stored.STRING, Stored.BYTES])
@given(data=st.data())
def test_text_goes_into_an_old_encoding_and_comes_back(
    encoding: str, kept: Stored, data: st.DataObject
) -> None:
    """What is taken is in the old codes and is read back as it was given, marks in their order;
    what the encoding lacks is refused."""
    field = old(encoding, stored=kept)
    signs = sorted(set("".join(Encoding.parse(encoding).table.codes.values())))
    words = st.text(st.sampled_from([*signs, *"aZ 0", "໐", "ຳ"]), max_size=12)
    text = data.draw(words)
    try:
        value = stored(field, text)
    except Mismatch:
        return
    assert isinstance(value, bytes) is (kept is Stored.BYTES)
    plain = (
        value.decode("utf-8" if field.decode.copied else "latin-1")
        if kept is Stored.BYTES
        else value
    )  # type: ignore[union-attr]
    assert not any("\u0e80" <= sign <= "\u0eff" for sign in plain)
    assert ordered(field.converter()(value)) == ordered(text)


@pytest.mark.parametrize("encoding", ["lswin", "cp1133", "mulelao-1"])
def test_usual_text_is_taken(encoding: str) -> None:
    """Names, a sentence with AM and double marks, Latin words beside Lao ones."""
    field = old(encoding)
    for text in ("ສົມພອນ", "ນ້ຳໃຈ", "ກຳນົດ ນ້ຳ", "ບໍລິສັດ ABC ຈຳກັດ", "plain", ""):
        value = stored(field, text)
        assert field.converter()(value) == text


def test_the_letter_that_is_lacking_is_told() -> None:
    """By its place, not by guessing another one."""
    with pytest.raises(Mismatch, match="lswin cannot write: character 4"):
        stored(old("lswin"), "ກຂຄ໐")


def test_a_number_that_is_rounded_is_written_as_it_is_given() -> None:
    """And refused where it has digits that would not be read back."""
    field = Field(name="a", column="a", kind=Kind.DECIMAL, scale=2, rounding=Rounding.HALF_UP)
    assert why_not_written(field) is None
    assert stored(field, Decimal("1.25")) == Decimal("1.25")
    with pytest.raises(Mismatch):
        stored(field, Decimal("1.254"))
