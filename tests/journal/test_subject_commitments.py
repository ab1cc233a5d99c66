"""The log commits to its entries' subjects once a month; answers are proven against that."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.journal.entries import SubjectIndex, parse_entry
from exchange.journal.subject_index import Answer, Leaf, check_answer, check_chain, format_line
from exchange.log import merkle
from exchange.problems import Code, Problem
from mediator.background.subject_indexing import SubjectIndexing, is_due
from mediator.journal import subject_tree
from mediator.journal.completeness import commitments, complete
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader
from serving.clock import SystemClock
from serving.log.tiles import TileFolder
from tests.journal.test_subject_search import run
from tests.journal.world import (
    MPI,
    QUICK,
    FailingFiles,
    assert_good,
    entry,
    journal_in,
    part,
    until,
)

# ------------------------------------------------------------------------------ proofs


def leaves_of(tags: dict[str, list[int]]) -> list[str]:
    return [format_line(tag, indexes) for tag, indexes in sorted(tags.items())]


def plain_root(lines: list[str], start: int, end: int) -> bytes:
    """The slow, obvious root of RFC 6962 section 2.1."""
    if end - start == 0:
        return merkle.EMPTY_ROOT
    if end - start == 1:
        return merkle.leaf_hash(lines[start].encode())
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    left, right = plain_root(lines, start, middle), plain_root(lines, middle, end)
    return merkle.node_hash(left, right)


@dataclass
class PlainTree:
    """An index of subjects in memory, as a reference."""

    tags: dict[str, list[int]]
    lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = leaves_of(self.tags)

    @property
    def committed(self) -> SubjectIndex:
        root = plain_root(self.lines, 0, len(self.lines)).hex()
        return SubjectIndex(0, 1000, len(self.lines), ("2026-11",), root)

    def leaf(self, number: int) -> Leaf:
        def read(level: int, index: int) -> bytes:
            return plain_root(self.lines, index << level, (index + 1) << level)

        path = merkle.prove_inclusion(number, len(self.lines), read)
        return Leaf(number, self.lines[number], path)

    def answer(self, tag: str) -> Answer:
        for number, line in enumerate(self.lines):
            if line.startswith(tag):
                return Answer(tag, tuple(self.tags[tag]), leaf=self.leaf(number))
            if line > tag:
                before = self.leaf(number - 1) if number else None
                return Answer(tag, (), before=before, after=self.leaf(number))
        return Answer(tag, (), before=self.leaf(len(self.lines) - 1) if self.lines else None)


def tag(number: int) -> str:
    return f"{number * 16:032x}"


TREES = st.dictionaries(
    st.integers(0, 40).map(tag), st.lists(st.integers(0, 999), min_size=1, unique=True).map(sorted)
).map(PlainTree)


@given(TREES, st.integers(0, 700))
def test_what_an_honest_index_says_is_believed(tree: PlainTree, number: int) -> None:
    """Of tags that are there and of those that are not."""
    wanted = f"{number:032x}"
    answer = tree.answer(wanted)
    assert answer.indexes == tuple(tree.tags.get(wanted, ()))
    check_answer(tree.committed, answer)


LIES: dict[str, Callable[[PlainTree], Answer]] = {
    "an entry less": lambda t: t.answer(tag(3))._replace(indexes=(1,)),
    "an entry more": lambda t: t.answer(tag(3))._replace(indexes=(1, 2, 7)),
    "another's line": lambda t: t.answer(tag(4))._replace(tag=tag(3)),
    "nothing, though it is there": lambda t: Answer(tag(3), (), before=t.leaf(1), after=t.leaf(3)),
    "nothing, without an end": lambda t: Answer(tag(3), (), before=t.leaf(1)),
    "nothing, without a begin": lambda t: Answer(tag(3), (), after=t.leaf(3)),
    "nothing at all": lambda t: Answer(tag(3), ()),
    "entries without a line": lambda t: Answer(tag(30), (1,), before=t.leaf(4)),
    "its own neighbour": lambda t: Answer(tag(3), (), before=t.leaf(1), after=t.leaf(2)),
    "in another place": lambda t: Answer(tag(30), (), before=t.leaf(1), after=t.leaf(2)),
    "another number": lambda t: t.answer(tag(3))._replace(leaf=t.leaf(2)._replace(number=3)),
    "a made up line": lambda t: Answer(
        tag(3), (5,), leaf=t.leaf(2)._replace(line=format_line(tag(3), [5]))
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_does_not_follow_from_the_commitment_is_refused(lie: str) -> None:
    """Neither can an entry be left out, nor added, nor a tag be said to be missing."""
    tree = PlainTree({tag(number): [number, number + 1] for number in (1, 2, 3, 4, 5)})
    with pytest.raises(Problem) as caught:
        check_answer(tree.committed, LIES[lie](tree))
    assert caught.value.code is Code.INVALID_PROOF


def test_commitments_follow_one_another() -> None:
    """Between two of them no entry can hide."""
    one, two = SubjectIndex(0, 5, 0, (), "0" * 64), SubjectIndex(5, 9, 0, (), "0" * 64)
    check_chain([one, two])
    for wrong in ([two], [one, two._replace(first=6)], [one, two._replace(first=4)]):
        with pytest.raises(Problem):
            check_chain(wrong)


# ----------------------------------------------------------------------- commitments


class SetClock(SystemClock):
    """A clock that stands where it is set."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def day(month: int, number: int = 1, year: int = 2026) -> datetime:
    return datetime(year, month, number, 12, tzinfo=UTC)


