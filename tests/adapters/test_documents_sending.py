"""Names of documents in Lao, and what may happen to a document while it is sent."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import orjson
import pytest

from adapters.documents import keeping
from adapters.documents.backend import OpenDocuments
from adapters.documents.folder import name_of, walk
from adapters.documents.kind import read
from adapters.documents.media import MediaType
from adapters.mapping.reader import parse
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import Body, Room, Spooled, Spools

PDF = b"%PDF-1.7\n"
MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOJ/gazette
title: {en: Decrees, lo: ດຳລັດ}
source:
  kind: documents
  folder: decrees
  reading_wait_s: 30
  index: {file: index.csv, key: file, columns: {file: File, no: No}}
fields: {no: string}
services:
  decrees:
    title: {en: Decrees, lo: ດຳລັດ}
"""
NAME = 'ດຳລັດ ນ້ຳ ສະບັບ"ໜຶ່ງ"; ລົງ 100%.pdf'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "decrees"
    place.mkdir()
    (tmp_path / "index.csv").write_text("File,No\n", "utf-8")
    return place


@pytest.fixture
async def opened(folder: Path) -> AsyncIterator[OpenDocuments]:
    documents = read(parse(MAPPING.encode(), "decrees.yaml")).open({}, folder.parent)
    yield documents
    await documents.close()


async def ask(
    opened: OpenDocuments, target: str, room: Room | None = None, **fields: str
) -> BackendResponse[Body]:
    path, _, query = target.partition("?")
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    request = BackendRequest("GET", path, query, headers, b"", room)
    return await opened.backends["decrees"].exchange(request, timeout_s=30)


async def records(opened: OpenDocuments, query: str = "") -> list[Any]:
    answer = await ask(opened, f"/documents?{query}".rstrip("?"))
    found: list[Any] = orjson.loads(bytes(answer.body))["items"]  # type: ignore[arg-type]
    return found


# Names.


@pytest.mark.parametrize(
    "on_disk",
    [
        NAME,
        unicodedata.normalize("NFD", NAME),
        NAME.replace("ລັດ", "ລັດ\u200b").replace(" ", "\u200b ") + "\ufeff",
        NAME.replace("ຳ", "ໍາ").replace("້", "\u200c້"),
        NAME.replace("ນ້ຳ", "ນໍ້າ"),
        NAME.replace("ນ້ຳ", "ນຳ້"),
    ],
)
@pytest.mark.parametrize("in_index", [NAME, "\u200b" + NAME.replace("ນ້ຳ", "ນ\u0ecd\u0ec9\u0eb2")])
async def test_what_looks_alike_is_one_name(
    opened: OpenDocuments, folder: Path, on_disk: str, in_index: str
) -> None:
    """On the disk, in the index and in a filter: told in one form, and found whatever was typed."""
    (folder / on_disk).write_bytes(PDF)
    row = '"' + in_index.replace('"', '""') + '",1/ລບ\n'
    (folder.parent / "index.csv").write_text("File,No\n" + row, "utf-8")
    (one,) = await records(opened)
    assert (one["name"], one["no"]) == (NAME, "1/ລບ")
    for typed in ("ດຳລັດ ນ້ຳ", unicodedata.normalize("NFD", "ດໍາລັດ ນໍ້າ"), "ດຳ\u200bລັດ"):
        assert await records(opened, f"name_prefix={quote(typed)}") == [one]
    answer = await ask(opened, f"/documents/{one['id']}/content")
    assert answer.body == PDF


async def test_a_name_reaches_the_reader_of_a_content(opened: OpenDocuments, folder: Path) -> None:
    """RFC 8187: in ASCII, with nothing that ends the value or the field, and back as it was."""
    (folder / NAME).write_bytes(PDF)
    (one,) = await records(opened)
    answer = await ask(opened, f"/documents/{one['id']}/content")
    value = dict(answer.headers)["content-disposition"]
    beginning, encoded = value.split("''")
    assert beginning == "attachment; filename*=UTF-8"
    assert encoded.isascii()
    assert not set(encoded) & set("\"';, \r\n()<>@:\\/[]?={}")
    assert unquote(encoded, errors="strict") == NAME


def test_what_a_name_shows_is_what_it_is(folder: Path) -> None:
    """Signs that turn the direction of writing, ends of lines and bytes that are no text are told
    as names that cannot be; two writings of one name as that."""
    for name in ("a\u202egpj.pdf", "a\u2028b.pdf", "ດຳ.pdf", "ດ\u200bຳ.pdf"):
        (folder / name).write_bytes(PDF)
    (folder / os.fsdecode(b"\xff\xfe.pdf")).write_bytes(PDF)
    listing = walk(folder, 10)
    assert [entry.name for entry in listing.entries.values()] == ["ດຳ.pdf"]
    assert sorted(fault.why for fault in listing.faults) == [
        *["has a name that cannot be told"] * 3,
        "there is another file of this name",
    ]


