"""OpenAPI documents of services, fetched within bounds from where the configuration says they are.

Whoever may write the configuration makes this process fetch; it must not become a way into the
network around it (server-side request forgery). Hence:

- ``file:`` only from folders that the operator named, links followed before that is judged;
- ``http:`` and ``https:`` only to addresses that are global, or in networks that the operator
  named; what is judged is the address that is connected to, so that no second look-up of the name
  can differ (DNS rebinding);
- three redirects at most, each judged anew, never from https to http;
- 2 MiB, 10 seconds, no cookies, no credentials, no proxy of the environment;
- nothing of what was fetched is told in a problem, only why it was refused.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
import yaml
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from console.instance.agreements import check_grantable
from exchange.contracts.contract import Contract
from exchange.documents import format_document, parse_document
from exchange.problems import Code, Problem
from exchange.registrations import MAX_OPENAPI_BYTES
from serving.yaml_files import read_yaml

FETCH_S: Final = 10.0
MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A specification as it will be published: JSON, and its digest."""

    data: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Where specifications may come from."""

    folders: tuple[Path, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    schemas: dict[str, bytes] = field(default_factory=dict)
    """Shared schemas by ``$id``, to which documents may refer."""

    async def fetch(self, url: str) -> Fetched:
        """Fetch and compile one document.

        Raises:
            Problem: ``InvalidDocument`` saying why it cannot be used.
        """
        if url.startswith("file:"):
            data = await asyncio.to_thread(self._read, unquote(urlsplit(url).path))
        else:
            data = await self._get(url)
        return await asyncio.to_thread(self._compile, data)

    def _read(self, path: str) -> bytes:
        refusal = _refused("is in none of the folders that may be read (--specifications)")
        try:
            found = Path(path).resolve(strict=True)
            if not any(found.is_relative_to(folder.resolve()) for folder in self.folders):
                raise refusal
            if not found.is_file():
                raise _refused("is not a file")
            with found.open("rb") as file:
                return file.read(MAX_OPENAPI_BYTES + 1)
        except (OSError, ValueError, RuntimeError) as error:
            # Whether a file elsewhere exists is not told.
            raise refusal from error

    async def _get(self, url: str) -> bytes:
        try:
            async with asyncio.timeout(FETCH_S), self._session() as session:
                for _ in range(MAX_REDIRECTS + 1):
                    self._check_address(url)
                    async with session.get(url, allow_redirects=False) as answer:
                        if answer.status not in _REDIRECTS:
                            return await _body(answer)
                        url = _next(url, answer.headers.get("Location", ""))
        except TimeoutError as error:
            raise _refused(f"gave no whole answer within {FETCH_S:.0f} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _refused(f"cannot be fetched ({type(error).__name__})") from error
        raise _refused(f"redirects more than {MAX_REDIRECTS} times")

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_Resolver(self), use_dns_cache=False, socket_factory=self._socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"Accept": "application/json, application/yaml", "Accept-Encoding": "identity"},
        )

    def _check_address(self, url: str) -> None:
        """Addresses written in a URL are not resolved, so they are judged here."""
        try:
            address = ip_address(urlsplit(url).hostname or "")
        except ValueError:
            return
        self.check(str(address))

    def _socket(self, found: AddrInfoType) -> socket.socket:
        """A socket to an address, judged as it will be connected to: what a URL writes as digits
        of another script is an address only when the client has read it."""
        family, kind, protocol, _, address = found
        self.check(str(address[0]))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def check(self, address: str) -> None:
        """Raises: Problem ``InvalidDocument`` for an address that may not be connected to."""
        found = ip_address(address)
        mapped = getattr(found, "ipv4_mapped", None)
        judged = mapped or found
        if any(judged in network for network in self.networks if network.version == judged.version):
            return
        if not judged.is_global or judged.is_multicast:
            raise _refused(
                "leads to an address of an inner network that was not allowed "
                "(--specifications-from)"
            )

    def _compile(self, data: bytes) -> Fetched:
        if len(data) > MAX_OPENAPI_BYTES:
            raise _refused("is longer than 2 MiB")
        document = _as_json(data)
        try:
            check_grantable(Contract.compile(document, self.schemas))
        except Problem as problem:
            place = problem.where.partition("#")[2]
            raise _refused(f"is no usable OpenAPI document: {place}: {problem.detail}") from problem
        return Fetched(document, sha256(document).hexdigest())


class _Resolver(AbstractResolver):
    """Names resolved by the system, each address judged before it is connected to."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        for result in found:
            self._sources.check(result["host"])
        return found

    async def close(self) -> None:
        await self._system.close()


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status != 200:
        raise _refused(f"answers with HTTP status {answer.status}")
    data = bytearray()
    async for piece in answer.content.iter_chunked(65536):
        data += piece
        if len(data) > MAX_OPENAPI_BYTES:
            raise _refused("is longer than 2 MiB")
    return bytes(data)


def _next(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        Problem: ``InvalidDocument`` for a way that is not followed.
    """
    target = urljoin(url, location[:2000])
    parts = urlsplit(target)
    schemes = {"https"} if url.startswith("https:") else {"http", "https"}
    if parts.scheme not in schemes or parts.username or parts.password or not parts.hostname:
        raise _refused("redirects to where it is not followed")
    return target


def _as_json(data: bytes) -> bytes:
    """JSON as it is; YAML turned into JSON."""
    try:
        parse_document(data, MAX_OPENAPI_BYTES, "")
    except Problem:
        pass
    else:
        return data
    try:
        value: Any = read_yaml(data)
        document = format_document(value)
    except (yaml.YAMLError, TypeError) as error:
        raise _refused("is neither JSON nor YAML that JSON can hold") from error
    if len(document) > MAX_OPENAPI_BYTES:
        raise _refused("is longer than 2 MiB")
    return document


def _refused(detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, detail=detail, status=400)
