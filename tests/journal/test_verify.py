"""Offline verification: every changed byte is named, cut and forked logs are refused."""

from __future__ import annotations

import random
import shutil
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.tiles import ENTRIES, Tile
from exchange.problems import Code, Problem
from mediator.journal import segments
from mediator.journal.log import JournalSettings
from mediator.journal.recovery import LOCK
from mediator.journal.verify import MAX_FINDINGS, Finding, verify
from serving.log.files import RealFiles
from serving.log.tiles import Edge, TileFolder
from tests.journal.world import (
    KEY,
    MPI,
    ORIGIN,
    STILL,
    VERIFIER,
    assert_good,
    entry,
    journal_in,
    part,
    write,
)

SIZE = 530
SETTINGS = JournalSettings(publish_interval_s=1000, segment_max_bytes=300_000)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of two full bundles and a partial one, and of two segments."""
    import asyncio

    directory = tmp_path_factory.mktemp("verify") / "journal"

    async def fill() -> None:
        async with journal_in(directory, SETTINGS) as journal:
            for start in range(0, SIZE, 53):
                await asyncio.gather(
                    *(journal.record(entry(n), MPI, part(n)) for n in range(start, start + 53))
                )

    asyncio.run(fill())
    assert len(segments.segments_in(directory / "segments")) > 1
    assert_good(directory, SIZE)
    return directory


@pytest.fixture
def journal(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "journal"
    shutil.copytree(original, copy)
    return copy


def flipped(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def entry_at(directory: Path, tile: Tile, at: int) -> int:
    """Which entry of a bundle the byte at ``at`` belongs to."""
    data = (directory / "log" / str(tile)).read_bytes()
    place, index = 0, tile.first
    while place + 2 + int.from_bytes(data[place : place + 2], "big") <= at:
        place += 2 + int.from_bytes(data[place : place + 2], "big")
        index += 1
    return index


@pytest.mark.parametrize("seed", range(24))
def test_a_flipped_bit_in_the_published_log_is_named(journal: Path, seed: int) -> None:
    """One flipped bit in a tile, a bundle or the checkpoint: the file, and the entry if the bit is
    in one, is named; and nothing else is."""
    source = random.Random(seed)
    files = sorted(path for path in (journal / "log").rglob("*") if path.is_file())
    path = files[seed % len(files)]
    at = source.randrange(path.stat().st_size)
    name = f"log/{path.relative_to(journal / 'log')}"
    tile = None if path.name == "checkpoint" else Tile.parse(name.removeprefix("log/"))
    index = entry_at(journal, tile, at) if tile and tile.level == ENTRIES else None
    flipped(path, at, source.randrange(8))
    verdict = verify(journal, tree_only=True)
    assert [finding.file for finding in verdict.findings] == [name], verdict.findings
    (found,) = verdict.findings
    if tile is not None and tile.level == 0:
        assert found.index == tile.first + at // 32
    if index is not None:
        assert found.index == index


@pytest.mark.parametrize("level", [ENTRIES, 0, 1])
async def test_a_tile_of_an_earlier_size_is_verified(tmp_path: Path, level: int) -> None:
    """Partial tiles and bundles of heads that were published before are prefixes of the present
    ones: a flipped bit is named with its file and the entry."""
    for start, end in ((0, 300), (300, 400), (400, 600), (600, 700)):
        await write(tmp_path, range(start, end), settings=STILL)
    tile = Tile(level, 0, 1) if level == 1 else Tile(level, 2, 88)
    path = tmp_path / "log" / str(tile)
    assert_good(tmp_path, 700)
    at = path.stat().st_size // 2
    index = entry_at(tmp_path, tile, at) if level == ENTRIES else tile.first + at // 32
    flipped(path, at, 3)
    (finding,) = verify(tmp_path).findings
    assert (finding.file, finding.index) == (f"log/{tile}", index)


async def test_the_origin_is_the_name_of_the_key(tmp_path: Path) -> None:
    """journal.json names one log, not two."""
    await write(tmp_path, range(2))
    path = tmp_path / "journal.json"
    path.write_bytes(path.read_bytes().replace(b'"origin": "j', b'"origin": "k'))
    with pytest.raises(Problem) as caught:
        verify(tmp_path)
    assert caught.value.code is Code.JOURNAL_CORRUPT
    assert verify(tmp_path, key=VERIFIER).findings[0].file == "journal.json"


@pytest.mark.parametrize("seed", range(24))
def test_a_flipped_bit_in_a_segment_is_named(journal: Path, seed: int) -> None:
    """One flipped bit anywhere in a segment is found, in that file and at that record."""
    source = random.Random(1000 + seed)
    paths = sorted((journal / "segments").iterdir())
    path = paths[seed % len(paths)]
    at = source.randrange(path.stat().st_size)
    first = segments.segments_in(journal / "segments")[seed % len(paths)]
    indexes = [first]
    for group in segments.read_groups(path, first):
        assert isinstance(group, segments.Group)
        indexes += [n for n, offset in enumerate(group.offsets, group.first) if offset <= at]
    flipped(path, at, source.randrange(8))
    verdict = verify(journal)
    assert not verdict.good
    found = verdict.findings[0]
    assert found.file == f"segments/{path.name}"
    assert found.index is not None
    assert found.index - max(indexes) in {0, 1}  # a mark belongs to the record behind it


def test_a_sealed_part_that_was_exchanged_is_named(journal: Path) -> None:
    """A sealed part with a right checksum but another content is found by its digest."""
    record = segments.find_record(journal / "segments", 5)
    assert record is not None
    changed = bytes([record.sealed[0] ^ 1]) + record.sealed[1:]
    path = segments.path_of(journal / "segments", 0)
    data = path.read_bytes()
    old = segments.format_record(record.entry, record.sealed)
    new = segments.format_record(record.entry, changed)
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    (found,) = verify(journal).findings
    assert (found.file, found.index) == (f"segments/{path.name}", 5)
    assert "digest" in found.detail


def test_an_entry_that_was_exchanged_in_a_segment_is_named(journal: Path) -> None:
    """A record whose entry is not the leaf of the tree is found, its checksum being right."""
    record = segments.find_record(journal / "segments", 7)
    assert record is not None
    path = segments.path_of(journal / "segments", 0)
    data = path.read_bytes()
    # Of entries that are made at the same time none has a number of its own beforehand.
    assert record.entry.count(b"LA-") == 1
    old = segments.format_record(record.entry, record.sealed)
    new = segments.format_record(record.entry.replace(b"LA-", b"LB-"), record.sealed)
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    (found,) = verify(journal).findings
    assert (found.file, found.index) == (f"segments/{path.name}", 7)


@pytest.mark.parametrize(
    "name", ["log/tile/0/000", "log/tile/entries/001", "log/tile/0/002.p/18", "log/checkpoint"]
)
@pytest.mark.parametrize("how", ["missing", "empty", "short", "long"])
def test_files_that_are_missing_or_of_a_wrong_length_are_named(
    journal: Path, name: str, how: str
) -> None:
    """A file that is gone, empty, cut or longer is a finding of that file."""
    path = journal / name
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "short": data[:-1], "long": data + b"x"}[how])
    assert {finding.file for finding in verify(journal, tree_only=True).findings} == {name}


def test_a_missing_segment_is_named(journal: Path) -> None:
    """Records that are gone with their segment are counted, and the log is refused."""
    firsts = segments.segments_in(journal / "segments")
    segments.path_of(journal / "segments", firsts[-1]).unlink()
    (found,) = verify(journal).findings
    assert (found.code, found.index) == (Code.JOURNAL_FORKED, firsts[-1])


async def test_a_cut_log_is_refused_against_a_known_checkpoint(tmp_path: Path) -> None:
    """Who remembers a larger checkpoint notices that the log was cut, though it is whole."""
    live, old = tmp_path / "live", tmp_path / "old"
    await write(live, range(20))
    shutil.copytree(live, old)
    await write(live, range(20, 30))
    known = (live / "log/checkpoint").read_bytes()
    assert verify(old).good
    (found,) = verify(old, known=known).findings
    assert found.code is Code.JOURNAL_FORKED
    assert verify(live, known=(old / "log/checkpoint").read_bytes()).good


async def test_a_forked_log_is_refused_against_a_known_checkpoint(tmp_path: Path) -> None:
    """Another history signed by the same key, whole in itself, contradicts what was remembered."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await write(ours, range(20))
    await write(theirs, [*range(19), 77, *range(20, 30)])
    assert verify(theirs).good
    (found,) = verify(theirs, known=(ours / "log/checkpoint").read_bytes()).findings
    assert found.code is Code.JOURNAL_FORKED
    assert "forked" in found.detail


