"""Reading a mapping of the kind ``documents``.

The documents, with the rows of an index beside them, are records of a table like any other: what
is read here is a mapping of tables (:mod:`adapters.mapping`) whose queries and endpoints are the
same for every folder, with the fields and filters that the file adds. The parts that the file
gives are put in as they stand, so that a fault in them is told with its line.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from typing import Final

import yaml

from adapters.documents.catalogue import COLUMNS, TABLE, documents_table
from adapters.documents.media import USUAL, MediaType
from adapters.mapping.file import mapping_of
from adapters.mapping.head import read_head, service_nodes
from adapters.mapping.model import FileTable, Mapping
from adapters.mapping.reader import Node, parse
from adapters.mapping.source import LIMITS

INDEX: Final = "saphan_index"
FILTERS: Final = ("media_type", "name_prefix", "modified_from", "modified_until")

# What the source of the records has, too.
_OF_TABLES: Final = ("mask_key", "cursor_key", "zone", *LIMITS)

_TEMPLATE: Final = """\
saphan_mapping: 1
application: {application}
title: {{en: Documents, lo: ເອກະສານ}}
source: {{kind: files, tables: {{}}}}
records:
  document:
    title: {{en: Document, lo: ເອກະສານ}}
    fields:
      id: {{type: string, null: refuse, title: {{en: What names it, lo: ລະຫັດ}}}}
      name: {{type: string, null: refuse, title: {{en: Its name, lo: ຊື່ແຟ້ມ}}}}
      media_type: {{type: string, null: refuse, title: {{en: Media type, lo: ປະເພດ}}}}
      size: {{type: integer, null: refuse, title: {{en: Bytes, lo: ຂະໜາດ}}}}
      digest: {{type: string, title: {{en: "SHA-256, once it is known", lo: ຄ່າກວດສອບ SHA-256}}}}
      modified:
        {{type: datetime, zone: UTC, null: refuse, title: {{en: Last written, lo: ແກ້ໄຂຫຼ້າສຸດ}}}}
queries:
  listed:
    record: document
    sql: >-
      {select} WHERE (:name_prefix IS NULL
      OR substr(d.name, 1, length(:name_prefix)) = :name_prefix)
    parameters:
      name_prefix:
        {{type: string, required: false, title: {{en: How the name begins, lo: ຊື່ເລີ່ມຕົ້ນດ້ວຍ}}}}
  one: {{record: document, sql: "{select}"}}
services: {{}}
"""
_SERVICE: Final = """\
title: {}
endpoints:
  /documents:
    operation: list
    query: listed
    title: {en: Documents, lo: ລາຍການເອກະສານ}
    order: [name]
    filters:
      media_type: {}
      modified_from: {field: modified, compare: at_least}
      modified_until: {field: modified, compare: at_most}
  /documents/{id}:
    operation: one
    query: one
    title: {en: About one document, lo: ຂໍ້ມູນຂອງເອກະສານໜຶ່ງ}
"""


@dataclass(frozen=True, slots=True)
class DocumentsMapping:
    """A mapping of the kind ``documents``.

    Attributes:
        records: the mapping of tables that answers lists and metadata.
        folder: where the documents are; may hold ``${NAME}``.
        index: the table beside them, if there is one, and its column with names of documents.
    """

    records: Mapping
    folder: str
    types: frozenset[MediaType]
    max_documents: int
    max_document_bytes: int
    index: tuple[FileTable, str] | None
    where: str


def read_mapping(root: Node) -> DocumentsMapping:
    """Read a mapping of the kind ``documents``.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    head, top = read_head(root, (), ("fields", "enumerations"))
    source = top["source"].members(
        ("kind", "folder"),
        ("media_types", "index", "max_documents", "max_document_bytes", *_OF_TABLES),
    )
    index, key = _index(source.get("index"))
    if "fields" in top and index is None:
        top["fields"].refuse("further fields are those of an index: add 'index' to the source")
    for name, child in (top["fields"].entries() if "fields" in top else {}).items():
        if name in COLUMNS:
            child.refuse(f"every document has a field {name!r} already")
    tree = parse(_text(head.application, index).encode(), root.file)
    _graft(tree, source, top, index)
    for service, child in service_nodes(head.application, top["services"]).items():
        _put(tree, ("services",), service.service_code, _service(child))
    mapping = mapping_of(tree)
    settings = mapping.source
    _check_columns(mapping, top.get("fields"))
    tables = (documents_table(source["folder"].where), *settings.tables)
    mapping = replace(
        mapping, title=head.title, version=head.version, source=replace(settings, tables=tables)
    )
    types = (
        [item.choice(MediaType) for item in source["media_types"].items()]
        if ("media_types" in source)
        else list(USUAL)
    )
    return DocumentsMapping(
        records=mapping,
        folder=source["folder"].text(longest=1_000),
        types=frozenset(types),
        max_documents=source["max_documents"].integer(1, 1_000_000)
        if "max_documents" in source
        else 100_000,
        max_document_bytes=source["max_document_bytes"].integer(1, 1 << 40)
        if "max_document_bytes" in source
        else 4 << 30,
        index=None if key is None else (settings.tables[0], key),
        where=top["source"].where,
    )


