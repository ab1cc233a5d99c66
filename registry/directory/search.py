"""Search of the directory by parts of words, in Lao and English.

Lao is written without spaces between words, so a query finds what holds it anywhere. Texts and
queries are brought to one form first (:func:`exchange.lao.folded`; ຫລ and ຫຼ are one, too): the same
word is found however it was typed, and while it is typed.

Everything is in memory; a search looks at every text, which for 1,000 members and 10,000 services
takes a few milliseconds, and needs no index that could be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nsmallest
from typing import Final

from exchange.lao import TONES, folded
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
        name = _spelt(f"{self.id} {self.title.en} {self.title.lo}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "text", f"{name} {_spelt(self.further)}")


_BEGUN_AM: Final = re.compile(f"\u0ecd([{TONES}]*)$")
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
        for forms in _words(query):
            found = [one for one in found if any(word in one.text for word in forms)]
        return found if len(kinds) == len(Kind) else [one for one in found if one.kind in kinds]

    def search(
        self, query: str, kinds: frozenset[Kind], start: int, limit: int
    ) -> tuple[list[Entry], int]:
        """A page of results, the best first, and how many there are.

        Better is what has the words in its name, at the beginning of it or of a word in it.
        """
        found = self.matching(query, kinds)
        words = _words(query)
        best = nsmallest(
            start + limit, found, key=lambda one: (_rank(one, words), one.kind, one.id)
        )
        return best[start:], len(found)


def _spelt(text: str) -> str:
    """A text as it is compared. ຫລ and ຫຼ are two spellings of one cluster: ຫລວງ, ຫຼວງ."""
    return folded(text).replace("ຫລ", "ຫຼ")


def _words(query: str) -> list[tuple[str, ...]]:
    """The words of a query, each with the forms in which it is looked for.

    Whoever types AM (ຳ) as two signs has typed the first of them, ◌ໍ, before the second, and perhaps
    before the tone: until then it may be the beginning of AM as well as a vowel.
    """
    found = []
    for word in _spelt(query).split():
        begun = _BEGUN_AM.search(word)
        tones = () if begun is None else (begun[1],) if begun[1] else ("", *TONES)
        stem = "" if begun is None else word[: begun.start()]
        found.append((word, *(f"{stem}{tone}\u0eb3" for tone in tones)))
    return found


def _rank(entry: Entry, words: list[tuple[str, ...]]) -> int:
    return sum(min(_rank_of(entry.name, word) for word in forms) for forms in words)


def _rank_of(name: str, word: str) -> int:
    if f" {word}" in name or f"/{word}" in name or name.startswith(word):
        return 0
    return 1 if word in name else 2
