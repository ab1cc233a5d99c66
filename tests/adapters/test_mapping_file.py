"""A mapping is read strictly: what is not understood is refused with its place."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.fields import Kind, Null
from adapters.mapping.file import load_mapping, parse_mapping
from adapters.mapping.model import SourceKind
from exchange.problems import Code, Problem

GOOD = """\
saphan_mapping: 1
application: LA/GOV/MPI/legacy
title: {en: Legacy, lo: ເກົ່າ}
source:
  kind: sql
  url: sqlite:///legacy.db
records:
  item:
    title: {en: Item, lo: ລາຍການ}
    fields:
      id: integer
      name: {type: string, trim: true}
      day: {type: date, format: "%d/%m/%Y"}
      kind: {type: enumeration, table: {01: one, no: none}}
      tags: {type: string, separator: ","}
queries:
  items:
    sql: SELECT * FROM item WHERE year = :year
    record: item
    parameters:
      year: {type: integer, minimum: 2000}
services:
  items:
    title: {en: Items, lo: ລາຍການ}
    endpoints:
      /items:
        operation: list
        query: items
        title: {en: Items, lo: ລາຍການ}
        order: [id]
        filters: [name]
      /items/{id}:
        operation: one
        query: items
        title: {en: Item, lo: ລາຍການ}
"""

CSV = GOOD.replace(
    "  kind: sql\n  url: sqlite:///legacy.db\n",
    """  kind: files
  tables:
    item: {file: item.csv, columns: {id: {header: No., type: integer}, name: Name}}
