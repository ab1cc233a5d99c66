"""The evidence of an exchange, to be checked by somebody without the journal."""

from mediator.journal.export.contents import README, Chosen, make_export
from mediator.journal.export.files import is_export, read_export, write_export
from mediator.journal.export.verification import ExportVerdict, verify_export

__all__ = [
    "README",
    "Chosen",
    "ExportVerdict",
    "is_export",
    "make_export",
    "read_export",
    "verify_export",
    "write_export",
]
