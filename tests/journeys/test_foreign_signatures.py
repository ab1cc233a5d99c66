"""What two servers really exchanged verifies elsewhere: a foreign RFC 9421 library, and openssl.

The foreign library (PyPI ``http-message-signatures``) builds the signature base by itself from
what was on the wire; openssl checks the base that the journals keep.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures import HTTPMessageVerifier, InvalidSignature, algorithms

from console.reference_world.processes import free_ports
from exchange.certificates.reading import fingerprint_of
from exchange.journal.entries import Entry
from exchange.journal.sealed_parts import SealedPart
from mediator.journal.reader import JournalReader
from tests.world import small
from tests.world.fixtures import small_world
from tests.world.small import SmallWorld, wait_published

BOUND = ['"@method";req', '"@target-uri";req', '"content-digest";req', '"signature-input";req']


class Fields:
    """Header lines as the foreign library wants them: by name, whatever the case."""

    def __init__(self, lines: tuple[tuple[str, str], ...]) -> None:
        self.lines = lines

    def items(self) -> list[tuple[str, str]]:
        return list(self.lines)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self.lines])

    def __contains__(self, name: object) -> bool:
        return any(other.lower() == str(name).lower() for other, _ in self.lines)

    def __getitem__(self, name: str) -> str:
        return ", ".join(value for other, value in self.lines if other.lower() == name.lower())


@dataclass(frozen=True)
class ForeignRequest:
    method: str
    url: str
    headers: Fields


@dataclass(frozen=True)
class ForeignResponse:
    status_code: int
    headers: Fields
    request: ForeignRequest


@dataclass(frozen=True)
class Certificates:
    """Finds public keys by the fingerprints of these certificates."""

    certificates: tuple[x509.Certificate, ...]

    def resolve_public_key(self, key_id: str) -> object:
        for certificate in self.certificates:
            if fingerprint_of(certificate) == key_id:
                return certificate.public_key()
        raise KeyError(key_id)

    def resolve_private_key(self, key_id: str) -> object:
        raise NotImplementedError


def verify(message: ForeignRequest | ForeignResponse, signer: x509.Certificate, tag: str) -> None:
    """Verify with the foreign library; only this signer's certificate is known to it."""
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithms.ECDSA_P256_SHA256,
        key_resolver=Certificates((signer,)),  # type: ignore[arg-type]
    )
    required = BOUND if isinstance(message, ForeignResponse) else ['"@method"', '"@target-uri"']
    (result,) = verifier.verify(
        message, expect_tag=tag, require_components=[*required, '"content-digest"']
    )
    covered = set(result.covered_components)
    for name in message.headers:
        if name.lower() not in {"host", "content-length", "date", "server", "connection"}:
            assert name.lower().startswith("signature") or f'"{name.lower()}"' in covered, name


# --- on the wire -------------------------------------------------------------------------------


@dataclass(slots=True)
class Wire:
    """A man in the middle who has both servers' TLS keys, and keeps what passes."""

    world: SmallWorld
    port: int
    behind: int
    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    _ready: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None

    def run(self) -> None:
        asyncio.run(self._serve())

    def stop(self) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)

    def ready(self) -> None:
        assert self._ready.wait(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        authorities = str(self.world.world.authorities)
        front = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authorities)
        front.verify_mode = ssl.CERT_REQUIRED
        front.load_cert_chain(*_auth(self.world.mpi.folder))
        back = ssl.create_default_context(cafile=authorities)
        back.check_hostname = False
        back.load_cert_chain(*_auth(self.world.mof.folder))
        tasks: set[asyncio.Task[None]] = set()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                there, out = await asyncio.open_connection("127.0.0.1", self.behind, ssl=back)
                await asyncio.gather(
                    _pass_on(reader, out, self.sent), _pass_on(there, writer, self.received)
                )

        server = await asyncio.start_server(accepted, "127.0.0.1", self.port, ssl=front)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
) -> None:
    while data := await reader.read(65536):
        kept += data
        writer.write(data)
        await writer.drain()
    writer.close()


def _auth(folder: Path) -> tuple[Path, Path]:
    return folder / "auth.pem", folder / "auth.key"


@pytest.fixture
def tapped() -> Iterator[tuple[SmallWorld, Wire]]:
    """A world whose link runs through a wire tap: MPI listens elsewhere than it is registered.

    MOF asks nobody to cosign its journal: the wire has messages alone.
    """
    with small_world() as world:
        world.mof.process.stop()
        path = world.mof.folder / "server.yaml"
        settings = yaml.safe_load(path.read_text("utf-8")) | {"witnesses": {"peers": 0}}
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
        world.mof.process.start()
        world.mof.process.wait_ready()
        server = world.mpi
        server.process.stop()
        (behind,) = free_ports(1)
        path = server.folder / "server.yaml"
        settings = yaml.safe_load(path.read_text("utf-8"))
        settings["listen"]["peer"] = f"127.0.0.1:{behind}"
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
        server.process.start()
        server.process.wait_ready()
        wire = Wire(world, server.ports["peer"], behind)
        thread = threading.Thread(target=wire.run, daemon=True)
        thread.start()
        wire.ready()
        try:
            yield world, wire
        finally:
            wire.stop()
            thread.join(10)


@dataclass(frozen=True, slots=True)
class Captured:
    """One message of a byte stream."""

    line: tuple[str, str, str]
    headers: tuple[tuple[str, str], ...]
    body: bytes


