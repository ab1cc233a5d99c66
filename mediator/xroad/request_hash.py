"""X-Road-Request-Hash: which request an answer belongs to (X-Road's RestRequest and RestMessage).

SHA-512 over the request as the application sent it, in base64: of the head alone when there is no
body, else of the head's SHA-512 followed by the body's. The head is::

    METHOD CRLF
    path?query CRLF
    name:value CRLF      for each field that is kept, in order, the name as it was written
    x-road-request-id:… CRLF
    x-road-id:… CRLF     when the application sent none

An application has all of it but the two ids, which the answer tells: so it can compute the hash
anew. X-Road's rule names no spelling of characters outside ASCII; its source writes UTF-8.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha512
from typing import Final

from serving.backends import Headers
from serving.bodies import Body, digest_of

# What takes less than a millisecond, about as long as it takes to ask a thread.
_AT_ONCE_BYTES: Final = 128 * 1024
_SKIPPED: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        # a value of the application's own is replaced
        "x-road-request-hash",
        "x-road-request-id",
    }
)


def head_of(
    method: str,
    target: str,
    headers: Headers,
    names: tuple[bytes, ...],
    request_id: str,
    message_id: str,
) -> bytes:
    """The head that is hashed.

    Args:
        target: as the application wrote it.
        headers: the fields as they came, with names in lower case.
        names: the same names as they were written; empty when nobody knows.
        request_id: the id that this server gave the request.
        message_id: the id that this server gave the message; empty when the application did.
    """
    written = names or tuple([name.encode() for name, _ in headers])
    lines = [f"{method}\r\n{target}\r\n".encode()]
    lines += [
        spelled + b":" + value.encode() + b"\r\n"
        for spelled, (name, value) in zip(written, headers, strict=True)
        if name not in _SKIPPED
    ]
    lines.append(f"x-road-request-id:{request_id}\r\n".encode())
    if message_id:
        lines.append(f"x-road-id:{message_id}\r\n".encode())
    return b"".join(lines)


async def request_hash(head: bytes, body: Body) -> str:
    """The value of X-Road-Request-Hash; a long body is hashed by a thread."""
    digest = sha512(head).digest()
    if len(body):
        if isinstance(body, bytes) and len(body) > _AT_ONCE_BYTES:
            of_body = await asyncio.to_thread(lambda: sha512(body).digest())
        else:
            of_body = await digest_of(body, "sha512")
        digest = sha512(digest + of_body).digest()
    return b64encode(digest).decode()
