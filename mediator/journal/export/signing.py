"""Who signs an export, and with whose time: the container's CAdES signature.

Without a time-stamp authority that answers in time the signature is of level B-B; evidence is not
kept from anybody because an authority is away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TypeAlias

import structlog
from cryptography import x509

from exchange.evidence import asic, cades
from exchange.keys import SigningKey
from exchange.problems import Problem

log = structlog.get_logger("mediator.export")

Stamp: TypeAlias = Callable[[bytes], bytes]
"""Asks for an RFC 3161 token over a SHA-256 digest; blocks, bounded; raises Problem."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A member's seal key and its certificate, and what may vouch for the time.

    ``authorities`` are those above the certificate; ``stamp`` is None where no authority is set.
    """

    key: SigningKey
    certificate: x509.Certificate
    authorities: Sequence[x509.Certificate]
    stamp: Stamp | None = None


def signed(files: Mapping[str, bytes], signer: Signer, at: datetime) -> dict[str, bytes]:
    """The files of an ASiC-E container: those of an export, the manifest and its signature.

    Args:
        at: the present.

    Raises:
        Problem: ``InvalidDocument`` for a name that a container cannot hold.
    """
    manifest = asic.format_manifest(files)
    issuers = [each for each in signer.authorities if each.issuer != each.subject]
    signature = cades.sign(manifest, signer.key, signer.certificate, issuers, at)
    if signer.stamp is not None:
        try:
            digest = sha256(cades.signature_value(signature)).digest()
            signature = cades.with_token(signature, signer.stamp(digest))
        except Problem as problem:
            log.warning("evidence_not_stamped", problem=str(problem))
    return {
        **files,
        asic.MIMETYPE_FILE: asic.MIMETYPE.encode(),
        asic.MANIFEST: manifest,
        asic.SIGNATURE: signature,
    }


def unsigned(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an export that nobody signs: with a manifest, so that damage is found."""
    marked = {**files, "UNSIGNED.txt": _UNSIGNED.encode()}
    return {**marked, asic.MANIFEST: asic.format_manifest(marked, signed=False)}


_UNSIGNED = """\
NOT SIGNED: nobody vouches for this collection as a whole. What the journals, the signatures of the
messages, the witnesses and the time-stamps in it prove, they prove nevertheless.

ບໍ່ໄດ້ລົງລາຍເຊັນ: ບໍ່ມີໃຜຮັບຮອງຊຸດເອກະສານນີ້ທັງໝົດ. ແຕ່ສິ່ງທີ່ບັນຊີ, ລາຍເຊັນຂອງຂໍ້ຄວາມ, ພະຍານ ແລະ
ຕາປະທັບເວລາ ຢູ່ໃນນີ້ພິສູດ ກໍຍັງພິສູດໄດ້.
"""
