"""The story, step 6: the State Inspection Authority finds, exports, stamps and verifies; then one
byte of a journal's copy is changed, and the verification says which entry.

Everything here reads files, except for the time-stamp, which is asked for over HTTP, and for what
SIA asks the servers under its mandates (:mod:`console.reference_world.inspection`).
"""

from __future__ import annotations

import http.client
import secrets
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from console.reference_world import laos
from console.reference_world.calls import require, wait_published
from console.reference_world.inspection import Answered, inspect
from console.reference_world.standing import RunningServer
from console.reference_world.story import Agreements, Asked, Exchanged
from console.reference_world.world import World
from exchange.certificates.reading import fingerprint_of
from exchange.evidence import timestamps
from exchange.identifiers import ServerId
from exchange.log.tiles import ENTRIES, WIDTH, tile_at
from exchange.problems import Code, Problem
from mediator.journal.export import (
    Chosen,
    Surroundings,
    make_export,
    verify_export,
    write_export,
)
from mediator.journal.index import Query, search
from mediator.journal.reader import JournalReader
from mediator.journal.verify import verify
from mediator.journal.verify.signers import find_signers

TIMESTAMP_TIMEOUT_S = 10.0
_SEARCH_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Found:
    """One entry that a search over all journals gave."""

    journal: str
    index: int
    at: str
    side: str
    kind: str
    status: int | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Exported:
    """The evidence of one exchange, and what its own verification says."""

    folder: str
    entries: int
    opened: int
    signatures: int


@dataclass(frozen=True, slots=True)
class Stamped:
    """A checkpoint that a time-stamp authority has seen."""

    journal: str
    size: int
    time: str
    serial: str
    token: str


@dataclass(frozen=True, slots=True)
class Changed:
    """One byte that was changed in a copy of a journal, and what the verification said."""

    copy: str
    file: str
    offset: int
    before: str
    after: str
    index: int
    finding: str


@dataclass(frozen=True, slots=True)
class Proven:
    """Step 6: what the auditor has in hand."""

    exchange: str
    journals_searched: int
    found: tuple[Found, ...]
    under_agreement: int
    exported: Exported
    stamps: tuple[Stamped, ...]
    asked: tuple[Answered, ...]
    changed: Changed


@dataclass(frozen=True, slots=True)
class Verified:
    """A journal that is as it was recorded."""

    server: str
    journal: str
    entries: int
    root: str
    sealed: int
    opened: int
    signatures: int
    """Of messages, verified with the certificates in the server's copy of the registry."""


def prove(world: World, sealed: Agreements, asked: Asked) -> Proven:
    """SIA searches, exports and stamps the first exchange of step 4, and tries a changed copy."""
    exchange = asked.exchanges[0]
    servers = list(world.servers.values())
    for server in servers:
        wait_published(server)
    journals = {server.plan.id: JournalReader(server.journal) for server in servers}
    evidence = world.directory / "evidence"
    evidence.mkdir()
    found = _search(journals, Query(id=exchange.message_id))
    require(len(found) >= 4, "search", f"found {len(found)} entries, not both sides' four")
    agreement = sealed.agreements[0].reference
    involved = [journals[laos.MOF_SERVER], journals[laos.MPI_SERVER]]
    return Proven(
        exchange=exchange.message_id,
        journals_searched=len(journals),
        found=found,
        under_agreement=len(_search(journals, Query(agreement=agreement))),
        exported=_export(world, involved, exchange, evidence / "exchange"),
        stamps=tuple(_stamp(world, journal, evidence) for journal in involved),
        asked=inspect(world, sealed.mandates, exchange.message_id),
        changed=_change(world.servers[laos.MPI_SERVER], exchange, evidence / "changed-journal"),
    )


def checkpoints(world: World) -> dict[ServerId, bytes]:
    """The signed checkpoints as they are now, to be held against the journals later."""
    return {
        server.plan.id: JournalReader(server.journal).checkpoint_note
        for server in world.servers.values()
    }


def verify_all(world: World, known: Mapping[ServerId, bytes]) -> tuple[Verified, ...]:
    """Verify every journal from its files alone, against checkpoints remembered from before.

    Raises:
        Problem: that of the first finding.
    """
    return tuple(_verify(server, known.get(server.plan.id)) for server in world.servers.values())


