"""Rules of console.auditing.crossing: what one side shows that the other owes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from console.auditing.asking import Found
from console.auditing.crossing import must_show, owed
from exchange.agreements import parse_agreement
from exchange.identifiers import MemberId, ServerId
from exchange.journal.auditing import Hit
from tests.world import small
from tests.world.audits import mandate

EXCHANGE = {"id": "m-1", "client": str(small.BUDGET), "service": str(small.PROJECTS)}
MOF_SIDE = ("LA/GOV/MOF/ss1", "consumer")
MPI_SIDE = ("LA/GOV/MPI/ss1", "provider")


def found(side: tuple[str, str], kind: str, **changes: Any) -> Found:
    """An entry as a server showed it."""
    server = ServerId.parse(side[0])
    shown = {**EXCHANGE, "at": "2026-11-21T08:00:00.000Z", "side": side[1], "kind": kind, **changes}
    return Found(server, server.member, Hit(1, bytes(32), (), shown=shown))


@pytest.mark.parametrize(
    ("shown", "by"),
    [
        ([found(MOF_SIDE, "request"), found(MOF_SIDE, "response")], "LA/GOV/MPI"),
        ([found(MPI_SIDE, "request"), found(MPI_SIDE, "refusal")], "LA/GOV/MOF"),
        ([found(MOF_SIDE, "response"), found(MPI_SIDE, "request")], None),
        ([found(MOF_SIDE, "request"), found(MOF_SIDE, "failure")], None),
        ([found(MPI_SIDE, "refusal")], None),
        ([found(MOF_SIDE, "response", id=None)], None),
        ([], None),
    ],
)
def test_a_signed_message_is_owed_by_its_signer(shown: list[Found], by: str | None) -> None:
    """A proven answer by the provider, an opened request by the consumer; what never arrived, or
    cannot be named, by nobody."""
    assert [str(debt.by) for debt in owed(shown)] == ([by] if by else [])


@pytest.mark.parametrize(
    ("changes", "must"),
    [
        ({}, True),
        ({"fields": ["client"]}, False),
        ({"period": {"from": "2026-12-01T00:00:00Z"}}, False),
        ({"organisations": ["LA/GOV/MOF"]}, True),
        ({"organisations": ["LA/GOV/MOH"]}, False),
        ({"services": ["LA/GOV/MPI/oda-mis/closed"]}, False),
    ],
)
def test_only_what_the_mandate_covers_must_be_shown(changes: dict[str, Any], must: bool) -> None:
    """Nobody is accused of what the auditor may not see."""
    (debt,) = owed([found(MOF_SIDE, "response")])
    over = parse_agreement(json.dumps(mandate("audit", **changes)).encode())
    assert must_show(over, debt) is must
    other = dataclasses.replace(debt, by=MemberId.parse("LA/GOV/MOH"))
    assert not must_show(over, other)
