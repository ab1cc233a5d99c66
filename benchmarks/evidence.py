"""`saphan bench evidence`: what a journal costs as evidence.

Measured are a proof, an append, the disk and a verification, on a journal of ``--count`` entries of
:mod:`benchmarks.entries`, or on one that was made before (``--dir``; some thousand entries are
appended to it). The baseline is a journal of 10,000 entries in the same run; appends to the two
take turns, and each turn is compared with the one right beside it: told are the median of these
pairs and between what half of them lie. Appends are given in processor time, publication and search
index included: the time on the clock is that of the disk, and of whoever else uses the machine.
What is appended comes after all that is there, as on a server.
"""

from __future__ import annotations

import asyncio
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median

import click
import uvloop

from benchmarks import entries
from console.cli.printing import print_json
from exchange.identifiers import MemberId
from exchange.journal.entries import Entry, Side
from exchange.journal.sealed_parts import SealedPart
from mediator.journal.index import FILE as INDEX_FILE
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader
from mediator.journal.verify.workers import usable_processes

SMALL = 10_000
ROUNDS = 21
BATCH = 1024
PROOFS = 300


@dataclass(frozen=True, slots=True)
class Proofs:
    """Inclusion proofs from files, in milliseconds: made by one reader, and by one newly opened."""

    p50_ms: float
    p95_ms: float
    opened_p95_ms: float


@dataclass(frozen=True, slots=True)
class Appends:
    """Processor time of an append, in microseconds, and how it grew with the journal."""

    small_us: float
    large_us: float
    ratio: float
    """The median of the pairs; half of them lie between the next two."""
    ratio_low: float
    ratio_high: float


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes an entry."""

    segments: float
    """Entries and sealed parts, as they were recorded."""
    bundles: float
    """Entries again, as they are published."""
    tiles: float
    """The hashes of the tree."""
    index: float
    """The search index, which is derived."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A whole verification, and one from the last verified checkpoint."""

    processes: int
    seconds: float
    cpu_s: float
    peak_mb: float
    """Resident memory of all processes together; what they share counts for each."""
    resumed_s: float


@dataclass(frozen=True, slots=True)
class Results:
    """What one run measured, of a journal of ``entries`` entries."""

    entries: int
    proofs: Proofs
    appends: Appends
    disk: Disk
    verification: Verification


