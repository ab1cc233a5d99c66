"""The first line of a request, judged as text: what llhttp lets pass and what it cannot tell.

llhttp takes RTSP and ICE for HTTP, several spaces for one, and any line break in front of a
request; it says of HTTP/2 only that it paused. Of targets it knows the characters, not the forms.

Sources: RFC 9112 sections 2.2, 2.3, 3, 3.2; RFC 9110 sections 4.2.4, 7.2, 9.3.6, 15.6.6.
"""

from __future__ import annotations

import re
from typing import Final

from exchange.problems import Code, Problem

_AROUND_TARGET: Final = 64
"""A request line is at most so much longer than its target."""
_MAX_BLANK: Final = 16
_BLANK: Final = re.compile(rb"(?:\r\n)*")
_LINE: Final = re.compile(rb"[!-~]+ [!-~]+ HTTP/(\d\.\d)")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]+)(/[^?#]*)?(\?[^#]*)?")
# RFC 3986 sections 3.2.2 and 3.2.3: a registered name, an address, an address in brackets; a port.
_HOST: Final = re.compile(
    r"(?:(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])?(?::\d{0,5})?",
    re.ASCII,
)
_TLS_RECORD: Final = b"\x16"


def skip_blank(start: bytes, before: int) -> bytes:
    """What has come of a request without the blank lines in front (RFC 9112 section 2.2).

    Args:
        before: how many bytes of blank lines were skipped already.

    Raises:
        Problem: ``InvalidRequest`` when there are too many.
    """
    line = start[_BLANK.match(start).end() :]  # type: ignore[union-attr]  # matches nothing, too
    if before + len(start) - len(line) > 2 * _MAX_BLANK:
        raise malformed("blank lines in front of the request")
    return line


def is_whole(line: bytes, max_target_bytes: int) -> bool:
    """Whether the request line is complete in what has come of a request so far.

    Raises:
        Problem: ``InvalidRequest``: 400 for what is no request line, 414 for one without end,
            505 for another version or protocol.
    """
    if line[:1] == _TLS_RECORD:
        raise malformed("TLS was begun where plain text is spoken")
    if line[:1] in (b"\r", b"\n"):
        raise malformed("a line ends with CR LF")
    end = line.find(b"\r\n")
    if end < 0:
        if len(line) > max_target_bytes + _AROUND_TARGET:
            raise long_target(max_target_bytes)
        return False
    found = _LINE.fullmatch(line, 0, end)
    if line.startswith(b"PRI * HTTP/2"):
        raise malformed("HTTP/2 was begun; only HTTP/1.1 is spoken here", 505)
    if found is not None and found[1] not in (b"1.1", b"1.0"):
        raise malformed("only HTTP/1.1 is spoken here", 505)
    if found is None:
        if line.count(b" ", 0, end) < 2:
            raise malformed("no version of HTTP is named: only HTTP/1.1 is spoken here", 505)
        raise malformed("the request line is not: method, one space, target, one space, HTTP/1.1")
    return True


def origin_form(method: str, target: bytes, host: str | None) -> bytes:
    """A target that does not begin with ``/`` as one that does.

    The absolute form is taken when it names the same host as the Host field, or that is missing
    (HTTP/1.0). RFC 9112 section 3.2.2 has a server go by the target alone; but section 3.2 has
    every client send both alike, so that a difference is a fault or an attempt to be read in two
    ways.

    Raises:
        Problem: ``InvalidRequest``: 501 for CONNECT, 400 for the asterisk form and others.
    """
    if method == "CONNECT":
        raise malformed("CONNECT asks for a tunnel, and none is made here", 501)
    if target == b"*":
        raise malformed("the asterisk form names no service, and nothing else is offered here")
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise malformed("the request target must begin with /, or be an http or https URL")
    authority = found[1].decode("latin-1").lower()
    if not is_host(authority) or (host is not None and host.lower() != authority):
        raise malformed("the URL in the request line and the Host field name different hosts")
    return (found[2] or b"/") + (found[3] or b"")


def is_host(value: str) -> bool:
    """Whether a Host field is a host and perhaps a port; it may be empty (RFC 9110 7.2)."""
    return _HOST.fullmatch(value) is not None


def malformed(detail: str, status: int = 400) -> Problem:
    """What is not the HTTP/1.1 that is spoken here."""
    return Problem(Code.INVALID_REQUEST, where="HTTP message", detail=detail, status=status)


def long_target(max_bytes: int) -> Problem:
    """A target beyond the bound."""
    return Problem(
        Code.INVALID_REQUEST,
        where="request target",
        detail=f"longer than {max_bytes} bytes",
        status=414,
    )
