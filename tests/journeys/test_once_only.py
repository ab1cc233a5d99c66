"""Ask once, end to end: a portal's server fetches elements from three sources at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from exchange.journal.entries import parse_entry
from exchange.journal.subjects import tag
from exchange.keys import verifying_key
from exchange.once_only.elements import parse_duration
from exchange.once_only.evidence_requests import HEADER, Explicit, Statutory, parse_basis
from exchange.problems import Code
from mediator.journal.index import Hit, IndexReader, Query, search
from mediator.journal.keyring import KeyRing
from mediator.journal.reader import JournalReader
from mediator.own_keys import origin_of
from tests.world import sources
from tests.world.portal import Portal, running
from tests.world.small import Answer, exchange, wait_published
from tests.world.sources import ADDRESSES, CERTIFICATES, NID, OFFICE, PERSONS, SourceWorld

EVERYWHERE = ("person.name", "school.certificate", "person.village")


@pytest.fixture(scope="module")
def built() -> Iterator[SourceWorld]:
    with sources.source_world() as world:
        yield world


@pytest.fixture
def world(built: SourceWorld) -> SourceWorld:
    """The world with sources that behave, and nothing seen yet."""
    built.sources.script.clear()
    built.sources.seen.clear()
    built.sources.fields.clear()
    return built


def hits(world: SourceWorld, server: Any, **conditions: Any) -> list[Hit]:
    running = world.world.servers[server]
    wait_published(running)
    reader = IndexReader.open(running.journal / "index.sqlite", origin_of(server))
    try:
        return search([reader], Query(**conditions), 100).hits[::-1]
    finally:
        reader.close()


def values(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {one["element"]: one["value"] for one in answer.json["values"]}


def missing(answer: Answer) -> dict[str, str]:
    assert answer.status == 200, answer.body
    for one in answer.json["missing"]:
        assert one["message"]["en"]
        assert one["message"]["lo"]
    return {one["element"]: one["reason"] for one in answer.json["missing"]}


def test_three_sources_answer_one_request_with_provenance(world: SourceWorld) -> None:
    """Each value says who gave it, when, until when it holds, and in which exchange: four records
    of each stand in the two journals, and the proof of each can be fetched."""
    answer = world.ask(*EVERYWHERE)
    assert values(answer) == {
        "person.name": "ສົມສີ",
        "school.certificate": "C-1",
        "person.village": "ໂພນສະອາດ",
    }
    assert (answer.json["missing"], answer.json["state"]) == ([], "given")
    found = answer.json["values"]
    assert [one["source"] for one in found] == [str(PERSONS), str(CERTIFICATES), str(ADDRESSES)]
    assert found[0]["valid_until"] > found[0]["at"]
    for one in found:
        for server in (sources.PORTAL_SERVER, sources.SOURCES_SERVER):
            recorded = hits(world, server, id=one["exchange"]["id"])
            assert [hit.kind for hit in recorded] == ["request", "response"]
            assert {hit.request_id for hit in recorded} == {one["exchange"]["request_id"]}
    proof = exchange(world.url, "GET", found[0]["exchange"]["proof"], {})
    assert (proof.status, proof.headers["content-type"]) == (200, "application/zip")


def test_only_the_fields_that_are_needed_are_asked_for(world: SourceWorld) -> None:
    """Elements of one record share an exchange; a source that lets callers pick fields gives no
    other; a predicate is answered without its record."""
    answer = world.ask("person.name", "person.birth-date", "person.is-adult")
    assert values(answer)["person.is-adult"] is True
    assert sorted(world.sources.seen) == [
        "/persons/ZQ7715500042/adult",
        "/persons/ZQ7715500042?fields=name,birth_date",
    ]


def test_the_ground_is_signed_and_kept_on_both_sides(world: SourceWorld) -> None:
    """The source hears on which ground, subject and purpose; both journals keep it sealed, under
    the signature, and found by the subject. What is signed proves it alone: who asked whom, when,
    about whom and why, and no value."""
    answer = world.ask("person.name")
    exchange_id = answer.json["values"][0]["exchange"]["id"]
    heard = world.sources.fields[-1]
    assert heard["exchange-subject"] == NID
    assert heard["exchange-purpose"] == sources.PURPOSE
    basis = parse_basis(heard[HEADER])
    assert isinstance(basis, Explicit)
    assert basis.reference == "e-services/2026/17"
    for server in (sources.PORTAL_SERVER, sources.SOURCES_SERVER):
        first, *_ = hits(world, server, id=exchange_id)
        journal = JournalReader(world.world.servers[server].journal)
        entry = parse_entry(journal.entry(first.index))
        part = journal.open(entry, journal.ciphertext(first.index)).part
        assert f'"{HEADER}": {heard[HEADER]}'.encode() in part.base
        assert heard[HEADER].encode() not in journal.entry(first.index)
        seal = world.world.server_of(sources.DGC).seals[sources.DGC].certificate
        verifying_key(seal).verify(part.signature, part.base)  # no other part of the exchange
        for told in (str(sources.PORTAL), str(PERSONS), NID, sources.PURPOSE, ";created="):
            assert told.encode() in part.base
        assert "ສົມສີ".encode() not in part.base
    law = "ກົດໝາຍວ່າດ້ວຍການສຶກສາ"
    statutory = {"kind": "statutory", "legal_basis": law}
    mixed = world.ask("person.name", "school.certificate", request=statutory)
    assert missing(mixed) == {"school.certificate": "NotAllowed"}  # on a person's request alone
    assert mixed.json["missing"][0]["code"] == Code.REQUEST_BASIS_MISSING
    assert values(mixed)
    assert parse_basis(world.sources.fields[-1][HEADER]) == Statutory(law)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"certificates": "two"}, "Ambiguous"),
        ({"certificates": "none"}, "NotFound"),
        ({"certificates": "broken"}, "Unavailable"),
    ],
)
def test_one_source_that_fails_spoils_no_other(
    world: SourceWorld, script: dict[str, str | float], reason: str
) -> None:
    """Two records, none, a failure: a reason for its own elements, and the others are there."""
    world.sources.script |= script
    answer = world.ask(*EVERYWHERE)
    assert missing(answer) == {"school.certificate": reason}
    metrics = exchange(
        world.world.servers[sources.PORTAL_SERVER].url("admin"), "GET", "/metrics", {}
    )
    assert f'saphan_evidence_elements_total{{outcome="{reason}"}}'.encode() in metrics.body
    assert values(answer).keys() == {"person.name", "person.village"}
    (told,) = answer.json["missing"]
    assert told["exchange"]["id"]
    assert ("until" in told) is (reason == "Unavailable")


def test_a_slow_source_is_left_after_its_own_bound(world: SourceWorld) -> None:
    """It is unavailable, with the time to ask again; its exchange is recorded as a failure; the
    others were answered."""
    world.sources.script["addresses"] = "held"
    world.sources.released.clear()
    try:
        answer = world.ask(*EVERYWHERE, wait_s=1.0)
    finally:
        world.sources.released.set()
    assert missing(answer) == {"person.village": "Unavailable"}
    (told,) = answer.json["missing"]
    assert told["code"] == Code.PEER_TIMEOUT
    assert told["retry_after_s"] > 0
    recorded = hits(world, sources.PORTAL_SERVER, id=told["exchange"]["id"])
    assert [hit.kind for hit in recorded] == ["request", "failure"]
    assert len(values(answer)) == 2


def test_what_is_not_allowed_is_told_by_the_source(world: SourceWorld) -> None:
    """A purpose that no agreement lists, an application without one: refused and recorded there; a
    field that is not released leaves its own element out and no other of its record."""
    assert set(missing(world.ask(*EVERYWHERE, purpose="curiosity")).values()) == {"NotAllowed"}
    body = sources.request(*EVERYWHERE)
    other = world.call("POST", "/evidence", body, client=str(OFFICE))
    assert set(missing(other).values()) == {"NotAllowed"}
    (told, *_) = other.json["missing"]
    assert told["code"] == Code.ACCESS_DENIED
    assert hits(world, sources.SOURCES_SERVER, id=told["exchange"]["id"])[-1].kind == "refusal"
    mixed = world.ask("person.income", "person.name", "person.birth-date")
    assert missing(mixed) == {"person.income": "NotAllowed"}
    assert mixed.json["missing"][0]["code"] == Code.FIELD_NOT_RELEASED
    assert values(mixed).keys() == {"person.name", "person.birth-date"}


def test_a_value_that_is_none_is_not_passed_on(world: SourceWorld) -> None:
    """What breaks the schema of its element is not given as if it were one."""
    world.sources.script["persons"] = "wrong"
    answer = world.ask("person.name", "person.birth-date")
    assert missing(answer) == {"person.birth-date": "Unavailable"}
    assert answer.json["missing"][0]["code"] == Code.RESPONSE_SCHEMA_VIOLATION
    assert values(answer).keys() == {"person.name"}


def test_a_subject_that_no_record_can_have_is_not_found(world: SourceWorld) -> None:
    """It breaks the source's own rule for identifiers, and is not sent."""
    assert missing(world.ask("person.village", subject="la-nid:x")) == {
        "person.village": "NotFound"
    }
    assert world.sources.seen == []


