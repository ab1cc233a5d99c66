"""Digests of documents that a start finds on disk, and how long a content is waited for."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

import schemas
from adapters import kinds
from adapters.documents import keeping
from adapters.documents.backend import OpenDocuments
from adapters.documents.kind import read
from adapters.kinds import Checking
from adapters.mapping.reader import parse
from adapters.scan.scanned import Look
from exchange.contracts.contract import Contract
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import Body, Room, Spools

PDF = b"%PDF-1.7\n"
MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOJ/gazette
title: {en: Decrees, lo: ດຳລັດ}
source: {kind: documents, folder: decrees, reading_wait_s: 30, max_connections: 2}
services:
  decrees:
    title: {en: Decrees, lo: ດຳລັດ}
"""


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of a test are as good as old."""
    monkeypatch.setattr(keeping, "SETTLED_NS", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three decrees."""
    place = tmp_path / "decrees"
    place.mkdir()
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        (place / name).write_bytes(PDF + name.encode())
    return place


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[OpenDocuments]:
    documents = read(parse(MAPPING.encode(), "decrees.yaml"))
    opened = documents.open({}, folder.parent)
    try:
        yield opened
    finally:
        await opened.close()


async def ask(
    opened: OpenDocuments,
    target: str,
    timeout_s: float = 30.0,
    method: str = "GET",
    room: Room | None = None,
) -> BackendResponse[Body]:
    request = BackendRequest(method, target, "", (), b"", room)
    return await opened.backends["decrees"].exchange(request, timeout_s=timeout_s)


async def digests(opened: OpenDocuments) -> dict[str, str | None]:
    answer = await ask(opened, "/documents")
    items: list[dict[str, Any]] = orjson.loads(bytes(answer.body))["items"]  # type: ignore[arg-type]
    return {one["name"]: one.get("digest") for one in items}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # a disk tells nobody of changes
            await asyncio.sleep(0.02)


def told(folder: Path) -> dict[str, str]:
    return {
        path.name: f"sha-256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.iterdir()
    }


async def kept(folder: Path) -> Path:
    """The file, once a server has run."""
    path = folder.parent / "decrees.kept-digests"
    async with running(folder) as opened:
        assert await digests(opened) == told(folder)
        await until(lambda: len(keeping.load(path)) == len(told(folder)))
    return path


async def test_a_start_reads_no_document_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for its type nor for its digest; a content is still read, and held against it."""
    await kept(folder)

    def unread(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "nobody reads")

    async with running(folder) as opened:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", unread)
            assert await digests(opened) == told(folder)
        answer = await ask(opened, "/documents")
        id = orjson.loads(bytes(answer.body))["items"][0]["id"]  # type: ignore[arg-type]
        assert (await ask(opened, f"/documents/{id}/content")).body == PDF + b"a.pdf"


async def test_what_changed_meanwhile_is_read(folder: Path) -> None:
    """Of the same length and the time it had before; one that is new; one that is gone."""
    path = await kept(folder)
    state = (folder / "b.pdf").stat()
    (folder / "b.pdf").write_bytes(PDF + b"B.PDF")
    os.utime(folder / "b.pdf", ns=(state.st_atime_ns, state.st_mtime_ns))
    (folder / "c.pdf").unlink()
    (folder / "d.pdf").write_bytes(PDF + b"new")
    before = keeping.load(path)
    async with running(folder) as opened:
        assert await digests(opened) == told(folder)
        await until(lambda: keeping.load(path) != before)
    found = {digest.hex() for _, digest in keeping.load(path).values()}
    assert found == {one.removeprefix("sha-256:") for one in told(folder).values()}


def _flip(data: bytes) -> bytes:
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


@pytest.mark.parametrize(
    "spoil",
    [
        _flip,
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: data.replace(b"digests 1", b"digests 0"),
    ],
)
async def test_what_does_not_fit_is_thrown_away(
    folder: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """A byte that flipped, a part, another version: all is read anew, and kept."""
    path = await kept(folder)
    good = keeping.load(path)
    path.write_bytes(spoil(path.read_bytes()))
    assert keeping.load(path) == {}
    await kept(folder)
    assert keeping.load(path) == good


async def test_a_disk_that_keeps_nothing_stops_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk while it is written: the old one stays, nothing lies around, all is served."""
    path = await kept(folder)
    good, around = path.read_bytes(), set(folder.parent.iterdir())
    tried = threading.Event()

    def full(descriptor: int) -> None:
        tried.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (folder / "d.pdf").write_bytes(PDF)
    async with running(folder) as opened:
        assert await digests(opened) == told(folder)
        await asyncio.to_thread(tried.wait, 30)
        await until(lambda: set(folder.parent.iterdir()) == around)
    assert path.read_bytes() == good


