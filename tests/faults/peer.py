"""A security server played by the test: it signs with the world's keys and sends over the link."""

from __future__ import annotations

import http.client
import secrets
import ssl
import time
from dataclasses import dataclass

from exchange.identifiers import MemberId
from exchange.keys import signing_key
from exchange.messages.digest import content_digest
from exchange.messages.envelope import RequestHead, seal_request
from tests.world import small
from tests.world.small import Answer, SmallWorld

LIFETIME_S = 60


@dataclass(frozen=True, slots=True)
class Message:
    """The signed bytes of one message."""

    id: str
    nonce: str
    target: str
    head: RequestHead


def seal(world: SmallWorld, message_id: str, member: MemberId = small.MOF) -> Message:
    """A call of MOF's budget application for a project at MPI, signed now."""
    issued = world.mof.seals[member]
    assert issued.private_key is not None
    target = f"/r1/{small.PROJECTS}/projects/P-1"
    headers = (
        ("exchange-purpose", small.PURPOSE),
        ("x-road-client", str(small.BUDGET)),
        ("x-road-id", message_id),
        ("x-road-request-id", f"request-{message_id}"),
        ("content-digest", content_digest(b"")),
    )
    head = RequestHead("GET", world.mpi.url("peer") + target, headers)
    now, nonce = int(time.time()), secrets.token_urlsafe(16)
    signed = seal_request(
        head,
        signing_key(issued.private_key, issued.certificate),
        created=now,
        expires=now + LIFETIME_S,
        nonce=nonce,
    )
    return Message(message_id, nonce, target, head.with_headers(signed.headers_to_add))


def link_context(world: SmallWorld) -> ssl.SSLContext:
    """TLS as MOF's security server speaks it."""
    context = ssl.create_default_context(cafile=str(world.world.authorities))
    context.check_hostname = False
    context.load_cert_chain(world.mof.folder / "auth.pem", world.mof.folder / "auth.key")
    return context


def send(world: SmallWorld, message: Message, context: ssl.SSLContext) -> Answer | None:
    """Send a message to MPI's server; None when no whole answer came."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", world.mpi.ports["peer"], timeout=20, context=context
    )
    try:
        connection.putrequest("GET", message.target, skip_accept_encoding=True)
        for name, value in message.head.headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
