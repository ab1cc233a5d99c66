"""The kinds ``sql`` and ``files``: records of tables, as :mod:`adapters.kinds` knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping as Map
from dataclasses import dataclass
from pathlib import Path

from adapters import check as checks
from adapters import check_rows, openapi
from adapters.changes import checking as changes_check
from adapters.check_files import of_files
from adapters.cursor_keys import cursor_secret
from adapters.cursor_keys import findings as of_cursors
from adapters.findings import Drift, Finding
from adapters.kinds import Checking
from adapters.mapping.file import mapping_of
from adapters.mapping.head import Head
from adapters.mapping.model import Mapping, Service
from adapters.mapping.reader import Node
from adapters.service import Adapter
from adapters.sources.source import Source
from adapters.writes.check import check_writes
from exchange.problems import Code, Problem


@dataclass(frozen=True, slots=True)
class Records:
    """A mapping of tables; implements :class:`adapters.kinds.Wrapping`."""

    mapping: Mapping

    @property
    def head(self) -> Head:
        mapping = self.mapping
        return Head(mapping.file, mapping.application, mapping.title, mapping.version)

    @property
    def services(self) -> Map[str, Service]:
        return self.mapping.services

    def document(self, code: str, shared: Map[str, bytes]) -> bytes:
        """See :meth:`adapters.kinds.Wrapping.document`."""
        return openapi.document(self.mapping, code, shared)

    def open(self, environ: Map[str, str], folder: Path) -> OpenRecords:
        """See :meth:`adapters.kinds.Wrapping.open`."""
        secret = cursor_secret(self.mapping, environ, folder)
        return OpenRecords(self.mapping, Source(self.mapping.source, environ, folder), secret)

    def drift(self, environ: Map[str, str], folder: Path, against: str) -> list[Drift]:
        """See :meth:`adapters.kinds.Compared.drift`."""
        from adapters.scan.drift import compare

        if against:
            detail = "tables are compared with the source that the mapping names"
            raise Problem(Code.INVALID_USAGE, where="--against", detail=detail)
        return compare(self.mapping, environ, folder)

    async def check(self, environ: Map[str, str], folder: Path, how: Checking) -> list[Finding]:
        """See :meth:`adapters.kinds.Wrapping.check`."""
        mapping = self.mapping
        findings = checks.against_schemas(mapping, how.shared)
        findings += of_cursors(mapping, environ, folder)
        source = checks.checking_source(
            mapping, lambda changed: Source(changed.source, environ, folder)
        ).lease()
        try:
            found = await asyncio.to_thread(of_files, mapping.source, environ, folder)
            if any(not one.warning for one in found):
                return findings + found
            found += await checks.against_source(mapping, source, how.given)
            for changes in mapping.changes.values():
                found += await changes_check.findings(
                    changes, source, each=how.each, timeout_s=checks.CHECK_TIMEOUT_S
                )
            found += await check_writes(mapping, source)
            # A query that does not run, or a schema that is not there, has no rows to judge.
            if how.each and not any(not one.warning for one in findings + found):
                found += await check_rows.rows(mapping, source, how.shared, how.given, how.progress)
            return findings + found
        finally:
            await source.close()


class OpenRecords:
    """The services of one source; implements :class:`adapters.kinds.Opened`."""

    def __init__(self, mapping: Mapping, source: Source, secret: bytes) -> None:
        self._source = source
        self.backends = {code: Adapter(mapping, source, code, secret) for code in mapping.services}

    async def health(self, timeout_s: float) -> None:
        """See :meth:`adapters.kinds.Opened.health`."""
        await self._source.run(lambda connection: None, timeout_s=timeout_s)

    async def close(self) -> None:
        """Close every adapter, and the source with the last."""
        for adapter in self.backends.values():
            await adapter.close()


def read(root: Node) -> Records:
    """Read the mapping of a source of tables.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return Records(mapping_of(root))
