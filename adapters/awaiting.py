"""The services of a mapping of which something is not at hand yet: a WSDL that cannot be fetched.

Whoever asks is told so, health too, and it is tried again until the mapping can be read; from then
on the services are those of the mapping.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

import schemas
from adapters import kinds
from exchange.problems import Code, Problem
from serving.aside import aside
from serving.backends import Backend

RETRY_S: Final = 10.0
_log = structlog.get_logger("saphan.adapters")


class Awaiting:
    """Implements :class:`adapters.kinds.Opened`, of a mapping that may have to be waited for.

    ``documents`` are those of the ``backends``; both are empty until it is there.
    """

    def __init__(self, path: Path) -> None:
        self.backends: dict[str, Backend] = {}
        self.documents: dict[str, bytes] = {}
        self._path = path
        self._opened: kinds.Opened | None = None

    def begin(self) -> kinds.Wrapping | None:
        """Open the source if all is at hand; the mapping then.

        Raises:
            Problem: ``InvalidMapping``, as :func:`adapters.kinds.read`.
        """
        try:
            return self._open(kinds.read(self._path, waits=False))
        except Problem as problem:
            if problem.code is not Code.SOURCE_FAILED:
                raise
        return None

    async def run(self) -> kinds.Wrapping:
        """Try until the mapping can be read and its source is open; the mapping then."""
        while True:
            try:
                return self._open(await aside(lambda: kinds.read(self._path)))
            except Problem as problem:
                _log.warning("mapping_awaited", problem=str(problem))
            await asyncio.sleep(RETRY_S)

    def _open(self, wrapping: kinds.Wrapping) -> kinds.Wrapping:
        shared = schemas.load_all()
        documents = {code: wrapping.document(code, shared) for code in wrapping.services}
        self._opened = kinds.open_source(wrapping, self._path)
        self.documents |= documents
        self.backends |= self._opened.backends
        return wrapping

    async def health(self, timeout_s: float) -> None:
        """See :meth:`adapters.kinds.Opened.health`."""
        if self._opened is None:
            # Where the source stands is nobody's to know outside: the log has it.
            detail = "the description of the source is not at hand yet; it is tried again"
            raise Problem(Code.SOURCE_FAILED, where="source", detail=detail, retryable=True)
        await self._opened.health(timeout_s)

    async def close(self) -> None:
        """See :meth:`adapters.kinds.Opened.close`."""
        if self._opened is not None:
            await self._opened.close()