def _check_columns(mapping: Mapping, node: Node | None) -> None:
    """Fields are of columns that are there."""
    known = {column.name for table in mapping.source.tables for column in table.columns}
    record = mapping.records["document"]
    for name, child in (node.entries() if node is not None else {}).items():
        field = record.field(name)
        if field is not None and field.column not in known:
            child.refuse(f"the index has no column {field.column!r}")


def _index(node: Node | None) -> tuple[Map[str, Node] | None, str | None]:
    """The members of the index, and the name of the column that names documents."""
    if node is None:
        return None, None
    members = node.entries()
    if "key" not in members or "columns" not in members:
        node.refuse("the keys 'key' and 'columns' are needed")
    columns = members["columns"].entries()
    key = members["key"].reference(columns, "column")
    for name, child in columns.items():
        if name != key and name in COLUMNS:
            child.refuse(f"every document has a column {name!r} already: give it another name")
    return members, key


def _text(application: object, index: Map[str, Node] | None) -> str:
    columns = [f"d.{name} AS {name}" for name in COLUMNS]
    joined = ""
    if index is not None:
        key = index["key"].text()
        named = [name for name in index["columns"].entries() if name != key]
        columns += [f"i.{name} AS {name}" for name in named]
        joined = f" LEFT JOIN {INDEX} i ON i.{key} = d.name"
    # The names are those of columns, which the reader of tables takes as plain names only.
    select = f"SELECT {', '.join(columns)} FROM {TABLE} d{joined}"  # noqa: S608
    return _TEMPLATE.format(application=application, select=select)


def _graft(
    tree: Node, source: Map[str, Node], top: Map[str, Node], index: Map[str, Node] | None
) -> None:
    """Put in what the file says itself."""
    for name in _OF_TABLES:
        if name in source:
            _put(tree, ("source",), name, source[name].node)
    if "enumerations" in top:
        _put(tree, (), "enumerations", top["enumerations"].node)
    if index is not None:
        table = yaml.MappingNode(
            source["index"].node.tag,
            [item for item in source["index"].node.value if item[0].value != "key"],
            source["index"].node.start_mark,
        )
        _put(tree, ("source", "tables"), INDEX, table)
    for name, child in (top["fields"].entries() if "fields" in top else {}).items():
        _put(tree, ("records", "document", "fields"), name, child.node)


def _service(node: Node) -> yaml.Node:
    found = node.members(("title",), ("filters", "page_size", "cache_s", "visible"))
    service = parse(_SERVICE.encode(), node.file)
    title = service.entries()["title"].node
    title.value = found["title"].node.value
    place = ("endpoints", "/documents")
    for name in ("page_size", "cache_s"):
        if name in found:
            _put(service, place, name, found[name].node)
    if "visible" in found:
        for path in (place, ("endpoints", "/documents/{id}")):
            _put(service, path, "visible", found["visible"].node)
    for item in found["filters"].items() if "filters" in found else ():
        if item.text() in FILTERS:
            item.refuse("every list has this filter already")
        options = yaml.MappingNode("tag:yaml.org,2002:map", [], item.node.start_mark)
        _put(service, (*place, "filters"), item.text(), options)
    return service.node


def _put(tree: Node, path: tuple[str, ...], name: str, node: yaml.Node) -> None:
    for step in path:
        tree = tree.entries()[step]
    tree.node.value.append((yaml.ScalarNode("tag:yaml.org,2002:str", name), node))
