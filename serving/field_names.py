"""Names of header fields as text: lower case, the same object for the same name.

The names in messages are few, so most are looked up rather than decoded; and look-ups by names
further on compare identities. What clients send fills no memory: only the first thousand short
names are kept.
"""

from __future__ import annotations

from typing import Final

_MAX_KEPT: Final = 1024
_MAX_LENGTH: Final = 64


class _FieldNames(dict[bytes, str]):
    """From the bytes of a name on the wire to its text."""

    def __missing__(self, name: bytes) -> str:
        text = name.decode("latin-1").lower()
        if len(self) < _MAX_KEPT and len(name) <= _MAX_LENGTH:
            self[name] = text = next((kept for kept in self.values() if kept == text), text)
        return text


FIELD_NAMES: Final = _FieldNames()
