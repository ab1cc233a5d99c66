"""Lao text in one form: what is the same word to a reader is the same string.

The marks of a Lao consonant are combining characters whose canonical classes are mostly 0 (the
Unicode Character Database gives 118 to ◌ຸ and ◌ູ, 122 to the four tone marks, 0 to the rest), so
that normalisation form NFC leaves several orders of the same marks as they were typed. The Unicode
Standard, chapter 16, section "Lao", and the notes of the code chart U+0E80 give the parts: U+0EB3
AM is ◌ໍ and າ by its compatibility decomposition and stands after the tone mark; ໜ and ໝ are ຫນ
and ຫມ by theirs; U+200B ZERO WIDTH SPACE may stand between words, which Lao writes without spaces.

Invariants: both functions are idempotent; :func:`normalise` gives text in NFC when it was given
such text, and touches nothing but Lao and what stands directly beside it; what it changed it says,
with the place in the original.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

TONES: Final = "\u0ec8\u0ec9\u0eca\u0ecb"
MARKS: Final = "\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
"""The combining marks, as the inside of a class of a regular expression."""

_UNSEEN: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_HARD_SPACES: Final = "\u00a0\u2007\u202f"
_INVISIBLE: Final = dict.fromkeys(map(ord, _UNSEEN)) | dict.fromkeys(map(ord, _HARD_SPACES), " ")
_DIGITS: Final = {0x0ED0 + number: str(number) for number in range(10)}
_CLASSES: Final = (
    dict.fromkeys("\u0eba\u0ebc", 0)
    | dict.fromkeys("\u0eb1\u0eb4\u0eb5\u0eb6\u0eb7\u0eb8\u0eb9\u0ebb\u0ecd", 1)
    | dict.fromkeys(TONES, 2)
    | dict.fromkeys("\u0ecc\u0ece", 3)
)
_AFTER_CLUSTER: Final = frozenset(_CLASSES) | frozenset("ະາຳຽ")


class Rule(StrEnum):
    """What was not in the one form."""

    INVISIBLE = "invisible character"
    SPACE = "space"
    DIGIT = "digit"
    DOUBLE_E = "two signs for one vowel"
    MARKS = "order of marks"
    AM = "vowel AM"
    LIGATURE = "ligature"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: where in the original (in characters, from 0), what it was and what it is."""

    position: int
    rule: Rule
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Normalised:
    """A text in the one form, and what had to be changed for it."""

    text: str
    changes: tuple[Change, ...]


@lru_cache(maxsize=4096)
def _in_order(marks: str) -> str:
    """Under-consonant, vowel, tone, cancellation; a mark that is there twice, once."""
    return "".join(sorted(dict.fromkeys(marks), key=_CLASSES.__getitem__))


def _am(found: re.Match[str]) -> str:
    tones = (found[1] or "") + (found[2] or "") + (found[3] or "")
    return f"{tones}\u0eb3"


def _ligature(found: re.Match[str]) -> str:
    # ຫນ is always ໜ but after ເ ແ ໂ, where ນ may close the syllable that ຫ opens (ແຫນ): there it
    # is sure only when a vowel or mark follows. ຫມ likewise.
    text, start, end = found.string, found.start(), found.end()
    unsure = start > 0 and text[start - 1] in "ເແໂ"
    if unsure and (end == len(text) or text[end] not in _AFTER_CLUSTER):
        return found[0]
    return "ໜ" if found[0] == "ຫນ" else "ໝ"


def _beside_lao(found: re.Match[str]) -> bool:
    text, start, end = found.string, found.start(), found.end()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return "\u0e80" <= before <= "\u0eff" or "\u0e80" <= after <= "\u0eff"


def _invisible(found: re.Match[str]) -> str:
    return "" if _beside_lao(found) else found[0]


def _invisible_but_breaks(found: re.Match[str]) -> str:
    if not _beside_lao(found):
        return found[0]
    inside = found.string[found.end() : found.end() + 1] in _CLASSES
    return "\u200b" if "\u200b" in found[0] and not inside else ""


