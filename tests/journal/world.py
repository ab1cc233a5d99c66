"""What the journal's tests share: entries, parts, an open journal, and a disk that fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.journal.entries import Entry, Kind, Side
from exchange.journal.sealed_parts import Head, SealedPart
from exchange.keys import SigningKey
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.notes import VerifierKey
from exchange.messages.digest import content_digest
from exchange.messages.signature import signature_base
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal, JournalSettings
from mediator.journal.verify import Verdict, verify
from serving.log.files import RealFiles
from serving.log.tiles import TileFolder

ORIGIN = "journal.test/LA/GOV/MPI/ss1/0"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VERIFIER = VerifierKey.of(ORIGIN, KEY.public_key())
MPI = MemberId.parse("LA/GOV/MPI")
CLIENT = ApplicationId.parse("LA/GOV/MOF/budget")
SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
PEER = ServerId.parse("LA/GOV/MOF/ss1")
NOBODY = sha256(b"a certificate that is nowhere").hexdigest()
START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
QUICK = JournalSettings(publish_interval_s=0.02, probe_interval_s=0.02)
STILL = JournalSettings(publish_interval_s=1000, probe_interval_s=0.02)


def entry(number: int, **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "kind": Kind.REQUEST,
        "side": Side.PROVIDER,
        "at": START + timedelta(milliseconds=number),
        "id": f"LA-{number}",
        "request_id": f"request-{number}",
        "client": CLIENT,
        "service": SERVICE,
        "peer": PEER,
        "method": "GET",
        "endpoint": "/projects/{id}",
        "size": len(body(number)),
        "certificate": NOBODY,
    }
    return Entry(**(values | changes))


def body(number: int) -> bytes:
    return f'{{"project": {number}}}'.encode()


def part(
    number: int,
    kind: Kind = Kind.REQUEST,
    *,
    id: str | None = None,
    client: ApplicationId = CLIENT,
    key: SigningKey | None = None,
    at: datetime | None = None,
) -> SealedPart:
    """What :func:`entry` tells of (``at`` that time) as a signed message; without a key the
    signature is none."""
    digest = content_digest(body(number))
    created = int((at or entry(number).at).timestamp())
    headers = (
        ("x-road-client", str(client)),
        ("x-road-id", id or f"LA-{number}"),
        ("x-road-request-id", f"request-{number}"),
        ("content-digest", digest),
    )
    target = f"/r1/{SERVICE}/projects/{number}"
    lines = {'"@method"': "GET", '"@target-uri"': f"https://ss1.mpi.example:5500{target}"}
    lines |= {f'"{name}"': value for name, value in headers}
    signed_by = (key.keyid, key.algorithm) if key else (NOBODY, "ecdsa-p256-sha256")
    signer = ';keyid="{}";alg="{}"'.format(*signed_by)
    params = f'({" ".join(lines)});created={created}{signer};tag="saphan-request"'
    head = Head(headers, "GET", target)
    if kind is not Kind.REQUEST:
        bound = ('"@method"', '"@target-uri"', '"content-digest"', '"x-road-id"')
        asked = {f"{name};req": lines[name] for name in bound}
        asked['"signature-input";req'] = f"sig={params}"
        lines = {'"@status"': "200"} | {f'"{name}"': value for name, value in headers} | asked
        params = f'({" ".join(lines)});created={created}{signer};tag="saphan-response"'
        head = Head(headers, status=200)
    base = signature_base(lines, lines, params)
    signature = key.sign(base) if key else sha256(str(number).encode()).digest() * 2
    salt = sha256(b"salt" + str(number).encode()).digest()[:16]
    return SealedPart(base, signature, head, body(number), salt)


@contextlib.asynccontextmanager
async def journal_in(
    directory: Path,
    settings: JournalSettings = QUICK,
    origin: str = ORIGIN,
    key: Ed25519PrivateKey = KEY,
    **more: Any,
) -> AsyncIterator[Journal]:
    """An open journal that is closed at the end."""
    journal = await Journal.open(
        directory,
        origin=origin,
        signing_key=key,
        keyring=more.pop("keyring", None) or KeyRing(directory / "keys"),
        settings=settings,
        **more,
    )
    try:
        yield journal
    finally:
        await journal.close()


async def write(directory: Path, numbers: Iterable[int], **more: Any) -> None:
    """Record entries one after another in a journal, each published before the next begins."""
    async with journal_in(directory, more.pop("settings", QUICK), **more) as journal:
        for number in numbers:
            await journal.record(entry(number), MPI, part(number))


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that threads bring about."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for is not of this loop
            await asyncio.sleep(0.005)


def head_of(directory: Path) -> Checkpoint:
    return open_checkpoint((directory / "log" / "checkpoint").read_bytes(), VERIFIER)


def assert_good(directory: Path, size: int | None = None) -> Verdict:
    """The whole journal verifies (and has this size)."""
    verdict = verify(directory)
    assert verdict.findings == ()
    if size is not None:
        assert verdict.size == size
    return verdict


def assert_extends(directory: Path, notes: Iterable[bytes]) -> None:
    """The published log is consistent with every checkpoint that was ever published."""
    head = head_of(directory)
    read = TileFolder(directory / "log").subtrees(head.size)
    for note in notes:
        old = open_checkpoint(note, VERIFIER)
        assert old.size <= head.size
        assert merkle.root(old.size, read) == old.root
        proof = merkle.prove_consistency(old.size, head.size, read)
        merkle.check_consistency(old.size, head.size, proof, old.root, head.root)


@dataclass
class FailingFiles(RealFiles):
    """A disk on which chosen operations fail, before or although they took effect."""

    at: int | None = None
    """The number of the operation that fails, of all."""
    operation: str | None = None
    """Every operation of this name fails, while it is set."""
    persisted: bool = False
    """The operation takes effect and fails nevertheless."""
    code: int = errno.EIO
    count: int = 0
    log: list[str] = field(default_factory=list)

    def _run(self, name: str, *arguments: Any) -> Any:
        self.count += 1
        self.log.append(name)
        if self.count == self.at or name == self.operation:
            if self.persisted:
                getattr(RealFiles, name)(self, *arguments)
            raise OSError(self.code, f"{name} was made to fail")
        return getattr(RealFiles, name)(self, *arguments)

    def open(self, path: Path) -> int:
        descriptor: int = self._run("open", path)
        return descriptor

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        self._run("write", descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._run("sync", descriptor)

    def write_durably(self, descriptor: int, data: bytes, offset: int) -> None:
        self.write(descriptor, data, offset)
        self.sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        self._run("truncate", descriptor, size)

    def write_file(self, path: Path, data: bytes) -> None:
        self._run("write_file", path, data)

    def rename(self, source: Path, target: Path) -> None:
        self._run("rename", source, target)

    def make_directory(self, path: Path) -> None:
        self._run("make_directory", path)

    def sync_directory(self, path: Path) -> None:
        self._run("sync_directory", path)

    def remove(self, path: Path) -> None:
        self._run("remove", path)
