"""Changed files: whatever byte is flipped is named, and a cut or forked log is refused."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import yaml
from click.testing import CliRunner

from console.cli.main import main
from console.reference_world.standing import RunningServer
from exchange.log.tiles import ENTRIES, WIDTH, Tile, bundles_of, tiles_of
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.verify import Finding, verify
from tests.faults.load import load
from tests.world.fixtures import small_world
from tests.world.small import SmallWorld, wait_published

SEED = 20261121
FLIPS = 24  # in each kind of file
EXCHANGES = 400  # two entries each: more than two full tiles, and partial ones


@dataclass(frozen=True, slots=True)
class History:
    """MPI's journal, and what it was before."""

    world: SmallWorld
    early: Path
    """A copy of an earlier time."""
    fork: Path
    """What the same server, with the same keys, made of the earlier copy: another history."""
    whole: Path
    """The journal as it is."""

    @property
    def server(self) -> RunningServer:
        return self.world.mpi


def exchange_some(world: SmallWorld, number: int) -> None:
    """Have exchanges made until so many were answered."""
    with load(world.mof.url("http"), connections=8) as applications:
        applications.await_answers(number)
    wait_published(world.mpi)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A journal with a past, and a fork of it, all made by exchanges.

    Its server has no witnesses: they would keep it from signing the fork.
    """
    folder = tmp_path_factory.mktemp("journals")
    with small_world() as world:
        server = world.mpi
        server.process.stop()
        path = server.folder / "server.yaml"
        settings = yaml.safe_load(path.read_text("utf-8")) | {"witnesses": {"peers": 0}}
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
        server.process.start()
        server.process.wait_ready()

        def keep(name: str) -> Path:
            server.process.stop()
            return Path(shutil.copytree(server.journal, folder / name))

        exchange_some(world, 40)
        early = keep("early")
        server.process.start()
        server.process.wait_ready()
        exchange_some(world, 100)
        fork = keep("fork")
        place(server, early)
        server.process.start()
        server.process.wait_ready()
        exchange_some(world, EXCHANGES)
        yield History(world, early, fork, keep("whole"))


def place(server: RunningServer, journal: Path, *, parts: tuple[str, ...] = ()) -> None:
    """Put a copy (or parts of one) in the place of the server's journal."""
    for name in parts or ("",):
        target = server.journal / name
        if target.is_dir():
            shutil.rmtree(target)
        if (journal / name).is_dir():
            shutil.copytree(journal / name, target)
        else:
            shutil.copyfile(journal / name, target)


@contextmanager
def flipped(path: Path, at: int, bit: int = 0) -> Iterator[None]:
    """One bit of a file is another one while the block runs."""
    data = path.read_bytes()
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(data)


def findings(journal: Path) -> tuple[Finding, ...]:
    """What verification finds; a journal that cannot be read at all is a finding too."""
    try:
        return verify(journal).findings
    except Problem as problem:
        return (Finding(problem.code, problem.where, None, problem.detail),)


def random_places(paths: list[Path], kind: str) -> Iterator[tuple[Path, int, int]]:
    """Seeded random places over all bytes of some files: path, byte, bit."""
    rng = random.Random(f"{SEED} {kind}")
    sizes = [path.stat().st_size for path in paths]
    for _ in range(FLIPS):
        (number,) = rng.choices(range(len(paths)), sizes)
        yield paths[number], rng.randrange(sizes[number]), rng.randrange(8)


def files(journal: Path, pattern: str) -> list[Path]:
    found = sorted(path for path in journal.glob(pattern) if path.is_file())
    assert found
    return found


def tiles(journal: Path) -> list[Path]:
    """The tiles of the published tree."""
    return [journal / "log" / str(tile) for tile in tiles_of(verify(journal).size)]


def bundles(journal: Path) -> list[Path]:
    """The entry bundles of the published log."""
    return [journal / "log" / str(tile) for tile in bundles_of(verify(journal).size)]


