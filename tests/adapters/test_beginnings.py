"""Lists narrowed by how a text begins: exact, whatever signs a caller sends, and along an index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from adapters import check as checks
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from tests.adapters.legacy import Legacy, execute

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOHA/register
title: {en: Register, lo: ທະບຽນ}
source: {kind: sql, url: "${LEGACY_URL}", wide_queries: refuse, large_table_rows: 1000}
records:
  word:
    title: {en: Word, lo: ຄຳ}
    fields: {id: integer, bare: string, loose: string, kind: string}
    visible:
      rules: [{when: {client: LA/GOV/MOHA}, rows: all}]
      otherwise: {loose: {begins_with: "B"}}
queries:
  words: {record: word, sql: "SELECT id, bare, loose, kind FROM tbl_word"}
services:
  words:
    title: {en: Words, lo: ຄຳ}
    endpoints:
      /words:
        operation: list
        query: words
        title: {en: Words, lo: ຄຳ}
        order: [id]
        page_size: 5000
        filters:
          bare: {compare: begins_with}
          loose: {compare: begins_with}
          kind: {compare: begins_with}
"""
BARE = {
    "sqlite": "text",
    "postgresql": 'varchar(60) COLLATE "C"',
    "mariadb": "varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
}
LOOSE = {
    "sqlite": "text COLLATE NOCASE",
    "postgresql": "citext",
    "mariadb": "varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
}
WORDS = (
    *("%", "%%", "_", "a_b", "a%b", "axb", "!", "!%", "!!x", "\\", "\\%", "\\\\", "[a]", "[", "*"),
    *("a*", "?", "^a", "'", "''", "' OR 1=1 --", '"', ";", "B", "b", "Bc", "bC", "BC d", "ä", "äb"),
    *("a\u0308", "a", "ab", "ກ", "ກາ", "ກາ່", "ກ້າ", "ເມືອງ", "ໂພນສີ", "ຫຼວງພະບາງ", "ຫລວງ", "ສີ 1"),
    *("12", "120", "1.5", " x", "x ", "\t", "😀", "😀b", "\u200bz", "\U0010fffd", "Z", "z", "zz"),
    *("-1", ":x", ":saphan_f0_0", "%(x)s", "{}", "${LEGACY_URL}", "null", "\n"),
)
OWNER = "LA/GOV/MOHA/desk"


@pytest.fixture
async def words(own_legacy: Legacy) -> AsyncIterator[Adapter]:
    url, kind = own_legacy.url, own_legacy.kind
    if kind == "postgresql":
        execute(url, "CREATE EXTENSION citext")
    execute(
        url,
        f"CREATE TABLE tbl_word (id integer PRIMARY KEY, bare {BARE[kind]}, loose {LOOSE[kind]},"
        " kind varchar(20))",
    )
    for number, word in enumerate(WORDS, 1):
        execute(url, "INSERT INTO tbl_word VALUES (:n, :v, :w, 'x')", n=number, v=word, w=word)
    made = adapter_of(own_legacy)
    yield made
    await made.close()


def adapter_of(legacy: Legacy, mapping: str = MAPPING) -> Adapter:
    parsed = parse_mapping(mapping.encode(), "m.yaml")
    return Adapter(parsed, Source(parsed.source, {"LEGACY_URL": legacy.url}, Path()))


async def ask(adapter: Adapter, name: str, text: str, client: str = OWNER) -> BackendResponse:
    headers = (("x-road-client", client),)
    request = BackendRequest("GET", "/words", f"{name}={quote(text)}", headers, b"")
    return await adapter.exchange(request, timeout_s=20)


async def found(adapter: Adapter, name: str, text: str, client: str = OWNER) -> list[str]:
    reply = await ask(adapter, name, text, client)
    assert reply.status == 200, reply.body
    return [one["bare"] for one in orjson.loads(reply.body)["items"]]


async def test_a_beginning_finds_what_begins_so_and_nothing_else(words: Adapter) -> None:
    """Each beginning of each hostile text, against what Python says."""
    beginnings = {word[:size] for word in WORDS for size in range(1, len(word) + 1)}
    beginnings |= {"%a", "_b", "a!", "!_", "zzz", "ກາ່່", "no such", "\\x00", "a%%", "a__"}
    for text in sorted(beginnings):
        expected = [word for word in WORDS if word.startswith(text)]
        assert await found(words, "bare", text) == expected, text


async def test_a_column_without_case_is_searched_as_the_database_compares_it(
    words: Adapter,
) -> None:
    """All that begins so is found, and beside it only what the database takes for equal."""
    for text in ("B", "b", "bc", "BC", "z", "ກາ", "ເມ", "a%", "'", "😀"):
        got = set(await found(words, "loose", text))
        assert got >= {word for word in WORDS if word.startswith(text)}
        if text.isascii():
            assert got <= {word for word in WORDS if word.lower().startswith(text.lower())} | (
                {"ä", "äb", "a\u0308"} if text.startswith("a") else set()
            )
    assert set(await found(words, "loose", "bc")) == {"Bc", "bC", "BC d"}


