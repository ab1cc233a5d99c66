"""An HTTP API passed through: only what the mapping names passes, in either direction."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from adapters.kinds import Checking
from adapters.mapping.reader import parse
from adapters.passing.backend import OpenApi
from adapters.passing.kind import Api, read
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from serving.backends import BackendRequest, BackendResponse, NotDelivered
from serving.bodies import Body, Spooled, Spools
from tests.adapters.recording import Recording, recording, reply

MAPPING = """\
saphan_mapping: 1
application: LA/GOV/MOIC/trade
title: {en: Trade permits, lo: ໃບອະນຸຍາດ}
source:
  kind: http
  url: ${TRADE_URL}
  headers: {x-api-key: "${TRADE_KEY}"}
  basic: {user: saphan, password: "${TRADE_PASSWORD}"}
  failures_before_pause: 2
schemas:
  permit:
    type: object
    required: [number, goods]
    properties:
      number: {type: string}
      goods: {type: string, maxLength: 100}
    additionalProperties: false
services:
  permits:
    title: {en: Permits, lo: ໃບອະນຸຍາດ}
    endpoints:
      /permits/{number}:
        get:
          title: {en: One permit, lo: ໃບອະນຸຍາດໜຶ່ງ}
          backend: /permit/{number}/view.php?format=json
          parameters:
            number: {type: string, example: P-1}
            lang: {type: string, required: false, values: [lo, en], sent_as: ພາສາ}
          pass_headers: [x-road-client, exchange-purpose]
          set_headers: {x-caller: saphan}
          release_headers: [x-pages]
          answers:
            200: {media_types: [application/json], schema: permit}
            418: {as: 409, media_types: [application/json]}
      /search:
        get:
          title: {en: Search, lo: ຄົ້ນຫາ}
          backend: /find.php?q={words}
          parameters:
            words: {type: string, example: rice}
            year: {type: integer, minimum: 1975, maximum: 2100, required: false}
          answers:
            200: {media_types: [application/json]}
      /rates:
        get:
          title: {en: Rates, lo: ອັດຕາ}
          cache_s: 60
          answers:
            200: {media_types: [application/json, text/csv]}
      /permits:
        post:
          title: {en: Apply, lo: ຂໍ}
          backend: /apply
          body: {media_types: [application/json], schema: permit, max_bytes: 100}
          answers:
            201: {media_types: [application/json]}
            204: {}
