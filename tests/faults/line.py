"""The line between two servers, as a test has it: a TCP proxy that fails when it is told to.

What crosses is TLS, so a fault is placed by bytes: so many of one direction, counted from the
moment of :meth:`Line.arm` on, have passed when it strikes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

PIECE = 16 * 1024
_RESET = struct.pack("ii", 1, 0)
T = TypeVar("T")


class Act(StrEnum):
    """What happens to the connection that the fault strikes."""

    CUT = "cut"
    """Both ends see the other one close."""
    RESET = "reset"
    """Both ends see a reset."""
    HOLE = "black hole"
    """Nothing passes any more, and nobody is told."""
    DELAY = "delay"
    """Nothing passes for a while."""
    DRIBBLE = "dribble"
    """Every byte passes by itself."""
    DOUBLE = "double"
    """The next piece arrives twice."""


class Way(StrEnum):
    """Where a fault strikes."""

    CONNECT = "connect"
    UP = "request"
    DOWN = "answer"


@dataclass(frozen=True, slots=True)
class Fault:
    """``times`` connections are struck; None is all of them, until :meth:`Line.heal`."""

    act: Act
    way: Way
    after: int = 0
    times: int | None = 1
    delay_s: float = 0.5


@dataclass(eq=False, slots=True)
class _Crossing:
    """One connection through the line."""

    near: socket.socket
    far: socket.socket | None = None
    passed: dict[Way, int] = field(default_factory=lambda: {Way.UP: 0, Way.DOWN: 0})
    dribbles: bool = False
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self, *, reset: bool = False) -> None:
        for end in (self.near, self.far):
            if end is None or end.fileno() < 0:
                continue
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            else:
                with suppress(OSError):  # it is closed already
                    end.shutdown(socket.SHUT_RDWR)
            end.close()


class Line:
    """Listens on ``port`` of loopback and passes all on to ``upstream``; runs in a thread."""

    def __init__(self) -> None:
        self.upstream = 0
        self.struck = 0
        """How many connections the fault has struck since it was armed."""
        self._fault: Fault | None = None
        self._left = 0
        self._crossings: dict[_Crossing, asyncio.Task[None]] = {}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, upstream: int) -> None:
        """Begin to pass connections on."""
        self.upstream = upstream
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """Close everything."""
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._listening.close()
        self._loop.close()

    def arm(self, fault: Fault) -> None:
        """Strike from now on; bytes are counted from here."""
        self._run(self._arm(fault))

    def heal(self) -> None:
        """Be a good line again; what is in a black hole is lost."""
        self._run(self._heal())

    def passed(self, way: Way) -> int:
        """How many bytes have passed since the line was armed."""
        return sum(crossing.passed[way] for crossing in list(self._crossings))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _arm(self, fault: Fault) -> None:
        self._fault, self.struck = fault, 0
        self._left = 1_000_000 if fault.times is None else fault.times
        for crossing in self._crossings:
            crossing.passed = {Way.UP: 0, Way.DOWN: 0}

    async def _heal(self) -> None:
        self._fault = None
        for crossing in list(self._crossings):
            crossing.dribbles = False
            if crossing.dead.is_set():
                self._crossings[crossing].cancel()

    async def _listen(self) -> None:
        self._accepting = asyncio.ensure_future(self._accept())

    async def _shut(self) -> None:
        self._accepting.cancel()
        tasks = list(self._crossings.values())
        for task in tasks:
            task.cancel()
        await asyncio.wait([self._accepting, *tasks])

    async def _accept(self) -> None:
        while True:
            near, _ = await self._loop.sock_accept(self._listening)
            near.setblocking(False)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            crossing = _Crossing(near)
            task = self._loop.create_task(self._cross(crossing))
            self._crossings[crossing] = task
            task.add_done_callback(lambda _, gone=crossing: self._crossings.pop(gone, None))

    async def _cross(self, crossing: _Crossing) -> None:
        try:
            if self._strikes(Way.CONNECT, 0, 0) and not await self._strike(crossing):
                return
            far = socket.socket()
            far.setblocking(False)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            crossing.far = far
            await self._loop.sock_connect(far, ("127.0.0.1", self.upstream))
            pumps = [
                self._loop.create_task(self._pump(crossing, crossing.near, far, Way.UP)),
                self._loop.create_task(self._pump(crossing, far, crossing.near, Way.DOWN)),
            ]
            try:
                # What still crosses the other way when one end has closed is not waited for.
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.wait(pumps)
        except OSError:
            pass  # one end is gone: so is the other
        finally:
            crossing.close()

    async def _pump(
        self, crossing: _Crossing, source: socket.socket, sink: socket.socket, way: Way
    ) -> None:
        try:
            while True:
                data = await self._loop.sock_recv(source, PIECE)
                if crossing.dead.is_set():
                    await _for_ever()
                if not data:
                    return
                if way is Way.DOWN and not crossing.passed[Way.UP]:
                    # Nothing was asked since the fault was armed: what an older exchange left.
                    await self._send(crossing, sink, data)
                    continue
                passed = crossing.passed[way]
                crossing.passed[way] += len(data)
                if self._strikes(way, passed, len(data)):
                    fault = self._fault
                    assert fault is not None
                    first = max(0, fault.after - passed)
                    await self._send(crossing, sink, data[:first])
                    data = data[first:]
                    if fault.act is Act.DOUBLE:
                        self._struck()
                        await self._send(crossing, sink, data)
                    elif not await self._strike(crossing):
                        return
                await self._send(crossing, sink, data)
        except OSError:
            return

    def _strikes(self, way: Way, passed: int, size: int) -> bool:
        fault = self._fault
        if fault is None or not self._left or fault.way is not way:
            return False
        return way is Way.CONNECT or passed <= fault.after < passed + size

    def _struck(self) -> None:
        self._left -= 1
        self.struck += 1

    async def _strike(self, crossing: _Crossing) -> bool:
        """Do what the fault does; whether the connection goes on."""
        fault = self._fault
        assert fault is not None
        self._struck()
        match fault.act:
            case Act.CUT | Act.RESET:
                crossing.close(reset=fault.act is Act.RESET)
                return False
            case Act.HOLE:
                crossing.dead.set()
                await _for_ever()
            case Act.DELAY:
                await asyncio.sleep(fault.delay_s)
            case Act.DRIBBLE:
                crossing.dribbles = True
            case Act.DOUBLE:
                pass
        return True

    async def _send(self, crossing: _Crossing, sink: socket.socket, data: bytes) -> None:
        if not crossing.dribbles:
            await self._loop.sock_sendall(sink, data)
            return
        for place in range(len(data)):
            await self._loop.sock_sendall(sink, data[place : place + 1])
            await asyncio.sleep(0)


async def _for_ever() -> None:
    """Until the line is healed, or the test ends."""
    await asyncio.Event().wait()
