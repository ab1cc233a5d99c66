"""A civil register whose names are in a Lao font's encoding, as a service in Unicode."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from adapters.mapping.file import parse_mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from adapters.text import codec
from exchange.problems import Problem
from tests.adapters.legacy import get, items

codec.register()

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MOHA/civil-register
title: {en: Civil register, lo: ທະບຽນພົນລະເມືອງ}
source:
  kind: sql
  url: sqlite:///register.db
records:
  person:
    title: {en: Person, lo: ບຸກຄົນ}
    fields:
      number: {column: pid, type: integer}
      name: {type: string, decode: lswin, normalise: lao, trim: true, null_words: ["-"]}
      village: {type: string, normalise: lao}
      given: {type: string, decode: "utf-8:lswin"}
queries:
  persons:
    record: person
    sql: SELECT pid, name, village, given FROM tbl_person
services:
  persons:
    title: {en: Persons, lo: ບຸກຄົນ}
    endpoints:
      /persons:
        operation: list
        query: persons
        order: [pid]
        title: {en: Persons, lo: ບຸກຄົນ}
        filters: [%s]
"""
NAME = "ທ້າວ ສົມພອນ ວົງສາ"


def copied(text: str) -> str:
    """What a Latin column made of the text."""
    return text.encode("lswin").decode("cp1252")


def served(folder: Path, *rows: tuple[object, ...]) -> Adapter:
    """An adapter over a register with these rows."""
    with sqlite3.connect(folder / "register.db") as database:
        database.execute("CREATE TABLE tbl_person (pid, name, village, given)")
        database.executemany("INSERT INTO tbl_person VALUES (?, ?, ?, ?)", rows)
    database.close()
    mapping = parse_mapping((MAPPING % "number").encode())
    return Adapter(mapping, Source(mapping.source, {}, folder))


async def test_names_are_served_in_unicode(tmp_path: Path) -> None:
    """Names stored as bytes, as characters of Windows-1252, and as Lao already come out the same;
    words for nothing and blanks are judged after decoding; the village is normalised."""
    adapter = served(
        tmp_path,
        (1, NAME.encode("lswin"), "ຫນອງ\u200bບ\u0ec8\u0ecd", copied("ບຸນມີ").encode()),
        (2, copied(f"  {NAME} "), "ໜອງບໍ່", copied("ບຸນມີ")),
        (3, NAME, "1", "ບຸນມີ"),
        (4, "-", None, "ASCII"),
    )
    try:
        found = await items(adapter, "/persons")
    finally:
        await adapter.close()
    assert [item.get("name") for item in found] == [NAME, NAME, NAME, None]
    assert [item.get("village") for item in found] == ["ໜອງບໍ່", "ໜອງບໍ່", "1", None]
    assert [item["given"] for item in found] == ["ບຸນມີ", "ບຸນມີ", "ບຸນມີ", "ASCII"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (b"\xa1\xc7\xe0", "0xC7, 0xE0"),
        ("Ren\u00e9", "0xE9"),
        ("For\u00eat d'Argonne", "Latin words"),
        ("No\u00ebl", "Latin words"),
        ("Zo\u00eb", "Latin words"),
    ],
)
async def test_what_is_not_in_the_encoding_stops_the_answer(
    tmp_path: Path, name: object, rule: str
) -> None:
    """A code that the encoding does not define, and French in a Lao column: a problem with the
    place and the rule, never a guess."""
    adapter = served(tmp_path, (1, NAME, "a", "b"), (2, name, "a", "b"))
    try:
        with pytest.raises(Problem) as caught:
            await get(adapter, "/persons")
    finally:
        await adapter.close()
    assert caught.value.where == "/items/1/name"
    assert rule in str(caught.value.facts["rule"])


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("decode: lswin", "decode: alice", "'alice' is none of utf-8, ibm1133"),
        ("normalise: lao,", "normalise: thai,", "lao"),
        ("{column: pid, type: integer}", "{column: pid, type: integer, decode: cp1133}", "integer"),
        ("filters: [number]", "filters: [name]", "cannot be counted"),
        ("filters: [number]", "filters: [village]", "cannot be counted"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(before: str, after: str, rule: str) -> None:
    """An unknown encoding or form, a number in an encoding, and a filter on what has spellings
    without end: told when the mapping is read."""
    text = (MAPPING % "number").replace(before, after)
    assert after in text
    with pytest.raises(Problem, match=rule):
        parse_mapping(text.encode())


async def test_a_spreadsheet_in_an_old_encoding(tmp_path: Path) -> None:
    """A CSV file in code page 1133 is read by the name of its encoding."""
    (tmp_path / "persons.csv").write_bytes("ເລກ,ຊື່\n1,ສົມພອນ\n".encode("cp1133"))
    mapping = parse_mapping(
        (MAPPING % "number")
        .replace("kind: sql", "kind: files")
        .replace(
            "url: sqlite:///register.db",
            "tables: {tbl_person: {file: persons.csv, encoding: cp1133, columns: {pid: {header:"
            " ເລກ, type: integer}, name: ຊື່}}}",
        )
        .replace("SELECT pid, name, village, given", "SELECT pid, name, '' village, '' given")
        .replace("decode: lswin, ", "")
        .encode()
    )
    adapter = Adapter(mapping, Source(mapping.source, {}, tmp_path))
    try:
        found = await items(adapter, "/persons")
    finally:
        await adapter.close()
    assert [item["name"] for item in found] == ["ສົມພອນ"]