def test_a_person_sees_and_declines(world: SourceWorld) -> None:
    """The preview waits; what is declined is not given again; the decision is in the journal, found
    by the subject, with its text sealed; the same again gets the same, another one is refused."""
    shown = world.ask(*EVERYWHERE, preview=True)
    assert shown.json["state"] == "preview"
    identifier = shown.json["id"]
    path = f"/evidence/{identifier}"
    assert world.call("GET", path).json["values"] == shown.json["values"]
    assert world.call("GET", path, client=str(OFFICE)).status == 404
    partial = world.call("POST", f"{path}/decision", {"decisions": {"person.name": "accept"}})
    assert (partial.status, partial.json["where"]) == (400, "body#/decisions")
    said = dict.fromkeys(EVERYWHERE, "accept") | {"person.village": "decline"}
    decided = world.call("POST", f"{path}/decision", {"decisions": said})
    assert decided.json["state"] == "decided"
    assert missing(decided) == {"person.village": "Declined"}
    assert "ໂພນສະອາດ".encode() not in decided.body
    assert world.call("POST", f"{path}/decision", {"decisions": said}).json == decided.json
    assert world.call("GET", path).json == decided.json
    again = world.call("POST", f"{path}/decision", {"decisions": dict.fromkeys(said, "accept")})
    assert again.status == 409
    (hit,) = [one for one in hits(world, sources.PORTAL_SERVER, id=identifier) if one.event]
    journal = JournalReader(world.world.servers[sources.PORTAL_SERVER].journal)
    entry = parse_entry(journal.entry(hit.index))
    assert (entry.event, str(entry.client)) == ("evidence decided", str(sources.PORTAL))
    assert b"village" not in journal.entry(hit.index)
    keys = KeyRing(journal.directory / "keys").index_keys()
    assert entry.subject in {tag(key, NID.lower()) for _, key in keys}
    text = journal.open(entry, journal.ciphertext(hit.index)).part.body
    assert b'"declined":["person.village"]' in text


