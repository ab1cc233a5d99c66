"""The load generator: a closed loop of so many connections over the lean client.

Each connection sends its next request when it has the answer to the last. Throughput counts the
answers that came within the measured time; latency, those whose request was sent within it. All
connections are open and have carried an exchange before the measured time begins.

Run with ``python -m benchmarks.load JSON`` (a :class:`Load`); prints one JSON object
(a :class:`LoadResult`) and ends within ``ramp + warm-up + seconds + timeout``.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import orjson
import uvloop

from benchmarks.processes import allow_many_files
from serving.client import Pool
from serving.failures import ExchangeFailed
from serving.pool_places import PoolLimits

CONNECTIONS_PER_S: Final = 1000.0
_PAUSE_AFTER_ERROR_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, how often at once, for how long."""

    url: str
    target: str
    headers: list[tuple[str, str]]
    connections: int
    seconds: float
    warm_up_s: float = 0.3
    timeout_s: float = 30.0


@dataclass(slots=True)
class LoadResult:
    """What came back.

    ``exchanges`` counts all answers, those of the warm-up too: what CPU time is divided by.
    """

    seconds: float = 0.0
    exchanges: int = 0
    answers: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    cpu_s: float = 0.0
    body_bytes: int = 0


def percentile(ordered: array[float], share: float) -> float:
    """The nearest-rank percentile of sorted values; 0 when there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def run_load(load: Load) -> LoadResult:
    """Make the load and measure."""
    address = urlsplit(load.url)
    if address.scheme != "http" or address.hostname is None or address.port is None:
        raise ValueError(f"the load generator needs http://host:port, not {load.url}")
    pool = Pool(
        address.hostname,
        address.port,
        limits=PoolLimits(
            max_connections=load.connections, max_waiting=0, connect_s=load.timeout_s, idle_s=60.0
        ),
    )
    headers = [("Host", address.netloc), *load.headers]
    ramp_s = load.connections / CONNECTIONS_PER_S
    began = time.perf_counter()
    start = began + ramp_s + load.warm_up_s
    end = start + load.seconds
    result = LoadResult(seconds=load.seconds)
    errors: Counter[str] = Counter()
    latencies: array[float] = array("d")
    clock = time.perf_counter

    async def connection(number: int) -> None:
        await asyncio.sleep(ramp_s * number / load.connections)
        while (sent := clock()) < end:
            failure = ""
            try:
                answer = await pool.exchange(
                    "GET", load.target, headers, timeout_s=load.timeout_s, repeatable=False
                )
                if answer.status != 200:
                    failure = f"status {answer.status}"
                elif result.body_bytes in (0, len(answer.body)):
                    result.body_bytes = len(answer.body)
                else:
                    failure = "another body"
            except ExchangeFailed as error:
                failure = type(error).__name__
            if failure:
                errors[failure] += 1
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                continue
            came = clock()
            result.exchanges += 1
            if start <= came <= end:
                result.answers += 1
            if sent >= start:
                latencies.append(came - sent)

    cpu_before = time.process_time()
    async with asyncio.TaskGroup() as group:
        for number in range(load.connections):
            group.create_task(connection(number))
    result.cpu_s = time.process_time() - cpu_before
    await pool.close()
    ordered = array("d", sorted(latencies))
    result.p50_ms = percentile(ordered, 0.50) * 1000
    result.p95_ms = percentile(ordered, 0.95) * 1000
    result.p99_ms = percentile(ordered, 0.99) * 1000
    result.max_ms = (ordered[-1] if ordered else 0.0) * 1000
    result.errors = dict(errors)
    return result


def main(argument: str) -> None:
    """The process: a :class:`Load` as JSON in, a :class:`LoadResult` as JSON out."""
    members = orjson.loads(argument)
    members["headers"] = [(name, value) for name, value in members["headers"]]
    allow_many_files()
    result = uvloop.run(run_load(Load(**members)))
    sys.stdout.buffer.write(orjson.dumps(result) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