async def test_a_right_to_see_is_sign_by_sign(words: Adapter) -> None:
    """What begins with b is not shown to who may see what begins with B."""
    assert await found(words, "bare", "B", "LA/GOV/MOF/desk") == ["B", "Bc", "BC d"]
    assert await found(words, "loose", "b", "LA/GOV/MOF/desk") == ["B", "Bc", "BC d"]
    assert await found(words, "bare", "a", "LA/GOV/MOF/desk") == []


async def test_no_beginning_is_the_callers_fault(words: Adapter) -> None:
    """Everything begins with nothing; a text that no column can hold is told, too."""
    for text in ("", "\x00"):
        reply = await ask(words, "bare", text)
        if reply.status == 200:  # SQLite and MariaDB can hold it
            assert text
            assert orjson.loads(reply.body)["items"] == []
        else:
            assert reply.status == 400
            assert orjson.loads(reply.body)["where"] == "query.bare"


async def test_a_column_of_latin1_is_searched_by_lao(own_legacy: Legacy) -> None:
    """MariaDB refuses to compare the two; nothing in the column begins so."""
    if own_legacy.kind != "mariadb":
        pytest.skip("a column has no character set of its own")
    execute(own_legacy.url, "CREATE TABLE tbl_word (id integer PRIMARY KEY, bare varchar(9), loose"
            " varchar(9), kind varchar(9) CHARACTER SET latin1)")  # fmt: skip
    execute(own_legacy.url, "INSERT INTO tbl_word VALUES (1, 'ä', 'B', 'äb'), (2, 'y', 'B', '%')")
    made = adapter_of(own_legacy)
    assert await found(made, "kind", "ກ") == []
    assert await found(made, "kind", "ä") == ["ä"]
    assert await found(made, "kind", "%") == ["y"]
    await made.close()


INDEX = {
    "sqlite": "CREATE INDEX word_kind ON tbl_word (kind)",
    "postgresql": "CREATE INDEX word_kind ON tbl_word (kind text_pattern_ops)",
    "mariadb": "CREATE INDEX word_kind ON tbl_word (kind)",
}


async def test_a_beginning_is_found_along_an_index_or_refused(own_legacy: Legacy) -> None:
    """By the database's own plan: a large table is not read whole for it."""
    url, kind = own_legacy.url, own_legacy.kind
    execute(url, f"CREATE TABLE tbl_word (id integer PRIMARY KEY, bare {BARE[kind]}, loose"
            " varchar(20), kind varchar(20))")  # fmt: skip
    numbers = {
        "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)"
        " INSERT INTO tbl_word SELECT n, 'B', 'B', 'k' || n FROM s",
        "postgresql": "INSERT INTO tbl_word SELECT n, 'B', 'B', 'k' || n"
        " FROM generate_series(1, 20000) n",
        "mariadb": "INSERT INTO tbl_word SELECT seq, 'B', 'B', CONCAT('k', seq)"
        " FROM seq_1_to_20000",
    }
    execute(url, numbers[kind])
    execute(url, "ANALYZE TABLE tbl_word" if kind == "mariadb" else "ANALYZE tbl_word")
    mapping = MAPPING.replace("large_table_rows: 1000", "large_table_rows: 5000")
    first = adapter_of(own_legacy, mapping)
    refused = await ask(first, "kind", "k1234")
    assert (refused.status, Code.QUERY_TOO_WIDE in refused.body.decode()) == (422, True)
    await first.close()
    execute(url, INDEX[kind])
    execute(url, "ANALYZE TABLE tbl_word" if kind == "mariadb" else "ANALYZE tbl_word")
    second = adapter_of(own_legacy, mapping)
    reply = await ask(second, "kind", "k1234")
    assert reply.status == 200, reply.body
    assert [one["id"] for one in orjson.loads(reply.body)["items"]] == [1234, *range(12340, 12350)]
    await second.close()


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("integer", "is no text"),
        ("{type: date}", "is no text"),
        ("{type: string, decode: lswin}", "only equals"),
        ("{type: string, normalise: lao}", "normalise"),
    ],
)
def test_what_has_no_beginning_is_refused(field: str, words: str) -> None:
    """When the mapping is read."""
    text = MAPPING.replace("kind: string}", f"kind: {field}}}")
    with pytest.raises(Problem) as caught:
        parse_mapping(text.encode(), "m.yaml")
    assert words in caught.value.detail


async def test_a_check_tries_it(own_legacy: Legacy) -> None:
    """A column that is no text is told before a caller comes."""
    execute(
        own_legacy.url,
        "CREATE TABLE tbl_word (id integer PRIMARY KEY, bare varchar(9), loose varchar(9),"
        " kind varchar(9))",
    )
    mapping = parse_mapping(MAPPING.encode(), "m.yaml")
    source = Source(mapping.source, {"LEGACY_URL": own_legacy.url}, Path()).lease()
    found = await checks.against_source(mapping, source, {})
    await source.close()
    assert not [one for one in found if not one.warning], found
