"""The kind ``soap``, as :mod:`adapters.kinds` knows it."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from pathlib import Path

from adapters.findings import Drift, Finding
from adapters.kinds import Checking
from adapters.mapping.head import Head
from adapters.mapping.reader import Node
from adapters.soap import checking, openapi
from adapters.soap.documents import is_url
from adapters.soap.drifting import compare
from adapters.soap.file import fetched, read_mapping
from adapters.soap.mapping import Mapping, Service
from adapters.soap.service import SoapService
from adapters.soap.source import Source
from adapters.soap.wsdl import BadWsdl
from exchange.problems import Code, Problem


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A mapping of a SOAP service; implements :class:`adapters.kinds.Wrapping`."""

    mapping: Mapping

    @property
    def head(self) -> Head:
        return self.mapping.head

    @property
    def services(self) -> Map[str, Service]:
        return self.mapping.services

    def document(self, code: str, shared: Map[str, bytes]) -> bytes:
        """See :meth:`adapters.kinds.Wrapping.document`."""
        return openapi.document(self.mapping, code, shared)

    def open(self, environ: Map[str, str], folder: Path) -> OpenService:
        """See :meth:`adapters.kinds.Wrapping.open`."""
        return OpenService(self.mapping, environ)

    def drift(self, environ: Map[str, str], folder: Path, against: str) -> list[Drift]:
        """See :meth:`adapters.kinds.Compared.drift`; ``against`` is another WSDL."""
        source = self.mapping.source
        if not against and not is_url(source.wsdl):
            detail = "the WSDL is a file, read at each start: name the service's of today, a URL"
            raise Problem(Code.INVALID_USAGE, where="--against", detail=detail)
        try:
            return compare(self.mapping, fetched(source, against))
        except BadWsdl as error:
            raise Problem(
                Code.SOURCE_FAILED, where=against or source.wsdl, detail=str(error)
            ) from error

    async def check(self, environ: Map[str, str], folder: Path, how: Checking) -> list[Finding]:
        """See :meth:`adapters.kinds.Wrapping.check`."""
        opened = self.open(environ, folder)
        try:
            return await checking.check(self.mapping, opened.backends, how)
        finally:
            await opened.close()


class OpenService:
    """The services over one SOAP service; implements :class:`adapters.kinds.Opened`."""

    def __init__(self, mapping: Mapping, environ: Map[str, str]) -> None:
        self._source = Source(mapping, environ)
        self.backends = {
            code: SoapService(mapping, service, self._source)
            for code, service in mapping.services.items()
        }

    async def health(self, timeout_s: float) -> None:
        """See :meth:`adapters.kinds.Opened.health`."""
        await self._source.health(timeout_s)

    async def close(self) -> None:
        """Close the source."""
        await self._source.close()


def read(root: Node) -> Wrapped:
    """Read the mapping of a SOAP service, and its WSDL.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return Wrapped(read_mapping(root))
