"""A record holds what was signed exactly when its kind tells of a signed message.

Every way in which a server records is walked through with messages that real envelopes sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from exchange.journal.entries import Entry, parse_entry
from exchange.journal.sealed_parts import SealedPart
from exchange.keys import verifying_key
from exchange.messages.envelope import open_request, open_response
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from mediator.administration.metrics import Metrics
from mediator.journal.export import Chosen, make_export, unsigned, verify_export
from mediator.journal.log import Journal
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from mediator.message.records import Recorder
from mediator.message.stages import (
    Answered,
    Call,
    OpenedAnswer,
    OpenedCall,
    Received,
    Routed,
    SealedCall,
    SealedReply,
)
from mediator.xroad.fields import own_fields
from serving.clock import Clock, SystemClock
from tests.journal.exchanges import BODY, CLIENT, MOF, MPI, NONCE, SERVERS, SERVICE, World
from tests.journal.test_evidence import faults, folder_of
from tests.journal.world import QUICK, journal_in

REQUEST_ID = "5f0c"
REFUSED = Problem(Code.ACCESS_DENIED, where="agreement", detail="no agreement")
UNPROVEN = Problem(Code.INVALID_SIGNATURE, where="signature", detail="it is none")
SIGNED = (
    "call", "answer", "opening", "opening of what is refused", "reply", "signed refusal",
    "repeated reply",
)  # fmt: skip
UNSIGNED = (
    "refused request", "refused call", "failed call", "unproven answer", "refused message",
    "refused on the link", "event", "refusal at the handshake", "order", "decision",
)  # fmt: skip


class Records:
    """One journal with a record of each kind, by name; both sides in one."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: list[str] = []
        self.clock: Clock = SystemClock()
        """That of recording; messages are signed and judged at the world's time."""
        self.directory = world.journals[MOF]

    async def write(self) -> None:
        async with journal_in(self.directory, QUICK, f"{MOF}/journal") as journal:
            await self._write(journal)
        self.names += [*SIGNED, *UNSIGNED]
        self.world.journals = {MOF: self.directory}
        self.world.anchor()

    async def _write(self, journal: Journal) -> None:
        world, now = self.world, int(self.world.now.timestamp())
        recorder = Recorder(journal, SERVERS[MOF], self.clock, Metrics(), 1 << 20)
        later = world.now + timedelta(seconds=1)
        head, sent = world.request(1, NONCE)
        received_head = head.with_headers(sent.headers_to_add)
        answer, answered = world.answer(received_head, BODY)
        target = "/r1/" + head.target_uri.split("/r1/", 1)[1]
        call = Call(
            client=CLIENT, service=SERVICE, method="GET", target=target, path="/projects/1",
            query="", headers=head.headers, body=b"", message_id="LA-1",
            request_id=REQUEST_ID, trace="",
            purpose="national-budget", agreement="", wanted_server=None, accept="",
        )  # fmt: skip
        server = ServerRecord(SERVERS[MPI], "ss1.mpi.example:5500", (), None)
        sealed = SealedCall(Routed(call, (server,), "/projects/{id}"), server, head, sent, NONCE,
                            world.now)  # fmt: skip
        recorded = await recorder.call(sealed)
        came = Answered(recorded, answer.with_headers(answered.headers_to_add), BODY)
        keys = {
            world.key_of(member).keyid: verifying_key(world.seals[member].certificate)
            for member in (MOF, MPI)
        }
        opened = open_response(received_head, came.head, keys.__getitem__, now=now + 1)
        await recorder.answer(OpenedAnswer(came, opened, later))
        received = Received(SERVERS[MOF], received_head, target, b"")
        taken = OpenedCall(
            received=received, opened=open_request(received_head, keys.__getitem__, now=now),
            client=CLIENT, service=SERVICE, path="/projects/1", query="", message_id="LA-1",
            request_id=REQUEST_ID, trace="", purpose="national-budget", agreement="", repeats=False,
            at=world.now,
        )  # fmt: skip
        self.opening = opening = await recorder.opening(taken)
        await recorder.opening(taken._replace(refusal=REFUSED))
        reply = SealedReply(MPI, answer, BODY, answered, later)
        await recorder.reply(opening, reply, None, "mof-mpi", "/projects/{id}", claimed=True)
        await recorder.reply(opening, reply, REFUSED, "", "")
        await recorder.reply(opening, reply, None, "mof-mpi", "", repeated=True)
        headers = head.headers
        await recorder.refused_request(REFUSED, "GET", target, headers, CLIENT, "r-1")
        await recorder.refused_call(call, REFUSED)
        await recorder.failed_call(recorded, REFUSED, None)
        await recorder.failed_call(recorded, REFUSED, came)
        await recorder.refused_message(received, UNPROVEN)
        await recorder.refused_link(UNPROVEN, "GET", target, received_head.headers)
        await recorder.event("started")
        await recorder.event("handshake", REFUSED, client=CLIENT, refusals=3)
        await recorder.order("hidden", b"an order")
        await recorder.decision(CLIENT, "LA-1", "p", "la-nid:1", b"yes")

    def of(self, name: str) -> tuple[Entry, SealedPart | None]:
        reader, index = JournalReader(self.directory), self.names.index(name)
        entry = parse_entry(reader.entry(index))
        part = reader.open(entry, reader.ciphertext(index)).part if entry.sealed else None
        return entry._replace(sealed=None, commitment=None, subject=None), part


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    line = ("x-road-request-id", REQUEST_ID)
    world = World(tmp_path_factory.mktemp("records"), asked=(line,), answered=(line,))
    made = Records(world)
    asyncio.run(made.write())
    return made


