"""Content codings of answers (RFC 9110, 8.4.1): what a backend encoded unasked is decoded.

Requests say ``Accept-Encoding: identity``; some backends compress whatever is asked. Invariants:

- what leaves is the content itself, so that it can be judged, and every digest that is made of it
  further on is of what is sent;
- an answer has no more bytes decoded than it may have at all, is read in pieces, and lies in the
  room's file when it is long: what unfolds without end ends at that bound;
- only ``gzip`` and ``deflate`` are decoded, and one coding only: anything else is a fault of the
  backend, as is content that ends early or goes on behind its end.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final, TypeAlias

from adapters.passing.answers import failed
from exchange.problems import Code, Problem
from serving.backends import BackendResponse, Headers
from serving.bodies import IN_MEMORY_BYTES, PIECE_BYTES, Body, Room, Spool, Spooled

_GZIP: Final = frozenset({"gzip", "x-gzip"})
_UNROOMED_BYTES: Final = 16 << 20
_OF_THE_CODED: Final = frozenset({"content-encoding", "content-md5", "digest", "repr-digest"})
_PARTIAL: Final = 206
# What is left behind the end of a member is copied: of many empty ones, again and again.
_SLICE_BYTES: Final = 16 << 10
_Run: TypeAlias = Callable[[Callable[[], bytes | None]], Awaitable[bytes | None]]


async def decoded(
    answer: BackendResponse[Body], room: Room | None, most_bytes: int, timeout_s: float
) -> BackendResponse[Body]:
    """``answer`` without its content coding; itself when it has none.

    Raises:
        Problem: ``SourceFailed`` for a coding that is not decoded or content that is not in it,
            ``ResponseTooLarge`` beyond ``most_bytes``, ``BackendTimeout``, ``ServerOverloaded``.
    """
    coding = _coding(answer.headers)
    if not coding:
        return answer
    headers = tuple(item for item in answer.headers if item[0] not in _OF_THE_CODED)
    if not len(answer.body):  # of HEAD, say
        return BackendResponse(answer.status, headers, b"")
    if coding not in _GZIP | {"deflate"} or answer.status == _PARTIAL:
        detail = f"the backend encoded its answer ({coding[:40]!r}), which it was asked not to"
        raise failed(detail, answer.status)
    most = most_bytes if room is not None else min(most_bytes, _UNROOMED_BYTES)
    try:
        async with asyncio.timeout(timeout_s):
            body = await _decode(answer.body, coding in _GZIP, room, most)
    except zlib.error as error:
        raise failed(f"the backend's answer is no {coding}: {error}", answer.status) from error
    except TimeoutError as error:
        detail = "the answer was not decoded in time"
        raise Problem(Code.BACKEND_TIMEOUT, where="source", detail=detail) from error
    return BackendResponse(answer.status, headers, body)


def _coding(headers: Headers) -> str:
    given = ",".join(value for name, value in headers if name == "content-encoding")
    words = [word.strip().lower() for word in given.split(",")]
    return ", ".join(word for word in words if word not in ("", "identity"))


async def _decode(body: Body, gzip: bool, room: Room | None, most: int) -> Body:
    pieces: list[bytes] = []
    size = waiting = 0
    spool: Spool | None = None
    async for piece in _pieces(body, gzip, room):
        size += len(piece)
        if size > most:
            detail = f"the answer has more than {most} bytes when it is decoded"
            facts = {"limit_bytes": most}
            raise Problem(Code.RESPONSE_TOO_LARGE, where="source", detail=detail, facts=facts)
        pieces.append(piece)
        if room is None:
            continue
        room.hold(len(piece))
        waiting += len(piece)
        if size > IN_MEMORY_BYTES:
            spool = spool or room.spool()
            await spool.write(pieces)
            room.release(waiting)
            pieces, waiting = [], 0
    return b"".join(pieces) if spool is None else spool.done()


async def _pieces(body: Body, gzip: bool, room: Room | None) -> AsyncIterator[bytes]:
    run: _Run = asyncio.to_thread if room is None else room.spools.in_thread
    decoder: _Decoder | None = None
    async for coded in _coded(body):
        decoder = decoder or _Decoder(31 if gzip else _deflate(coded))
        decoding = decoder.pieces(coded)
        while piece := await run(lambda decoding=decoding: next(decoding, None)):  # type: ignore[misc]
            yield piece
    if decoder is None or not decoder.ended:
        raise zlib.error("it ends early")


async def _coded(body: Body) -> AsyncIterator[bytes]:
    if isinstance(body, Spooled):
        async for piece in body.pieces():
            yield piece
    else:
        yield body


def _deflate(beginning: bytes) -> int:
    """The form that is meant (RFC 9110, 8.4.1.2): with the head of zlib, or, wrongly, without."""
    is_zlib = beginning[0] & 15 == 8 and int.from_bytes(beginning[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


class _Decoder:
    """zlib's, for content that may have several members (RFC 1952, 2.2)."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._now = zlib.decompressobj(bits)

    @property
    def ended(self) -> bool:
        """Whether the content may end here."""
        return self._now.eof

    def pieces(self, coded: bytes) -> Iterator[bytes]:
        """What ``coded`` adds, in pieces of at most ``PIECE_BYTES``, none of them empty.

        Raises:
            zlib.error: it is not in the coding.
        """
        for at in range(0, len(coded), _SLICE_BYTES):
            yield from self._of_slice(coded[at : at + _SLICE_BYTES])

    def _of_slice(self, coded: bytes) -> Iterator[bytes]:
        piece = b""
        while coded or len(piece) == PIECE_BYTES:  # a full piece: there may be more
            if self._now.eof and coded:
                if self._bits < 31:
                    raise zlib.error("bytes follow its end")
                self._now = zlib.decompressobj(self._bits)
            piece = self._now.decompress(coded, PIECE_BYTES)
            coded = self._now.unconsumed_tail or self._now.unused_data
            if piece:
                yield piece
