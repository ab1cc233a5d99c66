"""`saphan bench journal`: what a durable record, a proof and a verification cost.

Records are as on the message path: an entry of about 830 bytes and a sealed part with a body of
1 KiB, encrypted under a key of its own, with publication and search index running, garbage
collection as in a server. The baseline is a bare loop of `write` and `fdatasync` with the same
bytes, one record or one group at a time. What the index costs is measured in turns: the same with
and without it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.cli.printing import print_json
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.journal.entries import Entry, Kind, Side, format_entry
from exchange.journal.sealed_parts import Head, SealedPart
from exchange.log import merkle
from exchange.log.tiles import Tile, subtree_reader
from exchange.messages.digest import content_digest
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal, JournalSettings
from mediator.journal.segments import format_record
from mediator.journal.verify import verify
from serving.log.tiles import Edge
from serving.randomness import random_bytes
from serving.runtime import settle

CONCURRENCY = (1, 16, 256)
TURNS = 5
TREE_SIZES = (10_000, 1_000_000)
BODY_BYTES = 1024
_MEMBER = MemberId("LA", "GOV", "MOF")
_CLIENT = ApplicationId.parse("LA/GOV/MOF/budget")
_SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
_PEER = ServerId.parse("LA/GOV/MPI/ss1")


@dataclass(frozen=True, slots=True)
class Appends:
    """Durable appends at one concurrency."""

    concurrency: int
    per_second: float
    cpu_us: float
    """Processor time for one record, publication and index included, in whatever process."""
    p50_ms: float
    p99_ms: float
    bare_per_second: float
    """The baseline: the same bytes in groups of `concurrency` by write and fdatasync."""
    ratio: float


@dataclass(frozen=True, slots=True)
class Indexing:
    """What the search index costs at the highest concurrency; medians of turns."""

    with_per_second: float
    without_per_second: float
    slower: float
    """Time of an append with the index, of one without."""
    cpu: float
    """Processor time with the index, of that without."""


@dataclass(frozen=True, slots=True)
class Proofs:
    """Times for one proof, from tiles in memory, in microseconds."""

    entries: int
    prove_inclusion_us: float
    check_inclusion_us: float
    prove_consistency_us: float
    check_consistency_us: float


@dataclass(frozen=True, slots=True)
class Verification:
    """Offline verification of the journal that was written, on one core."""

    entries: int
    tree_per_second: float
    """Entries, bundles, tiles and checkpoint."""
    sealed_per_second: float
    """The same with segments: every sealed part checked, decrypted and checked again."""


@dataclass(frozen=True, slots=True)
class Results:
    """What one run measured."""

    appends: list[Appends]
    indexing: Indexing
    proofs: list[Proofs]
    verification: Verification


def _entry(number: int) -> Entry:
    return Entry(
        kind=Kind.REQUEST,
        side=Side.CONSUMER,
        at=datetime.now(UTC),
        id=f"LA-7c9e6679-7425-40de-944b-{number:012d}",
        trace=f"{number:032x}",
        client=_CLIENT,
        service=_SERVICE,
        peer=_PEER,
        method="GET",
        endpoint="/projects/{id}",
        size=BODY_BYTES,
        certificate="3f" * 32,
        agreement="mof-mpi-2026",
        purpose="national-budget",
        nonce="bm9uY2Ugb2YgMTggYnl0ZXM",
    )


_BODY = os.urandom(BODY_BYTES)
_SIGNATURE = b"s" * 64
_TARGET = "/r1/LA/GOV/MPI/oda-mis/projects/P-1"
_HEADERS = (
    ("content-type", "application/json"),
    ("content-digest", content_digest(_BODY)),
    ("exchange-purpose", "national-budget"),
    ("x-road-client", str(_CLIENT)),
)
_PARAMS = (
    '"@signature-params": ("@method" "@target-uri" "content-type" "content-digest"'
    ' "exchange-purpose" "x-road-client" "x-road-id");created={0};expires={1}'
    ';nonce="bm9uY2Ugb2YgMTggYnl0ZXM";keyid="' + "3f" * 32 + '";alg="ecdsa-p256-sha256"'
    ';tag="saphan-request"'
)


def _part(entry: Entry) -> SealedPart:
    """A sealed part as large as a real one, which says what its entry says."""
    headers = (*_HEADERS, ("x-road-id", entry.id or ""))
    lines = "".join(f'\n"{name}": {value}' for name, value in headers)
    created = int(entry.at.timestamp())
    params = _PARAMS.format(created, created + 60)
    base = f'"@method": GET\n"@target-uri": https://ss1.mpi.example{_TARGET}{lines}\n{params}'
    head = Head(headers, "GET", _TARGET)
    return SealedPart(base.encode(), _SIGNATURE, head, _BODY, random_bytes(16))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


async def _append(
    directory: Path, concurrency: int, seconds: float, index: bool = True
) -> tuple[float, float, Any]:
    journal = await Journal.open(
        directory,
        origin="bench.saphan.la/journal",
        signing_key=Ed25519PrivateKey.generate(),
        keyring=KeyRing(directory / "keys"),
        settings=JournalSettings(index=index),
    )
    first = _entry(0)
    await journal.record(first, _MEMBER, _part(first))  # makes the month's key
    settle()
    waits: list[float] = []
    number = 0

    async def producer(end: float) -> None:
        nonlocal number
        while (begun := time.perf_counter()) < end:
            number += 1
            entry = _entry(number)
            await journal.record(entry, _MEMBER, _part(entry))
            waits.append(time.perf_counter() - begun)

    cpu, begun = _cpu_s(), time.perf_counter()
    await asyncio.gather(*(producer(begun + seconds) for _ in range(concurrency)))
    elapsed = time.perf_counter() - begun
    count = len(waits)
    await journal.close()  # what is left to publish counts as processor time
    waits.sort()
    quantiles = (waits[count // 2] * 1e3, waits[count * 99 // 100] * 1e3)
    return count / elapsed, (_cpu_s() - cpu) / count * 1e6, quantiles


def measure_indexing(directory: Path, concurrency: int, seconds: float) -> Indexing:
    """Durable appends with and without the index, in turns."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for turn in range(TURNS):
        for index in (True, False) if turn % 2 else (False, True):
            target = directory / f"turn-{turn}-{index}"
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                rate, cpu_us, _ = runner.run(_append(target, concurrency, seconds, index))
            found[index].append((rate, cpu_us))
            shutil.rmtree(target)
    pairs = list(zip(found[True], found[False], strict=True))
    return Indexing(
        median(rate for rate, _ in found[True]),
        median(rate for rate, _ in found[False]),
        median(plain[0] / indexed[0] for indexed, plain in pairs),
        median(indexed[1] / plain[1] for indexed, plain in pairs),
    )