def messages(stream: bytes) -> list[Captured]:
    """The messages of one direction, split by their lengths."""
    found: list[Captured] = []
    while stream:
        head, _, stream = stream.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = tuple(
            (name, value.strip()) for name, _, value in (line.partition(":") for line in lines)
        )
        length = int({name.lower(): value for name, value in headers}.get("content-length", 0))
        found.append(Captured(_three(first), headers, stream[:length]))
        stream = stream[length:]
    return found


def _three(line: str) -> tuple[str, str, str]:
    first, second, third = line.split(" ", 2)
    return first, second, third


def test_captured_traffic_verifies_with_a_foreign_library(
    tapped: tuple[SmallWorld, Wire],
) -> None:
    """Request and response as they crossed the wire, a POST with a body and a refusal included.

    A response verifies beside its own request only: method, target, digest and signature-input of
    the request are under its signature.
    """
    world, wire = tapped
    body = b'{"code": "P-7", "amount": 7.5}'
    calls = [
        world.call(headers={"X-Road-Id": "wire-1", "X-Other": "kept"}),
        world.call(
            "/projects",
            method="POST",
            body=body,
            headers={"Content-Type": "application/json", "X-Road-Id": "wire-2"},
        ),
        world.call(purpose="curiosity", headers={"X-Road-Id": "wire-3"}),
    ]
    assert [answer.status for answer in calls] == [200, 201, 403]
    requests, responses = messages(bytes(wire.sent)), messages(bytes(wire.received))
    assert len(requests) == len(responses) == 3
    consumer = world.mof.seals[small.MOF].certificate
    provider = world.mpi.seals[small.MPI].certificate
    pairs = [
        foreign_pair(world.mpi.url("peer"), request, response)
        for request, response in zip(requests, responses, strict=True)
    ]
    for captured, request, response in zip(requests, *zip(*pairs, strict=True), strict=True):
        verify(request, consumer, "saphan-request")
        verify(response, provider, "saphan-response")
        assert request.headers["content-digest"] == digest(captured.body)
    for captured, (_, response) in zip(responses, pairs, strict=True):
        assert response.headers["content-digest"] == digest(captured.body)

    request, response = pairs[0]
    with pytest.raises(InvalidSignature):
        verify(replace(response, request=pairs[1][0]), provider, "saphan-response")
    with pytest.raises(InvalidSignature):
        verify(replace(response, status_code=203), provider, "saphan-response")
    with pytest.raises(InvalidSignature):
        verify(replace(request, method="DELETE"), consumer, "saphan-request")


def foreign_pair(
    address: str, request: Captured, response: Captured
) -> tuple[ForeignRequest, ForeignResponse]:
    method, target, _ = request.line
    sent = ForeignRequest(method, address + target, Fields(request.headers))
    return sent, ForeignResponse(int(response.line[1]), Fields(response.headers), sent)


def digest(body: bytes) -> str:
    """RFC 9530, written out."""
    return f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"


# --- in the journals ---------------------------------------------------------------------------


def parts_of(journal: Path, message: str) -> list[tuple[Entry, SealedPart]]:
    """The sealed parts of a message, opened with the keys that lie beside the journal."""
    reader = JournalReader(journal)
    return [
        (entry, reader.open(entry, reader.ciphertext(index)).part)
        for index, entry in reader.of_message(message)
    ]


def test_both_journals_hold_evidence_that_verifies_elsewhere(
    shared_world: SmallWorld, tmp_path: Path
) -> None:
    """The same request and response on each side: library and openssl accept all four.

    openssl is given the base, the signature (as DER, which is what it reads) and the public key of
    the certificate; after one byte is changed it refuses.
    """
    world = shared_world
    assert world.call(headers={"X-Road-Id": "evidence-1"}).status == 200
    signers = (world.mof.seals[small.MOF].certificate, world.mpi.seals[small.MPI].certificate)
    sides = []
    for server in (world.mof, world.mpi):
        wait_published(server)
        (sent, request), (answered, response) = parts_of(server.journal, "evidence-1")
        assert (sent.kind, answered.kind) == ("request", "response")
        asked = ForeignRequest(
            str(request.head.method),
            f"{world.mpi.url('peer')}{request.head.target}",
            Fields(request.head.headers),
        )
        verify(asked, signers[0], "saphan-request")
        answer = ForeignResponse(response.head.status or 0, Fields(response.head.headers), asked)
        verify(answer, signers[1], "saphan-response")
        for part, signer in zip((request, response), signers, strict=True):
            assert openssl_verifies(tmp_path, part.base, part.signature, signer)
            changed = part.base[:-1] + bytes([part.base[-1] ^ 1])
            assert not openssl_verifies(tmp_path, changed, part.signature, signer)
            assert dict(part.head.headers)["content-digest"] == digest(part.body)
        sides.append([(part.base, part.signature, part.body) for part in (request, response)])
    assert sides[0] == sides[1]


def openssl_verifies(
    folder: Path, base: bytes, signature: bytes, certificate: x509.Certificate
) -> bool:
    """What `openssl dgst` says of a P-256 signature."""
    half = len(signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    (folder / "base").write_bytes(base)
    (folder / "signature.der").write_bytes(encode_dss_signature(r, s))
    (folder / "key.pem").write_bytes(
        certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature.der", "base"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert "Verified OK" in done.stdout or "Verification failure" in done.stdout, done.stderr
    return done.returncode == 0
