"""A SOAP service that fails: a clear problem, the other services go on, and it recovers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Event, current_thread, main_thread

import pytest

from adapters.soap.messages import Version, parse_answer
from console.reference_world.trade_portal.service import Portal, TradePortal, answer_envelope
from exchange.problems import Code, Problem
from serving.backends import NotDelivered
from tests.adapters.trade import ENQUIRY, MAPPING, Asker, asking, wrapped

ONE = "/procedures/EXP-COF-01"
S11 = Version.SOAP_11.value


class Odd:
    """A server that answers each request with the bytes that ``reply`` gives; None hangs up.

    ``requests`` are the bodies that came, ``held`` makes it wait with every answer.
    """

    def __init__(self, reply: Callable[[bytes], bytes | None]) -> None:
        self.reply = reply
        self.requests: list[bytes] = []
        self.heads: list[bytes] = []
        self.held: asyncio.Event | None = None
        self.came = asyncio.Event()
        self.hangs_up = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0] or 0)
                self.heads.append(head.lower())
                self.requests.append(await reader.readexactly(length))
                self.came.set()
                if self.held is not None:
                    await self.held.wait()
                answer = self.reply(self.requests[-1])
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if self.hangs_up:
                    break
        writer.close()


@asynccontextmanager
async def _odd(reply: Callable[[bytes], bytes | None]) -> AsyncIterator[tuple[Odd, str]]:
    odd = Odd(reply)
    server = await asyncio.start_server(odd.serve, "127.0.0.1", 0)
    try:
        yield odd, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        if odd.held is not None:
            odd.held.set()
        server.close()


def _http(
    body: bytes, status: int = 200, kind: str = "text/xml", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n\r\n"
    return head.encode() + body


def _right(request: bytes) -> bytes:
    return _http(answer_envelope(Portal(), request)[1])


def _fault(code: str, detail: str = "") -> bytes:
    fault = (
        f"<s:Fault><faultcode>s:{code}</faultcode><faultstring>Mr X</faultstring>{detail}</s:Fault>"
    )
    return f"<s:Envelope xmlns:s='{S11}'><s:Body>{fault}</s:Body></s:Envelope>".encode()


def _record(inside: str) -> bytes:
    body = f"<GetProcedureResponse xmlns='urn:la:moic:trade:1'>{inside}</GetProcedureResponse>"
    return f"<s:Envelope xmlns:s='{S11}'><s:Body>{body}</s:Body></s:Envelope>".encode()


PAGE = b"<html><body>Service unavailable, ask Mr X</body></html>"
BAD = {
    "a page with 200": (_http(PAGE, kind="text/html"), Code.BACKEND_NONSENSE),
    "a page with 503": (_http(PAGE, 503, "text/html"), Code.BACKEND_NONSENSE),
    "refused": (_http(b"", 401), Code.BACKEND_NONSENSE),
    "moved": (_http(b"", 302), Code.BACKEND_NONSENSE),
    "empty": (_http(b""), Code.BACKEND_NONSENSE),
    "truncated XML": (_http(_record("<procedure>")[:-30]), Code.BACKEND_NONSENSE),
    "attachments": (_http(b"--x", kind='multipart/related; boundary="x"'), Code.BACKEND_NONSENSE),
    "cut off": (_http(b"<s:Envelope", length=500), Code.BACKEND_NONSENSE),
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", Code.BACKEND_NONSENSE),
    "huge": (_http(b"", length=1 << 40), Code.RESPONSE_TOO_LARGE),
    "a fault of its own": (_http(_fault("Server"), 500), Code.SOURCE_FAILED),
    "a fault with 200": (_http(_fault("Server")), Code.SOURCE_FAILED),
    "another message": (_http(_record("").replace(b"Procedure", b"Other")),
                        Code.RESPONSE_SCHEMA_VIOLATION),
    "a record that lacks members": (_http(_record("<procedure><code>1</code></procedure>")),
                                    Code.RESPONSE_SCHEMA_VIOLATION),
    "two records for one": (_http(_record("<procedure/><procedure/>")), Code.RESPONSE_TOO_LARGE),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_right_answer_is_a_clear_problem(name: str) -> None:
    """With a code that tells who must act; nothing that came is told."""
    answer, code = BAD[name]
    async with _odd(lambda request: answer) as (odd, address), asking(address) as asker:
        odd.hangs_up = name == "cut off"
        with pytest.raises(Problem) as caught:
            await asker.get(ONE)
        assert caught.value.code is code
        assert "Mr X" not in f"{caught.value} {caught.value.facts}"


async def test_a_service_that_is_not_there_was_not_asked() -> None:
    """Certain that nothing was delivered: a call that writes may be made again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
        async with asking(address) as asker:
            with pytest.raises(NotDelivered) as caught:
                await asker.post(ENQUIRY)
            assert caught.value.code is Code.BACKEND_UNREACHABLE
            assert "127.0.0.1" not in str(caught.value)
            with pytest.raises(Problem):
                await asker.opened.health(5)


