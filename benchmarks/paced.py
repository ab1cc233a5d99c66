"""A load that keeps its pace: so many requests a second over so many connections, of mixed sizes.

Each request has its moment, whether the answers before it have come or not; its latency is counted
from that moment, so that a server that falls behind cannot hide it (an open loop). A connection
carries one request at a time and is kept.

Run with ``python -m benchmarks.paced JSON`` (a :class:`Pace`); prints one JSON object (a
:class:`Paced`).
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import orjson
import uvloop

from benchmarks.load import CONNECTIONS_PER_S, percentile
from benchmarks.processes import allow_many_files

_PIECE: Final = 256 * 1024
SEED: Final = 20261121


@dataclass(frozen=True, slots=True)
class Pace:
    """What to send: targets with their weights, and when."""

    url: str
    targets: list[tuple[str, float]]
    headers: list[tuple[str, str]]
    connections: int
    per_s: float
    seconds: float
    timeout_s: float = 30.0


@dataclass(slots=True)
class Paced:
    """What came back; latencies in milliseconds, by target and of all (``""``)."""

    sent: int = 0
    answered: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)


class _Failed(Exception):
    pass


async def run_pace(pace: Pace) -> Paced:
    """Make the load and measure."""
    parts = urlsplit(pace.url)
    fields = "".join(f"{name}: {value}\r\n" for name, value in pace.headers)
    requests = {
        target: f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}\r\n".encode()
        for target, _ in pace.targets
    }
    total = int(pace.per_s * pace.seconds)
    order = random.Random(SEED).choices(
        [target for target, _ in pace.targets], [weight for _, weight in pace.targets], k=total
    )
    ramp_s = pace.connections / CONNECTIONS_PER_S
    start = time.perf_counter() + ramp_s + 0.5
    result = Paced(sent=total)
    errors: Counter[str] = Counter()
    found: dict[str, array[float]] = {target: array("d") for target in ["", *requests]}

    async def connection(number: int) -> None:
        await asyncio.sleep(ramp_s * number / pace.connections)
        streams = await asyncio.open_connection(parts.hostname, parts.port, limit=_PIECE)
        for place in range(number, total, pace.connections):
            due = start + place / pace.per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            target = order[place]
            try:
                async with asyncio.timeout(pace.timeout_s):
                    size = await _ask(*streams, requests[target])
            except (OSError, TimeoutError, asyncio.IncompleteReadError, _Failed) as error:
                errors[str(error) or type(error).__name__] += 1
                streams[1].close()
                streams = await asyncio.open_connection(parts.hostname, parts.port, limit=_PIECE)
                continue
            latency = time.perf_counter() - due
            result.answered += 1
            result.bytes += size  # not where it is awaited: others count meanwhile
            found[target].append(latency)
            found[""].append(latency)
        streams[1].close()

    before = time.process_time()
    async with asyncio.TaskGroup() as group:
        for number in range(pace.connections):
            group.create_task(connection(number))
    result.seconds = time.perf_counter() - start
    result.cpu_s = time.process_time() - before
    result.errors = dict(errors)
    for target, latencies in found.items():
        ordered = array("d", sorted(latencies))
        result.latency_ms[target] = {
            "p50": percentile(ordered, 0.50) * 1000,
            "p95": percentile(ordered, 0.95) * 1000,
            "p99": percentile(ordered, 0.99) * 1000,
            "max": (ordered[-1] if ordered else 0.0) * 1000,
        }
    return result


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Send one request; the size of the body that came."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = head.split(" ", 2)[1]
    left = size = int(head.partition("content-length:")[2].partition("\r\n")[0])
    while left:
        piece = await reader.read(min(left, _PIECE))
        if not piece:
            raise _Failed("torn")
        left -= len(piece)
    if status != "200":
        raise _Failed(f"status {status}")
    return size


def main(argument: str) -> None:
    """The process: a :class:`Pace` as JSON in, a :class:`Paced` as JSON out."""
    allow_many_files()
    result = uvloop.run(run_pace(Pace(**orjson.loads(argument))))
    sys.stdout.buffer.write(orjson.dumps(result) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
