"""Exports: all evidence of one exchange, in a folder or a zip, to be checked without the journal.

::

    README.txt                        how to check it, in English and Lao
    export.json                       which entries of which logs are here
    logs/<n>/vkey, checkpoint         the log's verifier key and signed head
    entries/<n>-<index>/entry.json    the entry, byte for byte (the leaf of the tree)
                        proof.tlog-proof   that it is in the log (c2sp.org/tlog-proof@v1)
                        sealed.bin    the sealed part as it was stored
                        record.key    the key of this one record, if the member's key was here
                        base.txt, signature.bin, head.json, body.bin     what is in the sealed part
    certificates/<fingerprint>.pem    certificates of those who signed, as far as they were given

Invariants: an export verifies by itself (:func:`verify_export`); a file that is not accounted for
is a finding; the record's key opens this record and nothing else.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange import sealed_parts
from exchange.checkpoint import open_checkpoint
from exchange.entries import Entry, parse_entry
from exchange.keys import verifying_key
from exchange.notes import VerifierKey
from exchange.problems import Code, Problem
from exchange.proof import EXTENSION, check_proof, format_proof, parse_proof
from exchange.sealed_parts import SealedPart
from exchange.signature import parse_signature_base
from mediator.journal.reader import JournalReader
from mediator.journal.verify import Finding, check_part

DESCRIPTION = "export.json"
MAX_EXPORT_SIZE = 1 << 30
_PROOF = f"proof{EXTENSION}"

README = """\
Evidence of one exchange, exported from Saphan
==============================================

Check all of it:                 saphan audit verify THIS_FOLDER_OR_ZIP
Compare logs/*/vkey with the verifier keys that the registry lists, or give them: --vkey KEY

By hand, with stock tools:
1. entries/*/entry.json is what the log holds. Its leaf hash is SHA-256 of a zero byte and the file.
2. entries/*/proof.tlog-proof (c2sp.org/tlog-proof) leads from that leaf to the root in the
   checkpoint (RFC 6962), which the log signed (c2sp.org/signed-note, key in logs/*/vkey).
3. SHA-256 of entries/*/sealed.bin is the member sealed.digest of the entry.
4. base.txt is what was signed (RFC 9421), signature.bin the signature; its last line names the
   certificate by the SHA-256 of its DER form: certificates/<fingerprint>.pem.
   P-256 signatures are r and s, 32 bytes each.
5. SHA-256 of body.bin, in base64, is in the content-digest line of base.txt.
A record without record.key was exported without the member's key: what is proven then is that it
was recorded, when, between whom and with which outcome, but not its content.

ຫຼັກຖານຂອງການແລກປ່ຽນໜຶ່ງຄັ້ງ ທີ່ສົ່ງອອກຈາກ ສະພານ (Saphan)
==============================================

ກວດສອບທັງໝົດ:                  saphan audit verify ໂຟນເດີ_ຫຼື_ໄຟລ໌_ZIP_ນີ້
ໃຫ້ທຽບ logs/*/vkey ກັບກະແຈກວດສອບທີ່ທະບຽນປະກາດ ຫຼື ລະບຸກະແຈນັ້ນ: --vkey KEY