async def test_a_slow_service_ends_at_the_callers_time() -> None:
    """And it is answered as soon as it is quick again."""
    async with _odd(_right) as (odd, address), asking(address) as asker:
        odd.held = asyncio.Event()
        with pytest.raises(Problem) as caught:
            await asker.get(ONE, timeout_s=0.2)
        assert caught.value.code is Code.BACKEND_TIMEOUT
        odd.held.set()
        assert (await asker.get(ONE)).status == 200


async def test_an_answer_that_is_longer_than_allowed_is_cut() -> None:
    """`max_bytes` of the mapping, whatever the service announces."""
    more = _record("<procedure>" + "<x/>" * 2_000 + "</procedure>")
    async with (
        _odd(lambda request: _http(more)) as (_, address),
        asking(address, "  max_bytes: 2000\n") as asker,
    ):
        with pytest.raises(Problem) as caught:
            await asker.get(ONE)
        assert caught.value.code is Code.RESPONSE_TOO_LARGE


async def test_no_more_records_than_allowed_are_given() -> None:
    """`max_rows` of the mapping."""
    with TradePortal() as portal:
        async with asking(portal.address, "  max_rows: 2\n") as asker:
            with pytest.raises(Problem) as caught:
                await asker.get("/procedures")
            assert caught.value.code is Code.RESPONSE_TOO_LARGE
            assert (await asker.get("/procedures?most=2")).status == 200


async def test_a_call_that_reads_is_repeated_when_a_kept_connection_was_dropped() -> None:
    """One that writes is not: nobody knows whether it was done."""
    async with _odd(_right) as (odd, address), asking(address) as asker:
        assert (await asker.get(ONE)).status == 200
        dropped = iter([None])
        odd.reply = lambda request: next(dropped, _right(request))
        assert (await asker.get(ONE)).status == 200
        assert len(odd.requests) == 3
        dropped = iter([None])
        with pytest.raises(Problem):
            await asker.post(ENQUIRY)
        assert len(odd.requests) == 4


async def test_a_service_that_stays_down_is_left_alone_for_a_while() -> None:
    """After so many failures nothing is sent; the problem tells when to ask again."""
    async with (
        _odd(lambda request: None) as (odd, address),
        asking(address, "  failures_before_pause: 2\n") as asker,
    ):
        for _ in range(2):
            with pytest.raises(Problem):
                await asker.get(ONE)
        asked = len(odd.requests)
        with pytest.raises(NotDelivered) as caught:
            await asker.get(ONE)
        assert caught.value.facts["retry_after_s"] == 1
        assert len(odd.requests) == asked


async def test_faults_and_faulty_records_do_not_stop_the_others() -> None:
    """Whoever answers is there: a bad question of one caller is no failure of the service."""
    reply = _http(_fault("Server"), 500)
    async with (
        _odd(lambda request: reply) as (odd, address),
        asking(address, "  failures_before_pause: 1\n") as asker,
    ):
        for _ in range(3):
            with pytest.raises(Problem) as caught:
                await asker.get(ONE)
            assert caught.value.code is Code.SOURCE_FAILED
        odd.reply = _right
        assert (await asker.get(ONE)).status == 200


async def test_the_hour_has_a_budget() -> None:
    """`max_statements_per_hour`: more calls are told when the next hour begins; kept answers go."""
    with TradePortal() as portal:
        async with asking(portal.address, "  max_statements_per_hour: 2\n") as asker:
            assert (await asker.get("/tariff/0901")).status == 200
            assert (await asker.get(ONE)).status == 200
            with pytest.raises(NotDelivered) as caught:
                await asker.get(ONE)
            assert caught.value.code is Code.OVERLOADED
            assert 0 < int(str(caught.value.facts["retry_after_s"])) <= 3600
            assert (await asker.get("/tariff/0901")).status == 200


async def test_no_more_calls_run_at_once_than_allowed() -> None:
    """One runs, one waits, a third is refused at once."""
    async with _odd(_right) as (odd, address):
        odd.held = asyncio.Event()
        async with asking(address, "  max_connections: 1\n  max_waiting: 1\n") as asker:
            first = asyncio.create_task(asker.get(ONE))
            await odd.came.wait()
            second = asyncio.create_task(asker.get(ONE))
            await asyncio.sleep(0)
            with pytest.raises(Problem) as caught:
                await asker.get(ONE)
            assert caught.value.code is Code.OVERLOADED
            assert len(odd.requests) == 1
            odd.held.set()
            assert [(await one).status for one in (first, second)] == [200, 200]