def test_a_preview_survives_a_restart_and_is_read_by_nobody(world: SourceWorld) -> None:
    """Shown again and decided by the next run, and recorded once; in none of the files of both
    servers is a value, the subject or the decision to be read."""
    server = world.world.servers[sources.PORTAL_SERVER]
    shown = world.ask(*EVERYWHERE, preview=True).json
    path = f"/evidence/{shown['id']}"
    server.process.stop()
    world.world.start(sources.PORTAL_SERVER)
    again = world.call("GET", path).json
    assert (again["state"], again["values"]) == ("preview", shown["values"])
    said = dict.fromkeys(EVERYWHERE, "accept") | {"person.village": "decline"}
    decided = world.call("POST", f"{path}/decision", {"decisions": said}).json
    server.process.stop()
    world.world.start(sources.PORTAL_SERVER)
    assert world.call("POST", f"{path}/decision", {"decisions": said}).json == decided
    other = dict.fromkeys(EVERYWHERE, "accept")
    assert world.call("POST", f"{path}/decision", {"decisions": other}).status == 409
    (_,) = [one for one in hits(world, sources.PORTAL_SERVER, id=shown["id"]) if one.event]
    secrets = [text.encode() for text in ("ສົມສີ", "ໂພນສະອາດ", NID.partition(":")[2], "declined")]
    secrets += [text.encode("unicode-escape") for text in ("ສົມສີ", "ໂພນສະອາດ")]
    for each in world.world.servers.values():
        files = [file for file in (each.folder / "data").rglob("*") if file.is_file()]
        assert any(file.name == "previews.sqlite" for file in files)
        for file in files:
            data = file.read_bytes()
            assert not [secret for secret in secrets if secret in data], file


