"""The border to whatever answers a service: an HTTP backend or an adapter.

The mediator calls a :class:`Backend`; :mod:`serving.http_backends` is one, and the services of
:mod:`adapters.kinds` are, so that an adapter can run inside the mediator's process without either
package importing the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from exchange.problems import Problem
from serving.bodies import Body, Room

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in order: lower-case names, stripped values, repeated names allowed."""

BodyT = TypeVar("BodyT", bound=Body, covariant=True)


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """A request as the backend gets it.

    ``path`` begins with ``/`` (still percent-encoded, the part after the service code) and
    ``query`` is without its ``?``. A long answer goes to ``room``; without one, it is
    kept in memory. When ``once`` is set, it is not sent a second time, whatever its method.
    Of an answer longer than ``answer_max_bytes`` no more need be read.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: Body
    room: Room | None = None
    once: bool = False
    answer_max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BackendResponse(Generic[BodyT]):
    """What the backend answered, whole."""

    status: int
    headers: Headers
    body: BodyT


class NotDelivered(Problem):
    """A failure before the backend was asked: no byte of the request reached it."""


class Backend(Protocol):
    """Something that answers requests of one service."""

    async def exchange(
        self,
        request: BackendRequest,
        *,
        timeout_s: float,
        first_byte_s: float = math.inf,
        connect_s: float = math.inf,
    ) -> BackendResponse[Body]:
        """Answer one request.

        Args:
            timeout_s: for the whole answer; one that is long and moves has more.
            first_byte_s: until the answer begins.
            connect_s: for a new connection, if one is needed.

        Raises:
            Problem: ``BACKEND_UNREACHABLE``, ``BACKEND_TIMEOUT``, ``BACKEND_NONSENSE``,
                ``RESPONSE_TOO_LARGE`` or ``SOURCE_FAILED``; a :class:`NotDelivered` only when it
                is certain that nothing of the request was sent.
        """
        ...

    async def close(self) -> None:
        """Give back connections; idempotent."""
        ...