def _verify(server: RunningServer, known: bytes | None) -> Verified:
    verdict = verify(server.journal, known=known, signers=find_signers(server.journal).signers)
    for finding in verdict.findings:
        raise Problem(finding.code, where=f"{server.plan.id}", detail=str(finding))
    return Verified(
        server=str(server.plan.id),
        journal=str(server.journal),
        entries=verdict.size,
        root=verdict.root,
        sealed=verdict.sealed,
        opened=verdict.opened,
        signatures=verdict.signed.verified if verdict.signed else 0,
    )


def _search(journals: Mapping[ServerId, JournalReader], query: Query) -> tuple[Found, ...]:
    readers = [journal.index() for journal in journals.values()]
    names = {journal.origin: str(server) for server, journal in journals.items()}
    try:
        hits = search(readers, query, _SEARCH_LIMIT).hits
    finally:
        for reader in readers:
            reader.close()
    return tuple(
        Found(
            journal=names[hit.origin],
            index=hit.index,
            at=hit.at.isoformat(timespec="milliseconds"),
            side=hit.side,
            kind=hit.kind,
            status=hit.status,
            problem=hit.problem,
        )
        for hit in reversed(hits)
    )


def _export(
    world: World, journals: Sequence[JournalReader], exchange: Exchanged, folder: Path
) -> Exported:
    certificates = {
        fingerprint_of(issued.certificate): issued.certificate
        for server in world.servers.values()
        for issued in server.seals.values()
    }
    chosen = [
        Chosen(journal, index)
        for journal in journals
        for index, _ in journal.of_message(exchange.message_id)
    ]
    around = Surroundings(certificates, tuple(world.pki.authorities))
    write_export(make_export(chosen, around), folder, None, datetime.now(UTC))
    verdict = verify_export(folder, [journal.key for journal in journals])
    require(
        verdict.good and verdict.without_certificate == 0 and verdict.signatures >= 4,
        "export",
        f"its verification says {verdict}",
    )
    return Exported(str(folder), verdict.entries, verdict.opened, verdict.signatures)


def _stamp(world: World, journal: JournalReader, folder: Path) -> Stamped:
    """Have the checkpoint stamped (RFC 3161) and check the token with the files alone."""
    digest = sha256(journal.checkpoint_note).digest()
    nonce = secrets.randbits(64) | 1
    token = timestamps.open_response(_ask_stamper(world, timestamps.format_request(digest, nonce)))
    stamp = timestamps.check_token(token, digest, world.pki.authorities, nonce=nonce)
    name = journal.origin.replace("/", ".")
    (folder / f"{name}.checkpoint").write_bytes(journal.checkpoint_note)
    path = folder / f"{name}.token.der"
    path.write_bytes(token)
    return Stamped(
        journal=journal.origin,
        size=journal.checkpoint.size,
        time=stamp.time.isoformat(),
        serial=str(stamp.serial),
        token=str(path),
    )


def _ask_stamper(world: World, query: bytes) -> bytes:
    if world.stamper is None:
        raise Problem(Code.INTERNAL_ERROR, where="time-stamp authority", detail="is not here")
    request = urllib.request.Request(  # noqa: S310 - our own, on loopback
        world.stamper.url, query, {"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMESTAMP_TIMEOUT_S) as answer:  # noqa: S310
            response: bytes = answer.read(timestamps.MAX_TOKEN_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Problem(
            Code.INTERNAL_ERROR, where=world.stamper.url, detail=f"no time-stamp: {error}"
        ) from error
    return response


def _change(server: RunningServer, exchange: Exchanged, copy: Path) -> Changed:
    """Change one byte of the answer's entry in a copy of the journal, and verify the copy."""
    shutil.copytree(server.journal, copy)
    journal = JournalReader(copy)
    index = next(
        left.index
        for left in exchange.entries
        if (left.side, left.kind) == ("provider", "response")
    )
    tile = tile_at(ENTRIES, index // WIDTH, journal.checkpoint.size)
    path = copy / "log" / str(tile)
    data = bytearray(path.read_bytes())
    entry = journal.entry(index)
    offset = data.index(entry) + entry.index(exchange.message_id.encode())
    before = data[offset]
    data[offset] ^= 1
    path.write_bytes(data)
    verdict = verify(copy)
    require(
        [finding.index for finding in verdict.findings] == [index],
        "changed journal",
        f"the verification says {[str(finding) for finding in verdict.findings]}, "
        f"not entry {index}",
    )
    return Changed(
        copy=str(copy),
        file=f"log/{tile}",
        offset=offset,
        before=f"0x{before:02x}",
        after=f"0x{data[offset]:02x}",
        index=index,
        finding=str(verdict.findings[0]),
    )
