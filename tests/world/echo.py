"""A backend that remembers what reached it, line by line, and answers as the path asks.

It keeps connections open and counts them, keeps repeated fields apart, and takes every method.
"""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass, field

from tests.world.conversing import Conversing

PLAIN = b"a plain answer, said twice: a plain answer"
GZIPPED = gzip.compress(PLAIN, mtime=0)
DATE = "Sat, 21 Nov 2026 08:30:00 GMT"

# Fields and body of an answer, by the last segment of the path.
_ANSWERS: dict[str, tuple[str, tuple[tuple[str, str], ...], bytes]] = {
    "gzip": ("200 OK", (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")), GZIPPED),
    "cookies": (
        "200 OK",
        (
            ("Set-Cookie", "session=1; Path=/"),
            ("Set-Cookie", "other=2"),
            ("Link", "<a>"),
            ("Link", "<b>"),
        ),
        PLAIN,
    ),
    "date": ("200 OK", (("Date", DATE), ("Cache-Control", "max-age=60"), ("Expires", DATE)), PLAIN),
    "moved": ("302 Found", (("Location", "http://127.0.0.1:1/elsewhere"),), b""),
    "teapot": ("418 I'm a teapot", (("X-Own", "kept"),), b"short and stout"),
    "forged": (
        "200 OK",
        (
            ("X-Road-Service", "LA/GOV/EVIL/x/y"),
            ("X-Road-Client", "LA/GOV/EVIL/x"),
            ("X-Road-Id", "forged"),
            ("X-Road-Request-Id", "forged"),
            ("X-Road-Request-Hash", "forged"),
            ("X-Road-Error", "Server.ServerProxy.AccessDenied"),
        ),
        PLAIN,
    ),
    "hop": (
        "200 OK",
        (
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("Server", "backend/1"),
            ("Connection", "X-Private"),
            ("X-Private", "1"),
            ("X-Own", "kept"),
        ),
        PLAIN,
    ),
}


@dataclass(frozen=True, slots=True)
class Came:
    """A request as it came: its first line, its fields in order, its body."""

    line: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.fields if key.lower() == name.lower()]


@dataclass(slots=True)
class Echo(Conversing):
    """Remembers all requests in order."""

    came: list[Came] = field(default_factory=list)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request after the other."""
        while True:
            await self._one(reader, writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip("\r\n").split("\r\n")
        fields = tuple(
            (name, value.strip()) for name, _, value in (text.partition(":") for text in lines)
        )
        lengths = [value for name, value in fields if name.lower() == "content-length"]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        self.came.append(Came(line, fields, body))
        method, target = line.split(" ")[:2]
        code = target.partition("?")[0].rpartition("/")[2]
        status, more, answer = _ANSWERS.get(code, ("200 OK", (), body or PLAIN))
        kind = next((v for name, v in fields if name.lower() == "content-type"), "text/plain")
        out = [f"HTTP/1.1 {status}", f"Content-Length: {len(answer)}", f"Content-Type: {kind}"]
        out += [f"{name}: {value}" for name, value in more]
        writer.write("\r\n".join(out).encode("latin-1") + b"\r\n\r\n")
        if method != "HEAD":
            writer.write(answer)
        await writer.drain()
