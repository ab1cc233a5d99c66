"""The link: what a failure to reach a server means for the next one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.messages.envelope import RequestHead
from exchange.problems import Code
from exchange.registrations import ServerRecord
from exchange.trust.admission import admit_member
from exchange.trust.state import RegistryState
from mediator.background.revocation import Unchecked
from mediator.consumer.attempts import Fate, Missed
from mediator.consumer.link import Link
from mediator.message.stages import RecordedCall, Routed, SealedCall
from mediator.settings import CallSettings, LimitSettings
from mediator.xroad import call_of, service_of
from tests.registry.simulator import MPI, NOW, instance_record, member_record

BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")
TARGET = "/r1/LA/GOV/MPI/oda-mis/projects/x"


@pytest.mark.parametrize("said", [b"", b"220 smtp.example ESMTP\r\n"], ids=["silence", "no TLS"])
async def test_a_server_with_which_tls_is_not_agreed_may_be_passed_over(said: bytes) -> None:
    """Nothing of the message has left: the provider's next server may be tried."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as other:
        address = f"https://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        server = ServerRecord(ServerId.parse("LA/GOV/MPI/ss1"), address, (), ())
        call = call_of("GET", TARGET, service_of(TARGET, 8190), (), b"", BUDGET, "trace")
        head = RequestHead("GET", address + TARGET, ())
        sealed = SealedCall(Routed(call, (server,), ""), server, head, cast(Any, None), "")
        state: Any = SimpleNamespace(version=1)
        link = Link(
            ssl.create_default_context(), lambda: state, Unchecked(), LimitSettings(connect_s=2)
        )
        with pytest.raises(Missed) as caught:
            await link.send(RecordedCall(sealed, cast(Any, None)), 5)
        assert caught.value.problem.code is Code.PEER_UNREACHABLE
        assert caught.value.fate is Fate.NOT_SENT
        await link.close()


async def test_a_called_service_has_waits_of_its_own() -> None:
    """A server that never agrees on TLS is given up when the bound of the service is over."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"https://127.0.0.1:{mute.getsockname()[1]}"
        server = ServerRecord(ServerId.parse("LA/GOV/MPI/ss1"), address, (), ())
        call = call_of("GET", TARGET, service_of(TARGET, 8190), (), b"", BUDGET, "trace")
        service = call.service
        head = RequestHead("GET", address + TARGET, ())
        sealed = SealedCall(Routed(call, (server,), ""), server, head, cast(Any, None), "")
        state: Any = SimpleNamespace(version=1)
        own = CallSettings(service, connect_s=0.2, exchange_s=7)
        limits = LimitSettings(connect_s=300, exchange_s=400)
        link = Link(ssl.create_default_context(), lambda: state, Unchecked(), limits, [own])
        assert link.exchange_s(service) == 7
        assert link.exchange_s(ServiceId.parse("LA/GOV/MPI/oda-mis/other")) == 400
        with pytest.raises(Missed) as caught:
            await link.send(RecordedCall(sealed, cast(Any, None)), 60)
        facts = caught.value.problem.facts
        assert (facts["limit"], facts["seconds"]) == ("connect_s", 0.2)
        assert caught.value.fate is Fate.NOT_SENT
        await link.close()


def state_of(version: int, address: str, *members: MemberId) -> RegistryState:
    """What the registry says: MPI's server stands at this address, when MPI is a member."""
    instance, records = instance_record(), [member_record(member) for member in members]
    moved = [
        replace(record, servers=tuple(replace(one, address=address) for one in record.servers))
        for record in records
    ]
    return RegistryState.build(
        instance,
        [admit_member(record, instance, NOW) for record in moved],
        openapi={},
        schemas={},
        version=version,
        expires=NOW + timedelta(hours=1),
    )


async def test_servers_that_leave_the_registry_leave_no_lines_behind() -> None:
    """However often servers move or go, the link keeps a line for those only that are named."""
    state = state_of(1, "https://127.0.0.1:1", MPI)
    limits = LimitSettings(connect_s=2)
    link = Link(ssl.create_default_context(), lambda: state, Unchecked(), limits)

    async def call(service: str) -> None:
        (server,) = state.servers_of(ApplicationId.parse("LA/GOV/MPI/oda-mis"))
        target = f"/r1/LA/GOV/MPI/oda-mis/{service}"
        asked = call_of("GET", target, service_of(target, 8190), (), b"", BUDGET, "trace")
        head = RequestHead("GET", server.address + target, ())
        sealed = SealedCall(Routed(asked, (server,), ""), server, head, cast(Any, None), "")
        with pytest.raises(Missed):
            await link.send(RecordedCall(sealed, cast(Any, None)), 5)

    for version in range(1, 6):
        state = state_of(version, f"https://127.0.0.1:{version}", MPI)
        await call("projects")
        await call("listMethods")
        assert link.lines == 2
    state = state_of(9, "https://127.0.0.1:5", MPI)  # another member changed: all stays
    await call("projects")
    assert link.lines == 2
    await link.close()
