"""The way to one witness: a kept connection, two requests, bounded times."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from exchange.certificates.reading import fingerprint
from exchange.log.witness import MAX_REPLY_BYTES, MAX_SUBMISSION_BYTES, origin_hash
from exchange.problems import Code, Problem
from exchange.trust.state import RegistryState
from mediator.witness.known import Asked
from mediator.witness.service import PREFIX
from serving.client import Pool
from serving.failures import ConnectFailed, ExchangeFailed
from serving.pool_places import PoolLimits

_IDLE_S = 60.0


class Said(NamedTuple):
    """What a witness answered."""

    status: int
    type: str
    body: bytes


class WitnessLine:
    """Asks one witness; belongs to one event loop."""

    def __init__(self, asked: Asked, pool: Pool, host: str, prefix: str) -> None:
        self.asked = asked
        self._pool = pool
        self._host = host
        self._prefix = prefix

    async def add_checkpoint(self, body: bytes, timeout_s: float) -> Said:
        """Submit a checkpoint.

        Raises:
            Problem: ``PeerUnreachable``: no answer came, for whatever reason.
        """
        return await self._ask("POST", "add-checkpoint", body, timeout_s)

    async def last_checkpoint(self, origin: str, timeout_s: float) -> Said:
        """Ask for the last checkpoint of a log that the witness cosigned.

        Raises:
            Problem: as :meth:`add_checkpoint`.
        """
        return await self._ask("GET", f"{origin_hash(origin)}/checkpoint", b"", timeout_s)

    async def close(self) -> None:
        await self._pool.close()

    async def _ask(self, method: str, path: str, body: bytes, timeout_s: float) -> Said:
        headers = [("host", self._host)]
        if body:
            headers.append(("content-type", "text/plain; charset=utf-8"))
        try:
            answer = await self._pool.exchange(
                method, self._prefix + path, headers, body, timeout_s=timeout_s, repeatable=True
            )
        except ExchangeFailed as failure:
            raise Problem(
                Code.PEER_UNREACHABLE, where=f"witness {self.asked.name}", detail=failure.detail
            ) from failure
        kind = next((value for name, value in answer.headers if name == "content-type"), "")
        return Said(answer.status, kind.partition(";")[0].strip().lower(), answer.body)


def trusting(ca: Path | None) -> ssl.SSLContext:
    """How https addresses of witnesses are judged.

    Raises:
        Problem: ``InvalidSettings`` when the authorities cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Problem(
            Code.INVALID_SETTINGS, where="witnesses.ca", detail=f"{ca}: {error}"
        ) from error


def parse_url(asked: Asked) -> SplitResult:
    """The submission prefix of a witness.

    Raises:
        Problem: ``InvalidSettings`` when it is no http or https address.
    """
    with suppress(ValueError):
        parts = urlsplit(asked.url or "")
        if (
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and not (parts.query or parts.fragment or parts.username)
        ):
            return parts
    raise Problem(
        Code.INVALID_SETTINGS,
        where=f"witness {asked.name}",
        detail=f"{asked.url!r} is no http or https address",
    )


def to_url(asked: Asked, connect_s: float, context: ssl.SSLContext) -> WitnessLine:
    """The line to a witness at its URL (the submission prefix).

    Raises:
        Problem: as :func:`parse_url`.
    """
    parts = parse_url(asked)
    secure = parts.scheme == "https"
    pool = Pool(
        parts.hostname or "",
        parts.port or (443 if secure else 80),
        ssl=context if secure else None,
        limits=_limits(connect_s),
    )
    return WitnessLine(asked, pool, parts.netloc, parts.path.rstrip("/") + "/")


def to_server(
    asked: Asked, connect_s: float, context: ssl.SSLContext, state: Callable[[], RegistryState]
) -> WitnessLine:
    """The line to the witness of a server of the registry, over the link between servers."""
    server = asked.server
    assert server is not None  # noqa: S101  # the caller knows
    parts = urlsplit(server.address)

    def admit(certificate: bytes | None) -> None:
        try:
            found = state().auth_server(fingerprint(certificate or b""))
        except Problem as problem:
            raise ConnectFailed(str(problem)) from problem
        if found != server.id:
            raise ConnectFailed(f"the certificate shown for {server.id} is that of {found}")

    pool = Pool(
        parts.hostname or "",
        parts.port or 443,
        ssl=context,
        limits=_limits(connect_s),
        admit=admit,
    )
    return WitnessLine(asked, pool, parts.netloc, PREFIX)


def _limits(connect_s: float) -> PoolLimits:
    return PoolLimits(
        max_connections=1,
        max_waiting=8,
        idle_s=_IDLE_S,
        connect_s=connect_s,
        max_body_bytes=max(MAX_REPLY_BYTES, MAX_SUBMISSION_BYTES),
    )
