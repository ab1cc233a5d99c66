"""Predicates: endpoints that answer yes or no, and never the record.

``holds`` are terms that a record of the key must meet, all of them; several records may have the
key. What a caller gives beside the key is one of the values that the mapping lists: whoever may
choose a number freely finds the one that is not shown, by halves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from adapters.fields import Field
from adapters.mapping.marks import Marks, read_marks
from adapters.mapping.reader import Node
from adapters.mapping.terms import Term, check_today, read_terms

KEYS: Final = ("holds", "unknown", "reasons", "element", "statistics")
UNKNOWN: Final = "unknown"
_REASON: Final = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)


class Unknown(StrEnum):
    """What is answered of a key that no record has."""

    NOT_FOUND = "not_found"
    FALSE = "false"


@dataclass(frozen=True, slots=True)
class Predicate:
    """What must hold, and what is said where it does not.

    ``reasons``: the name of a field or filter, or ``unknown``, to a code.
    """

    terms: tuple[Term, ...]
    unknown: Unknown
    reasons: Map[str, str]
    marks: Marks

    @property
    def asks_why(self) -> bool:
        """Whether an answer of no is looked into by more questions."""
        return bool(self.reasons) or self.unknown is Unknown.NOT_FOUND


def read_predicate(
    node: Node,
    found: Map[str, Node],
    fields: Sequence[Field],
    filters: Sequence[str],
    *,
    zoned: bool,
) -> Predicate:
    """The keys of a predicate among those of its endpoint."""
    if not zoned:
        node.refuse("a predicate is of a day: the source needs the key 'zone'")
    if "unknown" not in found:
        node.refuse("the key 'unknown' is missing: not_found or false for a key of no record")
    terms = read_terms(found["holds"], fields) if "holds" in found else ()
    check_today(terms, zoned, node)
    unknown = found["unknown"].choice(Unknown)
    if not terms and not filters and unknown is Unknown.NOT_FOUND:
        node.refuse("would never answer false: say what 'holds', or unknown: false")
    known = {*(term.field.name for term in terms), *filters}
    known |= {UNKNOWN} if unknown is Unknown.FALSE else set()
    reasons = {}
    for name, child in found["reasons"].entries().items() if "reasons" in found else ():
        if name not in known:
            child.refuse(
                f"{name!r} is nothing that must hold; there are: {', '.join(sorted(known))}"
            )
        reasons[name] = child.text(_REASON)
    marks = read_marks({key: found[key] for key in ("element", "statistics") if key in found})
    return Predicate(terms, unknown, reasons, marks)
