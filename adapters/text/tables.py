"""Code tables of Lao encodings from before Unicode, each with the public source that it is from.

A table maps bytes to text; those below 0x80 are ASCII unless it says otherwise, which no table
here does, but an owner's own may (:mod:`adapters.mapping.font_maps`). A byte that its source does
not define is not in the table: it is a loss, never a guess. What was looked for and not found
stands in docs/lao-text.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

_ASCII: Final = {code: chr(code) for code in range(0x80)}
_LATIN: Final = frozenset(code for code, sign in _ASCII.items() if sign.isalpha())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One encoding; a table equals itself only.

    ``codes`` is what each byte means; ``preferred`` names the byte to write where several mean the
    same; ``typed_order`` tells that bytes stand in the order in which they were typed or drawn, so
    that decoding brings marks into their order. ``proof`` are signs one of which must be there
    before text is taken to be in this encoding, because another one has the same layout. ``file``
    is what mappings call an owner's own table by.
    """

    name: str
    aliases: tuple[str, ...]
    title: str
    source: str
    codes: Mapping[int, str]
    preferred: Mapping[str, int] = field(default_factory=dict)
    typed_order: bool = False
    proof: str = ""
    file: str = ""

    @property
    def low(self) -> bool:
        """Whether it draws Lao in place of ASCII, so that such text is not what it looks like."""
        return any(code < 0x80 for code in self.codes)

    @property
    def meanings(self) -> dict[int, str]:
        """All codes. Where Lao is in place of ASCII, a Latin letter that is not told means nothing:
        its shape is not known."""
        kept = {code: sign for code, sign in _ASCII.items() if not self.low or code not in _LATIN}
        return kept | dict(self.codes)

    @property
    def undefined(self) -> bytes:
        """The bytes that mean nothing."""
        return bytes(code for code in range(0x100) if code not in self.meanings)


def _run(start: int, text: str) -> dict[int, str]:
    """Consecutive codes; a full stop marks one that is not defined."""
    return {start + place: sign for place, sign in enumerate(text) if sign != "."}


_CONTROLS: Final = {code: chr(code) for code in range(0x80, 0xA0)}

IBM1133: Final = Table(
    name="ibm1133",
    aliases=("cp1133", "ibm-1133", "csibm1133", "ibm-cp1133"),
    title="IBM code page 1133, Lao PC and ISO 8",
    source=(
        "GNU C Library, localedata/charmaps/IBM1133 (as of 2.36, 2022),"
        " https://sourceware.org/glibc/; GNU libiconv, lib/cp1133.h (1999-2001), for 0xA0 and 0xDF,"
        " https://www.gnu.org/software/libiconv/"
    ),
    # glibc reads 0xDF, the kip sign, as a "k" that is never written, and has the no-break space at
    # 0xFF; libiconv has the kip sign of Unicode 3.0 at 0xDF, and the space at 0xA0.
    codes=MappingProxyType(
        _CONTROLS
        | _run(0xA0, "\u00a0ກຂຄງຈສຊຍດຕຖທນບປຜຝພຟມຢຣລວຫອຮ...ຯ")
        | _run(0xC0, "ະາຳ\u0eb4\u0eb5\u0eb6\u0eb7\u0eb8\u0eb9\u0ebc\u0eb1\u0ebbຽ")
        | _run(0xD0, "ເແໂໃໄ\u0ec8\u0ec9\u0eca\u0ecb\u0ecc\u0ecdໆ.ໜໝ₭")
        | _run(0xF0, "໐໑໒໓໔໕໖໗໘໙..¢¬¦\u00a0")
    ),
    preferred=MappingProxyType({"\u00a0": 0xFF}),
)

