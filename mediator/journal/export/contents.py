"""What the evidence of an exchange consists of: files by their names, not signed yet.

::

    README.txt                        how to check it, in English and Lao
    verify.sh                         checks it with a shell, unzip and openssl
    export.json                       which entries of which logs are here, and how open they are
    logs/<n>/vkey                     the log's verifier key
             checkpoint               its signed head, with the witnesses' cosignatures
             tokens/<k>.tst           RFC 3161 tokens over the text of that checkpoint
             witnesses                verifier keys of witnesses, as far as they are known
    entries/<n>-<index>/entry.json    the entry, byte for byte (the leaf of the tree)
                        proof.tlog-proof   that it is in the log (c2sp.org/tlog-proof@v1)
                        sealed.bin    the sealed part as it was stored
                        record.key    the key of this one record, if it was here
                        head.json, base.txt, signature.bin, body.bin     what is in the sealed part
                        signature.der the signature as openssl reads it
                        closed.txt    why there is no content, in English and Lao
    certificates/<fingerprint>.pem    certificates of those who signed, as far as they were given
                 roots.pem, issuers.pem    the authorities above them
    revocation/<fingerprint>.<k>.ocsp, <k>.crl    what authorities said of these certificates
    registry/…                        the signed state of the registry

Invariants: the record's key opens this record and nothing else; an erased or closed part does not
keep its entry from being proven; names are those that a container can hold
(:mod:`exchange.evidence.asic`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates.reading import fingerprint_of
from exchange.journal.entries import Entry, parse_entry
from exchange.journal.sealed_parts import SealedPart, format_part
from exchange.keys import der_of_raw
from exchange.log.notes import VerifierKey
from exchange.log.proof import EXTENSION, format_proof
from exchange.messages.signature import SignatureInput, parse_signature_base
from exchange.problems import Code, Problem
from mediator.journal.anchors import Anchor, AnchorReader
from mediator.journal.erasures import Erasure
from mediator.journal.reader import JournalReader

DESCRIPTION = "export.json"
README_FILE = "README.txt"
SCRIPT_FILE = "verify.sh"
ROOTS = "certificates/roots.pem"
ISSUERS = "certificates/issuers.pem"
PROOF = f"proof{EXTENSION}"
CLOSED = "closed.txt"
README = Path(__file__).with_name(README_FILE).read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name(SCRIPT_FILE).read_text(encoding="utf-8")
_P256_SIZE = 64


class Openness(StrEnum):
    """How much of an entry's sealed part an export holds."""

    OPEN = "open"
    CLOSED = "closed"
    """The sealed part without the key that opens it."""
    ERASED = "erased"
    """The sealed part, whose key was destroyed: nobody can open it any more."""
    ABSENT = "absent"
    """Nothing: no segment with it was here."""
    NONE = "none"
    """The entry never had a sealed part."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An entry to export: the journal it is in, and its index."""

    journal: JournalReader
    index: int