async def test_a_known_checkpoint_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A remembered checkpoint counts only if this log signed it."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await write(ours, range(2))
    await write(theirs, range(2), key=Ed25519PrivateKey.generate())
    (found,) = verify(ours, known=(theirs / "log/checkpoint").read_bytes()).findings
    assert (found.code, found.file) == (Code.INVALID_NOTE, "known checkpoint")


def test_a_changed_store_of_the_last_checkpoint_is_named(journal: Path) -> None:
    """The store beside the log counts only as it was signed."""
    store = journal / "last-checkpoint.sqlite"
    data = store.read_bytes()
    assert data.count(f"{ORIGIN}\n{SIZE}\n".encode()) == 1
    store.write_bytes(data.replace(f"{ORIGIN}\n{SIZE}\n".encode(), f"{ORIGIN}\n999\n".encode()))
    (found,) = verify(journal, tree_only=True).findings
    assert (found.code, found.file) == (Code.INVALID_NOTE, "last-checkpoint.sqlite")


async def test_an_older_log_than_was_signed_is_refused(tmp_path: Path) -> None:
    """The store beside the log tells when log/ was set back or exchanged for another history."""
    live, old, fork = tmp_path / "live", tmp_path / "old", tmp_path / "fork"
    await write(live, range(20))
    shutil.copytree(live, old)
    for start in (20, 25, 30):
        await write(live, range(start, start + 5))
    shutil.copytree(old, fork)
    await write(fork, range(70, 90))
    for other, said in ((old, "cut or set back"), (fork, "forked")):
        shutil.rmtree(live / "log")
        shutil.copytree(other / "log", live / "log")
        found = verify(live, tree_only=True).findings
        assert [(one.code, one.file) for one in found] == [(Code.JOURNAL_FORKED, "log/checkpoint")]
        assert said in found[0].detail


