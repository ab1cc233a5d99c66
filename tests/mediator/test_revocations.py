"""Rules of mediator.revocation and its store, over real sockets, with openssl as the judge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from certs import responder
from certs.authority import DevelopmentAuthority, create_development_pki
from certs.issue import Issued, Issuer
from certs.revocation import make_crl, revoke, revoked_by
from console.reference_world.processes import free_ports
from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import ServerId
from exchange.problems import Code, Problem, Text
from exchange.registrations import Environment, InstanceRecord
from exchange.trust.admission import admit_member
from exchange.trust.state import RegistryState
from mediator.administration.metrics import Metrics
from mediator.background.revocation import Revocations
from mediator.journal.evidence import FILE, EvidenceReader, EvidenceStore
from mediator.journal.log import Journal
from mediator.message.records import Recorder
from mediator.settings import RevocationMode, RevocationSettings
from tests.certs.pki import MPI, days, development_authority, issuer_of, openssl, write_pem
from tests.journal.world import STILL, journal_in
from tests.registry.simulator import member_record

TODAY = datetime.now(UTC).replace(microsecond=0)
MPI_SS1 = ServerId.parse("LA/GOV/MPI/ss1")
DAY = 86400.0
Answer = Callable[[web.Request, bytes], Awaitable[web.Response]]


@dataclass(slots=True)
class SetClock:
    """A clock that a test moves: ``pass_`` lets time go by, ``offset_s`` sets the machine's."""

    passed_s: float = 0.0
    offset_s: float = 0.0

    def unix(self) -> float:
        return TODAY.timestamp() + self.passed_s + self.offset_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.unix(), UTC)

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    def pass_(self, seconds: float) -> None:
        self.passed_s += seconds


@dataclass(slots=True)
class Ca:
    """A development authority whose services a test can break."""

    pki: DevelopmentAuthority
    clock: SetClock
    signer: Issuer
    asked: list[str] = field(default_factory=list)
    broken: dict[str, Answer] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append(request.path)
        if request.path in self.broken:
            return await self.broken[request.path](request, body)
        revoked = revoked_by(self.pki.directory)
        if request.path == "/crl":
            return web.Response(body=make_crl(self.pki, revoked, self.clock.now()))
        issuer = self.pki.issuer.certificate
        return web.Response(
            body=responder.respond(body, issuer, self.signer, revoked, self.clock.now())
        )


@dataclass(slots=True)
class Setting:
    """A server's statuses, its journal, and the authority."""

    ca: Ca
    clock: SetClock
    folder: Path
    journal: Journal
    state: RegistryState
    seal: Issued
    auth: Issued
    open: list[EvidenceStore] = field(default_factory=list)

    def statuses(self, own: tuple[str, ...] = (), **settings: Any) -> Revocations:
        """The statuses of a server that has just started."""
        for store in self.open:
            store.close()
        self.open = [EvidenceStore.create(self.folder)]
        recorder = Recorder(self.journal, MPI_SS1, self.clock, Metrics(), 1024)
        limits = RevocationSettings(**({"max_age_s": DAY, "timeout_s": 5.0} | settings))
        state = lambda: self.state  # noqa: E731
        return Revocations(state, own, self.open[0], recorder, self.clock, limits)

    def entries(self) -> list[dict[str, Any]]:
        """What the journal holds about revocation."""
        since = TODAY - timedelta(days=1000)
        return [one for one in self.journal.recent(since) if one.get("event") == "revocation"]

    @property
    def keyid(self) -> str:
        return fingerprint_of(self.seal.certificate)


def state_of(pki: DevelopmentAuthority, seal: Issued, auth: Issued) -> RegistryState:
    record = member_record(MPI)
    server = replace(record.servers[0], auth_certificates=(auth.certificate,))
    record = replace(record, seal_certificates=(seal.certificate,), servers=(server,))
    authorities = tuple(pki.authorities)
    instance = InstanceRecord("LA", Environment.DEVELOPMENT, Text("x", "x"), authorities, ())
    return RegistryState.build(
        instance,
        [admit_member(record, instance, TODAY)],
        openapi={},
        schemas={},
        version=1,
        expires=TODAY + days(1),
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Setting]:
    clock = SetClock()
    (tmp_path / "j").mkdir()
    answering: list[Ca] = []
    application = web.Application()

    async def handle(request: web.Request) -> web.Response:
        return await answering[0].handle(request)

    application.router.add_route("*", "/{path}", handle)
    async with TestServer(application) as server, journal_in(tmp_path / "j", STILL) as journal:
        url = str(server.make_url("/")).rstrip("/")
        pki = create_development_pki(tmp_path / "pki", "LA", at=TODAY, services_url=url)
        answering.append(Ca(pki, clock, issuer_of(pki.issue_ocsp(at=TODAY))))
        seal = pki.issue_seal(MPI, at=TODAY)
        auth = pki.issue_auth(MPI_SS1, ["127.0.0.1"], at=TODAY, days=90)
        state = state_of(pki, seal, auth)
        setting = Setting(answering[0], clock, tmp_path / "j", journal, state, seal, auth)
        yield setting
        for store in setting.open:
            store.close()