@pytest.mark.parametrize(
    ("changes", "status", "where"),
    [
        ({"elements": ["person.name", "person.absent"]}, 404, "body#/elements/1"),
        ({"elements": []}, 422, "body#/elements"),
        ({"elements": ["person.name"] * 2}, 422, "body#/elements"),
        ({"subject": "ZQ7715500042"}, 400, "body#/subject"),
        ({"subject": "la-nid:.."}, 400, "body#/subject"),
        ({"subject": "la-enterprise:1"}, 400, "body#/elements/0"),
        ({"purpose": "No purpose"}, 422, "body#/purpose"),
        ({"request": {"kind": "explicit", "at": "2999-01-01T00:00:00Z", "reference": "a"}}, 400,
         "body#/request/at"),
        ({"request": {"kind": "statutory", "legal_basis": "ກ" * 200}}, 400, "body#/request"),
        ({"more": 1}, 422, "body"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_is_refused_with_its_place(
    world: SourceWorld, changes: dict[str, Any], status: int, where: str
) -> None:
    """Nothing is asked; the refusal has cause and remedy in both languages, and is recorded."""
    answer = world.ask(*EVERYWHERE, **changes)
    assert (answer.status, answer.json["where"]) == (status, where)
    assert answer.json["remedy"]["lo"]
    assert world.sources.seen == []
    (hit,) = hits(world, sources.PORTAL_SERVER, request_id=answer.headers["x-road-request-id"])
    assert hit.kind == "refusal"


def test_whoever_is_no_application_here_learns_nothing(world: SourceWorld) -> None:
    """Without a client, or as another's, neither sources nor evidence."""
    for client in (None, "LA/GOV/MOHA/civil-register"):
        body = sources.request("person.name")
        assert world.call("POST", "/evidence", body, client=client).status in (400, 403, 404)
        assert world.call("GET", "/sources", client=client).status in (400, 403, 404)
    assert world.sources.seen == []


def test_sources_are_listed(world: SourceWorld) -> None:
    """Page by page, or by id."""
    first = world.call("GET", "/sources?limit=4").json
    rest = world.call("GET", f"/sources?after={first['next']}").json
    listed = [one["id"] for one in first["items"] + rest["items"]]
    assert listed == sorted(one["id"] for one in sources.ELEMENTS)
    (one,) = world.call("GET", "/sources?element=person.is-adult").json["items"]
    assert one["source"]["service"] == str(PERSONS)
    assert (one["predicate_of"], one["allowed"]) == ("person.birth-date", True)
    assert parse_duration(one["validity"])
    assert world.call("GET", "/sources?element=person.absent").status == 404
    assert world.call("GET", "/sources?elements=person.name").status == 422


def test_of_a_provider_on_the_same_server_it_is_known_what_is_allowed(world: SourceWorld) -> None:
    """Its agreements are here: told before anything is asked, and so it is when it is asked."""
    here = {"client": str(PERSONS.application), "server": sources.SOURCES_SERVER}
    listed = world.call("GET", "/sources", **here).json["items"]
    allowed = {one["id"]: one["allowed"] for one in listed}
    assert allowed["person.village"] is True
    assert allowed["school.certificate"] is False
    wanted = ("person.village", "school.certificate")
    answer = world.call("POST", "/evidence", sources.request(*wanted), **here)
    assert values(answer) == {"person.village": "ໂພນສະອາດ"}
    assert missing(answer) == {"school.certificate": "NotAllowed"}


def test_the_copies_of_the_consumer_tell_what_is_allowed(world: SourceWorld) -> None:
    """Of a provider on another server: allowed under which agreement, for which purpose and basis;
    not allowed, and why; not known only where no copy lies at the caller's server."""

    def told() -> dict[str, Any]:
        items = world.call("GET", "/sources").json["items"]
        return {one["id"]: (one["allowed"], one["because"]) for one in items}

    allowed, because = told()["school.certificate"]
    purposes = [{"code": sources.PURPOSE, "request_basis": ["explicit"]}]
    assert (allowed, because["known_from"], because["purposes"]) == (True, "copy", purposes)
    assert because["agreement"] == "dgc-moes/1"
    allowed, because = told()["person.income"]
    assert (allowed, because["code"]) == (False, Code.FIELD_NOT_RELEASED)
    allowed, because = told()["person.village"]
    assert (allowed, because["known_from"]) == (None, None)
    assert because["message"]["lo"]
    other = world.call("GET", "/sources?element=person.name", client=str(OFFICE)).json["items"]
    assert other[0]["allowed"] is None
    place_copy(world, "ended", valid_until="2021-01-01T00:00:00Z")
    wait_until(lambda: told()["person.village"][0] is False)
    assert told()["person.village"][1]["code"] == Code.AGREEMENT_EXPIRED


def test_the_consumers_server_warns_before_the_end(world: SourceWorld) -> None:
    """By metric and health, of the copies that lie there."""
    admin = world.world.servers[sources.PORTAL_SERVER].url("admin")
    soon = datetime.now(UTC) + timedelta(days=5)
    place_copy(world, "soon", consumer=str(OFFICE), valid_until=f"{soon:%Y-%m-%dT%H:%M:%SZ}")

    def counted(days: int, side: str) -> bool:
        line = f'saphan_agreements_ending{{days="{days}",side="{side}"}} 1.0'
        return line.encode() in exchange(admin, "GET", "/metrics", {}).body

    wait_until(lambda: counted(7, "consumer"))
    assert counted(30, "consumer")
    assert not counted(1, "consumer")
    assert not counted(7, "provider")
    health = exchange(admin, "GET", "/healthz", {}).json["checks"]["agreements"]
    assert health["held"]["ending_soon"] == ["soon"]
    assert (health["in_force"], health["rejected"]) == (0, [])
    listed = exchange(admin, "GET", "/agreements", {}).json
    assert (listed["agreements"], "soon" in {one["id"] for one in listed["held"]}) == ([], True)


def place_copy(world: SourceWorld, name: str, **changes: Any) -> None:
    """Have an agreement about addresses sealed, and place it at the portal's server alone."""
    document = sources.agreement(ADDRESSES, ["/village"], id=name, **changes)
    sealed = world.world.seal(document, [ADDRESSES.member, sources.DGC])
    world.world.pin(sources.DGC, name, sealed)


def wait_until(holds: Callable[[], bool]) -> None:
    """The folder of agreements is looked at every second."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def asked_aside(world: SourceWorld, *elements: str) -> tuple[threading.Thread, list[Answer]]:
    """An evidence request in a thread of its own, once all its sources are asked."""
    found: list[Answer] = []
    world.sources.released.clear()
    asking = threading.Thread(target=lambda: found.append(world.ask(*elements)))
    asking.start()
    deadline = time.monotonic() + 20
    while len(world.sources.seen) < len(elements):
        assert time.monotonic() < deadline, world.sources.seen
        time.sleep(0.01)
    return asking, found


def test_sources_are_asked_at_the_same_time(world: SourceWorld) -> None:
    """Every one is heard before any has answered."""
    world.sources.script |= dict.fromkeys(("persons", "certificates", "addresses"), "held")
    try:
        asking, found = asked_aside(world, *EVERYWHERE)
    finally:
        world.sources.released.set()
    asking.join(20)
    assert len(values(found[0])) == 3


def test_bounds_of_calls_hold_for_each_source(world: SourceWorld) -> None:
    """Where a service may have one call at a time, a second is refused here, recorded, and told as
    what can be asked again soon; the other sources answer."""
    world.sources.script["addresses"] = "held"
    try:
        asking, _ = asked_aside(world, "person.village")
        answer = world.ask(*EVERYWHERE)
    finally:
        world.sources.released.set()
    asking.join(20)
    assert missing(answer) == {"person.village": "Unavailable"}
    (told,) = answer.json["missing"]
    assert (told["code"], told["retry_after_s"]) == (Code.OVERLOADED, 1)
    (hit,) = hits(world, sources.PORTAL_SERVER, id=told["exchange"]["id"])
    assert (hit.kind, hit.problem) == ("refusal", Code.OVERLOADED)


class Form(HTMLParser):
    """The form of a page: where it goes, and its choices as they are when nothing is touched."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.action = given["action"] or ""
        elif tag == "input" and given.get("type") != "radio":
            self.fields[given["name"] or ""] = ""
        elif tag == "input" and "checked" in given:
            self.fields[given["name"] or ""] = given["value"] or ""

    def send(self, url: str, **changes: str) -> bytes:
        """Fill in and send, as a browser does."""
        body = urlencode(self.fields | changes).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return exchange(url, "POST", self.action, headers, body).body


def test_a_person_declines_on_the_pages_of_a_portal(world: SourceWorld) -> None:
    """The page shows what offices hold and, in Lao, what one could not give; the clerk gets what
    was not declined."""
    world.sources.script["certificates"] = "two"
    portal = Portal(world.url, str(sources.PORTAL), sources.PURPOSE)
    with running(portal) as url:
        shown = Form(exchange(url, "GET", "/", {}).body).send(url, nid="ZQ7715500042")
        assert "ສົມສີ" in shown.decode()
        assert "<p class=Ambiguous>school.certificate: ແຫຼ່ງຂໍ້ມູນມີຫຼາຍບັນທຶກ" in shown.decode()
        form = Form(shown)
        assert form.fields == dict.fromkeys(
            ("person.name", "person.birth-date", "person.village"), "accept"
        )
        last = form.send(url, **{"person.village": "decline"})
    assert "<p class=Declined>person.village" in last.decode()
    assert list(portal.passed_on.values()) == [
        {"person.name": "ສົມສີ", "person.birth-date": "2008-04-13"}
    ]
