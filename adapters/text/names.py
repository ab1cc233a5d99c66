"""Whether two names of persons or organisations may be the same, in Lao script or Latin letters.

:func:`match` gives a score from 0 to 1 and the steps that made it; :func:`keys` gives what to look
names up by in a table, so that only candidates are compared. A score is a reason to look, not an
identification: two people may have one name.

Invariants: ``match(a, b).score == match(b, a).score``; the score is 1 exactly when both names are
equal after folding, without titles, punctuation and spaces; work is bounded by
:data:`LONGEST_NAME`, whatever is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from adapters.text.sounds import VOWELS, of_lao, of_latin, single
from exchange.lao import folded

LONGEST_NAME: Final = 120
MOST_KEYS: Final = 8
KEYS_VERSION: Final = 2
"""Of :func:`keys`: one higher whenever a name may have other keys than before."""

SAME: Final = 0.85
"""From this score on two names are worth being called the same until somebody has looked."""

_TITLES: Final = frozenset(
    folded(
        "ທ່ານ ທ່ານນາງ ນາງ ນາງສາວ ທ້າວ ທ ນ ດຣ ປອ ສຈ ຮສ ພົອ ພັອ ອາຈານ ສາດສະດາຈານ ພຣະ"
        " mr mrs ms miss dr prof professor thao nang madame mme mlle monsieur"
    ).split()
)
_FORMS: Final = frozenset(
    folded(
        "ແຂວງ province ບໍລິສັດ ຈຳກັດ ຜູ້ດຽວ ຈຳກັດຜູ້ດຽວ ມະຫາຊົນ ລັດວິສາຫະກິດ ວິສາຫະກິດ"
        " company co ltd limited sole public plc corp inc sarl cie"
    ).split()
)
_GLUED_TITLES: Final = re.compile("^(?:ທ່ານນາງ|ທ່ານ|ນາງສາວ|ນາງ|ທ້າວ|ດຣ\\.?|ບໍລິສັດ)(?=..)")
# What a place is, written together with its name; the kinds that tell two places apart stay.
_GLUED_PLACES: Final = re.compile("^(ນະຄອນຫລວງ|ນະຄອນຫຼວງ|ແຂວງ|ເມືອງ)(?=..)")
_PLACES: Final = {"capital": "ນະຄອນຫຼວງ", "prefecture": "ນະຄອນຫຼວງ", "district": "ເມືອງ"}
_DISTRICT: Final = of_lao("ເມືອງ")
_GLUED_FORMS: Final = re.compile("(?<=..)(?:ຈຳກັດຜູ້ດຽວ|ຈຳກັດ)$")
_LAO: Final = re.compile("[\u0e80-\u0eff]")
_WORDS: Final = re.compile("(?:[^\\W_]|[\u0e80-\u0eff])+")


@dataclass(frozen=True, slots=True)
class Match:
    """How alike two names are, and why: the steps in the order in which they were taken."""

    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    words: tuple[str, ...]
    sounds: tuple[str, ...]
    dropped: tuple[str, ...]
    lao: bool
    cut: bool


def match(a: str, b: str) -> Match:
    """Compare two names. Names without a letter match nothing."""
    one, other = _read(a), _read(b)
    reasons = _said_of_titles(one, other)
    if not one.words or not other.words:
        return Match(0.0, (*reasons, "a name has no letters"))
    if "".join(one.words) == "".join(other.words) and not (one.cut or other.cut):
        spaced = () if one.words == other.words else ("the spaces differ",)
        return Match(1.0, (*reasons, *spaced, "the letters are the same"))
    if one.lao != other.lao:
        reasons += ("one is in Lao script, the other in Latin letters",)
    score, how = max(_readings(one, other), key=lambda reading: reading[0])
    return Match(round(min(score, 0.99), 4), (*reasons, *how))


def keys(name: str) -> tuple[str, ...]:
    """What to store beside a name and to look it up by: names that match share a key.

    The keys are of the sounds' consonants, so that spelling and script do not matter; at most
    :data:`MOST_KEYS`.
    """
    name_read = _read(name)
    found: dict[str, None] = {}
    for sounds in (single("".join(name_read.sounds)), *name_read.sounds):
        skeleton = "".join(_COARSE.get(sign, sign) for sign in sounds if sign not in VOWELS)
        if skeleton:
            found.setdefault(skeleton[:4])
    return tuple(found)[:MOST_KEYS]


def _read(name: str) -> _Name:
    text = folded(name[: LONGEST_NAME + 1])
    cut = len(name) > LONGEST_NAME
    dropped: list[str] = []
    words: list[str] = []
    for word in _place(_split(text)):
        (dropped if word in _TITLES or word in _FORMS else words).append(word)
    words = [_without_glued(word, dropped) for word in words]
    if not words and dropped:  # a name that is nothing but a word that is also a title
        words, dropped = dropped, []
    sounds = tuple(_sounds(word) for word in words)
    return _Name(tuple(words), sounds, tuple(dropped), bool(_LAO.search("".join(words))), cut)


def _split(text: str) -> list[str]:
    text = text.replace("'", "").replace("\u2019", "")
    return _WORDS.findall(text)


def _place(words: list[str]) -> list[str]:
    """The words, where what a place is stands alone, and in Lao."""
    parted = (_GLUED_PLACES.sub("\\1 ", word).split() for word in words)
    found = [_PLACES.get(part, part) for parts in parted for part in parts]
    return found if len(found) > 1 else words


def _without_glued(word: str, dropped: list[str]) -> str:
    """Lao is written without spaces, so that a title may be part of the word."""
    for pattern in (_GLUED_TITLES, _GLUED_FORMS):
        found = pattern.search(word)
        if found is not None:
            dropped.append(found[0])
            word = word.replace(found[0], "", 1)
    return word


def _sounds(word: str) -> str:
    if _LAO.search(word):
        return of_lao(word)
    return of_latin(word) or word


def _said_of_titles(one: _Name, other: _Name) -> tuple[str, ...]:
    dropped = sorted({*one.dropped, *other.dropped})
    return (f"left out: {', '.join(dropped)}",) if dropped else ()


def _readings(one: _Name, other: _Name) -> list[tuple[float, tuple[str, ...]]]:
    """The ways in which the two may be one name, with their scores."""
    found = _alike(one.sounds, other.sounds)
    bare = [tuple(word for word in name.sounds if word != _DISTRICT) for name in (one, other)]
    if all(bare) and bare != [one.sounds, other.sounds]:
        found += [
            (0.97 * score, ("it may be a district", *how))
            for score, how in _alike(bare[0], bare[1])
        ]
    return found


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> list[tuple[float, tuple[str, ...]]]:
    if len(one) == len(other):
        as_given = _word_by_word(one, other)
        turned = _word_by_word(tuple(sorted(one)), tuple(sorted(other)))
        if turned[0] <= as_given[0]:
            return [as_given]
        return [as_given, (0.97 * turned[0], ("the words stand in another order", *turned[1]))]
    joined = _compared(single("".join(one)), single("".join(other)))
    return [
        (0.97 * joined[0], ("the words are divided otherwise", joined[1])),
        _part(one, other),
    ]


def _word_by_word(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    """As good as the mean of its words and the worst of them together."""
    compared = [_compared(word, its) for word, its in zip(one, other, strict=True)]
    scores = [score for score, _ in compared]
    return (sum(scores) / len(scores) + min(scores)) / 2, tuple(how for _, how in compared)


def _part(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    """Every word of the shorter name against the best word of the longer one."""
    short, long = sorted((one, other), key=lambda words: (len(words), words))
    compared = [max(_compared(word, candidate) for candidate in long) for word in short]
    score = 0.8 * min(score for score, _ in compared)
    return score, (f"{len(short)} of {len(long)} words", *(how for _, how in compared))


def _compared(one: str, other: str) -> tuple[float, str]:
    """How alike two strings of sounds are."""
    if one == other:
        return 1.0, f"sounds the same: {one}"
    first, second = sorted((one, other))
    longest = max(_weight(one), _weight(other))
    score = max(0.0, 1 - _distance(first, second) / longest) if longest else 0.0
    return score, f"sounds {'alike' if score >= SAME else 'different'}: {first}, {second}"


_COARSE: Final = {"K": "k", "P": "p", "T": "t", "d": "t", "b": "p", "f": "p", "c": "s", "g": "n"}
# Sounds that spellings mix up, and what mistaking one for the other costs.
_NEAR: Final = {
    frozenset(pair): cost
    for pairs, cost in (
        ("kK pP tT td pb sc Pf yn vf", 0.25),
        ("AI iA aO oO uW oW aW iI eI eA uo ei", 0.3),
        ("st ln lt", 0.4),
        ("aA", 0.6),
    )
    for pair in pairs.split()
}


def _weight(sounds: str) -> float:
    return sum(map(_alone, sounds))


def _distance(one: str, other: str) -> float:
    """Edit distance in which what spellings mix up costs little. O(len · len)."""
    row = [0.0]
    for sign in other:
        row.append(row[-1] + _alone(sign))
    for sign in one:
        following = [row[0] + _alone(sign)]
        for place, candidate in enumerate(other):
            following.append(
                min(
                    row[place] + _swapped(sign, candidate),
                    row[place + 1] + _alone(sign),
                    following[place] + _alone(candidate),
                )
            )
        row = following
    return row[-1]


def _alone(sign: str) -> float:
    return 0.5 if sign in VOWELS or sign in "hy" else 1.0


def _swapped(sign: str, other: str) -> float:
    if sign == other:
        return 0.0
    near = _NEAR.get(frozenset((sign, other)))
    if near is not None:
        return near
    return 1.0 if sign in VOWELS and other in VOWELS else 1.2
