"""A reply as it goes out: its value, and its head as bytes.

What cannot be written without being read as something else is refused, not repaired.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

from serving.backends import Headers
from serving.bodies import Body

BODILESS: Final = frozenset({204, 304})
"""The status codes of replies without a body (RFC 9110 section 6.4.1)."""
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
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a field of the reply contains a line break or NUL")
    return f"{text}\r\n\r\n".encode("latin-1")


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
