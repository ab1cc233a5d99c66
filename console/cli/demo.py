"""`saphan demo`: build the reference world, play its story, verify every journal.

Everything runs on loopback. The first signal (Ctrl-C, SIGTERM) ends the story after the step under
way, a second one at once; in any case every process that was started is ended before this one is.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from console.cli.options import JSON
from console.reference_world import evidence, laos, legacy, refusals, story, telling
from console.reference_world.world import World
from exchange.problems import Code, Problem

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


class _Interrupted(BaseException):
    """Somebody asked to stop before the story was over."""


class _Stop:
    """Set by the first signal; the second one raises."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def __call__(self, *_: object) -> None:
        if self._asked.is_set():
            raise _Interrupted
        self._asked.set()

    def check(self) -> None:
        """Raise if a signal came."""
        if self._asked.is_set():
            raise _Interrupted

    def wait(self) -> None:
        """Wait for a signal."""
        self._asked.wait()


class _Teller:
    """Prints the steps as they happen, and collects them for ``--json``."""

    def __init__(self, world: World, stop: _Stop, *, as_json: bool) -> None:
        self._stop = stop
        self._folder = f"{world.directory}/"
        self._as_json = as_json
        self._started = time.perf_counter()
        self.document: dict[str, Any] = {
            "title": telling.STORY,
            "instance": laos.INSTANCE,
            "directory": str(world.directory),
            "steps": [],
        }
        self.say(f"{telling.STORY.en} · {telling.STORY.lo}: {world.directory}")

    def step(
        self,
        number: int,
        make: Callable[[], T],
        tell: Callable[[T], Iterator[str]],
    ) -> T:
        """Make a step, say what came of it and how long it took."""
        self.say(f"\n{telling.heading(number)}")
        started = time.perf_counter()
        result = make()
        took_s = round(time.perf_counter() - started, 2)
        title = telling.TITLES[number - 1]
        self.document["steps"].append(
            {"step": number, "title": title, "took_s": took_s, "result": result}
        )
        self._lines(tell(result), took_s)
        self._stop.check()
        return result

    def verification(self, make: Callable[[], tuple[evidence.Verified, ...]]) -> None:
        """Verify the journals and say so."""
        self.say(f"\n{telling.VERIFICATION.en} · {telling.VERIFICATION.lo}")
        started = time.perf_counter()
        verified = make()
        self.document["verified"] = verified
        self._lines(telling.tell_verified(verified), round(time.perf_counter() - started, 2))

    def end(self, *next_steps: str) -> None:
        """Say that the story is over; print the document."""
        took_s = round(time.perf_counter() - self._started, 1)
        self.document["took_s"] = took_s
        if self._as_json:
            sys.stdout.buffer.write(orjson.dumps(self.document, default=str) + b"\n")
            sys.stdout.flush()
        self.say(f"\nAll as it must be, in {took_s} s · ທຸກຢ່າງຖືກຕ້ອງ")
        for line in next_steps:
            self.say(line)

    def say(self, line: str) -> None:
        """One line to people: on standard error when a document is printed."""
        click.echo(line, err=self._as_json)

    def _lines(self, lines: Iterator[str], took_s: float) -> None:
        """Lines of a step; files are named from the world's folder, which the first line names."""
        if not self._as_json:
            for line in lines:
                self.say(f"   {line}".replace(self._folder, "") if line else "")
        self.say(f"   ({took_s} s)")


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the world, new or empty; it stays. With --keep-running it may hold a world "
    "that ended: that is started again. Without this option: a temporary folder.",
)
@click.option(
    "--keep-running",
    is_flag=True,
    help="Leave the world running until Ctrl-C or SIGTERM, and write world.json.",
)
@click.option(
    "--mariadb",
    default="",
    metavar="URL",
    help="An empty database for ODA-MIS, enterprises and gazette; else SQLite stands in.",
)
@click.option(
    "--postgresql",
    default="",
    metavar="URL",
    help="An empty database for the civil register; else SQLite stands in.",
)
@JSON
def demo(
    directory: Path | None, keep_running: bool, mariadb: str, postgresql: str, as_json: bool
) -> None:
    """Build the reference world and play its story.

    Opens an instance, registers ministries with their legacy registers, seals agreements, asks
    once, shows what is refused, proves it all, and verifies every journal from its files alone.
    Nothing leaves loopback. A world that is started again plays no story; its registry, servers
    and journals go on where they were.

    Exit codes: 0 everything was as it must be; 1 a problem; 2 wrong usage; 130 interrupted.
    """
    again = directory is not None and _is_world(directory)
    if again and not keep_running:
        raise Problem(
            Code.CONFLICT,
            where="--dir",
            detail=f"{directory} holds a world already: add --keep-running to start it again, or "
            "name a new folder to play the story anew",
        )
    folder = directory.resolve() if directory is not None and again else _folder(directory)
    world = World(folder, laos.INSTANCE)
    stop = _Stop()
    try:
        with _signals(stop), _closing(world):
            teller = _Teller(world, stop, as_json=as_json)
            if again:
                world.reopen(laos.plans(folder / "legacy"))
                world.beside.enter_context(legacy.open_portal(folder / "legacy"))
                world.wait_ready()
                stop.check()
            else:
                _play(world, teller, {"mariadb": mariadb, "postgresql": postgresql})
            if keep_running:
                _keep(world, teller, stop)
            else:
                known = evidence.checkpoints(world)
                world.close()
                world.write()
                teller.verification(lambda: evidence.verify_all(world, known))
                teller.end(*_next_steps(directory))
    except _Interrupted:
        click.echo("Interrupted; every process has ended.", err=True)
        sys.exit(INTERRUPTED)
    finally:
        if directory is None and not keep_running:
            shutil.rmtree(folder, ignore_errors=True)


