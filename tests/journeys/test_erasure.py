"""Nothing of subjects and bodies lies in clear on a disk; what is erased is gone everywhere."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from click.testing import CliRunner

from console.cli.main import main
from console.reference_world.standing import RunningServer
from exchange.journal.entries import parse_entry
from exchange.problems import Code, Problem
from mediator.archive.tables import FOLDER, Tables
from mediator.journal.keyring import KeyRing
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from tests.services.server import DatabaseServer
from tests.world import small
from tests.world.backend import GOOD
from tests.world.fixtures import world_of
from tests.world.small import Answer, SmallWorld, wait_published

MARK = b"Xk7715500042qZ"
SUBJECT = f"la-nid:{MARK.decode()}"


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world of which one service keeps headers, and one nothing but entries for a year."""
    services = {
        small.LENIENT: {"retention": {"keep": "headers"}},
        small.DOWN: {"retention": {"keep": "metadata", "days": 365}},
    }
    with world_of((small.agreement("mof-mpi"),), services=services) as built:
        yield built


def post(world: SmallWorld, message: str, title: str, **changes: Any) -> Answer:
    headers = {
        "X-Road-Id": message,
        "Content-Type": "application/json",
        "Exchange-Subject": SUBJECT,
    }
    body = json.dumps(GOOD | {"title_en": title}).encode()
    return world.call("/projects", method="POST", headers=headers, body=body, **changes)


def spellings(mark: bytes) -> list[bytes]:
    """The mark as base64 (wherever it begins) and hex leave it, and any case."""
    found = [mark, mark.hex().encode()]
    for before in range(3):
        coded = base64.b64encode(bytes(before) + mark + bytes(2))
        found.append(coded[4 if before else 0 : len(mark) // 3 * 4 - 4])
    return [one.lower() for one in found]


def unpacked(data: bytes) -> Iterator[bytes]:
    """A file, and whatever in it begins like gzip, zlib or zip's deflate."""
    yield data
    for magic, bits in ((b"\x1f\x8b\x08", 31), (b"\x78\x9c", 15), (b"\x78\x01", 15)):
        at = data.find(magic)
        while at >= 0:
            with contextlib.suppress(zlib.error):
                yield zlib.decompressobj(bits).decompress(data[at : at + (1 << 20)], 1 << 20)
            at = data.find(magic, at + 1)


def files_with(folder: Path, mark: bytes) -> list[Path]:
    wanted = spellings(mark)
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and any(one in text.lower() for text in unpacked(path.read_bytes()) for one in wanted)
    ]


def test_the_search_for_marks_finds_them(tmp_path: Path) -> None:
    """However they are written: else the next test could not fail."""
    for name, data in {
        "plain": b"x" + MARK,
        "hex": MARK.hex().upper().encode(),
        "base64": base64.b64encode(b"four" + MARK + b"more"),
        "gzip": b"head" + zlib.compress(MARK * 9, wbits=31),
        "zlib": zlib.compress(MARK * 9),
        "other": b"nothing of it",
    }.items():
        (tmp_path / name).write_bytes(data)
    assert {path.name for path in files_with(tmp_path, MARK)} == {
        "plain", "hex", "base64", "gzip", "zlib",
    }  # fmt: skip


def test_no_file_of_a_server_tells_subjects_or_bodies(own_world: SmallWorld) -> None:
    """Journal, index, exactly-once book, spool, registry's copy and logs of both servers, after
    answers, refusals and failures with the mark in body, path, query and header fields."""
    mark = MARK.decode()
    assert post(own_world, str(uuid4()), mark).status == 201
    own_world.call(f"/projects/{mark}?name={mark}", headers={"X-Note": mark})
    post(own_world, str(uuid4()), mark, client="LA/GOV/MOF/nobody")
    post(own_world, str(uuid4()), mark, service=small.DOWN)
    post(own_world, str(uuid4()), mark, service=small.LENIENT)
    post(own_world, str(uuid4()), mark * 100_000)
    own_world.call("/projects/P-1", headers={"Exchange-Subject": mark})
    for server in (own_world.mof, own_world.mpi):
        wait_published(server)
        assert files_with(server.folder, MARK) == []


def test_no_database_archive_or_table_tells_them_either(
    postgresql_server: DatabaseServer, tmp_path: Path
) -> None:
    """Index and exactly-once book in PostgreSQL, its write-ahead log and all; the archive, and the
    tables of statistics. After an erasure not even the server's keys open what was kept."""
    url = postgresql_server.new_database("marks").replace("+psycopg", "")
    archive, key = tmp_path / "archive", tmp_path / "book.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    provider = {
        "journal": {"index_database": url},
        "once": {"database": url, "key": str(key)},
        "archive": {"folder": str(archive), "every_s": 1, "statistics": True},
    }
    with world_of((small.agreement("mof-mpi"),), provider=provider) as world:
        message, mark = str(uuid4()), MARK.decode()
        first = post(world, message, mark)
        assert (first.status, post(world, message, mark).body) == (201, first.body)
        world.call(f"/projects/{mark}?name={mark}", headers={"X-Note": mark})
        wait_published(world.mpi)
        size = JournalReader(world.mpi.journal).checkpoint.size
        tables = world.mpi.journal / FOLDER
        origin = JournalReader(world.mpi.journal).origin
        until(lambda: Tables.read(tables, origin).entries >= size)
        postgresql_server.run("CHECKPOINT")
        folders = postgresql_server.folder, archive, world.mpi.folder
        assert message.encode() in b"".join(
            path.read_bytes() for path in postgresql_server.folder.rglob("*") if path.is_file()
        )  # the search looks where rows are
        assert [files_with(folder, MARK) for folder in folders] == [[], [], []]
        done = erase("--admin", world.mpi.url("admin"), "--subject", SUBJECT)
        assert (done["records"], done["answers"]) == (4, "erased")
        wait_published(world.mpi)
        opened = [
            JournalReader(world.mpi.journal).erasure(entry, index) is not None
            for index, entry in JournalReader(world.mpi.journal).of_message(message)
        ]
        assert opened[:4] == [True] * 4
        assert verify(world.mpi.journal).good


