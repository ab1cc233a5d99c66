"""Whole exchanges in two journals: sealed by real envelopes, anchored, cosigned, stamped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.issue import Issued, private_key_pem
from certs.stamper import respond
from exchange.evidence.timestamps import format_request, open_response
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.journal.entries import Entry, Kind, Side
from exchange.journal.sealed_parts import Head, SealedPart
from exchange.keys import SigningKey, signing_key
from exchange.log.checkpoint import parse_text
from exchange.log.cosignature import cosign
from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey, parse_note
from exchange.messages.digest import content_digest
from exchange.messages.envelope import (
    Headers,
    RequestHead,
    ResponseHead,
    Signed,
    seal_request,
    seal_response,
)
from mediator.journal.anchors import AnchorStore
from mediator.journal.export import Chosen, Revocations, Signer, Surroundings
from mediator.journal.reader import JournalReader
from tests.journal.world import QUICK, journal_in

MOF, MPI = MemberId.parse("LA/GOV/MOF"), MemberId.parse("LA/GOV/MPI")
CLIENT = ApplicationId.parse("LA/GOV/MOF/budget")
SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
SERVERS = {MOF: ServerId.parse("LA/GOV/MOF/ss1"), MPI: ServerId.parse("LA/GOV/MPI/ss1")}
BODY = '{"project":"ໂຄງການ ສະພານ","province":"LA-LP"}'.encode()
NONCE = "q83vEjRWeJCrze8SNFZ4kA"
Tell = Callable[[Entry, SealedPart], tuple[Entry, SealedPart]]
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
WITNESS_KEY = VerifierKey.of("auditor.example/witness", WITNESS.public_key(), COSIGNATURE_ED25519)


@dataclass
class World:
    """The authorities, two journals and what is known around them."""

    directory: Path
    algorithm: str = "ecdsa-p256-sha256"
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    name: str = "LA-{}"
    """How messages are named."""
    path: str = "/projects/{}"
    asked: Headers = ()
    answered: Headers = ()
    """Further lines of requests and answers."""

    def __post_init__(self) -> None:
        self.pki: DevelopmentAuthority = create_development_pki(
            self.directory / "pki", "LA", at=self.now
        )
        self.seals = {
            member: self.pki.issue_seal(member, at=self.now, algorithm=self.algorithm)
            for member in (MOF, MPI)
        }
        self.tsa = self.pki.issue_tsa(at=self.now)
        self.journals = {
            MOF: self.directory / "mof" / "journal",
            MPI: self.directory / "mpi" / "journal",
        }
        self.revocations: dict[str, Revocations] = {}

    @property
    def authorities(self) -> Path:
        """The authorities' certificates in a file."""
        path = self.directory / "authorities.pem"
        path.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in self.pki.authorities))
        return path

    @property
    def root(self) -> Path:
        path = self.directory / "root.pem"
        path.write_bytes(self.pki.root.public_bytes(Encoding.PEM))
        return path

    def key_of(self, member: MemberId) -> SigningKey:
        return signing_key(self.seals[member].private_key, self.seals[member].certificate)

    def files_of(self, issued: Issued, name: str) -> tuple[Path, Path]:
        """Key and certificate in files."""
        key, certificate = self.directory / f"{name}.key", self.directory / f"{name}.pem"
        key.write_bytes(private_key_pem(issued.private_key))
        certificate.write_bytes(issued.certificate.public_bytes(Encoding.PEM))
        return key, certificate

    async def exchange(
        self,
        number: int,
        *,
        body: bytes = BODY,
        nonce: str = NONCE,
        tell: Tell = lambda *as_is: as_is,
    ) -> None:
        """One exchange: request and answer, on both sides; ``tell`` is what servers make of it."""
        request, sent = self.request(number, nonce)
        answer, answered = self.answer(request.with_headers(sent.headers_to_add), body)
        for member, side in ((MOF, Side.CONSUMER), (MPI, Side.PROVIDER)):
            async with journal_in(self.journals[member], QUICK, f"{member}/journal") as journal:
                target = "/r1/" + request.target_uri.split("/r1/", 1)[1]
                asked = SealedPart(
                    sent.base, sent.signature, Head(request.headers, "GET", target), b"", _SALT
                )
                said = SealedPart(
                    answered.base, answered.signature, Head(answer.headers, status=200), body, _SALT
                )
                for kind, sent_body, part in (
                    (Kind.REQUEST, b"", asked),
                    (Kind.RESPONSE, body, said),
                ):
                    entry, part = tell(self._entry(number, kind, side, sent_body, nonce), part)
                    await journal.record(entry, member, part)

    def request(self, number: int, nonce: str) -> tuple[RequestHead, Signed]:
        head = RequestHead(
            "GET",
            f"https://ss1.mpi.example:5500/r1/{SERVICE}{self.path.format(number)}",
            (
                ("x-road-client", str(CLIENT)),
                ("x-road-id", self.name.format(number)),
                ("exchange-purpose", "national-budget"),
                ("content-digest", content_digest(b"")),
                *self.asked,
            ),
        )
        created = int(self.now.timestamp())
        return head, seal_request(
            head, self.key_of(MOF), created=created, expires=created + 60, nonce=nonce
        )

    def answer(self, request: RequestHead, body: bytes) -> tuple[ResponseHead, Signed]:
        headers = (
            ("x-road-id", dict(request.headers)["x-road-id"]),
            ("content-type", "application/json"),
            ("content-digest", content_digest(body)),
            *self.answered,
        )
        head = ResponseHead(200, headers)
        created = int(self.now.timestamp()) + 1
        return head, seal_response(request, head, self.key_of(MPI), created=created)

    def _entry(self, number: int, kind: Kind, side: Side, body: bytes, nonce: str) -> Entry:
        asked = kind is Kind.REQUEST
        signer = self.key_of(MOF if asked or side is Side.PROVIDER else MPI)
        peer = SERVERS[MPI if side is Side.CONSUMER else MOF]
        return Entry(
            kind=kind, side=side, at=self.now, id=self.name.format(number), client=CLIENT,
            service=SERVICE, peer=peer, method="GET", endpoint="/projects/{id}", size=len(body),
            certificate=signer.keyid, status=None if asked else 200,
            purpose="national-budget", nonce=nonce if asked else None,
        )  # fmt: skip

    def anchor(self) -> None:
        """Make the newest checkpoints anchors, cosigned by the witness and stamped."""
        for directory in self.journals.values():
            note = (directory / "log" / "checkpoint").read_bytes()
            text = parse_note(note).text
            size = parse_text(text).size
            store = AnchorStore.create(directory)
            store.add(size, note, self.now.timestamp())
            line = cosign(text, WITNESS_KEY.name, WITNESS, int(self.now.timestamp()))
            store.add_cosignature(size, str(line))
            store.add_token(size, "https://tsa.example", self.stamp(sha256(text.encode()).digest()))
            store.close()

    def stamp(self, digest: bytes) -> bytes:
        """A token of the development authority over a digest."""
        answer = respond(
            format_request(digest, 1 << 100),
            self.tsa.private_key,  # type: ignore[arg-type]
            self.tsa.certificate,
            [self.pki.issuer.certificate],
            self.now,
            1 << 120,
        )
        return open_response(answer)

    def around(self) -> Surroundings:
        return Surroundings(
            certificates={
                self.key_of(member).keyid: self.seals[member].certificate for member in self.seals
            },
            authorities=tuple(self.pki.authorities),
            revocations=lambda keyid: self.revocations.get(keyid, Revocations()),
            witnesses=(WITNESS_KEY,),
        )

    def signer(self, member: MemberId = MOF, *, stamped: bool = True) -> Signer:
        return Signer(
            self.key_of(member),
            self.seals[member].certificate,
            tuple(self.pki.authorities),
            self.stamp if stamped else None,
        )

    def chosen(self, number: int, members: Sequence[MemberId] = (MOF, MPI)) -> list[Chosen]:
        """The entries of an exchange in the journals of some members."""
        readers = [JournalReader(self.journals[member]) for member in members]
        return [
            Chosen(reader, index)
            for reader in readers
            for index, _ in reader.of_message(self.name.format(number))
        ]


_SALT = bytes(range(16))
