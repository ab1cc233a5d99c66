"""Verifying an export with nothing but its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography import x509

from exchange.certificates.reading import parse_certificates
from exchange.evidence import asic, cades
from exchange.evidence.timestamps import check_token
from exchange.journal.entries import Entry, parse_entry
from exchange.log.checkpoint import open_checkpoint
from exchange.log.cosignature import open_cosignature
from exchange.log.notes import VerifierKey, parse_note
from exchange.log.proof import check_proof, parse_proof
from exchange.problems import Code, Problem
from mediator.journal.erasures import Erasure
from mediator.journal.export import records
from mediator.journal.export.contents import (
    CLOSED,
    DESCRIPTION,
    ISSUERS,
    PROOF,
    ROOTS,
    SCRIPT,
    SCRIPT_FILE,
    Openness,
)
from mediator.journal.export.files import read_export
from mediator.journal.export.records import Message
from mediator.journal.export.registry import check_registry, parse_registry
from mediator.journal.verify import Finding
from mediator.journal.verify.signing import Signing, signing_of

_VERSION = 2


@dataclass(frozen=True, slots=True)
class ExportVerdict:
    """What the verification of an export found.

    Attributes:
        logs: the verifier keys of the logs: to be compared with the registry's.
        entries: how many entries are here.
        opened: entries whose sealed part was decrypted and checked.
        signatures: signatures that verified with a certificate of the export.
        without_certificate: signatures whose certificate is not in the export.
        signed_by: who signed the container; None when nobody did.
        stamped_at: when the container existed at the latest, by a time-stamp authority.
        tokens: time-stamps on the logs' checkpoints.
        cosignatures: of witnesses on the logs' checkpoints.
        notes: what is not here and so not proven, a sentence each.
        findings: what is wrong.
    """

    logs: tuple[str, ...]
    entries: int
    opened: int
    signatures: int
    without_certificate: int
    signed_by: str | None
    stamped_at: str | None
    tokens: int
    cosignatures: int
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        return not self.findings


@dataclass(slots=True)
class _Verification:
    files: dict[str, bytes]
    given: Sequence[VerifierKey]
    authorities: tuple[x509.Certificate, ...]
    left: set[str] = field(default_factory=set)
    logs: list[VerifierKey | None] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)
    answers: list[Message] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    signed_by: str | None = None
    stamped_at: str | None = None
    entries: int = 0
    opened: int = 0
    signatures: int = 0
    without_certificate: int = 0
    tokens: int = 0
    cosignatures: int = 0

    def run(self) -> ExportVerdict:
        self.left = set(self.files)
        listed, origins = self._description()
        self._trust()
        self._container()
        for number, origin in enumerate(origins):
            self.logs.append(self._log(f"logs/{number}", origin))
        for index, log, openness in listed:
            self._entry(index, log, openness)
        self._bindings()
        self._rest()
        return ExportVerdict(
            tuple(str(key) for key in self.logs if key),
            self.entries,
            self.opened,
            self.signatures,
            self.without_certificate,
            self.signed_by,
            self.stamped_at,
            self.tokens,
            self.cosignatures,
            tuple(self.notes),
            tuple(self.findings),
        )

    @contextmanager
    def _finding(self, file: str, index: int | None = None) -> Iterator[None]:
        """A Problem inside becomes a finding, at its own file if it names one of the export."""
        try:
            yield
        except Problem as problem:
            at = problem.where if problem.where in self.files else file
            self.findings.append(Finding(problem.code, at, index, problem.detail))

    def _take(self, name: str) -> bytes:
        self.left.discard(name)
        if name not in self.files:
            raise Problem(Code.INVALID_DOCUMENT, where=name, detail="is missing")
        return self.files[name]

    def _description(self) -> tuple[list[tuple[int, int, Openness]], list[str]]:
        try:
            document = orjson.loads(self._take(DESCRIPTION))
            listed = [
                (item["index"], item["log"], Openness(item["sealed"]))
                for item in document["entries"]
            ]
            origins = list(document["logs"])
            if document["v"] != _VERSION or not listed:
                raise ValueError("version or entries")
            if not all(
                type(index) is int and type(log) is int and 0 <= log < len(origins)
                for index, log, _ in listed
            ):
                raise ValueError("entries")
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Problem(
                Code.INVALID_DOCUMENT, where=DESCRIPTION, detail="does not describe an export"
            ) from error
        return listed, origins

    # ------------------------------------------------------------------ the container

    def _trust(self) -> None:
        """Authorities: those that were given, else those of the export."""
        own: list[x509.Certificate] = []
        for name in (ROOTS, ISSUERS):
            if name in self.files:
                with self._finding(name):
                    own += parse_certificates(self._take(name))
        if not self.authorities:
            self.authorities = tuple(own)
            if own:
                self.notes.append("the authorities are those of the export itself; give yours")
            else:
                self.notes.append("there are no authorities, so no certificate was judged")
        with self._finding("registry/"):
            kept = [name for name in self.files if name.startswith("registry/")]
            self.left -= set(kept)
            check_registry(parse_registry(self.files))
        if not kept:
            self.notes.append("the registry's state is not here")

    def _container(self) -> None:
        rest = {
            name: data
            for name, data in self.files.items()
            if name not in {asic.MIMETYPE_FILE, asic.MANIFEST, asic.SIGNATURE}
        }
        with self._finding(asic.MANIFEST):
            manifest = self._take(asic.MANIFEST)
            for name, reason in asic.changed_files(manifest, rest):
                self.findings.append(Finding(Code.JOURNAL_CORRUPT, name, None, reason))
            if not asic.is_signed(manifest):
                self.left.discard("UNSIGNED.txt")
                self.notes.append("NOT SIGNED: nobody vouches for this collection as a whole")
                return
            with self._finding(asic.MIMETYPE_FILE):
                if self._take(asic.MIMETYPE_FILE) != asic.MIMETYPE.encode():
                    raise Problem(Code.INVALID_DOCUMENT, detail="says something else")
            with self._finding(asic.SIGNATURE):
                self._signature(manifest)

    def _signature(self, manifest: bytes) -> None:
        signature = self._take(asic.SIGNATURE)
        found = cades.open_signature(signature, manifest, self.authorities, asic.SIGNATURE)
        self.signed_by = f"{found.member}, {found.level}"
        if found.timestamp is None:
            self.notes.append("nobody stamped the container's signature: its time is its signer's")
        else:
            self.stamped_at = found.timestamp.time.isoformat()

    # ------------------------------------------------------------------ logs

    def _log(self, folder: str, origin: str) -> VerifierKey | None:
        file = f"{folder}/vkey"
        key: VerifierKey | None = None
        with self._finding(file):
            key = VerifierKey.parse(self._line(file), file)
            if key.name != origin:
                raise Problem(Code.INVALID_NOTE, where=file, detail=f"is not the key of {origin}")
            if self.given and key not in self.given:
                raise Problem(
                    Code.INVALID_NOTE, where=file, detail="is none of the keys that were given"
                )
        file = f"{folder}/checkpoint"
        with self._finding(file):
            note = self._take(file)
            if key is None:
                return None
            open_checkpoint(note, key, origin, file)
            self._witnesses(folder, note)
            self._tokens(folder, note)
            return key
        return None

    def _line(self, file: str) -> str:
        try:
            return self._take(file).decode().removesuffix("\n")
        except UnicodeDecodeError as error:
            raise Problem(Code.INVALID_NOTE, where=file, detail="not UTF-8") from error

    def _witnesses(self, folder: str, data: bytes) -> None:
        file, found = f"{folder}/witnesses", 0
        note = parse_note(data)
        named = self._line(file).split("\n") if file in self.files else []
        brought = {VerifierKey.parse(line, file) for line in named}
        if self.given:  # then no witness counts that only the export knows
            self.notes += (
                f"{file}: witness {key.name} is none of the keys that were given"
                for key in sorted(brought - {*self.given}, key=str)
            )
        for key in self.given or brought:
            if any(line.is_by(key) for line in note.signatures) and key.kind != 1:
                open_cosignature(note, key, f"{folder}/checkpoint")
                found += 1
        self.cosignatures += found
        if not found:
            self.notes.append(f"{folder}: no witness that is known here cosigned the checkpoint")

    def _tokens(self, folder: str, data: bytes) -> None:
        digest = sha256(parse_note(data).text.encode()).digest()
        names = sorted(name for name in self.files if name.startswith(f"{folder}/tokens/"))
        for name in names:
            with self._finding(name):
                try:
                    check_token(self._take(name), digest, self.authorities)
                except Problem as problem:
                    raise Problem(problem.code, where=name, detail=problem.detail) from problem
                self.tokens += 1
        if not names:
            self.notes.append(f"{folder}: nobody stamped the checkpoint")

    # ------------------------------------------------------------------ entries

    def _entry(self, index: int, log: int, openness: Openness) -> None:
        folder = f"entries/{log}-{index}"
        self.entries += 1
        with self._finding(folder, index):
            file = f"{folder}/entry.json"
            data = self._take(file)
            entry = parse_entry(data, file)
            self._inclusion(folder, index, log, data)
            if (entry.sealed is None) != (openness is Openness.NONE):
                raise Problem(Code.INVALID_DOCUMENT, where=DESCRIPTION, detail="is not so")
            if openness is Openness.NONE and signing_of(orjson.loads(data)) is not Signing.NONE:
                self.notes.append(
                    f"{folder}: the entry alone was kept: what was signed is not here"
                )
            if openness in {Openness.CLOSED, Openness.ERASED, Openness.ABSENT}:
                self._take(f"{folder}/{CLOSED}")
                self.notes.append(f"{folder}: its content is not here ({openness})")
                if openness is Openness.ERASED:
                    self._erased(folder, index, log, entry)
            if openness in {Openness.OPEN, Openness.CLOSED, Openness.ERASED}:
                file = f"{folder}/sealed.bin"
                ciphertext = self._take(file)
                records.check_ciphertext(entry, ciphertext, file)
            if openness is Openness.OPEN:
                key = self._take(f"{folder}/record.key")
                part = records.open_record(entry, ciphertext, key, folder, self._take)
                self.opened += 1
                if part.base:
                    message = records.read_message(part, folder)
                    (self.requests if message.is_request else self.answers).append(message)
                    name = f"certificates/{message.keyid}.pem"
                    if name not in self.files:
                        self.without_certificate += 1
                        return
                    pem = self._take(name)
                    certificate = records.check_signature(message, part, pem, name)
                    self.signatures += 1
                    if self.authorities:
                        records.check_signer(message, entry, certificate, self.authorities, name)
                        self._statements(message, certificate)

    def _statements(self, message: Message, certificate: x509.Certificate) -> None:
        begin = f"revocation/{message.keyid}."
        names = [name for name in self.files if name.startswith(begin)]
        at = datetime.fromtimestamp(message.created, UTC)
        for name in names:
            with self._finding(name):
                der = self._take(name)
                note = records.check_statement(der, name, certificate, self.authorities, at)
                if note is not None:
                    self.notes.append(note)
        if not names:
            self.notes.append(f"{message.folder}: nothing says whether its signer was revoked")

    def _erased(self, folder: str, index: int, log: int, entry: Entry) -> None:
        """Look for the entry that says that a record was erased."""
        for name in sorted(self.files):
            if name.startswith(f"entries/{log}-") and name.endswith("/entry.json"):
                other = parse_entry(self.files[name], name)
                at = int(name.removeprefix(f"entries/{log}-").partition("/")[0])
                if other.erased is not None and entry.sealed is not None:
                    erasure = Erasure(at, other.at, other.erased)
                    if erasure.covers(entry.sealed, index):
                        self.notes[-1] = f"{folder}: {erasure}"
                        return
        self.notes.append(f"{folder}: the entry that tells of the erasure is not here")

    def _inclusion(self, folder: str, index: int, log: int, data: bytes) -> None:
        file, checkpoint = f"{folder}/{PROOF}", self.files.get(f"logs/{log}/checkpoint")
        proof = parse_proof(self._take(file), file)
        if proof.index != index or proof.checkpoint != checkpoint:
            raise Problem(
                Code.INVALID_PROOF, where=file, detail="is of another entry or another checkpoint"
            )
        key = self.logs[log]
        if key is not None:
            check_proof(proof, data, key, file)

    def _bindings(self) -> None:
        for answer in self.answers:
            with self._finding(f"{answer.folder}/base.txt"):
                if not records.check_binding(answer, self.requests):
                    self.notes.append(f"{answer.folder}: the request that it answers is not here")

    def _rest(self) -> None:
        """What was not taken by a check: trust material that nothing needed, or a finding."""
        if SCRIPT_FILE in self.files and self.files[SCRIPT_FILE] != SCRIPT.encode():
            self.notes.append(f"{SCRIPT_FILE} is not the one of this version of Saphan")
        for name in sorted(self.left - {SCRIPT_FILE, "README.txt"}):
            if not name.startswith(("certificates/", "revocation/")):
                self.findings.append(
                    Finding(Code.INVALID_DOCUMENT, name, None, "belongs to no entry of the export")
                )


def verify_export(
    path: Path,
    keys: Sequence[VerifierKey] = (),
    authorities: Sequence[x509.Certificate] = (),
) -> ExportVerdict:
    """Verify an export without its journal.

    Args:
        path: the container, the zip or the folder.
        keys: verifier keys that are trusted; without any, those in the export are taken, and the
            verdict names them.
        authorities: certificates that are trusted; without any, those in the export are taken.

    Raises:
        Problem: ``InvalidDocument`` when it is no export at all.
    """
    return _Verification(read_export(path), keys, tuple(authorities)).run()
