"""What an exchange brings, an :class:`Answer`, and the reader that makes it of bytes.

Invariants of :class:`AnswerReader`:

- It does no I/O and holds no clock: bytes in, one whole answer or an exception out, whatever the
  cuts between the pieces.
- An answer is whole only when it is known where it ends (RFC 9112 section 6.3) and nothing came
  behind it.
- Whatever it is fed, it raises nothing but :class:`ProtocolError` and :class:`TooLarge`, and keeps
  no more than the two limits; of a long body, only what was not taken meanwhile.

Stricter than RFC 9112 asks, because both ends are known: no obsolete line folding, no bare LF, no
``Transfer-Encoding`` but ``chunked``, no ``Content-Length`` beside it, no protocol switch. Trailer
fields are read and dropped. The parser is llhttp (httptools).
"""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from serving.backends import BodyT, Headers
from serving.failures import ExchangeFailed, ProtocolError, TooLarge
from serving.field_names import FIELD_NAMES

_INTERIM_WITHOUT_BODY: Final = frozenset({100, 102, 103})
_MAX_INTERIM_ANSWERS: Final = 16
_LETTER_H: Final = ord("H")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_MAX_LENGTH_DIGITS: Final = 20


class Answer(NamedTuple, Generic[BodyT]):
    """A whole answer.

    ``headers`` are in order, with lower-case names, stripped values (ISO 8859-1) and repeats.
    ``reused`` tells whether the connection had carried an exchange before.
    """

    status: int
    headers: Headers
    body: BodyT
    reused: bool