_Step = tuple[Rule, "re.Pattern[str]", Callable[["re.Match[str]"], str]]

_UNSEEN_RUN: Final = re.compile(f"[{_UNSEEN}]+")
_ORDER: Final[_Step] = (
    Rule.MARKS,
    re.compile(f"[{MARKS}]{{2,}}"),
    lambda found: _in_order(found[0]),
)
_STEPS: Final[tuple[_Step, ...]] = (
    (Rule.INVISIBLE, _UNSEEN_RUN, _invisible),
    (
        Rule.SPACE,
        re.compile(f"[{_HARD_SPACES}]+"),
        lambda found: " " * len(found[0]) if _beside_lao(found) else found[0],
    ),
    (Rule.DOUBLE_E, re.compile("ເເ"), lambda found: "ແ"),
    _ORDER,
    (Rule.AM, re.compile(f"\u0ecd([{TONES}]*)\u0eb2([{TONES}]*)|\u0eb3([{TONES}]+)"), _am),
    _ORDER,  # a tone that stood after AM has come to the other marks
    (Rule.LIGATURE, re.compile("ຫ[ນມ]"), _ligature),
)
_DIGIT_STEP: Final[_Step] = (
    Rule.DIGIT,
    re.compile("[\u0ed0-\u0ed9]+"),
    lambda found: found[0].translate(_DIGITS),
)
_BREAKS_STEP: Final[_Step] = (Rule.INVISIBLE, _UNSEEN_RUN, _invisible_but_breaks)


def ordered(text: str) -> str:
    """The text with the marks of each consonant in their order and AM in one sign, nothing else."""
    for _, pattern, replacement in _STEPS[3:6]:
        text = pattern.sub(replacement, text)
    return text


def normalise(text: str, *, digits: bool = False, keep_breaks: bool = False) -> Normalised:
    """The text in the one form, with a report.

    Args:
        digits: whether Lao digits become 0 to 9.
        keep_breaks: whether zero-width spaces between words stay.
    """
    steps = _STEPS
    if keep_breaks:
        steps = (_BREAKS_STEP, *steps[1:])
    if digits:
        steps = (_DIGIT_STEP, *steps)
    if text.isascii():
        return Normalised(text, ())
    changes: list[Change] = []
    places: list[int] | None = None  # of each character in the original, once they differ
    for rule, pattern, replacement in steps:
        text, places = _rewritten(text, places, rule, pattern, replacement, changes)
    return Normalised(text, tuple(changes))


def _rewritten(
    text: str,
    places: list[int] | None,
    rule: Rule,
    pattern: re.Pattern[str],
    replacement: Callable[[re.Match[str]], str],
    changes: list[Change],
) -> tuple[str, list[int] | None]:
    out: list[str] = []
    where: list[int] = []
    done = 0
    for found in pattern.finditer(text):
        after = replacement(found)
        if after == found[0]:
            continue
        if places is None:
            places = list(range(len(text)))
        start = found.start()
        changes.append(Change(places[start], rule, found[0], after))
        out += (text[done:start], after)
        where += places[done:start]
        where += [places[min(start + offset, found.end() - 1)] for offset in range(len(after))]
        done = found.end()
    if not out:
        return text, places
    assert places is not None  # noqa: S101  # set with the first change
    return "".join((*out, text[done:])), where + places[done:]


def folded(text: str) -> str:
    """A text in the one form in which texts are compared.

    NFC and case folded; without zero-width spaces and soft hyphens, hard spaces as plain ones; Lao
    digits as 0 to 9; in the order of :func:`normalise`; the ligatures ໜ and ໝ as ຫນ and ຫມ.
    """
    text = unicodedata.normalize("NFC", text).casefold()
    if text.isascii():
        return text
    text = text.translate(_INVISIBLE).translate(_DIGITS).replace("ເເ", "ແ")
    return ordered(text).replace("ໜ", "ຫນ").replace("ໝ", "ຫມ")