def _bare(path: Path, group: int, seconds: float) -> float:
    """Records a second of the bare loop: one write and one fdatasync a group."""
    record = format_record(format_entry(_entry(1)), os.urandom(BODY_BYTES + 1200))
    data = record * group
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        begun = time.perf_counter()
        count = offset = 0
        while time.perf_counter() < begun + seconds:
            offset += os.pwrite(descriptor, data, offset)
            os.fdatasync(descriptor)
            count += group
        return count / (time.perf_counter() - begun)
    finally:
        os.close(descriptor)


def measure_appends(directory: Path, concurrency: int, seconds: float) -> Appends:
    """Durable appends at one concurrency, and the bare loop right before."""
    bare = _bare(directory / f"bare-{concurrency}", concurrency, min(seconds, 1.0))
    target = directory / f"journal-{concurrency}"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rate, cpu_us, (p50, p99) = runner.run(_append(target, concurrency, seconds))
    return Appends(concurrency, rate, cpu_us, p50, p99, bare, rate / bare)


def _microseconds(act: Callable[[int], object], times: int) -> float:
    begun = time.perf_counter()
    for number in range(times):
        act(number)
    return (time.perf_counter() - begun) / times * 1e6


def measure_proofs(size: int) -> Proofs:
    """Make and check proofs in a tree of ``size`` entries."""
    edge = Edge.empty()
    tiles: dict[Tile, bytes] = {}
    for start in range(0, size, 8192):
        entries = [number.to_bytes(8, "big") for number in range(start, min(start + 8192, size))]
        tiles.update(edge.append(entries))
    tiles.update(edge.partial())
    read = subtree_reader(size, tiles.__getitem__)
    root = edge.root()
    indexes = [number * 7919 % size for number in range(200)]
    paths = [merkle.prove_inclusion(index, size, read) for index in indexes]
    leaves = [merkle.leaf_hash(index.to_bytes(8, "big")) for index in indexes]
    sizes = [index + 1 for index in indexes]
    consistency = [merkle.prove_consistency(old, size, read) for old in sizes]
    roots = [merkle.root(old, read) for old in sizes]
    return Proofs(
        size,
        _microseconds(lambda n: merkle.prove_inclusion(indexes[n], size, read), 200),
        _microseconds(
            lambda n: merkle.check_inclusion(indexes[n], size, leaves[n], paths[n], root), 200
        ),
        _microseconds(lambda n: merkle.prove_consistency(sizes[n], size, read), 200),
        _microseconds(
            lambda n: merkle.check_consistency(sizes[n], size, consistency[n], roots[n], root), 200
        ),
    )


