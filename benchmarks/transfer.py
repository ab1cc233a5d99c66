"""``saphan bench transfer``: one large body through both hops, each way: MB/s and resident memory.

A server of Saphan has the whole body, digested and spooled, before it signs and sends; the
baseline passes it on as it comes. The ratio is what that order costs.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import orjson

from benchmarks import documents
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

MAX_BYTES: Final = 4 * 1024**3
_PATIENCE_S: Final = 300.0
_PIECE: Final = 1024 * 1024


def offer(size: int) -> Offer:
    """The documents, with bounds that let a body of this size through."""
    room = size + 1024
    limits = {"request_max_bytes": room, "answer_max_bytes": room, "exchange_s": _PATIENCE_S}
    limits |= {"read_s": _PATIENCE_S, "first_byte_s": _PATIENCE_S, "spool_max_bytes": 4 * room}
    service = {"timeout_s": _PATIENCE_S, "response_max_bytes": room, "first_byte_s": _PATIENCE_S}
    return Offer(documents.openapi(), documents.ENDPOINTS, service, limits)


def move(url: str, method: str, size: int) -> float:
    """Have one body of ``size`` bytes go through; the seconds that it took.

    Raises:
        Problem: ``InternalError`` when it was refused or did not arrive whole.
    """
    parts = urlsplit(url)
    fields = "".join(f"{name}: {value}\r\n" for name, value in REQUEST_HEADERS)
    length = f"Content-Length: {size}\r\nContent-Type: application/octet-stream\r\n"
    head = (
        f"{method} {ADDRESS}/documents/{size} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Connection: close\r\n{fields}{length if method == 'PUT' else ''}\r\n"
    ).encode()
    began = time.perf_counter()
    address = (parts.hostname or "", parts.port or 80)
    with socket.create_connection(address, _PATIENCE_S) as connection:
        connection.sendall(head)
        if method == "PUT":
            _send(connection, size)
        status, came = _receive(connection)
    if (status, came) != (("204", 0) if method == "PUT" else ("200", size)):
        raise Problem(
            Code.INTERNAL_ERROR,
            where=f"{method} of {size} bytes",
            detail=f"status {status}, {came} bytes",
        )
    return time.perf_counter() - began


def _send(connection: socket.socket, size: int) -> None:
    piece = documents.PIECE * (_PIECE // len(documents.PIECE))
    while size:
        some = memoryview(piece)[:size]
        connection.sendall(some)
        size -= len(some)


def _receive(connection: socket.socket) -> tuple[str, int]:
    """The status, and the bytes of the body until the connection ends."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise Problem(Code.INTERNAL_ERROR, where="answer", detail="ended within its head")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    came, room = len(body), bytearray(_PIECE)
    while count := connection.recv_into(room):
        came += count
    return head.split(b" ", 2)[1].decode(), came


def measure_side(side: Side, size: int, rounds: int) -> dict[str, Any]:
    """Both ways, the best of so many rounds; memory is the peak of all."""
    for pid in side.pids.values():
        forget_peak_rss(pid)
    before = {name: cpu_s(pid) for name, pid in side.pids.items()}
    seconds = {
        way: min(move(side.url, method, size) for _ in range(rounds))
        for way, method in (("answer", "GET"), ("request", "PUT"))
    }
    moved = 2 * rounds * size / 1e9
    return {
        "mb_per_s": {way: round(size / 1e6 / took, 1) for way, took in seconds.items()},
        "cpu_s_per_gb": {
            name: round((cpu_s(pid) - before[name]) / moved, 2) for name, pid in side.pids.items()
        },
        "peak_rss_mb": {
            name: round(peak_rss_bytes(pid) / 1e6, 1) for name, pid in side.pids.items()
        },
    }


def measure(
    starters: list[Starter],
    directory: Path,
    size: int,
    rounds: int,
    *,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Start backend and sides, move the body through each, end everything."""
    with Children(directory) as children:
        source = children.start("backend", [sys.executable, "-m", "benchmarks.documents"])
        started = [start(children, source.ready["url"]) for start in starters]
        found: dict[str, Any] = {}
        for side in started:
            if side is not None:
                found[side.name] = measure_side(side, size, rounds)
                tell(f"{side.name}: {found[side.name]['mb_per_s']} MB/s")
    document = {"benchmark": "transfer", "machine": machine(), "bytes": size, "sides": found}
    if {"baseline", "saphan"} <= found.keys():
        mine, theirs = found["saphan"]["mb_per_s"], found["baseline"]["mb_per_s"]
        document["ratio"] = {way: round(mine[way] / theirs[way], 3) for way in mine}
    return document


def show(document: dict[str, Any]) -> str:
    """The report for eyes."""
    lines = [f"{document['bytes']:,} bytes"]
    for name, side in document["sides"].items():
        rss = ", ".join(f"{part} {mb:.0f}" for part, mb in side["peak_rss_mb"].items())
        cpu = ", ".join(f"{part} {used:.1f}" for part, used in side["cpu_s_per_gb"].items())
        speed = side["mb_per_s"]
        lines += [
            "",
            f"{name}: answer {speed['answer']:.0f} MB/s, request {speed['request']:.0f} MB/s",
            f"  CPU s a GB: {cpu}; peak memory MB: {rss}",
        ]
    if "ratio" in document:
        ratio = document["ratio"]
        lines += ["", f"ratio: answer {ratio['answer']:.2f}, request {ratio['request']:.2f}"]
    return "\n".join(lines)


@click.command()
@click.option(
    "--bytes",
    "size",
    type=click.IntRange(1, MAX_BYTES),
    default=1024**3,
    show_default=True,
    help="Size of the body.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 10),
    default=2,
    show_default=True,
    help="Times each way; the best counts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def transfer(size: int, rounds: int, as_json: bool) -> None:
    """Measure one large body each way, and two bare streaming proxies beside it."""
    with tempfile.TemporaryDirectory(prefix="saphan-transfer-") as directory:
        document = measure(
            [partial(start_baseline, streaming=True), partial(start_saphan, offer=offer(size))],
            Path(directory),
            size,
            rounds,
            tell=lambda line: click.echo(line, err=True),
        )
    click.echo(orjson.dumps(document).decode() if as_json else show(document))
