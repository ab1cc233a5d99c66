"""What stands on the wire between the adapter and an API: codings, parts, chunks, trailers,
interim answers, methods, fields."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

import schemas
from adapters.mapping.reader import parse
from adapters.passing.backend import OpenApi
from adapters.passing.kind import Api, read
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse
from serving.bodies import IN_MEMORY_BYTES, Body, Room, Spooled, Spools
from tests.adapters.recording import Recording, recording, reply

MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOIC/trade
title: {en: Papers, lo: ເອກະສານ}
source: {kind: http, url: "${PAPERS_URL}", max_bytes: 5000000}
services:
  papers:
    title: {en: Papers, lo: ເອກະສານ}
    endpoints:
      /record:
        get:
          title: {en: Record, lo: ບັນທຶກ}
          release_headers: [repr-digest]
          answers: {200: {media_types: [application/json]}}
        post:
          title: {en: Hand in, lo: ສົ່ງ}
          body: {media_types: [text/plain]}
          answers: {200: {media_types: [application/json]}}
      /scan:
        get:
          title: {en: Scan, lo: ຮູບ}
          ranges: true
          answers: {200: {media_types: [application/pdf]}}
"""
LONG = orjson.dumps(["ສະບາຍດີ" * 10, *range(400_000)])  # 2.7 MB


def mapped(text: str = MAPPING) -> Api:
    return read(parse(text.encode(), "papers.yaml"))


@pytest.fixture
async def backend() -> AsyncIterator[Recording]:
    async with recording() as running:
        yield running


@pytest.fixture
async def opened(backend: Recording) -> AsyncIterator[OpenApi]:
    api = mapped().open({"PAPERS_URL": backend.url}, Path())
    yield api
    await api.close()


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Spools.open(tmp_path).room()


async def ask(
    opened: OpenApi,
    path: str,
    method: str = "GET",
    room: Room | None = None,
    body: bytes = b"",
    **fields: str,
) -> BackendResponse[Body]:
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    request = BackendRequest(method, path, "", headers, body, room)
    return await opened.backends["papers"].exchange(request, timeout_s=20)


