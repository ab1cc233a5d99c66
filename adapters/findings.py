"""What a check, or a comparison with the source, found, whatever the kind of the source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or, as a ``warning``, unwise.

    ``where`` is a service and endpoint, or a place in the mapping; ``row`` counts from 1 in the
    source's order, ``key`` names it; ``place`` is a JSON pointer into the record.
    """

    where: str
    rule: str
    row: int | None = None
    key: str = ""
    place: str = ""
    type: str = ""
    warning: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The members that say something."""
        return {
            name: value for name, value in asdict(self).items() if value not in (None, "", False)
        }


@dataclass(frozen=True, slots=True)
class Drift:
    """One change of a source: its place, what became of it, and whether the mapping needs it."""

    place: str
    words: str
    breaks: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
