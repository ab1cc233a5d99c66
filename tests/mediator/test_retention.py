"""mediator/retention/classes.py: what is kept of an exchange is the least that anybody says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from exchange.agreements import Keep, Retention
from exchange.identifiers import ServiceId
from exchange.journal.entries import Side
from mediator.journal.keyring import DEFAULT_DAYS
from mediator.retention.classes import Kept, Retentions, RetentionSettings
from tests.journal.world import CLIENT, SERVICE, entry, part

OTHER = ServiceId.parse("LA/GOV/MPI/oda-mis/disbursements")


@dataclass
class Agreed:
    """Agreements of the pair of the world's entries."""

    retentions: dict[Any, tuple[Retention, ...]] = field(default_factory=dict)


def kept(side: Side, service: ServiceId | None = SERVICE, **said: Any) -> Kept:
    return Retentions(**said).of(entry(0, side=side, service=service))


def test_what_nobody_says_is_kept_for_ten_years() -> None:
    """Bodies and all, on either side, and of what has no service."""
    for side in Side:
        assert kept(side) == kept(side, None) == Kept(Keep.BODIES, DEFAULT_DAYS)


@pytest.mark.parametrize(
    ("server", "service", "agreements", "expected"),
    [
        (RetentionSettings(Keep.HEADERS), None, (), Kept(Keep.HEADERS)),
        (RetentionSettings(days=9000), None, (), Kept(days=9000)),
        (RetentionSettings(days=30), RetentionSettings(days=90), (), Kept(days=30)),
        (None, RetentionSettings(Keep.METADATA, 30), (), Kept(Keep.METADATA, 30)),
        (None, RetentionSettings(days=30), (Retention(Keep.HEADERS, 60),), Kept(Keep.HEADERS, 30)),
        (None, None, (Retention(days=60), Retention(Keep.HEADERS)), Kept(Keep.HEADERS, 60)),
    ],
)
def test_the_least_is_kept(
    server: RetentionSettings | None,
    service: RetentionSettings | None,
    agreements: tuple[Retention, ...],
    expected: Kept,
) -> None:
    """Of server, service and all agreements of the pair, member by member."""
    said = {
        "server": server,
        "services": {} if service is None else {SERVICE: service},
        "agreements": Agreed({(CLIENT, SERVICE): agreements} if agreements else {}),
    }
    assert kept(Side.PROVIDER, **said) == expected
    alone = (
        Kept().and_not_more_than(server) if server is None else kept(Side.PROVIDER, server=server)
    )
    assert kept(Side.PROVIDER, OTHER, **said) == alone


def test_at_the_consumer_the_settings_of_the_call_count() -> None:
    """A service of the same name that is offered here, and agreements, do not."""
    settings = {SERVICE: RetentionSettings(days=30)}
    assert kept(Side.CONSUMER, calls=settings) == Kept(days=30)
    assert kept(Side.CONSUMER, services=settings) == Kept()
    assert kept(Side.PROVIDER, calls=settings) == Kept()


def test_what_the_server_says_of_itself_is_kept() -> None:
    """Orders stay readable where messages are kept as entries alone, for the server's days."""
    metadata = RetentionSettings(Keep.METADATA, 30)
    assert kept(Side.SERVER, None, server=metadata) == Kept(Keep.BODIES, 30)
    assert Retentions(metadata).longest_days == 30


def test_what_is_sealed_of_a_part() -> None:
    """All, all but the body, or nothing."""
    whole = part(0)
    assert Kept().of(whole) == whole
    assert Kept(Keep.HEADERS).of(whole) == whole._replace(body=b"")
    assert Kept(Keep.METADATA).of(whole) is None
    assert Kept().of(None) is None
