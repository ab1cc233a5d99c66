"""`saphan audit ask`: one question to all audited organisations."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from console.auditing.asking import Outcome, _refusal
from exchange.problems import Code
from serving.answers import Answer
from tests.world.audits import asked, mandates_of, outcomes, published
from tests.world.small import SmallWorld

BOTH = ("mof-audit", "audit")


@pytest.fixture
def world(audited_world: SmallWorld) -> SmallWorld:
    """The world that is audited."""
    return audited_world


@pytest.fixture
def called(world: SmallWorld) -> str:
    """The id of an exchange between the two."""
    message_id = f"crossed-{secrets.token_hex(4)}"
    answer = world.call(headers={"X-Road-Id": message_id})
    assert answer.status == 200, answer.body
    published(world)
    return message_id


def test_all_organisations_are_asked_and_what_they_show_is_proven(
    world: SmallWorld, called: str
) -> None:
    """Both sides' entries, newest first, each proven by the key of its log in the registry."""
    code, report = asked(world, "ask", mandates_of(world, *BOTH), "--id", called)
    assert code == 0, report
    assert outcomes(report) == {"LA/GOV/MOF/ss1": "proven", "LA/GOV/MPI/ss1": "proven"}
    shown = [(hit["server"], hit["entry"]["side"], hit["entry"]["kind"]) for hit in report["hits"]]
    assert sorted(shown) == [
        ("LA/GOV/MOF/ss1", "consumer", "request"),
        ("LA/GOV/MOF/ss1", "consumer", "response"),
        ("LA/GOV/MPI/ss1", "provider", "request"),
        ("LA/GOV/MPI/ss1", "provider", "response"),
    ]
    times = [hit["entry"]["at"] for hit in report["hits"]]
    assert times == sorted(times, reverse=True)
    assert report["left_out"] == []


def test_pages_are_followed_to_the_limit(world: SmallWorld, called: str) -> None:
    """A limit bounds what each server is asked for, and the report says that there is more."""
    code, report = asked(world, "ask", mandates_of(world, "audit"), "--limit", 1)
    assert code == 0, report
    assert [row["more"] for row in report["asked"]] == [True]
    assert len(report["hits"]) == 1


def test_everything_of_a_journal_can_be_asked_for(world: SmallWorld, called: str) -> None:
    """A mandate without bounds over a server of one member shows its whole log, without a gap."""
    code, report = asked(world, "ask", mandates_of(world, "whole"), "--limit", 100_000)
    assert code == 0, report
    (row,) = report["asked"]
    assert row["not_shown"] == []
    indexes = sorted(hit["index"] for hit in report["hits"])
    assert indexes == list(range(row["entries"]))


def test_completeness_is_asked_for_under_a_mandate_that_shows_all(world: SmallWorld) -> None:
    """It tells the numbers of all entries about a person, so it takes the right to see them."""
    for mandate, complete in (("inspector", True), ("portal", False)):
        code, report = asked(
            world, "ask", mandates_of(world, mandate), "--subject", "passport:P-90",
            "--prove-complete",
        )  # fmt: skip
        (row,) = report["complete"]
        assert (row["complete"], code) == (complete, 0 if complete else 1), row
        if not complete:
            assert Code.OUTSIDE_MANDATE in row["problem"]


def test_a_refusal_names_who_refused_and_why(world: SmallWorld, called: str) -> None:
    """An expired mandate is the audited organisation's word; the others' answers stand."""
    code, report = asked(world, "ask", mandates_of(world, "mof-audit", "ended"), "--id", called)
    assert code == 1
    assert outcomes(report) == {"LA/GOV/MOF/ss1": "proven", "LA/GOV/MPI/ss1": "refused"}
    assert [row.get("problem") for row in report["asked"]] == [None, Code.AGREEMENT_EXPIRED.value]
    assert {hit["server"] for hit in report["hits"]} == {"LA/GOV/MOF/ss1"}


def test_evidence_is_fetched_where_the_mandate_shows_content(
    world: SmallWorld, called: str, tmp_path: Path
) -> None:
    """One container for the exchange, for the auditor's eyes only; without the field, a refusal."""
    code, report = asked(
        world, "ask", mandates_of(world, "mpi-content"), "--id", called, "--evidence", tmp_path
    )
    assert code == 0, report
    (got,) = report["evidence"]
    path = Path(got["file"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(b"PK")
    code, report = asked(
        world, "ask", mandates_of(world, "audit"), "--id", called, "--evidence", tmp_path
    )
    assert code == 1
    assert [Code.FIELD_NOT_RELEASED in one["problem"] for one in report["evidence"]] == [True]


@pytest.mark.parametrize("body", [b"[]", b'"no"', b"7", b"{", b'{"message":["no"]}', b"[" * 9000])
def test_whatever_the_audited_answers_is_a_refusal(body: bytes) -> None:
    """One organisation's odd answer does not end the asking of the others."""
    refused = _refusal(Answer(500, (), body, False))
    assert (refused.outcome, refused.code) == (Outcome.SILENT, "500")
    assert 0 < len(refused.detail) <= 500
