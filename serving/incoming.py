"""A request as its handler has it: the head is there, the body comes when it is asked for.

Invariants:
- nothing is read of a body that nobody asked for, but what came with the head; ``100 Continue``
  is sent only when somebody asks, and not before there is room for what was announced;
- a body that comes faster than it is taken stops the client, by TCP's own means;
- waiting ends: a short body has its time, a long one must go on (``Spools.stall_s``) and reach an
  average (``Spools.floor_bytes_per_s``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from exchange.problems import Code, Problem
from serving.backends import Headers
from serving.bodies import IN_MEMORY_BYTES, PIECE_BYTES, Body, Room, Spool

if TYPE_CHECKING:
    from serving.requests import Connection

MAX_UNREAD_BYTES: Final = 256 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request:
    """One request; its body comes with :meth:`receive` or :meth:`read`."""

    __slots__ = (
        "_body",
        "_enough",
        "_expects_continue",
        "_failure",
        "_pending",
        "_waiter",
        "complete",
        "connection",
        "fault",
        "headers",
        "keep_alive",
        "length",
        "method",
        "names",
        "room",
        "size",
        "target",
    )

    def __init__(
        self,
        connection: Connection,
        method: str,
        target: str,
        headers: Headers,
        *,
        names: tuple[bytes, ...] = (),
        length: int | None,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.names = names
        """The names of the fields as the client wrote them."""
        self.length = length
        """The announced length of the body; None when it ends with its last chunk."""
        self.keep_alive = keep_alive
        self.room = Room(connection.spools)
        """What is kept of bodies until this request is answered."""
        self.size = 0
        """The bytes of the body that have come."""
        self.complete = False
        self.fault: Problem | None = None
        """What is wrong with the form of its target: the handler records it and answers with it."""
        self._body: list[bytes] = []  # what has come and is not on disk
        self._pending = 0
        self._enough = MAX_UNREAD_BYTES
        self._expects_continue = expects_continue
        self._failure: Problem | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection's transport; None when the client is gone."""
        return self.connection.transport

    @property
    def remote(self) -> str:
        """The client's address."""
        return self.connection.remote

    async def receive(self, max_bytes: int, timeout_s: float) -> Body:
        """The whole body; a long one is spooled, and ends with :attr:`room`.

        Args:
            timeout_s: for a short body; a long one has as much more as it takes at the floor rate.

        Raises:
            Problem: as :meth:`read`; and ``ServerOverloaded`` when there is no room for it.
        """
        length = self.length
        if length is None or length > IN_MEMORY_BYTES:
            try:
                return await self._receive_long(max_bytes, timeout_s)
            finally:
                self._waiter = None
                self._body = []
                self._enough = 0  # whatever still comes is not wanted
        if length:
            if length <= max_bytes:
                self.room.hold(length)
            return await self.read(max_bytes, timeout_s)
        return b""

    async def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """The whole body, in memory.

        Raises:
            Problem: ``PayloadTooLarge`` as soon as more than ``max_bytes`` are announced or come;
                ``InvalidRequest`` (408) when the body is not there within ``timeout_s``, or (400)
                when it ends early or is malformed.
        """
        if self.length is not None and self.length > max_bytes:
            raise _too_large(self.length, max_bytes)
        if not self.complete:
            await self._gather(max_bytes, timeout_s)
        if self.size > max_bytes:
            raise _too_large(self.size, max_bytes)
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    async def _gather(self, max_bytes: int, timeout_s: float) -> None:
        self._go_on()
        self._enough = max_bytes + 1
        try:
            async with asyncio.timeout(timeout_s):
                while not self.complete and self._failure is None and self.size <= max_bytes:
                    self.connection.resume()
                    self._waiter = self.connection.loop.create_future()
                    await self._waiter
        except TimeoutError as error:
            raise _late(f"the body was not complete within {timeout_s:g} s") from error
        finally:
            self._waiter = None
            self._enough = 0
        if self._failure is not None:
            raise self._failure

    async def _receive_long(self, max_bytes: int, timeout_s: float) -> Body:
        """A body that is long, or may become it."""
        room, announced = self.room, self.length
        spool: Spool | None = None
        held = 0
        if announced is not None:
            if announced > max_bytes:
                raise _too_large(announced, max_bytes)
            # So much is between socket and disk at most, while it comes and while it goes on.
            room.hold(IN_MEMORY_BYTES)
            spool = room.spool(announced)
        self._go_on()
        since = self.connection.loop.time()
        while True:
            await self._more(since, timeout_s, max_bytes)
            if self.size > max_bytes:
                raise _too_large(self.size, max_bytes)
            if spool is None:
                room.hold(min(self.size, IN_MEMORY_BYTES) - held)
                held = min(self.size, IN_MEMORY_BYTES)
                if self.size <= IN_MEMORY_BYTES:
                    if self.complete:
                        return b"".join(self._body)
                    continue
                room.hold(IN_MEMORY_BYTES - held)
                spool = room.spool()
            pieces, self._body, self._pending = self._body, [], 0
            self.connection.resume()
            if pieces:
                await spool.write(pieces)
            if self.complete and not self._body:
                return spool.done()

    async def _more(self, since: float, timeout_s: float, max_bytes: int) -> None:
        """Wait until enough of a long body has come to be written, or all of it, or too much."""
        connection, spools = self.connection, self.room.spools
        enough = self._pending + PIECE_BYTES if self.size <= IN_MEMORY_BYTES else PIECE_BYTES
        self._enough = min(enough, max_bytes + 1 - (self.size - self._pending))
        while not (self.complete or self._failure is not None or self._pending >= self._enough):
            seen = self.size
            until = since + timeout_s + seen / spools.floor_bytes_per_s
            self._waiter = connection.loop.create_future()
            connection.resume()
            try:
                async with asyncio.timeout_at(min(until, connection.loop.time() + spools.stall_s)):
                    await self._waiter
            except TimeoutError as error:
                if connection.loop.time() >= until:
                    raise _late("the body comes too slowly") from error
                if self.size == seen:
                    raise _late(f"nothing more came within {spools.stall_s:g} s") from error
        if self._failure is not None:
            raise self._failure

    def _go_on(self) -> None:
        if self._expects_continue:
            self._expects_continue = False
            self.connection.write_interim(_CONTINUE)

    # --- what the connection tells ---------------------------------------------------------------

    def came(self, data: bytes) -> bool:
        """A piece of the body; returns whether too much of it waits for a reader."""
        size = len(data)
        self._body.append(data)
        self.size += size
        self._pending += size
        if self._pending < self._enough:
            return False
        self._wake()
        return True

    def ended(self) -> None:
        """The body is whole."""
        self.complete = True
        self._wake()

    def failed(self, problem: Problem) -> None:
        """The body will not become whole."""
        if not self.complete:
            self._failure = problem
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _late(detail: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, where="body", detail=detail, status=408)


def _too_large(size: int, limit: int) -> Problem:
    return Problem(
        Code.PAYLOAD_TOO_LARGE,
        where="body",
        detail=f"at least {size} bytes, at most {limit} are taken",
        facts={"limit_bytes": limit},
    )