@dataclass(frozen=True, slots=True)
class Revocations:
    """What authorities said of a certificate: OCSP answers and CRLs, DER."""

    answers: tuple[bytes, ...] = ()
    lists: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What evidence needs besides journals, as far as it is known.

    Attributes:
        certificates: of signers, by fingerprint; those that are needed are put in.
        authorities: roots and links above them, and above time-stamp authorities.
        registry: files of the registry's state, by their names in an export.
        revocations: what is known of a certificate, by its fingerprint.
        witnesses: verifier keys of witnesses.
    """

    certificates: Mapping[str, x509.Certificate] = field(default_factory=dict)
    authorities: tuple[x509.Certificate, ...] = ()
    registry: Mapping[str, bytes] = field(default_factory=dict)
    revocations: Callable[[str], Revocations] = lambda _: Revocations()
    witnesses: tuple[VerifierKey, ...] = ()


NOTHING_AROUND = Surroundings()


def make_export(
    chosen: Sequence[Chosen], around: Surroundings = NOTHING_AROUND
) -> dict[str, bytes]:
    """The files of an export, by name.

    Args:
        chosen: the entries, at least one.

    Raises:
        Problem: ``JournalCorrupt`` when a journal cannot be read.
    """
    making = _Making(around)
    for journal, indexes in _by_journal(chosen):
        making.add_log(journal, indexes)
    making.add_trust()
    making.files[README_FILE] = README.encode()
    making.files[SCRIPT_FILE] = SCRIPT.encode()
    making.files[DESCRIPTION] = orjson.dumps(
        {"entries": making.listed, "logs": making.origins, "v": 2},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
    return making.files


def _by_journal(chosen: Sequence[Chosen]) -> list[tuple[JournalReader, list[int]]]:
    found: dict[str, tuple[JournalReader, list[int]]] = {}
    for choice in chosen:
        found.setdefault(choice.journal.origin, (choice.journal, []))[1].append(choice.index)
    return list(found.values())


class _Making:
    """An export that grows log by log."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._keyids: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.listed: list[dict[str, object]] = []
        self.origins: list[str] = []

    def add_log(self, journal: JournalReader, indexes: Sequence[int]) -> None:
        number = len(self.origins)
        self.origins.append(journal.origin)
        folder = f"logs/{number}"
        erasures = {index: found for index in indexes if (found := _erasure(journal, index))}
        indexes = sorted({*indexes, *(erasure.index for erasure in erasures.values())})
        anchor = anchor_for(journal, max(indexes))
        checkpoint = journal.checkpoint_note if anchor is None else anchor.checkpoint
        self.files[f"{folder}/vkey"] = f"{journal.key}\n".encode()
        self.files[f"{folder}/checkpoint"] = checkpoint
        if anchor is not None:
            for at, token in enumerate(anchor.tokens):
                self.files[f"{folder}/tokens/{at}.tst"] = token.der
        if self._around.witnesses:
            keys = "".join(f"{key}\n" for key in self._around.witnesses)
            self.files[f"{folder}/witnesses"] = keys.encode()
        for index in indexes:
            self._add_entry(journal, index, number, checkpoint)
            if index in erasures:
                self._add_erasure(f"entries/{number}-{index}", erasures[index])

    def _add_erasure(self, folder: str, erasure: Erasure) -> None:
        """Say which entry tells of the erasure; that entry is in the export too."""
        self.listed[-1]["sealed"] = Openness.ERASED.value
        detail = f"{erasure} ({folder.partition('-')[0]}-{erasure.index})"
        self.files[f"{folder}/{CLOSED}"] = _why("erased / ຖືກລຶບ", detail)

    def _add_entry(
        self, journal: JournalReader, index: int, number: int, checkpoint: bytes
    ) -> None:
        folder = f"entries/{number}-{index}"
        data = journal.entry(index)
        self.files[f"{folder}/entry.json"] = data
        self.files[f"{folder}/{PROOF}"] = format_proof(journal.prove(index, checkpoint))
        entry = parse_entry(data)
        openness = self._add_sealed(folder, journal, index, entry)
        self.listed.append({"index": index, "log": number, "sealed": openness.value})
        if entry.certificate is not None:
            self._keyids.add(entry.certificate)

    def _add_sealed(
        self, folder: str, journal: JournalReader, index: int, entry: Entry
    ) -> Openness:
        if entry.sealed is None:
            return Openness.NONE
        try:
            ciphertext = journal.ciphertext(index)
        except Problem as problem:
            if problem.code not in {Code.NOT_FOUND, Code.ARCHIVED}:
                raise
            self.files[f"{folder}/{CLOSED}"] = _why(problem.where, problem.detail)
            return Openness.ABSENT
        self.files[f"{folder}/sealed.bin"] = ciphertext
        try:
            opened = journal.open(entry, ciphertext)
        except Problem as problem:
            if problem.code not in {Code.SEALED_PART_UNREADABLE, Code.SEALED_PART_ERASED}:
                raise
            told = journal.erasure(entry, index)
            if told is not None:
                problem = Problem(problem.code, where=problem.where, detail=str(told))
            self.files[f"{folder}/{CLOSED}"] = _why(problem.where, problem.detail)
            erased = problem.code is Code.SEALED_PART_ERASED
            return Openness.ERASED if erased else Openness.CLOSED
        self.files[f"{folder}/record.key"] = f"{opened.record_key.hex()}\n".encode()
        for name, data in contents_of(opened.part).items():
            self.files[f"{folder}/{name}"] = data
        if opened.part.base:
            self._keyids.add(keyid_of(opened.part.base))
        return Openness.OPEN

    def add_trust(self) -> None:
        """Certificates of the signers, what is above them, and the registry's state."""
        around, needed = self._around, []
        for keyid in sorted(self._keyids & around.certificates.keys()):
            needed.append(around.certificates[keyid])
            self.files[f"certificates/{keyid}.pem"] = _pem(needed[-1])
        for certificate in (*needed, *around.authorities):
            self._add_revocations(fingerprint_of(certificate))
        roots = [each for each in around.authorities if each.issuer == each.subject]
        links = [each for each in around.authorities if each.issuer != each.subject]
        for name, certificates in ((ROOTS, roots), (ISSUERS, links)):
            if certificates:
                self.files[name] = b"".join(map(_pem, certificates))
        self.files |= around.registry

    def _add_revocations(self, fingerprint: str) -> None:
        known = self._around.revocations(fingerprint)
        for kind, documents in (("ocsp", known.answers), ("crl", known.lists)):
            for at, document in enumerate(documents):
                self.files[f"revocation/{fingerprint}.{at}.{kind}"] = document