async def test_what_changed_a_moment_ago_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change once more in the same tick of its disk's clock."""
    path = await kept(folder)
    monkeypatch.setattr(keeping, "SETTLED_NS", 3600 * 10**9)
    (folder / "a.pdf").write_bytes(PDF + b"just now")
    path.unlink()
    async with running(folder) as opened:
        assert await digests(opened) == told(folder)
        # What was to be kept would have been by the thread that does so.
        await asyncio.to_thread(opened._catalogue._hasher.submit(bool).result)
    assert not path.exists()


# Times.


async def test_readings_that_hang_are_no_queue(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that answers nobody holds the threads that there are; who comes later gives up
    without leaving anything behind, and all goes on when it answers again."""
    (folder / "long.pdf").write_bytes(PDF + b"x" * 3000)
    answers = threading.Event()
    read_piece = os.pread

    def hangs(descriptor: int, size: int, offset: int) -> bytes:
        answers.wait(30)
        return read_piece(descriptor, size, offset)

    async with running(folder) as opened:
        assert await digests(opened) == told(folder)
        answer = await ask(opened, "/documents")
        ids = [one["id"] for one in orjson.loads(bytes(answer.body))["items"]]  # type: ignore[arg-type]
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", hangs)
            for _ in range(3):
                asked = [ask(opened, f"/documents/{id}/content", 0.3) for id in ids]
                for problem in await asyncio.gather(*asked, return_exceptions=True):
                    assert isinstance(problem, Problem)
                    assert problem.code is Code.BACKEND_TIMEOUT
            assert opened._reader._threads._work_queue.qsize() == 0
            answers.set()
        assert (await ask(opened, f"/documents/{ids[0]}/content")).status == 200


async def test_who_waits_in_vain_leaves_nothing_at_a_digest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many give up while a long document is read, and who waits on has it; who waits for
    one that is in the queue when all is closed is told."""
    for name in ("long.pdf", "next.pdf"):
        (folder / name).write_bytes(PDF + bytes(33 << 20))  # not read with the folder
    read_piece, goes_on = os.pread, threading.Event()

    def hangs(descriptor: int, size: int, offset: int) -> bytes:
        if size > 1000:
            goes_on.wait(30)
        return read_piece(descriptor, size, offset)

    async with running(folder) as opened:
        monkeypatch.setattr(os, "pread", hangs)
        answer = await ask(opened, "/documents")
        items = orjson.loads(bytes(answer.body))["items"]  # type: ignore[arg-type]
        ids = {one["name"]: one["id"] for one in items}
        content = f"/documents/{ids['long.pdf']}/content"
        for _ in range(5):
            asked = [ask(opened, content, 0.1) for _ in range(8)]
            for problem in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(problem, Problem)
                assert problem.code is Code.BACKEND_TIMEOUT
        ((computed, awaited),) = opened._reader._awaited.items()
        assert len(computed._done_callbacks) == 1  # type: ignore[attr-defined]
        assert len(awaited._callbacks or ()) == 2  # type: ignore[attr-defined]
        queued = f"/documents/{ids['next.pdf']}/content"
        waits = asyncio.create_task(ask(opened, queued, method="HEAD"))
        await until(lambda: len(opened._reader._awaited) == 2)
        await opened.close()
        with pytest.raises(Problem) as caught:
            await waits
        assert caught.value.detail == "the adapter is closed"
        goes_on.set()
        await until(lambda: not opened._reader._awaited)


async def test_record_and_content_have_one_time_together(folder: Path) -> None:
    """What the record took is not there for the content: none of it begins after the time."""
    async with running(folder) as opened:
        id = orjson.loads(bytes((await ask(opened, "/documents")).body))["items"][0]["id"]  # type: ignore[arg-type]
        request = BackendRequest("GET", f"/documents/{id}/content", "", (), b"")
        over = asyncio.get_running_loop().time() - 0.001
        with pytest.raises(Problem) as caught:
            await opened._reader.answer(id, request, over)
        assert caught.value.code is Code.BACKEND_TIMEOUT


async def test_a_full_disk_for_a_content_is_told_as_such(folder: Path, tmp_path: Path) -> None:
    """A long document needs the disk, a short one and what is told of a long one do not."""
    (folder / "long.pdf").write_bytes(PDF + bytes(2 << 20))
    spools = Spools.open(tmp_path / "spool", reserve_bytes=1 << 60)
    async with running(folder) as opened:
        answer = await ask(opened, "/documents")
        ids = [one["id"] for one in orjson.loads(bytes(answer.body))["items"]]  # type: ignore[arg-type]
        assert (await ask(opened, f"/documents/{ids[0]}/content", room=spools.room())).status == 200
        path = f"/documents/{ids[3]}/content"
        assert (await ask(opened, path, method="HEAD", room=spools.room())).status == 200
        room = spools.room()
        with pytest.raises(Problem) as caught:
            await ask(opened, path, room=room)
        assert caught.value.code is Code.OVERLOADED
        room.end()
    spools.close()


# Drift.


INDEXED = MAPPING.replace(
    "reading_wait_s: 30, max_connections: 2}",
    "reading_wait_s: 30, index: {file: index.csv, key: file, columns: {file: File, no: No}}}",
)


async def check(folder: Path, *, each: bool = False, text: str = INDEXED) -> list[str]:
    """What is told, with ``!`` for what is no warning."""
    how = Checking(schemas.load_all(), each, {}, lambda count: None)
    found = await read(parse(text.encode(), "decrees.yaml")).check({}, folder.parent, how)
    return [f"{'' if one.warning else '! '}{one.rule}" for one in found]


async def test_what_index_and_folder_lack_of_each_other_is_told(folder: Path) -> None:
    """Rows without a document, documents without a row, columns that are new."""
    index = folder.parent / "index.csv"
    index.write_text("File,No\na.pdf,1\nb.pdf,2\nc.pdf,3\n")
    assert await check(folder) == []
    index.write_text("File,No,Place\na.pdf,1,x\ngone.pdf,2,x\n")
    (folder / "d.pdf").write_bytes(b"no document")
    assert await check(folder) == [
        "index.csv Place: the mapping does not name it",
        "d.pdf is not served: it is none of the kinds of documents that are known",
        "the index names gone.pdf, which is not served",
        "the index does not name b.pdf, c.pdf: their fields are empty",
    ]


@pytest.mark.parametrize(
    ("header", "words"),
    [("File,Number\n", "index.csv No: the header is gone"), ("Path,No\n", "index.csv File:")],
)
async def test_a_column_that_is_gone_is_told(folder: Path, header: str, words: str) -> None:
    """By its header, instead of a source that cannot be read."""
    (folder.parent / "index.csv").write_text(header + "a.pdf,1\n")
    assert any(one.startswith(f"! {words}") for one in await check(folder))
    (folder.parent / "index.csv").unlink()
    (told,) = await check(folder)
    assert told.startswith("! index.csv")


async def test_bytes_that_changed_under_the_same_times_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who reads all: against the digests that a server has kept."""
    await kept(folder)
    assert await check(folder, each=True, text=MAPPING) == []
    read_piece = os.pread

    def decayed(descriptor: int, size: int, offset: int) -> bytes:
        return read_piece(descriptor, size, offset).replace(b"b.pdf", b"B.pdf")

    monkeypatch.setattr(os, "pread", decayed)
    (told,) = await check(folder, each=True, text=MAPPING)
    assert told.startswith("! b.pdf has other bytes than its kept digest is of")
    assert await check(folder, text=MAPPING) == []


def test_a_scan_hands_out_schema_and_test_data(folder: Path) -> None:
    """Of the records: made-up ones keep their contract."""
    (folder.parent / "index.csv").write_text("File,No\na.pdf,1\nb.pdf,2\nc.pdf,3\n")
    application = ApplicationId.parse("LA/GOV/MOJ/gazette")
    found = kinds.scan(Look(str(folder), application, "decrees", {}, folder.parent))
    assert found.schema is not None
    assert {"id", "digest", "no"} <= set(found.schema["$defs"]["document"]["properties"])
    assert found.test_data is not None
    assert len(found.test_data["document"]) == 5
    contract = Contract.compile(
        read(parse(found.mapping.encode(), "m.yaml")).document("decrees", {}), {}
    )
    judge = contract.find("GET", "/documents/x").operation.check_response
    for one in found.test_data["document"]:
        judge(200, (("content-type", "application/json"),), orjson.dumps(one))
