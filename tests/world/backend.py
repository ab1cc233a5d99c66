"""A scripted legacy backend: what it answers is chosen by the code in the path."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import orjson

from tests.world.conversing import Conversing

GOOD = {"code": "P-1", "title_en": "Rural roads", "title_lo": "ທາງຊົນນະບົດ", "amount": 12.5}


@dataclass(slots=True)
class Seen:
    """A request as the backend got it."""

    line: str
    headers: dict[str, str]
    body: bytes


def _http(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


async def _pour(writer: asyncio.StreamWriter) -> None:
    """An answer without an end: it ends with the connection."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    while True:
        writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        await writer.drain()


def _answers() -> dict[str, bytes]:
    document = orjson.dumps
    return {
        "P-1": _http("200 OK", document(GOOD)),
        "P-2": _http("200 OK", document(GOOD | {"code": "P-2"})),
        "ROADS": _http("200 OK", document(GOOD | {"sector": "roads"})),
        "HEALTH": _http("200 OK", document(GOOD | {"sector": "health"})),
        "BROKEN": _http("200 OK", document(GOOD | {"amount": "a lot"})),
        "NOTJSON": _http("200 OK", b'{"code": "P-1", '),
        "HTML": _http("200 OK", b"<h1>It works</h1>", "text/html"),
        "NONSENSE": b"220 smtp.example ESMTP\r\n",
        "WIDE": _http("200 OK", document(GOOD | {"title_en": "x" * 200_000})),
        "BIG": _http("200 OK", document(GOOD | {"title_en": "x" * 3_000_000})),
        "MISSING": _http("404 Not Found", document({"message": "no such project"})),
        "CONFLICT": _http(
            "409 Conflict",
            document(GOOD | {"title": "It exists", "detail": "see code P-1"}),
            "application/problem+json",
        ),
        "FORGER": _http(
            "200 OK",
            document(GOOD),
            more="X-Road-Id: forged\r\nX-Road-Error: forged\r\nSignature: saphan=:AAAA:\r\n"
            "Signature-Input: saphan=()\r\nContent-Digest: sha-256=:AAAA:\r\n",
        ),
        "DIGESTED": _http(
            "200 OK",
            document(GOOD),
            more='ETag: "a"\r\nRepr-Digest: sha-256=:AAAA:\r\nDigest: sha-256=AAAA\r\n'
            "Content-MD5: AAAA\r\nX-Kept: 1\r\n",
        ),
        "CHATTY": _http(
            "200 OK", document(GOOD), more="".join(f"X-N-{n}: {n}\r\n" for n in range(110))
        ),
        "LONGWINDED": _http("200 OK", document(GOOD), more=f"X-Long: {'y' * 9000}\r\n"),
        "REDIRECT": _http("302 Found", b"", "text/plain", "Location: http://example.org/\r\n"),
        "COOKIES": _http("200 OK", document(GOOD), more="Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
    }


@dataclass(slots=True)
class Backend(Conversing):
    """Counts what reaches it."""

    seen: list[Seen] = field(default_factory=list)
    post_s: float = 0.0
    """How long it works on a POST before it answers."""
    released: threading.Event = field(default_factory=threading.Event)
    """Until it is set, who asks for HELD waits."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer as the codes in the paths say."""
        answers = _answers()
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.rstrip("\r\n").split("\r\n")
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (text.partition(":") for text in fields)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.seen.append(Seen(line, headers, body))
            code = line.split(" ")[1].partition("?")[0].rpartition("/")[2]
            if code == "HELD":
                while not self.released.is_set():  # noqa: ASYNC110  # set by another thread
                    await asyncio.sleep(0.01)
            if code == "SLOW":
                await asyncio.sleep(30)
            if code == "HANGUP":
                return
            if code == "ENDLESS":
                await _pour(writer)
            if line.startswith("POST"):
                await asyncio.sleep(self.post_s)
                writer.write(_http("201 Created", body))
            else:
                answer = answers.get(code, answers["P-1"])
                if line.startswith("HEAD"):
                    answer = answer[: answer.index(b"\r\n\r\n") + 4]
                writer.write(answer)
            await writer.drain()
            if code == "NONSENSE":
                return
