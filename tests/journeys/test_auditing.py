"""An auditor with a mandate asks servers for what is in their journals, over real servers."""

from __future__ import annotations

from typing import Any

import pytest

from exchange.journal.auditing import open_page, told
from exchange.log.checkpoint import open_checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.proof import check_proof, parse_proof
from exchange.problems import Code
from mediator.journal.reader import JournalReader
from tests.world import small
from tests.world.audits import AUDITOR
from tests.world.small import Answer, SmallWorld, wait_published

JOURNAL = f"/r1/{small.MPI}/auditing/journal"


@pytest.fixture
def world(audited_world: SmallWorld) -> SmallWorld:
    """The world that is audited."""
    return audited_world


def ask(world: SmallWorld, path: str, client: Any = AUDITOR, **more: Any) -> Answer:
    """Ask MPI's server as an auditor's application does."""
    wait_published(world.mpi)
    return world.call(target=f"{JOURNAL}{path}", client=str(client), purpose=None, **more)


def key_of(world: SmallWorld) -> VerifierKey:
    return JournalReader(world.mpi.journal).key


def entries(world: SmallWorld, answer: Answer) -> list[dict[str, Any]]:
    """What a page shows, once it is proven."""
    assert answer.status == 200, answer.body
    page, _ = open_page(answer.body, key_of(world))
    return [dict(told(hit)) for hit in page.hits]


def test_an_auditor_finds_an_exchange_and_proves_it(world: SmallWorld) -> None:
    """Search by message id shows both entries of the provider, whole and proven."""
    called = world.call(headers={"X-Road-Id": "audited-1"})
    assert called.status == 200, called.body
    found = entries(world, ask(world, "/entries?id=audited-1"))
    assert [(one["kind"], one["side"]) for one in found] == [
        ("response", "provider"),
        ("request", "provider"),
    ]
    assert {one["client"] for one in found} == {str(small.BUDGET)}


def test_the_audited_sees_who_asked(world: SmallWorld) -> None:
    """The question is an exchange like any other: both its entries are in the audited journal."""
    assert ask(world, "/entries?id=nobody", headers={"X-Road-Id": "asked-1"}).status == 200
    service = f"{small.MPI}/auditing/journal"
    hits = world.hits(world.mpi, service=service, client=str(AUDITOR), id="asked-1")
    assert [(hit.kind, hit.agreement) for hit in hits] == [
        ("request", None),
        ("response", "audit/1"),
    ]


def test_a_narrow_mandate_shows_its_fields_and_the_proof(world: SmallWorld) -> None:
    """What is not shown is neither told nor to be looked for; the place is proven all the same."""
    world.call(headers={"X-Road-Id": "audited-2"})
    found = entries(world, ask(world, "/entries?id=audited-2", small.BUDGET))
    assert [one.keys() for one in found] == [
        {"at", "kind", "side", "client", "status", "id"},
        {"at", "kind", "side", "client", "id"},
    ]
    refused = ask(world, "/entries?purpose=x", small.BUDGET)
    assert (refused.status, refused.code) == (403, Code.FIELD_NOT_RELEASED)


@pytest.mark.parametrize(
    ("path", "client", "status", "code"),
    [
        ("/entries?since=2025-01-01T00:00:00Z", AUDITOR, 403, Code.OUTSIDE_MANDATE),
        ("/entries?colour=red", AUDITOR, 422, Code.SCHEMA_VIOLATION),
        ("/entries?limit=1000000", AUDITOR, 422, Code.SCHEMA_VIOLATION),
        ("/entries?since=yesterday", AUDITOR, 422, Code.SCHEMA_VIOLATION),
        ("/entries?cursor=x", AUDITOR, 400, Code.INVALID_REQUEST),
        ("/entries?fields=purpose", small.BUDGET, 403, Code.FIELD_NOT_RELEASED),
        ("/entries/100000000", AUDITOR, 404, Code.NOT_FOUND),
        ("/evidence/0", AUDITOR, 403, Code.FIELD_NOT_RELEASED),
        ("/hidings", AUDITOR, 403, Code.OUTSIDE_MANDATE),
    ],
)
def test_a_question_beyond_the_mandate_is_refused_and_recorded(
    world: SmallWorld, path: str, client: Any, status: int, code: Code
) -> None:
    """With a problem of its own, which stands in the journal of the audited."""
    answer = ask(world, path, client)
    assert (answer.status, answer.code) == (status, code), answer.body
    hits = world.hits(world.mpi, client=str(client), problem=code.value)
    assert hits
    assert {hit.kind for hit in hits} == {"refusal"}


@pytest.mark.parametrize(
    ("named", "code"), [("ended", Code.AGREEMENT_EXPIRED), ("unknown", Code.ACCESS_DENIED)]
)
def test_a_mandate_that_ended_or_never_was_opens_nothing(
    world: SmallWorld, named: str, code: Code
) -> None:
    """The audited organisation's pinned agreements say who may ask, and until when."""
    answer = ask(world, "/entries", headers={"Exchange-Agreement": named})
    assert (answer.status, answer.code) == (403, code), answer.body
    assert world.hits(world.mpi, client=str(AUDITOR), problem=code.value)


def test_a_question_over_years_names_what_it_looks_for(world: SmallWorld) -> None:
    """A period of more than a year needs an id or a subject; the refusal is recorded."""
    headers = {"Exchange-Agreement": "long"}
    answer = ask(world, "/entries", headers=headers)
    assert (answer.status, answer.code) == (422, Code.QUERY_TOO_WIDE), answer.body
    assert world.hits(world.mpi, client=str(AUDITOR), problem=Code.QUERY_TOO_WIDE.value)
    assert ask(world, "/entries?id=nobody", headers=headers).status == 200


def test_a_single_entry_and_its_proof(world: SmallWorld) -> None:
    """An entry by its index is a page of one; its proof stands alone (C2SP tlog-proof)."""
    world.call(headers={"X-Road-Id": "audited-3"})
    page, _ = open_page(ask(world, "/entries?id=audited-3").body, key_of(world))
    index, entry = page.hits[0].index, page.hits[0].entry
    alone, _ = open_page(ask(world, f"/entries/{index}").body, key_of(world))
    assert [hit.entry for hit in alone.hits] == [entry]
    proof = parse_proof(ask(world, f"/entries/{index}/proof").body)
    assert check_proof(proof, entry or b"", key_of(world)).origin == page.origin
    noted = ask(world, "/checkpoint").body
    assert open_checkpoint(noted, key_of(world)).size >= page.hits[0].index
