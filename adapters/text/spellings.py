"""Every way in which a text may be stored in an old encoding: what a filter asks the source for.

Decoding is many to one: several codes mean one letter, and in an encoding of typed order the marks
of a consonant come in any order. So a text has a set of spellings, which is finite but for a mark
that was typed twice; such values, and those in which old and new letters are mixed, are not among
them. In a column of characters, text that is Lao already is a spelling, too.

Invariant: each spelling decodes to the text (whose marks are in the order of
:func:`exchange.lao.ordered` where the encoding has typed order); there are at most :data:`MOST`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final, TypeVar

from adapters.text.convert import Encoding, characters_of, copied
from adapters.text.tables import Table
from exchange.lao import MARKS, ordered

S = TypeVar("S", str, bytes)
MOST: Final = 512
"""The most spellings that one text is looked for in."""
_MOST_MARKS: Final = 4
_AM: Final = "\u0eb3"
# A letter with its marks: no code means parts of two of these.
_SEGMENT: Final = re.compile(f"[^{MARKS}{_AM}]?[{MARKS}]+{_AM}?|.", re.DOTALL)


class TooMany(ValueError):
    """The text has more spellings than the source is asked for."""


class Unwritable(ValueError):
    """The encoding lacks what stands at ``place`` of the text."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def as_bytes(encoding: Encoding, text: str) -> tuple[bytes, ...]:
    """The spellings of ``text`` in a column of bytes; none when it cannot be written.

    Raises:
        TooMany: when there are more than :data:`MOST`.
    """
    if encoding.copied:
        return tuple(one.encode("utf-8") for one in as_characters(encoding, text))
    table = encoding.table
    if table is None or encoding.is_ascii(text):
        return (text.encode("utf-8"),)
    text = ordered(text) if table.typed_order else text
    found = [b"".join(parts) for parts in _products([_old(table, one) for one in _cut(text)])]
    return tuple(one for one in found if encoding.read(one).text == text)


def as_characters(encoding: Encoding, text: str) -> tuple[str, ...]:
    """The spellings of ``text`` in a column of characters, which stand for bytes, or are Lao.

    Raises:
        TooMany: when there are more than :data:`MOST`.
    """
    table = encoding.table
    if encoding.is_ascii(text) or (table is None and not encoding.copied):
        return (text,)
    if table is None:
        # A program reads all of a column in one way: no text is in two Latin readings at once.
        data = text.encode("utf-8")
        found = dict.fromkeys((copied(data), data.decode("latin-1"), text))
        return tuple(one for one in found if encoding.read_characters(one).text == text)
    text = ordered(text) if table.typed_order else text
    segments = _cut(text)
    old = [[sign for spelling in _old(table, one) for sign in _latin(spelling)] for one in segments]
    new = [_orders(one) if table.typed_order else (one,) for one in segments]
    found = dict.fromkeys("".join(parts) for way in (old, new) for parts in _products(way))
    if len(found) > MOST:
        raise TooMany
    return tuple(one for one in found if encoding.read_characters(one).text == text)


def usual(encoding: Encoding, text: str) -> bytes:
    """The bytes in which ``text`` would be written: of each letter the preferred code.

    They decode to the text with its marks in order, unless letters that stand beside each other
    read otherwise; who writes them reads them back.

    Raises:
        Unwritable: when the encoding lacks a letter, or a letter with its marks.
    """
    table = encoding.table
    if table is None or encoding.is_ascii(text):
        return text.encode("utf-8")
    parts: list[bytes] = []
    place = 0
    for segment in _cut(ordered(text) if table.typed_order else text):
        data, losses = Encoding(table).write(segment)
        found = (data,) if not losses else _old(table, segment)
        if not found:
            raise Unwritable(place)
        parts.append(found[0])
        place += len(segment)
    return b"".join(parts)


def _cut(text: str) -> list[str]:
    return _SEGMENT.findall(text)


def _products(choices: Sequence[Sequence[S]]) -> list[tuple[S, ...]]:
    if math.prod(len(one) for one in choices) > MOST:
        raise TooMany
    return list(itertools.product(*choices))


@lru_cache(4096)
def _old(table: Table, segment: str) -> tuple[bytes, ...]:
    """The codes that a letter with its marks may be written in."""
    found: dict[bytes, None] = {}
    for typed in _orders(segment) if table.typed_order else (segment,):
        found |= dict.fromkeys(_written(table, typed))
    return tuple(found)


@lru_cache(4096)
def _orders(segment: str) -> tuple[str, ...]:
    """The orders in which a letter's marks may be typed, with AM in one sign or two."""
    first, marks = (segment[:1], segment[1:]) if not _is_mark(segment[:1]) else ("", segment)
    if len(marks) > _MOST_MARKS:
        raise TooMany
    forms = [marks, marks.replace(_AM, "\u0ecdາ")] if marks else [""]
    typed = {first + "".join(order) for form in forms for order in itertools.permutations(form)}
    return tuple(sorted(one for one in typed if ordered(one) == segment))


def _is_mark(sign: str) -> bool:
    return bool(sign) and (sign == _AM or re.match(f"[{MARKS}]", sign) is not None)


def _written(table: Table, text: str) -> list[bytes]:
    """Every sequence of codes whose signs are ``text``, one after the other."""
    ways: list[list[bytes]] = [[b""]] + [[] for _ in text]
    for end in range(1, len(text) + 1):
        for length in range(1, min(end, _longest(table)) + 1):
            codes = _codes(table).get(text[end - length : end], ())
            ways[end] += [before + code for before in ways[end - length] for code in codes]
    return ways[-1]


@cache
def _codes(table: Table) -> dict[str, tuple[bytes, ...]]:
    """The codes of each sign or signs."""
    found: dict[str, tuple[bytes, ...]] = {}
    for code, signs in table.meanings.items():
        found[signs] = (*found.get(signs, ()), bytes([code]))
    return found


@cache
def _longest(table: Table) -> int:
    return max(map(len, _codes(table)))


def _latin(spelling: bytes) -> list[str]:
    """The characters that stand for these bytes, in each of the two Latin readings."""
    return ["".join(signs) for signs in itertools.product(*map(characters_of, spelling))]
