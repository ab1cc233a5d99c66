"""An exchange from application to backend and back, through two real servers."""

from __future__ import annotations

from contextlib import suppress

from exchange.journal import subjects
from exchange.journal.entries import parse_entry
from exchange.problems import Code
from mediator.journal.keyring import KeyRing
from mediator.journal.reader import JournalReader
from tests.world import small
from tests.world.small import SmallWorld


def test_a_record_crosses_and_is_in_both_journals(shared_world: SmallWorld) -> None:
    """The answer holds the released fields only; four records tell of it, two on each side."""
    answer = shared_world.call(headers={"X-Road-Id": "journey-1"})
    assert answer.status == 200
    assert answer.json == {"code": "P-1", "title_en": "Rural roads", "title_lo": "ທາງຊົນນະບົດ"}
    assert answer.headers["x-road-id"] == "journey-1"
    assert answer.headers["x-road-service"] == str(small.PROJECTS)
    for server in (shared_world.mof, shared_world.mpi):
        hits = shared_world.hits(server, id="journey-1")
        assert [hit.kind for hit in hits] == ["request", "response"]
        assert {hit.request_id for hit in hits} == {answer.headers["x-road-request-id"]}


def test_callers_of_an_operation_that_is_to_go_are_told(shared_world: SmallWorld) -> None:
    """Their own server adds Deprecation (RFC 9745) and Sunset (RFC 8594), by the contract alone;
    callers of other operations hear nothing."""
    record = b'{"code":"P-1","title_en":"Rural roads","title_lo":"\xe0\xba\x81","amount":1}'
    answer = shared_world.call(
        "/projects", method="POST", body=record, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 201, answer.body
    assert answer.headers["deprecation"] == "@1767225600"
    assert answer.headers["sunset"] == "Wed, 30 Jun 2027 00:00:00 GMT"
    assert "deprecation" not in shared_world.call().headers


def test_whom_it_is_about_is_signed_and_carried_and_stands_nowhere_in_clear(
    shared_world: SmallWorld,
) -> None:
    """The backend gets Exchange-Subject; both journals hold tags of their own, found by the keys of
    the month; no file of either server holds the subject, and no log or metric."""
    subject = "la-nid:ZQ7715500042"
    headers = {"X-Road-Id": "subject-1", "Exchange-Subject": subject}
    answer = shared_world.call(headers=headers)
    assert answer.status == 200
    seen = shared_world.backend.seen[-1]
    assert dict(seen.headers)["exchange-subject"] == subject
    tags = set()
    for server in (shared_world.mof, shared_world.mpi):
        hits = shared_world.hits(server, id="subject-1")
        journal = JournalReader(server.journal)
        entries = [parse_entry(journal.entry(hit.index)) for hit in hits]
        assert [entry.kind for entry in entries] == ["request", "response"]
        ((name, key),) = [*KeyRing(server.journal / "keys").index_keys()]
        assert name.month == f"{entries[0].at:%Y-%m}"
        assert {entry.subject for entry in entries} == {subjects.tag(key, subject.lower())}
        tags.add(entries[0].subject)
        part = journal.open(entries[0], journal.ciphertext(hits[0].index)).part
        assert b'"exchange-subject": ' + subject.encode() in part.base
        for path in server.journal.parent.rglob("*"):
            with suppress(IsADirectoryError, FileNotFoundError):  # drafts come and go
                assert b"7715500042" not in path.read_bytes(), path
        metrics = small.exchange(server.url("admin"), "GET", "/metrics", {}).body
        assert b"7715500042" not in metrics
    assert len(tags) == 2


def test_a_subject_that_is_written_wrongly_is_refused_without_being_repeated(
    shared_world: SmallWorld,
) -> None:
    """The caller hears the rule; its value is in no answer and in no entry."""
    answer = shared_world.call(headers={"X-Road-Id": "subject-2", "Exchange-Subject": "7715500043"})
    assert answer.status == 400
    assert b"7715500043" not in answer.body
    (hit,) = shared_world.hits(shared_world.mof, id="subject-2")
    assert hit.problem == Code.INVALID_HEADER
    assert b"7715500043" not in JournalReader(shared_world.mof.journal).entry(hit.index)