def left_over(journal: Path) -> list[Path]:
    """Partial tiles and bundles of earlier sizes, which whoever kept such a head may ask for."""
    present = {*tiles(journal), *bundles(journal)}
    found = [path for path in files(journal, "log/tile/**/*") if path not in present]
    assert found
    return found


def test_the_journal_is_good(history: History) -> None:
    """The control: untouched, it verifies, with every sealed part opened."""
    verdict = verify(history.whole)
    assert verdict.good
    assert verdict.size > 2 * EXCHANGES
    assert verdict.opened == verdict.sealed >= 2 * EXCHANGES


def test_a_flipped_bit_in_a_tile_is_named(history: History) -> None:
    """The tile's file; for a tile of leaves also the entry whose leaf it was."""
    log = history.whole / "log"
    for path, at, bit in random_places(tiles(history.whole), "tile"):
        tile = Tile.parse(str(path.relative_to(log)))
        with flipped(path, at, bit):
            found = findings(history.whole)
        named = {(finding.file, finding.index) for finding in found}
        entry = tile.first + at // 32 << 8 * tile.level
        assert (f"log/{tile}", entry) in named, (tile, at, bit, found)


def test_a_flipped_bit_in_an_entry_bundle_is_named(history: History) -> None:
    """The bundle's file and the entry in which the byte lies."""
    log = history.whole / "log"
    for path, at, bit in random_places(bundles(history.whole), "bundle"):
        tile = Tile.parse(str(path.relative_to(log)))
        assert tile.level == ENTRIES
        entry = tile.first + entry_at(path.read_bytes(), at)
        with flipped(path, at, bit):
            found = findings(history.whole)
        named = {(finding.file, finding.index) for finding in found}
        assert (f"log/{tile}", entry) in named, (tile, at, bit, found)


def test_a_flipped_bit_in_a_tile_of_an_earlier_size_is_named(history: History) -> None:
    """The partial tiles and bundles of heads that were published before."""
    log = history.whole / "log"
    for path, at, bit in random_places(left_over(history.whole), "left over"):
        with flipped(path, at, bit):
            found = findings(history.whole)
        assert f"log/{path.relative_to(log)}" in {finding.file for finding in found}


def entry_at(bundle: bytes, place: int) -> int:
    """Which entry of a bundle, counted from 0, has the byte at ``place``."""
    at = 0
    for number in range(WIDTH):
        at += 2 + int.from_bytes(bundle[at : at + 2], "big")
        if place < at:
            return number
    raise AssertionError("behind the last entry")


def test_a_flipped_bit_in_a_segment_is_named(history: History) -> None:
    """The segment's file; within a record (entry or sealed part) also that entry."""
    directory = history.whole / "segments"
    owners = {path.name: record_bounds(path) for path in files(history.whole, "segments/*.seg")}
    for path, at, bit in random_places(files(history.whole, "segments/*.seg"), "segment"):
        with flipped(path, at, bit):
            found = findings(history.whole)
        named = {(finding.file, finding.index) for finding in found}
        file = f"segments/{path.relative_to(directory)}"
        assert file in {name for name, _ in named}, (at, bit, found)
        for start, end, index in owners[path.name]:
            if start <= at < end:
                assert (file, index) in named, (at, bit, index, found)


def record_bounds(path: Path) -> list[tuple[int, int, int]]:
    """First byte, end and index of every record of a segment."""
    found: list[tuple[int, int, int]] = []
    for group in segments.read_groups(path, int(path.stem)):
        assert isinstance(group, segments.Group)
        bounds = [*group.offsets, group.end]
        found += [
            (bounds[number], bounds[number + 1], group.first + number)
            for number in range(len(group.offsets))
        ]
    return found