async def learn(statuses: Revocations) -> None:
    """One round of the endless task."""
    await statuses.follow()
    await statuses.refresh()
    await statuses.note()


def refused(statuses: Revocations, keyid: str) -> Problem:
    with pytest.raises(Problem) as caught:
        statuses.check(keyid, "place")
    assert caught.value.where == "place"
    return caught.value


async def failing(request: web.Request, body: bytes) -> web.Response:
    return web.Response(status=503)


# --- what is asked, relied on and kept -----------------------------------------------------------


async def test_certificates_are_asked_about_ahead_and_kept_when_used(world: Setting) -> None:
    """Every registered certificate is known before its first use; evidence is of those used."""
    statuses = world.statuses()
    await learn(statuses)
    assert world.ca.asked == ["/ocsp", "/ocsp"]
    assert (statuses.report()["certificates"], statuses.report()["answered"]) == (2, 2)
    assert list(world.open[0].statements()) == world.entries() == []
    statuses.check(world.keyid, "place")
    await learn(statuses)
    statuses.check(world.keyid, "place")
    await learn(statuses)
    (kept,) = world.open[0].statements()
    (entry,) = world.entries()
    assert entry["certificate"] == kept.certificate == world.keyid
    assert entry["evidence"] == kept.digest == sha256(kept.der).hexdigest()
    assert (entry["kind"], "problem" in entry, kept.entry) == ("system", False, 0)
    assert statuses.report()["ok"]


async def test_openssl_reads_what_is_kept(tmp_path: Path, world: Setting) -> None:
    """From a copy of the file alone: `openssl ocsp` says good of the kept certificate."""
    statuses = world.statuses()
    await learn(statuses)
    statuses.check(world.keyid, "place")
    await learn(statuses)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / FILE).write_bytes((world.folder / FILE).read_bytes())
    with contextlib.closing(EvidenceReader.open(copy)) as reader:
        statement = reader.statement(world.keyid, world.clock.unix())
        chain = reader.chain(world.keyid)
    assert statement is not None
    assert chain == (world.seal.certificate, world.ca.pki.issuer.certificate)
    cert, issuing = write_pem(tmp_path / "c", chain[0]), write_pem(tmp_path / "i", chain[1])
    root, answer = write_pem(tmp_path / "r", world.ca.pki.root), tmp_path / "answer"
    answer.write_bytes(statement.der)
    judged = openssl(
        "ocsp", "-issuer", issuing, "-cert", cert, "-no_nonce", "-respin", answer,
        "-CAfile", root, "-verify_other", issuing,
    )  # fmt: skip
    assert b"Response verify OK" in judged.stderr, judged.stderr
    assert b": good" in judged.stdout


async def test_each_answer_that_is_relied_on_is_kept(world: Setting) -> None:
    """An answer is asked for anew before it ends, and kept when it is used: at the time of use."""
    statuses = world.statuses(refresh_s=3600.0)
    await learn(statuses)
    for hour in range(3):
        statuses.check(world.keyid, "place")
        await learn(statuses)
        assert len(world.entries()) == hour + 1
        world.clock.pass_(3601)
        await learn(statuses)
    times = [kept.fetched_at for kept in world.open[0].statements()]
    assert [round(at - times[0]) for at in times] == [0, 3601, 7202]
    found = world.open[0].statement(world.keyid, times[1] + 10)
    assert found is not None
    assert found.fetched_at == times[1]
    early = world.open[0].statement(world.keyid, times[0] - 10)
    assert early is not None
    assert early.fetched_at == times[0]


