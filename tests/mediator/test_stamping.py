"""Rules of mediator.stamping: real authorities over real sockets, openssl's own among them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from certs.issue import Issued, private_key_pem
from certs.stamper import StamperKey, respond
from console.reference_world.processes import free_ports
from exchange.evidence.timestamps import MAX_TOKEN_BYTES, check_token, format_request
from exchange.problems import Text
from exchange.registrations import Environment, InstanceRecord, TimestampAuthority
from mediator.background.stamping import DRIFT_S, Authority, Stamping, authorities_of
from mediator.journal.anchors import AnchorStore
from mediator.settings import StampingSettings
from tests.certs.pki import days, development_authority, openssl, write_pem
from tests.exchange.test_timestamps import CONFIGURATION
from tests.world.clock import ShiftedClock

TODAY = datetime.now(UTC)
PKI = development_authority("of this week", TODAY - days(4))
FOREIGN = development_authority("foreign", TODAY)
TRUSTED = tuple(PKI.authorities)
Answering = Callable[[bytes], bytes]


@cache
def tsa() -> Issued:
    return PKI.issue_tsa(at=TODAY)


def good(issued: Issued | None = None, shift: timedelta = timedelta()) -> Answering:
    """An authority of ours, whose clock may be wrong."""
    issued = issued or tsa()
    key: StamperKey = issued.private_key  # type: ignore[assignment]
    chain = [PKI.issuer.certificate]
    serials = iter(range(1, 1000))

    def answer(query: bytes) -> bytes:
        at = datetime.now(UTC) + shift
        return respond(query, key, issued.certificate, chain, at, next(serials))

    return answer


@dataclass(slots=True)
class Tsa:
    """An authority over HTTP; what it answers can be changed."""

    answering: Answering
    url: str = ""
    asked: int = 0
    delay: asyncio.Event | None = None

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.delay is not None:
            await self.delay.wait()
        body = await asyncio.to_thread(self.answering, await request.read())
        return web.Response(body=body, content_type="application/timestamp-reply")

    def authority(self, *listed: Any) -> Authority:
        return Authority(self.url, TRUSTED, listed)


@asynccontextmanager
async def served(*answering: Answering) -> AsyncIterator[list[Tsa]]:
    """Authorities that answer over HTTP."""
    authorities = [Tsa(each) for each in answering]
    application = web.Application()
    for number, each in enumerate(authorities):
        application.router.add_post(f"/{number}", each.handle)
    async with TestServer(application) as server:
        for number, each in enumerate(authorities):
            each.url = str(server.make_url(f"/{number}"))
        yield authorities
        for each in authorities:
            if each.delay is not None:
                each.delay.set()


@dataclass(slots=True)
class Log:
    """Anchors of a log that grows, and the stamping of them."""

    anchors: AnchorStore
    authorities: list[Authority] = field(default_factory=list)
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    size: int = 0

    def grow(self, by: int = 10) -> None:
        self.size += by
        note = f"log\n{self.size}\nroot\n\n— log AAAAAAAA\n".encode()
        self.anchors.add(self.size, note, self.clock.unix())

    def stamping(self, **settings: Any) -> Stamping:
        limits = StampingSettings(**({"timeout_s": 5.0, "alarm_s": 0.0} | settings))
        return Stamping(self.anchors, lambda: self.authorities, self.clock, limits)

    def stamped(self) -> dict[int, list[str]]:
        """Which anchors have tokens, and of whom; each is checked again."""
        found: dict[int, list[str]] = {}
        for anchor in self.anchors.all():
            for token in anchor.tokens:
                check_token(token.der, sha256(anchor.text).digest(), TRUSTED)
                found.setdefault(anchor.size, []).append(token.authority)
        return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    anchors = AnchorStore.create(tmp_path)
    yield Log(anchors)
    anchors.close()


async def test_one_stamp_covers_all_before_it(log: Log) -> None:
    """The newest anchor is stamped; every entry is covered by it, and it is not stamped twice."""
    async with served(good()) as (one,):
        log.authorities = [one.authority()]
        stamping = log.stamping()
        for _ in range(5):
            log.grow()
        assert await stamping.stamp()
        assert log.stamped() == {50: [one.url]}
        covering = log.anchors.covering(0, stamped=True)
        assert covering is not None
        assert covering.size == 50
        assert await stamping.stamp()
        assert (one.asked, stamping.stamped_size, stamping.report()["ok"]) == (1, 50, True)


async def test_openssl_verifies_what_is_kept(tmp_path: Path, log: Log) -> None:
    """`openssl ts -verify` over the note text, with nothing but the files."""
    async with served(good()) as (one,):
        log.authorities = [one.authority()]
        log.grow()
        await log.stamping().stamp()
    anchor = log.anchors.latest()
    assert anchor is not None
    text, token = tmp_path / "text", tmp_path / "token.der"
    text.write_bytes(anchor.text)
    token.write_bytes(anchor.tokens[0].der)
    root = write_pem(tmp_path / "root.pem", PKI.root)
    issuing = write_pem(tmp_path / "issuing.pem", PKI.issuer.certificate)
    verify = ("ts", "-verify", "-in", token, "-token_in", "-CAfile", root, "-untrusted", issuing)
    assert b"Verification: OK" in openssl(*verify, "-data", text).stdout
    text.write_bytes(anchor.text + b"\n")
    assert openssl(*verify, "-data", text).returncode != 0


async def test_a_foreign_authority_stamps(tmp_path: Path, log: Log) -> None:
    """openssl's own authority (`openssl ts -reply`) serves as well as ours."""
    issued = tsa()
    assert issued.private_key is not None
    configuration = tmp_path / "tsa.cnf"
    configuration.write_text(
        CONFIGURATION.format(folder=tmp_path, digest="sha256", ess="sha256"), "utf-8"
    )
    (tmp_path / "serial").write_text("2A\n")
    (tmp_path / "key.pem").write_bytes(private_key_pem(issued.private_key))
    write_pem(tmp_path / "tsa.pem", issued.certificate)
    write_pem(tmp_path / "chain.pem", PKI.issuer.certificate)

    def foreign(query: bytes) -> bytes:
        (tmp_path / "q.tsq").write_bytes(query)
        made = openssl(
            *("ts", "-reply", "-config", configuration, "-queryfile", tmp_path / "q.tsq"),
            *("-inkey", tmp_path / "key.pem", "-signer", tmp_path / "tsa.pem"),
            *("-chain", tmp_path / "chain.pem", "-out", tmp_path / "r.tsr"),
        )
        assert made.returncode == 0, made.stderr
        return (tmp_path / "r.tsr").read_bytes()

    async with served(foreign) as (one,):
        log.authorities = [one.authority(issued.certificate)]
        log.grow()
        assert await log.stamping(timeout_s=20.0).stamp()
    assert log.stamped() == {10: [one.url]}


