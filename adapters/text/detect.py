"""Which encoding Lao text is stored in: a ranked guess with a confidence, never a decision.

Every encoding is tried. What comes out is judged by three shares: of codes that the encoding
defines; of Lao characters that stand in well-formed syllables and touch no Latin letter; and of
pairs of neighbours that written Lao has (:mod:`adapters.text.pairs`). The confidence falls when
there is little text and when another encoding does nearly as well. Text without any Lao in any
reading gives no guess at all.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from adapters.text.convert import Converted, Encoding, Loss
from adapters.text.pairs import COMMON, KNOWN
from adapters.text.tables import TABLES, Table
from exchange.lao import TONES, normalise

SURE: Final = 0.8
"""From this confidence on a guess may be acted upon without asking."""

UNPROVEN: Final = 0.5
"""The most for an encoding of whose own signs there is none."""

LEAST: Final = 0.02
"""Below this a reading is not worth telling."""

LONGEST_SAMPLE: Final = 65_536

_TWICE: Final = Encoding(None, copied=True)
_PROVEN: Final = 0.5  # what a short column cut inside a letter is lost

_CONSONANT: Final = "[\u0e81-\u0eae\u0edc-\u0edf]"
_VOWEL: Final = "[\u0eb1\u0eb4-\u0eb9\u0ebb\u0ecd]"
_SYLLABLES: Final = re.compile(
    f"(?:[ເ-ໄ]?{_CONSONANT}\u0ebc?{_VOWEL}?[{TONES}]?(?:ຳ|າະ?|ະ|ຽ)?\u0ecc?|[ຯໆ])+"
)
_LAO_RUN: Final = re.compile("[\u0e81-\u0ecf\u0edc-\u0edf]+")
_TOUCHING: Final = re.compile("[A-Za-zÀ-ɏḀ-ỿ][\u0e80-\u0eff]|[\u0e80-\u0eff][A-Za-zÀ-ɏḀ-ỿ]")
_COPIED_RUN: Final = re.compile(
    "[\u0080-\u00ff\u0152-\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]{2,}"
)


@dataclass(frozen=True, slots=True)
class Guess:
    """One encoding, how sure it is (0 to 1), and what the confidence was made of."""

    encoding: Encoding
    confidence: float
    lao: int
    defined: float
    formed: float
    usual: float


def detect(data: bytes | str, own: Sequence[Table] = ()) -> tuple[Guess, ...]:
    """The encodings that ``data`` may be in, the likeliest first.

    A ``str`` is text as a database gave it: Lao, or a table's bytes as characters. ``own`` are
    tables of an owner, which are tried, too.
    """
    tables = (*TABLES.values(), *own)
    readings = (
        _of_text(data, tables)
        if isinstance(data, str)
        else _of_bytes(data[:LONGEST_SAMPLE], tables)
    )
    judged = [one for one in (_judge(*reading) for reading in readings) if one is not None]
    if any(one.encoding == _TWICE and one.defined >= _PROVEN for one in judged):
        # Bytes that are whole letters of UTF-8 are no accident of an older encoding.
        judged = [one for one in judged if one.encoding.table is None]
    judged.sort(key=lambda one: -one.confidence)
    return tuple(_against_others(one, judged) for one in judged)


def sure(guesses: tuple[Guess, ...]) -> Encoding | None:
    """The encoding that may be acted upon, if there is one."""
    return guesses[0].encoding if guesses and guesses[0].confidence >= SURE else None


def _of_bytes(data: bytes, tables: Sequence[Table]) -> list[tuple[Encoding, Converted]]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        return _of_text(decoder.decode(data), tables)  # a sample may end inside a character
    except UnicodeDecodeError:
        encodings = [Encoding(table) for table in tables]
        return [(encoding, encoding.read(data)) for encoding in encodings]


def _of_text(text: str, tables: Sequence[Table]) -> list[tuple[Encoding, Converted]]:
    text = text[:LONGEST_SAMPLE]
    readings = [(Encoding(None), Converted(text, _copied_in(text)))]
    strange = _COPIED_RUN.search(text) is not None
    # What draws Lao in place of ASCII looks like words in Latin letters; Lao itself does not.
    latin = _LAO_RUN.search(text) is None
    old = [
        Encoding(table, not text.isascii()) for table in tables if strange or (table.low and latin)
    ]
    if strange:
        old.append(_TWICE)
    return readings + [(encoding, encoding.read_characters(text)) for encoding in old]


def _copied_in(text: str) -> tuple[Loss, ...]:
    """What plain UTF-8 leaves unread: rows of old text among rows of new."""
    runs = _COPIED_RUN.finditer(text)
    return tuple(Loss(place, 0) for run in runs for place in range(run.start(), run.end()))


def _judge(encoding: Encoding, converted: Converted) -> Guess | None:
    text = normalise(converted.text).text
    runs = _LAO_RUN.findall(text)
    lao = sum(map(len, runs))
    if not lao:
        return None
    defined = lao / (lao + len(converted.losses))
    whole = sum(len(found[0]) for found in _SYLLABLES.finditer(text))
    formed = max(0.0, (whole - 2 * len(_TOUCHING.findall(text))) / lao)
    usual = _usual(runs)
    share = (defined if encoding == _TWICE else defined**8) * formed**4
    if encoding.table is not None:
        # Wrong readings have less than 60 % of usual pairs, Lao names and prose 65 % and more. In
        # UTF-8 the bytes themselves say that it is Lao.
        share *= min(1.0, max(0.0, (usual - 0.5) / 0.17)) * lao / (lao + 3)
        if encoding.table.proof and not set(encoding.table.proof) & set(converted.text):
            share = min(share, UNPROVEN)
    return None if share < LEAST else Guess(encoding, share, lao, defined, formed, usual)


def _usual(runs: list[str]) -> float:
    pairs = [one + other for run in runs for one, other in pairwise(run)]
    weights = (1.0 if pair in COMMON else 0.6 if pair in KNOWN else 0.0 for pair in pairs)
    return sum(weights) / len(pairs) if pairs else 0.0


def _against_others(guess: Guess, all_guesses: list[Guess]) -> Guess:
    other = max((one.confidence for one in all_guesses if one is not guess), default=0.0)
    return replace(guess, confidence=guess.confidence**2 / (guess.confidence + other))
