"""The kind ``documents`` as :mod:`adapters.kinds` knows it: a folder of papers and pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping as Map
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from adapters import check as checks
from adapters import check_rows, openapi
from adapters.answers.replies import PROBLEM_TYPE
from adapters.check_files import of_file
from adapters.cursor_keys import findings as of_cursors
from adapters.documents import drift
from adapters.documents.backend import CONTENT, DocumentsSource, OpenDocuments
from adapters.documents.file import DocumentsMapping, read_mapping
from adapters.documents.keeping import kept_path
from adapters.findings import Finding
from adapters.kinds import Checking
from adapters.mapping.head import Head
from adapters.mapping.model import FileTable, Service
from adapters.mapping.reader import Node


@dataclass(frozen=True, slots=True)
class Documents:
    """A mapping of the kind ``documents``; implements :class:`adapters.kinds.Wrapping`."""

    mapping: DocumentsMapping

    @property
    def head(self) -> Head:
        records = self.mapping.records
        return Head(records.file, records.application, records.title, records.version)

    @property
    def services(self) -> Map[str, Service]:
        return self.mapping.records.services

    def document(self, code: str, shared: Map[str, bytes]) -> bytes:
        """See :meth:`adapters.kinds.Wrapping.document`: records, and their contents."""
        tree = orjson.loads(openapi.document(self.mapping.records, code, shared))
        problem = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/problem"}}}
        contents: dict[str, Any] = {str(kind): {} for kind in sorted(self.mapping.types)}
        tree["paths"][CONTENT] = {
            "get": {
                "operationId": "get_document_content",
                "summary": "The document itself",
                "x-summary-lo": "ຕົວເອກະສານ",
                "x-saphan-strict-query": True,
                "parameters": [
                    {
                        "name": "id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "maxLength": 400},
                    }
                ],
                "responses": {
                    "200": {"description": "The document", "content": contents},
                    "206": {"description": "The part that Range asked for", "content": contents},
                    "404": {"description": "There is no such document", "content": problem},
                    "416": {"description": "There is no such part", "content": problem},
                },
            }
        }
        return orjson.dumps(tree, option=orjson.OPT_INDENT_2)

    def open(self, environ: Map[str, str], folder: Path) -> OpenDocuments:
        """See :meth:`adapters.kinds.Wrapping.open`."""
        return OpenDocuments(self.mapping, environ, folder)

    async def check(self, environ: Map[str, str], folder: Path, how: Checking) -> list[Finding]:
        """Run the queries; tell what in the folder is not served, what the index names in vain and
        what it does not name, and which of its columns are gone.

        With ``how.each`` every record is judged, and every document read whose digest was kept.
        """
        records = self.mapping.records
        found = list(await asyncio.to_thread(drift.of_index, self.mapping, environ, folder))
        if any(not one.warning for one in found):
            return found
        if self.mapping.index is not None:
            found += await asyncio.to_thread(_left_out, self.mapping.index[0], environ, folder)
        found += of_cursors(records, environ, folder)
        place = DocumentsSource(self.mapping, environ, folder, keep=False)
        source = checks.checking_source(
            records, lambda changed: place.records(changed.source)
        ).lease()
        try:
            found += await checks.against_source(records, source, how.given)
            faults = await asyncio.to_thread(place.catalogue.faults)
            found += [
                Finding(self.mapping.where, f"{one.name} is not served: it {one.why}", warning=True)
                for one in faults
            ]
            found += await drift.between(self.mapping, source)
            if how.each:
                kept = kept_path(folder, records.file)
                altered = drift.altered(self.mapping, place.catalogue, kept, how.progress)
                found += await asyncio.to_thread(list, altered)
            if how.each and not any(not one.warning for one in found):
                found += await check_rows.rows(records, source, how.shared, how.given, how.progress)
            return found
        finally:
            await source.close()
            place.catalogue.close()


def _left_out(index: FileTable, environ: Map[str, str], folder: Path) -> list[Finding]:
    """Which rows of the index are left out; what cannot be read is told by who reads it."""
    return [one for one in of_file(index, environ, folder) if one.warning]


def read(root: Node) -> Documents:
    """Read a mapping of the kind ``documents``.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return Documents(read_mapping(root))