async def failure(opened: OpenApi, path: str, room: Room | None = None, **fields: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(opened, path, room=room, **fields)
    return caught.value


# Without a time in it: parameters of tests are the same whenever they are collected.
gzipped = partial(gzip.compress, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


def chunked(body: bytes, trailers: bytes = b"") -> bytes:
    """An answer of no announced length."""
    sizes = range(0, len(body), 100_000)
    parts = [body[at : at + 100_000] for at in sizes]
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return (
        head
        + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        + b"0\r\n"
        + trailers
        + b"\r\n"
    )


# Content codings.


@pytest.mark.parametrize("content", [b"[1]", LONG])
@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzipped),
        ("X-GZIP", gzipped),
        ("identity, gzip", lambda data: gzipped(data[:7]) + gzipped(data[7:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
async def test_an_answer_that_was_encoded_unasked_is_decoded(
    opened: OpenApi, backend: Recording, room: Room, content: bytes, coding: str, encode: object
) -> None:
    """It leaves as what it is, with the digest of that; digests of the coded bytes do not leave."""
    assert callable(encode)
    body = encode(content)
    backend.answer = lambda got: reply(body=body, content_encoding=coding, repr_digest="md5=:x:")
    answer = await ask(opened, "/record", room=room)
    assert backend.got[0].field("accept-encoding") == ["identity"]
    assert answer.status == 200
    kept = "repr-digest" in dict(answer.headers)
    assert ("content-encoding" not in dict(answer.headers), kept) == (True, coding == "identity")
    if len(content) > 1 << 20:
        assert isinstance(answer.body, Spooled)
        assert (answer.body.size, answer.body.sha256) == (len(content), sha256(content).digest())
    else:
        assert answer.body == content
    room.end()
    assert (room.spools.in_memory, room.spools.on_disk) == (0, 0)


@pytest.mark.parametrize(
    ("coding", "body", "code"),
    [
        ("gzip", gzipped(bytes(20 << 20)), Code.RESPONSE_TOO_LARGE),
        ("gzip", gzipped(b"[1]")[:-4], Code.SOURCE_FAILED),
        ("gzip", gzipped(b"[1]") + b"more", Code.SOURCE_FAILED),
        ("gzip", b"[1]", Code.SOURCE_FAILED),
        ("deflate", zlib.compress(b"[1]") + b"more", Code.SOURCE_FAILED),
        ("br", b"\x0b\x01\x80[1]\x03", Code.SOURCE_FAILED),
        ("gzip, gzip", gzipped(gzipped(b"[1]")), Code.SOURCE_FAILED),
    ],
)
@pytest.mark.parametrize("with_room", [True, False])
async def test_what_unfolds_without_end_or_is_broken_stays_inside(
    opened: OpenApi, backend: Recording, room: Room, coding: str, body: bytes, code: Code,
    with_room: bool,
) -> None:  # fmt: skip
    """The bound is that of any answer, in bytes as they are when decoded."""
    backend.answer = lambda got: reply(body=body, content_encoding=coding)
    problem = await failure(opened, "/record", room if with_room else None)
    assert (problem.code, problem.where) == (code, "source")
    assert room.spools.in_memory + room.spools.on_disk <= 5_000_000 + (1 << 20)


async def test_an_encoded_page_of_an_error_keeps_its_meaning(
    opened: OpenApi, backend: Recording
) -> None:
    """Of a status that the mapping does not name nobody reads the content."""
    backend.answer = lambda got: reply(404, b"?", "text/html", content_encoding="br")
    assert (await ask(opened, "/record")).status == 404
    backend.answer = lambda got: reply(body=b"ignored", content_encoding="br")
    assert (await ask(opened, "/record", "HEAD")).status == 200


# Parts.


async def test_a_part_is_passed_where_the_mapping_says_so(
    opened: OpenApi, backend: Recording
) -> None:
    """Range and If-Range reach the API, 206 and 416 the caller."""
    part = reply(206, b"cde", "application/pdf", content_range="bytes 2-4/9", etag='"1"')
    backend.answer = lambda got: part
    answer = await ask(opened, "/scan", range="bytes=2-4", if_range='"1"')
    assert (answer.status, answer.body) == (206, b"cde")
    assert dict(answer.headers) == {
        "content-type": "application/pdf", "content-range": "bytes 2-4/9", "etag": '"1"'
    }  # fmt: skip
    assert backend.got[0].field("range") == ["bytes=2-4"]
    assert backend.got[0].field("if-range") == ['"1"']
    backend.answer = lambda got: reply(416, b"", None)
    answer = await ask(opened, "/scan", range="bytes=9-")
    assert (answer.status, b"header.range" in bytes(answer.body)) == (416, True)  # type: ignore[arg-type]
    contract = Contract.compile(mapped().document("papers", {}), schemas.load_all())
    contract.find("GET", "/scan").operation.check_response(206, (), None)


@pytest.mark.parametrize(
    ("path", "field"),
    [("/record", "bytes=0-1"), ("/scan", "bytes=0-1,4-5"), ("/scan", "lines=1-2"), ("/scan", "x")],
)
async def test_other_parts_are_not_asked_for(
    opened: OpenApi, backend: Recording, path: str, field: str
) -> None:
    """The whole is answered (RFC 9110, 14.2); a part that nobody asked for is a failure."""
    backend.answer = lambda got: reply(
        200, b"{}", f"application/{'pdf' if path == '/scan' else 'json'}"
    )
    assert (await ask(opened, path, range=field)).status == 200
    assert backend.got[0].field("range") == []
    backend.answer = lambda got: reply(206, b"c", "application/pdf", content_range="bytes 2-2/9")
    assert (await failure(opened, path, range=field)).code is Code.SOURCE_FAILED


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"content_range": "bytes 2-9/10"},
        {"content_range": "bytes */10"},
        {"content_range": "bytes 2-4/10", "content_encoding": "gzip"},
    ],
)
async def test_a_part_that_is_not_what_it_says_stays_inside(
    opened: OpenApi, backend: Recording, fields: dict[str, str]
) -> None:
    """Its place is named and its length is that of its place."""
    backend.answer = lambda got: reply(206, b"cde", "application/pdf", **fields)
    assert (await failure(opened, "/scan", range="bytes=2-4")).code is Code.SOURCE_FAILED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[application/pdf]}", "[application/json]}"),
        ("ranges: true", "ranges: true\n          cache_s: 5"),
        ("{200: {media_types: [application/pdf]", "{201: {media_types: [application/pdf]"),
        ("          body: {media_types: [text/plain]}", "          ranges: true"),
        ("[repr-digest]", "[set-cookie]"),
        ("[repr-digest]", "[content-encoding]"),
        ("[repr-digest]", "[content-range]"),
        ("          release_headers: [repr-digest]", "          pass_headers: [cookie]"),
        ("          release_headers: [repr-digest]", "          pass_headers: [range]"),
        ("          release_headers: [repr-digest]", "          pass_headers: [te]"),
    ],
)
def test_what_would_not_hold_is_refused(old: str, new: str) -> None:
    """Parts of records, of kept answers and of what is no GET; fields that are nobody's."""
    assert old in MAPPING
    with pytest.raises(Problem) as caught:
        mapped(MAPPING.replace(old, new))
    assert caught.value.code is Code.INVALID_MAPPING