def test_an_erased_message_is_gone_from_journal_and_book(own_world: SmallWorld) -> None:
    """Its repeat gets no answer, its entries prove that it was; the other side's are its own."""
    message, title = str(uuid4()), "Bridge of the east"
    first = post(own_world, message, title)
    assert (first.status, post(own_world, message, title).body) == (201, first.body)
    wait_published(own_world.mpi)
    done = erase("--admin", own_world.mpi.url("admin"), "--id", message, "--reference", "case 7")
    assert (done["records"], done["already"], done["answers"]) == (4, 0, "erased")
    assert post(own_world, message, title).code == Code.ANSWER_NOT_KEPT
    wait_published(own_world.mpi)
    journal = JournalReader(own_world.mpi.journal)
    told = [
        journal.erasure(entry, index) is not None
        for index, entry in journal.of_message(message)
        if entry.sealed is not None
    ]
    assert told[:4] == [True] * 4
    index = next(index for index, _ in journal.of_message(message))
    shown = CliRunner().invoke(main, ["audit", "show", str(own_world.mpi.journal), str(index)])
    assert f"by entry {done['entries'][0]}; legal ground: article 17" in shown.output
    assert verify(own_world.mpi.journal).good


def test_a_stopped_server_s_journal_can_be_erased_in(own_world: SmallWorld) -> None:
    """By subject, over all months; while the server runs it is refused."""
    assert post(own_world, str(uuid4()), "Road of the north").status == 201
    wait_published(own_world.mof)
    settings = str(own_world.mof.folder / "server.yaml")
    running = ["mediator", "erase", settings, "--offline", "--subject", SUBJECT, "--yes"]
    refused = CliRunner().invoke(main, [*running, "--ground", "article 17"])
    assert refused.exit_code != 0
    own_world.mof.process.stop()
    try:
        done = erase(settings, "--offline", "--subject", SUBJECT)
        assert done["records"] > 0
        again = erase(settings, "--offline", "--subject", SUBJECT)
        assert (again["records"], again["already"]) == (0, done["records"])
    finally:
        own_world.world.start(own_world.mof.plan.id)
    wait_published(own_world.mof)
    assert verify(own_world.mof.journal).erased >= done["records"]


def until(condition: Callable[[], bool]) -> None:
    """Look at a server beside us until something is so."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def erase(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(
        main, ["mediator", "erase", *arguments, "--ground", "article 17", "--yes", "--json"]
    )
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = orjson.loads(result.stdout)
    return answer


@pytest.mark.parametrize(
    ("service", "keeps", "days"), [("LENIENT", "headers", 3650), ("DOWN", "nothing", 365)]
)
def test_a_service_keeps_less_when_it_says_so(
    own_world: SmallWorld, service: str, keeps: str, days: int
) -> None:
    """At the provider: headers without bodies, or the entry alone; the consumer keeps its own."""
    message = str(uuid4())
    post(own_world, message, "x", service=getattr(small, service))
    opened = {server.plan.id: kept(server, message) for server in (own_world.mof, own_world.mpi)}
    provider = opened[own_world.mpi.plan.id]
    assert provider
    assert all((part is None) == (keeps == "nothing") for part in provider)
    assert all(part is None or (part.base and not part.body) for part in provider)
    assert any(part is not None and part.body for part in opened[own_world.mof.plan.id])
    names = {name.days for name in KeyRing(own_world.mpi.journal / "keys").names()}
    assert (days in names) == (keeps != "nothing")


def kept(server: RunningServer, message: str) -> list[Any]:
    wait_published(server)
    journal, parts = JournalReader(server.journal), []
    for index, _ in journal.of_message(message):
        entry = parse_entry(journal.entry(index))
        try:
            parts.append(
                journal.open(entry, journal.ciphertext(index)).part if entry.sealed else None
            )
        except Problem as problem:
            assert problem.code is Code.SEALED_PART_ERASED  # noqa: PT017
    return parts
