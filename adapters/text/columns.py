"""Values of a text column in an old encoding, or of mixed typing, as text of today.

For mappings (``decode``, ``normalise``). A value that cannot be read whole is refused; so is one
whose reading puts a Lao letter into a Latin word, because that was French or English with accents.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from adapters.text.convert import Converted, Encoding
from exchange.lao import normalise

_LAO: Final = "[\u0e80-\u0eff]"
_INSIDE_LATIN: Final = re.compile(
    f"[A-Za-z]{_LAO}{{1,2}}(?=[A-Za-z])|[A-Za-z]{{2}}{_LAO}(?!{_LAO})"
)


class Form(StrEnum):
    """The one form that text is brought to."""

    LAO = "lao"


class Unreadable(Exception):
    """A value that is not text in the encoding: the rule that it breaks."""


def reader(encoding: Encoding | None, form: Form | None) -> Callable[[str | bytes], str]:
    """A function from a value of the column to its text; it raises :class:`Unreadable`.

    A ``str`` is taken for the encoding's bytes as characters, as a driver gives it that was told
    that the column is Latin; text that is Lao already stays.
    """
    plain = Encoding(None)

    def read(value: str | bytes) -> str:
        wanted = encoding or plain
        try:
            done = wanted.read_characters(value) if isinstance(value, str) else wanted.read(value)
        except UnicodeDecodeError as error:
            raise Unreadable("must be UTF-8 text") from error
        if encoding is not None:
            _check(encoding, value, done)
        return done.text if form is None else normalise(done.text).text

    return read


def _check(encoding: Encoding, value: str | bytes, done: Converted) -> None:
    if done.losses:
        codes = sorted({loss.code for loss in done.losses})[:5]
        told = ", ".join(f"0x{code:02X}" for code in codes)
        raise Unreadable(f"must be text in {encoding}, which does not define {told}")
    if not value.isascii() and _INSIDE_LATIN.search(done.text):
        raise Unreadable(f"must be text in {encoding}, not Latin words with accents")
