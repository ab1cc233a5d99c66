"""Filters on text in old encodings: every spelling of the asked text, and nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, create_engine, insert
from sqlalchemy.dialects.mysql import VARBINARY

from adapters.check_text import unfound
from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from adapters.text.convert import Encoding, characters_of
from adapters.text.spellings import MOST, TooMany, as_bytes, as_characters
from adapters.text.tables import TABLES
from exchange.lao import MARKS
from exchange.problems import Problem
from tests.adapters.legacy import Legacy, get, items
from tests.services.server import DatabaseServer

LSWIN = Encoding.parse("lswin")
TWICE = re.compile(f"[{MARKS}\u0eb3]{{2,}}")


def doubled(table: str, data: bytes) -> bool:
    """Whether a mark stands twice at one letter: the one thing that has spellings without end."""
    text = "".join(TABLES[table].codes.get(code, chr(code)) for code in data)
    text = text.replace("\u0eb3", "\u0ecdາ")
    return any(len(set(found)) < len(found) for found in re.findall(f"[{MARKS}າ]{{2,}}", text))


@pytest.mark.parametrize("table", sorted(TABLES))
@settings(max_examples=120)
@given(data=st.data())
def test_every_spelling_is_found_and_no_other(table: str, data: st.DataObject) -> None:
    """Whatever bytes decode to a text are among its spellings, or these are too many to ask for;
    every spelling decodes to the text. The same holds where characters stand for the bytes."""
    codes = st.sampled_from([*sorted(TABLES[table].codes), 0x20, 0x41])
    stored = bytes(data.draw(st.lists(codes, min_size=1, max_size=9)))
    encoding = Encoding.parse(table)
    text = encoding.read(stored).text
    if doubled(table, stored):
        return
    try:
        found = as_bytes(encoding, text)
        assert stored in found
        assert all(encoding.read(one).text == text for one in found)
        signs = "".join(data.draw(st.sampled_from(characters_of(code))) for code in stored)
        copied = as_characters(encoding, text)
        assert signs in copied
        assert all(encoding.read_characters(one).text == text for one in copied)
        assert max(len(found), len(copied)) <= MOST
    except TooMany:
        assert len(text) > 2


def test_what_has_too_many_spellings_is_refused() -> None:
    """Quickly, and not cut: half of the spellings would miss rows in silence."""
    with pytest.raises(TooMany):
        as_bytes(LSWIN, "ນ້ຳ" * 40)
    with pytest.raises(TooMany):
        as_characters(LSWIN, "ກ\u0ebc\u0eb4\u0eb5\u0eb6\u0eb7\u0ec8")


# In databases.

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOHA/old
title: {{en: Old names, lo: ຊື່}}
source: {{kind: sql, url: "${{LEGACY_URL}}"}}
records:
  name:
    title: {{en: Name, lo: ຊື່}}
    fields:
      id: integer
      text: {{type: string, decode: lswin}}
      raw: {{type: string, decode: lswin, stored: bytes}}
      coded: {{type: string, decode: ibm1133, stored: bytes{more}}}
queries:
  names: {{record: name, sql: "SELECT id, text, raw, coded FROM tbl_old"}}
services:
  names:
    title: {{en: Names, lo: ຊື່}}
    endpoints:
      /names:
        {{operation: list, query: names, title: {{en: N, lo: ຊ}}, order: [id],
          count: exact, page_size: 1000, filters: [text, raw, coded]}}
      /by/{{text}}: {{operation: one, query: names, title: {{en: N, lo: ຊ}}}}
      /raw/{{raw}}/{{id}}: {{operation: one, query: names, title: {{en: N, lo: ຊ}}}}
"""
NAMES = ["ນ້ອຍ", "ບຸນມີ", "ໜູ", "ວຽງຈັນ", "ABC", "abc"]
LATIN = str.maketrans({code: characters_of(code)[-1] for code in range(0x80, 0x100)})


def rows() -> list[dict[str, Any]]:
    """Every spelling of every name, and names that differ in nothing but case or an accent."""
    spelled = [
        (text, raw) for name in NAMES for text, raw in zip(
            as_characters(LSWIN, name), _repeated(as_bytes(LSWIN, name)), strict=False
        )
    ]  # fmt: skip
    near = [(text.swapcase(), b"") for text, _ in spelled if text.swapcase() != text]
    near += [("o", b""), ("ö", b""), ("O", b""), ("Ö", b""), ("abc ", b"abc ")]
    return [
        {"id": number, "text": text, "raw": raw, "coded": b"\xa1\xff"}
        for number, (text, raw) in enumerate([*spelled, *near])
    ]


def _repeated(found: tuple[bytes, ...]) -> list[bytes]:
    return list(found) * 50


@pytest.fixture
async def old(legacy: Legacy) -> AsyncIterator[Adapter]:
    binary = LargeBinary().with_variant(VARBINARY(200), "mysql", "mariadb")
    metadata = MetaData()
    table = Table(
        "tbl_old",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("text", String(100), index=True),
        Column("raw", binary),
        Column("coded", binary),
    )
    engine = create_engine(legacy.url)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), rows())
    engine.dispose()
    parsed = parse_mapping(MAPPING.format(more="").encode(), "old.yaml")
    adapter = Adapter(parsed, Source(parsed.source, {"LEGACY_URL": legacy.url}, Path()))
    yield adapter
    await adapter.close()


