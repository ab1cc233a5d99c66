"""Evidence requests: on which ground an element is asked for, and why one is missing.

The ground travels in the header field ``Exchange-Request-Basis``, an Item of RFC 9651. Like every
end-to-end field it is under the signature of the exchange that it belongs to, so the consumer's
server has sealed it for this message and no other, and both journals keep it in the sealed part::

    explicit;at=@1763800000;ref="e-services/2026/17"
    statutory;law=%"Law on enterprises, article 12"

*explicit*: a person asked for it, at this time, as the portal's reference shows; *statutory*: a law
has it fetched without asking. Invariant: only what prints back identically is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias

from exchange.problems import Code, Problem, Text

HEADER: Final = "exchange-request-basis"
MAX_BASIS: Final = 1024
_LAST: Final = 253_402_300_799  # the last second of the year 9999: later ones are no datetime
GRAMMAR: Final = (
    'must be explicit;at=@{seconds};ref="{reference}" or statutory;law=%"{text}", '
    f"at most {MAX_BASIS} characters (RFC 9651)"
)
PATTERN: Final = re.compile(
    r'explicit;at=@(?P<at>0|[1-9][0-9]{0,11});ref="(?P<ref>[ !#-\[\]-~]{1,120})"'
    r'|statutory;law=%"(?P<law>(?:[ !#$&-~]|%[0-9a-f]{2}){1,1000})"',
    re.ASCII,
)


class BasisKind(StrEnum):
    """Why something is asked for."""

    EXPLICIT = "explicit"
    STATUTORY = "statutory"


@dataclass(frozen=True, slots=True)
class Explicit:
    """A person's own request: when, and where the portal keeps it."""

    at: datetime
    reference: str

    @property
    def kind(self) -> BasisKind:
        return BasisKind.EXPLICIT

    def __str__(self) -> str:
        return f'explicit;at=@{int(self.at.timestamp())};ref="{self.reference}"'


@dataclass(frozen=True, slots=True)
class Statutory:
    """A law that has it fetched."""

    legal_basis: str

    @property
    def kind(self) -> BasisKind:
        return BasisKind.STATUTORY

    def __str__(self) -> str:
        return f'statutory;law=%"{_encoded(self.legal_basis)}"'


Basis: TypeAlias = Explicit | Statutory


def parse_basis(text: str, where: str = HEADER) -> Basis:
    """The ground as the header field names it.

    Raises:
        Problem: ``InvalidHeader`` for anything that does not print back identically.
    """
    found = PATTERN.fullmatch(text) if len(text) <= MAX_BASIS else None
    basis: Basis | None = None
    if found is not None and found["at"] is not None and int(found["at"]) <= _LAST:
        basis = Explicit(datetime.fromtimestamp(int(found["at"]), UTC), found["ref"])
    elif found is not None and found["law"] is not None:
        law = _decoded(found["law"])
        basis = None if law is None else Statutory(law)
    if basis is None or str(basis) != text:
        raise Problem(Code.INVALID_HEADER, where=where, detail=GRAMMAR)
    return basis


def format_basis(basis: Basis, where: str) -> str:
    """The header field for a ground.

    Raises:
        Problem: ``InvalidHeader`` at ``where`` when it cannot be written, or is too long.
    """
    text = str(basis)
    parse_basis(text, where)
    return text


def _encoded(text: str) -> str:
    """A Display String (RFC 9651 section 3.3.8), without its quotes."""
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'%"' else f"%{byte:02x}"
        for byte in text.encode()
    )


def _decoded(text: str) -> str | None:
    data = re.sub(rb"%([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        return None
    return decoded if decoded.isprintable() else None


class Reason(StrEnum):
    """Why an element is missing."""

    NOT_FOUND = "NotFound"
    AMBIGUOUS = "Ambiguous"
    NOT_ALLOWED = "NotAllowed"
    UNAVAILABLE = "Unavailable"
    DECLINED = "Declined"


REASONS: Final = {
    Reason.NOT_FOUND: Text(
        "The source has no such record, or the record has no such value.",
        "ແຫຼ່ງຂໍ້ມູນບໍ່ມີບັນທຶກນີ້ ຫຼື ບັນທຶກນັ້ນບໍ່ມີຄ່ານີ້.",
    ),
    Reason.AMBIGUOUS: Text(
        "The source has several records for this subject; an official must look.",
        "ແຫຼ່ງຂໍ້ມູນມີຫຼາຍບັນທຶກສຳລັບຜູ້ກ່ຽວ; ຕ້ອງໃຫ້ພະນັກງານກວດເບິ່ງ.",
    ),
    Reason.NOT_ALLOWED: Text(
        "No agreement with the source allows this for this purpose.",
        "ບໍ່ມີຂໍ້ຕົກລົງກັບແຫຼ່ງຂໍ້ມູນ ທີ່ອະນຸຍາດສຳລັບຈຸດປະສົງນີ້.",
    ),
    Reason.UNAVAILABLE: Text(
        "The source cannot answer now; ask again later.",
        "ແຫຼ່ງຂໍ້ມູນບໍ່ສາມາດຕອບໄດ້ໃນຂະນະນີ້; ກະລຸນາຂໍໃໝ່ພາຍຫຼັງ.",
    ),
    Reason.DECLINED: Text(
        "The person does not want this to be passed on.",
        "ຜູ້ກ່ຽວບໍ່ຕ້ອງການໃຫ້ສົ່ງຕໍ່ຂໍ້ມູນນີ້.",
    ),
}
_REFUSALS: Final = frozenset(
    {
        Code.ACCESS_DENIED,
        Code.AGREEMENT_EXPIRED,
        Code.AGREEMENT_INVALID,
        Code.AGREEMENT_NOT_YET_VALID,
        Code.FIELD_NOT_RELEASED,
        Code.PURPOSE_NOT_ALLOWED,
        Code.REQUEST_BASIS_MISSING,
        Code.SUBJECT_MISSING,
    }
)


def reason_of(code: str) -> Reason:
    """What a problem of an exchange means for the elements that were asked for with it."""
    if code in _REFUSALS or code.startswith("Agreement"):
        return Reason.NOT_ALLOWED
    # An identifier that breaks the source's own rule for identifiers is nobody's.
    return Reason.NOT_FOUND if code == Code.SCHEMA_VIOLATION else Reason.UNAVAILABLE
