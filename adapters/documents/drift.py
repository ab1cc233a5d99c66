"""What of a folder of documents has changed since its mapping was written, or its digests kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from pathlib import Path
from typing import Final

from sqlalchemy import text

from adapters.check import CHECK_TIMEOUT_S
from adapters.documents import keeping
from adapters.documents.catalogue import TABLE, Catalogue
from adapters.documents.file import INDEX, DocumentsMapping
from adapters.documents.folder import Changed
from adapters.findings import Finding
from adapters.scan.drift import of_file
from adapters.sources.source import Source

_MOST: Final = 100
_NAMED: Final = 3


def of_index(mapping: DocumentsMapping, environ: Map[str, str], folder: Path) -> Iterator[Finding]:
    """Columns of the index that are gone, and, as warnings, those that are new."""
    if mapping.index is None:
        return
    table, _ = mapping.index
    for one in of_file(table, environ, folder):
        yield Finding(table.where, f"{one.place}: {one.words}", warning=not one.breaks)


async def between(mapping: DocumentsMapping, source: Source) -> list[Finding]:
    """Rows of the index without a document, and documents without a row."""
    if mapping.index is None:
        return []
    table, key = mapping.index
    # Plain names, which the reader has judged.
    vain = (
        f"SELECT i.{key} FROM {INDEX} i LEFT JOIN {TABLE} d ON d.name = i.{key}"  # noqa: S608
        f" WHERE d.id IS NULL LIMIT {_MOST}"
    )
    bare = (
        f"SELECT d.name FROM {TABLE} d LEFT JOIN {INDEX} i ON d.name = i.{key}"  # noqa: S608
        f" WHERE i.{key} IS NULL ORDER BY d.name"
    )
    rows, names = await source.run(
        lambda connection: (
            connection.execute(text(vain)).fetchall(),
            connection.execute(text(bare)).scalars().all(),
        ),
        timeout_s=CHECK_TIMEOUT_S,
    )
    found = [
        Finding(table.where, f"the index names {row[0]}, which is not served", warning=True)
        for row in rows
    ]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        words = f"the index does not name {', '.join(names[:_NAMED])}{more}: their fields are empty"
        found.append(Finding(table.where, words, warning=True))
    return found


def altered(
    mapping: DocumentsMapping, catalogue: Catalogue, kept: Path, progress: Callable[[int], None]
) -> Iterator[Finding]:
    """Documents whose bytes are others than when their digest was kept, though nothing else of them
    has changed: a disk that fails, or somebody who set the times back. Reads them all."""
    known = keeping.load(kept)
    for entry in catalogue.look().entries.values():
        before = known.get(keeping.key_of(entry.identity))
        if before is None:
            continue
        progress(1)
        try:
            now = catalogue.computed(entry)
        except Changed as changed:
            words = f"{entry.name} cannot be read: {changed}"
            yield Finding(mapping.where, words)
            continue
        if now != before[1]:
            words = f"{entry.name} has other bytes than its kept digest is of, and the same times"
            yield Finding(mapping.where, words)
