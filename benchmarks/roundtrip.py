"""``saphan bench roundtrip``: what a message costs, against a baseline in the same run.

Both sides make the same two hops: consumer application → consumer's server → provider's server →
backend, and back. Saphan with mutual TLS, signatures made and checked, four durable records, schema
checks; the baseline with two bare reverse proxies (:mod:`benchmarks.baseline`). The same backend
program, the same load generator and the same request serve both, each in a process of its own.

The sides take turns (A B, B A, A B, …), so that drift of the machine falls on both; the ratio is
the median of the rounds' ratios. Single figures depend on the machine; the ratio is what counts.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import orjson

from benchmarks import backend, sides
from benchmarks.load import Load
from benchmarks.processes import Children, cpu_s, forget_peak_rss, peak_rss_bytes
from benchmarks.sides import REQUEST_HEADERS, Side, Starter, start_baseline, start_saphan
from exchange.problems import Code, Problem

REQUEST_TARGET: Final = f"{sides.ADDRESS}{backend.PATH}?fiscal_year=2026"
OFFER: Final = sides.Offer(backend.openapi(), (("GET", backend.PATH),))
_MIN_SLICE_S: Final = 0.5
_LOAD_MARGIN_S: Final = 90.0


@dataclass(slots=True)
class Slice:
    """One measurement of one side."""

    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]
    exchanges: int
    cpu_us_per_exchange: dict[str, float]
    peak_rss_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Scenario:
    """How many connections, for how long at once, how often in turn."""

    name: str
    connections: int
    slice_s: float
    rounds: int


@dataclass(slots=True)
class Result:
    """What a scenario showed: the rounds of each side, and the ratios round by round."""

    scenario: Scenario
    slices: dict[str, list[Slice]] = field(default_factory=dict)

    def ratios(self, side: str, base: str) -> list[float]:
        """Throughput of one side over that of the other, a value a round."""
        return [
            mine.requests_per_s / theirs.requests_per_s if theirs.requests_per_s else 0.0
            for mine, theirs in zip(self.slices[side], self.slices[base], strict=True)
        ]

    def cpu_ratios(self, side: str, base: str) -> list[float]:
        """CPU time an exchange of the base, all processes, over that of the side, a value a round.

        What the ratio of throughput would be on a machine that has nothing else to do.
        """
        return [
            sum(theirs.cpu_us_per_exchange.values()) / (sum(mine.cpu_us_per_exchange.values()) or 1)
            for mine, theirs in zip(self.slices[side], self.slices[base], strict=True)
        ]

    def errors(self) -> int:
        """Exchanges that failed, on all sides."""
        return sum(sum(s.errors.values()) for rounds in self.slices.values() for s in rounds)

    def document(self, names: list[str]) -> dict[str, Any]:
        """As JSON: medians over the rounds, peaks as peaks, errors as sums."""
        document: dict[str, Any] = {
            **asdict(self.scenario),
            "sides": {name: _summary(rounds) for name, rounds in self.slices.items()},
        }
        if len(names) == 2:
            ratios = self.ratios(names[1], names[0])
            document["ratios"] = [round(ratio, 3) for ratio in ratios]
            document["ratio"] = round(statistics.median(ratios), 3)
            cpu_ratios = self.cpu_ratios(names[1], names[0])
            document["cpu_ratio"] = round(statistics.median(cpu_ratios), 3)
        return document


def _summary(rounds: list[Slice]) -> dict[str, Any]:
    errors: dict[str, int] = {}
    for one in rounds:
        for kind, count in one.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    first = rounds[0]
    return {
        "requests_per_s": round(statistics.median(s.requests_per_s for s in rounds), 1),
        "latency_ms": {
            "p50": round(statistics.median(s.p50_ms for s in rounds), 3),
            "p95": round(statistics.median(s.p95_ms for s in rounds), 3),
            "p99": round(statistics.median(s.p99_ms for s in rounds), 3),
            "max": round(max(s.max_ms for s in rounds), 3),
        },
        "exchanges": sum(s.exchanges for s in rounds),
        "errors": errors,
        "cpu_us_per_exchange": {
            name: round(statistics.median(s.cpu_us_per_exchange[name] for s in rounds), 1)
            for name in first.cpu_us_per_exchange
        },
        "peak_rss_mb": {
            name: round(max(s.peak_rss_bytes[name] for s in rounds) / 1e6, 1)
            for name in first.peak_rss_bytes
        },
    }


def measure_slice(side: Side, backend_pid: int, connections: int, seconds: float) -> Slice:
    """Put load on one side from a process of its own; CPU and memory from /proc around it.

    Raises:
        Problem: ``InternalError`` when the load generator fails or does not end.
    """
    pids = {**side.pids, "backend": backend_pid}
    load = Load(side.url, REQUEST_TARGET, list(REQUEST_HEADERS), connections, seconds)
    for pid in pids.values():
        forget_peak_rss(pid)
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    try:
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", orjson.dumps(load).decode()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds + _LOAD_MARGIN_S,
            check=True,
        )
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or b""
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
        raise Problem(Code.INTERNAL_ERROR, where="load generator", detail=last[0]) from error
    used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    result = orjson.loads(process.stdout)
    exchanges = max(1, result["exchanges"])
    cpu = {name: seconds_used / exchanges * 1e6 for name, seconds_used in used.items()}
    cpu["load"] = result["cpu_s"] / exchanges * 1e6
    return Slice(
        requests_per_s=result["answers"] / result["seconds"],
        p50_ms=result["p50_ms"],
        p95_ms=result["p95_ms"],
        p99_ms=result["p99_ms"],
        max_ms=result["max_ms"],
        errors=result["errors"],
        exchanges=result["exchanges"],
        cpu_us_per_exchange=cpu,
        peak_rss_bytes={name: peak_rss_bytes(pid) for name, pid in pids.items()},
    )


def scenarios(seconds: float, connections: int, crowd: int, rounds: int) -> list[Scenario]:
    """Throughput, latency of one connection, and a crowd that must show no errors."""
    plan = [
        Scenario("throughput", connections, max(_MIN_SLICE_S, seconds / rounds), rounds),
        Scenario("latency", 1, max(_MIN_SLICE_S, seconds / rounds / 2), rounds),
    ]
    if crowd:
        plan.append(Scenario("crowd", crowd, max(_MIN_SLICE_S, seconds / 3), 1))
    return plan


def measure(
    starters: list[Starter],
    plan: list[Scenario],
    directory: Path,
    *,
    tell: Callable[[str], None],
) -> tuple[list[str], list[Result]]:
    """Start backend and sides, go through the plan, end everything.

    Returns:
        The names of the sides (the baseline first) and a result for each scenario.
    """
    with Children(directory) as children:
        source = children.start("backend", [sys.executable, "-m", "benchmarks.backend"])
        running = [
            side for start in starters if (side := start(children, source.ready["url"])) is not None
        ]
        results = []
        for scenario in plan:
            result = Result(scenario, {side.name: [] for side in running})
            for number in range(scenario.rounds):
                for side in running if number % 2 == 0 else reversed(running):
                    one = measure_slice(side, source.pid, scenario.connections, scenario.slice_s)
                    result.slices[side.name].append(one)
                    tell(
                        f"{scenario.name} {number + 1}/{scenario.rounds}, "
                        f"{scenario.connections} connections, {side.name}: "
                        f"{one.requests_per_s:,.0f} requests/s, p50 {one.p50_ms:.2f} ms, "
                        f"{sum(one.errors.values())} errors"
                    )
            results.append(result)
        return [side.name for side in running], results


def machine() -> dict[str, Any]:
    """What a figure depends on besides the program."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_average_1m": round(os.getloadavg()[0], 2),
    }


def report(names: list[str], results: list[Result]) -> dict[str, Any]:
    """The whole run as one JSON document."""
    return {
        "benchmark": "roundtrip",
        "machine": machine(),
        "body_bytes": backend.SIZE,
        "baseline": names[0],
        "measured": names[1] if len(names) == 2 else None,
        "scenarios": [result.document(names) for result in results],
        "errors": sum(result.errors() for result in results),
    }


def show(document: dict[str, Any]) -> str:
    """The report for eyes."""
    machine = document["machine"]
    lines = [f"{machine['cpus']} CPUs, Python {machine['python']}, {document['body_bytes']} bytes"]
    for scenario in document["scenarios"]:
        lines += ["", f"{scenario['name']}: {scenario['connections']} connections"]
        for name, side in scenario["sides"].items():
            latency = side["latency_ms"]
            cpu = ", ".join(f"{k} {v:.0f}" for k, v in side["cpu_us_per_exchange"].items())
            rss = ", ".join(f"{k} {v:.0f}" for k, v in side["peak_rss_mb"].items())
            kinds = ", ".join(f"{count} {kind}" for kind, count in side["errors"].items())
            lines += [
                f"  {name}: {side['requests_per_s']:,.0f} requests/s; latency ms p50 "
                f"{latency['p50']:.2f}, p95 {latency['p95']:.2f}, p99 {latency['p99']:.2f}",
                f"    CPU µs an exchange: {cpu}",
                f"    peak memory MB: {rss}; errors: {kinds or 'none'}",
            ]
        if "ratio" in scenario:
            rounds = ", ".join(f"{ratio:.2f}" for ratio in scenario["ratios"])
            lines.append(
                f"  ratio {scenario['ratio']:.2f} (rounds: {rounds}); "
                f"by CPU time {scenario['cpu_ratio']:.2f}"
            )
    if document["measured"] is None:
        lines += ["", "Only the baseline was measured: there was no server to start."]
    return "\n".join(lines)


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=10.0,
    show_default=True,
    help="Measured time for each side in the first scenario; the others take about as long again.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 2000),
    default=32,
    show_default=True,
    help="Concurrent connections in the first scenario.",
)
@click.option(
    "--crowd",
    type=click.IntRange(0, 2000),
    default=1000,
    show_default=True,
    help="Connections of the last scenario, which must show no errors; 0 leaves it out.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 20),
    default=5,
    show_default=True,
    help="Turns of each side in the first two scenarios.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def roundtrip(seconds: float, connections: int, crowd: int, rounds: int, as_json: bool) -> None:
    """Measure whole exchanges between two servers against two bare reverse proxies.

    Quote the ratio; single figures are those of this machine. Exit status 1 when an exchange
    failed. docs/benchmarks.md says how to read the figures.
    """
    plan = scenarios(seconds, connections, crowd, rounds)
    with tempfile.TemporaryDirectory(prefix="saphan-roundtrip-") as directory:
        names, results = measure(
            [start_baseline, partial(start_saphan, offer=OFFER)],
            plan,
            Path(directory),
            tell=lambda line: click.echo(line, err=True),
        )
    document = report(names, results)
    click.echo(orjson.dumps(document).decode() if as_json else show(document))
    if document["errors"]:
        raise SystemExit(1)
