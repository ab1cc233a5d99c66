"""The kinds of sources, and all that others know of a mapping.

A mapping file is read into a :class:`Wrapping`, and a wrapping is opened: then there is a
:class:`serving.backends.Backend` for each of its services. The commands, :mod:`adapters.http` and
the mediator use nothing else. What the file holds besides its head, and what stands behind the
backends, is the matter of the package that :data:`KINDS` names; it is imported when a file has its
kind, so a process loads only the libraries of the sources that it has.

To add a kind: a module with a function ``read(root)`` that returns a :class:`Wrapping`, and a line
in the table; where a scan can propose a mapping, a module with a function ``scan(look)`` too, and
a line in :func:`scan`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

import schemas
from adapters.findings import Drift, Finding
from adapters.mapping import reader
from adapters.mapping.head import Head, Offered, choose_service
from adapters.mapping.reader import Node
from adapters.scan.scanned import Look, Scanned
from exchange.identifiers import ServiceId
from serving.backends import Backend

KINDS: Mapping[str, str] = {
    "sql": "adapters.records",
    "files": "adapters.records",
    "http": "adapters.passing.kind",
    "documents": "adapters.documents.kind",
    "soap": "adapters.soap.wrapping",
}
"""``source.kind`` → the module that reads the rest of the file."""


class Opened(Protocol):
    """The source of a wrapping, in use; nothing need be connected before the first request."""

    @property
    def backends(self) -> Mapping[str, Backend]:
        """The backends by the codes of their services."""
        ...

    async def health(self, timeout_s: float) -> None:
        """Ask the source whether it answers.

        Raises:
            Problem: what its callers would be told.
        """
        ...

    async def close(self) -> None:
        """Close the backends and what is behind them; idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Checking:
    """How a wrapping is to be checked.

    Attributes:
        shared: the shared schemas by ``$id``.
        each: whether to read and judge everything that the source holds, too.
        given: values for parameters that have no example in the mapping.
        progress: is told the number of things read, also in other threads.
    """

    shared: Mapping[str, bytes]
    each: bool
    given: Mapping[str, str]
    progress: Callable[[int], None]


class Wrapping(Protocol):
    """A mapping that was read and is sound in itself; its source has not been touched."""

    @property
    def head(self) -> Head: ...

    @property
    def services(self) -> Mapping[str, Offered]:
        """The services by their codes."""
        ...

    def document(self, code: str, shared: Mapping[str, bytes]) -> bytes:
        """The OpenAPI document of a service; the same bytes for the same mapping.

        Raises:
            Problem: ``InvalidMapping`` when the mapping names a shared schema that is not there.
        """
        ...

    def open(self, environ: Mapping[str, str], folder: Path) -> Opened:
        """Open the source; ``folder`` is that of the mapping file.

        Raises:
            Problem: ``InvalidMapping`` for a missing ``${NAME}`` or a source that cannot be one;
                never because the source is down.
        """
        ...

    async def check(self, environ: Mapping[str, str], folder: Path, how: Checking) -> list[Finding]:
        """All that is wrong between the mapping, the shared schemas and the source.

        Raises:
            Problem: as :meth:`open`; ``SourceFailed`` when the source cannot be reached at all.
        """
        ...


@runtime_checkable
class Compared(Protocol):
    """A wrapping that can be compared with its source as it is today."""

    def drift(self, environ: Mapping[str, str], folder: Path, against: str) -> list[Drift]:
        """What has changed since the mapping was written.

        Args:
            against: what to compare with instead of what the mapping names; empty for that.

        Raises:
            Problem: when the source cannot be looked at, or ``against`` has no meaning for it.
        """
        ...


def read(path: Path, *, waits: bool = True) -> Wrapping:
    """Read the mapping file at ``path``, of whatever kind.

    Args:
        waits: whether what the mapping names elsewhere may be waited for: the WSDL of a URL.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault;
            ``SourceFailed`` when something that is named elsewhere cannot be had, or is not at hand
            and may not be waited for.
    """
    return read_node(reader.read(path, waits=waits))


def read_node(root: Node) -> Wrapping:
    """Read a mapping file that was parsed; see :func:`read`."""
    top = root.entries()
    source = top["source"].entries() if "source" in top else {}
    if "kind" not in source:
        (top.get("source") or root).refuse("the key 'kind' of 'source' is missing")
    module = KINDS[source["kind"].reference(KINDS, "kind")]
    read_kind: Callable[[Node], Wrapping] = import_module(module).read
    return read_kind(root)


def open_source(wrapping: Wrapping, path: Path, environ: Mapping[str, str] | None = None) -> Opened:
    """Open what was read from ``path``; ``environ`` is the process's environment unless given.

    Raises:
        Problem: as :meth:`Wrapping.open`.
    """
    return wrapping.open(os.environ if environ is None else environ, path.parent)


class Embedder:
    """Makes backends for one process.

    Those of one mapping file share its source: its connections, its budget and what is known of
    changes to it. It is closed with the last of them.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ
        self._shared: dict[tuple[Path, bytes], _Shared] = {}
        self._one = Lock()  # services of one mapping may be made in several threads

    def __call__(
        self, path: Path, service: ServiceId | str | None = None, *, waits: bool = True
    ) -> tuple[Backend, bytes]:
        """A backend, and the OpenAPI document of its service.

        ``service`` may be a whole identifier, which must then be that of the mapping; it may be
        left out when the mapping has only one. For ``waits`` see :func:`read`.

        Raises:
            Problem: as :func:`read` and :func:`open_source`; ``InvalidMapping`` for a service that
                is not there.
        """
        wrapping = read(path, waits=waits)
        code = choose_service(wrapping.services, service, wrapping.head.file).id.service_code
        document = wrapping.document(code, schemas.load_all())
        key = (path.resolve(), path.read_bytes())
        with self._one:
            shared = self._shared.get(key)
            if shared is None or not shared.users:
                opened = open_source(wrapping, path, self._environ)
                shared = self._shared[key] = _Shared(opened)
            return _Lent(shared, code), document


@dataclass(slots=True)
class _Shared:
    """An open source, and how many backends of it are in use; without one it is closed."""

    opened: Opened
    users: int = 0


class _Lent:
    """One service of a source that others may use, too."""

    def __init__(self, shared: _Shared, code: str) -> None:
        backend = shared.opened.backends[code]
        # The very method: there is no step in between for a message.
        self.exchange = backend.exchange
        self.remembers = getattr(backend, "remembers", False)
        self._shared: _Shared | None = shared
        shared.users += 1

    async def close(self) -> None:
        """Give back the source; idempotent."""
        shared, self._shared = self._shared, None
        if shared is None:
            return
        shared.users -= 1
        if not shared.users:
            await shared.opened.close()


def scan(look: Look) -> Scanned:
    """Look at a source, read-only, and propose a mapping of it.

    Raises:
        Problem: what the scan of this kind of source raises.
    """
    scan_kind: Callable[[Look], Scanned] = import_module(_scanner(look.source)).scan
    return scan_kind(look)


def _scanner(source: str) -> str:
    """The module that scans such a source, by what its name looks like."""
    if Path(source).is_dir():
        return "adapters.documents.scanning"
    parts = urlsplit(source)
    is_web = parts.scheme in ("http", "https")
    if parts.path.lower().endswith(".wsdl") or (is_web and "wsdl" in parts.query.lower()):
        return "adapters.soap.scanning"
    if is_web or source.endswith((".json", ".yaml", ".yml")):
        return "adapters.passing.scanning"
    return "adapters.scan.scanning"
