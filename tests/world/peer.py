"""A hand-made peer: signs messages with a member's key and sends them over the link.

What a real server would never send is sent from here: replays, stale or changed messages, wrong
certificates.
"""

from __future__ import annotations

import secrets
import ssl
import time
from dataclasses import dataclass, replace
from pathlib import Path

from certs.issue import Issued
from exchange.identifiers import ServiceId
from exchange.keys import signing_key
from exchange.messages.digest import content_digest
from exchange.messages.envelope import Headers, RequestHead, seal_request
from tests.world import small
from tests.world.small import Answer, SmallWorld, exchange


@dataclass(frozen=True, slots=True)
class Message:
    """A signed message as it goes over the wire."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    def changed(self, name: str, value: str | None) -> Message:
        """The same bytes with one header changed, added or dropped."""
        kept = tuple(item for item in self.headers if item[0] != name)
        return replace(self, headers=kept if value is None else (*kept, (name, value)))


def message(
    world: SmallWorld,
    *,
    path: str = "/projects/P-1",
    method: str = "GET",
    body: bytes = b"",
    client: str = str(small.BUDGET),
    seal: Issued | None = None,
    age_s: int = 0,
    lifetime_s: int = 60,
    message_id: str = "",
    service: ServiceId = small.PROJECTS,
    more: Headers = (("exchange-purpose", small.PURPOSE),),
) -> Message:
    """A message of MOF's budget application to MPI, signed as its own server would."""
    issued = seal or world.mof.seals[small.MOF]
    if issued.private_key is None:
        raise RuntimeError("the seal key is not here")
    target = f"/r1/{service}{path}"
    headers: Headers = (
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
        *more,
        ("x-road-client", client),
        ("x-road-id", message_id or f"peer-{secrets.token_hex(8)}"),
        ("x-road-request-id", f"trace-{secrets.token_hex(8)}"),
        ("content-digest", content_digest(body)),
    )
    if body:
        headers = (("content-type", "application/json"), *headers)
    created = int(time.time()) - age_s
    signed = seal_request(
        RequestHead(method, world.mpi.url("peer") + target, headers),
        signing_key(issued.private_key, issued.certificate),
        created=created,
        expires=created + lifetime_s,
        nonce=secrets.token_urlsafe(16),
    )
    return Message(method, target, (*headers, *signed.headers_to_add), body)


def context(
    world: SmallWorld, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """TLS as MOF's server does it, or with another certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(world.world.authorities)
    folder = world.mof.folder
    made.load_cert_chain(certificate or folder / "auth.pem", key or folder / "auth.key")
    return made


def send(world: SmallWorld, sent: Message, tls: ssl.SSLContext | None = None) -> Answer:
    """Send a message to MPI's server and return what it answers."""
    return exchange(
        world.mpi.url("peer"),
        sent.method,
        sent.target,
        dict(sent.headers),
        sent.body or None,
        tls or context(world),
    )