def exported(directory: Path, world: World, target: Path) -> Path:
    reader = JournalReader(directory)
    chosen = [Chosen(reader, index) for index in range(reader.checkpoint.size)]
    return folder_of(unsigned(make_export(chosen, world.around())), target)


def test_no_honest_record_is_accused(records: Records, tmp_path: Path) -> None:
    """Of all that servers record: by the journal, by its export, and by the script alone."""
    assert len(records.names) == JournalReader(records.directory).checkpoint.size
    assert verify(records.directory).findings == ()
    path = exported(records.directory, records.world, tmp_path / "e")
    assert verify_export(path).findings == ()
    assert faults(path) == ""


async def test_an_empty_id_of_another_server_is_no_lie(tmp_path: Path) -> None:
    """It was signed so; the provider's entries have no id then. One that was signed is told."""
    world = World(tmp_path / "world", name="")
    now = int(world.now.timestamp())
    head, sent = world.request(1, NONCE)
    assert own_fields(head.headers)["x-road-id"] == ""
    received_head = head.with_headers(sent.headers_to_add)
    answer, answered = world.answer(received_head, BODY)
    key = verifying_key(world.seals[MOF].certificate)
    opened = open_request(received_head, {world.key_of(MOF).keyid: key}.__getitem__, now=now)
    target = "/r1/" + head.target_uri.split("/r1/", 1)[1]
    call = OpenedCall(
        received=Received(SERVERS[MOF], received_head, target, b""), opened=opened, client=CLIENT,
        service=SERVICE, path="/projects/1", query="", message_id="", request_id="", trace="",
        purpose="national-budget", agreement="", repeats=False,
    )  # fmt: skip
    directory = world.journals[MPI]
    async with journal_in(directory, QUICK, f"{MPI}/journal") as journal:
        recorder = Recorder(journal, SERVERS[MPI], SystemClock(), Metrics(), 1 << 20)
        opening = await recorder.opening(call)
        reply = SealedReply(MPI, answer, BODY, answered)
        await recorder.reply(opening, reply, None, "mof-mpi", "/projects/{id}")
        await recorder.reply(opening, reply, REFUSED, "", "")
    world.journals = {MPI: directory}
    world.anchor()
    assert verify(directory).findings == ()
    path = exported(directory, world, tmp_path / "e")
    assert verify_export(path).findings == ()
    assert faults(path) == ""


