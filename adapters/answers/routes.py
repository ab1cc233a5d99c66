"""Which endpoint a path asks, whatever the kind of source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from adapters.answers.faults import bad, decode
from exchange.problems import Code


class Routed(Protocol):
    """An endpoint."""

    @property
    def path(self) -> str: ...

    @property
    def segments(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Routed)
S = TypeVar("S", bound=Routed, covariant=True)


class Routes(Protocol[S]):
    """A service with endpoints."""

    @property
    def endpoints(self) -> tuple[S, ...]: ...


def find(service: Routes[R], path: str) -> tuple[R, dict[str, str]]:
    """The endpoint of ``path`` (still percent-encoded) and the values of its variables.

    A literal segment wins over a variable.

    Raises:
        Fault: 404 when no endpoint has this path; 400 for a malformed escape.
    """
    found = best(service.endpoints, path)
    if found is None:
        known = ", ".join(endpoint.path for endpoint in service.endpoints)
        detail = f"there is no such path in this service; known: {known}"
        raise bad("path", detail, Code.UNKNOWN_ENDPOINT, 404)
    return found


def best(candidates: Iterable[R], path: str) -> tuple[R, dict[str, str]] | None:
    """The one of ``candidates`` that ``path`` means, if one does, and the values of its variables.

    Raises:
        Fault: 400 for a malformed escape.
    """
    parts = [decode(part, "path") for part in (path or "/").split("/")[1:]]
    found: tuple[tuple[bool, ...], R, dict[str, str]] | None = None
    for one in candidates:
        variables = _match(one.segments, parts)
        if variables is None:
            continue
        rank = tuple(segment.startswith("{") for segment in one.segments)
        if found is None or rank < found[0]:
            found = (rank, one, variables)
    return None if found is None else (found[1], found[2])


def _match(segments: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    if len(segments) != len(parts):
        return None
    variables = {}
    for segment, part in zip(segments, parts, strict=True):
        if segment.startswith("{"):
            if not part:
                return None
            variables[segment[1:-1]] = part
        elif segment != part:
            return None
    return variables
