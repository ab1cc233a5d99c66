"""What leaves of a backend's answer: the fields that the agreement releases, and no field of its
head that speaks for the exchange, or of a document that is not released.

Where fields are restricted, an error of the backend (4xx, 5xx) passes as the members of RFC 9457
that describe a failure, and nothing else of its body does. What restricted fields mean for the
request is here too: a caller may not select what it would not get.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

import orjson

from exchange.contracts.projection import Projection
from exchange.messages.envelope import HOP_BY_HOP
from exchange.problems import Code, Problem
from mediator.message import long_bodies
from mediator.message.stages import Allowed, Judged, Released
from serving.backends import Headers
from serving.bodies import Body, Spooled

# What the backend's answer says of its connection to us, and what this server says itself:
# a backend cannot speak for the exchange.
_NOT_RELEASED: Final = HOP_BY_HOP | {
    "content-digest",
    "content-length",
    "date",
    "proxy-authentication-info",
    "server",
    "signature",
    "signature-input",
    "via",
    "x-road-client",
    "x-road-error",
    "x-road-id",
    "x-road-request-hash",
    "x-road-request-id",
    "x-road-service",
}
# The digest of a record tells what the record says: of the answer to HEAD, too.
_NOT_RELEASED_IN_PART: Final = _NOT_RELEASED | {
    "accept-ranges",
    "content-md5",
    "digest",
    "etag",
    "repr-digest",
}
# What an error of the backend may say under an agreement that releases some fields only.
_OF_A_PROBLEM: Final = frozenset({"type", "title", "status", "detail"})
_OF_THE_MEDIA: Final = frozenset({"content-type", "content-encoding"})
_MAX_PROJECTIONS: Final = 10_000
_MAX_TEXT: Final = 80


@dataclass(frozen=True, slots=True)
class Releases:
    """The compiled fields of all grants; ``max_bytes`` bounds a long answer that is cut."""

    max_bytes: int = long_bodies.CHECKED_MAX_BYTES
    _compiled: dict[tuple[str, ...], Projection] = field(default_factory=dict)

    def of(self, allowed: Allowed) -> Projection:
        """What the grant of a message releases."""
        return self.of_fields(allowed.grant.fields)

    def of_fields(self, fields: tuple[str, ...]) -> Projection:
        """The projection of the fields of a grant."""
        found = self._compiled.get(fields)
        if found is None:
            if len(self._compiled) >= _MAX_PROJECTIONS:
                self._compiled.clear()
            found = self._compiled[fields] = Projection.compile(fields)
        return found

    async def cut(self, judged: Judged) -> Released:
        """Cut an answer down to what is released.

        Raises:
            Problem: ``BackendProtocolError`` when the fields are restricted and the answer is
                not readable JSON, so that nothing leaves that cannot be cut; or
                ``ResponseTooLarge`` when it is too long to be cut.
        """
        delivered, document = judged
        body = delivered.body
        projection = self.of(delivered.checked.allowed)
        if projection.everything:
            return Released(delivered, _without(delivered.headers, _NOT_RELEASED), body)
        headers = _without(delivered.headers, _NOT_RELEASED_IN_PART)
        if not body:
            return Released(delivered, headers, b"")
        if delivered.status >= 400:
            return Released(delivered, _of_problem(headers), _problem_details(body))
        if isinstance(body, Spooled):
            cut = await long_bodies.project(body, document, projection, self.max_bytes)
            return Released(delivered, headers, cut)
        if document is None:
            document = long_bodies.parsed(body)
        return Released(delivered, headers, orjson.dumps(projection.project(document)))


def check_selection(allowed: Allowed, projection: Projection) -> None:
    """Refuse a query that selects a field which the agreement does not release.

    Raises:
        Problem: ``FieldNotReleased``.
    """
    call = allowed.recorded.call
    check_selected(allowed.match.operation.selects, call.query, allowed.agreement.id, projection)


def check_selected(
    parameter: str | None, query: str, agreement: str, projection: Projection
) -> None:
    """As :func:`check_selection`, of the parts of a message.

    Args:
        parameter: the query parameter that selects fields, if the operation has one.

    Raises:
        Problem: ``FieldNotReleased``.
    """
    if parameter is None or projection.everything or not query:
        return
    selected = (
        wanted.strip()
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name == parameter
        for wanted in value.split(",")
    )
    for wanted in selected:
        if not projection.releases(wanted):
            wanted = wanted[:_MAX_TEXT]
            raise Problem(
                Code.FIELD_NOT_RELEASED,
                where=f"query.{parameter}",
                detail=f"agreement {agreement} does not release {wanted!r}",
                facts={"agreement": agreement, "field": wanted},
            )


def _without(headers: Headers, names: frozenset[str]) -> Headers:
    return tuple([item for item in headers if item[0] not in names])


def _of_problem(headers: Headers) -> Headers:
    """The same fields for a body that this server wrote anew."""
    return (*_without(headers, _OF_THE_MEDIA), ("content-type", "application/problem+json"))


def _problem_details(body: Body) -> bytes:
    """The members of RFC 9457 in an error of the backend; empty ones when it is none."""
    try:
        document = orjson.loads(body) if isinstance(body, bytes) else None
    except orjson.JSONDecodeError:
        document = None
    members = document if isinstance(document, dict) else {}
    return orjson.dumps(
        {
            name: value
            for name, value in members.items()
            if name in _OF_A_PROBLEM and isinstance(value, str | int)
        }
    )