async def test_a_crash_between_evidence_and_entry_is_made_good(world: Setting) -> None:
    """What was kept without an entry gets one when it is used again."""
    statuses = world.statuses()
    await learn(statuses)
    statuses.check(world.keyid, "place")
    await world.journal.close()
    with pytest.raises(Problem):
        await statuses.note()
    (kept,) = world.open[0].statements()
    assert kept.entry is None
    async with journal_in(world.folder, STILL) as world.journal:
        restarted = world.statuses()
        await restarted.follow()
        restarted.check(world.keyid, "place")
        await restarted.note()
        (kept,) = world.open[0].statements()
        assert (kept.entry, len(world.entries())) == (0, 1)


# --- revoked -------------------------------------------------------------------------------------


async def test_a_revoked_certificate_is_refused_from_the_next_answer_on(world: Setting) -> None:
    """The refusal names time and reason; the answer is evidence, too."""
    statuses = world.statuses(refresh_s=60.0)
    await learn(statuses)
    statuses.check(world.keyid, "place")
    revoke(world.ca.pki, world.seal.certificate, "keyCompromise", TODAY)
    statuses.check(world.keyid, "place")
    before = statuses.generation
    world.clock.pass_(61)
    await learn(statuses)
    problem = refused(statuses, world.keyid)
    assert problem.code is Code.CERTIFICATE_REVOKED
    assert "keyCompromise" in problem.detail
    assert statuses.generation == before + 1
    await learn(statuses)
    assert world.entries()[-1]["problem"] == "CertificateRevoked"
    report = statuses.report()
    assert (report["ok"], report["revoked"]) == (True, [f"seal {MPI}"])
    statuses.check(fingerprint_of(world.auth.certificate), "place")


async def test_report_tells_and_lets_pass(world: Setting) -> None:
    """Mode ``report`` counts what ``enforce`` would have refused."""
    revoke(world.ca.pki, world.seal.certificate, "superseded", TODAY)
    statuses = world.statuses(mode=RevocationMode.REPORT)
    await learn(statuses)
    statuses.check(world.keyid, "place")
    assert (statuses.passed, statuses.revoked) == (1, 1)


async def test_an_own_revoked_certificate_is_an_alarm(world: Setting) -> None:
    """Its peers refuse it: this server's operator has to act."""
    revoke(world.ca.pki, world.auth.certificate, "superseded", TODAY)
    statuses = world.statuses(own=(fingerprint_of(world.auth.certificate),))
    await learn(statuses)
    assert not statuses.report()["ok"]
    assert f"auth {MPI_SS1}" in statuses.report()["problem"]


async def test_what_is_said_of_own_certificates_is_always_kept(world: Setting) -> None:
    """Others rely on them: this server's own journal tells what was known when it signed."""
    statuses = world.statuses(own=(world.keyid,))
    await learn(statuses)
    (entry,) = world.entries()
    assert entry["certificate"] == world.keyid


async def test_an_older_answer_does_not_undo_a_revocation(world: Setting) -> None:
    """Whoever replays the last good answer achieves nothing."""
    statuses = world.statuses(refresh_s=60.0)
    old: dict[bytes, bytes] = {}

    async def remembering(request: web.Request, body: bytes) -> web.Response:
        issuer = world.ca.pki.issuer.certificate
        old[body] = responder.respond(body, issuer, world.ca.signer, (), world.clock.now())
        return web.Response(body=old[body])

    async def replaying(request: web.Request, body: bytes) -> web.Response:
        return web.Response(body=old[body])

    world.ca.broken = {"/ocsp": remembering, "/crl": failing}
    await learn(statuses)
    revoke(world.ca.pki, world.seal.certificate, "keyCompromise", TODAY)
    world.ca.broken = {}
    world.clock.pass_(61)
    await learn(statuses)
    refused(statuses, world.keyid)
    world.ca.broken = {"/ocsp": replaying, "/crl": failing}
    world.clock.pass_(61)
    await learn(statuses)
    assert refused(statuses, world.keyid).code is Code.CERTIFICATE_REVOKED
    assert "older than what was said before" in "".join(statuses.report()["waiting"])


async def test_a_restart_remembers_what_is_revoked(world: Setting) -> None:
    """Before the first message, and without anybody to ask."""
    revoke(world.ca.pki, world.seal.certificate, "keyCompromise", TODAY)
    statuses = world.statuses()
    await learn(statuses)
    refused(statuses, world.keyid)
    await learn(statuses)
    world.ca.broken = {"/ocsp": failing, "/crl": failing}
    restarted = world.statuses()
    await restarted.follow()
    assert refused(restarted, world.keyid).code is Code.CERTIFICATE_REVOKED


