"""Search endpoints: records whose name is like a given one (:mod:`adapters.text.names`).

Names are compared one by one, so what is compared is bounded: candidates are the records that share
a sound with the name, found by a column of the query (``sounds``) that holds one of the keys of
:func:`adapters.text.names.keys`; a query without such a column may give few records only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import Final

from adapters.answers.statements import NAME
from adapters.fields import Field, Kind
from adapters.mapping.callers import several
from adapters.mapping.reader import Node
from adapters.text.names import KEYS_VERSION, SAME
from exchange.problems import Code, Problem

KEYS: Final = ("names", "sounds", "sounds_version", "threshold", "max_candidates")
PARAMETERS: Final = ("name", "threshold")
MOST_HITS: Final = 100
MOST_CANDIDATES: Final = 2_000
LEAST_SCORE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Search:
    """What names are compared, and how many at most.

    ``names`` are fields whose values are names; ``sounds`` is the column of a key of theirs, None
    where all records are compared; ``sounds_version`` is that of the keys in it, if the owner says
    so. ``threshold`` is the score of a hit unless the caller gives one.
    """

    names: tuple[Field, ...]
    sounds: str | None
    threshold: float = SAME
    max_candidates: int = 500
    sounds_version: int = KEYS_VERSION

    def check_version(self) -> None:
        """Refuse a column of other keys: a search would miss records without a word.

        Raises:
            Problem: ``SourceFailed``.
        """
        if self.sounds_version == KEYS_VERSION:
            return
        detail = (
            f"the column {self.sounds} holds sounds of version {self.sounds_version}, and names"
        )
        detail += f" are compared by version {KEYS_VERSION}: make it anew (saphan text keys)"
        raise Problem(Code.SOURCE_FAILED, where="source", detail=detail, retryable=False)


def read_search(
    node: Node, found: Map[str, Node], fields: Sequence[Field], taken: Iterable[str]
) -> Search:
    """The keys of a search among those of its endpoint; ``taken`` are its other parameters."""
    if "names" not in found:
        node.refuse("the key 'names' is missing: the fields that are compared with the name")
    if "order" not in found:
        node.refuse("the key 'order' is missing: columns that tell one record from another")
    for name in taken:
        if name in PARAMETERS:
            node.refuse(f"{name!r} is a parameter of every search")
    known = {field.name: field for field in fields}
    if "sounds_version" in found and "sounds" not in found:
        found["sounds_version"].refuse("has no meaning without 'sounds'")
    names = several(found["names"], lambda one: one.reference(known, "field"))
    for name in names:
        plain = known[name].separator is None and known[name].compute is None
        if known[name].kind is not Kind.STRING or not plain:
            found["names"].refuse(f"{name} is no text that could be a name")
    return Search(
        tuple(known[name] for name in names),
        found["sounds"].text(NAME) if "sounds" in found else None,
        found["threshold"].number(LEAST_SCORE, 1) if "threshold" in found else SAME,
        found["max_candidates"].integer(1, MOST_CANDIDATES) if "max_candidates" in found else 500,
        found["sounds_version"].integer(1, 1_000) if "sounds_version" in found else KEYS_VERSION,
    )
