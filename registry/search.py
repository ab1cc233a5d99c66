"""Search of the directory by parts of words, in Lao and English.

Lao is written without spaces between words, so a query finds what holds it anywhere. Texts and
queries are brought to one form first (:func:`exchange.lao.folded`): the same word is found however
it was typed.

Everything is in memory; a search looks at every text, which for 1,000 members and 10,000 services
takes a few milliseconds, and needs no index that could be out of date.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nsmallest
from typing import Final

from exchange.lao import folded
from exchange.problems import Text


class Kind(StrEnum):
    """What can be found; in the order in which equally good results are shown."""

    MEMBER = "member"
    SERVICE = "service"
    ELEMENT = "element"
    SCHEMA = "schema"
    CODE_LIST = "code-list"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be found, by its id, its title and further words."""

    kind: Kind
    id: str
    title: Text
    further: str = ""
    name: str = field(init=False)
    text: str = field(init=False)

    def __post_init__(self) -> None:
        name = folded(f"{self.id} {self.title.en} {self.title.lo}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "text", f"{name} {folded(self.further)}")


_ORDER: Final = {kind: number for number, kind in enumerate(Kind)}


class SearchIndex:
    """Entries by who they are of; a whole owner is replaced at once."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[Entry, ...]] = {}
        self._entries: list[Entry] | None = []

    def put(self, owner: str, entries: Iterable[Entry]) -> None:
        """Replace the entries of an owner."""
        self._owners[owner] = tuple(entries)
        self._entries = None

    def forget(self, owner: str) -> None:
        """Drop an owner with its entries."""
        if self._owners.pop(owner, None) is not None:
            self._entries = None

    def matching(self, query: str, kinds: frozenset[Kind] = frozenset(Kind)) -> list[Entry]:
        """The entries that hold every word of a query somewhere, in no order."""
        if self._entries is None:
            self._entries = [one for entries in self._owners.values() for one in entries]
        found = self._entries
        for word in folded(query).split():
            found = [one for one in found if word in one.text]
        return found if len(kinds) == len(Kind) else [one for one in found if one.kind in kinds]

    def search(
        self, query: str, kinds: frozenset[Kind], start: int, limit: int
    ) -> tuple[list[Entry], int]:
        """A page of results, the best first, and how many there are.

        Better is what has the words in its name, at the beginning of it or of a word in it.
        """
        found = self.matching(query, kinds)
        words = folded(query).split()
        best = nsmallest(
            start + limit, found, key=lambda one: (_rank(one, words), one.kind, one.id)
        )
        return best[start:], len(found)


def _rank(entry: Entry, words: list[str]) -> int:
    name = entry.name
    rank = 0
    for word in words:
        if f" {word}" in name or f"/{word}" in name or name.startswith(word):
            continue
        rank += 1 if word in name else 2
    return rank
