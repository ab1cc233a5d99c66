"""Applications that call without pause, and what each of them got."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from exchange.identifiers import ServiceId
from tests.world import small

CONNECTIONS = 16
BACKOFF_S = 0.1
"""After a refusal: a server that starts meanwhile has a processor."""
TIMEOUT_S = 30.0
_prefixes = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an application got for one message id.

    ``status`` is 0 when no whole answer came; ``error`` says why then: ``refused`` (no
    connection), ``closed`` (not one byte of an answer) or ``torn`` (a part of one).
    """

    id: str
    status: int = 0
    code: str = ""
    body: bytes = b""
    error: str = ""


class NoAnswer(Exception):
    """The connection ended before the answer was whole."""


@dataclass(slots=True)
class Load:
    """Calls over several connections, in a thread and event loop of their own."""

    url: str
    path: str = "/projects/P-1"
    service: ServiceId = small.PROJECTS
    connections: int = CONNECTIONS
    pause_s: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _prefix: str = ""

    def start(self) -> None:
        """Begin to call."""
        self._prefix = f"load{next(_prefixes)}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def stop(self) -> list[Outcome]:
        """Let every call under way end; what all calls got."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S + 10)
            assert not self._thread.is_alive(), "an application still waits for an answer"
        return self.outcomes

    @property
    def answered(self) -> list[Outcome]:
        """The calls that got what they asked for."""
        return [outcome for outcome in self.outcomes if outcome.status == 200]

    def await_answers(self, more: int, within_s: float = 60.0) -> None:
        """Wait until so many more calls got what they asked for."""
        wanted, deadline = len(self.answered) + more, time.monotonic() + within_s
        while len(self.answered) < wanted:
            assert time.monotonic() < deadline, "the applications are not served"
            time.sleep(0.01)

    def await_refusals(self, code: str, more: int, within_s: float = 60.0) -> None:
        """Wait until so many more calls were refused with this code."""

        def refused() -> int:
            return sum(outcome.code == code for outcome in self.outcomes)

        wanted, deadline = refused() + more, time.monotonic() + within_s
        while refused() < wanted:
            assert time.monotonic() < deadline, f"nobody is refused with {code}"
            time.sleep(0.01)

    async def _run(self) -> None:
        numbers = itertools.count()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(self._application(numbers))

    async def _application(self, numbers: Iterator[int]) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        parts = urlsplit(self.url)
        while not self._stopping.is_set():
            message = f"{self._prefix}-{next(numbers)}"
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    if streams is None:
                        streams = await asyncio.open_connection(parts.hostname, parts.port)
                    outcome, keep = await self._call(*streams, message)
            except TimeoutError:
                outcome, keep = Outcome(message, error="timeout"), False
            except NoAnswer as failure:
                outcome, keep = Outcome(message, error=str(failure)), False
            except ConnectionError:
                outcome, keep = Outcome(message, error="refused"), False
            self.outcomes.append(outcome)
            if not keep and streams is not None:
                streams[1].close()
                streams = None
            if outcome.status != 200:
                await asyncio.sleep(BACKOFF_S)
            elif self.pause_s:
                await asyncio.sleep(self.pause_s)
        if streams is not None:
            streams[1].close()

    async def _call(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: str
    ) -> tuple[Outcome, bool]:
        writer.write(
            f"GET /r1/{self.service}{self.path} HTTP/1.1\r\nHost: localhost\r\n"
            f"X-Road-Client: {small.BUDGET}\r\nX-Road-Id: {message}\r\n"
            f"Exchange-Purpose: {small.PURPOSE}\r\n\r\n".encode()
        )
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            raise NoAnswer("torn" if error.partial else "closed") from error
        except ConnectionError as error:
            raise NoAnswer("closed") from error
        line, *fields = head.rstrip("\r\n").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (text.partition(":") for text in fields)
        }
        try:
            body = await reader.readexactly(int(headers["content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise NoAnswer("torn") from error
        code = headers.get("x-road-error", "").rpartition(".")[2]
        keep = headers.get("connection", "").lower() != "close"
        return Outcome(message, int(line.split(" ")[1]), code, body), keep


@contextmanager
def load(url: str, **options: object) -> Iterator[Load]:
    """Run applications against the server at ``url`` while the block runs."""
    running = Load(url, **options)  # type: ignore[arg-type]
    running.start()
    try:
        yield running
    finally:
        running.stop()
