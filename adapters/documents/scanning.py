"""A scan of a folder of documents: what is in it, and the table beside it that names them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from adapters.documents.catalogue import COLUMNS, Catalogue
from adapters.documents.folder import name_of
from adapters.documents.kind import read
from adapters.documents.media import MediaType
from adapters.fields import Kind
from adapters.mapping.head import FORMAT_VERSION
from adapters.mapping.model import FileTable
from adapters.mapping.reader import parse
from adapters.scan import files
from adapters.scan.answering import invent, schema_of
from adapters.scan.found import FoundTable
from adapters.scan.inferring import DoubtCode, infer
from adapters.scan.numbers import number_keys
from adapters.scan.planning import WORDS_OF_SQL
from adapters.scan.proposing import ends_at_keys
from adapters.scan.scanned import Look, Scanned, Unsure
from exchange.problems import Code, Problem

MOST_DOCUMENTS: Final = 100_000
_MOST_TABLES: Final = 20
_TYPED: Final = (Kind.INTEGER, Kind.DECIMAL)


@dataclass(frozen=True, slots=True)
class _Index:
    """A table whose column ``key`` (by its place) names documents."""

    file: Path
    found: FoundTable
    table: FileTable
    key: int


def scan(look: Look) -> Scanned:
    """Propose a mapping of the documents in the folder ``look.source``.

    A table beside the folder or in it, of which a column holds names of documents, becomes the
    index.

    Raises:
        Problem: ``SourceFailed`` when the folder cannot be read; ``NotFound`` when there is no
            document in it.
    """
    folder = Path(look.source)
    catalogue = Catalogue(folder, frozenset(MediaType), MOST_DOCUMENTS)
    try:
        entries = catalogue.look().entries.values()
        kinds = Counter(kind for one in entries if (kind := catalogue.kind_of(one)) is not None)
    finally:
        catalogue.close()
    if not kinds:
        raise Problem(Code.NOT_FOUND, where=look.source, detail="there is no document in it")
    index = _find_index(folder, {one.name for one in entries})
    unsure: list[Unsure] = []
    source: dict[str, Any] = {
        "kind": "documents",
        "folder": _relative(folder, look.folder),
        "media_types": [str(kind) for kind in MediaType if kind in kinds],
    }
    fields: dict[str, Any] = {}
    if index is None:
        unsure.append(Unsure("source", "no-index", "no table was found that names the documents"))
    else:
        source["index"], fields = _described(index, look.folder, unsure)
    title = {"en": look.service, "lo": look.service}
    tree = {
        "saphan_mapping": FORMAT_VERSION,
        "application": str(look.application),
        "title": title,
        "source": source,
        **({"fields": fields} if fields else {}),
        "services": {look.service: {"title": title}},
    }
    doubts = [f"# unsure, {one.code}: {one.place}: {one.words}\n" for one in unsure]
    text = "".join(map(_in_a_line, doubts)) + yaml.safe_dump(
        tree, sort_keys=False, allow_unicode=True, width=100
    )
    proposal = read(parse(text.encode(), "proposal"))  # what is handed out can be read back
    document = proposal.document(look.service, {})
    return Scanned(
        text,
        {"documents": kinds.total(), "columns": len(fields)},
        unsure,
        schema=schema_of(document),
        test_data=invent(document, look.seed),
    )


def _in_a_line(text: str) -> str:
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", "?", text)


def _find_index(folder: Path, names: set[str]) -> _Index | None:
    """The table whose column names the most documents: at least half of its rows."""
    best: tuple[int, _Index] | None = None
    around = [*folder.iterdir(), *folder.resolve().parent.iterdir()]
    beside = [path for path in around if path.is_file() and files.is_file(str(path))]
    for path in sorted(beside)[:_MOST_TABLES]:
        try:
            pairs = files.find_sheets(path)
        except Problem:
            continue  # a table that cannot be read is none that names documents
        for found, table in pairs:
            for number in range(len(found.columns)):
                values = [str(one) for one in found.values(number) if one is not None]
                hits = sum(name_of(one.strip()) in names for one in values)
                if hits * 2 >= len(values) and hits > (0 if best is None else best[0]):
                    best = hits, _Index(path, found, table, number)
    return None if best is None else best[1]


def _described(
    index: _Index, folder: Path, unsure: list[Unsure]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The index of a source, and the fields of its columns."""
    names = _names([column.name for column in index.found.columns])
    columns: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for number, (name, column) in enumerate(zip(names, index.found.columns, strict=True)):
        columns[name] = column.name
        if number == index.key:
            continue
        values = index.found.values(number)
        proposal = infer(column, values)
        if proposal.kind in _TYPED:
            columns[name] = {"header": column.name, "type": str(proposal.kind)}
            columns[name] |= number_keys(column)
        elif proposal.kind is Kind.DATE and any(isinstance(one, date) for one in values):
            columns[name] = {"header": column.name, "type": "date"}
        fields[name] = {"type": str(proposal.kind), **_plain(proposal.keys)}
        unsure += [Unsure(column.name, str(one.code), one.words) for one in proposal.doubts]
    layout = (Unsure(index.file.name, DoubtCode.LAYOUT, words) for words in index.found.layout)
    unsure += layout
    told: dict[str, Any] = {"file": _relative(index.file, folder), "key": names[index.key]}
    table = index.table
    given = {"encoding": table.encoding, "sheet": table.sheet}
    told |= {key: value for key, value in given.items() if value is not None}
    if table.header_row != 1:
        told["header_row"] = table.header_row
    if table.header_rows != 1:
        told["header_rows"] = table.header_rows
    if table.ends_at is not None:
        told["ends_at"] = ends_at_keys(table)
    if table.delimiter != ",":
        told["delimiter"] = "tab" if table.delimiter == "\t" else table.delimiter
    return told | {"columns": columns}, fields


def _plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a field as YAML has them."""
    return {
        name: sorted(value) if isinstance(value, set | frozenset) else value
        for name, value in keys.items()
    }


def _names(headers: Sequence[str]) -> list[str]:
    """SQL names of columns, none of them one that every document has."""
    names: list[str] = []
    for number, header in enumerate(headers, 1):
        name = re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")[:40]
        if (
            not re.match(r"[a-z]", name)
            or name in COLUMNS
            or name in names
            or name.upper() in WORDS_OF_SQL
        ):
            name = f"column_{number}"
        names.append(name)
    return names


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix() or "."
    except ValueError:
        return str(path.resolve())
