"""Shared parameters (``/verificationconf``) are made for a state of the registry, once."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

from exchange.identifiers import MemberId
from exchange.trust.admission import admit_member
from exchange.trust.state import RegistryState
from mediator.xroad import Connection
from mediator.xroad.verification import VerificationConf, verification_zip
from serving.requests import Request
from tests.registry.simulator import MOF, MPI, NOW, instance_record, member_record

REGISTRY = "https://registry.example"


def state_of(*members: MemberId) -> RegistryState:
    record = instance_record()
    return RegistryState.build(
        record,
        [admit_member(member_record(member), record, NOW) for member in members],
        openapi={},
        schemas={},
        version=1,
        expires=NOW + timedelta(hours=1),
    )


async def test_the_zip_is_made_once_for_each_state() -> None:
    """Whoever asks often costs nothing more; a new state is told at once."""
    states = [state_of(MOF), state_of(MOF, MPI)]
    page = VerificationConf(lambda: states[0], REGISTRY)
    request, connection = cast(Request, None), Connection(tls=False, certificate=None)
    first, again = [(await page(request, connection)).body for _ in range(2)]
    assert first is again
    assert first == verification_zip(states.pop(0), REGISTRY)
    assert (await page(request, connection)).body == verification_zip(states[0], REGISTRY)
