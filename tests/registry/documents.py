"""Documents of services that lie nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class HeldDocument:
    """A document in memory."""

    data: bytes

    @property
    def sha256(self) -> str:
        return sha256(self.data).hexdigest()

    def read(self) -> bytes:
        return self.data
