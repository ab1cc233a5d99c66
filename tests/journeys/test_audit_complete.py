"""`saphan audit ask --prove-complete`: an answer about a person against the log's commitments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from exchange.journal.auditing import Page, format_page
from exchange.journal.completeness import open_completeness
from exchange.journal.subjects import normal_subject
from exchange.problems import Code, Problem
from mediator.auditing.completeness import completeness_of
from mediator.auditing.hits import hit_of
from mediator.journal.reader import JournalReader
from tests.world.audits import PERSON, asked, mandates_of
from tests.world.hostile import HostileServer, hostile_server
from tests.world.small import SmallWorld


@pytest.fixture
def world(abandoned_world: SmallWorld) -> SmallWorld:
    """MPI's log has committed to its subjects, and its server is there no more."""
    return abandoned_world


@pytest.fixture
def reader(world: SmallWorld) -> JournalReader:
    return JournalReader(world.mpi.journal)


@pytest.fixture
def proof(reader: JournalReader) -> dict[str, Any]:
    """What MPI's server proves, honestly."""
    data = completeness_of(reader, normal_subject(PERSON), None, None, None)
    found: dict[str, Any] = json.loads(data)
    return found


def _about(reader: JournalReader) -> list[int]:
    """The entries of the two uses."""
    return sorted(index for name in ("use-1", "use-2") for index, _ in reader.of_message(name))


def test_what_the_log_committed_to_is_proven(reader: JournalReader, proof: dict[str, Any]) -> None:
    """All entries about the person before the commitment, and of somebody else none."""
    proven = open_completeness(json.dumps(proof).encode(), reader.key)
    assert sorted(proven.indexes) == _about(reader)
    assert max(_about(reader)) < proven.rest <= proven.end
    other = completeness_of(reader, normal_subject("passport:P-1"), None, None, None)
    assert open_completeness(other, reader.key).indexes == frozenset()


def _drop_index(proof: dict[str, Any]) -> None:
    proof["answers"][0][0]["indexes"].pop()


def _drop_answer(proof: dict[str, Any]) -> None:
    proof["answers"][0].clear()


def _no_line(proof: dict[str, Any]) -> None:
    answer = proof["answers"][0][0]
    proof["answers"][0][0] = {"tag": answer["tag"], "indexes": []}


def _another_entry(proof: dict[str, Any]) -> None:
    entry = proof["commitments"]["entries"][0]
    entry["entry"] = entry["entry"].replace('"leaves":', '"leaves":1')


@pytest.mark.parametrize("lie", [_drop_index, _drop_answer, _no_line, _another_entry])
def test_a_proof_that_does_not_follow_from_the_log_is_refused(
    reader: JournalReader, proof: dict[str, Any], lie: Any
) -> None:
    """An entry less, a month of which nothing is said, nothing at all, another commitment."""
    lie(proof)
    with pytest.raises(Problem) as refused:
        open_completeness(json.dumps(proof).encode(), reader.key)
    assert refused.value.code is Code.INVALID_PROOF


@pytest.fixture
def hostile(world: SmallWorld, proof: dict[str, Any]) -> Iterator[HostileServer]:
    """A server with MPI's own keys that tells auditors what it likes."""
    folder = world.mpi.folder
    with hostile_server(world, folder / "auth.pem", folder / "auth.key") as server:
        server.proof = json.dumps(proof).encode()
        yield server


def _asked(world: SmallWorld) -> tuple[int, dict[str, Any]]:
    code, report = asked(
        world, "ask", mandates_of(world, "inspector"), "--subject", PERSON, "--prove-complete"
    )
    (row,) = report["complete"]
    return code, row


def test_an_entry_that_the_answer_leaves_out_is_named(
    world: SmallWorld, reader: JournalReader, hostile: HostileServer
) -> None:
    """The log has committed to it: a server that shows the others, each proven, is found out."""
    whole = tuple(hit_of(reader, index) for index in _about(reader))
    page = Page(reader.origin, reader.checkpoint_note, whole, None)
    hostile.page = format_page(page)
    code, row = _asked(world)
    assert (code, row["complete"], row["left_out"]) == (0, True, [])
    hostile.page = format_page(replace(page, hits=whole[1:]))
    code, row = _asked(world)
    assert (code, row["complete"], row["left_out"]) == (1, False, [whole[0].index])


def test_a_server_that_proves_nothing_is_named(
    world: SmallWorld, reader: JournalReader, hostile: HostileServer
) -> None:
    """Its entries stand, but not that there are no others."""
    hits = tuple(hit_of(reader, index) for index in _about(reader))
    hostile.page = format_page(Page(reader.origin, reader.checkpoint_note, hits, None))
    hostile.proof = b"{}"
    code, row = _asked(world)
    assert (code, row["complete"]) == (1, False)
    assert Code.INVALID_DOCUMENT in row["problem"]
