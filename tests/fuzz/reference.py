"""A slow, obvious reading of HTTP/1.1: whole bytes in, messages out (RFC 9112).

What it refuses is malformed or could be read in two ways, so no parser of ours may take it. It
takes a little more than ours (which close a connection early, or bound what is legal).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.([01])")
# The reason phrase is dropped unread, so that nothing in it matters.
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*(" + _VALUE + rb")[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,200})(?:;[\t -~\x80-\xff]*)?")
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+;=%\[\]:]*")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)(/[^?#]*)?(\?[^#]*)?")

Fields = tuple[tuple[str, str], ...]


class Refused(Exception):
    """Malformed, or not the same to everybody."""


class Incomplete(Exception):
    """More bytes are needed to tell."""


class RequestRead(NamedTuple):
    method: str
    target: str
    fields: Fields
    body: bytes


class AnswerRead(NamedTuple):
    status: int
    fields: Fields
    body: bytes


def requests_in(data: bytes) -> list[RequestRead]:
    """The requests that a stream begins with, up to the first that is refused or not whole."""
    found = []
    try:
        while True:
            request, data = _request(data)
            found.append(request)
    except (Refused, Incomplete):
        return found


def _request(data: bytes) -> tuple[RequestRead, bytes]:
    while data.startswith(b"\r\n"):
        data = data[2:]
    first, fields, rest = _head(data)
    line = _LINE.fullmatch(first)
    if line is None or line[1] == b"CONNECT":
        raise Refused(first)
    modern = line[3] == b"1"
    hosts = _all(fields, "host")
    if len(hosts) > 1 or (modern and not hosts) or not all(_HOST.fullmatch(h) for h in hosts):
        raise Refused("host")
    target = line[2]
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or (hosts and hosts[0].lower() != absolute[1].lower()):
            raise Refused(target)
        target = (absolute[2] or b"/") + (absolute[3] or b"")
    chunked, length = _framing(fields, modern)
    if chunked:
        body, rest = _chunks(rest)
    else:
        body, rest = _exactly(rest, length or 0)
    return RequestRead(line[1].decode(), target.decode("latin-1"), fields, body), rest


def answer_in(data: bytes, *, head_only: bool = False) -> AnswerRead | None:
    """The one answer that these bytes are; None when more are needed.

    Raises:
        Refused: they are none, or something comes behind it.
    """
    try:
        while True:
            first, fields, rest = _head(data)
            line = _STATUS.fullmatch(first)
            if line is None:
                raise Refused(first)
            status = int(line[2])
            if status not in (100, 102, 103):
                break
            data = rest
        if status < 200:
            raise Refused("switching protocols")
        if head_only or status in (204, 304):
            body = b""
        else:
            chunked, length = _framing(fields, line[1] == b"1")
            if chunked:
                body, rest = _chunks(rest)
            elif length is not None:
                body, rest = _exactly(rest, length)
            else:
                return None  # ends with the connection
    except Incomplete:
        return None
    if rest.strip(b"\r\n"):  # blank lines are nothing, as in front of a request (section 2.2)
        raise Refused("bytes behind the answer")
    return AnswerRead(status, fields, body)


def _head(data: bytes) -> tuple[bytes, Fields, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete
    first, *lines = head.split(b"\r\n")
    return first, _fields(lines), rest


def _fields(lines: list[bytes]) -> Fields:
    found = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Refused(line)
        found.append((field[1].decode().lower(), field[2].decode("latin-1")))
    return tuple(found)


def _all(fields: Fields, name: str) -> list[bytes]:
    return [value.encode("latin-1") for each, value in fields if each == name]


def _framing(fields: Fields, modern: bool) -> tuple[bool, int | None]:
    lengths, codings = _all(fields, "content-length"), _all(fields, "transfer-encoding")
    if codings:
        if lengths or not modern or [value.lower() for value in codings] != [b"chunked"]:
            raise Refused("codings")
        return True, None
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]+", value) for value in lengths):
        raise Refused("lengths")
    return False, int(lengths[0]) if lengths else None


def _exactly(data: bytes, length: int) -> tuple[bytes, bytes]:
    if len(data) < length:
        raise Incomplete
    return data[:length], data[length:]


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Incomplete
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:
            raise Refused(line)
        size = int(chunk[1], 16)
        if not size:
            break
        piece, data = _exactly(data, size + 2)
        if not piece.endswith(b"\r\n"):
            raise Refused("behind a chunk")
        body += piece[:-2]
    lines = []
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Incomplete
        if not line:
            names = {name for name, _ in _fields(lines)}
            if names & {"content-length", "transfer-encoding"}:
                raise Refused("framing in a trailer")
            return body, data
        lines.append(line)
