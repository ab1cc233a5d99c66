"""A server cannot say in clear other than what was signed: where a part is open, that is found."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.entries import Entry, Kind
from exchange.journal.sealed_parts import SealedPart
from exchange.messages.digest import content_digest
from mediator.journal.export import Chosen, make_export, unsigned, verify_export
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from tests.journal.exchanges import BODY, MOF, Tell, World
from tests.journal.test_evidence import faults, folder_of

OTHER = b'{"project":"other"}'
FORGED = BODY.replace(b"LP", b"VT")


def _says(**members: Any) -> Tell:
    return lambda entry, part: (entry._replace(**members), part)


def _head(**members: Any) -> Tell:
    return lambda entry, part: (entry, part._replace(head=part.head._replace(**members)))


def _body(body: bytes, *, size: int) -> Tell:
    """Another body beside what was signed."""
    return lambda entry, part: (entry._replace(size=size), part._replace(body=body))


def _added(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
    """A header that nobody signed."""
    headers = (*part.head.headers, ("exchange-rows", "all"))
    return entry, part._replace(head=part.head._replace(headers=headers))


REQUEST: dict[str, tuple[Tell, str]] = {
    "client": (_says(client=ApplicationId.parse("LA/GOV/MOF/web")), "client"),
    "service": (_says(service=ServiceId.parse("LA/GOV/MPI/oda-mis/payments")), "service"),
    "part of a service's name": (
        _says(service=ServiceId.parse("LA/GOV/MPI/oda-mis/project")), "service",
    ),
    "id": (_says(id="LA-2"), "id"),
    "purpose": (_says(purpose="tourism"), "purpose"),
    "method": (_says(method="POST"), "method"),
    "nonce": (_says(nonce="AAAAAAAAAAAAAAAAAAAAAA"), "nonce"),
    "certificate": (_says(certificate="0" * 64), "certificate"),
    "kept address": (_head(target="/r1/LA/GOV/MPI/oda-mis/projects/projects/2"), "address"),
    "kept header": (_head(headers=(("exchange-purpose", "tourism"),)), "exchange-purpose"),
    "kept method": (_head(method="POST"), "method"),
    "end of the kept address": (_head(target="/1"), "address"),
    "a header more": (_added, "exchange-rows"),
    "no headers": (_head(headers=()), "header"),
}  # fmt: skip
RESPONSE: dict[str, tuple[Tell, str]] = {
    "status": (_says(status=404), "status"),
    "method of the request": (_says(method="POST"), "method"),
    "kept status": (_head(status=404), "status"),
    "kept digest": (_head(headers=(("content-digest", content_digest(OTHER)),)), "content-digest"),
    "kept body": (_body(FORGED, size=len(FORGED)), "body"),
    "kept body and size": (_body(OTHER, size=len(OTHER)), "body"),
    "size": (_says(size=7), "size"),
    "a body that is not as long as it was": (_body(OTHER, size=len(BODY)), "body"),
}  # fmt: skip


CASES = [
    pytest.param(kind, *case, id=f"{kind}: {name}")
    for kind, cases in ((Kind.REQUEST, REQUEST), (Kind.RESPONSE, RESPONSE))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("kind", "lie", "named"), CASES)
def test_what_is_said_in_clear_is_what_was_signed(
    tmp_path: Path, kind: Kind, lie: Tell, named: str
) -> None:
    """By the journal with its keys, and by an export, with Saphan and with the script alone: a
    server that recorded something else than what the parties signed is found."""

    def tell(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
        return lie(entry, part) if entry.kind is kind else (entry, part)

    world = World(tmp_path)
    asyncio.run(world.exchange(1, tell=tell))
    world.anchor()
    (found,) = verify(world.journals[MOF]).findings
    assert found.index == (0 if kind is Kind.REQUEST else 1)
    assert "than was signed" in found.detail or "than what was signed" in found.detail
    assert named in found.detail
    shown = CliRunner().invoke(main, ["audit", "show", str(world.journals[MOF]), str(found.index)])
    assert f"NOT AS SIGNED: {found.detail}" in shown.output
    reader = JournalReader(world.journals[MOF])
    files = make_export([Chosen(reader, 0), Chosen(reader, 1)], world.around())
    path = folder_of(unsigned(files), tmp_path / "e")
    assert found.code in {one.code for one in verify_export(path).findings}
    if "kept" not in found.detail:  # of the head beside the signature base the script says nothing
        assert named in faults(path)


PAYMENTS = ServiceId.parse("LA/GOV/MPI/oda-mis/payments")


def _of_payments(entry: Entry, part: SealedPart) -> tuple[Entry, SealedPart]:
    """The other service, which the path names further on."""
    at = (part.head.target or "").find(f"/r1/{PAYMENTS}")
    target = part.head.target[at:] if part.head.target and at > 0 else part.head.target
    return entry._replace(service=PAYMENTS), part._replace(head=part.head._replace(target=target))


@pytest.mark.parametrize(
    "path", ["/projects/%E0%BA%9E{}", f"/projects/{{}}/r1/{PAYMENTS}", f"/{{}}?to=/r1/{PAYMENTS}/1"]
)
def test_no_path_hides_the_service(tmp_path: Path, path: str) -> None:
    """A service is told by the beginning of the signed address, whatever stands behind it."""
    world = World(tmp_path, path=path)
    asyncio.run(world.exchange(1, tell=_of_payments))
    assert [one.index for one in verify(world.journals[MOF]).findings] == [0, 1]
    reader = JournalReader(world.journals[MOF])
    files = make_export([Chosen(reader, 0), Chosen(reader, 1)], world.around())
    path_of = folder_of(unsigned(files), tmp_path / "e")
    assert faults(path_of).count("its service is other than what was signed") == 2


@pytest.mark.parametrize(
    "odd",
    [
        {"path": "/projects/%E0%BA%9E{}?page=1&to=/r1/x"},
        {"asked": (("x-note", "caf\xe9"), ("x-road-service", "none"))},
        {"answered": (("exchange-purpose", "of-the-backend"), ("x-note", "a"), ("x-note", "b"))},
        {"name": 'a"b\\c*.$-{}'},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_no_honest_exchange_is_accused(tmp_path: Path, odd: dict[str, Any]) -> None:
    """Whatever applications and backends send along: neither by the journal nor by its export."""
    world = World(tmp_path, **odd)
    asyncio.run(world.exchange(1))
    world.anchor()
    assert verify(world.journals[MOF]).findings == ()
    reader = JournalReader(world.journals[MOF])
    files = make_export([Chosen(reader, 0), Chosen(reader, 1)], world.around())
    path = folder_of(unsigned(files), tmp_path / "e")
    assert verify_export(path).findings == ()
    assert "than what was signed" not in faults(path)


def test_an_honest_journal_has_no_such_finding(tmp_path: Path) -> None:
    """The same world, with nothing changed."""
    world = World(tmp_path)
    asyncio.run(world.exchange(1))
    world.anchor()
    assert verify(world.journals[MOF]).good
    shown = CliRunner().invoke(main, ["audit", "show", str(world.journals[MOF]), "1"])
    assert shown.exit_code == 0
    assert "NOT AS SIGNED" not in shown.output