def measure_proofs(directory: Path) -> Proofs:
    """Prove random entries."""
    source = random.Random(1)
    reader = JournalReader(directory)
    indexes = [source.randrange(reader.checkpoint.size) for _ in range(PROOFS)]
    warm = sorted(_seconds(partial(reader.prove, index)) for index in indexes)
    opened = sorted(_seconds(partial(_open_and_prove, directory, index)) for index in indexes[:100])
    p50, p95 = (warm[PROOFS * share // 100] * 1e3 for share in (50, 95))
    return Proofs(p50, p95, opened[95] * 1e3)


def _open_and_prove(directory: Path, index: int) -> None:
    JournalReader(directory).prove(index)


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


async def measure_appends(small: Path, large: Path) -> Appends:
    """Append batches to the two journals in turns."""
    journals = [await entries.open_journal(path) for path in (small, large)]
    costs: tuple[list[float], list[float]] = ([], [])
    try:
        for turn in range(ROUNDS + 1):
            order = (0, 1) if turn % 2 else (1, 0)
            for which in order:
                cost = await _append(journals[which])
                if turn:  # the first makes keys and reads pages
                    costs[which].append(cost)
    finally:
        for journal in journals:
            await journal.close()
    ratios = sorted(large_us / small_us for small_us, large_us in zip(*costs, strict=True))
    half = ratios[len(ratios) // 4], ratios[len(ratios) * 3 // 4]
    return Appends(median(costs[0]), median(costs[1]), median(ratios), *half)


async def _append(journal: Journal) -> float:
    """Processor microseconds of one append of a batch, published and indexed."""
    first = journal.size
    made = [_later(number, first + BATCH) for number in range(first, first + BATCH)]
    begun = time.process_time()
    await entries.append(journal, made)
    return (time.process_time() - begun) / BATCH * 1e6


def _later(number: int, count: int) -> tuple[Entry, MemberId, SealedPart | None]:
    """An entry behind the 24 months, at a time of its own."""
    found, member, part = entries.entry(number, count, Side.PROVIDER)
    at = entries.BEGIN + timedelta(milliseconds=entries.SPAN_MS + number)
    return found._replace(at=at), member, part


def measure_disk(directory: Path, size: int) -> Disk:
    """The sizes of the files, an entry."""

    def used(*patterns: str) -> float:
        paths = (path for pattern in patterns for path in directory.glob(pattern))
        return sum(path.stat().st_size for path in paths if path.is_file()) / size

    return Disk(
        segments=used("segments/*"),
        bundles=used("log/tile/entries/**/*"),
        tiles=used("log/tile/[0-9]*/**/*"),
        index=used(f"{INDEX_FILE}*"),
    )


def measure_verification(directory: Path, processes: int) -> Verification:
    """Verify all by the command, then again from what was verified."""
    with tempfile.TemporaryDirectory(prefix="saphan-bench-") as folder:
        command = [
            *(sys.executable, "-m", "console.cli.main", "audit", "verify", str(directory)),
            *("--processes", str(processes), "--state", f"{folder}/state.json", "--json"),
        ]
        cpu, begun, peak = _cpu_s(), time.perf_counter(), 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as verifying:
            while verifying.poll() is None:
                peak = max(peak, _resident(verifying.pid))
                time.sleep(0.1)
        seconds, cpu_s = time.perf_counter() - begun, _cpu_s() - cpu
        assert verifying.returncode == 0
        resumed = _seconds(partial(subprocess.run, command, stdout=subprocess.DEVNULL, check=True))
    return Verification(processes, seconds, cpu_s, peak / 2**20, resumed)


def _resident(process: int) -> int:
    """Bytes of memory of a process and of those that it began; shared pages count for each."""
    with suppress(OSError, ValueError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        began = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return pages * resource.getpagesize() + sum(_resident(int(child)) for child in began)
    return 0  # it ended meanwhile


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(json: bool, count: int, directory: Path | None, processes: int | None = None) -> Results:
    """Measure everything and print it.

    Args:
        json: print one JSON document instead of a table.
        count: entries of the journal that is made when there is no ``directory``.
        directory: a journal of :mod:`benchmarks.entries`; it is appended to.
        processes: for the verification; all processors by default.
    """
    folder = Path(tempfile.mkdtemp(prefix="saphan-bench-"))
    try:
        large = directory or folder / "large"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if directory is None:
                _say(json, f"a journal of {count:,} entries …")
                runner.run(entries.write(large, count))
            runner.run(entries.write(folder / "small", SMALL))
            size = JournalReader(large).checkpoint.size
            _say(json, "proofs …")
            proofs = measure_proofs(large)
            _say(json, "disk …")
            disk = measure_disk(large, size)
            _say(json, "verification …")  # before the appends: it tells of the same entries
            verification = measure_verification(large, processes or usable_processes())
            _say(json, "appends …")
            appends = runner.run(measure_appends(folder / "small", large))
        results = Results(size, proofs, appends, disk, verification)
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
    proofs, appends, disk = results.proofs, results.appends, results.disk
    check = results.verification
    click.echo(f"a journal of {results.entries:,} entries")
    click.echo(
        f" inclusion proof    p50 {proofs.p50_ms:.2f} ms, p95 {proofs.p95_ms:.2f} ms; with opening "
        f"the journal p95 {proofs.opened_p95_ms:.2f} ms"
    )
    click.echo(
        f" append, cpu        {appends.large_us:.0f} µs; at {SMALL:,} entries "
        f"{appends.small_us:.0f} µs: {appends.ratio:.2f} times (half of {ROUNDS} pairs of turns: "
        f"{appends.ratio_low:.2f} to {appends.ratio_high:.2f})"
    )
    click.echo(
        f" disk, an entry     segments {disk.segments:.0f}, bundles {disk.bundles:.0f}, tiles "
        f"{disk.tiles:.1f}, index {disk.index:.0f} bytes"
    )
    click.echo(
        f" verification       {check.seconds:.1f} s with {check.processes} processes "
        f"({check.cpu_s:.1f} s cpu, {check.peak_mb:.0f} MB); resumed "
        f"{check.resumed_s:.2f} s"
    )


@click.command()
@click.option("--count", default=100_000, show_default=True, help="Entries to be made.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A journal that `python -m benchmarks.entries` made, instead; it is appended to.",
)
@click.option("--processes", type=click.IntRange(1, 64), help="For the verification.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evidence(count: int, directory: Path | None, processes: int | None, as_json: bool) -> None:
    """Proofs, appends, disk and verification of a large journal, against a small one."""
    run(as_json, count, directory, processes)
