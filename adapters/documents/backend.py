"""The services of a folder of documents: lists and metadata are records, contents are files."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from collections.abc import Mapping as Map
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from adapters.answers.faults import Fault, bad, parse_pairs
from adapters.answers.replies import problem_response
from adapters.cursor_keys import cursor_secret
from adapters.documents.catalogue import TABLE, Catalogue
from adapters.documents.content import Reader
from adapters.documents.file import INDEX, DocumentsMapping
from adapters.documents.folder import name_of
from adapters.documents.keeping import kept_path
from adapters.mapping.model import FileTable, SourceSettings
from adapters.service import Adapter
from adapters.sources.sheets import Cell
from adapters.sources.snapshot import MadeTable, Stamp, read_table, stamp_of
from adapters.sources.source import Source
from adapters.sources.variables import resolve
from exchange.contracts.paths import PathTable
from exchange.problems import Problem
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import Body

CONTENT: Final = "/documents/{id}/content"
_METHODS: Final = ("GET", "HEAD")
_OF_THE_CONTENT: Final = frozenset({"if-none-match", "range", "if-range"})


class IndexTable:
    """The index, whose names of documents have one form, as those of documents do."""

    def __init__(self, table: FileTable, path: Path, key: str) -> None:
        self._table, self._path = table, path
        self._at = [column.name for column in table.columns].index(key)

    def stamp(self) -> Stamp:
        """See :class:`adapters.sources.snapshot.MadeTable`."""
        return stamp_of(self._table, self._path)

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """See :class:`adapters.sources.snapshot.MadeTable`."""
        for row in read_table(self._table, self._path):
            name = row[self._at]
            if isinstance(name, str):
                name = name_of(name.strip().replace("\\", "/"))
            yield (*row[: self._at], name, *row[self._at + 1 :])


class DocumentsSource:
    """The folder, and the records that are made of it and its index.

    Args:
        folder: the mapping file's.
        keep: whether digests are taken from and kept in a file beside the mapping.

    Raises:
        Problem: ``InvalidMapping`` for a missing ``${NAME}``.
    """

    def __init__(
        self, mapping: DocumentsMapping, environ: Map[str, str], folder: Path, *, keep: bool
    ) -> None:
        place = folder / resolve(mapping.folder, environ, mapping.where)
        self._mapping, self._environ, self._folder = mapping, environ, folder
        kept = kept_path(folder, mapping.records.file) if keep else None
        self.catalogue = Catalogue(place, mapping.types, mapping.max_documents, kept)

    def records(self, settings: SourceSettings) -> Source:
        """The source of the records."""
        made: dict[str, MadeTable] = {TABLE: self.catalogue}
        if self._mapping.index is not None:
            table, key = self._mapping.index
            path = self._folder / resolve(table.file, self._environ, table.where)
            made[INDEX] = IndexTable(table, path, key)
        return Source(settings, self._environ, self._folder, made=made)


class DocumentsBackend:
    """One service; implements :class:`serving.backends.Backend`."""

    def __init__(self, adapter: Adapter, reader: Reader) -> None:
        self._adapter = adapter
        self._reader = reader
        self._contents: PathTable[None] = PathTable()
        self._contents.add(CONTENT, None)

    async def exchange(
        self,
        request: BackendRequest,
        *,
        timeout_s: float,
        first_byte_s: float = math.inf,
        connect_s: float = math.inf,
    ) -> BackendResponse[Body]:
        """Answer one request.

        Raises:
            Problem: as :meth:`adapters.service.Adapter.exchange` and
                :meth:`adapters.documents.content.Reader.answer`.
        """
        id = self._document(request.path)
        if id is None:
            return await self._adapter.exchange(_in_one_form(request), timeout_s=timeout_s)
        if request.method not in _METHODS:
            refusal = bad("method", f"only {' and '.join(_METHODS)} are answered", status=405)
            return problem_response(refusal, (("allow", ", ".join(_METHODS)),))
        if request.query or request.body:
            return problem_response(bad("query", "a content has no parameters and takes no body"))
        # Who may not see the record may not see the document. Both have one time together.
        timeout_s = min(timeout_s, first_byte_s)
        until = asyncio.get_running_loop().time() + timeout_s
        about = await self._adapter.exchange(_about(request, id), timeout_s=timeout_s)
        if about.status != 200:
            return about
        try:
            return await self._reader.answer(id, request, until)
        except Fault as fault:
            return problem_response(fault)

    async def close(self) -> None:
        """Give back the source; idempotent."""
        await self._adapter.close()

    def _document(self, path: str) -> str | None:
        """The document whose content is asked for."""
        try:
            return self._contents.find(path)[1]["id"]
        except Problem:
            return None


def _in_one_form(request: BackendRequest) -> BackendRequest:
    """The request with the beginning of a name, if it asks for one, in the form that names have."""
    if "name_prefix" not in request.query:
        return request
    try:
        pairs = parse_pairs(request.query)
    except Fault:
        return request  # whose fault the adapter tells
    told = [(name, name_of(text) if name == "name_prefix" else text) for name, text in pairs]
    return replace(request, query=urlencode(told))


def _about(request: BackendRequest, id: str) -> BackendRequest:
    """The request for the record, by the same caller."""
    headers = tuple(item for item in request.headers if item[0] not in _OF_THE_CONTENT)
    path = CONTENT.removesuffix("/content").replace("{id}", id)
    return replace(request, method="GET", path=path, headers=headers, room=None)


class OpenDocuments:
    """The services of a folder; implements :class:`adapters.kinds.Opened`."""

    def __init__(self, mapping: DocumentsMapping, environ: Map[str, str], folder: Path) -> None:
        source = DocumentsSource(mapping, environ, folder, keep=True)
        records, limits = mapping.records, mapping.records.source.limits
        secret = cursor_secret(records, environ, folder)
        self._catalogue = source.catalogue
        self._source = source.records(records.source)
        self._reader = Reader(
            source.catalogue,
            limits.max_connections,
            limits.max_waiting,
            mapping.max_document_bytes,
        )
        self.backends = {
            code: DocumentsBackend(Adapter(records, self._source, code, secret), self._reader)
            for code in records.services
        }

    async def health(self, timeout_s: float) -> None:
        """See :meth:`adapters.kinds.Opened.health`."""
        await self._source.run(lambda connection: None, timeout_s=timeout_s)

    async def close(self) -> None:
        """Close the services, the source with the last, and the threads; idempotent."""
        for backend in self.backends.values():
            await backend.close()
        self._reader.close()
        self._catalogue.close()
