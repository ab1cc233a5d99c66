"""Reads requests: bytes of a connection to heads and pieces of bodies, over llhttp, without I/O.

Invariants:
- one message at a time: what comes behind a whole request is given back to the connection, which
  lets it wait for its turn;
- a head and the framing of a chunked body are bounded while they come;
- what llhttp refuses (both lengths, bare CR, obs-fold, illegal characters), and what it takes but
  others may read in another way (:mod:`serving.request_lines`), ends the connection with a problem;
- another protocol is not taken up (RFC 9110 section 7.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from exchange.problems import Code, Problem
from serving.backends import Headers
from serving.field_names import FIELD_NAMES
from serving.incoming import Request
from serving.request_lines import (
    is_host,
    is_whole,
    long_target,
    malformed,
    origin_form,
    skip_blank,
)

if TYPE_CHECKING:
    from serving.requests import Connection, Owner

_HEAD_END: Final = b"\r\n\r\n"
_SPACE: Final = ord(" ")


class RequestReader:
    """The reading half of a connection; also the callbacks of its parser."""

    __slots__ = (
        "_connection",
        "_fields",
        "_host",
        "_line",
        "_line_whole",
        "_names",
        "_owner",
        "_parser",
        "_tail",
        "_target",
        "raw_bytes",
        "request",
    )

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self._connection = connection
        self._owner = owner
        self._parser: Any = HttpRequestParser(self)
        self._fields: list[tuple[str, str]] = []
        self._names: list[bytes] = []
        self._target = b""
        self._line = b""  # as much of a request line as has come, while it is not whole
        self._line_whole = False
        self._host = ""  # the last one that was judged good
        self._tail = b""  # of the pieces of a head that is not complete
        self.raw_bytes = 0
        """Of the head, and of a chunked body with its framing."""
        self.request: Request | None = None
        """The one that is being read, or answered."""

    def next(self) -> None:
        """The request is answered: another one may come."""
        self.request = None
        self.raw_bytes, self._line_whole = 0, False

    def feed(self, data: bytes) -> None:
        """Parse, one message at a time: llhttp cannot be told to stop behind one."""
        connection = self._connection
        while data and not connection.deaf:
            request = self.request
            if request is None:
                if not self.raw_bytes:
                    connection.head_begins()
                if not self._line_whole:
                    data = self._judge_line(data)
                    if not data:
                        return
                cut = self._end_of_head(data)
                self.raw_bytes += cut
                if self.raw_bytes > self._owner.max_head_bytes:
                    connection.refuse(self._too_long_head())
                    return
            elif request.complete:
                connection.wait_its_turn(data)
                return
            elif request.length is None:
                cut = len(data)
                self.raw_bytes += cut
            else:
                cut = request.length - request.size
            if cut >= len(data):
                piece, data = data, b""
            else:
                piece, data = data[:cut], data[cut:]
            if not self._parse(piece):
                return

    def _judge_line(self, data: bytes) -> bytes:
        """Judge the request line as it comes; returns what is to be parsed of this piece: all but
        blank lines in front, and nothing when the line was refused."""
        start = self._line + data if self._line else data
        end = start.find(b"\r\n")
        if (
            start[end - 9 : end] == b" HTTP/1.1"
            and start.count(b" ", 0, end) == 2
            and start[0] > _SPACE
        ):
            self._line, self._line_whole = b"", True  # as nearly all are
            return data
        try:
            if self._line in (b"", b"\r"):
                data = skip_blank(start, self.raw_bytes)
                self.raw_bytes += len(start) - len(data)
                start = data
            if start in (b"", b"\r"):
                self._line = start
                return b""
            self._line_whole = is_whole(start, self._owner.max_line_bytes)
        except Problem as problem:
            self._connection.refuse(problem)
            return b""
        self._line = b"" if self._line_whole else start
        return data

    def _end_of_head(self, data: bytes) -> int:
        """How much of this piece belongs to a head, whose end may be cut between two pieces."""
        tail = self._tail
        if tail:
            place = (tail + data[:3]).find(_HEAD_END)
            if place >= 0:
                self._tail = b""
                return place + len(_HEAD_END) - len(tail)
        place = data.find(_HEAD_END)
        if place >= 0:
            self._tail = b""
            return place + len(_HEAD_END)
        self._tail = (tail + data[-3:])[-3:]
        return len(data)

    def _parse(self, data: bytes) -> bool:
        """Give llhttp a piece; False when nothing more may follow."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            request = self.request
            if request is None or request.length == 0:
                self._connection.hear_no_more()
                return False
            # The offer is ignored, and the body belongs to the request (RFC 9110 section 7.8);
            # llhttp leaves it to the other protocol.
            request.keep_alive = False
            self._parser = _parser_of_body(self, request.length)
            return True
        except HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _SentAhead):
                self._connection.hear_no_more()
            elif isinstance(cause, _Refused):
                self._connection.refuse(cause.problem)
            else:
                text = str(error)[:200]
                self._connection.refuse(
                    malformed(text or "not a well-formed HTTP/1.1 message", 400)
                )
            return False
        request = self.request
        if (
            request is not None
            and request.length is None
            and self.raw_bytes > 2 * self._owner.max_head_bytes + 8 * request.size
        ):
            # Chunk extensions and trailers without end; eight bytes frame a chunk of one byte.
            self._connection.refuse(malformed("the chunks carry too little", 400))
            return False
        return True

    def on_url(self, url: bytes) -> None:
        if self.request is not None:
            raise _SentAhead
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.request is None:  # and not in a trailer, which is dropped
            self._names.append(name)
            self._fields.append((FIELD_NAMES[name], value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        if self.request is not None:
            raise _SentAhead
        parser = self._parser
        target, self._target = self._target, b""
        fields, self._fields = tuple(self._fields), []
        written, self._names = tuple(self._names), []
        names = [name for name, _ in fields]
        version = parser.get_http_version()
        method = parser.get_method().decode("ascii")
        self._judge(version, target, names)
        host = self._judge_host(fields, names) if "host" in names else None
        fault: Problem | None = None
        if target[:1] != b"/":
            try:
                target = origin_form(method, target, host)
            except Problem as problem:
                fault = problem
        length: int | None = 0
        if "content-length" in names:
            length = int(fields[names.index("content-length")][1])
        elif "transfer-encoding" in names:
            if version == "1.0":  # RFC 9112 section 6.1: its framing is faulty
                raise _Refused(malformed("HTTP/1.0 has no transfer codings", 400))
            length = None
            codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
            if codings != ["chunked"]:
                raise _Refused(malformed("no transfer coding but chunked is taken", 501))
        self.request = request = Request(
            self._connection,
            method,
            target.decode("latin-1"),
            fields,
            names=written,
            length=length,
            keep_alive=fault is None and version == "1.1" and parser.should_keep_alive(),
            expects_continue="expect" in names
            and version == "1.1"
            and fields[names.index("expect")][1].lower() == "100-continue",
        )
        request.fault = fault
        self._connection.answer(request)

    def _judge(self, version: str, target: bytes, names: list[str]) -> None:
        if version not in ("1.1", "1.0"):
            raise _Refused(malformed("only HTTP/1.1 is spoken here", 505))
        if len(target) > self._owner.max_line_bytes:
            raise _Refused(long_target(self._owner.max_line_bytes))
        if len(names) > self._owner.max_fields:
            raise _Refused(self._too_long_head())
        hosts = names.count("host")
        if hosts != 1 and (hosts > 1 or version == "1.1"):
            raise _Refused(malformed("exactly one Host field is needed", 400))

    def _judge_host(self, fields: Headers, names: list[str]) -> str:
        """RFC 9112 section 3.2: an invalid Host is answered with 400."""
        host = fields[names.index("host")][1]
        if host != self._host:
            if not is_host(host):
                raise _Refused(malformed("the Host field names no host", 400))
            self._host = host
        return host

    def _too_long_head(self) -> Problem:
        owner = self._owner
        return Problem(
            Code.INVALID_HEADER,
            where="header block",
            detail=f"more than {owner.max_fields} fields or {owner.max_head_bytes} bytes",
            status=431,
        )

    def on_body(self, body: bytes) -> None:
        request = self.request
        if request is not None and request.came(body):
            self._connection.pause()

    def on_message_complete(self) -> None:
        request = self.request
        if request is not None and (
            request.size == request.length
            or (request.length is None and not self._parser.should_upgrade())
        ):
            request.ended()


class _OfBody:
    """The callbacks of a parser that reads a body alone."""

    def __init__(self, reader: RequestReader) -> None:
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete


def _parser_of_body(reader: RequestReader, length: int | None) -> Any:
    parser: Any = HttpRequestParser(_OfBody(reader))
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
    return parser


class _SentAhead(Exception):
    """The next request behind this one, in a piece that could not be cut between them."""


class _Refused(Exception):
    """A problem found inside a callback of the parser."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem
