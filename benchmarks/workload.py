"""``saphan bench workload``: a day's mix of sizes at a steady pace over many connections.

Both sides (:mod:`benchmarks.sides`) get the same requests at the same moments, one side after the
other. The sizes are those of ministries' exchanges: mostly small records, some pages, few scanned
documents. What counts is whether every request is answered, and how long the slowest of a hundred
waits (p99), counted from the moment at which the request was due.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import orjson

from benchmarks import documents
from benchmarks.paced import Pace
from benchmarks.processes import Children, cpu_s, forget_peak_rss, peak_rss_bytes
from benchmarks.roundtrip import machine
from benchmarks.sides import (
    ADDRESS,
    REQUEST_HEADERS,
    Offer,
    Side,
    Starter,
    start_baseline,
    start_saphan,
)
from exchange.problems import Code, Problem

MIX: Final = (
    ("2 kB", "/records/10", 0.30),
    ("10 kB", "/records/52", 0.60),
    ("100 kB", "/records/520", 0.09),
    ("2 MB", "/documents/2000000", 0.009),
    ("10 MB", "/documents/10000000", 0.001),
)
"""Name, path and share of each size."""
_MARGIN_S: Final = 120.0
OFFER: Final = Offer(documents.openapi(), documents.ENDPOINTS)


def measure_side(side: Side, connections: int, per_s: float, seconds: float) -> dict[str, Any]:
    """Keep the pace on one side, from a process of its own.

    Raises:
        Problem: ``InternalError`` when the load generator fails or does not end.
    """
    targets = [(ADDRESS + path, share) for _, path, share in MIX]
    pace = Pace(side.url, targets, list(REQUEST_HEADERS), connections, per_s, seconds)
    for pid in side.pids.values():
        forget_peak_rss(pid)
    before = {name: cpu_s(pid) for name, pid in side.pids.items()}
    try:
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.paced", orjson.dumps(pace).decode()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds + connections / 1000 + _MARGIN_S,
            check=True,
        )
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or b""
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
        raise Problem(Code.INTERNAL_ERROR, where="load generator", detail=last[0]) from error
    found: dict[str, Any] = orjson.loads(process.stdout)
    named = {ADDRESS + path: name for name, path, _ in MIX} | {"": "all"}
    found["latency_ms"] = {
        named[target]: {share: round(value, 1) for share, value in one.items()}
        for target, one in found["latency_ms"].items()
    }
    found["cpu_share"] = {
        name: round((cpu_s(pid) - before[name]) / found["seconds"], 3)
        for name, pid in side.pids.items()
    }
    found["peak_rss_mb"] = {
        name: round(peak_rss_bytes(pid) / 1e6, 1) for name, pid in side.pids.items()
    }
    return found


def measure(
    starters: list[Starter],
    directory: Path,
    connections: int,
    per_s: float,
    seconds: float,
    *,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Start backend and sides, keep the pace on each, end everything."""
    with Children(directory) as children:
        source = children.start("backend", [sys.executable, "-m", "benchmarks.documents"])
        started = [start(children, source.ready["url"]) for start in starters]
        sides = [side for side in started if side is not None]
        found: dict[str, Any] = {}
        for side in sides:
            found[side.name] = measure_side(side, connections, per_s, seconds)
            tell(f"{side.name}: p99 {found[side.name]['latency_ms']['all']['p99']:.0f} ms")
    document = {
        "benchmark": "workload",
        "machine": machine(),
        "connections": connections,
        "requests_per_s": per_s,
        "seconds": seconds,
        "sides": found,
        "errors": sum(sum(one["errors"].values()) for one in found.values()),
    }
    if {"baseline", "saphan"} <= found.keys():
        p99 = {name: one["latency_ms"]["all"]["p99"] for name, one in found.items()}
        document["p99_ratio"] = round(p99["saphan"] / (p99["baseline"] or 1), 2)
    return document


def show(document: dict[str, Any]) -> str:
    """The report for eyes."""
    lines = [
        f"{document['connections']} connections, {document['requests_per_s']:g} requests/s "
        f"for {document['seconds']:g} s"
    ]
    for name, side in document["sides"].items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in side["errors"].items())
        cpu = ", ".join(f"{part} {share:.0%}" for part, share in side["cpu_share"].items())
        rss = ", ".join(f"{part} {mb:.0f}" for part, mb in side["peak_rss_mb"].items())
        lines += [
            "",
            f"{name}: {side['answered']} of {side['sent']} answered; errors: {kinds or 'none'}",
            f"  of a core: {cpu}; peak memory MB: {rss}",
        ]
        for size, one in side["latency_ms"].items():
            lines.append(
                f"  {size:>7}: ms p50 {one['p50']:.1f}, p95 {one['p95']:.1f}, "
                f"p99 {one['p99']:.1f}, max {one['max']:.1f}"
            )
    if "p99_ratio" in document:
        lines += ["", f"p99 of Saphan over that of the baseline: {document['p99_ratio']:.2f}"]
    return "\n".join(lines)


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=30.0, show_default=True, help="Per side."
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1500),
    default=1000,
    show_default=True,
    help="Connections, each with one request at a time.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 2000),
    default=100.0,
    show_default=True,
    help="Requests a second, over all connections.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def workload(seconds: float, connections: int, rate: float, as_json: bool) -> None:
    """Measure a mix of sizes at a steady pace, and two bare proxies beside it.

    30 % of 2 kB, 60 % of 10 kB, 9 % of 100 kB, 0.9 % of 2 MB, 0.1 % of 10 MB. Exit status 1 when
    a request was not answered.
    """
    with tempfile.TemporaryDirectory(prefix="saphan-workload-") as directory:
        document = measure(
            [start_baseline, partial(start_saphan, offer=OFFER)],
            Path(directory),
            connections,
            rate,
            seconds,
            tell=lambda line: click.echo(line, err=True),
        )
    click.echo(orjson.dumps(document).decode() if as_json else show(document))
    if document["errors"]:
        raise SystemExit(1)
