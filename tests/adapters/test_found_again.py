"""What an answer says finds its row again: as a filter, as a key, and page by page.

A table for each pair of a field and a type of column that goes with it, on every database, with the
values at the edges of the type; hypothesis makes more of those that are answered as another value.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine

from adapters.answers.comparisons import six_digits, span, spellings
from adapters.check import against_source
from adapters.fields import Field, Kind, Mismatch, Near
from adapters.fields.written import write_json
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.problems import Code, Problem
from tests.adapters.legacy import Legacy, get, walk


@dataclass(frozen=True)
class Case:
    """A field over columns of a type, and SQL for values of them."""

    name: str
    field: str
    types: Mapping[str, str]
    values: tuple[str, ...]


def case(name: str, field: str, values: str, **types: str) -> Case:
    """One; the types of s(qlite), p(ostgresql) and m(ariadb)."""
    kinds = {"s": "sqlite", "p": "postgresql", "m": "mariadb"}
    by_kind = {kinds[one]: type_ for one, type_ in types.items()}
    return Case(name, field, by_kind, tuple(values.split("|")))


def like(name: str, field: str, values: str, type_: str) -> Case:
    return case(name, field, values, s=type_, p=type_, m=type_)


INTEGERS = "0|1|-1|2147483647|-2147483648"
BIG = f"{INTEGERS}|9223372036854775807|9007199254740993|9007199254740992"
FRACTIONS = "0.1|0.3|-0.7|2.50|3|0|1234567.89|-0.01|10"
SUMS = f"{FRACTIONS}|1.1e0+2.2e0|0.7e0+0.1e0"
TEXTS = "'a'|'A'|'a '|'ä'|'b'|'B c'|'ກາ'|'ກາ່'|'b'''|'a-b'|'ab'"
CODES = "{type: enumeration, table: {a: one, A: two, b: three}}"
TRIMMED = "{type: enumeration, trim: true, table: {a: one, A: two, b: three}}"
ZONE = "{type: datetime, zone: Asia/Vientiane}"
SCALED = "{type: decimal, scale: 2}"
DAYS = "'2025-01-31'|'1899-12-31'"
MIDNIGHTS = "'2025-01-31 00:00:00'|'1899-12-31 00:00:00'"
TIMES = (
    "'2025-01-31 08:00:00'|'2025-01-31 08:00:00.123456'|'2025-01-31 08:00:00.5'"
    "|'2025-01-31 08:00:00.12'|'1899-12-31 00:00:00'"
)
HOURS = "'08:00:00'|'-08:00:00'|'838:59:59'|'-34:00:00.5'|'24:00:00'|'00:00:00'|'00:00:00.000001'"
ISO = (
    "'2025-01-31T08:00:00'|'2025-01-31T08:00:01.000Z'|'2025-01-31T08:00:02.123456'"
    "|'2025-01-31 08:00:03+07:00'|'2025-01-31 08:01'|'2025-01-31 08:02:00.500000'"
)
UTF8 = "varchar(40) CHARACTER SET utf8mb4"
CASES = (
    like("int", "integer", INTEGERS, "integer"),
    like("bigint", "integer", BIG, "bigint"),
    case("unsigned", "integer", "1|4294967295|9223372036854775807", m="bigint unsigned"),
    case("int_text", "integer", "'1'|'-3'|'9007199254740993'", s="text", p="text", m=UTF8),
    like("int_numeric", "integer", "1.00|20", "numeric(20,2)"),
    case("int_float", "integer", "1|20|16777216", s="real", p="real", m="double"),
    like("decimal", "decimal", FRACTIONS, "numeric(18,2)"),
    like("decimal_scale", SCALED, f"{FRACTIONS}|1234567890123.45", "numeric(18,2)"),
    like("decimal_int", SCALED, "1|0|-7", "integer"),
    like("decimal_factor", "{type: decimal, factor: 0.001}", "1|1500|-7", "integer"),
    case("double", "decimal", f"{FRACTIONS}|1e-10|1e20|1.0/3", s="real", p="float8", m="double"),
    case("double_sum", SCALED, SUMS, s="real", p="float8", m="double"),
    case("single", "decimal", f"{FRACTIONS}|1e20|1.0/3|99999.95", s="real", p="real", m="float"),
    case("single_scale", SCALED, "0.1|0.3|-0.7|2.50|3|0|10", s="real", p="real", m="float"),
    case("decimal_text", "decimal", "'1.50'|'2'|'-0.10'|'10.0'", s="text", m=UTF8),
    case("text", "string", TEXTS, s="text", p="text", m=f"{UTF8} COLLATE utf8mb4_nopad_bin"),
    case("no_case", "string", TEXTS, s="text COLLATE NOCASE", p="citext", m=UTF8),
    case("loose", "string", TEXTS, s="text COLLATE RTRIM", p="text COLLATE loose", m="text"),
    case("shifted", "string", TEXTS, p="text COLLATE shifted", m="text CHARACTER SET utf8mb4"),
    case("latin", "string", "'a'|'A'|'ä'", m="varchar(20) CHARACTER SET latin1"),
    case("char", "string", "'a'|'A'|'b c'|'ກາ'", p="char(5)", m="char(5) CHARACTER SET utf8mb4"),
    case("bytes", "string", "'a'|'A'|'b c'", s="blob", m="varbinary(20)"),
    like("int_string", "string", "1|20", "integer"),
    case("unsigned_string", "string", "0|18446744073709551615", m="bigint unsigned"),
    case("date_string", "string", DAYS, s="text", p="date", m="date"),
    case("decimal_string", "string", f"{FRACTIONS}|123456789012345678.01", m="decimal(20,2)"),
    case("small_string", "string", "0.00000001|0|-0.10000001|12", m="decimal(20,8)"),
    case("moment_string", "string", f"{MIDNIGHTS}|'2025-01-31 08:00:01'", m="datetime"),
    case("moment_string_6", "string", TIMES, m="datetime(6)"),
    case(
        "stamp_string", "string", "'2025-01-31 08:00:00.5'|'2025-01-31 08:00:00'", m="timestamp(2)"
    ),
    case("clock_string", "string", HOURS, m="time(6)"),
    case("year_string", "string", "2026|1901", m="year"),
    case("uuid", "string", "'00000000-0000-0000-0000-00000000000a'", p="uuid", m="uuid"),
    case("inet", "string", "'10.0.0.1'|'10.0.0.0/8'|'::1'", p="inet"),
    case("own", "string", "'m'|'f'", p="sex"),
    case("time", "string", "'08:00:00'|'23:59:59'|'08:00:00.5'", s="text", p="time", m="time(6)"),
    case("timetz", "string", "'08:00:00+07'|'23:59:59+00'", p="timetz"),
    case("boolean", "boolean", "true|false", s="boolean", p="boolean", m="boolean"),
    like("boolean_int", "boolean", "1|0", "integer"),
    case("boolean_text", "boolean", "'1'|'0'", s="text", p="text", m="char(1)"),
    case("code", CODES, "'a'|'A'|'b'", s="text", p="text", m="varchar(9)"),
    case("code_loose", CODES, "'a'|'A'|'b'", s="text COLLATE NOCASE", p="text COLLATE loose"),
    case("code_trim", TRIMMED, "'a'|'A'|'b'", s="char(3)", p="char(3)", m="char(3)"),
    like("code_int", "{type: enumeration, stored: integer, table: {1: one}}", "1", "integer"),
    case("code_text", "{type: enumeration, stored: integer, table: {1: o}}", "'1'", p="text"),
    case("date", "date", DAYS, s="text", p="date", m="date"),
    case("date_time", "date", MIDNIGHTS, s="text", p="timestamp", m="datetime"),
    case("date_text", "date", DAYS, s="text", p="text", m=UTF8),
    case("moment", ZONE, TIMES, s="text", p="timestamp", m="datetime(6)"),
    case("moment_text", ZONE, ISO, s="text", p="text", m=UTF8),
    case("moment_zone", ZONE, TIMES, p="timestamptz", m="datetime(6)"),
)
# Texts whose equality the database decides: a filter may find more than was asked, a key may not.
LOOSE = {"no_case", "loose", "shifted", "latin", "char", "text"}
UNORDERED = {"mariadb": {"single", "single_scale"}}
TITLE = "title: {en: All, lo: ທັງໝົດ}"


def mapping_of(cases: list[Case]) -> bytes:
    """A record, a query, a list and a get for each case."""
    records, queries, endpoints = "", "", ""
    for one in cases:
        of = one.name
        records += f"  {of}: {{{TITLE}, fields: {{id: integer, v: {one.field}}}}}\n"
        queries += f"  {of}: {{sql: 'SELECT id, v FROM t_{of}', record: {of}}}\n"  # noqa: S608
        rest = f"query: {of}, {TITLE}"
        endpoints += (
            f"      /{of}: {{operation: list, {rest}, order: [id], filters: [v],"
            " sorts: {v: [v], w: [v desc nulls first]}}\n"
            f"      /{of}/one/{{v}}: {{operation: one, {rest}}}\n"
        )
    return (
        "saphan_mapping: 1\napplication: LA/GOV/MOHA/register\n"
        f'{TITLE}\nsource: {{kind: sql, url: "${{LEGACY_URL}}"}}\n'
        f"records:\n{records}queries:\n{queries}services:\n  all:\n    {TITLE}\n"
        f"    endpoints:\n{endpoints}"
    ).encode()


def fill(url: str, kind: str, cases: list[Case]) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        if kind == "postgresql":
            _make_types(connection)
        for one in cases:
            connection.exec_driver_sql(
                f"CREATE TABLE t_{one.name} (id integer PRIMARY KEY, v {one.types[kind]})"
            )
            values = (*one.values, "NULL")
            rows = ", ".join(f"({number}, {value})" for number, value in enumerate(values))
            connection.exec_driver_sql(f"INSERT INTO t_{one.name} VALUES {rows}")  # noqa: S608
    engine.dispose()


def _make_types(connection: Connection) -> None:
    level = "provider = icu, deterministic = false, locale = 'und-u-"
    connection.exec_driver_sql("CREATE EXTENSION citext")
    connection.exec_driver_sql(f"CREATE COLLATION loose ({level}ks-level1')")
    connection.exec_driver_sql(f"CREATE COLLATION shifted ({level}ka-shifted-ks-level1')")
    connection.exec_driver_sql("CREATE TYPE sex AS ENUM ('m', 'f')")


async def rows_of(adapter: Adapter, target: str) -> list[dict[str, Any]]:
    """The items of a list, numbers as they are written."""
    response = await get(adapter, target)
    assert response.status == 200, (target, response.body)
    found: list[dict[str, Any]] = json.loads(response.body, parse_float=str, parse_int=str)["items"]
    return found


async def test_what_an_answer_says_finds_its_row(own_legacy: Legacy) -> None:
    """By a filter, with all others that are answered alike and none that is not; by a key; and
    every order gives every row once."""
    kind, url = own_legacy.kind, own_legacy.url
    cases = [one for one in CASES if kind in one.types]
    fill(url, kind, cases)
    mapping = parse_mapping(mapping_of(cases), "found.yaml")
    adapter = Adapter(mapping, Source(mapping.source, {"LEGACY_URL": url}, Path()))
    wrong: list[str] = []
    for one in cases:
        rows = await rows_of(adapter, f"/{one.name}")
        wrong += [f"{kind} {one.name} {fault}" async for fault in unfound(adapter, one, rows)]
        for sort in () if one.name in UNORDERED.get(kind, ()) else ("v", "-v", "w", "-w"):
            pages = await walk(adapter, f"/{one.name}?sort={sort}&page_size=2")
            seen = sorted(str(item["id"]) for page in pages for item in page)
            if seen != sorted(row["id"] for row in rows):
                wrong.append(f"{kind} {one.name} sort={sort}: {seen}")
    await adapter.close()
    assert not wrong, "\n".join(wrong)


NO_PAGES = (
    case("ordinals", "string", "'m'|'f'", m="enum('m', 'f')"),
    case("bits", "boolean", "b'0'|b'1'", m="bit(1)"),
    case("interval", "string", "'1 day'|'1 month'", p="interval"),
)


async def test_an_order_after_whose_values_no_page_can_begin_is_refused(own_legacy: Legacy) -> None:
    """What the driver tells of them compares as another value: no row is left out in silence."""
    kind, url = own_legacy.kind, own_legacy.url
    cases = [one for one in NO_PAGES if kind in one.types]
    fill(url, kind, cases)
    for one in cases:
        mapping = parse_mapping(mapping_of([one]), "found.yaml")
        source = Source(mapping.source, {"LEGACY_URL": url}, Path())
        adapter = Adapter(mapping, source)
        assert len(await rows_of(adapter, f"/{one.name}?sort=v")) == 3
        with pytest.raises(Problem) as caught:
            await walk(adapter, f"/{one.name}?sort=v&page_size=2")
        assert caught.value.code is Code.SOURCE_FAILED
        findings = await against_source(mapping, source, {})
        assert any("the order is by" in one.rule and not one.warning for one in findings)
        await adapter.close()


async def unfound(adapter: Adapter, one: Case, rows: list[dict[str, Any]]) -> AsyncIterator[str]:
    """What is wrong with filters and keys by each value that ``rows`` have."""
    answered = {json.dumps(row["v"]): row["v"] for row in rows if "v" in row}
    for written, value in answered.items():
        asked = written if isinstance(value, bool) else str(value)
        alike = {row["id"] for row in rows if row.get("v") == value}
        query = urlencode({"v": asked})
        found = {row["id"] for row in await rows_of(adapter, f"/{one.name}?{query}")}
        if not alike <= found or (one.name not in LOOSE and found != alike):
            yield f"v={asked}: {found} for {alike}"
        response = await get(adapter, f"/{one.name}/one/{quote(asked, safe='')}")
        by_key = orjson.loads(response.body)
        if len(alike) == 1 and {str(by_key.get("id"))} != alike:
            yield f"key {asked}: {response.status} {by_key}"


ANSWERED = {
    scale: Field(name="v", column="v", kind=Kind.DECIMAL, scale=scale) for scale in (0, 2, 6)
}


@given(st.floats(-1e12, 1e12), st.integers(-2_000, 2_000), st.sampled_from((0, 2, 6)))
def test_a_decimal_finds_the_doubles_that_are_answered_as_it(
    value: float, steps: int, scale: int
) -> None:
    """Sums of doubles are off by some steps of the last place: those that are answered as a decimal
    lie in its span, and what lies there is answered as no other."""
    near = round(value, scale)
    value = near + steps * math.ulp(near)
    convert = ANSWERED[scale].converter()
    low, high = span(Near(Decimal(f"{near:.{scale}f}"), scale))
    try:
        text = write_json(convert(value)).decode()
    except Mismatch:
        return
    assert low <= value <= high or Decimal(text) != Decimal(f"{near:.{scale}f}")


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_six_digits_find_the_floats_of_which_they_are_told(value: float) -> None:
    """MariaDB writes a FLOAT with six digits; between which floats they stand."""
    assume(value == 0 or abs(value) > 1e-30)
    told = Decimal(f"{value:.6g}")
    low, high = six_digits(told)
    assert low <= Decimal(value) <= high


@given(st.datetimes(datetime(1930, 1, 2), datetime(2100, 1, 1)), st.sampled_from((0, 500, 1)))
def test_a_moment_finds_the_texts_that_are_read_as_it(moment: datetime, unit: int) -> None:
    """Each spelling is read back as the moment, and Python's and JavaScript's are among them."""
    moment = moment.replace(microsecond=moment.microsecond * unit % 1_000_000 // 1_000 * 1_000)
    zone = ZoneInfo("Asia/Vientiane")
    aware = moment.replace(tzinfo=zone)
    field = Field(name="v", column="v", kind=Kind.DATETIME, zone=zone)
    texts = spellings(aware)
    in_utc = aware.astimezone(UTC).replace(tzinfo=None)
    script = f"{in_utc.isoformat(timespec='milliseconds')}Z"
    assert {str(moment), moment.isoformat(), aware.isoformat(), script} <= set(texts)
    assert len(texts) <= 32
    convert = field.converter()
    assert {convert(text) for text in texts} == {convert(moment)}