ກວດສອບດ້ວຍຕົນເອງ ໂດຍໃຊ້ເຄື່ອງມືທົ່ວໄປ:
1. entries/*/entry.json ແມ່ນສິ່ງທີ່ບັນທຶກໄວ້ໃນບັນຊີ. ຄ່າແຮຊຂອງໃບແມ່ນ SHA-256 ຂອງໄບຕ໌ສູນ ຕາມດ້ວຍໄຟລ໌ນັ້ນ.
2. entries/*/proof.tlog-proof (c2sp.org/tlog-proof) ນຳຈາກໃບນັ້ນໄປຫາຮາກໃນ checkpoint (RFC 6962)
   ເຊິ່ງບັນຊີໄດ້ລົງລາຍເຊັນໄວ້ (c2sp.org/signed-note, ກະແຈຢູ່ໃນ logs/*/vkey).
3. SHA-256 ຂອງ entries/*/sealed.bin ແມ່ນຄ່າ sealed.digest ໃນ entry.json.
4. base.txt ແມ່ນຂໍ້ຄວາມທີ່ຖືກລົງລາຍເຊັນ (RFC 9421), signature.bin ແມ່ນລາຍເຊັນ; ແຖວສຸດທ້າຍບອກໃບຢັ້ງຢືນ
   ດ້ວຍ SHA-256 ຂອງຮູບແບບ DER: certificates/<fingerprint>.pem.
   ລາຍເຊັນ P-256 ແມ່ນ r ແລະ s, ຢ່າງລະ 32 ໄບຕ໌.
5. SHA-256 ຂອງ body.bin ໃນຮູບແບບ base64 ຢູ່ໃນແຖວ content-digest ຂອງ base.txt.
ບັນທຶກທີ່ບໍ່ມີ record.key ຖືກສົ່ງອອກໂດຍບໍ່ມີກະແຈຂອງສະມາຊິກ: ພິສູດໄດ້ວ່າມີການບັນທຶກ ເມື່ອໃດ ລະຫວ່າງໃຜ
ແລະ ຜົນເປັນແນວໃດ ແຕ່ບໍ່ສາມາດພິສູດເນື້ອໃນໄດ້.
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An entry to export: the journal it is in, and its index."""

    journal: JournalReader
    index: int


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


def make_export(
    chosen: Sequence[Chosen], certificates: Mapping[str, x509.Certificate]
) -> dict[str, bytes]:
    """The files of an export, by name.

    Args:
        chosen: the entries, at least one.
        certificates: by fingerprint; those that are needed are put in.

    Raises:
        Problem: ``JournalCorrupt`` when a journal cannot be read.
    """
    files = {"README.txt": README.encode()}
    numbers: dict[str, int] = {}
    listed: list[dict[str, object]] = []
    for choice in chosen:
        journal, index = choice.journal, choice.index
        number = numbers.setdefault(journal.origin, len(numbers))
        files[f"logs/{number}/vkey"] = f"{journal.key}\n".encode()
        files[f"logs/{number}/checkpoint"] = journal.checkpoint_note
        folder = f"entries/{number}-{index}"
        data = journal.entry(index)
        files[f"{folder}/entry.json"] = data
        files[f"{folder}/{_PROOF}"] = format_proof(journal.prove(index))
        listed.append({"index": index, "log": number})
        entry = parse_entry(data)
        keyids = {entry.certificate} - {None}
        if entry.sealed is not None:
            part = _add_sealed(files, folder, journal, index, entry)
            if part is not None and part.base:
                keyids.add(_keyid(part.base))
        for keyid in sorted(filter(None, keyids)):
            if keyid in certificates:
                pem = certificates[keyid].public_bytes(Encoding.PEM)
                files[f"certificates/{keyid}.pem"] = pem
    origins = [origin for origin, _ in sorted(numbers.items(), key=lambda item: item[1])]
    files[DESCRIPTION] = orjson.dumps(
        {"entries": listed, "logs": origins, "v": 1},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
    return files


def _add_sealed(
    files: dict[str, bytes], folder: str, journal: JournalReader, index: int, entry: Entry
) -> SealedPart | None:
    ciphertext = journal.ciphertext(index)
    files[f"{folder}/sealed.bin"] = ciphertext
    try:
        opened = journal.open(entry, ciphertext)
    except Problem as problem:
        if problem.code is Code.SEALED_PART_UNREADABLE:
            return None  # the key is not here: the wrapped record is what there is
        raise
    files[f"{folder}/record.key"] = f"{opened.record_key.hex()}\n".encode()
    for name, data in _contents(opened.part).items():
        files[f"{folder}/{name}"] = data
    return opened.part


def _contents(part: SealedPart) -> dict[str, bytes]:
    head = {
        name: value
        for name in ("headers", "method", "status", "target")
        if (value := getattr(part.head, name)) is not None
    }
    return {
        "base.txt": part.base,
        "signature.bin": part.signature,
        "head.json": orjson.dumps(head, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        "body.bin": part.body,
    }


def _keyid(base: bytes) -> str:
    """The fingerprint of the certificate that a signature base names; empty when it names none."""
    try:
        _, member = parse_signature_base(base)
    except Problem:
        return ""
    return str(member.parameters.get("keyid", ""))


def write_export(files: Mapping[str, bytes], target: Path) -> None:
    """Write an export to a new folder, or to a zip when the name ends in ``.zip``.

    Only its owner may read it: it holds in clear what the journal keeps sealed.

    Raises:
        Problem: ``Conflict`` when the target exists.
    """
    if target.exists():
        raise Problem(
            Code.CONFLICT, where=str(target), detail="it exists already; choose another name"
        )
    if target.suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(files):
                archive.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(buffer.getvalue())
        return
    target.mkdir(parents=True, mode=0o700)
    for name, data in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def is_export(path: Path) -> bool:
    return path.suffix == ".zip" or (path / DESCRIPTION).is_file()


def read_export(path: Path) -> dict[str, bytes]:
    """Read an export back.

    Raises:
        Problem: ``InvalidDocument`` when it is no export, or over 1 GiB.
    """
    files: dict[str, bytes] = {}
    total = 0
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    total += file.stat().st_size
                    _check_size(total, path)
                    files[file.relative_to(path).as_posix()] = file.read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    total += info.file_size
                    _check_size(total, path)
                    if info.filename in files:
                        raise zipfile.BadZipFile(f"{info.filename} is there twice")
                    files[info.filename] = archive.read(info)
    # RuntimeError (also NotImplementedError): encrypted, or packed in a way that is not known here
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=str(path), detail=f"cannot be read: {error}"
        ) from error
    return files


def _check_size(total: int, path: Path) -> None:
    if total > MAX_EXPORT_SIZE:
        raise Problem(Code.INVALID_DOCUMENT, where=str(path), detail="more than 1 GiB")


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
            proof = parse_proof(self._take(f"{folder}/{_PROOF}"), f"{folder}/{_PROOF}")
            key = self._logs[log]
            if proof.index != index or proof.checkpoint != self._files.get(
                f"logs/{log}/checkpoint"
            ):
                raise Problem(
                    Code.INVALID_PROOF,
                    where=f"{folder}/{_PROOF}",
                    detail="is of another entry or another checkpoint",
                )
            if key is not None:
                check_proof(proof, data, key, f"{folder}/{_PROOF}")
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
        for name, data in _contents(part).items():
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
        keyid = _keyid(part.base)
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