"""
ENVIRON = {"TRADE_KEY": "secret-key", "TRADE_PASSWORD": "pa:ss"}


def mapped(text: str = MAPPING) -> Api:
    return read(parse(text.encode(), "trade.yaml"))


@pytest.fixture
async def backend() -> AsyncIterator[Recording]:
    async with recording() as running:
        yield running


@pytest.fixture
async def opened(backend: Recording) -> AsyncIterator[OpenApi]:
    api = mapped().open(ENVIRON | {"TRADE_URL": backend.url + "/v2"}, Path())
    yield api
    await api.close()


async def ask(
    opened: OpenApi, target: str, method: str = "GET", body: Body = b"", **fields: str
) -> BackendResponse[Body]:
    path, _, query = target.partition("?")
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    request = BackendRequest(method, path, query, headers, body)
    return await opened.backends["permits"].exchange(request, timeout_s=10)


def detail(answer: BackendResponse[Body]) -> Mapping[str, Any]:
    assert isinstance(answer.body, bytes)
    found: Mapping[str, Any] = orjson.loads(answer.body)
    return found


async def refused(opened: OpenApi, target: str, **fields: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await ask(opened, target, **fields)
    return caught.value


# The way to the backend.


async def test_a_request_is_what_the_mapping_says(opened: OpenApi, backend: Recording) -> None:
    """Path, query and fields are the mapping's; of the caller's fields only those named pass."""
    answer = await ask(
        opened,
        "/permits/%E0%BA%81%201?lang=lo",
        accept="application/json",
        x_road_client="LA/GOV/MOF/budget",
        exchange_subject="person:1",
        cookie="a=1",
        authorization="Bearer caller",
        x_caller="forged",
        x_api_key="forged",
        exchange_purpose="audit",
    )
    assert answer.status == 200
    (got,) = backend.got
    assert got.method == "GET"
    path = f"/v2/permit/{quote('ກ 1')}/view.php"
    assert got.target == f"{path}?format=json&{quote('ພາສາ')}=lo"
    assert dict(got.headers) == {
        "host": urlsplit(backend.url).netloc,
        "accept": "application/json",
        "x-road-client": "LA/GOV/MOF/budget",
        "exchange-purpose": "audit",
        "accept-encoding": "identity",
        "x-caller": "saphan",
        "x-api-key": "secret-key",
        "authorization": "Basic c2FwaGFuOnBhOnNz",
    }


@pytest.mark.parametrize(
    ("target", "status", "where"),
    [
        ("/permits/..", 404, "path"),
        ("/permits/%2e%2e", 404, "path"),
        ("/permits/a%2fb", 404, "path"),
        ("/permits/a%252fb", 404, "path"),
        ("/permits/a%0d%0ax", 404, "path"),
        ("/permits/%C2%85", 400, "path.number"),
        ("/permits/P-1?other=1", 400, "query.other"),
        ("/permits/P-1?lang=th", 400, "query.lang"),
        ("/permits/P-1?lang=lo&lang=en", 400, "query.lang"),
        ("/search", 400, "query.words"),
        ("/search?words=a%0d%0ab", 400, "query.words"),
        ("/search?words=a&year=1974", 400, "query.year"),
        ("/search?words=a&year=%31976%20", 400, "query.year"),
        ("/nothing", 404, "path"),
    ],
)
async def test_what_is_not_allowed_does_not_reach_the_backend(
    opened: OpenApi, backend: Recording, target: str, status: int, where: str
) -> None:
    """A fault of the caller is answered with its place."""
    answer = await ask(opened, target)
    assert (answer.status, detail(answer)["where"]) == (status, where)
    assert backend.got == []


async def test_other_methods_are_not_answered(opened: OpenApi, backend: Recording) -> None:
    """405 names the methods that are there; HEAD is GET without its body."""
    answer = await ask(opened, "/permits/P-1", "DELETE")
    assert (answer.status, dict(answer.headers)["allow"]) == (405, "GET, HEAD")
    answer = await ask(opened, "/permits/P-1", "HEAD")
    assert (answer.status, answer.body, backend.got[0].method) == (200, b"", "HEAD")


async def test_a_body_is_of_the_type_and_length_that_is_named(
    opened: OpenApi, backend: Recording
) -> None:
    """What is too long, of another type or not there at all is refused; a POST is sent once."""
    backend.answer = lambda got: reply(201)
    good = b'{"number": "P-2", "goods": "rice"}'
    answer = await ask(opened, "/permits", "POST", good, content_type="application/json")
    assert (answer.status, backend.got[0].body) == (201, good)
    for body, kind, status in (
        (b"x" * 101, "application/json", 413),
        (good, "text/plain", 415),
        (b"", "application/json", 400),
    ):
        answer = await ask(opened, "/permits", "POST", body, content_type=kind)
        assert answer.status == status
    assert (await ask(opened, "/permits/P-1", "GET", b"body")).status == 400
    backend.answer = lambda got: None
    with pytest.raises(Problem):
        await ask(opened, "/permits", "POST", good, content_type="application/json")
    assert len(backend.got) == 2


async def test_conditions_on_rows_are_refused(opened: OpenApi, backend: Recording) -> None:
    """Nobody here could apply them: no record leaves unjudged."""
    answer = await ask(opened, "/permits/P-1", exchange_rows='{"province":["LA-VT"]}')
    assert (answer.status, backend.got) == (503, [])


_HOSTILE = st.text(
    st.one_of(
        st.sampled_from("/\\.%?#&=;@:+ \r\n\x00\x85'\"<>{}~ກ"),
        st.characters(codec="utf-8", exclude_categories=("Cs",)),
    ),
    min_size=1,
    max_size=20,
) | st.sampled_from(["..", "../../admin", "%2e%2e", "%2f", "a%00", "//evil.example/", "@evil"])


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(number=_HOSTILE, words=_HOSTILE, year=_HOSTILE | st.integers(1975, 2100).map(str))
def test_no_value_changes_the_target(number: str, words: str, year: str) -> None:
    """Whatever stands in a path or a query: the backend is asked for the template's target with
    the value in its place, or not at all."""

    async def judge() -> None:
        async with recording() as backend:
            api = mapped().open(ENVIRON | {"TRADE_URL": f"{backend.url}/v2"}, Path())
            try:
                one = await ask(api, f"/permits/{quote(number, safe='')}", x_road_client=words)
                query = f"words={quote(words, safe='')}&year={quote(year, safe='')}"
                many = await ask(api, f"/search?{query}")
            except Problem as problem:
                assert problem.code is Code.BACKEND_NONSENSE  # noqa: PT017
                raise
            finally:
                await api.close()
            got = list(backend.got)
            assert backend.strange == []
            assert all(one.field("host") == [urlsplit(backend.url).netloc] for one in got)
            if one.status == 200:
                target = got.pop(0).target
                match = re.fullmatch(r"/v2/permit/([^/?#]+)/view\.php\?format=json", target)
                assert match is not None, target
                assert unquote(match[1]) == number
                assert number not in (".", "..")
            if many.status == 200:
                path, _, query = got.pop(0).target.partition("?")
                assert path == "/v2/find.php"
                assert query.split("&")[0].partition("=")[::2] == ("q", quote(words, safe=""))
                assert query.split("&")[1:] == [f"year={year}"]
            assert got == []

    asyncio.run(judge())


# The way back.


async def test_only_named_fields_of_an_answer_pass(opened: OpenApi, backend: Recording) -> None:
    """Cookies, servers' names and what nobody named stay inside."""
    backend.answer = lambda got: reply(
        etag='"1"', x_pages="3", set_cookie="a=1", server="old/1", location="/x", x_other="1"
    )
    answer = await ask(opened, "/permits/P-1")
    assert dict(answer.headers) == {
        "content-type": "application/json", "etag": '"1"', "x-pages": "3"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (reply(500, b"boom", "text/plain"), Code.SOURCE_FAILED),
        (reply(302, b"", None, location="http://127.0.0.1:1/"), Code.SOURCE_FAILED),
        (reply(401), Code.SOURCE_FAILED),
        (reply(403), Code.SOURCE_FAILED),
        (reply(206), Code.SOURCE_FAILED),
        (reply(304, b""), Code.SOURCE_FAILED),
        (reply(200, b"<h1>It works</h1>", "text/html"), Code.SOURCE_FAILED),
        (reply(200, b"{}", None), Code.SOURCE_FAILED),
        (reply(200, b"{}", content_encoding="gzip"), Code.SOURCE_FAILED),
        (reply(429, b"", None, retry_after="7"), Code.OVERLOADED),
        (reply(503, b"", None), Code.OVERLOADED),
        (b"220 smtp.example ESMTP\r\n\r\n", Code.BACKEND_NONSENSE),
    ],
)
async def test_answers_that_nobody_foresaw_stay_inside(
    opened: OpenApi, backend: Recording, sent: bytes, code: Code
) -> None:
    """A failure, a redirect, a login page: a problem, with nothing of the answer in it."""
    backend.answer = lambda got: sent
    problem = await refused(opened, "/permits/P-1")
    assert (problem.code, problem.where) == (code, "source")
    assert backend.url.partition("//")[2] not in problem.detail
    assert len(backend.got) == 1
    if b"retry-after" in sent:
        assert problem.facts["retry_after_s"] == 7