# Messages.


async def test_an_answer_of_unknown_length_goes_to_the_room(
    opened: OpenApi, backend: Recording, room: Room
) -> None:
    """Up to the limit, without memory; trailers are dropped."""
    backend.answer = lambda got: chunked(LONG, b"set-cookie: a=1\r\nx-digest: 1\r\n")
    answer = await ask(opened, "/record", room=room)
    assert isinstance(answer.body, Spooled)
    assert answer.body.sha256 == sha256(LONG).digest()
    assert dict(answer.headers) == {"content-type": "application/json"}
    assert room.spools.in_memory <= IN_MEMORY_BYTES
    backend.answer = lambda got: chunked(LONG * 2)
    assert (await failure(opened, "/record", room)).code is Code.RESPONSE_TOO_LARGE


async def test_interim_answers_are_passed_over(opened: OpenApi, backend: Recording) -> None:
    """100 and 103 come before the answer and say nothing; a switch of protocols is none."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nset-cookie: a=1\r\n\r\n"
    backend.answer = lambda got: interim + reply(body=b"[1]")
    answer = await ask(opened, "/record")
    assert (answer.status, answer.body) == (200, b"[1]")
    assert dict(answer.headers) == {"content-type": "application/json"}
    backend.answer = lambda got: (
        b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    )
    assert (await failure(opened, "/record")).code is Code.BACKEND_NONSENSE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300])
async def test_no_redirect_is_followed(opened: OpenApi, backend: Recording, status: int) -> None:
    """Not even to the same origin; where it leads to is not told."""
    backend.answer = lambda got: reply(status, b"", None, location="/elsewhere")
    problem = await failure(opened, "/record")
    assert (problem.code, len(backend.got)) == (Code.SOURCE_FAILED, 1)
    assert "elsewhere" not in problem.detail


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PUT", "get"])
async def test_methods_are_those_that_are_named(
    opened: OpenApi, backend: Recording, method: str
) -> None:
    """OPTIONS is answered here with what there is; nothing of it reaches the API."""
    answer = await ask(opened, "/record", method)
    assert (answer.status, dict(answer.headers)["allow"]) == (405, "GET, POST, HEAD")
    assert backend.got == []


@pytest.mark.parametrize("path", ["http://evil.example/record", "//evil.example/record", "*", ""])
async def test_a_target_is_a_path(opened: OpenApi, backend: Recording, path: str) -> None:
    """Neither an origin, nor an asterisk, nor nothing."""
    assert (await ask(opened, path)).status == 404
    assert backend.got == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain; charset=utf-8", 200),
        ("text/plain; a=\r\nx-evil: 1", 400),
        ("text/plain;\x00", 400),
        ("text/plain; a=\u0e81", 400),
    ],
)
async def test_a_content_type_is_judged_like_any_field(
    opened: OpenApi, backend: Recording, kind: str, status: int
) -> None:
    """What stands behind the media type is passed, if a field can carry it."""
    answer = await ask(opened, "/record", "POST", body=b"x", content_type=kind)
    assert answer.status == status
    assert [got.field("content-type") for got in backend.got] == [[kind]] * (status == 200)