async def test_a_filter_finds_what_decodes_to_the_text(old: Adapter) -> None:
    """In characters and in bytes, whatever the collation: the ids are those whose text, decoded
    here, is the asked one; and as many are counted."""
    stored = rows()
    for name in [*NAMES, *{LSWIN.read_characters(sign).text for sign in "oöOÖ"}, "abc "]:
        wanted = [one["id"] for one in stored if LSWIN.read_characters(one["text"]).text == name]
        target = f"/names?text={quote(name)}"
        assert [one["id"] for one in await items(old, target)] == wanted
        counted = dict((await get(old, f"{target}&count=true")).headers)["x-saphan-total"]
        assert counted == f"{len(wanted)};exact"
        wanted = [one["id"] for one in stored if LSWIN.read(one["raw"]).text == name]
        found = await items(old, f"/names?raw={quote(name)}")
        assert [one["id"] for one in found] == wanted
    hard_space = quote("ກ\u00a0")
    assert len(await items(old, f"/names?coded={hard_space}&page_size=3")) == 3
    one = LSWIN.read_characters("ö").text
    found = orjson.loads((await get(old, f"/by/{quote(one)}")).body)
    assert (found["text"], stored[found["id"]]["text"]) == (one, "ö")


async def test_a_key_of_bytes_finds_a_record_in_whatever_spelling(old: Adapter) -> None:
    """A key is exact, and every spelling of it is the key."""
    for one in rows():
        name = LSWIN.read(one["raw"]).text
        if name in NAMES:
            found = await get(old, f"/raw/{quote(name)}/{one['id']}")
            assert (found.status, orjson.loads(found.body).get("raw")) == (200, name)


async def test_a_text_that_cannot_be_asked_for_is_refused(old: Adapter) -> None:
    """With the rule; letters that the encoding lacks find nothing."""
    response = await get(old, f"/names?text={quote('ນ້ຳ' * 20)}")
    assert response.status == 400
    assert b"spellings" in response.body
    assert await items(old, "/names?raw=%D0%96") == []


@pytest.mark.parametrize("more", [", normalise: lao", ", trim: true", ', separator: ","'])
def test_what_has_spellings_without_end_is_no_filter(more: str) -> None:
    """With the reason, when the mapping is read."""
    with pytest.raises(Problem, match="cannot be filtered"):
        parse_mapping(MAPPING.format(more=more).encode())


def test_bytes_are_of_old_text_only() -> None:
    """A column of bytes that is not decoded is compared as text."""
    with pytest.raises(Problem, match="no meaning"):
        parse_mapping(MAPPING.format(more="").replace("decode: ibm1133, ", "").encode())


def test_a_check_tells_what_no_filter_finds() -> None:
    """A mark that was typed twice, old beside new, and what has too many spellings."""
    parsed = parse_mapping(MAPPING.format(more="").encode())
    field = parsed.records["name"].field("text")
    assert field is not None
    [two, one] = as_characters(LSWIN, "ວຽງ")[:1] + as_characters(LSWIN, "ບຸນ")[:1]
    assert unfound(field, one) == unfound(field, two) == unfound(field, None) == ""
    assert unfound(field, one[:2] + one[1:]).endswith("mixed")
    assert unfound(field, one + "ບຸນ").endswith("mixed")
    assert "more than 512" in unfound(field, "".join(as_characters(LSWIN, "ນ້ຳ")[0] * 20))


LATIN1 = """
saphan_mapping: 1
application: LA/GOV/MOHA/site
title: {{en: Site, lo: ເວັບ}}
source: {{kind: sql, url: "{url}"}}
records:
  name:
    title: {{en: Name, lo: ຊື່}}
    fields:
      id: integer
      font: {{type: string, decode: lswin}}
      site: {{type: string, decode: "utf-8:utf-8"}}
queries:
  names: {{record: name, sql: "SELECT id, font, site FROM tbl_site"}}
services:
  names:
    title: {{en: Names, lo: ຊື່}}
    endpoints:
      /names:
        {{operation: list, query: names, title: {{en: N, lo: ຊ}}, order: [id],
          filters: [font, site]}}
      /by/{{site}}: {{operation: one, query: names, title: {{en: N, lo: ຊ}}}}
"""


async def test_a_column_of_latin1_is_searched_by_lao(
    mariadb_server: DatabaseServer, tmp_path: Path
) -> None:
    """MariaDB cannot compare it with the Lao that may stand there, too: it is found all the same,
    by a font's codes and by UTF-8 that the column takes for characters."""
    url = mariadb_server.new_database("latin1_site")
    names = ["ນ້ອຍ", "ບຸນມີ", "ວຽງຈັນ"]
    mariadb_server.run(
        "CREATE TABLE tbl_site (id INT PRIMARY KEY, font VARCHAR(99), site VARCHAR(99))"
        " CHARACTER SET latin1",
        "latin1_site",
    )
    for number, name in enumerate(names):
        font, site = as_bytes(LSWIN, name)[0].hex(), name.encode().hex()
        values = f"({number}, x'{font}', x'{site}')"
        mariadb_server.run(f"INSERT INTO tbl_site VALUES {values}", "latin1_site")  # noqa: S608
    mapping = parse_mapping(LATIN1.format(url=url).encode())
    adapter = Adapter(mapping, Source(mapping.source, {}, tmp_path))
    try:
        for number, name in enumerate(names):
            wanted = {"id": number, "font": name, "site": name}
            for field in ("font", "site"):
                assert await items(adapter, f"/names?{field}={quote(name)}") == [wanted]
            assert orjson.loads((await get(adapter, f"/by/{quote(name)}")).body) == wanted
        assert await items(adapter, f"/names?site={quote('ບໍ່ມີ')}") == []
    finally:
        await adapter.close()