async def test_statuses_are_mapped(opened: OpenApi, backend: Recording) -> None:
    """A named status passes, as another if the mapping says so; 4xx keep their meaning."""
    backend.answer = lambda got: reply(418, b'{"why": "tea"}')
    answer = await ask(opened, "/permits/P-1")
    assert (answer.status, detail(answer)) == (409, {"why": "tea"})
    for status, expected in ((404, 404), (410, 404), (400, 400), (422, 422)):
        backend.answer = lambda got, status=status: reply(status, b"secret", "text/html")  # type: ignore[misc]
        answer = await ask(opened, "/permits/P-1")
        assert answer.status == expected
        assert b"secret" not in answer.body  # type: ignore[operator]


async def test_tags_are_the_backends(opened: OpenApi, backend: Recording) -> None:
    """If-None-Match reaches it, and its 304 the caller; a 200 of the same tag is 304, too."""
    backend.answer = lambda got: reply(304, b"", None, etag='"7"')
    answer = await ask(opened, "/permits/P-1", if_none_match='"7"')
    assert (answer.status, answer.headers, answer.body) == (304, (("etag", '"7"'),), b"")
    assert backend.got[0].field("if-none-match") == ['"7"']
    backend.answer = lambda got: reply(etag='W/"7"')
    assert (await ask(opened, "/permits/P-1", if_none_match='"7"')).status == 304
    assert (await ask(opened, "/permits/P-1", if_none_match='"8"')).status == 200