def expired() -> Answering:
    """An authority that goes on with a certificate that has ended."""
    return good(PKI.issue_tsa(at=TODAY - days(3), days=1))


def replayed() -> Answering:
    """A good token for another request, again and again."""
    answer = good()(format_request(sha256(b"other").digest(), 1 << 70))
    return lambda query: answer


def other_nonce() -> Answering:
    """A token over the right imprint that answers an earlier request."""
    answers: list[bytes] = []

    def answer(query: bytes) -> bytes:
        answers.append(good()(query))
        return answers[0]

    return answer


def refusing(query: bytes) -> bytes:
    return good()(b"")


BAD: dict[str, Callable[[], Answering]] = {
    "nonsense": lambda: lambda query: b"<html>sorry</html>",
    "nothing": lambda: lambda query: b"",
    "too long": lambda: lambda query: bytes(MAX_TOKEN_BYTES + 1),
    "cut": lambda: lambda query: good()(query)[:-1],
    "another imprint": replayed,
    "an expired certificate": expired,
    "an unknown authority": lambda: good(FOREIGN.issue_tsa(at=TODAY)),
    "a certificate for something else": lambda: good(PKI.issue_ocsp(at=TODAY)),
    "a refusal": lambda: refusing,
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_good_token_is_not_kept(log: Log, kind: str) -> None:
    """Each wrong answer is told of its authority, and the next one in turn is asked."""
    async with served(BAD[kind](), good()) as (bad, other):
        log.authorities = [bad.authority(), other.authority()]
        log.grow()
        stamping = log.stamping()
        assert await stamping.stamp()
        assert (bad.asked, other.asked) == (1, 1)
        assert log.stamped() == {10: [other.url]}
        first, second = stamping.report()["authorities"]
        assert first["failures"] == 1
        assert first["problem"]
        assert (second["stamps"], "problem" in second) == (1, False)


async def test_an_earlier_answer_is_not_taken_for_a_new_one(log: Log) -> None:
    """The nonce binds a token to its request."""
    async with served(other_nonce()) as (one,):
        log.authorities = [one.authority()]
        log.grow()
        anchor = log.anchors.latest()
        stamping = log.stamping()
        assert await stamping.stamp()
        log.grow()
        assert not await stamping.stamp()
        assert anchor is not None
        assert list(log.stamped()) == [anchor.size]


async def test_only_the_listed_certificate_stamps_for_an_address(log: Log) -> None:
    """Where the registry lists a certificate, another one of the same authority is not taken."""
    async with served(good()) as (one,):
        log.authorities = [one.authority(PKI.issue_tsa(at=TODAY).certificate)]
        log.grow()
        assert not await log.stamping().stamp()
        log.authorities = [one.authority(tsa().certificate)]
        assert await log.stamping().stamp()


async def test_an_authority_that_is_too_slow_is_passed_over(log: Log) -> None:
    """After its time the next one is asked; what comes later is nobody's."""
    async with served(good(), good()) as (slow, other):
        slow.delay = asyncio.Event()
        log.authorities = [slow.authority(), other.authority()]
        log.grow()
        stamping = log.stamping(timeout_s=1.0)
        while not await stamping.stamp():
            assert other.asked  # this machine was slow, too
        slow.delay.set()
        assert log.stamped() == {10: [other.url]}


async def test_authorities_take_turns(log: Log) -> None:
    """Each stamp begins with the next one: nobody's word alone is in the evidence."""
    async with served(good(), good()) as (one, two):
        log.authorities = [one.authority(), two.authority()]
        stamping = log.stamping()
        for _ in range(3):
            log.grow()
            assert await stamping.stamp()
        assert log.stamped() == {10: [one.url], 20: [two.url], 30: [one.url]}


async def test_after_an_outage_one_stamp_is_enough(log: Log) -> None:
    """Nothing is stamped while nobody answers, which is an alarm; then one token covers all."""
    log.authorities = [Authority(f"http://127.0.0.1:{free_ports(1)[0]}/", TRUSTED)]
    stamping = log.stamping()
    for _ in range(20):
        log.grow()
        assert not await stamping.stamp()
    assert log.stamped() == {}
    report = stamping.report()
    assert (report["ok"], report["waiting_s"] >= 0, stamping.waits_s > 0) == (False, True, True)
    async with served(good()) as (one,):
        log.authorities = [one.authority()]
        assert await stamping.stamp()
        assert (one.asked, stamping.waits_s, stamping.report()["ok"]) == (1, 0.0, True)
    covering = log.anchors.covering(0, stamped=True)
    assert covering is not None
    assert covering.size == 200


async def test_a_restart_knows_since_when_stamps_are_missing(log: Log) -> None:
    """The alarm does not begin anew with the process."""
    log.clock.offset_s = -7200
    log.grow()
    log.clock.offset_s = 0
    log.authorities = [Authority(f"http://127.0.0.1:{free_ports(1)[0]}/", TRUSTED)]
    stamping = log.stamping(alarm_s=3600)
    assert not await stamping.stamp()
    assert 7200 <= stamping.waits_s < 7300
    assert not stamping.report()["ok"]


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
async def test_a_clock_that_jumps_stops_nothing(log: Log, jump: timedelta) -> None:
    """Tokens are kept, of all authorities, with an alarm; when the clock is right again it ends."""
    async with served(good(), good()) as (one, two):
        log.authorities = [one.authority(), two.authority()]
        stamping = log.stamping(alarm_s=3600)
        log.grow()
        log.clock.offset_s = jump.total_seconds()
        assert await stamping.stamp()
        assert log.stamped() == {10: sorted([one.url, two.url])}
        report = stamping.report()
        assert not report["ok"]
        assert abs(report["drift_s"] + jump.total_seconds()) < DRIFT_S
        assert stamping.waits_s == 0
        log.clock.offset_s = 0
        log.grow()
        assert await stamping.stamp()
        assert len(log.stamped()[20]) == 1
        assert stamping.report()["ok"]


async def test_an_authority_with_a_wrong_clock_is_not_alone(log: Log) -> None:
    """Its token is kept, and another authority's with the right time beside it."""
    async with served(good(shift=timedelta(hours=1)), good()) as (wrong, right):
        log.authorities = [wrong.authority(), right.authority()]
        log.grow()
        stamping = log.stamping()
        assert await stamping.stamp()
        assert log.stamped() == {10: sorted([wrong.url, right.url])}
        assert stamping.report()["ok"]


async def test_nobody_to_ask_is_no_alarm(log: Log) -> None:
    """An instance that lists no authority has no stamps, and says whom it asks: nobody."""
    log.grow()
    stamping = log.stamping()
    assert await stamping.stamp()
    assert stamping.report()["ok"]
    assert stamping.report()["authorities"] == []


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_the_task_follows_the_log_by_itself(log: Log) -> None:
    """New anchors are stamped as they come, also after failures, until it is cancelled."""
    async with served(lambda query: b"", good()) as (bad, one):
        log.authorities = [bad.authority()]
        stamping = log.stamping(interval_s=0.05)
        async with running(stamping.run()), asyncio.timeout(60):
            for size in (10, 20, 30):
                await asyncio.to_thread(log.grow)
                while log.size == 10 and bad.asked < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                log.authorities = [one.authority()]
                while stamping.stamped_size != size:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert log.stamped()[size] == [one.url]


def test_whom_to_ask() -> None:
    """The settings' authorities, else the registry's; both certificates of a roll-over; or none."""
    first, second = tsa().certificate, PKI.issue_tsa(at=TODAY + days(1)).certificate
    url = "http://tsa.example/"
    record = InstanceRecord(
        "LA",
        Environment.DEVELOPMENT,
        Text("x", "x"),
        TRUSTED,
        (TimestampAuthority(url, first), TimestampAuthority(url, second)),
    )
    settings = StampingSettings()
    assert list(authorities_of(settings, [], record)) == [Authority(url, TRUSTED, (first, second))]
    chosen = [Authority("http://other.example/", TRUSTED)]
    assert authorities_of(settings, chosen, record) == chosen
    assert authorities_of(StampingSettings(enabled=False), chosen, record) == ()
