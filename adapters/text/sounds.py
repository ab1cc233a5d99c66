"""What a Lao name sounds like, from Lao script and from its many spellings in Latin letters.

One string of signs stands for the sounds, without tones and vowel lengths: consonants in small
letters, the aspirated ``K P T``, ``g`` for ng; vowels ``a e i o u`` and the diphthongs ``A`` (ai),
``O`` (ao), ``I`` (ia), ``W`` (ua, from ◌ົວ and ເ◌ືອ). Latin spelling follows the French habit
(BGN/PCGN 1966: ou, x, ch, v), the English one (oo, s, j, w) and mixtures of both. Sounds that the
spellings do not tell apart are one sign: ສ and ຊ, ຍ and ຢ, ຣ and ລ, ◌ຶ and ◌ຸ.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

VOWELS: Final = frozenset("aeiouAOIW")

_INITIALS: Final = dict(
    zip("ກຂຄງຈສຊຍດຕຖທນບປຜຝພຟມຢຣລວຫອຮ", "kKKgcssydtTTnbpPfPfmyllvh h", strict=True)
) | {"ອ": "", "ໜ": "n", "ໝ": "m"}
_FINALS: Final = {"ກ": "k", "ງ": "g", "ດ": "t", "ນ": "n", "ບ": "p", "ມ": "m", "ຣ": "n", "ລ": "n"}
_ABOVE: Final = {
    "\u0eb1": "a", "\u0eb4": "i", "\u0eb5": "i", "\u0eb6": "u", "\u0eb7": "u", "\u0eb8": "u",
    "\u0eb9": "u", "\u0ebb": "o", "\u0ecd": "o",
}  # fmt: skip
_BEFORE: Final = {"ເ": "e", "ແ": "e", "ໂ": "o", "ໃ": "A", "ໄ": "A"}

_SYLLABLE: Final = re.compile(
    r"(?P<before>[ເແໂໃໄ])?"
    r"(?P<first>ຫ(?=[ງຍນມຣລວ\u0ebcໜໝ])(?(before)|(?!ວ[ງກດນບມ])))?(?P<consonant>[ກ-ຮໜໝ])?(?P<under>\u0ebc)?"
    r"(?P<second>[ວລຣ](?=[\u0eb1\u0eb4-\u0eb9\u0ebb\u0ecdະາຳຽ]))?"
    r"(?P<above>[\u0eb1\u0eb4-\u0eb9\u0ebb\u0ecd])?"
    r"(?P<after>[າອວຽ]ະ|[ະາຳຽ]|[ອວ](?![\u0eb1\u0eb4-\u0eb9\u0ebb\u0ecdະາຳຽ\u0ebc]))?"
    r"(?P<close>[ຍວ](?![\u0eb1\u0eb4-\u0eb9\u0ebb\u0ecdະາຳຽອ\u0ebc]))?"
    r"(?P<final>(?<![ະຳ])[ກງດນບມຣລ](?![\u0eb1\u0eb4-\u0eb9\u0ebb\u0ecdະາຳຽອ\u0ebc]))?"
)


def of_lao(word: str) -> str:
    """The sounds of a word in Lao script (folded; tone marks do not matter)."""
    word = re.sub("[\u0ec8-\u0ecb]", "", word)
    word = re.sub(".\u0ecc", "", word)  # a silenced letter
    out: list[str] = []
    place = 0
    while place < len(word):
        found = _SYLLABLE.match(word, place)
        if found is None or found.end() == place:
            out.append(word[place] if word[place].isdigit() else "")
            place += 1
            continue
        out.append(_sounds(found))
        place = found.end()
    return single("".join(out))


def _sounds(found: re.Match[str]) -> str:
    part = found.groupdict(default="")
    consonant = _INITIALS.get(part["consonant"], "")
    if part["first"] and not part["consonant"]:
        consonant = "l" if part["under"] else "h"
    elif part["under"]:
        consonant = "l" if part["consonant"] == "ຫ" else consonant + "l"
    vowel = _vowel(part["before"], part["above"], part["after"], part["close"])
    second = "v" if part["second"] == "ວ" else ""  # ຣ and ລ behind a stop are not spoken
    if second == "v" and vowel[0] in "aA":  # ກວາ is written koua, ຂວັນ Khouan
        second, vowel = "", "Wi" if vowel == "A" else "W" + vowel[1:]
    return consonant + second + vowel + _FINALS.get(part["final"], "")


def _vowel(before: str, above: str, after: str, close: str) -> str:
    core = _ABOVE.get(above, "")
    after = after.removesuffix("ະ") or after
    falling = "i" if close == "ຍ" else "o" if close == "ວ" else ""
    match before, core, after:
        case ("ເ", "o", "າ"):
            return "O"
        case ("ເ", _, "ອ"):
            return "W" + falling
        case ("ເ", "" | "a", "") if close == "ຍ":
            return "I"
        case (_, _, "ຽ"):
            return "I" + falling
        case (_, _, "ຳ"):
            return "am"
        case ("", "" | "o" | "a", "ວ"):
            return "W" + falling
        case ("", "o" | "a", "") if close == "ວ":
            return "W"
        case ("", "a", "ອ") | ("ເ", "", "າ"):
            return "o" + falling
        case ("ເ", "i" | "u", _):
            vowel = "u"
        case _:
            vowel = _BEFORE.get(before, "") or core or {"ອ": "o", "": ""}.get(after, "a")
    if after == "ວ":
        return vowel + "o"
    if vowel == "a" and falling:
        return "A" if falling == "i" else "O"
    return vowel + falling


# Latin spellings and their sounds; at each place the first that fits is taken.
_LATIN: Final = tuple(
    (re.compile(pattern), sounds)
    for pattern, sounds in (
        (r"(?<=[ptk])[rl](?=[aeiouyw])|(?<=[ptk]h)[rl](?=[aeiouyw])", " "),
        (r"(?<![aeiou])ngn|gn(?=[aeiouy])|nh(?=[aeiou])|ny(?=[aeiou])", "y"),
        (r"ng(?!h)", "g"),
        (r"nh", "n"),
        (r"kh", "K"),
        (r"ph", "P"),
        (r"th(?=[aeiouywlr])", "T"),
        (r"th", "t"),
        (r"tch|ch|sh(?=$)", "c"),
        (r"sh|x|z", "s"),
        (r"j", "c"),
        (r"ck|que?(?![aeiou])|qu|q|c", "k"),
        (r"a[iy](?=[aou])", "Ay"),
        (r"y(?=[aeou])|^y(?=i)", "y"),
        (r"(?<![aeiou])(?:ouo|oua|eua|uea|ue?a|uo)|(?<=[kgh])wa", "W"),
        (r"oua(?!y)|(?<=kh)oa(?=ng)", "W"),
        (r"a[iy]e?|e[iy]|ay", "A"),
        (r"ao|au|[ao]w(?![aeiouy])", "O"),
        (r"i[ae]a?|ea(?=[ng])", "I"),
        (r"oo|ou|eu|ue|u", "u"),
        (r"ee|ii|ie$|[iy]", "i"),
        (r"oe|oh|or(?![aeiouy])|o", "o"),
        (r"ae|e", "e"),
        (r"ar(?![aeiouy])|ah?(?![aeiou])|a", "a"),
        (r"[wv](?=[aeiouy])", "v"),
        (r"(?<=[aeiouy])[wv]", "o"),
        (r"[rl](?=[aeiouy])", "l"),
        (r"(?<=[aeiouy])r|'", ""),
        (r"r", "l"),
        (r"w", "v"),
        (r"[dtnbpmflvhskg]", ""),  # the letter itself
    )
)
_SILENT_E: Final = re.compile(r"(?<=[aeiouy][nmtdkpsl])e$|(?<=[aeiouy]ng)e$|(?<=[aeiouy]ck)e$")


# Names of places that the French wrote otherwise than they sound, as BGN/PCGN spells them.
_CONVENTIONAL: Final = {"vientiane": "viangchan", "attopeu": "attapu", "attopu": "attapu"}


def of_latin(word: str) -> str:
    """The sounds of a word in Latin letters, however it is spelled (case folded)."""
    word = "".join(
        sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign)
    )
    word = _CONVENTIONAL.get(word, word)
    word = re.sub(r"(?!nng)([b-df-hj-np-tv-z])\1", r"\1", _SILENT_E.sub("", word))
    out: list[str] = []
    place = 0
    while place < len(word):
        for pattern, sounds in _LATIN:
            found = pattern.match(word, place)
            if found is not None:
                letter = found[0] if found[0] in "dtnbpmflvhskg" else ""
                out.append(sounds.strip() if sounds else letter)
                place = found.end()
                break
        else:
            out.append(word[place] if word[place].isdigit() else "")
            place += 1
    return single(_closed("".join(out)))


def _closed(sounds: str) -> str:
    """A stop at the end of a word is not voiced: Sackd is Sackt, Thip and Thib are one."""
    return sounds[:-1] + {"d": "t", "b": "p"}.get(sounds[-1:], sounds[-1:])


def single(sounds: str) -> str:
    """A consonant that is written at the end of one syllable and at the start of the next, once."""
    return re.sub(r"(.)\1+", r"\1", re.sub("d(?=t)|[td](?=T)|p(?=P)|k(?=K)", "", sounds))