""",
)


def refused(text: str) -> Problem:
    with pytest.raises(Problem) as caught:
        parse_mapping(text.encode(), "m.yaml")
    assert caught.value.code is Code.INVALID_MAPPING
    return caught.value


def test_a_mapping_is_read() -> None:
    """Everything in the file arrives in the value."""
    mapping = parse_mapping(GOOD.encode(), "m.yaml")
    service = mapping.services["items"]
    assert str(service.id) == "LA/GOV/MPI/legacy/items"
    assert [endpoint.path for endpoint in service.endpoints] == ["/items", "/items/{id}"]
    assert service.endpoints[0].operation_id == "list_items"
    assert service.endpoints[1].keys["id"].field.kind is Kind.INTEGER
    assert mapping.source.limits.max_connections == 4


def test_words_stay_words() -> None:
    """``no`` and ``01`` are words of a legacy system, not a boolean and an octal number."""
    mapping = parse_mapping(GOOD.encode(), "m.yaml")
    field = mapping.records["item"].field("kind")
    assert field is not None
    assert field.table == {"01": "one", "no": "none"}


def test_null_may_be_written_plainly() -> None:
    """What becomes of a null is one of three words, and ``null`` needs no quotes."""
    text = GOOD.replace("trim: true", "null: null")
    field = parse_mapping(text.encode(), "m.yaml").records["item"].field("name")
    assert field is not None
    assert field.null is Null.NULL


def test_a_csv_source_is_read() -> None:
    """A source may be spreadsheets."""
    mapping = parse_mapping(CSV.encode(), "m.yaml")
    assert mapping.source.kind is SourceKind.FILES
    assert mapping.source.tables[0].encoding is None
    assert mapping.source.tables[0].columns[1].header == "Name"


# what to replace, by what, the line and path of the refusal
FAULTS = [
    ("saphan_mapping: 1", "saphan_mapping: 2", "m.yaml:1 /saphan_mapping"),
    ("saphan_mapping: 1", "saphan_mapping: 1\nextra: 1", "m.yaml:2 /extra"),
    ("application: LA/GOV/MPI/legacy\n", "", "m.yaml:1 /"),
    ("LA/GOV/MPI/legacy", "LA/GOV/MPI", "m.yaml:2 /application"),
    ("{en: Legacy, lo: ເກົ່າ}", "{en: Legacy}", "m.yaml:3 /title"),
    ("kind: sql", "kind: oracle", "m.yaml:5 /source/kind"),
    ("url: sqlite:///legacy.db", "uri: sqlite:///legacy.db", "m.yaml:6 /source/uri"),
    ("  url: sqlite:///legacy.db\n", "", "m.yaml:5 /source"),
    ("kind: sql\n", "kind: sql\n  url_env: DB\n", "m.yaml:5 /source"),
    ("kind: sql\n", "kind: sql\n  max_rows: 1_000\n", "m.yaml:6 /source/max_rows"),
    ("kind: sql\n", "kind: sql\n  max_rows: 20000\n", "m.yaml:6 /source/max_rows"),
    ("kind: sql\n", "kind: sql\n  tables: {}\n", "m.yaml:6 /source/tables"),
    ("id: integer", "id: int", "m.yaml:11 /records/item/fields/id"),
    ("id: integer", "id: integer\n      id: string", "m.yaml:12 /records/item/fields/id"),
    ("id: integer", "id: {type: integer, scale: 2}", "m.yaml:11 /records/item/fields/id/scale"),
    ("id: integer", "name.lo: string\n      id: integer", "m.yaml:11 /records/item/fields"),
    ("id: integer", "id: {type: datetime}", "m.yaml:11 /records/item/fields/id"),
    (
        "id: integer",
        "id: {type: datetime, zone: Asia/Atlantis}",
        "m.yaml:11 /records/item/fields/id/zone",
    ),
    ("id: integer", "id: {type: boolean, true_words: [J]}", "m.yaml:11 /records/item/fields/id"),
    ("{01: one, no: none}", "codes", "m.yaml:14 /records/item/fields/kind/table"),
    ("trim: true", "trim: yes", "m.yaml:12 /records/item/fields/name/trim"),
    ("trim: true", "null: skip", "m.yaml:12 /records/item/fields/name/null"),
    ("SELECT * FROM item", "UPDATE item SET x = 1", "m.yaml:18 /queries/items/sql"),
    ("= :year", "= :years", "m.yaml:18 /queries/items/sql"),
    (" WHERE year = :year", "", "m.yaml:21 /queries/items/parameters/year"),
    ("record: item\n", "record: thing\n", "m.yaml:19 /queries/items/record"),
    ("{type: integer, m", "{type: datetime, m", "m.yaml:21 /queries/items/parameters/year/type"),
    (
        "{type: integer, minimum: 2000}",
        "{type: string, minimum: 2}",
        "m.yaml:21 /queries/items/parameters/year/minimum",
    ),
    (
        "{type: integer, minimum: 2000}",
        "{type: string, table: {a: x, b: x}}",
        "m.yaml:21 /queries/items/parameters/year/table",
    ),
    (
        "minimum: 2000}",
        "required: true, default: 1}",
        "m.yaml:21 /queries/items/parameters/year/default",
    ),
    ("  items:\n    title", "  it/ems:\n    title", "m.yaml:24 /services/it/ems"),
    ("/items:", "items:", "m.yaml:27 /services/items/endpoints/items"),
    ("query: items\n", "query: other\n", "m.yaml:28 /services/items/endpoints//items/query"),
    ("[name]", "[other]", "m.yaml:31 /services/items/endpoints//items/filters/0"),
    ("[name]", "[tags]", "m.yaml:31 /services/items/endpoints//items/filters/0"),
    ("[name]", "[year]", "m.yaml:31 /services/items/endpoints//items/filters/0"),
    ("[name]", "[cursor]", "m.yaml:31 /services/items/endpoints//items/filters/0"),
    (
        "[name]",
        "{from: {field: day, compare: at_least}}",
        "m.yaml:31 /services/items/endpoints//items/filters/from",
    ),
    ("order: [id]", "order: [id down]", "m.yaml:30 /services/items/endpoints//items/order/0"),
    ("order: [id]", "order: [id, id desc]", "m.yaml:30 /services/items/endpoints//items/order/1"),
    (
        "order: [id]",
        "page_size: 5",
        "m.yaml:30 /services/items/endpoints//items/page_size",
    ),
    ("/items/{id}", "/items/{other}", "m.yaml:33 /services/items/endpoints//items/{other}"),
    (
        "operation: one",
        "operation: all",
        "m.yaml:33 /services/items/endpoints//items/{id}/operation",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where"), FAULTS)
def test_a_fault_is_refused_with_its_place(old: str, new: str, where: str) -> None:
    """An unknown key, a missing one, a wrong value: file, line and path are named."""
    assert old in GOOD
    assert refused(GOOD.replace(old, new, 1)).where == where


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: Name", "name: No."),
        ("type: integer}", "type: boolean}"),
        ("item.csv,", "item.csv, delimiter: ab,"),
        ("item.csv,", "item.csv, encoding: lao-1,"),
        ("type: integer}", "type: integer, format: x}"),
        ("    item: {file", "    it-em: {file"),
    ],
)
def test_a_fault_in_a_spreadsheet_is_refused(old: str, new: str) -> None:
    """Tables, columns, delimiters and encodings are checked before a file is opened."""
    assert old in CSV
    assert refused(CSV.replace(old, new, 1)).where.startswith("m.yaml:7 /source/tables")


@given(st.binary(max_size=200))
@example(b"&a [*a]")
@example(b"a: 2026-13-45")
@example(b"\xff\xfe")
@example(b"- " * 2000)
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    """Whatever the bytes, the answer is a mapping or a problem."""
    with pytest.raises(Problem) as caught:
        parse_mapping(data)
    assert caught.value.code is Code.INVALID_MAPPING


@given(st.integers(0, len(GOOD.encode())), st.integers(0, 255))
def test_no_changed_byte_makes_it_fail_otherwise(place: int, byte: int) -> None:
    """A damaged mapping is another mapping or a problem, never another exception."""
    data = GOOD.encode()
    with contextlib.suppress(Problem):
        parse_mapping(data[:place] + bytes([byte]) + data[place + 1 :])


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    with pytest.raises(Problem) as caught:
        load_mapping(tmp_path / "none.yaml")
    assert caught.value.code is Code.INVALID_MAPPING
