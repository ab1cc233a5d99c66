"""Verifying an export with nothing but its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography import x509

from exchange import sealed_parts
from exchange.checkpoint import open_checkpoint
from exchange.entries import Entry, parse_entry
from exchange.keys import verifying_key
from exchange.notes import VerifierKey
from exchange.problems import Code, Problem
from exchange.proof import check_proof, parse_proof
from exchange.sealed_parts import SealedPart
from mediator.journal.export.contents import DESCRIPTION, PROOF, contents_of, keyid_of
from mediator.journal.export.files import read_export
from mediator.journal.verify import Finding, check_part


@dataclass(frozen=True, slots=True)
class ExportVerdict:
    """What the verification of an export found."""

    logs: tuple[str, ...]
    """The verifier keys of the logs: to be compared with the registry's."""
    entries: int
    opened: int
    """Entries whose sealed part was decrypted and checked."""
    signatures: int
    """Signatures that verified with a certificate of the export."""
    without_certificate: int
    """Signatures whose certificate is not in the export."""
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        return not self.findings


class _Verification:
    def __init__(self, files: dict[str, bytes], keys: Sequence[VerifierKey]) -> None:
        self._files = files
        self._left = set(files) - {"README.txt", DESCRIPTION}
        self._given = keys
        self._logs: list[VerifierKey | None] = []
        self.findings: list[Finding] = []
        self.entries = self.opened = self.signatures = self.without_certificate = 0

    def run(self) -> ExportVerdict:
        listed, origins = self._description()
        self._logs = [self._log(number, origin) for number, origin in enumerate(origins)]
        for index, log in listed:
            self._check_entry(index, log)
        for name in sorted(self._left):
            if not name.startswith("certificates/"):
                self._find(Code.INVALID_DOCUMENT, name, None, "belongs to no entry of the export")
        return ExportVerdict(
            tuple(str(key) for key in self._logs if key),
            self.entries,
            self.opened,
            self.signatures,
            self.without_certificate,
            tuple(self.findings),
        )

    def _find(self, code: Code, file: str, index: int | None, detail: str) -> None:
        self.findings.append(Finding(code, file, index, detail))

    def _take(self, name: str) -> bytes:
        self._left.discard(name)
        if name not in self._files:
            raise Problem(Code.INVALID_DOCUMENT, where=name, detail="is missing")
        return self._files[name]

    def _description(self) -> tuple[list[tuple[int, int]], list[str]]:
        try:
            document = orjson.loads(self._take(DESCRIPTION))
            listed = [(item["index"], item["log"]) for item in document["entries"]]
            origins = list(document["logs"])
            if not listed or not all(
                type(index) is int and type(log) is int and 0 <= log < len(origins)
                for index, log in listed
            ):
                raise ValueError("entries")
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Problem(
                Code.INVALID_DOCUMENT, where=DESCRIPTION, detail="does not describe an export"
            ) from error
        return listed, origins

    def _log(self, number: int, origin: str) -> VerifierKey | None:
        file = f"logs/{number}/vkey"
        try:
            key = VerifierKey.parse(self._take(file).decode().removesuffix("\n"), file)
            if key.name != origin:
                raise Problem(Code.INVALID_NOTE, where=file, detail=f"is not the key of {origin}")
            if self._given and key not in self._given:
                raise Problem(
                    Code.INVALID_NOTE, where=file, detail="is none of the keys that were given"
                )
            file = f"logs/{number}/checkpoint"
            open_checkpoint(self._take(file), key, origin, file)
        except (Problem, UnicodeDecodeError) as error:
            detail = error.detail if isinstance(error, Problem) else "not UTF-8"
            self._find(Code.INVALID_NOTE, file, None, detail)
            return None
        return key

    def _check_entry(self, index: int, log: int) -> None:
        folder = f"entries/{log}-{index}"
        self.entries += 1
        try:
            data = self._take(f"{folder}/entry.json")
            entry = parse_entry(data, f"{folder}/entry.json")
            proof = parse_proof(self._take(f"{folder}/{PROOF}"), f"{folder}/{PROOF}")
            key = self._logs[log]
            if proof.index != index or proof.checkpoint != self._files.get(
                f"logs/{log}/checkpoint"
            ):
                raise Problem(
                    Code.INVALID_PROOF,
                    where=f"{folder}/{PROOF}",
                    detail="is of another entry or another checkpoint",
                )
            if key is not None:
                check_proof(proof, data, key, f"{folder}/{PROOF}")
            if entry.sealed is not None:
                self._check_sealed(folder, entry)
        except Problem as problem:
            file = problem.where if problem.where in self._files else folder
            self._find(problem.code, file, index, problem.detail)

    def _check_sealed(self, folder: str, entry: Entry) -> None:
        assert entry.sealed is not None  # noqa: S101  # the caller asked
        file = f"{folder}/sealed.bin"
        ciphertext = self._take(file)
        if (len(ciphertext), sha256(ciphertext).hexdigest()) != (
            entry.sealed.size,
            entry.sealed.digest,
        ):
            raise Problem(
                Code.JOURNAL_CORRUPT, where=file, detail="another digest than the entry says"
            )
        if f"{folder}/record.key" not in self._files:
            return
        try:
            record_key = bytes.fromhex(self._take(f"{folder}/record.key").decode())
        except ValueError as error:
            raise Problem(
                Code.SEALED_PART_UNREADABLE, where=f"{folder}/record.key", detail="not hex"
            ) from error
        plaintext = sealed_parts.decrypt(ciphertext, record_key, entry.sealed.key)
        part = sealed_parts.parse_part(plaintext)
        check_part(part, entry.commitment, entry.size)
        for name, data in contents_of(part).items():
            if self._take(f"{folder}/{name}") != data:
                raise Problem(
                    Code.JOURNAL_CORRUPT,
                    where=f"{folder}/{name}",
                    detail="is not what the sealed part holds",
                )
        self.opened += 1
        if part.base:
            self._check_signature(folder, part)

    def _check_signature(self, folder: str, part: SealedPart) -> None:
        keyid = keyid_of(part.base)
        name = f"certificates/{keyid}.pem"
        if name not in self._files:
            self.without_certificate += 1
            return
        try:
            certificate = x509.load_pem_x509_certificate(self._files[name])
        except ValueError as error:
            raise Problem(
                Code.CERTIFICATE_UNTRUSTED, where=name, detail="not a PEM certificate"
            ) from error
        key = verifying_key(certificate)
        if key.keyid != keyid:
            raise Problem(Code.CERTIFICATE_MISMATCH, where=name, detail="has another fingerprint")
        try:
            key.verify(part.signature, part.base)
        except Problem as problem:
            raise Problem(
                problem.code, where=f"{folder}/signature.bin", detail=problem.detail
            ) from problem
        self.signatures += 1


def verify_export(path: Path, keys: Sequence[VerifierKey] = ()) -> ExportVerdict:
    """Verify an export without its journal.

    Args:
        path: the folder or the zip.
        keys: verifier keys that are trusted; without any, those in the export are taken, and the
            verdict names them.

    Raises:
        Problem: ``InvalidDocument`` when it is no export at all.
    """
    return _Verification(read_export(path), keys).run()
