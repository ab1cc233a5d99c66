"""`saphan bench registry`: what a registry costs its servers and itself, at several sizes.

Measured are generated registries (:mod:`benchmarks.registries`). The registry and the server that
follows it are processes of their own, joined by HTTP on loopback. Requests are counted where they
are sent, bytes where they arrive: whole answers with their heads. Times are of processors, of each
side. Memory is the most that a process ever held, beside what it held before it began; it is read
from ``/proc``, since a process that a larger one started begins with that one's ``ru_maxrss``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks import registries
from benchmarks.registries import Generated
from console.cli.printing import print_json
from exchange.agreements import Agreement
from exchange.problems import Problem
from exchange.registry.bundles import LISTING
from mediator.agreements.pinned import PinnedAgreements
from mediator.registry_copy import RegistryCopy, following
from mediator.registry_copy import fetcher as registry_fetcher
from registry.http.client import RegistryClient
from registry.offline.operator import sign_delegation
from registry.publication.ceremony import PUBLIC
from registry.publication.signers import read_signers
from serving.clock import SystemClock

SIZES = (10, 100, 1000)
PINNED = (10, 1_000, 10_000)
LOOK_UPS = 20_000
GRACE = timedelta(days=1)
BUNDLE_S = 600


@dataclass(frozen=True, slots=True)
class Followed:
    """What one synchronisation cost the server that follows, and the registry."""

    what: str
    requests: int
    received_bytes: int
    server_cpu_s: float
    registry_cpu_s: float
    server_peak_mib: float
    server_begun_mib: float


@dataclass(frozen=True, slots=True)
class Acted:
    """What one act cost the registry."""

    what: str
    registry_cpu_s: float
    clock_s: float


@dataclass(frozen=True, slots=True)
class Registry:
    """One size of a registry."""

    members: int
    services: int
    agreements: int
    followed: list[Followed]
    acts: list[Acted]
    registry_start_cpu_s: float
    registry_peak_mib: float


@dataclass(frozen=True, slots=True)
class LookUp:
    """Of one agreement among those that are pinned, in microseconds of the processor."""

    pinned: int
    granted_us: float
    refused_us: float


@dataclass(frozen=True, slots=True)
class Results:
    """What one run measured."""

    registries: list[Registry]
    look_ups: list[LookUp]


class Served:
    """`saphan registry serve` in a process of its own."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "console.cli.main", "registry", "serve", str(directory)]
        self._process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", "--json", "--log-level", "error"],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.url = str(json.loads(self._process.stdout.readline())["url"])
        self.start_cpu_s = self.cpu_s()

    def cpu_s(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> float:
        """The most memory so far."""
        return _peak_mib(str(self._process.pid))

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


def _peak_mib(process: str) -> float:
    """The most memory that a process has held."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _follow(pipe: Connection, folder: Path, url: str, root: bytes, alone: bool) -> None:
    """The server's side, in a process of its own: synchronises each time it is told to; ``alone``
    without a bundle."""
    if alone:
        following._FEW = sys.maxsize
    received = 0
    plain = registry_fetcher._Timed.readinto

    def counted(self: Any, buffer: Any) -> int | None:
        nonlocal received
        count = plain(self, buffer)
        received += count or 0
        return count

    registry_fetcher._Timed.readinto = counted  # type: ignore[method-assign]
    fetcher, copy, begun_mib = None, None, _peak_mib("self")
    while pipe.recv() is not None:
        begun = time.process_time()
        if fetcher is None or copy is None:
            fetcher = registry_fetcher.RegistryFetcher()
            copy = RegistryCopy(folder, url, root, fetcher, GRACE)
            copy.load(datetime.now(UTC))
        before = (fetcher.requests, received)
        copy.synchronise(datetime.now(UTC))
        took = time.process_time() - begun
        assert copy.state is not None
        troubles = len(copy.state.complaints)
        spent = (fetcher.requests - before[0], received - before[1], took)
        pipe.send((*spent, _peak_mib("self"), begun_mib, troubles))


class Follower:
    """A server that follows, in a process of its own."""

    def __init__(self, folder: Path, served: Served, root: bytes, *, alone: bool = False) -> None:
        self._served = served
        self._pipe, theirs = multiprocessing.Pipe()
        arguments = (theirs, folder, served.url, root, alone)
        self._process = multiprocessing.get_context("spawn").Process(target=_follow, args=arguments)
        self._process.start()

    def synchronise(self, what: str) -> Followed:
        begun = self._served.cpu_s()
        self._pipe.send(True)
        requests, received, took, peak, begun_mib, troubles = self._pipe.recv()
        assert troubles == 0, f"{what}: {troubles} members are complained of"
        spent = self._served.cpu_s() - begun
        return Followed(what, requests, received, took, spent, peak, begun_mib)

    def stop(self) -> None:
        self._pipe.send(None)
        self._process.join(60)


def measure(generated: Generated) -> Registry:
    """All of one registry."""
    directory = generated.directory
    root = generated.opened.anchor.read_bytes()
    served = Served(directory)
    client = RegistryClient(served.url, generated.opened.operator_api_key, timeout_s=600)
    acts: list[Acted] = []

    def act(what: str, work: Callable[[], Any]) -> Any:
        begun, clock = served.cpu_s(), time.monotonic()
        done = work()
        acts.append(Acted(what, served.cpu_s() - begun, time.monotonic() - clock))
        return done

    with tempfile.TemporaryDirectory(prefix="saphan-bench-") as name:
        copy = Path(name) / "copy"
        _await_bundle(directory / PUBLIC)
        follower = Follower(copy, served, root)
        followed = [
            follower.synchronise("cold start"),
            follower.synchronise("poll without change"),
        ]
        at = datetime.now(UTC)
        signed = generated.folder.sign(registries.changed(generated, "Another name"), 1, at)
        row = act("submit an update", lambda: client.submit(signed))
        act("approve an update", lambda: client.approve(row["id"], None))
        followed.append(follower.synchronise("one member's change"))
        joining = registries.newcomer(generated, Path(name) / "newcomer")
        row = act("submit a first registration", lambda: client.submit(joining))
        keys = read_signers(generated.opened.targets_keys)
        own = sign_delegation(client.own(), client.submission(row["id"]), keys, [], at)
        act("approve a first registration", lambda: client.approve(row["id"], own))
        followed.append(follower.synchronise("a new member"))
        follower.stop()
        again = Follower(copy, served, root)
        followed.append(again.synchronise("restart with the copy on disk"))
        again.stop()
        late = Follower(Path(name) / "late", served, root)
        followed.append(late.synchronise("cold start, two changes after the bundle"))
        late.stop()
        single = Follower(Path(name) / "single", served, root, alone=True)
        followed.append(single.synchronise("cold start, file by file"))
        single.stop()
    result = Registry(
        generated.members,
        generated.members * registries.SERVICES,
        generated.members * min(registries.AGREEMENTS, generated.members - 1),
        followed,
        acts,
        served.start_cpu_s,
        served.peak_mib(),
    )
    served.stop()
    return result


def _await_bundle(public: Path) -> None:
    """The registry makes it after its start, beside everything else."""
    until = time.monotonic() + BUNDLE_S
    while not (public / LISTING).exists():
        if time.monotonic() > until:
            raise SystemExit(f"the registry made no bundle in {BUNDLE_S} s")
        time.sleep(0.1)


def look_up(folder: Path, count: int) -> LookUp:
    """The look-up of an agreement on the message path, among ``count`` that are pinned."""
    providers, consumers = registries.pinned(folder, count)
    pinned = PinnedAgreements(folder, [providers.member], SystemClock())
    pinned.load(providers.authorities)
    assert len(pinned.own.agreements) == count
    at, services = datetime.now(UTC), registries.services_of(providers.member)
    calls = [
        (consumers[index % len(consumers)], services[index // len(consumers) % len(services)])
        for index in range(count)
    ]

    def timed(template: str) -> float:
        rounds = []
        for _ in range(5):
            begun = time.process_time()
            for index in range(LOOK_UPS // 5):
                client, service = calls[index * 7919 % count]
                try:
                    found: tuple[Agreement, Any] = pinned.own.allow(
                        client, service, "GET", template, "registration", "", at
                    )
                    assert found[0].consumer == client
                except Problem:
                    pass
            rounds.append((time.process_time() - begun) / (LOOK_UPS // 5) * 1e6)
        return median(rounds)

    return LookUp(count, timed("/records/{id}"), timed("/other"))


@click.command()
@click.option(
    "--members",
    "sizes",
    type=int,
    multiple=True,
    default=SIZES,
    show_default=True,
    help="How many members; may be given again.",
)
@click.option(
    "--pinned",
    "counts",
    type=int,
    multiple=True,
    default=PINNED,
    show_default=True,
    help="How many agreements a server has pinned; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def registry(sizes: tuple[int, ...], counts: tuple[int, ...], as_json: bool) -> None:
    """What polls, changes and cold starts cost at some sizes of registries."""
    measured, look_ups = [], []
    for members in sizes:
        with tempfile.TemporaryDirectory(prefix="saphan-bench-") as name:
            measured.append(measure(registries.generate(Path(name), members)))
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="saphan-bench-") as name:
            look_ups.append(look_up(Path(name), count))
    results = Results(measured, look_ups)
    if as_json:
        print_json(asdict(results))
        return
    for one in results.registries:
        _print(one)
    for found in results.look_ups:
        click.echo(
            f"look-up among {found.pinned:6,} pinned agreements: {found.granted_us:5.1f} µs "
            f"granted, {found.refused_us:5.1f} µs refused"
        )


def _print(one: Registry) -> None:
    click.echo(
        f"{one.members:,} members, {one.services:,} services, {one.agreements:,} agreements; "
        f"registry: {one.registry_start_cpu_s:.1f} s to start, {one.registry_peak_mib:.0f} MiB"
    )
    for row in one.followed:
        click.echo(
            f"  {row.what:40} {row.requests:6,} requests {row.received_bytes:11,} bytes, server "
            f"{row.server_cpu_s:7.3f} s, {row.server_begun_mib:.0f} to "
            f"{row.server_peak_mib:.0f} MiB, registry "
            f"{row.registry_cpu_s:7.3f} s"
        )
    for act in one.acts:
        click.echo(f"  {act.what:40} registry {act.registry_cpu_s:7.3f} s ({act.clock_s:.3f} s)")
