"""Processes of a benchmark: started, looked at through /proc, and ended again. Linux only.

Invariants: only processes that were started here are ended, each by its own handle; every wait has
a limit; a child of ours also ends by itself when its parent is gone or after :data:`LIFE_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import orjson

from exchange.problems import Code, Problem
from serving import runtime

LIFE_S: Final = 1800.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


# in the child


def say_ready(port: int) -> None:
    """Tell the parent where this process listens."""
    line = orjson.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}"})
    print(line.decode(), flush=True)


def run_child(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run ``main(stop)`` on uvloop; ``stop`` also comes when the parent is gone, or in the end."""
    parent = os.getppid()
    allow_many_files()

    async def watch(stop: asyncio.Event) -> None:
        deadline = time.monotonic() + LIFE_S
        while os.getppid() == parent and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(1.0)
        stop.set()

    async def limited(stop: asyncio.Event) -> None:
        watcher = asyncio.ensure_future(watch(stop))
        try:
            await main(stop)
        finally:
            watcher.cancel()

    runtime.run(limited)


def serve_child(protocol: Callable[[], asyncio.Protocol]) -> None:
    """Be a server of ``protocol`` on a free port of this machine, as :func:`run_child` does."""

    async def serve(stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=1024)
        say_ready(server.sockets[0].getsockname()[1])
        await stop.wait()
        server.close()

    run_child(serve)


def allow_many_files() -> None:
    """Raise the soft limit of open files for a thousand connections on both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# in the parent


@dataclass(frozen=True, slots=True)
class Child:
    """A running process and what it said when it was ready."""

    name: str
    pid: int
    ready: dict[str, Any]


class Children:
    """Processes that live as long as this context; their output goes to files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def start(self, name: str, command: Sequence[str], *, ready_s: float = 60.0) -> Child:
        """Start a process and wait until it prints a JSON object with ``"event": "ready"``.

        Raises:
            Problem: ``InternalError`` when it ends or is not ready in time; the facts name the
                file with its output.
        """
        output = self.directory / f"{name}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        self._processes.append(process)
        deadline = time.monotonic() + ready_s
        while time.monotonic() < deadline and process.poll() is None:
            ready = _ready_line(output)
            if ready is not None:
                return Child(name, process.pid, ready)
            time.sleep(0.01)
        raise Problem(
            Code.INTERNAL_ERROR,
            where=name,
            detail=f"the process did not become ready within {ready_s:g} s: see {output}",
            facts={"output": str(output), "exit_status": process.poll()},
        )

    def end(self, timeout_s: float = 10.0) -> None:
        """Ask all to end, the last first; kill what has not after ``timeout_s``; idempotent."""
        for process in reversed(self._processes):
            with contextlib.suppress(OSError):
                process.terminate()
        deadline = time.monotonic() + timeout_s
        for process in reversed(self._processes):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout_s)
        self._processes.clear()


def _ready_line(output: Path) -> dict[str, Any] | None:
    for line in output.read_bytes().splitlines():
        with contextlib.suppress(orjson.JSONDecodeError):
            said = orjson.loads(line)
            if isinstance(said, dict) and said.get("event") == "ready":
                return said
    return None


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, in steps of 10 ms (proc(5))."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def peak_rss_bytes(pid: int) -> int:
    """The most memory that a process has had resident since :func:`forget_peak_rss`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak_rss(pid: int) -> None:
    """Begin a new measurement of the peak, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")
