"""A backend on a socket of its own that keeps every byte of what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Got:
    """A request as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> list[str]:
        """The values of a header field."""
        return [value for known, value in self.headers if known == name]


def reply(
    status: int = 200,
    body: bytes = b"{}",
    kind: str | None = "application/json",
    **fields: str,
) -> bytes:
    """An answer; ``etag='"1"'`` is a header field, ``_`` stands for ``-``."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"Content-Type: {kind}"] if kind is not None else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    lines += [] if status in (204, 304) else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Recording:
    """What came, and what is answered: ``answer`` gives the bytes, or None to hang up."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    strange: list[bytes] = field(default_factory=list)
    answer: Callable[[Got], bytes | None] = lambda got: reply()
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once something came."""
    go_on: asyncio.Event | None = None
    """What is waited for before each answer."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the other side hangs up."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
                words = line.split(" ")
                if len(words) != 3:
                    self.strange.append(head)
                    return
                pairs = (one.partition(":") for one in lines)
                fields = tuple((name.lower(), value.strip()) for name, _, value in pairs)
                length = int(dict(fields).get("content-length", "0"))
                got = Got(words[0], words[1], fields, await reader.readexactly(length))
                self.got.append(got)
                self.asked.set()
                if self.go_on is not None:
                    await self.go_on.wait()
                answer = self.answer(got)
                if answer is None:
                    return
                head_only = answer[: answer.index(b"\r\n\r\n") + 4]
                writer.write(head_only if got.method == "HEAD" else answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def recording(context: ssl.SSLContext | None = None) -> AsyncIterator[Recording]:
    """A running backend."""
    backend = Recording()
    server = await asyncio.start_server(
        backend.converse, "127.0.0.1", 0, limit=1 << 20, ssl=context
    )
    backend.url = (
        f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    )
    try:
        yield backend
    finally:
        server.close()
