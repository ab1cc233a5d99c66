"""Calls: what an application asked for, put together from the parts of its request."""

from __future__ import annotations

from exchange.identifiers import ApplicationId, ServerId, ServiceId
from exchange.problems import Code, Problem
from mediator.message.stages import Call
from mediator.xroad.addresses import canonical
from mediator.xroad.fields import MAX_FIELDS, first, forwarded, own_fields, subject_of
from serving.backends import Headers
from serving.bodies import Body, Room
from serving.randomness import random_uuid

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


def new_request_id() -> str:
    """X-Road-Request-Id: a UUID that finds both sides' records."""
    return random_uuid()


def call_of(
    method: str,
    target: str,
    named: tuple[ServiceId, str, str],
    headers: Headers,
    body: Body,
    client: ApplicationId,
    request_id: str,
    room: Room | None = None,
) -> Call:
    """The call behind a request that was authenticated as ``client``.

    Args:
        named: what :func:`service_of` found in ``target``.

    Raises:
        Problem: ``InvalidRequest`` for an unknown method; ``InvalidHeader`` for a message id
            or a context header that is repeated or malformed.
    """
    if method not in METHODS:
        raise Problem(
            Code.INVALID_REQUEST, where="method", detail=f"{method[:20]!r} is not taken", status=501
        )
    service, path, query = named
    if len(headers) > MAX_FIELDS:
        raise Problem(
            Code.INVALID_HEADER,
            where="header block",
            detail=f"{len(headers)} fields, at most {MAX_FIELDS} are taken",
            status=431,
        )
    if first(headers, "x-road-request-id"):
        # This server gives the request its id; what the application wrote there says nothing.
        headers = tuple([item for item in headers if item[0] != "x-road-request-id"])
    own = own_fields(headers)
    wanted = own.get("x-road-security-server", "")
    identifier = own.get("x-road-id") or f"{service.instance}-{random_uuid()}"
    return Call(
        client=client,
        service=service,
        method=method,
        target=target,
        path=path,
        query=query,
        headers=forwarded(headers, traced=bool(own.get("traceparent"))),
        body=body,
        message_id=identifier,
        request_id=request_id,
        trace=own.get("traceparent", ""),
        purpose=own.get("exchange-purpose", ""),
        agreement=own.get("exchange-agreement", ""),
        subject=subject_of(own),
        wanted_server=_server(wanted) if wanted else None,
        accept=first(headers, "accept"),
        room=room,
    )


def _server(text: str) -> ServerId:
    where = "X-Road-Security-Server"
    return ServerId.parse(canonical(text, where), where)
