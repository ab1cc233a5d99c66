"""Answers that could be read in two ways, or that have no end (RFC 9112 section 11).

Each is made of an honest answer's fields and body, so that nothing but its form is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


def chunks(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def whole(fields: bytes, body: bytes) -> bytes:
    """The honest answer; ``fields`` are lines that end with CR LF."""
    return OK + fields + length(len(body)) + b"\r\n" + body


Shape = Callable[[bytes, bytes], bytes]
SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "BOTH": lambda f, b: OK + f + length(3) + CHUNKED + b"\r\n" + chunks(b),
        "BOTHTURNED": lambda f, b: OK + f + CHUNKED + length(len(b)) + b"\r\n" + chunks(b),
        "TWOLENGTHS": lambda f, b: OK + f + length(len(b)) + length(1) + b"\r\n" + b,
        "LISTLENGTH": lambda f, b: OK + f + b"Content-Length: %d, %d\r\n\r\n" % ((len(b),) * 2) + b,
        "SIGNED": lambda f, b: OK + f + b"Content-Length: +%d\r\n\r\n" % len(b) + b,
        "CODINGS": lambda f, b: OK + f + CHUNKED[:-2] + b", identity\r\n\r\n" + chunks(b),
        "CHUNKSIZE": lambda f, b: OK + f + CHUNKED + b"\r\n0x" + chunks(b),
        "CHUNKLONG": lambda f, b: (
            OK + f + CHUNKED + b"\r\n" + chunks(b).replace(b"\r\n0", b"!\r\n0")
        ),
        "CHUNKLF": lambda f, b: OK + f + CHUNKED + b"\r\n" + chunks(b).replace(b"\r\n", b"\n", 1),
        "CHUNKEXT": lambda f, b: OK + f + CHUNKED + b"\r\n1;" + b"a" * 200_000,
        "BEHIND": lambda f, b: whole(f, b) * 2,
        "BEHINDCHUNK": lambda f, b: OK + f + CHUNKED + b"\r\n" + chunks(b) + whole(f, b),
        "INTERIMS": lambda f, b: b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40 + whole(f, b),
        "SWITCH": lambda f, b: (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + whole(f, b)
        ),
        "ENDLESSHEAD": lambda f, b: OK + b"X-A: b\r\n" * 30_000,
        "ENDLESSFIELD": lambda f, b: OK + b"X-A: " + b"b" * 200_000,
        "VERSION": lambda f, b: whole(f, b).replace(b"HTTP/1.1", b"HTTP/2.0", 1),
        "OLDCHUNKS": lambda f, b: b"HTTP/1.0 200 OK\r\n" + f + CHUNKED + b"\r\n" + chunks(b),
        "FOLDED": lambda f, b: whole(f + b"X-A: b\r\n c\r\n", b),
        "BARELF": lambda f, b: whole(f + b"X-A: b\nX-B: c\r\n", b),
        "COLON": lambda f, b: whole(f + b"X-A : b\r\n", b),
        "FIN": lambda f, b: whole(f, b)[:-1],
        "FINCHUNKS": lambda f, b: OK + f + CHUNKED + b"\r\n" + chunks(b)[:-2],
    }
)
ENDS = ("FIN", "FINCHUNKS")
"""Those behind which the connection ends."""
TOO_LONG = ("CHUNKEXT", "ENDLESSHEAD", "ENDLESSFIELD")