def test_no_name_looks_like_another_path(folder: Path) -> None:
    """Without the signs that nobody sees, a name is not that of a hidden file or of a place."""
    for inside in ("\u200b..", "\u200b", "ໝວດ"):
        (folder / inside).mkdir()
        (folder / inside / "a.pdf").write_bytes(PDF)
    for name in ("\u200b.b.pdf", "\ufeff.."):
        (folder / name).write_bytes(PDF)
    listing = walk(folder, 10)
    assert [entry.name for entry in listing.entries.values()] == ["ໝວດ/a.pdf"]
    assert [fault.why for fault in listing.faults] == ["has a name that cannot be told"] * 4


@pytest.mark.parametrize("text", [NAME, unicodedata.normalize("NFD", "ນໍ້າ é \u200bກ"), "a.pdf"])
def test_the_form_of_a_name_is_its_own(text: str) -> None:
    """A name in the one form stays as it is."""
    assert name_of(name_of(text)) == name_of(text)


# Sending.


class Meddling(Room):
    """Somebody does something to the document as soon as anything of it is kept."""

    __slots__ = ("act",)

    def hold(self, size: int) -> None:
        super().hold(size)
        self._act()

    def spool(self, announced: int = 0) -> Any:
        self._act()
        return super().spool(announced)

    def _act(self) -> None:
        act, self.act = self.act, lambda: None
        act()


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _replace(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes()[::-1])
    new.replace(path)


def _shorten(path: Path) -> None:
    os.truncate(path, 20)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("length", [1000, 3 << 20])
@pytest.mark.parametrize("act", [_grow, _replace, _shorten, _link, Path.unlink])
@pytest.mark.parametrize("field", [{}, {"range": "bytes=5-600"}])
async def test_a_document_that_changes_while_it_is_sent_is_a_clear_problem(
    opened: OpenDocuments,
    folder: Path,
    tmp_path: Path,
    length: int,
    act: Callable[[Path], None],
    field: dict[str, str],
) -> None:
    """It grows, is replaced, gets shorter, becomes a link, vanishes: never half of each, in
    memory, through the disk, whole and in part."""
    path = folder / "a.pdf"
    path.write_bytes(PDF + os.urandom(length))
    (one,) = await records(opened)
    content = f"/documents/{one['id']}/content"
    spools = Spools.open(tmp_path / "spool")
    assert (await ask(opened, content)).status == 200
    room = Meddling(spools)
    room.act = lambda: act(path)
    with pytest.raises(Problem) as caught:
        await ask(opened, content, room, **field)
    assert caught.value.code is Code.SOURCE_FAILED
    room.end()
    assert (spools.in_memory, spools.on_disk) == (0, 0)
    spools.close()


async def test_a_document_of_more_than_two_gigabytes_has_parts_behind_them(
    folder: Path, tmp_path: Path
) -> None:
    """Lengths and places are numbers of any size; nothing is read but the part."""
    path, size = folder / "long.pdf", (5 << 30) + 7
    with path.open("wb") as file:
        file.write(PDF)
        file.seek(size - 3)
        file.write(b"end")
    (entry,) = walk(folder, 10).entries.values()
    # Known from an earlier start: it is not hashed here.
    kept = keeping.kept_path(folder.parent, "decrees.yaml")
    keeping.save(kept, [(entry.identity, MediaType.PDF, b"d" * 32)])
    opened = read(parse(MAPPING.encode(), "decrees.yaml")).open({}, folder.parent)
    spools = Spools.open(tmp_path / "spool")
    room = spools.room()
    try:
        (one,) = await records(opened)
        assert one["size"] == size
        content = f"/documents/{one['id']}/content"
        answer = await ask(opened, content, room, range="bytes=-5")
        assert (answer.status, answer.body) == (206, b"\0\0end")
        assert dict(answer.headers)["content-range"] == f"bytes {size - 5}-{size - 1}/{size}"
        asked = f"bytes={3 << 30}-{(3 << 30) + (2 << 20)}"
        answer = await ask(opened, content, room, range=asked)
        assert isinstance(answer.body, Spooled)
        assert answer.body.size == (2 << 20) + 1
        with pytest.raises(Problem) as caught:
            await ask(opened, content, room)
        assert caught.value.code is Code.RESPONSE_TOO_LARGE  # max_document_bytes
    finally:
        room.end()
        spools.close()
        await opened.close()
