"""HTTP backends: the last hop, inside the provider's own network."""

from __future__ import annotations

import math
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from exchange.problems import ACTED, Code, Problem
from serving.backends import BackendRequest, BackendResponse, Headers, NotDelivered
from serving.bodies import Body
from serving.client import Pool
from serving.failures import ConnectFailed, ExchangeFailed, PoolClosed, PoolFull, TimedOut, TooLarge
from serving.pool_places import PoolLimits
from serving.waits import Phase, Waits

IDLE_S = 4.0
RETRY_AFTER_S = 1
_OF_THE_CONNECTION = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
)


class HttpBackend:
    """One HTTP or HTTPS backend; implements :class:`serving.backends.Backend`.

    Follows no redirect, keeps no cookie, decodes no content coding.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        head_max_bytes: int,
        response_max_bytes: int,
        wait_s: float = math.inf,
        connect_s: float = 5.0,
        stall_s: float = math.inf,
        floor_bytes_per_s: float = math.inf,
        ca: Path | None = None,
        max_waiting: int = 4096,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="services.url",
                detail=f"{url!r} is not an http or https URL without a query",
            )
        context = None
        if parts.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=str(ca) if ca else None)
            except (OSError, ssl.SSLError) as error:
                raise Problem(
                    Code.INVALID_SETTINGS, where="services.ca", detail=str(error)
                ) from error
        self._stall_s, self._floor = stall_s, floor_bytes_per_s
        self._base = parts.path.rstrip("/")
        self._host = parts.netloc
        self._where = f"{parts.scheme}://{parts.netloc}"
        self._pool = Pool(
            parts.hostname,
            parts.port or (443 if context else 80),
            ssl=context,
            limits=PoolLimits(
                max_connections=connections,
                max_waiting=max_waiting,
                # Many application servers drop an idle connection after 5 s; a POST on one that
                # is being dropped would be lost.
                idle_s=IDLE_S,
                wait_s=wait_s,
                connect_s=connect_s,
                max_head_bytes=head_max_bytes,
                max_body_bytes=response_max_bytes,
            ),
        )

    async def exchange(
        self,
        request: BackendRequest,
        *,
        timeout_s: float,
        first_byte_s: float = math.inf,
        connect_s: float = math.inf,
    ) -> BackendResponse[Body]:
        """Ask the backend; see :class:`serving.backends.Backend`."""
        target = f"{self._base}{request.path}" or "/"
        if request.query:
            target = f"{target}?{request.query}"
        try:
            answer = await self._pool.exchange(
                request.method,
                target,
                (("host", self._host), *request.headers),
                request.body,
                timeout_s=timeout_s,
                waits=Waits(first_byte_s, self._stall_s, self._floor, connect_s),
                room=request.room,
                max_body_bytes=request.answer_max_bytes,
                repeatable=False if request.once else None,
            )
        except ExchangeFailed as failure:
            raise translate(failure, self._where) from failure
        return BackendResponse(
            answer.status,
            _end_to_end(answer.headers),
            answer.body,
        )

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._pool.close()


def _end_to_end(headers: Headers) -> Headers:
    """Without the fields of the connection and those that Connection lists (RFC 9110 7.6.1)."""
    dropped = _OF_THE_CONNECTION
    for name, value in headers:
        if name == "connection":
            dropped |= {token.strip().lower() for token in value.split(",")}
    return tuple([item for item in headers if item[0] not in dropped])


def translate(failure: ExchangeFailed, where: str) -> Problem:
    """What a failed exchange with the backend at ``where`` is to its caller."""
    problem = Problem if failure.sent else NotDelivered
    match failure:
        case ConnectFailed():
            return problem(Code.BACKEND_UNREACHABLE, where=where, detail=failure.detail)
        case TimedOut(phase=Phase.CONNECT):
            return problem(
                Code.BACKEND_UNREACHABLE, where=where, detail=failure.detail, facts=failure.facts
            )
        case TimedOut(phase=Phase.WAIT) | PoolFull():
            facts = failure.facts | {"retry_after_s": RETRY_AFTER_S, ACTED: False}
            return problem(Code.OVERLOADED, where=where, detail=failure.detail, facts=facts)
        case PoolClosed():
            facts = {ACTED: False}
            return problem(Code.OVERLOADED, where=where, detail=failure.detail, facts=facts)
        case TimedOut():
            return problem(
                Code.BACKEND_TIMEOUT, where=where, detail=failure.detail, facts=failure.facts
            )
        case TooLarge():
            return problem(
                Code.RESPONSE_TOO_LARGE,
                where=where,
                detail=failure.detail,
                facts={"limit_bytes": failure.limit_bytes},
            )
        case _:
            return problem(Code.BACKEND_NONSENSE, where=where, detail=failure.detail)
