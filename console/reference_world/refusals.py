"""The story, step 5: what must fail, fails, with the right code, and is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from console.reference_world import data, laos
from console.reference_world.calls import Left, call, entries_of, require
from console.reference_world.standing import RunningServer
from console.reference_world.story import Asked, Exchanged
from console.reference_world.world import World
from exchange.identifiers import ApplicationId, ServerId, ServiceId
from exchange.journal.entries import Kind, parse_entry
from exchange.journal.sealed_parts import SealedPart
from exchange.problems import CATALOGUE, Code, Text
from mediator.journal.reader import JournalReader
from serving import tls
from serving.answers import Answer as PeerAnswer
from serving.client import Pool

PEER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that was tried and stopped: by which problem, at which place, and the records."""

    title: Text
    tried: str
    code: str
    status: int
    where: str
    said: str
    remedy: Text
    entries: tuple[Left, ...]


@dataclass(frozen=True, slots=True)
class _Tried:
    """What was tried and what came back; ``servers`` hold its entries."""

    title: Text
    tried: str
    expected: Code
    status: int
    headers: dict[str, str]
    body: bytes
    message_id: str
    servers: tuple[ServerId, ...]


def refuse(world: World, asked: Asked) -> tuple[Refused, ...]:
    """Try four things that must not work, and see that each was stopped and recorded."""
    tried = (
        _without_agreement(world),
        _field_not_released(world),
        _broken_record(world),
        _replay(world, asked.exchanges[0]),
    )
    return tuple(_refused(world, each) for each in tried)


def _without_agreement(world: World) -> _Tried:
    title = Text("MOIC asks without an agreement", "MOIC ຂໍຂໍ້ມູນໂດຍບໍ່ມີຂໍ້ຕົກລົງ")
    path = f"/summary?fiscal_year={laos.FISCAL_YEAR}"
    return _try(world, title, Code.ACCESS_DENIED, laos.PORTAL, laos.DISBURSEMENTS, path)


def _field_not_released(world: World) -> _Tried:
    title = Text(
        "MOF asks for a field that the agreement does not release",
        "MOF ຂໍຂໍ້ມູນທີ່ຂໍ້ຕົກລົງບໍ່ອະນຸຍາດ",
    )
    path = f"/summary?fiscal_year={laos.FISCAL_YEAR}&fields=province,planned_usd"
    return _try(world, title, Code.FIELD_NOT_RELEASED, laos.BUDGET, laos.DISBURSEMENTS, path)


def _broken_record(world: World) -> _Tried:
    title = Text(
        "A record that breaks its schema is stopped at MPI",
        "ຂໍ້ມູນທີ່ຜິດໂຄງສ້າງ ຖືກຢຸດຢູ່ MPI",
    )
    path = f"/projects/{data.BROKEN_PROJECT}"
    tried = _try(world, title, Code.RESPONSE_SCHEMA_VIOLATION, laos.BUDGET, laos.PROJECTS, path)
    require(b"1500000" not in tried.body, title.en, "its value reached the application")
    return tried


def _try(
    world: World, title: Text, expected: Code, client: ApplicationId, service: ServiceId, path: str
) -> _Tried:
    answer = call(world, client, service, path, purpose=laos.PURPOSE)
    servers = tuple(world.server_of(party.member).plan.id for party in (client, service))
    return _Tried(
        title,
        f"{client} → {service}{path}",
        expected,
        answer.status,
        answer.headers,
        answer.body,
        answer.message_id,
        servers,
    )


def _replay(world: World, exchange: Exchanged) -> _Tried:
    """A message of step 4 comes again, byte for byte, over its sender's own certificate."""
    mof, mpi = world.servers[laos.MOF_SERVER], world.servers[laos.MPI_SERVER]
    index = next(
        left.index for left in exchange.entries if (left.side, left.kind) == ("consumer", "request")
    )
    answer = asyncio.run(_send_again(world, mof, mpi, _message(mof, index)))
    return _Tried(
        Text("A message that came before comes again", "ສົ່ງຂໍ້ຄວາມເກົ່າຄືນອີກຄັ້ງ"),
        f"the message of step 4, byte for byte → {mpi.url('peer')}",
        Code.REPLAYED_MESSAGE,
        answer.status,
        dict(answer.headers),
        answer.body,
        exchange.message_id,
        (laos.MPI_SERVER,),
    )


def _message(server: RunningServer, index: int) -> SealedPart:
    """A message exactly as it went over the wire, out of the sender's own journal."""
    journal = JournalReader(server.journal)
    return journal.open(parse_entry(journal.entry(index)), journal.ciphertext(index)).part


async def _send_again(
    world: World, sender: RunningServer, receiver: RunningServer, message: SealedPart
) -> PeerAnswer[bytes]:
    url = urlsplit(receiver.url("peer"))
    context = tls.peer_client_context(
        sender.folder / "auth.pem", sender.folder / "auth.key", world.pki.authorities
    )
    pool = Pool(url.hostname or "", url.port or 443, ssl=context)
    try:
        return await pool.exchange(
            message.head.method or "",
            message.head.target or "",
            (("host", url.netloc), *message.head.headers),
            message.body,
            timeout_s=PEER_TIMEOUT_S,
        )
    finally:
        await pool.close()


# --- what came of it ---------------------------------------------------------------------------


def _refused(world: World, tried: _Tried) -> Refused:
    title = tried.title.en
    code = tried.headers.get("x-road-error", "").rpartition(".")[2]
    require(
        code == tried.expected.value,
        title,
        f"expected {tried.expected}, got {tried.status} {code}: {tried.body[:300]!r}",
    )
    entries = entries_of([world.servers[server] for server in tried.servers], tried.message_id)
    _check_recorded(title, tried.expected, entries)
    said = orjson.loads(tried.body)
    return Refused(
        tried.title,
        tried.tried,
        code,
        tried.status,
        said["where"],
        said["message"],
        CATALOGUE[tried.expected].remedy,
        entries[-1:] if tried.expected is Code.REPLAYED_MESSAGE else entries,
    )


def _check_recorded(title: str, expected: Code, entries: Sequence[Left]) -> None:
    """The provider's last word on it is this refusal; the request before it is recorded too."""
    provider = [left for left in entries if left.side == "provider"]
    require(
        len(provider) >= 2
        and provider[0].kind == Kind.REQUEST
        and (provider[-1].kind, provider[-1].problem) == (Kind.REFUSAL, expected.value),
        title,
        f"the provider's journal holds {provider}",
    )
