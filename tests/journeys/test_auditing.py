"""An auditor with a mandate asks servers for what is in their journals, over real servers."""

from __future__ import annotations

from typing import Any

import pytest

from exchange.auditing import open_page, told
from exchange.notes import VerifierKey
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
