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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.entries import Entry, parse_entry
from exchange.problems import Code, Problem
from exchange.proof import EXTENSION, format_proof
from exchange.sealed_parts import SealedPart
from exchange.signature import parse_signature_base
from mediator.journal.reader import JournalReader

DESCRIPTION = "export.json"
README = Path(__file__).with_name("README.txt").read_text(encoding="utf-8")
PROOF = f"proof{EXTENSION}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """An entry to export: the journal it is in, and its index."""

    journal: JournalReader
    index: int


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
        files[f"{folder}/{PROOF}"] = format_proof(journal.prove(index))
        listed.append({"index": index, "log": number})
        entry = parse_entry(data)
        keyids = {entry.certificate} - {None}
        if entry.sealed is not None:
            part = _add_sealed(files, folder, journal, index, entry)
            if part is not None and part.base:
                keyids.add(keyid_of(part.base))
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
        if problem.code in {Code.SEALED_PART_UNREADABLE, Code.SEALED_PART_ERASED}:
            return None  # the key is not here or was destroyed: the ciphertext is what there is
        raise
    files[f"{folder}/record.key"] = f"{opened.record_key.hex()}\n".encode()
    for name, data in contents_of(opened.part).items():
        files[f"{folder}/{name}"] = data
    return opened.part


def contents_of(part: SealedPart) -> dict[str, bytes]:
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


def keyid_of(base: bytes) -> str:
    """The fingerprint of the certificate that a signature base names; empty when it names none."""
    try:
        _, member = parse_signature_base(base)
    except Problem:
        return ""
    return str(member.parameters.get("keyid", ""))
