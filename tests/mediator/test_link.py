"""The link: what a failure to reach a server means for the next one."""

from __future__ import annotations

import asyncio
import ssl
from types import SimpleNamespace
from typing import Any, cast

import pytest

from exchange.envelope import RequestHead
from exchange.identifiers import ApplicationId, ServerId
from exchange.problems import Code
from exchange.trust import ServerRecord
from mediator.attempts import Fate, Missed
from mediator.link import Link
from mediator.settings import LimitSettings
from mediator.stages import RecordedCall, Routed, SealedCall
from mediator.xroad import call_of, service_of

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
        link = Link(ssl.create_default_context(), lambda: state, LimitSettings(connect_s=2))
        with pytest.raises(Missed) as caught:
            await link.send(RecordedCall(sealed, cast(Any, None)), 5)
        assert caught.value.problem.code is Code.PEER_UNREACHABLE
        assert caught.value.fate is Fate.NOT_SENT
        await link.close()
