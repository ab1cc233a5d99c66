"""Parts of an archive that are restored: proven, read by the commands of audit, and no more."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.archive.excerpt import restore_period, restore_range
from mediator.archive.manifests import Manifest
from mediator.archive.stores import FolderStore, Stored
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from tests.archive.world import archive, fill, flip
from tests.journal.world import START

COUNT = 1500
Objects = tuple[Stored, ...]


@pytest.fixture
async def store(tmp_path: Path) -> FolderStore:
    """A journal of several bundles and segments, archived in three runs."""
    store = FolderStore(tmp_path / "archive")
    for end in (500, 1000, COUNT):
        await fill(tmp_path / "journal", end - 500, end)
        archive(tmp_path / "journal", store)
    return store


@pytest.mark.parametrize(("first", "end"), [(0, 1), (300, 520), (513, 1024), (600, 5000)])
def test_a_range_is_restored_and_verifies(
    tmp_path: Path, store: FolderStore, first: int, end: int
) -> None:
    """Each entry of it is here with its proof and its sealed part; what is before it is not."""
    folder = tmp_path / "part"
    part = restore_range(store, folder, first, end)
    assert (part.first, part.end) == (first, min(end, COUNT))
    verdict = verify(folder)
    assert verdict.good, verdict.findings
    assert (verdict.size, verdict.elsewhere) == (part.size, first // 256 * 256)
    reader, whole = JournalReader(folder), JournalReader(tmp_path / "journal")
    for index in range(part.first, part.end, 7):
        assert reader.entry(index) == whole.entry(index)
        reader.prove(index)
        if part.sealed[0] <= index < part.sealed[1]:
            assert reader.ciphertext(index) == whole.ciphertext(index)
    assert part.sealed[0] <= first
    assert part.sealed[1] >= min(part.end, JournalReader(store.folder).holdings.segments_until or 0)
    if first >= 256:
        with pytest.raises(Problem) as refused:
            reader.entry(0)
        assert refused.value.code is Code.ARCHIVED
    assert restore_range(store, folder, first, end) == part  # it goes on where it was


def test_a_part_is_smaller_than_the_whole(tmp_path: Path, store: FolderStore) -> None:
    """Of bundles and segments only those of the range are fetched, and up to the next anchor."""
    restore_range(store, tmp_path / "part", 513, 700)
    bundles = sorted(path.name for path in (tmp_path / "part/log/tile/entries").iterdir())
    assert [name for name in bundles if "." not in name] in (["002"], ["002", "003"])
    taken = len([*(tmp_path / "part/segments").iterdir()])
    assert 0 < taken < len([*(store.folder / "segments").iterdir()]) / 2


def test_a_period_is_restored(tmp_path: Path, store: FolderStore) -> None:
    """By the times of entries, with a margin for clocks; without any there is nothing."""
    reader = JournalReader(tmp_path / "journal")
    times = [parse_entry(reader.entry(at)).at for at in (0, COUNT - 1)]
    part = restore_period(store, tmp_path / "all", times[0], times[1] + timedelta(seconds=1))
    assert (part.first, part.end) == (0, COUNT)
    with pytest.raises(Problem) as refused:
        restore_period(store, tmp_path / "no", START - timedelta(300), START - timedelta(200))
    assert refused.value.code is Code.NOT_FOUND


def test_what_is_in_the_folder_is_not_mixed(tmp_path: Path, store: FolderStore) -> None:
    """Neither with another part nor with a journal."""
    restore_range(store, tmp_path / "part", 513, 700)
    for folder, first in ((tmp_path / "part", 0), (tmp_path / "journal", 513)):
        with pytest.raises(Problem) as refused:
            restore_range(store, folder, first, 700)
        assert refused.value.code is Code.CONFLICT


def test_parts_are_verified_one_after_the_other(tmp_path: Path, store: FolderStore) -> None:
    """All entries are in one of them; a key that is another's is told."""
    command = ["archive", "verify", str(store.folder), "--part", "800", "--json"]
    command += ["--processes", "1"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    parts = orjson.loads(done.stdout)["parts"]
    assert [(one["first"], one["end"]) for one in parts] == [(0, 800), (800, COUNT)]
    assert parts[0]["sealed"]
    foreign = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    done = CliRunner().invoke(main, [*command, "--vkey", foreign])
    assert done.exit_code == 1
    assert Code.JOURNAL_FORKED in done.output


@pytest.mark.parametrize("name", ["log/tile/entries/002", "log/tile/0/001"])
def test_what_was_changed_in_the_archive_is_found(
    tmp_path: Path, store: FolderStore, name: str
) -> None:
    """An object that is not what its manifest names is not restored."""
    flip(store.folder / name)
    with pytest.raises(Problem) as refused:
        restore_range(store, tmp_path / "part", 513, 700)
    assert refused.value.code is Code.ARCHIVE_FAILED


@pytest.mark.parametrize("fault", ["a segment of no number", "no tile of the edge", "anchors"])
def test_an_archive_that_is_none_is_refused(tmp_path: Path, store: FolderStore, fault: str) -> None:
    """Whoever wrote its manifests: what is in them is refused, with the place."""
    odd = Stored("segments/first.seg", 0, sha256(b"").hexdigest())
    if fault == "a segment of no number":
        _write_last(store, lambda objects: (*objects, odd))
    elif fault == "no tile of the edge":
        _write_last(store, lambda objects: tuple(o for o in objects if "tile/0/" not in o.name))
    else:
        with closing(sqlite3.connect(store.folder / "anchors.sqlite")) as anchors, anchors:
            anchors.execute("ALTER TABLE batches RENAME TO gone")
    with pytest.raises(Problem) as refused:
        restore_range(store, tmp_path / "part", 1200, COUNT)
    assert refused.value.code in {Code.ARCHIVE_FAILED, Code.JOURNAL_CORRUPT}


def _write_last(store: FolderStore, change: Callable[[Objects], Objects]) -> None:
    """The last manifest with other objects."""
    path = max((store.folder / "manifests").iterdir())
    manifest = Manifest.parse(path.read_bytes(), path.name)
    path.write_bytes(bytes(replace(manifest, objects=change(manifest.objects))))


def test_a_journal_is_no_excerpt(tmp_path: Path, store: FolderStore) -> None:
    """Who removes entries from a server's journal does not hide it by calling it a part."""
    folder = tmp_path / "part"
    restore_range(store, folder, 513, 700)
    (folder / "journal.lock").touch()
    assert "holdings.json" in [one.file for one in verify(folder).findings]


def test_the_commands_read_a_part(tmp_path: Path, store: FolderStore) -> None:
    """`restore --entries`, then verify, search, show."""
    folder = str(tmp_path / "part")

    def run(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(main, [*words, "--json"])
        assert done.exit_code == 0, done.output
        document: dict[str, object] = orjson.loads(done.stdout)
        return document

    told = run("archive", "restore", str(store.folder), folder, "--entries", "600-699")
    assert (told["first"], told["end"]) == (600, 700)
    assert run("audit", "verify", folder, "--processes", "1")["good"]
    message = parse_entry(JournalReader(tmp_path / "journal").entry(650)).id or ""
    assert run("audit", "search", folder, "--id", message)["hits"]
    assert run("audit", "show", folder, "650")["index"] == 650
