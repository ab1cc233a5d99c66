"""HTTP messages at the border: bounded reading of requests, plain values in, replies out.

aiohttp's low-level server hands over a request; inside, a message is a method, a target and
:data:`serving.backends.Headers`.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from multidict import CIMultiDict

from exchange.problems import Code, Problem
from serving.backends import Headers

MAX_HEADER_FIELDS = 100


def header_fields(request: web.BaseRequest, max_field_bytes: int) -> Headers:
    """The header fields as lower-case names and stripped latin-1 values, in order.

    Raises:
        Problem: ``InvalidHeader`` when there are more than 100 fields or one is too long.
    """
    raw = request.raw_headers
    if len(raw) > MAX_HEADER_FIELDS:
        raise Problem(
            Code.INVALID_HEADER,
            where="header block",
            detail=f"{len(raw)} fields, at most {MAX_HEADER_FIELDS} are taken",
            status=431,
        )
    fields = []
    for name, value in raw:
        if len(value) > max_field_bytes:
            raise Problem(
                Code.INVALID_HEADER,
                where=name[:80].decode("latin-1"),
                detail=f"field of {len(value)} bytes, at most {max_field_bytes} are taken",
                status=431,
            )
        fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))
    return tuple(fields)


async def read_body(request: web.BaseRequest, max_bytes: int, timeout_s: float) -> bytes:
    """The request's whole body.

    Raises:
        Problem: ``PayloadTooLarge`` as soon as more than ``max_bytes`` are announced or come;
            ``InvalidRequest`` (408) when the body is not there within ``timeout_s``, or (400)
            when it ends early.
    """
    if not request.body_exists:
        return b""
    announced = request.content_length
    if announced is not None and announced > max_bytes:
        raise _too_large(announced, max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(size, max_bytes)
                chunks.append(chunk)
    except TimeoutError as error:
        raise Problem(
            Code.INVALID_REQUEST,
            where="body",
            detail=f"the body was not complete within {timeout_s:g} s",
            status=408,
        ) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Problem(
            Code.INVALID_REQUEST, where="body", detail="the body ended early or is malformed"
        ) from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def response(status: int, headers: Headers, body: bytes) -> web.Response:
    """An aiohttp response with exactly these end-to-end fields."""
    return web.Response(status=status, headers=CIMultiDict(headers), body=body)


def _too_large(size: int, limit: int) -> Problem:
    return Problem(
        Code.PAYLOAD_TOO_LARGE,
        where="body",
        detail=f"at least {size} bytes, at most {limit} are taken",
        facts={"limit_bytes": limit},
    )