async def test_an_answer_is_kept_for_a_while(opened: OpenApi, backend: Recording) -> None:
    """One question for many callers, each told its age; other fields are another question."""
    backend.answer = lambda got: reply(body=b"\n[1]", etag='"1"')
    first = await ask(opened, "/rates")
    again = await ask(opened, "/rates")
    assert (first.body, again.body) == (b"\n[1]", b"\n[1]")
    assert (dict(first.headers)["cache-control"], dict(again.headers)["age"]) == (
        "private, max-age=60", "0"
    )  # fmt: skip
    assert (await ask(opened, "/rates", if_none_match='"1"')).status == 304
    assert (await ask(opened, "/rates", "HEAD")).body == b""
    assert len(backend.got) == 1
    await ask(opened, "/rates", accept="text/csv")
    assert len(backend.got) == 2


async def test_a_long_answer_goes_to_the_room(
    opened: OpenApi, backend: Recording, tmp_path: Path
) -> None:
    """It lies in a file, not in memory; what is longer than the caller takes is refused."""
    backend.answer = lambda got: reply(body=b'"' + b"x" * (3 << 20) + b'"')
    spools = Spools.open(tmp_path)
    room = spools.room()
    request = BackendRequest("GET", "/permits/P-1", "", (), b"", room)
    answer = await opened.backends["permits"].exchange(request, timeout_s=20)
    assert isinstance(answer.body, Spooled)
    assert len(answer.body) == (3 << 20) + 2
    room.end()
    spools.close()
    request = BackendRequest("GET", "/permits/P-1", "", (), b"", None, False, 1000)
    with pytest.raises(Problem) as caught:
        await opened.backends["permits"].exchange(request, timeout_s=20)
    assert caught.value.code is Code.RESPONSE_TOO_LARGE


async def test_a_backend_that_is_down_is_left_alone_for_a_while(
    opened: OpenApi, backend: Recording
) -> None:
    """After two failures nobody asks; the caller is told when to come again."""
    backend.answer = lambda got: reply(502)
    for _ in range(2):
        assert (await refused(opened, "/permits/P-1")).code is Code.SOURCE_FAILED
    problem = await refused(opened, "/permits/P-1")
    assert isinstance(problem, NotDelivered)
    assert problem.facts["retry_after_s"] == 1
    assert len(backend.got) == 2
    with pytest.raises(Problem):
        await opened.health(1.0)