async def record(journal: Journal, at: datetime, first: int, count: int = 5) -> None:
    for number in range(first, first + count):
        value = entry(number, at=at + timedelta(seconds=number))
        await journal.record(value, MPI, part(number, at=value.at), f"la-nid:{number % 3}")
    await until(lambda: journal.published_size == journal.size)


async def turn(journal: Journal, clock: SetClock, at: datetime) -> bool:
    """A server that starts at this time looks whether a commitment is due."""
    clock.at = at
    await until(lambda: journal.published_size == journal.size)
    made = await SubjectIndexing(journal, MPI, clock).look()
    await until(lambda: journal.published_size == journal.size)
    return made


def committed(directory: Path) -> list[tuple[int, int, tuple[str, ...]]]:
    found = [each.subjects for each in commitments(JournalReader(directory))]
    return [(each.first, each.end, each.months) for each in found]


async def year(directory: Path) -> None:
    """September, October; November and December without running; January."""
    clock = SetClock(day(9))
    async with journal_in(directory, QUICK) as journal:
        await record(journal, day(9), 0)
        assert not await turn(journal, clock, day(9, 30))
        assert await turn(journal, clock, day(10))
        assert not await turn(journal, clock, day(10, 2))
        await record(journal, day(10), 10)
    async with journal_in(directory, QUICK) as journal:
        assert await turn(journal, clock, day(1, 3, 2027))
        assert not await turn(journal, clock, day(1, 3, 2027))
        await record(journal, day(1, 4, 2027), 20)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("commitments") / "journal"
    asyncio.run(year(directory))
    return directory


def test_each_month_is_committed_to_once(lived: Path) -> None:
    """After restarts, too; months without running are taken in by the next commitment."""
    assert committed(lived) == [(0, 5, ("2026-09",)), (5, 11, ("2026-10",))]
    assert_good(lived)


def test_an_answer_is_complete(lived: Path) -> None:
    """What is proven and what was looked at is what a plain look at all entries finds."""
    reader = JournalReader(lived)
    for name in ("la-nid:0", "la-nid:1", "la-nid:7"):
        found = complete(reader, reader.tags(name))
        texts = {each.tag for each in reader.tags(name)}
        plain = [
            index
            for index in range(reader.checkpoint.size)
            if parse_entry(reader.entry(index)).subject in texts
        ]
        assert found.indexes == tuple(plain)
        assert (found.rest, found.size, found.blind) == (11, 17, ())
        assert len(found.parts) == 2


def test_without_the_servers_files_the_indexes_are_made_from_the_entries(
    lived: Path, tmp_path: Path
) -> None:
    """They are derived; a wrong file cannot hide an entry, and a wrong commitment is found."""
    copy = tmp_path / "copy"
    shutil.copytree(lived, copy)
    reader = JournalReader(copy)
    tags = reader.tags("la-nid:1")
    expected = complete(reader, tags)
    path = subject_tree.path_of(copy, 0, 5)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM leaves WHERE tag IN (?, ?)", [t.tag for t in tags][:2])
    connection.close()
    with pytest.raises(Problem):
        complete(reader, tags)
    assert complete(reader, tags, recompute=True) == expected
    shutil.rmtree(copy / subject_tree.FOLDER)
    assert complete(reader, tags) == expected


