"""Databases as they are found: a scan of each answers, or says what it left out.

One table of oddities for each database; each is scanned, checked row by row and asked once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine

from adapters.mapping.file import load_mapping
from adapters.service import Adapter
from adapters.sources.addresses import parse_url
from adapters.sources.source import Source
from console.cli.main import main
from serving.backends import BackendResponse
from tests.adapters.conftest import EACH_KIND
from tests.adapters.legacy import KINDS, get


@dataclass(frozen=True)
class Odd:
    """Statements that make a table; its path, what is answered, and doubts (place, code)."""

    made: tuple[str, ...]
    path: str = ""
    items: tuple[dict[str, Any], ...] = ()
    doubts: tuple[tuple[str, str], ...] = ()


WIDE = ", ".join(f"c{number} INTEGER" for number in range(1_000))
EVERYWHERE = (
    Odd(
        (
            "CREATE TABLE no_key (a INTEGER, b VARCHAR(9))",
            "INSERT INTO no_key VALUES (1,'x'),(1,'x')",
        ),
        "/no_key",
        ({"a": 1, "b": "x"}, {"a": 1, "b": "x"}),
        (("no_key", "no-key"),),
    ),
    Odd(
        ("CREATE VIEW only_view AS SELECT a + 1 AS z FROM no_key",),
        "/only_view",
        ({"z": 2}, {"z": 2}),
        (("only_view", "no-key"),),
    ),
    Odd(
        ("CREATE TABLE empty_one (id INTEGER PRIMARY KEY, d DATE)",),
        "/empty_one",
        (),
        (("empty_one.d", "no-values"),),
    ),
    Odd(
        (
            "CREATE TABLE nulls (id INTEGER PRIMARY KEY, b VARCHAR(9), n DECIMAL(9,2))",
            "INSERT INTO nulls VALUES (1, NULL, NULL)",
        ),
        "/nulls",
        ({"id": 1},),
        (("nulls.n", "no-values"),),
    ),
    Odd(
        (
            'CREATE TABLE "order" (id INTEGER PRIMARY KEY, "select" INTEGER, "cursor" INTEGER)',
            'INSERT INTO "order" VALUES (1, 2, 3)',
        ),
        "/order_",
        ({"id": 1, "select_": 2, "cursor_": 3},),
    ),
    Odd(
        (
            'CREATE TABLE "ຕາຕະລາງ" ("ລະຫັດ" INTEGER PRIMARY KEY, "ຊື່ ຫຼິ້ນ" VARCHAR(20))',
            "INSERT INTO \"ຕາຕະລາງ\" VALUES (1, 'ນ້ອຍ')",
        ),
        "/table_*",
        ({"column_1": 1, "column_2": "ນ້ອຍ"},),
    ),
    Odd(
        (
            'CREATE TABLE "a:b ""c"" %d" ("x""y" INTEGER PRIMARY KEY, "it\'s" INTEGER,'
            ' "a:b" INTEGER, "a;b" INTEGER, "a--b" INTEGER, "p%q" INTEGER, "x.y" INTEGER)',
            'INSERT INTO "a:b ""c"" %d" VALUES (1, 2, 3, 4, 5, 6, 7)',
        ),
        "/a_b_c_d",
        ({"x_y": 1, "it_s": 2, "a_b": 3, "a_b_2": 4, "a_b_3": 5, "p_q": 6, "x_y_2": 7},),
    ),
)
BROKEN = Odd(
    (
        "CREATE TABLE gone (a INTEGER)",
        "CREATE VIEW broken AS SELECT a FROM gone",
        "DROP TABLE gone",
    ),
    doubts=(("broken", "not-readable"),),
)
OF = {
    "sqlite": (
        BROKEN,
        Odd(
            (
                f"CREATE TABLE wide_one (id INTEGER PRIMARY KEY, {WIDE})",
                "INSERT INTO wide_one (id, c7) VALUES (1, 2)",
            ),
            "/wide_one",
            ({"id": 1, "c7": 2},),
        ),
        Odd(
            (
                "CREATE TABLE untyped (a, b, c)",
                "INSERT INTO untyped VALUES (1,'x',x'00ff'),('two',2.5,NULL),(3.5,NULL,'t')",
            ),
            "/untyped",
            ({"a": "1", "b": "x"}, {"a": "two", "b": "2.5"}, {"a": "3.5"}),
            (("untyped.a", "given-as-text"), ("untyped.c", "left-out")),
        ),
        Odd(
            (
                "CREATE TABLE mixed (id INTEGER PRIMARY KEY, n INTEGER, d DATE, r REAL)",
                "INSERT INTO mixed VALUES (1,1,'2020-01-01',1.5),(2,'two','soon',9e999)",
            ),
            "/mixed",
            (
                {"id": 1, "n": "1", "d": "2020-01-01", "r": "1.5"},
                {"id": 2, "n": "two", "d": "soon", "r": "Inf"},
            ),
            (("mixed.n", "given-as-text"), ("mixed.r", "given-as-text")),
        ),
        Odd(
            (
                "CREATE TABLE made (id INTEGER PRIMARY KEY, a INTEGER,"
                " b INTEGER GENERATED ALWAYS AS (a * 2) VIRTUAL, c INTEGER AS (a + 1) STORED)",
                "INSERT INTO made (id, a) VALUES (1, 2)",
            ),
            "/made",
            ({"id": 1, "a": 2, "b": 4, "c": 3},),
        ),
        Odd(
            (
                "CREATE TABLE odd_types (id INTEGER PRIMARY KEY, j JSON, g GEOMETRY, b BLOB)",
                "INSERT INTO odd_types VALUES (1, '{\"a\":1}', x'0101', x'80')",
            ),
            "/odd_types",
            ({"id": 1, "j": '{"a":1}'},),
            (("odd_types.g", "left-out"), ("odd_types.b", "left-out")),
        ),
    ),
    "postgresql": (
        Odd(
            (
                "CREATE EXTENSION IF NOT EXISTS citext",
                "CREATE TYPE mood AS ENUM ('sad', 'ok')",
                "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
                "CREATE TYPE pair AS (a int, b text)",
                "CREATE TABLE odd_types (id serial PRIMARY KEY, m mood, p positive, c citext,"
                " i interval, r int4range, mo money, jb jsonb, arr text[], b bytea, bi bit(3),"
                " ip inet, pt point, pr pair, t time, n numeric)",
                "INSERT INTO odd_types (m, p, c, i, r, mo, jb, arr, b, bi, ip, pt, pr, t, n) VALUES"
                " ('sad', 1, 'Ab', '1 mon 2 hours', '[1,3)', '1.50', '{\"b\":[1]}', '{a,NULL}',"
                " '\\x00ff', B'101', '10.0.0.1', '(1,2)', ROW(1,'x'), '10:00', 1.10)",
            ),
            "/odd_types",
            (
                {
                    "id": 1,
                    "m": "sad",
                    "p": 1,
                    "c": "Ab",
                    "i": "1 mon 02:00:00",
                    "r": "[1,3)",
                    "mo": "$1.50",
                    "jb": '{"b": [1]}',
                    "arr": "{a,NULL}",
                    "bi": "101",
                    "ip": "10.0.0.1",
                    "pt": "(1,2)",
                    "pr": "(1,x)",
                    "t": "10:00:00",
                    "n": 1.1,
                },
            ),
            (
                ("odd_types.i", "given-as-text"),
                ("odd_types.jb", "given-as-text"),
                ("odd_types.arr", "given-as-text"),
                ("odd_types.b", "left-out"),
            ),
        ),
        Odd(
            (
                "CREATE TABLE endless (id int PRIMARY KEY, d date, tz timestamptz, f float8)",
                "INSERT INTO endless VALUES (1, 'infinity', '-infinity', 'NaN'),"
                " (2, '0044-03-15 BC', NULL, 1)",
            ),
            "/endless",
            (
                {"id": 1, "d": "infinity", "tz": "-infinity", "f": "NaN"},
                {"id": 2, "d": "0044-03-15 BC", "f": "1"},
            ),
            (("endless.d", "given-as-text"), ("endless.f", "given-as-text")),
        ),
        Odd(
            (
                'CREATE TABLE by_case (id int PRIMARY KEY, aa int, "AA" int)',
                'CREATE TABLE "By_Case" (id int PRIMARY KEY)',
                "INSERT INTO by_case VALUES (1, 2, 3)",
            ),
            "/by_case_2",
            ({"id": 1, "aa": 2, "aa_2": 3},),
        ),
        Odd(
            (
                "CREATE TABLE enum_key (a mood PRIMARY KEY, b int)",
                "INSERT INTO enum_key VALUES ('sad', 1), ('ok', 2)",
            ),
            "/enum_key",
            ({"a": "ok", "b": 2}, {"a": "sad", "b": 1}),
        ),
        Odd(
            (
                "CREATE TABLE uuid_key (a uuid PRIMARY KEY, t time)",
                "INSERT INTO uuid_key VALUES ('12345678-1234-5678-1234-567812345678', '10:00')",
            ),
            "/uuid_key",
            ({"a": "12345678-1234-5678-1234-567812345678", "t": "10:00:00"},),
        ),
        Odd(
            (
                "CREATE TABLE divided (a int)",
                "INSERT INTO divided VALUES (0)",
                "CREATE VIEW failing AS SELECT 1 / a AS z FROM divided",
                "CREATE TABLE without ()",
            ),
            doubts=(("failing", "not-readable"),),
        ),
    ),
    "mariadb": (
        BROKEN,
        Odd(
            (
                "CREATE TABLE odd_types (id BIGINT UNSIGNED PRIMARY KEY, b1 BIT(1), b8 BIT(8),"
                " y YEAR, s SET('a','b'), e ENUM('x','y'), ti TIME, j JSON, g GEOMETRY, bl BLOB,"
                " zf INT(5) ZEROFILL, u UUID)",
                "INSERT INTO odd_types VALUES (18446744073709551615, b'1', b'10000001', 2020,"
                " 'a,b', 'x', '-838:59:59', '{\"a\":1}', ST_GeomFromText('POINT(1 2)'), x'00ff',"
                " 42, '12345678-1234-5678-1234-567812345678')",
            ),
            "/odd_types",
            (
                {
                    "id": 18446744073709551615,
                    "b1": 1,
                    "b8": 129,
                    "y": 2020,
                    "s": "a,b",
                    "e": "x",
                    "ti": "-838:59:59",
                    "j": '{"a":1}',
                    "zf": 42,
                    "u": "12345678-1234-5678-1234-567812345678",
                },
            ),
            (
                ("odd_types.ti", "given-as-text"),
                ("odd_types.g", "left-out"),
                ("odd_types.bl", "left-out"),
            ),
        ),
        Odd(
            (
                "CREATE TABLE zero (id INT PRIMARY KEY, d DATE, dt DATETIME, ts TIMESTAMP NULL)",
                "INSERT INTO zero VALUES"
                " (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'),"
                " (2, '2020-01-02', '2020-00-00 00:00:00', '2020-01-01 01:00:00')",
            ),
            "/zero",
            (
                {"id": 1, "dt": "0000-00-00 00:00:00"},
                {
                    "id": 2,
                    "d": "2020-01-02",
                    "dt": "2020-00-00 00:00:00",
                    "ts": "2020-01-01T01:00:00+07:00",
                },
            ),
            (("zero.d", "null-words"), ("zero.ts", "null-words")),
        ),
        Odd(
            (
                "CREATE TABLE made (id INT PRIMARY KEY, a INT, b INT AS (a * 2) VIRTUAL,"
                " unseen INT INVISIBLE DEFAULT 5)",
                "INSERT INTO made (id, a) VALUES (1, 2)",
            ),
            "/made",
            ({"id": 1, "a": 2, "b": 4, "unseen": 5},),
        ),
        Odd(
            (
                "CREATE TABLE php (id INT PRIMARY KEY, t VARCHAR(200)) CHARACTER SET latin1",
                "INSERT INTO php VALUES"
                " (1, CONVERT(CAST('ນະຄອນຫຼວງວຽງຈັນ' AS BINARY) USING latin1)), (2, 'x')",
            ),
            "/php",
            ({"id": 1, "t": "ນະຄອນຫຼວງວຽງຈັນ"}, {"id": 2, "t": "x"}),
            (("php.t", "encoding"),),
        ),
        Odd(
            (
                "CREATE TABLE enum_key (a ENUM('z','y') PRIMARY KEY, b INT)",
                "INSERT INTO enum_key VALUES ('z', 1), ('y', 2)",
                "CREATE TABLE bit_key (a BIT(8) PRIMARY KEY)",
                "INSERT INTO bit_key VALUES (5)",
            ),
            "/enum_key",
            ({"a": "y", "b": 2}, {"a": "z", "b": 1}),
        ),
    ),
}
EVERY = [
    pytest.param(kind, odd, marks=marked.marks, id=f"{kind}-{odd.path or odd.doubts[0][0]}")
    for kind, marked in zip(KINDS, EACH_KIND, strict=True)
    for odd in (*EVERYWHERE, *OF[kind])
]


def saphan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["adapter", *map(str, arguments)])


@dataclass(frozen=True)
class Scanned:
    """What became of a database: doubts, what commands printed, and answers by their paths."""

    doubts: set[tuple[str, str]]
    checked: Result
    drifted: Result
    answers: dict[str, BackendResponse]


@pytest.fixture(scope="module")
def scans() -> dict[str, Scanned]:
    """Scans by the kind of database."""
    return {}


@pytest.fixture
async def scanned(
    kind: str,
    scans: dict[str, Scanned],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scanned:
    """The scan of all oddities of a kind, in one database: none may keep another back."""
    if kind not in scans:
        folder = tmp_path_factory.mktemp(kind)
        url = f"sqlite:///{folder}/odd.db"
        if kind != "sqlite":
            url = request.getfixturevalue(f"{kind}_server").new_database("odd_ones")
        fill(url, [statement for odd in (*EVERYWHERE, *OF[kind]) for statement in odd.made])
        scans[kind] = await scan(url, folder)
    return scans[kind]


def fill(url: str, statements: Sequence[str]) -> None:
    engine = create_engine(parse_url(url, "url"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if engine.dialect.name == "mariadb":  # names in quotes; dates that are none
            connection.exec_driver_sql("SET SESSION sql_mode = 'ANSI_QUOTES'")
        for statement in statements:
            text = statement if engine.dialect.name == "sqlite" else statement.replace("%", "%%")
            connection.exec_driver_sql(text)
    engine.dispose()


async def scan(url: str, folder: Path) -> Scanned:
    done = await asyncio.to_thread(saphan, "scan", url, "-o", folder / "odd", "--json")
    assert done.exit_code == 0, done.output
    doubts = {(one["place"], one["code"]) for one in orjson.loads(done.stdout)["unsure"]}
    file = folder / "odd" / "mapping.yaml"
    checked = await asyncio.to_thread(saphan, "check", file, "--rows")
    drifted = await asyncio.to_thread(saphan, "drift", file)
    mapping = load_mapping(file)
    (service,) = mapping.services.values()
    adapter = Adapter(mapping, Source(mapping.source, {}, file.parent))
    try:
        lists = [one.path for one in service.endpoints if not one.variables]
        answers = {path: await get(adapter, path) for path in lists}
    finally:
        await adapter.close()
    return Scanned(doubts, checked, drifted, answers)


@pytest.mark.parametrize(("kind", "odd"), EVERY)
def test_it_answers_or_says_what_it_left_out(odd: Odd, scanned: Scanned) -> None:
    """scan, check and serve: what can be answered is, exactly; the rest was announced."""
    assert set(odd.doubts) <= scanned.doubts
    assert scanned.checked.exit_code == 0, scanned.checked.output
    assert scanned.drifted.exit_code == 0, scanned.drifted.output
    # A table with a Lao name is called by its number.
    for path in [one for one in scanned.answers if fnmatch(one, odd.path)]:
        assert scanned.answers[path].status == 200
        assert orjson.loads(scanned.answers[path].body)["items"] == list(odd.items)
    assert not odd.path or any(fnmatch(one, odd.path) for one in scanned.answers)


@pytest.mark.parametrize(("kind", "marked"), [
    pytest.param(kind, kind, marks=one.marks) for kind, one in zip(KINDS, EACH_KIND, strict=True)
])  # fmt: skip
def test_a_database_without_tables_is_said_to_be_so(
    kind: str, marked: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Nothing to show is a clear problem, not an empty mapping."""
    url = f"sqlite:///{tmp_path}/none.db"
    if kind == "sqlite":
        sqlite3.connect(tmp_path / "none.db").execute("PRAGMA user_version = 1").connection.close()
    else:
        url = request.getfixturevalue(f"{kind}_url")
    done = saphan("scan", url)
    assert done.exit_code == 1
    assert "there is no table to show in it" in done.output