async def test_more_requests_than_may_wait_are_turned_away(backend: Recording) -> None:
    """One connection, nobody waits for it: the second is told to come again."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    backend.asked, backend.go_on = asked, go_on
    text = MAPPING.replace(
        "  failures_before", "  max_connections: 1\n  max_waiting: 0\n  failures_before"
    )
    api = mapped(text).open(ENVIRON | {"TRADE_URL": backend.url}, Path())
    try:
        first = asyncio.create_task(ask(api, "/permits/P-1"))
        await asked.wait()
        assert (await refused(api, "/permits/P-2")).code is Code.OVERLOADED
        go_on.set()
        assert (await first).status == 200
    finally:
        await api.close()


def _certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trade")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .sign(key, SHA256())
    )
    path = folder / "trade.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return path


async def test_a_certificate_must_come_from_those_that_are_named(tmp_path: Path) -> None:
    """The file of ``ca`` is beside the mapping; without it the backend is a stranger."""
    path = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with recording(context) as backend:
        environ = ENVIRON | {"TRADE_URL": backend.url}
        known = mapped(MAPPING.replace("  failures_before", "  ca: trade.pem\n  failures_before"))
        api, stranger = known.open(environ, tmp_path), mapped().open(environ, tmp_path)
        try:
            assert (await ask(api, "/permits/P-1")).status == 200
            problem = await refused(stranger, "/permits/P-1")
            assert (problem.code, len(backend.got)) == (Code.BACKEND_UNREACHABLE, 1)
        finally:
            await api.close()
            await stranger.close()
        with pytest.raises(Problem) as caught:
            known.open(environ, tmp_path / "elsewhere")
        assert caught.value.code is Code.INVALID_MAPPING


# The file.


def test_the_document_says_what_passes() -> None:
    """It compiles; parameters, bodies and answers are those of the mapping."""
    document = mapped().document("permits", schemas.load_all())
    contract = Contract.compile(document, schemas.load_all())
    assert set(contract.endpoints()) == {
        ("GET", "/permits/{number}"), ("GET", "/search"), ("GET", "/rates"), ("POST", "/permits")
    }  # fmt: skip
    match = contract.find("GET", "/permits/P-1")
    match.operation.check_response(
        200, (("content-type", "application/json"),), b'{"number": "1", "goods": "x"}'
    )
    with pytest.raises(Problem):
        match.operation.check_response(
            200, (("content-type", "application/json"),), b'{"number": 1, "goods": "x"}'
        )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pass_headers: [x-road-client,", "pass_headers: [authorization,", "authorization"),
        ("release_headers: [x-pages]", "release_headers: [set-cookie]", "set-cookie"),
        ("set_headers: {x-caller: saphan}", "set_headers: {host: other}", "host"),
        ("backend: /permit/{number}/view.php", "backend: /permit/{other}/view.php", "other"),
        ("backend: /permit/{number}/view.php", "backend: /permit/../{number}", "dot segments"),
        (
            "backend: /permit/{number}/view.php",
            "backend: http://evil/{number}",
            "not have the form",
        ),
        ("backend: /find.php?q={words}", "backend: /find.php?q={words}{year}", "side by side"),
        ("backend: /find.php?q={words}", "backend: /find.php?q={words}&y={year}", "needs a value"),
        ("200: {media_types: [application/json], schema: permit}", "302: {}", "redirect"),
        ("schema: permit}\n            418", "schema: nothing}\n            418", "no schema"),
        (
            "          cache_s: 60",
            "          body: {media_types: [text/csv]}",
            "no meaning for GET",
        ),
        ("  failures_before_pause: 2", "  retries: 2", "unknown key"),
    ],
)
def test_a_mapping_that_would_not_hold_is_refused(old: str, new: str, words: str) -> None:
    """Fields of the connection, other origins, names that nobody declared."""
    assert old in MAPPING
    with pytest.raises(Problem) as caught:
        mapped(MAPPING.replace(old, new))
    assert caught.value.code is Code.INVALID_MAPPING
    assert words in caught.value.detail


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "http://u:p@x/", "http://x/?a=1", "http://x/#a", "http://:80/", "x"]
)
def test_an_address_is_an_origin_and_a_path(url: str) -> None:
    """Nothing else can be in it, and what the environment gave is not told."""
    with pytest.raises(Problem) as caught:
        mapped().open(ENVIRON | {"TRADE_URL": url}, Path())
    assert caught.value.code is Code.INVALID_MAPPING
    assert "u:p@x" not in caught.value.detail


async def test_a_check_asks_the_examples(backend: Recording) -> None:
    """Each GET with examples is asked and judged by its contract; nothing else is sent."""
    backend.answer = lambda got: reply(body=b'{"number": "P-1", "goods": 3}')
    how = Checking(schemas.load_all(), False, {}, lambda count: None)
    found = await mapped().check(ENVIRON | {"TRADE_URL": backend.url}, Path(), how)
    assert [(one.where, one.warning) for one in found] == [("permits GET /permits/{number}", False)]
    assert "/goods" in found[0].rule
    assert {got.method for got in backend.got} == {"GET"}
    assert [got.target for got in backend.got] == [
        "/", "/permit/P-1/view.php?format=json", "/find.php?q=rice", "/rates"
    ]  # fmt: skip