# --- outages -------------------------------------------------------------------------------------


async def test_an_outage_is_soft_alarmed_and_bounded(world: Setting) -> None:
    """Messages pass on the last answer for max_age_s, with an alarm; then they are refused."""
    statuses = world.statuses(refresh_s=60.0, alarm_s=300.0, max_age_s=DAY)
    await learn(statuses)
    world.ca.broken = {"/ocsp": failing, "/crl": failing}
    world.clock.pass_(61)
    await learn(statuses)
    assert statuses.report()["ok"]
    world.clock.pass_(301)
    await learn(statuses)
    report = statuses.report()
    assert (report["ok"], len(report["waiting"])) == (False, 2)
    assert "503" in report["waiting"][0]
    statuses.check(world.keyid, "place")
    world.clock.pass_(DAY)
    await learn(statuses)
    problem = refused(statuses, world.keyid)
    assert (problem.code, problem.status) == (Code.CERTIFICATE_STATUS_UNKNOWN, 503)
    world.ca.broken = {}
    world.clock.pass_(3600)
    await learn(statuses)
    statuses.check(world.keyid, "place")
    assert (statuses.report()["ok"], statuses.waits_s) == (True, 0.0)


async def test_nobody_ever_answered(world: Setting) -> None:
    """A server that never heard anything has the same time, and a restart does not prolong it."""
    world.ca.broken = {"/ocsp": failing, "/crl": failing}
    statuses = world.statuses()
    await learn(statuses)
    statuses.check(world.keyid, "place")
    world.clock.pass_(DAY + 1)
    assert refused(statuses, world.keyid).code is Code.CERTIFICATE_STATUS_UNKNOWN


async def test_a_restart_does_not_prolong_the_last_answer(world: Setting) -> None:
    """Its age counts from when it came."""
    statuses = world.statuses(refresh_s=60.0)
    await learn(statuses)
    statuses.check(world.keyid, "place")
    await learn(statuses)
    world.ca.broken = {"/ocsp": failing, "/crl": failing}
    world.clock.pass_(DAY - 100)
    restarted = world.statuses()
    await learn(restarted)
    restarted.check(world.keyid, "place")
    world.clock.pass_(200)
    assert refused(restarted, world.keyid).code is Code.CERTIFICATE_STATUS_UNKNOWN


@pytest.mark.parametrize("jump_s", [30 * DAY, -30 * DAY])
async def test_a_clock_that_jumps_ends_nothing(world: Setting, jump_s: float) -> None:
    """Answers look ended or early, which is an outage with an alarm; then all is well again."""
    statuses = world.statuses(refresh_s=60.0, alarm_s=0.0)
    await learn(statuses)
    world.clock.offset_s = jump_s
    good = replace(world.ca, clock=SetClock())

    async def rightly(request: web.Request, body: bytes) -> web.Response:
        good.clock.passed_s = world.clock.passed_s
        return await good.handle(request)

    world.ca.broken = {"/ocsp": rightly, "/crl": rightly}
    for _ in range(3):
        world.clock.pass_(61)
        await learn(statuses)
        statuses.check(world.keyid, "place")
    assert not statuses.report()["ok"]
    assert any(part in statuses.report()["waiting"][0] for part in ("ended at", "to come"))
    world.clock.offset_s = 0
    world.clock.pass_(61)
    await learn(statuses)
    statuses.check(world.keyid, "place")
    assert statuses.report()["ok"]


# --- answers that are none -----------------------------------------------------------------------


async def nonsense(request: web.Request, body: bytes) -> web.Response:
    return web.Response(body=b"<html>sorry</html>")


async def too_long(request: web.Request, body: bytes) -> web.Response:
    return web.Response(body=bytes(100_000))


async def of_another_authority(request: web.Request, body: bytes) -> web.Response:
    other = development_authority("other", TODAY)
    signer = issuer_of(other.issue_ocsp(at=TODAY))
    return web.Response(body=responder.respond(body, other.issuer.certificate, signer, (), TODAY))


async def out_of_date(request: web.Request, body: bytes) -> web.Response:
    signer = development_authority("other", TODAY).issuer
    return web.Response(
        body=responder.respond(body, signer.certificate, signer, (), TODAY - days(2))
    )


async def redirect(request: web.Request, body: bytes) -> web.Response:
    raise web.HTTPFound("/elsewhere")