async def test_what_is_mapped_of_faults_is_told() -> None:
    """`busy` is asked again later, `invalid` is the caller's; the order is the fault's."""
    text = MAPPING.read_text("utf-8").replace(
        "{UnknownProcedure: not_found}", "{Server.Full: busy, Client.Bad: invalid}"
    )
    reply = b""
    async with _odd(lambda request: reply) as (_, address), asking(address, text=text) as asker:
        reply = _http(_fault("Server.Full"), 500)
        with pytest.raises(Problem) as caught:
            await asker.get(ONE)
        assert caught.value.code is Code.OVERLOADED
        reply = _http(_fault("Client.Bad"), 500)
        assert (await asker.get(ONE)).status == 400


async def test_a_long_answer_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are answered meanwhile; a short one is not worth a thread."""
    threads = []

    def spy(data: bytes, version: Version, kind: str) -> object:
        threads.append(current_thread() is main_thread())
        return parse_answer(data, version, kind)

    monkeypatch.setattr("adapters.soap.messages.parse_answer", spy)
    steps = b"<step number='1'><title lang='en'>x</title></step>" * 5_000
    short = answer_envelope(Portal(), _request())[1]
    replies = iter([short, short.replace(b"<form>", steps + b"<form>")])
    async with (
        _odd(lambda request: _http(next(replies))) as (_, address),
        asking(address) as asker,
    ):
        assert (await asker.get(ONE)).status == 200
        assert len((await asker.get(ONE)).body) > 200_000
    assert threads == [True, False]


async def test_a_reading_that_nobody_waits_for_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More are refused, not queued, until it ends; another source is answered meanwhile."""
    reading, may_read = Event(), Event()

    def slow(data: bytes, version: Version, kind: str) -> object:
        reading.set()
        assert may_read.wait(60)
        return parse_answer(data, version, kind)

    steps = b"<step number='1'><title lang='en'>x</title></step>" * 5_000
    short = answer_envelope(Portal(), _request())[1]
    reply = _http(short.replace(b"<form>", steps + b"<form>"))
    async with (
        _odd(lambda request: reply) as (odd, address),
        asking(address, "  max_connections: 1\n  max_waiting: 0\n") as asker,
        _odd(_right) as (_, other),
        asking(other) as beside,
    ):
        with monkeypatch.context() as patched:
            patched.setattr("adapters.soap.messages.parse_answer", slow)
            gone = asyncio.create_task(asker.get(ONE))
            assert await asyncio.to_thread(reading.wait, 60)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
        with pytest.raises(NotDelivered) as refused:
            await asker.get(ONE)
        assert refused.value.code is Code.OVERLOADED
        assert len(odd.requests) == 1
        assert (await beside.get(ONE)).status == 200
        may_read.set()
        async with asyncio.timeout(60):
            while True:
                with suppress(NotDelivered):
                    assert (await asker.get(ONE)).status == 200
                    break
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("key", "head", "body"),
    [
        ("token: ${SECRET}", b"authorization: bearer pa55\r\n", b""),
        ("basic: {user: a, password: '${SECRET}'}", b"authorization: basic ytpwytu1\r\n", b""),
        ("wsse: {user: a, password: '${SECRET}'}", b"", b">pa55</wsse:Password>"),
    ],
)
async def test_the_adapter_tells_who_it_is(key: str, head: bytes, body: bytes) -> None:
    """In HTTP or in the envelope; the secret is the environment's."""
    async with _odd(_right) as (odd, address):
        environ = {"SECRET": "pa55", "TRADE_PORTAL_URL": address}
        opened = wrapped(f"  {key}\n").open(environ, Path())
        try:
            assert (await Asker(opened).get(ONE)).status == 200
        finally:
            await opened.close()
        assert head in odd.heads[0]
        assert (b"authorization:" in odd.heads[0]) == bool(head)
        assert body in odd.requests[0]
        assert b'\nsoapaction: "urn:la:moic:trade:1#getprocedure"\r\n' in odd.heads[0]


def test_a_secret_that_no_field_can_hold_is_told_at_the_start() -> None:
    """A line break of the environment does not become a field of the request."""
    environ = {"SECRET": "a\r\nx: y", "TRADE_PORTAL_URL": "http://127.0.0.1:9/"}
    with pytest.raises(Problem) as caught:
        wrapped("  token: ${SECRET}\n").open(environ, Path())
    assert caught.value.code is Code.INVALID_MAPPING


def _request() -> bytes:
    body = "<GetProcedure xmlns='urn:la:moic:trade:1'><code>EXP-COF-01</code></GetProcedure>"
    return f"<s:Envelope xmlns:s='{S11}'><s:Body>{body}</s:Body></s:Envelope>".encode()
