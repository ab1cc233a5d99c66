"""Search of the directory by parts of words, in Lao and English.

Lao is written without spaces between words, so a query finds what holds it anywhere. Texts and
queries are brought to one form first (:func:`folded`): the same word is found however it was typed.

Everything is in memory; a search looks at every text, which for 1,000 members and 10,000 services
takes a few milliseconds, and needs no index that could be out of date.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nsmallest
from typing import Final

from exchange.problems import Text

_INVISIBLE: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_DIGITS: Final = {0x0ED0 + number: str(number) for number in range(10)}
_AM: Final = re.compile("\u0ecd([\u0ec8-\u0ecb]?)\u0eb2|\u0eb3([\u0ec8-\u0ecb])")
_MARKS: Final = re.compile("[\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd]{2,}")
_TONES: Final = frozenset("\u0ec8\u0ec9\u0eca\u0ecb\u0ecc")


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


def folded(text: str) -> str:
    """A text in the one form in which texts are compared.

    NFC and case folded; without zero-width spaces and soft hyphens; Lao digits as 0 to 9; the
    vowel AM in one sign, after the tone; the marks of a consonant in the order vowel, tone;
    ເເ as ແ; the ligatures ໜ and ໝ as ຫນ and ຫມ.
    """
    text = unicodedata.normalize("NFC", text).casefold()
    if text.isascii():
        return text
    text = text.translate(_INVISIBLE).translate(_DIGITS)
    text = _AM.sub(lambda found: f"{found[1] or found[2] or ''}\u0eb3", text)
    text = _MARKS.sub(lambda found: "".join(sorted(found[0], key=_order)), text)
    return text.replace("ເເ", "ແ").replace("ໜ", "ຫນ").replace("ໝ", "ຫມ")


def _order(mark: str) -> tuple[bool, str]:
    return mark in _TONES, mark


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