BAD = [failing, nonsense, too_long, of_another_authority, out_of_date, redirect]


@pytest.mark.parametrize("bad", BAD, ids=lambda each: each.__name__)
async def test_after_a_bad_answer_the_list_is_asked(world: Setting, bad: Answer) -> None:
    """OCSP first; then the list, fetched once for all certificates of a round."""
    revoke(world.ca.pki, world.seal.certificate, "keyCompromise", TODAY)
    world.ca.broken = {"/ocsp": bad}
    statuses = world.statuses()
    await learn(statuses)
    assert sorted(world.ca.asked) == ["/crl", "/ocsp", "/ocsp"]
    assert refused(statuses, world.keyid).code is Code.CERTIFICATE_REVOKED
    statuses.check(fingerprint_of(world.auth.certificate), "place")
    await learn(statuses)
    kept = list(world.open[0].statements())
    assert {each.kind for each in kept} == {"crl"}
    assert len({each.digest for each in kept}) == 1
    assert [entry["evidence"] for entry in world.entries()] == [kept[0].digest] * 2


async def test_a_responder_that_hangs_holds_nothing_up(world: Setting) -> None:
    """After its time the list is asked; a message never waits."""
    release = asyncio.Event()

    async def hanging(request: web.Request, body: bytes) -> web.Response:
        await release.wait()
        return web.Response()

    world.ca.broken = {"/ocsp": hanging}
    statuses = world.statuses(timeout_s=0.5)
    await statuses.follow()
    task = asyncio.create_task(statuses.refresh())
    await asyncio.sleep(0)
    statuses.check(world.keyid, "place")
    while statuses.report()["answered"] < 2:
        await task
        world.clock.pass_(3600)  # this machine was slow: once more
        task = asyncio.create_task(statuses.refresh())
    await task
    release.set()


async def test_a_damaged_store_is_told_and_a_bad_kept_answer_not_believed(
    tmp_path: Path, world: Setting
) -> None:
    """Kept answers are judged again at a restart; a file that is no store is a problem."""
    statuses = world.statuses()
    await learn(statuses)
    statuses.check(world.keyid, "place")
    await learn(statuses)
    world.open[0]._connection.execute("UPDATE documents SET der = x'3000'")
    world.ca.broken = {"/ocsp": failing, "/crl": failing}
    restarted = world.statuses()
    await restarted.follow()
    assert restarted.report()["answered"] == 0
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(Problem) as caught:
        EvidenceReader.open(tmp_path / "bad")
    assert caught.value.code is Code.JOURNAL_CORRUPT


# --- whom to ask, and the endless task -----------------------------------------------------------


async def test_a_certificate_that_names_nobody_is_never_refused(world: Setting) -> None:
    """There the registry alone says what counts; a responder of the settings may be asked."""
    plain = development_authority("plain", TODAY)
    seal, auth = plain.issue_seal(MPI, at=TODAY), plain.issue_auth(MPI_SS1, ["h"], at=TODAY)
    world.state = state_of(plain, seal, auth)
    statuses = world.statuses()
    await learn(statuses)
    world.clock.pass_(1000 * DAY)
    statuses.check(fingerprint_of(seal.certificate), "place")
    assert (world.ca.asked, statuses.report()["name_nobody_to_ask"]) == ([], 2)
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    asking = world.statuses(ocsp_url=url)
    await learn(asking)
    assert asking.report()["name_nobody_to_ask"] == 0
    assert all(url in each for each in asking.report()["waiting"])


async def test_the_task_follows_the_registry_and_wakes_on_use(world: Setting) -> None:
    """A certificate that the registry has just named is asked about when it is first used."""
    statuses = world.statuses(own=())

    async def until(met: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not met():  # noqa: ASYNC110 - the state is another task's
                await asyncio.sleep(0.01)

    task = asyncio.create_task(statuses.run())
    try:
        await until(lambda: statuses.report()["answered"] == 2)
        statuses.check(world.keyid, "place")
        await until(lambda: len(world.entries()) == 1)
        seal = world.ca.pki.issue_seal(MPI, at=TODAY)
        revoke(world.ca.pki, seal.certificate, "superseded", TODAY)
        world.state = state_of(world.ca.pki, seal, world.auth)
        statuses.check(fingerprint_of(seal.certificate), "place")
        await until(lambda: statuses.revoked == 1)
        assert refused(statuses, fingerprint_of(seal.certificate))
    finally:
        task.cancel()
        await asyncio.wait([task])