async def test_a_store_that_is_behind_the_log_is_no_finding(tmp_path: Path) -> None:
    """Between reading the store and the checkpoint a server may have published: no fork is told."""
    live, old = tmp_path / "live", tmp_path / "old"
    for end in (20, 30, 40):
        await write(live, range(end - 20, end))
        if end == 20:
            shutil.copytree(live, old)
    shutil.copy(old / "last-checkpoint.sqlite", live)
    assert verify(live).good


@pytest.mark.parametrize("size", [256, 300, 512])
@pytest.mark.parametrize("name", ["log/tile/0/000", "log/tile/1/000.p/2", "log/tile/0/001"])
async def test_a_damaged_tile_is_never_taken_for_a_fork(
    tmp_path: Path, size: int, name: str
) -> None:
    """Against a known checkpoint, damage stays damage; and a fork is told beside damage."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await write(ours, range(size), settings=STILL)
    known = (ours / "log/checkpoint").read_bytes()
    await write(ours, range(size, 600), settings=STILL)
    await write(theirs, [*range(200), 777, *range(201, 600)], settings=STILL)
    flipped(ours / name, 3, 3)
    found = verify(ours, known=known).findings
    assert {one.code for one in found} == {Code.JOURNAL_CORRUPT}
    assert f"{name}" in {one.file for one in found}
    for path in (theirs / "log/tile/entries").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    found = verify(theirs, known=known).findings
    assert found[0].code is Code.JOURNAL_FORKED


def test_a_log_without_its_checkpoint_is_no_empty_log(journal: Path) -> None:
    """Tiles that no checkpoint names, with the store gone too, are not passed as good."""
    for name in ("log/checkpoint", "last-checkpoint.sqlite"):
        (journal / name).unlink()
    (found,) = verify(journal).findings
    assert (found.code, found.file) == (Code.JOURNAL_CORRUPT, "log/checkpoint")


@pytest.mark.parametrize(
    "name",
    [
        "log/checkpoint",
        "log/tile/0/000",
        "segments/00000000000000000000.seg",
        "last-checkpoint.sqlite",
        "keys/LA/GOV/MPI/2026-11.d3650.key",
    ],
)
def test_what_cannot_be_read_is_named(journal: Path, name: str) -> None:
    """A file that the disk does not give, like a folder in its place, is a finding."""
    (journal / name).unlink()
    (journal / name).mkdir()
    files = [found.file for found in verify(journal).findings]
    assert files
    assert files[0].split(" ")[0] in name


def test_the_tree_alone_needs_no_segments(journal: Path) -> None:
    """Without segments the log verifies with tree_only, and else the way is told."""
    shutil.rmtree(journal / "segments")
    assert verify(journal, tree_only=True).good
    (found,) = verify(journal).findings
    assert found.file == "segments"
    assert "--tree-only" in found.detail


@pytest.mark.parametrize(
    "sealed",
    [
        {"digest": "", "key": 7, "size": 0, "leaf": 0},
        {"digest": "", "key": ["x"], "size": 0, "leaf": 0},
        {"digest": "", "key": "LA/GOV/MPI 2026-11 d1", "size": 0, "leaf": "7"},
        {"digest": "", "key": "LA/GOV/../.. 2026-11 d1", "size": 0, "leaf": 0},
        {"digest": ""},
        7,
    ],
)
def test_an_entry_that_is_none_is_a_finding(tmp_path: Path, sealed: object) -> None:
    """Whoever has the signing key can put anything into a log; it does not stop the auditor."""
    if isinstance(sealed, dict) and "digest" in sealed:
        sealed["digest"] = sha256(b"").hexdigest()
    data = orjson.dumps({"sealed": sealed})
    edge = Edge.empty()
    tiles = [*edge.append([data]), *edge.partial()]
    (tmp_path / "staging").mkdir(parents=True)
    (tmp_path / "segments").mkdir()
    TileFolder(tmp_path / "log").write(RealFiles(), tmp_path / "staging", tiles)
    note = sign_checkpoint(Checkpoint(ORIGIN, 1, edge.root()), KEY)
    (tmp_path / "log/checkpoint").write_bytes(note)
    segment = segments.HEADER + segments.format_mark(0, 1) + segments.format_record(data, b"")
    segments.path_of(tmp_path / "segments", 0).write_bytes(segment)
    (found,) = verify(tmp_path, key=VERIFIER).findings
    assert found.index == 0


async def test_a_group_that_is_being_written_is_no_damage(tmp_path: Path) -> None:
    """What was torn when the segment was opened and is whole when it is looked at again."""
    async with journal_in(tmp_path, STILL) as journal:
        for number in range(3):
            await journal.record(entry(number), MPI, part(number))
        (path,) = (tmp_path / "segments").iterdir()
        whole = path.read_bytes()
        (_, second, *_) = segments.read_groups(path, 0)
        assert isinstance(second, segments.Group)
        path.write_bytes(whole[: second.end - 5])

        def written_on(what: str, _done: int, _total: int) -> None:
            if what == "sealed parts":
                path.write_bytes(whole)

        verdict = verify(tmp_path, progress=written_on)
        assert verdict.findings == ()
        assert verdict.unpublished == 1
        path.write_bytes(whole[: second.end - 5] + b"?????" + whole[second.end :])
        assert not verify(tmp_path).good
        path.write_bytes(whole)


def test_another_verifier_key_than_the_journal_s_is_refused(journal: Path) -> None:
    """A key that was given must be the one that signed."""
    other = VerifierKey.of(ORIGIN, Ed25519PrivateKey.generate().public_key())
    files = {finding.file for finding in verify(journal, key=other, tree_only=True).findings}
    assert files == {"journal.json", "log/checkpoint"}


def test_a_copy_of_the_published_folder_is_enough(journal: Path, tmp_path: Path) -> None:
    """log/ alone verifies with the verifier key, and not without."""
    copy = tmp_path / "copy"
    shutil.copytree(journal / "log", copy)
    verdict = verify(copy, key=VERIFIER)
    assert (verdict.good, verdict.size) == (True, SIZE)
    with pytest.raises(Problem) as caught:
        verify(copy)
    assert caught.value.code is Code.JOURNAL_CORRUPT


def test_a_journal_without_its_keys_verifies(journal: Path) -> None:
    """In a copy without keys everything verifies; the sealed parts stay closed."""
    shutil.rmtree(journal / "keys")
    (journal / LOCK).unlink()
    verdict = assert_good(journal, SIZE)
    assert (verdict.sealed, verdict.opened, verdict.without_key) == (SIZE, 0, SIZE)


def test_a_wrong_key_is_said_once(journal: Path) -> None:
    """A key that does not open what it should is one finding, not one for every record."""
    (journal / "keys/LA/GOV/MPI/2026-11.d3650.key").write_bytes(bytes(32))
    (found,) = verify(journal).findings
    assert found.code is Code.SEALED_PART_UNREADABLE
    assert found.file.startswith("keys/")


async def test_records_behind_the_checkpoint_are_counted(tmp_path: Path) -> None:
    """A journal that is being written verifies: what is not published yet is no finding."""
    async with journal_in(tmp_path, STILL) as journal:
        for number in range(5):
            await journal.record(entry(number), MPI, part(number))
        verdict = assert_good(tmp_path, 0)
        assert verdict.unpublished == 5
    with (tmp_path / "segments/00000000000000000000.seg").open("ab") as file:
        file.write(b"\x00GRP half a group")
    assert_good(tmp_path, 5)


def test_there_is_an_end_to_findings(journal: Path) -> None:
    """A journal that is wrong everywhere gives a bounded list."""
    for path in (journal / "log/tile/0").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(len(path.read_bytes())))
    assert len(verify(journal).findings) == MAX_FINDINGS


def test_progress_is_told(journal: Path) -> None:
    """The caller hears how far it is, up to the end."""
    told: list[tuple[str, int, int]] = []
    verify(journal, progress=lambda *step: told.append(step))
    assert ("tree", SIZE, SIZE) in told
    assert ("sealed parts", SIZE, SIZE) in told


def test_a_finding_reads_as_a_sentence() -> None:
    """Code, entry, file and reason stand in one line."""
    finding = Finding(Code.JOURNAL_CORRUPT, "log/tile/0/000", 3, "is wrong")
    assert str(finding) == "JournalCorrupt: entry 3, log/tile/0/000: is wrong"
