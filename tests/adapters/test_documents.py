"""A folder of documents as a service: lists, metadata, contents, and what never leaves it."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import os
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

import schemas
from adapters import http, kinds
from adapters.documents.backend import OpenDocuments
from adapters.documents.kind import Documents, read
from adapters.documents.media import MediaType, sniff
from adapters.kinds import Checking
from adapters.mapping.reader import parse
from adapters.scan.scanned import Look
from exchange.contracts.contract import Contract
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import Body, Room, Spooled, Spools

PDF = b"%PDF-1.7\n"
PNG = b"\x89PNG\r\n\x1a\n"
NAME = "ດຳລັດ ສະບັບເລກທີ ໑.pdf"

MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOJ/gazette
title: {en: Decrees, lo: ດຳລັດ}
source:
  kind: documents
  folder: ${DECREES}
  reading_wait_s: 30
  index:
    file: index.csv
    key: file
    columns:
      file: ແຟ້ມ
      number: ເລກທີ
      title_lo: ຊື່
      signed: {header: ລົງວັນທີ, type: date, format: "%d/%m/%Y"}
fields:
  number: string
  title.lo: {type: string, column: title_lo}
  signed: date
services:
  decrees:
    title: {en: Decrees, lo: ດຳລັດ}
    filters: [number, signed]
    page_size: 2
"""


