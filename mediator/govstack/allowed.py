"""What a client may call of a provider: asked of the provider's server, signed and recorded."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from exchange.identifiers import ApplicationId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import ALLOWED_METHODS
from mediator import xroad
from mediator.consumer.path import Consumer
from mediator.govstack import forms
from mediator.message.gate import Gate
from mediator.pages.metaservices import Listed


@dataclass(frozen=True, slots=True)
class AllowedMethods:
    """The metaservice allowedMethods, called for a client of this server."""

    consumer: Consumer
    gate: Gate

    async def __call__(self, client: ApplicationId, provider: ApplicationId) -> list[Listed]:
        """The services of ``provider`` that agreements open to ``client``.

        Raises:
            Problem: whatever stopped the exchange, or ``PeerProtocolError`` for another answer
                than a list, or one too long to be held in memory.
        """
        service = ServiceId(
            provider.instance,
            provider.member_class,
            provider.member_code,
            provider.application_code,
            ALLOWED_METHODS,
        )
        call = xroad.call_of(
            "GET",
            f"/r1/{service}",
            (service, "", ""),
            (("accept", "application/json"),),
            b"",
            client,
            xroad.new_request_id(),
        )
        with self.gate:
            reply = await self.consumer.exchange(call)
        if reply.status != 200 or not isinstance(reply.body, bytes):
            raise Problem(
                Code.PEER_NONSENSE, where="answer", detail=f"{reply.status} is no list of services"
            )
        try:
            return forms.services_read(orjson.loads(reply.body))
        except orjson.JSONDecodeError as error:
            raise Problem(Code.PEER_NONSENSE, where="answer", detail="is not JSON") from error
