"""Patterns of JSON Schema: the part of ECMA-262 that every regular expression engine reads alike.

JSON Schema leaves ``pattern`` to ECMA-262 (2020-12 validation, section 6.3.3), engines differ in
what they make of it. Invariants of an accepted pattern: it is matched in linear time (no
look-around, no back-references) and means the same to ECMA-262, Rust's ``regex`` and, through
:func:`for_python`, Python's ``re``.

Refused for that reason: ``\\b`` and ``\\B`` (word boundaries around Lao vowel signs differ),
``\\p{…}``, named groups, inline flags, classes inside classes, ``{,n}`` and doubled quantifiers.
"""

from __future__ import annotations

import re
from typing import Final

MAX_LENGTH: Final = 4096

_TOKEN: Final = re.compile(
    r"""
      (?P<escape>  \\ (?: [dDwWsStnrfv] | u[0-9A-Fa-f]{4} | x[0-9A-Fa-f]{2}
                        | [\^$\\.*+?()\[\]{}|/\-] ) )
    | (?P<group>   \( (?: \?: | (?!\?) ) | \) | \| )
    | (?P<anchor>  [\^$] )
    | (?P<repeat>  (?: [*+?] | \{ [0-9]{1,4} (?: , (?: [0-9]{1,4} )? )? \} ) \?? )
    | (?P<class>   \[ \^? (?: \\ (?: [dDwWsStnrfv] | u[0-9A-Fa-f]{4} | x[0-9A-Fa-f]{2}
                        | [\^$\\.*+?()\[\]{}|/\-] ) | [^\[\]\\] )+ \] )
    | (?P<literal> [^\\()\[\]{}|*+?^$] )
    """,
    re.VERBOSE | re.DOTALL,
)
_SET_OPERATION: Final = re.compile(r"&&|--|~~|\|\|")
_CLASS_ATOM: Final = re.compile(r"\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\.|[^\\]", re.DOTALL)
_SPACES: Final = r"\t\n\x0b\x0c\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_CLASS_ESCAPES: Final = {"\\d": "0-9", "\\w": "A-Za-z0-9_", "\\s": _SPACES}
_REMEDY: Final = "use plain groups, classes, anchors, quantifiers, \\d \\w \\s and \\uXXXX"


def for_python(pattern: str) -> str:
    """Return the spelling for Python's ``re`` that matches as ECMA-262 does.

    Raises:
        ValueError: when the pattern uses anything outside the common part; the message says where.
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"pattern longer than {MAX_LENGTH} characters")
    out: list[str] = []
    position, repeatable = 0, False
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        kind = token.lastgroup if token else None
        if token is None or (kind == "repeat" and not repeatable):
            raise ValueError(f"pattern not portable at character {position}: {_REMEDY}")
        text = token.group()
        if kind == "class":
            text = _class_for_python(text, position)
        elif kind == "escape":
            text = _escape_for_python(text)
        elif text == "$":
            text = r"\Z"
        out.append(text)
        repeatable = kind in {"escape", "class", "literal"} or text == ")"
        position = token.end()
    spelling = "".join(out)
    try:
        re.compile(spelling)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return spelling


def size(pattern: str) -> int:
    """How many atoms and bars a pattern has when its repetitions are written out.

    An engine that matches in linear time writes them out, so this is what it takes in memory and
    in time to compile. For a pattern that :func:`for_python` accepts.
    """
    groups, last = [0], 0
    for token in _TOKEN.finditer(pattern):
        kind, text = token.lastgroup, token.group()
        if text.startswith("(") and kind == "group":
            groups.append(0)
            continue
        if text == ")" and kind == "group":
            last = groups.pop() if len(groups) > 1 else 0
        elif kind == "repeat":
            counts = [int(count) for count in re.findall("[0-9]+", text)]
            groups[-1] += last * (max([*counts, 1]) - 1)
            last = 0
            continue
        else:
            last = 1
        groups[-1] += last
    return sum(groups)


def _escape_for_python(escape: str) -> str:
    if escape.lower() in _CLASS_ESCAPES:
        inside = _CLASS_ESCAPES[escape.lower()]
        return f"[{'^' if escape[1].isupper() else ''}{inside}]"
    return escape


def _class_for_python(text: str, position: int) -> str:
    start = 2 if text.startswith("[^") else 1
    atoms = _CLASS_ATOM.findall(text[start:-1])
    for before, atom, after in zip(["", *atoms], atoms, [*atoms[1:], ""], strict=False):
        ranged = atom == "-" and before and after and (before + after).lower()
        if atom in {"\\D", "\\W", "\\S"} or (ranged and any(e in ranged for e in _CLASS_ESCAPES)):
            raise ValueError(f"class not portable at character {position}: {_REMEDY}")
    if _SET_OPERATION.search(text):
        raise ValueError(f"set operation in the class at character {position}: {_REMEDY}")
    return text[:start] + "".join(_CLASS_ESCAPES.get(atom, atom) for atom in atoms) + "]"
