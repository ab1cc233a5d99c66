"""Audited organisations that do not answer honestly, or not at all: `saphan audit ask` tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from exchange.journal.auditing import Hit, Page, format_page
from exchange.log import merkle
from exchange.problems import Code
from mediator.journal.reader import JournalReader
from tests.world import small
from tests.world.audits import AUDITOR, CALLED, asked, mandates_of, outcomes
from tests.world.hostile import HostileServer, hostile_server
from tests.world.small import SmallWorld

BOTH = ("mof-audit", "mpi-audit")


@pytest.fixture
def world(abandoned_world: SmallWorld) -> SmallWorld:
    """MOF has called MPI, the province audits both, and MPI's server is there no more."""
    return abandoned_world


@pytest.fixture
def hostile(world: SmallWorld) -> Iterator[HostileServer]:
    """A server with MPI's own keys that tells auditors what it likes."""
    folder = world.mpi.folder
    with hostile_server(world, folder / "auth.pem", folder / "auth.key") as server:
        yield server


def _page(world: SmallWorld, message_id: str, wanted: int = 1000) -> Page:
    """What MPI's server would say of a message, honestly."""
    reader = JournalReader(world.mpi.journal)
    hits = []
    for index, _ in list(reader.of_message(message_id))[:wanted]:
        entry = reader.entry(index)
        hits.append(Hit(index, merkle.leaf_hash(entry), reader.prove(index).path, entry=entry))
    return Page(reader.origin, reader.checkpoint_note, tuple(hits), None)


def test_a_forged_entry_is_found_out(world: SmallWorld, hostile: HostileServer) -> None:
    """The organisation signs the answer, but its log has another entry: nothing of it counts."""
    page = _page(world, CALLED)
    entry = json.loads(page.hits[0].entry or b"")
    forged = json.dumps(entry | {"client": str(AUDITOR)}, separators=(",", ":")).encode()
    leaf = merkle.leaf_hash(forged)
    hostile.page = format_page(
        replace(page, hits=(replace(page.hits[0], entry=forged, leaf=leaf), *page.hits[1:]))
    )
    code, report = asked(world, "ask", mandates_of(world, *BOTH), "--id", CALLED)
    assert code == 1
    assert outcomes(report)["LA/GOV/MPI/ss1"] == "not proven"
    problems = {row["server"]: row.get("problem") for row in report["asked"]}
    assert problems["LA/GOV/MPI/ss1"] == Code.INVALID_PROOF.value
    assert {hit["server"] for hit in report["hits"]} == {"LA/GOV/MOF/ss1"}


def test_a_checkpoint_of_another_log_is_found_out(
    world: SmallWorld, hostile: HostileServer
) -> None:
    """A log that the registry does not list for this server proves nothing."""
    other = JournalReader(world.mof.journal)
    hostile.page = format_page(Page(other.origin, other.checkpoint_note, (), None))
    code, report = asked(world, "ask", mandates_of(world, "mpi-audit"), "--id", CALLED)
    assert (code, outcomes(report)) == (1, {"LA/GOV/MPI/ss1": "not proven"})


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        (("--id", CALLED), True),
        (("--id", "LA-another"), False),
        (("--client", str(AUDITOR)), False),
        (("--member", "LA/GOV/LSB"), False),
        (("--outcome", "refused"), False),
        (("--status", "404"), False),
        (("--until", "2020-01-01T00:00:00Z"), False),
    ],
)
def test_entries_that_were_not_asked_for_are_no_answer(
    world: SmallWorld, hostile: HostileServer, conditions: tuple[str, ...], fits: bool
) -> None:
    """They are in the log, and yet not what the question was about."""
    hostile.page = format_page(_page(world, CALLED))
    mandates = mandates_of(world, "mpi-audit")
    _, report = asked(world, "ask", mandates, *conditions)
    assert outcomes(report) == {"LA/GOV/MPI/ss1": "proven" if fits else "not proven"}
    (row,) = report["asked"]
    assert fits or row["problem"] == Code.INCONSISTENT_RESPONSE.value
    assert bool(report["hits"]) == fits