def measure_verification(directory: Path) -> Verification:
    """Verify a journal's directory twice: the tree alone, and with the sealed parts."""
    rates = []
    size = 0
    for tree_only in (True, False):
        begun = time.thread_time()
        verdict = verify(directory, tree_only=tree_only)
        rates.append(verdict.size / (time.thread_time() - begun))
        assert verdict.good, verdict.findings
        size = verdict.size
    return Verification(size, *rates)


def run(json: bool, seconds: float = 4.0, directory: Path | None = None) -> Results:
    """Measure everything and print it.

    Args:
        json: print one JSON document instead of a table.
        seconds: for each concurrency.
        directory: on the disk to be measured; a temporary folder by default.
    """
    folder = Path(tempfile.mkdtemp(prefix="saphan-bench-", dir=directory))
    try:
        appends = []
        for concurrency in CONCURRENCY:
            _say(json, f"durable appends, concurrency {concurrency} …")
            appends.append(measure_appends(folder, concurrency, seconds))
        _say(json, "appends with and without the index …")
        indexing = measure_indexing(folder, CONCURRENCY[-1], seconds)
        _say(json, "verification …")
        verification = measure_verification(folder / f"journal-{CONCURRENCY[-1]}")
        _say(json, "proofs …")
        proofs = [measure_proofs(size) for size in TREE_SIZES]
        results = Results(appends, indexing, proofs, verification)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if json:
        print_json(asdict(results))
    else:
        _print(results)
    return results


def _say(json: bool, text: str) -> None:
    if not json:
        click.echo(text, err=True)


def _print(results: Results) -> None:
    click.echo("durable appends (entry, 1 KiB sealed part, publication and index running)")
    click.echo(" concurrency  records/s  cpu µs  p50 ms  p99 ms   bare/s  of bare")
    for row in results.appends:
        click.echo(
            f" {row.concurrency:11}  {row.per_second:9,.0f}  {row.cpu_us:6.1f}  {row.p50_ms:6.2f}"
            f"  {row.p99_ms:6.2f}  {row.bare_per_second:7,.0f}  {row.ratio:7.2f}"
        )
    cost = results.indexing
    click.echo(
        f"search index, concurrency {CONCURRENCY[-1]}: {cost.with_per_second:,.0f}/s with, "
        f"{cost.without_per_second:,.0f}/s without; an append takes {cost.slower:.2f} times as "
        f"long, and {cost.cpu:.2f} times the processor time"
    )
    click.echo("proofs, µs     prove inclusion  check  prove consistency  check")
    for proof in results.proofs:
        click.echo(
            f" {proof.entries:9,} entries  {proof.prove_inclusion_us:10.0f}"
            f"  {proof.check_inclusion_us:5.0f}  {proof.prove_consistency_us:17.0f}"
            f"  {proof.check_consistency_us:5.0f}"
        )
    verification = results.verification
    click.echo(
        f"offline verification of {verification.entries:,} entries, one core: "
        f"{verification.tree_per_second:,.0f}/s tree and tiles, "
        f"{verification.sealed_per_second:,.0f}/s with sealed parts opened"
    )


@click.command()
@click.option("--seconds", default=4.0, show_default=True, help="For each concurrency.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder on the disk to be measured; a temporary one if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def journal(seconds: float, directory: Path | None, as_json: bool) -> None:
    """Durable appends, proofs and offline verification, against a bare write and fdatasync."""
    run(as_json, seconds, directory)
