"""The evidence of an exchange, to be checked by somebody without the journal."""

from mediator.journal.export.around import surroundings
from mediator.journal.export.contents import (
    README,
    SCRIPT,
    Chosen,
    Revocations,
    Surroundings,
    make_export,
)
from mediator.journal.export.files import is_export, read_export, write_export
from mediator.journal.export.signing import Signer, Stamp, signed, unsigned
from mediator.journal.export.verification import ExportVerdict, verify_export

__all__ = [
    "README",
    "SCRIPT",
    "Chosen",
    "ExportVerdict",
    "Revocations",
    "Signer",
    "Stamp",
    "Surroundings",
    "is_export",
    "make_export",
    "read_export",
    "signed",
    "surroundings",
    "unsigned",
    "verify_export",
    "write_export",
]
