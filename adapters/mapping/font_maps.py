"""Font maps: a table of an old encoding that an owner brings in a file, with its source.

Of most Lao fonts from before Unicode no table was ever published (docs/lao-text.md). Whoever has
the font, or somebody who can read it, writes down what each code is::

    saphan_font_map: 1
    name: alice-0
    title: Alice 0, as installed in the archive
    source: chart printed from ALICE0.TTF on 2026-03-12, read by K. Vongsa and S. Phommachan
    codes:
      0x64: ກ
      0xB3: "\\u0eb3"
      0xCD: ຫຼ

Nothing is guessed: a code that is not written down is a loss wherever it occurs. A file says which
of several codes of one text is written (``preferred``), or it is refused.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from adapters.mapping.reader import Node, read
from adapters.text.codec import table_of
from adapters.text.convert import COPIED, Encoding, UnknownEncoding
from adapters.text.tables import Table

FORMAT_VERSION: Final = 1
SUFFIXES: Final = (".yaml", ".yml")
MOST_SIGNS: Final = 8
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
_CODE: Final = re.compile(r"0x[0-9A-Fa-f]{2}", re.ASCII)
_FIRST: Final = 0x21
# Letters, marks, digits, punctuation, symbols and spaces: nothing that cannot be seen.
_SEEN: Final = frozenset("LMNPSZ")
# Every sign of Lao as it is written today: ຯ and ₭ among them, without the letters of Pali.
TODAY: Final = (
    "ກຂຄງຈສຊຍດຕຖທນບປຜຝພຟມຢຣລວຫອຮໜໝຯະາຳຽເແໂໃໄໆ\u0eb1\u0eb4\u0eb5\u0eb6\u0eb7\u0eb8\u0eb9\u0ebb\u0ebc"
    "\u0ec8\u0ec9\u0eca\u0ecb\u0ecc\u0ecd໐໑໒໓໔໕໖໗໘໙₭"
)


def load_font_map(path: Path, called: str = "") -> Table:
    """The table in the file at ``path``; mappings call it ``called``.

    Raises:
        Problem: ``InvalidMapping`` with the file, line and path of keys of the first fault.
    """
    return font_map(read(path), called or path.name)


def font_map(root: Node, called: str) -> Table:
    """The table in a file that was parsed; see :func:`load_font_map`."""
    found = root.members(
        ("saphan_font_map", "name", "title", "source", "codes"),
        ("aliases", "preferred", "order", "proof"),
    )
    found["saphan_font_map"].integer(FORMAT_VERSION, FORMAT_VERSION)
    aliases = found["aliases"].items() if "aliases" in found else []
    typed = True
    if "order" in found:
        order = found["order"].text(longest=10)
        if order not in ("typed", "written"):
            found["order"].refuse("must be typed (as fonts have it) or written (as Unicode has it)")
        typed = order == "typed"
    table = Table(
        name=_name(found["name"]),
        aliases=tuple(_name(one) for one in aliases),
        title=found["title"].text(longest=200),
        source=found["source"].text(longest=2_000),
        codes=MappingProxyType(_codes(found["codes"])),
        typed_order=typed,
        proof=found["proof"].text(longest=80) if "proof" in found else "",
        file=called,
    )
    preferred = _preferred(found.get("preferred"), table, found["codes"])
    return replace(table, preferred=MappingProxyType(preferred))


def _name(node: Node) -> str:
    name = node.text(_NAME, longest=40)
    taken = table_of(name) is not None
    with suppress(LookupError):
        codecs.lookup(name)
        taken = True
    if taken:
        node.refuse(f"{name!r} is the name of another encoding")
    return name


def _codes(node: Node) -> dict[int, str]:
    codes: dict[int, str] = {}
    for key, child in node.entries().items():
        code = _code(key, child)
        if code < _FIRST:
            child.refuse(f"{key} is a control or the space, which fonts leave as they are")
        if code in codes:
            child.refuse(f"{key} appears twice")
        codes[code] = _signs(child)
    if not codes:
        node.refuse("at least one code is needed")
    return codes


def _code(key: str, node: Node) -> int:
    if not _CODE.fullmatch(key):
        node.refuse(f"{key[:20]!r} is not a code such as 0xA1")
    return int(key, 16)


def _signs(node: Node) -> str:
    text = node.text(longest=MOST_SIGNS)
    for sign in text:
        if unicodedata.category(sign)[0] not in _SEEN or sign == "\ufffd":
            node.refuse(f"U+{ord(sign):04X} is no sign that can be read")
    if not text:
        node.refuse("is empty: leave out a code whose meaning is not known")
    return text


def _preferred(node: Node | None, table: Table, codes: Node) -> dict[str, int]:
    """Which code of several is written; all texts that have several must be there."""
    several = {text: found for text, found in meant(table).items() if len(found) > 1}
    preferred: dict[str, int] = {}
    for text, child in node.entries().items() if node is not None else ():
        known = several.get(text, ())
        code = _code(child.text(longest=10), child)
        if code not in known:
            told = ", ".join(f"0x{one:02X}" for one in known) or "no code but one, if any"
            child.refuse(f"must be one of the codes that mean {text!r}: {told}")
        preferred[text] = code
    for text, found in several.items():
        if text not in preferred:
            told = " and ".join(f"0x{one:02X}" for one in found)
            codes.refuse(f"{told} mean {text!r}: say under 'preferred' which of them is written")
    return preferred


def meant(table: Table) -> dict[str, list[int]]:
    """The codes of each text, those of ASCII too."""
    found: dict[str, list[int]] = {}
    for code, text in sorted(table.meanings.items()):
        found.setdefault(text, []).append(code)
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """What a table loses, each way.

    Attributes:
        unread: codes that mean nothing, from the first that can be a letter.
        unwritten: signs of Lao today that no code of their own writes.
        merged: texts that several sequences of codes mean: reading them forgets which it was.
    """

    unread: Sequence[int]
    unwritten: str
    merged: Sequence[str]


def judge(table: Table) -> Judged:
    """What is lost when text of ``table`` is read, written, or read and written back."""
    found = meant(table)
    merged = [text for text, codes in found.items() if len(codes) > 1]
    merged += [
        text for text in found if len(text) > 1 and all(sign in found for sign in text)
    ]  # ◌ີ້ by its own code, or by those of ◌ີ and ◌້
    return Judged(
        [code for code in table.undefined if code >= _FIRST],
        "".join(sign for sign in TODAY if sign not in found),
        list(dict.fromkeys(merged)),
    )


def encoding_of(node: Node) -> Encoding:
    """The encoding that a value of a mapping names: a table here, or the file of a font map.

    A file is relative to that of the mapping; ``utf-8:`` before either says that its bytes were
    copied into UTF-8.
    """
    name = node.text(longest=200)
    if not name.endswith(SUFFIXES):
        try:
            return Encoding.parse(name)
        except UnknownEncoding as error:
            node.refuse(f"{error}, nor the file of a font map (.yaml)")
    copied = name.startswith(COPIED)
    file = name.removeprefix(COPIED)
    return Encoding(load_font_map(node.folder / file, file), copied)