Lie = Callable[[Entry, SealedPart], tuple[Entry, SealedPart]]


def _part(**members: bytes) -> Lie:
    return lambda entry, part: (entry, part._replace(**members))  # type: ignore[arg-type]


def _without(member: str) -> Lie:
    return lambda entry, part: (entry._replace(**{member: None}), part)


def _uncovered(component: str) -> Lie:
    """One line less was signed."""

    def lie(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
        rows = [row for row in part.base.split(b"\n") if not row.startswith(component.encode())]
        name = component.strip('"').encode()
        headers = tuple(line for line in part.head.headers if line[0].encode() != name)
        return entry, part._replace(base=b"\n".join(rows), head=part.head._replace(headers=headers))

    return lie


LIES: dict[str, tuple[Lie, Code, str]] = {
    "no signed text": (_part(base=b"", signature=b""), Code.MISSING_SIGNATURE, "holds no"),
    "no signature": (_part(signature=b""), Code.MISSING_SIGNATURE, "holds no"),
    "a signature over nothing": (_part(base=b""), Code.MISSING_SIGNATURE, "holds no"),
    "no signature base": (_part(base=b"anything"), Code.MISSING_SIGNATURE, "is none"),
    "no digest": (_uncovered('"content-digest": '), Code.MISSING_SIGNATURE, "covers no"),
    **{
        f"no {member}": (_without(member), Code.JOURNAL_CORRUPT, "is missing")
        for member in ("client", "id", "method", "service")
    },
}
# Members that some messages tell, and the records of messages of the test that do.
SAID = {
    "purpose": ("call", "opening", "opening of what is refused"),
    "nonce": ("call", "opening", "opening of what is refused"),
    "request_id": ("call", "answer", "opening", "opening of what is refused", "reply"),
    "certificate": ("answer", "opening", "opening of what is refused", "reply", "repeated reply"),
}


@pytest.mark.parametrize(
    ("member", "name"), [(member, name) for member, names in SAID.items() for name in names]
)
def test_what_a_message_tells_is_said_in_clear(
    records: Records, tmp_path: Path, member: str, name: str
) -> None:
    """Who searches entries is not kept from one by a member that its server left out."""
    entry, part = records.of(name)
    journal = judged(records, tmp_path / "journal", entry._replace(**{member: None}), part)
    (found,) = verify(journal).findings
    assert (found.code, found.index) == (Code.JOURNAL_CORRUPT, 0)
    assert f"{member} of the entry is missing" in found.detail
    path = exported(journal, records.world, tmp_path / "e")
    assert found.code in {one.code for one in verify_export(path).findings}
    assert f"its {member} is missing" in faults(path)


def test_the_certificate_is_that_of_the_other_side(records: Records, tmp_path: Path) -> None:
    """A server cannot name its own, by which its own answer or request is signed too."""
    own = {"answer": MOF, "reply": MPI, "signed refusal": MPI}
    for name, member in own.items():
        entry, part = records.of(name)
        entry = entry._replace(certificate=records.world.key_of(member).keyid)
        journal = judged(records, tmp_path / name / "journal", entry, part)
        (found,) = verify(journal).findings
        assert found.detail == "certificate of the entry says other than what was signed"
        assert "certificate" in faults(exported(journal, records.world, tmp_path / name / "e"))


def test_a_signed_refusal_is_not_made_an_unsigned_one(records: Records, tmp_path: Path) -> None:
    """By leaving out of its entry the certificate that opened the message it refuses."""
    entry, part = records.of("signed refusal")
    assert part is not None
    entry = entry._replace(certificate=None)
    journal = judged(records, tmp_path / "journal", entry, part)
    (found,) = verify(journal).findings
    assert (found.code, found.index) == (Code.MISSING_SIGNATURE, 0)
    # With all that was signed left out, too: what refuses it is judged of proven messages alone.
    less = part._replace(base=b"", signature=b"")
    said = entry._replace(problem=Code.INVALID_SIGNATURE)
    for name, lie, told in (
        ("code", entry._replace(size=None, purpose=None), "AccessDenied refuses only"),
        ("said", said, "purpose, size is said only"),
    ):
        journal = judged(records, tmp_path / name, lie, less)
        for verdict in (verify(journal), verify(journal, tree_only=True)):
            (found,) = verdict.findings
            assert (found.code, found.index) == (Code.MISSING_SIGNATURE, 0)
            assert told in found.detail


CASES = [
    pytest.param(name, *lie, id=f"{name}: {what}") for name in SIGNED for what, lie in LIES.items()
]


def judged(records: Records, directory: Path, entry: Entry, part: SealedPart | None) -> Path:
    """A journal with this one record."""

    async def write() -> None:
        async with journal_in(directory, QUICK, f"{MOF}/journal") as journal:
            await journal.record(entry, MOF, part)

    asyncio.run(write())
    return directory


@pytest.mark.parametrize(("name", "lie", "code", "told"), CASES)
def test_a_signed_message_is_there_whole(
    records: Records, tmp_path: Path, name: str, lie: Lie, code: Code, told: str
) -> None:
    """A record of a signed message that lacks what was signed, or says less of it, is found."""
    entry, part = records.of(name)
    assert part is not None
    (found,) = verify(judged(records, tmp_path / "journal", *lie(entry, part))).findings
    assert (found.code, found.index) == (code, 0)
    assert told in found.detail


@pytest.mark.parametrize(("lie", "code", "told"), list(LIES.values()), ids=list(LIES))
def test_an_export_tells_the_same(
    records: Records, tmp_path: Path, lie: Lie, code: Code, told: str
) -> None:
    """With Saphan and with the script alone."""
    entry, part = records.of("answer")
    assert part is not None
    journal = judged(records, tmp_path / "journal", *lie(entry, part))
    path = exported(journal, records.world, tmp_path / "e")
    assert code in {one.code for one in verify_export(path).findings}
    assert told in faults(path)


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_nobody_signed_holds_no_signature(records: Records, tmp_path: Path, name: str) -> None:
    """A proven message is not hidden behind a record of one that could not be proven."""
    entry, part = records.of(name)
    _, signed = records.of("answer")
    assert signed is not None
    part = signed if part is None else part._replace(base=signed.base, signature=signed.signature)
    journal = judged(records, tmp_path / "journal", entry, part)
    (found,) = verify(journal).findings
    assert (found.code, found.index) == (Code.JOURNAL_CORRUPT, 0)
    assert "holds no signature" in found.detail
    assert "holds no signature" in faults(exported(journal, records.world, tmp_path / "e"))


@pytest.mark.parametrize(
    ("name", "other"), [("call", "answer"), ("answer", "call"), ("reply", "opening")]
)
def test_a_request_is_no_answer(records: Records, tmp_path: Path, name: str, other: str) -> None:
    """A server cannot present its own signed request as the answer that it got."""
    entry, _ = records.of(name)
    _, part = records.of(other)
    journal = judged(records, tmp_path / "journal", entry, part)
    (found,) = verify(journal).findings
    assert found.code is Code.MISSING_SIGNATURE
    assert "is none" in faults(exported(journal, records.world, tmp_path / "e"))


def test_an_entry_that_was_kept_alone_is_no_lie(records: Records, tmp_path: Path) -> None:
    """Retention may keep the entry alone; an export says that what was signed is not here."""
    entry, _ = records.of("answer")
    journal = judged(records, tmp_path / "journal", entry, None)
    assert verify(journal).good
    path = exported(journal, records.world, tmp_path / "e")
    assert faults(path) == ""
    assert any("entry alone" in note for note in verify_export(path).notes)