async def test_a_commitment_that_leaves_an_entry_out_is_found(tmp_path: Path) -> None:
    """Whoever has the entries sees that they amount to another root."""
    clock = SetClock(day(9))

    class Lying(SubjectIndexing):
        def _make(self, first: int, end: int) -> SubjectIndex:
            path = subject_tree.path_of(tmp_path, first, end)
            folder = TileFolder(tmp_path / "log")
            return subject_tree.make(path, folder, first, end - 1, end)._replace(end=end)

    async with journal_in(tmp_path, QUICK) as journal:
        await record(journal, day(9), 0)
        clock.at = day(10)
        assert await Lying(journal, MPI, clock).look()
        await until(lambda: journal.published_size == journal.size)
    reader = JournalReader(tmp_path)
    with pytest.raises(Problem) as caught:
        complete(reader, reader.tags("la-nid:1"), recompute=True)
    assert caught.value.code is Code.INVALID_PROOF


@pytest.mark.parametrize("persisted", [False, True])
async def test_a_crash_around_the_commitment_leaves_exactly_one(
    tmp_path: Path, persisted: bool
) -> None:
    """The write of the entry fails, before or after it took effect: the next start commits once."""
    clock, files = SetClock(day(10)), FailingFiles(persisted=persisted)
    async with journal_in(tmp_path, QUICK, files=files) as journal:
        await record(journal, day(9), 0)
        files.operation = "write"
        with pytest.raises(Problem):
            await SubjectIndexing(journal, MPI, clock).look()
        files.operation = None
    for _ in range(2):
        async with journal_in(tmp_path, QUICK) as journal:
            await turn(journal, clock, day(10, 2))
    assert [each[:2] for each in committed(tmp_path)] == [(0, 5)]
    check_chain([each.subjects for each in commitments(JournalReader(tmp_path))])


def test_a_clock_that_jumps_does_not_end_the_commitments() -> None:
    """A step back over the turn of a month is no new month; a commitment of a wrong future clock
    does not keep the next ones away."""
    turn_of_month = datetime(2026, 11, 1, tzinfo=UTC)
    assert not is_due(turn_of_month, turn_of_month - timedelta(seconds=2))
    assert is_due(turn_of_month - timedelta(seconds=1), turn_of_month)
    assert is_due(day(1, 1, 2040), turn_of_month)
    assert not is_due(day(11, 3), day(11, 30))


# --------------------------------------------------------------------- the command


def test_an_auditor_is_shown_that_nothing_was_left_out(lived: Path) -> None:
    """In words, and with the proofs as JSON, from which the check can be made again."""
    result = run("search", lived, "--subject", "la-nid:1", "--prove-complete")
    assert result.exit_code == 0, result.output
    assert "Nothing was left out." in result.output
    result = run("search", lived, "--subject", "la-nid:1", "--prove-complete", "--json")
    (shown,) = json.loads(result.stdout)["complete"]
    assert shown["complete"] is True
    assert shown["indexes"] == sorted(hit["index"] for hit in json.loads(result.stdout)["hits"])
    first = shown["parts"][0]
    assert first["proof"].startswith("c2sp.org/tlog-proof@v1\n")
    (answer,) = first["answers"]
    leaf = answer["leaf"]
    root = merkle.root_from_inclusion(
        leaf["number"],
        first["leaves"],
        merkle.leaf_hash(leaf["line"].encode()),
        [bytes.fromhex(each) for each in leaf["path"]],
    )
    assert root.hex() == first["root"]


def test_an_index_that_leaves_out_an_entry_is_shown_up(lived: Path, tmp_path: Path) -> None:
    """The search index is not believed: what the log proves counts."""
    copy = tmp_path / "copy"
    shutil.copytree(lived, copy)
    with sqlite3.connect(copy / "index.sqlite") as connection:
        connection.execute("UPDATE entries SET subject = NULL WHERE idx = 4")
    connection.close()
    result = run("search", copy, "--subject", "la-nid:1", "--prove-complete")
    assert result.exit_code == 1
    assert "left out entries 4" in result.output


def test_months_without_a_key_are_said(lived: Path, tmp_path: Path) -> None:
    """Where the key is gone nobody can say what there is."""
    copy = tmp_path / "copy"
    shutil.copytree(lived, copy)
    (key,) = (copy / "keys").rglob("*2026-10*index*")
    key.unlink()
    result = run("search", copy, "--subject", "la-nid:1", "--prove-complete")
    assert result.exit_code == 1
    assert "2026-10" in result.output