def _play(world: World, teller: _Teller, addresses: dict[str, str]) -> None:
    """The six steps; of the databases that have no address, files stand in."""
    servers = {kind: address for kind, address in addresses.items() if address}
    teller.step(1, lambda: story.open_instance(world), telling.tell_opened)
    teller.step(2, lambda: story.register(world, servers), telling.tell_registered)
    sealed = teller.step(3, lambda: story.agree(world), telling.tell_agreements)
    asked = teller.step(4, lambda: story.ask(world), telling.tell_asked)
    teller.step(5, lambda: refusals.refuse(world, asked), telling.tell_refused)
    teller.step(6, lambda: evidence.prove(world, sealed, asked), telling.tell_proven)


def _keep(world: World, teller: _Teller, stop: _Stop) -> None:
    """Leave the world running until a signal; then end it and verify the journals once more."""
    known = evidence.checkpoints(world)
    teller.verification(lambda: evidence.verify_all(world, known))
    path = world.write()
    example = world.describe()["services"][0]["example"]
    url = world.server_of(laos.MOF).url("http")
    headers = " ".join(f"-H '{name}: {value}'" for name, value in example["headers"].items())
    teller.end(
        f"Running until Ctrl-C · ກົດ Ctrl-C ເພື່ອຢຸດ. Where everything is: {path}",
        f"Next: curl {headers} '{url}{example['path']}'",
        f"      {_saphan()} audit search {shlex.quote(f'{world.directory}/servers')}",
        f"      {_asking(world)}",
    )
    stop.wait()
    teller.say("Stopping · ກຳລັງຢຸດ")
    known = evidence.checkpoints(world)
    world.close()
    world.write()
    verified = evidence.verify_all(world, known)
    teller.say(f"Every process has ended; {len(verified)} journals verified in {world.directory}.")
    teller.say(f"Next: {_again(world.directory)} starts it again, where it was.")


def _asking(world: World) -> str:
    """How the auditor of the story asks over the network; who names a person adds --subject."""
    application = world.applications[laos.INSPECTION]
    words = [_saphan(), "audit", "ask"]
    for member in (laos.MOF, laos.MPI):
        words += ["--mandate", f"{world.server_of(member).agreements}"]
    words += ["--via", world.servers[laos.DGC_SERVER].url("https"), "--ca", f"{world.authorities}"]
    words += ["--cert", application["certificate"], "--key", application["key"]]
    words += ["--registry", world.registry_url, "--root", f"{world.anchor}"]
    return shlex.join(words)


def _next_steps(directory: Path | None) -> tuple[str, ...]:
    if directory is None:
        return (
            "Its folder was temporary and is gone.",
            f"Next: {_saphan()} demo --dir world --keep-running, and try calls of your own.",
        )
    servers = shlex.quote(f"{directory}/servers")
    return (
        f"Next: {_saphan()} audit search {servers}; {_saphan()} audit verify {servers}",
        f"      {_again(directory)} starts this world again.",
    )


def _again(directory: Path) -> str:
    return f"{_saphan()} demo --dir {shlex.quote(str(directory))} --keep-running"


def _saphan() -> str:
    """The command as this person can call it: by its path when PATH does not lead to it."""
    if shutil.which("saphan") is not None:
        return "saphan"
    return shlex.quote(os.path.relpath(sys.argv[0]))


def _is_world(directory: Path) -> bool:
    """A story was played to its end there."""
    return (directory / "world.json").is_file()


def _folder(directory: Path | None) -> Path:
    """The world's folder, empty and absolute.

    Raises:
        Problem: ``Conflict`` when there is something in it.
    """
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="saphan-demo-")).resolve()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = any(directory.iterdir())
    except OSError as error:
        raise Problem(
            Code.INVALID_USAGE, where="--dir", detail=f"{directory}: {error.strerror}"
        ) from error
    if taken:
        raise Problem(
            Code.CONFLICT,
            where="--dir",
            detail=f"{directory} is not empty; name a new folder, or remove that one",
        )
    return directory.resolve()


@contextmanager
def _signals(stop: _Stop) -> Iterator[None]:
    """Have signals handled by ``stop``."""
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _closing(world: World) -> Iterator[None]:
    """End the world's processes whatever happens; no signal stops that."""
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        world.close()