def mapped(text: str = MAPPING) -> Documents:
    return read(parse(text.encode(), "decrees.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two decrees, one picture in a folder of its own, and an index of the decrees."""
    place = tmp_path / "decrees"
    (place / "maps").mkdir(parents=True)
    (place / NAME).write_bytes(PDF + b"one")
    (place / "b.pdf").write_bytes(PDF + b"two")
    (place / "maps" / "c.png").write_bytes(PNG + b"three")
    for path, day in ((place / NAME, 1), (place / "b.pdf", 2), (place / "maps" / "c.png", 3)):
        os.utime(path, (1_700_000_000 + day * 86_400,) * 2)
    index = f"ແຟ້ມ,ເລກທີ,ຊື່,ລົງວັນທີ\n{NAME},1/ລບ,ດຳລັດທີໜຶ່ງ,05/02/2020\nb.pdf,2/ລບ,ດຳລັດທີສອງ,06/02/2020\n"
    (tmp_path / "index.csv").write_text(index, "utf-8")
    return place


@pytest.fixture
async def opened(folder: Path) -> AsyncIterator[OpenDocuments]:
    documents = mapped().open({"DECREES": str(folder)}, folder.parent)
    yield documents
    await documents.close()


async def ask(
    opened: OpenDocuments,
    target: str,
    method: str = "GET",
    room: Room | None = None,
    most: int | None = None,
    **fields: str,
) -> BackendResponse[Body]:
    path, _, query = target.partition("?")
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    request = BackendRequest(method, path, query, headers, b"", room, False, most)
    return await opened.backends["decrees"].exchange(request, timeout_s=30)


async def records(opened: OpenDocuments, query: str = "") -> list[Any]:
    """All pages."""
    found: list[Any] = []
    cursor = ""
    while True:
        parts = [part for part in (query, cursor) if part]
        answer = await ask(opened, "/documents" + ("?" if parts else "") + "&".join(parts))
        assert answer.status == 200, answer.body
        page = orjson.loads(bytes(answer.body))  # type: ignore[arg-type]
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = f"cursor={page['next']}"


async def id_of(opened: OpenDocuments, name: str) -> str:
    (found,) = [one["id"] for one in await records(opened) if one["name"] == name]
    return str(found)


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what a later look at the folder tells: there is one a second."""
    async with asyncio.timeout(30):
        while not await look():  # noqa: ASYNC110  # a folder tells nobody of changes
            await asyncio.sleep(0.1)


async def until_seen(opened: OpenDocuments, number: int) -> list[Any]:
    """The records once there are so many."""

    async def seen() -> bool:
        return len(await records(opened)) == number

    await until(seen)
    return await records(opened)


# Records.


async def test_a_document_is_a_record_with_the_row_of_its_index(opened: OpenDocuments) -> None:
    """By its content its type, size and digest; by its name what the index says of it."""
    found = await records(opened)
    assert [one["name"] for one in found] == ["b.pdf", "maps/c.png", NAME]
    first = found[2]
    assert first == {
        "id": first["id"],
        "name": NAME,
        "media_type": "application/pdf",
        "size": 12,
        "digest": f"sha-256:{hashlib.sha256(PDF + b'one').hexdigest()}",
        "modified": "2023-11-15T22:13:20+00:00",
        "number": "1/ລບ",
        "title": {"lo": "ດຳລັດທີໜຶ່ງ"},
        "signed": "2020-02-05",
    }
    assert "number" not in found[1]
    answer = await ask(opened, f"/documents/{first['id']}")
    assert orjson.loads(bytes(answer.body)) == first  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("media_type=image/png", ["maps/c.png"]),
        ("name_prefix=maps/", ["maps/c.png"]),
        ("name_prefix=%E0%BA%94", [NAME]),
        ("modified_from=2023-11-17T00:00:00Z", ["maps/c.png"]),
        ("modified_until=2023-11-16T00:00:00Z", [NAME]),
        ("number=2/%E0%BA%A5%E0%BA%9A", ["b.pdf"]),
        ("signed=2020-02-06", ["b.pdf"]),
        ("name_prefix=%25", []),
    ],
)
async def test_lists_are_narrowed(opened: OpenDocuments, query: str, names: list[str]) -> None:
    """By type, time, beginning of the name, and what the index says."""
    assert [one["name"] for one in await records(opened, query)] == names


async def test_pages_hold_while_documents_come_and_go(opened: OpenDocuments, folder: Path) -> None:
    """The next page begins after the last name, whatever happened before it."""
    answer = await ask(opened, "/documents")
    page = orjson.loads(bytes(answer.body))  # type: ignore[arg-type]
    (folder / "a.pdf").write_bytes(PDF)
    (folder / "b.pdf").unlink()
    (folder / "z.pdf").write_bytes(PDF)
    await until_seen(opened, 4)
    rest = orjson.loads(
        bytes((await ask(opened, f"/documents?cursor={page['next']}")).body)  # type: ignore[arg-type]
    )
    assert [one["name"] for one in rest["items"]] == ["z.pdf", NAME]


async def test_a_name_is_one_whatever_its_form(opened: OpenDocuments, folder: Path) -> None:
    """A name in NFD is listed in NFC, and the index finds it; a second file of it is told."""
    composed = "décret ກ.pdf"
    (folder / unicodedata.normalize("NFD", composed)).write_bytes(PDF + b"nfd")
    with (folder.parent / "index.csv").open("a", encoding="utf-8") as index:
        index.write(f"{composed},9/ລບ,x,07/02/2020\n")
    found = await until_seen(opened, 4)
    (one,) = [one for one in found if one["name"] == composed]

    async def indexed() -> bool:
        return bool(await records(opened, "number=9/%E0%BA%A5%E0%BA%9A"))

    await until(indexed)
    answer = await ask(opened, f"/documents/{one['id']}/content")
    assert answer.body == PDF + b"nfd"
    (folder / composed).write_bytes(PDF + b"nfc")
    how = Checking(schemas.load_all(), False, {}, lambda count: None)
    told = await mapped().check({"DECREES": str(folder)}, folder.parent, how)
    assert any("another file of this name" in one.rule for one in told)


# Contents.


async def test_a_content_has_its_type_and_digests(opened: OpenDocuments) -> None:
    """RFC 9530: of the whole and of what is sent; its name in Lao; a tag that 304 answers."""
    id = await id_of(opened, NAME)
    answer = await ask(opened, f"/documents/{id}/content")
    digest = base64.b64encode(hashlib.sha256(PDF + b"one").digest()).decode()
    headers = dict(answer.headers)
    assert (answer.status, answer.body) == (200, PDF + b"one")
    assert headers["content-type"] == "application/pdf"
    assert headers["repr-digest"] == headers["content-digest"] == f"sha-256=:{digest}:"
    assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''%E0%BA%94")
    assert headers["last-modified"] == "Wed, 15 Nov 2023 22:13:20 GMT"
    again = await ask(opened, f"/documents/{id}/content", if_none_match=headers["etag"])
    assert (again.status, again.body) == (304, b"")
    head = await ask(opened, f"/documents/{id}/content", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert dict(head.headers)["etag"] == headers["etag"]


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-3", 206, 0, 3),
        ("bytes=9-", 206, 9, 11),
        ("bytes=-3", 206, 9, 11),
        ("bytes=5-999", 206, 5, 11),
        ("bytes=-999", 206, 0, 11),
        ("bytes=12-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=5-3", 200, 0, 11),
        ("bytes=0-1,3-4", 200, 0, 11),
        ("lines=0-1", 200, 0, 11),
    ],
)
async def test_a_part_is_sent(
    opened: OpenDocuments, asked: str, status: int, first: int, last: int
) -> None:
    """One range of bytes (RFC 9110, 14); what is not understood gets the whole."""
    id = await id_of(opened, NAME)
    answer = await ask(opened, f"/documents/{id}/content", range=asked)
    assert answer.status == status
    headers, whole = dict(answer.headers), PDF + b"one"
    if status == 416:
        return
    part = whole[first : last + 1]
    assert answer.body == part
    digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
    assert headers["content-digest"] == f"sha-256=:{digest}:"
    if status == 206:
        assert headers["content-range"] == f"bytes {first}-{last}/12"
        other = await ask(opened, f"/documents/{id}/content", range=asked, if_range='"other"')
        assert other.status == 200


async def test_a_long_document_goes_through_the_disk(
    opened: OpenDocuments, folder: Path, tmp_path: Path
) -> None:
    """In pieces, as long as the caller takes it; a hole of a file is as long as it says."""
    path = folder / "long.pdf"
    with path.open("wb") as file:
        file.write(PDF)
        file.truncate(40 << 20)
    await until_seen(opened, 4)
    id = await id_of(opened, "long.pdf")
    spools = Spools.open(tmp_path / "spool")
    room = spools.room()
    answer = await ask(opened, f"/documents/{id}/content", room=room)
    assert isinstance(answer.body, Spooled)
    assert (len(answer.body), (await answer.body.read(0, 9))) == (40 << 20, PDF)
    assert answer.body.sha256 == hashlib.sha256(path.read_bytes()).digest()
    room.end()
    spools.close()
    for most in (None, 1000):
        with pytest.raises(Problem) as caught:
            await ask(opened, f"/documents/{id}/content", most=most)
        assert caught.value.code is Code.RESPONSE_TOO_LARGE

    async def told() -> bool:
        return b'"digest"' in bytes((await ask(opened, f"/documents/{id}")).body)  # type: ignore[arg-type]

    await until(told)  # its record has the digest once it was computed


async def test_a_file_system_that_goes_away_is_a_clear_problem(
    opened: OpenDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's file system may say of any file, even an open one, that its handle is stale."""
    id = await id_of(opened, NAME)

    def stale(descriptor: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        with pytest.raises(Problem) as caught:
            await ask(opened, f"/documents/{id}/content")
    assert caught.value.code is Code.SOURCE_FAILED
    assert (await ask(opened, f"/documents/{id}/content")).status == 200


async def test_a_document_that_changes_or_vanishes_is_a_clear_problem(
    opened: OpenDocuments, folder: Path
) -> None:
    """What was changed since the last look is read anew; what is gone is 404."""
    id = await id_of(opened, "b.pdf")
    await ask(opened, f"/documents/{id}/content")
    (folder / "b.pdf").write_bytes(PDF + b"new content")
    answer = await ask(opened, f"/documents/{id}/content")
    assert (answer.status, answer.body) == (200, PDF + b"new content")
    (folder / "b.pdf").unlink()
    answer = await ask(opened, f"/documents/{id}/content")
    assert answer.status == 404


async def test_a_document_that_changes_while_it_is_read_is_not_served(
    opened: OpenDocuments, folder: Path, tmp_path: Path
) -> None:
    """Neither the old nor the new, and never half of each."""
    path = folder / "long.pdf"
    path.write_bytes(PDF + b"x" * (8 << 20))
    await until_seen(opened, 4)
    id = await id_of(opened, "long.pdf")
    spools = Spools.open(tmp_path / "spool")

    class Meddling(Room):
        """Somebody writes to the document as soon as its copy begins."""

        __slots__ = ()

        def spool(self, announced: int = 0) -> Any:
            with path.open("r+b") as file:
                file.seek(7 << 20)
                file.write(b"y")
            return super().spool(announced)

    room = Meddling(spools)
    with pytest.raises(Problem) as caught:
        await ask(opened, f"/documents/{id}/content", room=room)
    assert caught.value.code is Code.SOURCE_FAILED
    assert "changed" in caught.value.detail
    room.end()
    spools.close()


class SlowSpools(Spools):
    """Of a disk that does nothing until it is told to."""

    def hold(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Set once somebody writes; what is waited for then."""
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        return self.reached, self.go_on

    async def in_thread(self, job: Callable[[], Any]) -> Any:
        self.reached.set()
        await self.go_on.wait()
        return await super().in_thread(job)


async def test_more_readers_than_may_wait_are_turned_away(folder: Path, tmp_path: Path) -> None:
    """One reads, nobody may wait: the next is told to come again."""
    text = MAPPING.replace("  index:", "  max_connections: 1\n  max_waiting: 0\n  index:")
    opened = mapped(text).open({"DECREES": str(folder)}, folder.parent)
    (folder / "long.pdf").write_bytes(PDF + b"x" * (2 << 20))
    spools = SlowSpools(tmp_path)
    reached, go_on = spools.hold()
    try:
        id = await id_of(opened, "long.pdf")
        room = spools.room()
        first = asyncio.create_task(ask(opened, f"/documents/{id}/content", room=room))
        await reached.wait()
        with pytest.raises(Problem) as caught:
            await ask(opened, f"/documents/{id}/content")
        assert caught.value.code is Code.OVERLOADED
        go_on.set()
        assert (await first).status == 200
        room.end()
        assert (await ask(opened, f"/documents/{id}/content")).status == 200
    finally:
        spools.close()
        await opened.close()


# What never leaves.


async def test_nothing_outside_is_ever_reached(folder: Path) -> None:
    """Links of files and folders, hidden files, pipes, files that are not what their names say:
    none is listed, and each is told to who checks; hidden ones are nobody's matter."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.pdf").write_bytes(PDF + b"secret")
    (folder / "link.pdf").symlink_to(outside / "secret.pdf")
    (folder / "linked").symlink_to(outside)
    (folder / ".hidden.pdf").write_bytes(PDF)
    (folder / "page.pdf").write_bytes(b"<script>" + PDF)
    (folder / "picture.gif").write_bytes(b"GIF89a")
    (folder / "empty.pdf").write_bytes(b"")
    os.mkfifo(folder / "pipe.pdf")
    (folder / "bad\nname.pdf").write_bytes(PDF)
    opened = mapped().open({"DECREES": str(folder)}, folder.parent)
    try:
        assert len(await records(opened)) == 3
        for path in ("/documents/..%2foutside%2fsecret.pdf/content", "/documents/link.pdf/content"):
            assert (await ask(opened, path)).status == 404
    finally:
        await opened.close()
    how = Checking(schemas.load_all(), True, {}, lambda count: None)
    found = await mapped().check({"DECREES": str(folder)}, folder.parent, how)
    told = {one.rule.split(" is not served")[0] for one in found if "index" not in one.rule}
    assert told == {
        "link.pdf", "linked", "page.pdf", "picture.gif", "empty.pdf", "pipe.pdf", "bad\nname.pdf"
    }  # fmt: skip
    assert all(one.warning for one in found)


async def test_a_document_that_becomes_a_link_is_not_followed(
    opened: OpenDocuments, folder: Path
) -> None:
    """Between the look and the reading, of the file and of the folder that it is in."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "c.png").write_bytes(PNG + b"secret")
    first, second = await id_of(opened, "b.pdf"), await id_of(opened, "maps/c.png")
    (folder / "b.pdf").unlink()
    (folder / "b.pdf").symlink_to(outside / "c.png")
    (folder / "maps").rename(folder.parent / "moved")
    (folder / "maps").symlink_to(outside)
    for id in (first, second):
        assert (await ask(opened, f"/documents/{id}/content")).status == 404


async def test_conditions_on_rows_hold_for_contents(opened: OpenDocuments) -> None:
    """Who may not see the record does not get the document."""
    id = await id_of(opened, "b.pdf")
    rows = '{"number":["2/\\u0ea5\\u0e9a"]}'
    assert (await ask(opened, f"/documents/{id}/content", exchange_rows=rows)).status == 200
    rows = '{"number":["1/\\u0ea5\\u0e9a"]}'
    assert (await ask(opened, f"/documents/{id}/content", exchange_rows=rows)).status == 404


async def test_what_the_owner_does_not_show_has_no_content(folder: Path) -> None:
    """``visible`` of a service is of its list, its records and their contents."""
    rules = "{rules: [{when: {purpose: audit}, rows: all}], otherwise: {number: [2/ລບ]}}"
    text = MAPPING + f"    visible: {rules}\n"
    opened = mapped(text).open({"DECREES": str(folder)}, folder.parent)
    try:
        answer = await ask(opened, "/documents", exchange_purpose="audit")
        first, second = (
            one["id"]
            for one in orjson.loads(bytes(answer.body))["items"]  # type: ignore[arg-type]
        )
        assert [one["id"] for one in await records(opened)] == [first]
        for id, status in ((first, 200), (second, 404)):
            assert (await ask(opened, f"/documents/{id}/content")).status == status
        content = f"/documents/{second}/content"
        assert (await ask(opened, content, exchange_purpose="audit")).status == 200
    finally:
        await opened.close()


async def test_other_requests_for_contents_are_refused(opened: OpenDocuments) -> None:
    """Reading only, without parameters."""
    id = await id_of(opened, "b.pdf")
    assert (await ask(opened, f"/documents/{id}/content", "PUT")).status == 405
    assert (await ask(opened, f"/documents/{id}/content?a=1")).status == 400
    assert (await ask(opened, "/documents/nothing/content")).status == 404


async def test_a_folder_that_is_gone_is_a_failure_of_the_source(folder: Path) -> None:
    """It is told as such, and the service recovers when the folder is back."""
    away = folder.parent / "away"
    os.rename(folder, away)
    opened = mapped().open({"DECREES": str(folder)}, folder.parent)
    try:
        with pytest.raises(Problem) as caught:
            await records(opened)
        assert caught.value.code is Code.SOURCE_FAILED
        os.rename(away, folder)
        assert len(await records(opened)) == 3
    finally:
        await opened.close()


# The file.


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  number: string", "  size: string", "already"),
        ("  number: string", "  number: text", "not one of"),
        ("column: title_lo", "column: title_en", "no column 'title_en'"),
        ("filters: [number, signed]", "filters: [number, other]", "no field 'other'"),
        ("filters: [number, signed]", "filters: [media_type]", "already"),
        ("    key: file", "    key: other", "no column"),
        ("      number: ເລກທີ", "      name: ເລກທີ", "another name"),
        ("  folder: ${DECREES}", "  media_types: [text/html]\n  folder: x", "not one of"),
    ],
)
def test_a_fault_is_told_with_its_line(old: str, new: str, words: str) -> None:
    """Also in the parts that become a mapping of tables."""
    changed = MAPPING.replace(old, new)
    line = changed[: changed.index(new)].count("\n") + 1
    with pytest.raises(Problem) as caught:
        mapped(changed)
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail
    assert f"decrees.yaml:{line} " in caught.value.where


def test_the_document_tells_of_records_and_contents() -> None:
    """It compiles; a content is of the types that the mapping names."""
    contract = Contract.compile(mapped().document("decrees", {}), schemas.load_all())
    assert set(contract.endpoints()) == {
        ("GET", "/documents"), ("GET", "/documents/{id}"), ("GET", "/documents/{id}/content")
    }  # fmt: skip
    content = contract.find("GET", "/documents/x/content").operation
    content.check_response(200, (("content-type", "application/pdf"),), PDF)
    with pytest.raises(Problem):
        content.check_response(200, (("content-type", "text/html"),), b"")


def test_types_are_those_of_the_contents() -> None:
    """By the very first bytes."""
    assert sniff(b"%PDF-1.4") is MediaType.PDF
    assert sniff(b"\xff\xd8\xff\xe0") is MediaType.JPEG
    assert sniff(b"II*\x00") is MediaType.TIFF
    assert sniff(b"RIFF\x00\x00\x00\x00WEBPVP8 ") is MediaType.WEBP
    assert sniff(b" %PDF-1.4") is None
    assert sniff(b"<html>") is None
    assert sniff(b"") is None


# Scans.


async def test_a_scan_proposes_a_mapping_with_the_index(folder: Path) -> None:
    """The table beside the folder whose column names documents; what is proposed answers."""
    (folder.parent / "other.csv").write_text("a,b\n1,2\n", "utf-8")
    application = ApplicationId.parse("LA/GOV/MOJ/gazette")
    found = kinds.scan(Look(str(folder), application, "decrees", {}, folder.parent))
    documents = read(parse(found.mapping.encode(), "m.yaml"))
    assert documents.mapping.types == {MediaType.PDF, MediaType.PNG}
    assert documents.mapping.index is not None
    assert (documents.mapping.index[0].file, documents.mapping.index[1]) == (
        "index.csv", "column_1"
    )  # fmt: skip
    how = Checking(schemas.load_all(), True, {}, lambda count: None)
    (one,) = await documents.check({}, folder.parent, how)
    assert (one.warning, "does not name maps/c.png" in one.rule) == (True, True)
    opened = documents.open({}, folder.parent)
    try:
        (record,) = await records(opened, "name_prefix=b")
        assert (record["column_2"], record["column_4"]) == ("2/ລບ", "2020-02-06")
    finally:
        await opened.close()


def test_a_folder_without_documents_is_not_found(tmp_path: Path) -> None:
    """Nor is a mapping proposed of nothing."""
    application = ApplicationId.parse("LA/GOV/MOJ/gazette")
    with pytest.raises(Problem) as caught:
        kinds.scan(Look(str(tmp_path), application, "decrees", {}, tmp_path))
    assert caught.value.code is Code.NOT_FOUND


async def test_a_service_of_its_own_sends_long_documents(
    opened: OpenDocuments, folder: Path, tmp_path: Path
) -> None:
    """Piece by piece, with their length."""
    content = PDF + b"x" * (5 << 20)
    (folder / "long.pdf").write_bytes(content)
    await until_seen(opened, 4)
    id = await id_of(opened, "long.pdf")
    spools = Spools.open(tmp_path / "spool")
    app = http.application(opened, {"decrees": b"{}"}, spools=spools)
    async with TestClient(TestServer(app)) as client:
        async with client.get(f"/decrees/documents/{id}/content") as response:
            assert (response.status, response.content_length) == (200, len(content))
            assert await response.read() == content
        async with client.get("/healthz") as response:
            assert response.status == 200
    assert spools.on_disk == 0
    spools.close()


async def test_a_closed_service_says_so(folder: Path) -> None:
    """Whoever asks meanwhile is told, and closing twice does no harm."""
    opened = mapped().open({"DECREES": str(folder)}, folder.parent)
    id = await id_of(opened, "b.pdf")
    await opened.close()
    await opened.close()
    for path in (f"/documents/{id}", f"/documents/{id}/content"):
        with pytest.raises(Problem) as caught:
            await ask(opened, path)
        assert caught.value.code is Code.SOURCE_FAILED