@pytest.mark.parametrize("name", ["log/checkpoint", "journal.json"])
def test_a_flipped_bit_in_a_signed_statement_is_named(history: History, name: str) -> None:
    """Any bit of the checkpoint, and of the description with the key that proves it."""
    for path, at, bit in random_places([history.whole / name], name):
        with flipped(path, at, bit):
            found = findings(history.whole)
        assert {finding.file for finding in found} & {name, "log/checkpoint"}, (at, bit, found)


def test_a_flipped_bit_in_a_key_is_named(history: History) -> None:
    """A damaged key of a month is told apart from one that was destroyed."""
    (path,) = files(history.whole, "keys/**/*.key")
    with flipped(path, 7):
        found = findings(history.whole)
    assert {finding.code for finding in found} == {Code.SEALED_PART_UNREADABLE}
    assert all(finding.file.startswith("keys/") for finding in found)


@pytest.mark.parametrize(
    "pattern", ["log/tile/0/**/*", "log/tile/entries/**/*", "log/checkpoint", "segments/*.seg"]
)
def test_the_command_names_it_and_exits_with_1(history: History, pattern: str) -> None:
    """`saphan audit verify`, for people and with --json; without damage it exits with 0."""
    path = files(history.whole, pattern)[0]
    name = str(path.relative_to(history.whole))
    assert CliRunner().invoke(main, ["audit", "verify", str(history.whole)]).exit_code == 0
    with flipped(path, path.stat().st_size // 2):
        told = CliRunner().invoke(main, ["audit", "verify", str(history.whole)])
        listed = CliRunner().invoke(main, ["audit", "verify", "--json", str(history.whole)])
    assert told.exit_code == listed.exit_code == 1
    assert name in told.output
    (verdict,) = orjson.loads(listed.stdout)["verdicts"]
    assert name in {finding["file"] for finding in verdict["findings"]}


def refusal(server: RunningServer) -> str:
    """How the server refuses to start."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "console.cli.main", "mediator", "serve"),
            str(server.folder / "server.yaml"),
        ],
        capture_output=True,
        timeout=20,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def codes(journal: Path, known: Path | None = None) -> set[str]:
    """The codes of what verification finds, perhaps against a checkpoint that was kept."""
    remembered = (known / "log" / "checkpoint").read_bytes() if known else None
    return {finding.code for finding in verify(journal, known=remembered).findings}


def test_a_log_that_was_cut_is_refused(history: History) -> None:
    """Set back to an earlier copy, it contradicts what was signed last, or what somebody kept."""
    server, whole = history.server, history.whole
    place(server, whole)
    place(server, history.early, parts=("log", "segments"))
    assert Code.JOURNAL_FORKED in codes(server.journal)
    assert "JournalForked" in refusal(server)
    # The store of the last signed checkpoint is set back too: only who kept a checkpoint can tell.
    place(server, history.early)
    assert not codes(server.journal)
    assert codes(server.journal, known=whole) == {Code.JOURNAL_FORKED}


def test_a_log_that_was_forked_is_refused(history: History) -> None:
    """Another history under the same key is refused beside the store, and against a kept head."""
    server, whole = history.server, history.whole
    place(server, whole)
    place(server, history.fork, parts=("log", "segments"))
    assert Code.JOURNAL_FORKED in codes(server.journal)
    assert "JournalForked" in refusal(server)
    assert not codes(history.fork)
    assert codes(whole, known=history.fork) == {Code.JOURNAL_FORKED}
    assert not codes(whole, known=history.early)


def test_missing_records_are_refused(history: History) -> None:
    """Published records that the segments lack: refused, not passed over as a torn tail."""
    server = history.server
    place(server, history.whole)
    path = files(server.journal, "segments/*.seg")[-1]
    path.write_bytes(path.read_bytes()[:-1])
    found = verify(server.journal).findings
    assert f"segments/{path.name}" in {finding.file for finding in found}
    assert "JournalForked" in refusal(server)
    place(server, history.whole)
    server.process.start()
    server.process.wait_ready()
    server.process.stop()
