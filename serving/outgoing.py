"""What goes out: a reply as a value, and the heads of replies and requests as bytes.

What cannot be written without being read as something else is refused, not repaired.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

from serving.backends import Headers
from serving.bodies import Body

BODILESS: Final = frozenset({204, 304})
"""The status codes of replies without a body (RFC 9110 section 6.4.1)."""
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})
_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_TARGET: Final = re.compile(r"[!-~]+").fullmatch
_FRAMING: Final = ("\ncontent-length:", "\ntransfer-encoding:")
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus
}


class Reply(NamedTuple):
    """What a handler answers: end-to-end fields with lower-case names, and the whole body."""

    status: int
    headers: Headers
    body: Body


def format_head(method: str, reply: Reply, *, keep: bool) -> bytes:
    """Status line and fields of a reply to a request of this method.

    Raises:
        ValueError: a field that would be read as something else.
    """
    status, headers, body = reply
    lines = [
        _STATUS_LINES.get(status) or f"HTTP/1.1 {status} ",
        _DATE.line(),
        *map(": ".join, headers),
    ]
    if status not in BODILESS and (body or method != "HEAD"):
        # Of HEAD without a body it is not known (RFC 9110 section 8.6).
        lines.append(f"content-length: {len(body)}")
    if not keep:
        lines.append("connection: close")
    return f"{_joined(lines)}\r\n\r\n".encode("latin-1")


def format_request_head(
    method: str, target: str, headers: Sequence[tuple[str, str]], body_size: int
) -> bytes:
    """Request line and fields, with ``Content-Length`` where there is a body or one is expected.

    Raises:
        ValueError: what would be read as something else at the other end.
    """
    if not _METHOD(method) or method == "CONNECT":
        raise ValueError("the method is not a token that this client can send")
    if not _TARGET(target):
        raise ValueError("the target has characters that a request line cannot carry")
    text = _joined([f"{method} {target} HTTP/1.1", *map(": ".join, headers)])
    lowered = text.lower()
    if any(name in lowered for name in _FRAMING):
        raise ValueError("the fields of framing are set by the client, not by its caller")
    if body_size or method not in _WITHOUT_BODY:
        return f"{text}\r\nContent-Length: {body_size}\r\n\r\n".encode("latin-1")
    return f"{text}\r\n\r\n".encode("latin-1")


def _joined(lines: list[str]) -> str:
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a field contains a line break or NUL")
    return text


class _Date:
    """The Date field, written once a second (RFC 9110 section 6.6.1)."""

    def __init__(self) -> None:
        self._second = -1
        self._line = ""

    def line(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._line = now, f"date: {formatdate(now, usegmt=True)}"
        return self._line


_DATE: Final = _Date()