MULELAO_1: Final = Table(
    name="mulelao-1",
    aliases=("mulelao", "mule-lao-1"),
    title="MuleLao-1, of GNU Emacs (Mule) and X11 fonts",
    source=(
        "NetBSD and FreeBSD, share/i18n/csmapper/MISC/MULELAO-1%UCS.src revision 1.1 (2006-11-25),"
        " https://github.com/freebsd/freebsd-src, from the table of the X-TT project (1998-1999);"
        " GNU libiconv, lib/mulelao.h (1999-2001), which lacks 0xDF and 0xFB"
    ),
    codes=MappingProxyType(
        _CONTROLS
        | _run(0xA0, "\u00a0ກຂ.ຄ..ງຈ.ຊ..ຍ..")
        | _run(0xB0, "....ດຕຖທ.ນບປຜຝພຟ")
        | _run(0xC0, ".ມຢຣ.ລ.ວ..ສຫ.ອຮຯ")
        | _run(0xD0, "ະ\u0eb1າຳ\u0eb4\u0eb5\u0eb6\u0eb7\u0eb8\u0eb9.\u0ebb\u0ebcຽ.₭")
        | _run(0xE0, "ເແໂໃໄ.ໆ.\u0ec8\u0ec9\u0eca\u0ecb\u0ecc\u0ecd..")
        | _run(0xF0, "໐໑໒໓໔໕໖໗໘໙.ໜໜໝ..")
    ),
    preferred=MappingProxyType({"ໜ": 0xFC}),
    # The layout is that of Thai, TIS 620-2533, which defines none of the codes of these.
    proof="\u0ebb\u0ebcຽໜໝ₭",
)

_LSWIN_MARKS: Final = _run(
    0xF0, "\u0ecd\u0eb1\u0eb4\u0eb5\u0eb6\u0eb7\u0ebb\u0eb8\u0eb9\u0ebc"
) | _run(0xFA, "\u0ec8\u0ec9\u0eca\u0ecb\u0ecc")

LSWIN: Final = Table(
    name="lswin",
    aliases=("saysettha-lao", "lao-ascii"),
    title="Fonts of Lao Script for Windows (Saysettha Lao and others): Lao letters above ASCII",
    source=(
        "bii811/SaysetthaLaoToUnicode (2018-08-29), converter.py,"
        " https://github.com/bii811/SaysetthaLaoToUnicode (commit 34e069ae); jvongxay/laofont"
        " v1.0.0 (2020-02-18), ascii_unicode.go and its tests with district names and addresses,"
        " https://github.com/jvongxay/laofont (commit d7a92ee5). That Saysettha Lao is coded LSWin:"
        " LaoScript 8, User Guide, Conversion of Lao Text from Other Coding Conventions,"
        " https://laoscript.net/guide/"
    ),
    codes=MappingProxyType(
        _run(0xA0, "\u00a0ກຂຄງຈສຊຍດຕຖ.ນບປ")
        | _run(0xB0, "ຜຝພຟມຢ..ວຫອຮຽະາຳ")
        | _run(0xC0, "ເແໂໃໄໆຯ.\u0ec8\u0ec9\u0eca\u0ecb\u0ecc.ໜໝ")
        | _run(0xD0, "\u0eb8\u0eb9....\u0ecd\u0eb1\u0eb4\u0eb5\u0eb6\u0eb7\u0ebb\u0eb8\u0eb9ນ")
        | _run(0xEA, "ທຣລ")
        | _LSWIN_MARKS
        | {0xCD: "ຫ\u0ebc", 0xD2: "\u0ecd\u0ec8", 0xD3: "\u0ecd\u0ec9", 0xED: "\u0ebb\u0ec9"}
        | {0xD4: "\u0ec8\u0eb3", 0xD5: "\u0ec9\u0eb3", 0x87: "\u0eb6\u0ec8"}
        | {0x98: "\u0eb1\u0ec9", 0x99: "\u0eb4\u0ec9", 0x9A: "\u0eb5\u0ec9"}
        # In neither map, but in an example of the first, where it can mean nothing else: ທ◌ໃຊ້.
        | {0x86: "\u0eb5\u0ec8"}
        # Both leave what they do not know as it is; that is safe for quotes and dashes only.
        | {code: bytes([code]).decode("cp1252") for code in b"\x91\x92\x93\x94\x96\x97"}
    ),
    # Not taken from the first: 0x9B to 0x9F, a row that stands there a second time, shifted; 0xE0,
    # which it reads as the digit 0. 0xCF and 0xDF are in the second only, which calls 0xDF the
    # newer code of ນ: programs take 0xAD, a soft hyphen in Windows-1252, out of text.
    preferred=MappingProxyType({sign: code for code, sign in _LSWIN_MARKS.items()} | {"ນ": 0xDF}),
    typed_order=True,
)

TABLES: Final[Mapping[str, Table]] = MappingProxyType(
    {table.name: table for table in (IBM1133, MULELAO_1, LSWIN)}
)
