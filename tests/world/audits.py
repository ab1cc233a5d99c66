"""An auditor in the small world: the province's office, with mandates over MPI and MOF."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.identifiers import ApplicationId, MemberId
from mediator.background.subject_indexing import SubjectIndexing
from mediator.own_keys import log_key, origin_of
from tests.journal.world import QUICK, journal_in, until
from tests.world import small
from tests.world.clock import ShiftedClock
from tests.world.fixtures import world_of
from tests.world.small import SmallWorld, wait_published

AUDITOR = small.PROVINCE
BASIS = {"en": "Law on State Inspection", "lo": "ກົດໝາຍວ່າດ້ວຍການກວດກາລັດ"}
WAIT_S = 60.0
DELAYED = "budget-later"
CALLED = "crossed-1"
PERSON = "passport:P-77"
PATHS = (
    "/checkpoint",
    "/anchor",
    "/entries",
    "/entries/{index}",
    "/entries/{index}/proof",
    "/evidence/{index}",
    "/hidings",
    "/completeness",
)


def mandate(
    name: str,
    consumer: ApplicationId = AUDITOR,
    provider: MemberId = small.MPI,
    **changes: Any,
) -> dict[str, Any]:
    """An agreement of kind audit over a member's journals; ``changes`` are to its mandate."""
    document = small.agreement(name, consumer)
    return document | {
        "kind": "audit",
        "provider": str(provider),
        "purposes": [],
        "grants": [
            {
                "service": f"{provider}/auditing/journal",
                "endpoints": [{"method": "GET", "path": path} for path in PATHS],
                "fields": ["*"],
            },
            {
                "service": f"{provider}/auditing/usage",
                "endpoints": [{"method": "GET", "path": "/"}],
                "fields": ["*"],
            },
        ],
        "mandate": {
            "legal_basis": BASIS,
            "period": {"from": "2026-01-01T00:00:00Z"},
            "fields": ["*"],
            **changes,
        },
    }


@pytest.fixture(scope="session")
def audited_world() -> Iterator[SmallWorld]:
    """MOF calls MPI; the province audits both, with more and less of a right."""
    agreements = (
        small.agreement("mof-mpi"),
        small.agreement(DELAYED, disclosure_delay_days=30),
        mandate("audit"),
        mandate("narrow", small.BUDGET, fields=["client", "status", "id"]),
        mandate("long", period={"from": "2020-01-01T00:00:00Z"}),
        mandate("ended") | {"valid_until": "2021-01-01T00:00:00Z"},
        mandate("whole", hidden=True),
        mandate("mof-whole", provider=small.MOF, hidden=True),
        mandate("mof-audit", provider=small.MOF),
        mandate("mpi-content", fields=["*", "content"]),
        mandate("portal", subjects=True),
        mandate("portal-mof", provider=small.MOF, subjects=True),
        mandate("inspector", subjects=True, hidden=True),
        mandate("walk-mpi", fields=["*", "content"], subjects=True, hidden=True),
        mandate(
            "walk-mof", provider=small.MOF, fields=["*", "content"], subjects=True, hidden=True
        ),
    )
    with world_of(agreements) as built:
        yield built


@pytest.fixture(scope="session")
def abandoned_world() -> Iterator[SmallWorld]:
    """The same, smaller: MOF has used a person's record twice, MPI's log has committed to its
    subjects, and MPI's server is there no more: tests stand in its place."""
    agreements = (
        small.agreement("mof-mpi"),
        mandate("mof-audit", provider=small.MOF),
        mandate("mpi-audit"),
        mandate("inspector", subjects=True, hidden=True),
    )
    with world_of(agreements) as built:
        assert built.call(headers={"X-Road-Id": CALLED}).status == 200
        for number in (1, 2):
            headers = {"X-Road-Id": f"use-{number}", "Exchange-Subject": PERSON}
            assert built.call(headers=headers).status == 200
        published(built)
        built.mpi.process.stop()
        asyncio.run(_next_month(built))
        yield built


async def _next_month(world: SmallWorld) -> None:
    """Have MPI's log commit to its subjects, as its server does when a month is over."""
    clock = ShiftedClock(32 * 86_400.0)
    key = log_key(world.mpi.journal.parent / "journal.key")
    origin = origin_of(world.mpi.plan.id)
    async with journal_in(world.mpi.journal, QUICK, origin=origin, key=key) as journal:
        assert await SubjectIndexing(journal, small.MPI, clock).look()
        await until(lambda: journal.published_size == journal.size, WAIT_S)


def mandates_of(world: SmallWorld, *names: str) -> list[Path]:
    """The sealed mandates, where their providers pinned them."""
    return [
        path
        for server in (world.mof, world.mpi)
        for name in names
        if (path := server.agreements / f"{name}.jws").exists()
    ]


def asked(
    world: SmallWorld, command: str, mandates: list[Path], *more: object
) -> tuple[int, dict[str, Any]]:
    """Run `saphan audit ask` or `usage` as the auditor does; exit code and its JSON."""
    words: list[object] = ["audit", command, "--via", world.mof.url("http"), "--json"]
    for path in mandates:
        words += ["--mandate", path]
    words += ["--registry", world.world.registry_url, "--root", world.world.anchor, *more]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.stdout, result.stderr
    return result.exit_code, json.loads(result.stdout)


def published(world: SmallWorld) -> None:
    """Wait until both journals have published all that they hold."""
    for server in (world.mof, world.mpi):
        if server.process.running:
            wait_published(server, WAIT_S)


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    """How each server took the question."""
    return {row["server"]: row["outcome"] for row in report["asked"]}
