"""One question to a service that is no security server: a time-stamp authority, a responder.

Invariants: everything is bounded, in time and in bytes; redirects are not followed, nothing is
kept between two questions, and only ``200`` is an answer. What the answer says is for the caller
to judge.
"""

from __future__ import annotations

import ssl
from functools import cache
from urllib.parse import urlsplit

from serving.client import Pool
from serving.failures import ExchangeFailed
from serving.pool_places import PoolLimits

MAX_HEAD_BYTES = 16 * 1024


class Unanswered(Exception):
    """No answer came; the argument says why, in a clause for an operator."""


async def ask(
    url: str,
    question: bytes | None,
    media_type: str,
    *,
    timeout_s: float,
    max_bytes: int,
) -> bytes:
    """Post ``question`` as ``media_type``, or get ``url`` when there is none.

    Raises:
        Unanswered: whatever came between.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    try:
        port = parts.port or (443 if secure else 80)
    except ValueError as error:
        raise Unanswered(f"{url} is no address") from error
    pool = Pool(
        parts.hostname or "",
        port,
        ssl=_public() if secure else None,
        limits=PoolLimits(
            max_connections=1,
            connect_s=timeout_s,
            max_head_bytes=MAX_HEAD_BYTES,
            max_body_bytes=max_bytes,
        ),
    )
    headers = [("Host", parts.netloc), ("Accept", "*/*"), ("Connection", "close")]
    if question is not None:
        headers.append(("Content-Type", media_type))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        answer = await pool.exchange(
            "GET" if question is None else "POST",
            target,
            headers,
            question or b"",
            timeout_s=timeout_s,
            repeatable=False,
        )
    except (ExchangeFailed, ValueError) as error:
        raise Unanswered(f"{url}: {error}") from error
    finally:
        await pool.close()
    if answer.status != 200:
        raise Unanswered(f"{url} answers with HTTP status {answer.status}")
    return answer.body


@cache
def _public() -> ssl.SSLContext:
    """TLS as the system trusts it: what is asked is judged by its own signature."""
    return ssl.create_default_context()