def _erasure(journal: JournalReader, index: int) -> Erasure | None:
    """The erasure that took the content of an entry; the log is asked only when it is closed."""
    entry = parse_entry(journal.entry(index))
    if entry.sealed is None:
        return None
    try:
        journal.open(entry, journal.ciphertext(index))
    except Problem:
        return journal.erasure(entry, index)
    return None


class _Any:
    """Any cosignature at all."""

    demands = True

    def is_met(self, checkpoint: bytes) -> bool:
        return True


def anchor_for(journal: JournalReader, index: int) -> Anchor | None:
    """The anchor that proves an entry best: stamped and cosigned, else stamped, else cosigned.

    None when no anchor covers the entry yet, or none has more than the log's own signature.

    Raises:
        Problem: ``JournalCorrupt`` when the anchors cannot be read.
    """
    anchors = AnchorReader.open(journal.directory)
    try:
        return (
            anchors.covering(index, stamped=True, quorum=_Any())
            or anchors.covering(index, stamped=True)
            or anchors.covering(index, quorum=_Any())
        )
    finally:
        anchors.close()


def contents_of(part: SealedPart) -> dict[str, bytes]:
    """What is in a sealed part, as files.

    The head is as it is in the part, byte for byte: ``uint32 length || head || base || signature ||
    body`` is what was encrypted.
    """
    plaintext = format_part(part)
    files = {
        "base.txt": part.base,
        "body.bin": part.body,
        "head.json": plaintext[4 : 4 + int.from_bytes(plaintext[:4], "big")],
        "signature.bin": part.signature,
    }
    if part.signature:
        files["signature.der"] = der_of(part)
    return files


def der_of(part: SealedPart) -> bytes:
    """The signature of a part as openssl reads it: of P-256 as a SEQUENCE, of others as it is."""
    member = _parameters_of(part.base)
    named = member.parameters.get("alg", "") if member is not None else ""
    if named == "ecdsa-p256-sha256" and len(part.signature) == _P256_SIZE:
        return der_of_raw(part.signature)
    return part.signature


def keyid_of(base: bytes) -> str:
    """The fingerprint of the certificate that a signature base names; empty when it names none."""
    member = _parameters_of(base)
    return "" if member is None else str(member.parameters.get("keyid", ""))


def _parameters_of(base: bytes) -> SignatureInput | None:
    try:
        return parse_signature_base(base)[1]
    except Problem:
        return None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _why(where: str, detail: str) -> bytes:
    return (
        "The content of this record is not in this export:\n"
        "ເນື້ອໃນຂອງບັນທຶກນີ້ ບໍ່ຢູ່ໃນຫຼັກຖານນີ້:\n\n"
        f"{where}: {detail}\n\n"
        "The entry, its place in the log and its time are proven nevertheless.\n"
        "ແຕ່ຍັງພິສູດໄດ້ວ່າ ມີການບັນທຶກນີ້ ຢູ່ໃນບັນຊີ ແລະ ເມື່ອໃດ.\n"
    ).encode()
