"""`saphan schema`: compare versions, consent, find faults, make test data."""

from console.cli.schema import check, consent, writing
from console.cli.schema.group import schema

__all__ = ["check", "consent", "schema", "writing"]