class AnswerReader:
    """Reads the answers of one connection, one after the other.

    The methods named ``on_…`` belong to httptools. They must not raise: the first fault is kept
    and raised when the piece is through.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_fault",
        "_final",
        "_head_only",
        "_headers",
        "_interim",
        "_interims",
        "_max_body_bytes",
        "_max_head_bytes",
        "_most_body_bytes",
        "_parser",
        "_received",
        "_tail",
        "_taken",
        "_until_end",
        "_whole",
        "announced",
        "keep_alive",
        "status",
    )

    def __init__(self, *, max_head_bytes: int, max_body_bytes: int) -> None:
        self._max_head_bytes = max_head_bytes
        self._most_body_bytes = self._max_body_bytes = max_body_bytes
        self._parser: Any = HttpResponseParser(self)
        self._head_only = False
        self.begin(head_only=False)

    def begin(self, *, head_only: bool, max_body_bytes: int | None = None) -> None:
        """Expect the answer to a new request; ``head_only`` when that is HEAD.

        ``max_body_bytes`` is a stricter bound for this answer alone.
        """
        if self._head_only:
            self._parser = HttpResponseParser(self)  # llhttp still waits for the body's bytes
        self._head_only = head_only
        most = self._most_body_bytes
        self._max_body_bytes = most if max_body_bytes is None else min(most, max_body_bytes)
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_size = 0
        self._taken = 0
        self._received = 0
        self._tail = b""
        self._interims = 0
        self._interim = False
        self._final = False
        self._whole = False
        self._until_end = False
        self._fault: ExchangeFailed | None = None
        self.status = 0
        self.keep_alive = False
        self.announced = 0
        """How long the body will be, as far as the head says; 0 when it does not say."""

    @property
    def started(self) -> bool:
        """Whether anything of the answer has come."""
        return self._received > 0

    @property
    def received(self) -> int:
        """The bytes of the answer that have come."""
        return self._received

    @property
    def headers(self) -> Headers:
        return tuple(self._headers)

    @property
    def pending(self) -> int:
        """The bytes of the body that have come and were not taken."""
        return self._body_size - self._taken

    def take(self) -> list[bytes]:
        """What has come of the body since the last time."""
        pieces, self._body = self._body, []
        self._taken = self._body_size
        return pieces

    @property
    def body(self) -> bytes:
        """The whole body, of which nothing was taken."""
        chunks = self._body
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def feed(self, data: bytes) -> bool:
        """Read a piece; True when the answer is whole, and then no more may be fed.

        Raises:
            ProtocolError: this is no HTTP/1.1 answer, or something came behind it.
            TooLarge: head or body exceed their limits.
        """
        if not data:
            return self._whole
        if self._received == 0 and data[0] != _LETTER_H:
            # llhttp would also take RTSP/ and ICE/, and blank lines in front
            raise ProtocolError("the answer does not begin with HTTP/")
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self._fault is not None:
                raise self._fault from error
            raise ProtocolError(f"the answer cannot be read: {error}") from error
        if self._fault is not None:
            raise self._fault
        body_size = self._body_size
        if self._received - body_size > self._max_head_bytes + 8 * body_size:
            # the head, interim answers, chunk sizes and extensions, trailers: all but the body;
            # eight bytes suffice to frame a chunk of one byte
            raise TooLarge("head", self._max_head_bytes)
        if self._head_only:
            self._tail = (self._tail + data)[-4:]
            if self._whole and self._tail != b"\r\n\r\n":
                raise ProtocolError("bytes came behind the answer to HEAD")
        return self._whole

    def end(self) -> bool:
        """The connection ended: True when that ends the body (RFC 9112 section 6.3, item 8)."""
        if self._whole or not self._until_end:
            return False
        self.keep_alive = False
        return True

    def _blame(self, fault: ExchangeFailed) -> None:
        if self._fault is None:
            self._fault = fault

    def on_message_begin(self) -> None:
        if self._whole:
            self._blame(ProtocolError("bytes came behind the answer"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._final:
            self._headers.append((FIELD_NAMES[name], value.decode("latin-1").strip(" \t")))
        elif FIELD_NAMES[name] in _FRAMING:
            self._blame(ProtocolError("a trailer of the answer says how it is framed"))

    def on_headers_complete(self) -> None:
        if self._whole:
            return
        parser = self._parser
        status: int = parser.get_status_code()
        if parser.get_http_version() not in ("1.1", "1.0"):
            self._blame(ProtocolError("the answer is not HTTP/1.1"))
        elif 100 <= status < 200:
            self._interims += 1
            self._interim = True
            if status not in _INTERIM_WITHOUT_BODY or self._interims > _MAX_INTERIM_ANSWERS:
                self._blame(ProtocolError(f"the interim answer {status} was not asked for"))
        elif not 200 <= status <= 599:
            self._blame(ProtocolError(f"the status {status} does not exist"))
        else:
            self._final = True
            self.status = status
            self._judge_framing(status)

    def _judge_framing(self, status: int) -> None:
        """RFC 9112 section 6.3: how the body will end."""
        fields = self._headers
        names = [name for name, _ in fields]
        length = fields[names.index("content-length")][1] if "content-length" in names else None
        codings = []
        if "transfer-encoding" in names:
            codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
        if self._head_only:
            self._whole = True
            self.keep_alive = self._parser.should_keep_alive()
        elif codings and (codings != ["chunked"] or self._parser.get_http_version() != "1.1"):
            # HTTP/1.0 has none: its framing is faulty (RFC 9112 section 6.1)
            self._blame(ProtocolError("the answer has a transfer coding other than chunked"))
        elif status in (204, 304):
            return
        elif length is not None:
            if len(length) > _MAX_LENGTH_DIGITS or not (length.isascii() and length.isdecimal()):
                self._blame(ProtocolError("the Content-Length is not a length"))
            else:
                self.announced = int(length)
                if self.announced > self._max_body_bytes:
                    self._blame(TooLarge("body", self._max_body_bytes))
        elif not codings:
            self._until_end = True

    def on_chunk_header(self) -> None:
        if self._whole:
            self._blame(ProtocolError("bytes came behind the answer"))

    def on_body(self, data: bytes) -> None:
        if self._whole:
            self._blame(ProtocolError("bytes came behind the answer"))
            return
        self._body_size += len(data)
        if self._body_size > self._max_body_bytes:
            self._blame(TooLarge("body", self._max_body_bytes))
            self._body.clear()
        elif self._fault is None:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            self._headers.clear()
        elif not self._whole:
            self._whole = True
            self.keep_alive = self._parser.should_keep_alive()