def test_an_entry_counts_once(world: SmallWorld, hostile: HostileServer) -> None:
    """Who shows one twice is told of; under two mandates it is one entry all the same."""
    page = _page(world, CALLED)
    hostile.page = format_page(page)
    twice = [*mandates_of(world, "mpi-audit"), *mandates_of(world, "mpi-audit")]
    _, report = asked(world, "ask", twice, "--id", CALLED)
    assert len(report["asked"]) == 2
    assert len(report["hits"]) == len(page.hits)
    hostile.page = format_page(replace(page, hits=(*page.hits, page.hits[0])))
    _, report = asked(world, "ask", mandates_of(world, "mpi-audit"), "--id", CALLED)
    assert outcomes(report) == {"LA/GOV/MPI/ss1": "not proven"}


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"id": CALLED, "side": "consumer"},
        {"id": CALLED, "side": "provider", "kind": "request", "at": "yesterday"},
        {"id": CALLED, "side": "neither", "kind": "request", "at": "2026-11-22T00:00:00.000Z"},
        {
            "id": CALLED,
            "side": "provider",
            "kind": "request",
            "at": "2026-11-22T00:00:00.000Z",
            "client": "nobody",
            "service": 7,
        },
    ],
    ids=["nothing", "no kind", "no time", "no side", "no parties"],
)
def test_nonsense_of_one_organisation_ends_no_question(
    world: SmallWorld, hostile: HostileServer, shown: dict[str, object]
) -> None:
    """What the others said is told; whoever answered nonsense is named."""
    page = _page(world, CALLED)
    hits = (replace(page.hits[0], entry=None, shown=shown),)
    hostile.page = format_page(replace(page, hits=hits))
    code, report = asked(world, "ask", mandates_of(world, *BOTH), "--id", CALLED)
    assert code == 1
    assert outcomes(report) == {"LA/GOV/MOF/ss1": "proven", "LA/GOV/MPI/ss1": "not proven"}
    assert {hit["server"] for hit in report["hits"]} == {"LA/GOV/MOF/ss1"}


def test_an_exchange_that_is_left_out_is_shown_by_the_other_side(
    world: SmallWorld, hostile: HostileServer
) -> None:
    """MPI answers with a good proof of nothing; MOF's journal has the answer that MPI signed."""
    hostile.page = format_page(_page(world, CALLED, 0))
    code, report = asked(world, "ask", mandates_of(world, *BOTH), "--id", CALLED)
    assert code == 1
    assert outcomes(report)["LA/GOV/MPI/ss1"] == "proven"
    (debt,) = report["left_out"]
    assert (debt["organisation"], debt["id"]) == (str(small.MPI), CALLED)
    assert debt["shown_by"] == "LA/GOV/MOF/ss1"


def test_an_entry_that_is_left_out_of_all_is_a_gap(
    world: SmallWorld, hostile: HostileServer
) -> None:
    """Who asks for everything sees the numbers of what was not shown between the entries."""
    reader = JournalReader(world.mpi.journal)
    hits = [
        Hit(index, merkle.leaf_hash(entry), reader.prove(index).path, entry=entry)
        for index in range(reader.checkpoint.size)
        if index != 2
        for entry in [reader.entry(index)]
    ]
    assert len(hits) > 2
    hostile.page = format_page(Page(reader.origin, reader.checkpoint_note, tuple(hits), None))
    _, report = asked(world, "ask", mandates_of(world, "mpi-audit"))
    assert [row["not_shown"] for row in report["asked"]] == [[[2, 2]]]


def test_who_does_not_answer_is_named(world: SmallWorld) -> None:
    """One organisation down: the others' answers are shown, and the absent one is listed."""
    code, report = asked(world, "ask", mandates_of(world, *BOTH), "--id", CALLED)
    assert code == 1
    assert outcomes(report) == {"LA/GOV/MOF/ss1": "proven", "LA/GOV/MPI/ss1": "no answer"}
    assert {hit["server"] for hit in report["hits"]} == {"LA/GOV/MOF/ss1"}
