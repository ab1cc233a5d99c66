"""Text in a legacy encoding as Unicode, with the places where something was lost.

An :class:`Encoding` is a table, UTF-8, or UTF-8 in which the characters of Windows-1252 (or of
ISO 8859-1) stand for the bytes of a table, or of UTF-8 itself: what a column of a new database
holds when old text was copied into it as it was, and one of latin1 into which a program wrote
UTF-8. In such text, characters that are no such byte stay as they are, so that rows that are Lao
already come to no harm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from adapters.text.codec import codec_of, table_of
from adapters.text.tables import TABLES, Table
from exchange.lao import ordered

UTF_8: Final = "utf-8"
COPIED: Final = "utf-8:"
"""What stands before an encoding's name when its bytes were copied into UTF-8 as characters."""

REPLACEMENT: Final = "\ufffd"


class UnknownEncoding(ValueError):
    """No encoding has this name; the message tells those that there are."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A place in the original (from 0) whose code the encoding does not define.

    When writing: the place of a character, by its code point, that the encoding does not have.
    """

    position: int
    code: int


@dataclass(frozen=True, slots=True)
class Converted:
    """A text, and what could not be converted: there stands U+FFFD."""

    text: str
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoding:
    """How text is stored; ``table`` is None for UTF-8, which may have been copied, too."""

    table: Table | None
    copied: bool = False

    @classmethod
    def parse(cls, name: str, own: Sequence[Table] = ()) -> Encoding:
        """The encoding called ``name``, such as ``lswin`` or ``utf-8:lswin``.

        Args:
            name: of a table here, or of one of ``own``, the tables of an owner.

        Raises:
            UnknownEncoding: when there is none.
        """
        copied = name.lower().startswith(COPIED)
        plain = name[len(COPIED) :] if copied else name
        table = next((one for one in own if plain in (one.name, *one.aliases)), table_of(plain))
        if table is None and plain.lower() not in ("utf-8", "utf8"):
            known = (*names(), *(one.name for one in own))
            raise UnknownEncoding(f"{name!r} is none of {', '.join(known)}")
        return cls(table, copied)

    def __str__(self) -> str:
        return f"{COPIED if self.copied else ''}{UTF_8 if self.table is None else self.table.name}"

    @property
    def in_a_mapping(self) -> str:
        """What a mapping calls it: an owner's own table by its file."""
        if self.table is None or not self.table.file:
            return str(self)
        return f"{COPIED if self.copied else ''}{self.table.file}"

    def is_ascii(self, text: str | bytes) -> bool:
        """Whether ``text`` is ASCII here, too: nothing is to be done with it."""
        return text.isascii() and (self.table is None or not self.table.low)

    def read(self, data: bytes) -> Converted:
        """The text that ``data`` is.

        Raises:
            UnicodeDecodeError: when it should be UTF-8 and is not.
        """
        if self.copied:
            return self.read_characters(data.decode("utf-8"))
        if self.table is None:
            return Converted(data.decode("utf-8"))
        return Converted(data.decode("ascii")) if self.is_ascii(data) else _read(self.table, data)

    def write(self, text: str) -> tuple[bytes, tuple[Loss, ...]]:
        """The bytes of ``text``, and the characters that cannot be written: there stands ``?``."""
        if self.table is None:
            data = text.encode("utf-8")
            return (copied(data).encode("utf-8") if self.copied else data), ()
        codec = codec_of(self.table)
        losses = tuple(
            Loss(place, ord(sign))
            for place, sign in enumerate(text)
            if ord(sign) not in codec.writing
        )
        data, _ = codec.encode(text, "replace")
        if self.copied:
            data = copied(data).encode("utf-8")
        return data, losses

    def read_characters(self, text: str) -> Converted:
        """The text that ``text`` is when it holds a table's bytes as characters of Windows-1252."""
        if self.is_ascii(text):
            return Converted(text)
        if self.table is None:
            return _read_utf_8(text) if self.copied else Converted(text)
        return _read_characters(self.table, text)


def names() -> tuple[str, ...]:
    """The names of all encodings."""
    return (UTF_8, *TABLES, *(f"{COPIED}{name}" for name in (UTF_8, *TABLES)))


def _read(table: Table, data: bytes) -> Converted:
    text, _ = codec_of(table).decode(data, "replace")
    undefined = _undefined_bytes(table).finditer(data)
    return Converted(text, tuple(Loss(found.start(), found[0][0]) for found in undefined))


def _read_characters(table: Table, text: str) -> Converted:
    meanings, undefined = _characters(table)
    losses = tuple(
        Loss(found.start(), byte_of(found[0]) or 0) for found in undefined.finditer(text)
    )
    text = text.translate(meanings)
    return Converted(ordered(text) if table.typed_order else text, losses)


def _read_utf_8(text: str) -> Converted:
    """The text whose bytes of UTF-8 were taken for characters; what is no UTF-8 is a loss."""
    losses: list[Loss] = []

    def read(run: re.Match[str]) -> str:
        data = bytes(byte_of(sign) or 0 for sign in run[0])
        parts: list[str] = []
        place = 0
        while place < len(data):
            try:
                parts.append(data[place:].decode("utf-8"))
                break
            except UnicodeDecodeError as error:
                wrong = place + error.start
                parts += (data[place:wrong].decode("utf-8"), REPLACEMENT)
                losses.append(Loss(run.start() + wrong, data[wrong]))
                place = wrong + 1
        return "".join(parts)

    return Converted(_copied_runs().sub(read, text), tuple(losses))


@cache
def _copied_runs() -> re.Pattern[str]:
    signs = "".join(sign for sign in _bytes_of_characters() if sign)
    return re.compile(f"[{re.escape(signs)}]+")


@cache
def _undefined_bytes(table: Table) -> re.Pattern[bytes]:
    return re.compile(b"[" + re.escape(table.undefined) + b"]" if table.undefined else b"(?!)")


@cache
def _bytes_of_characters() -> Mapping[str, int]:
    """Windows-1252, and ISO 8859-1 for the codes that it leaves open and for C1 controls."""
    windows = ((bytes([code]).decode("cp1252", "ignore"), code) for code in range(0x80, 0x100))
    return {chr(code): code for code in range(0x80, 0x100)} | dict(windows)


@cache
def _characters_of_bytes() -> Mapping[int, str]:
    return {code: chr(code) for code in range(0x80)} | {
        code: sign for sign, code in _bytes_of_characters().items() if sign
    }


def copied(data: bytes) -> str:
    """The characters of Windows-1252 that stand for ``data`` where text was copied as Latin."""
    return "".join(map(_characters_of_bytes().__getitem__, data))


def byte_of(character: str) -> int | None:
    """The byte that a character stands for in copied text, if any."""
    return ord(character) if character.isascii() else _bytes_of_characters().get(character)


@cache
def characters_of(code: int) -> tuple[str, ...]:
    """The characters that stand for a byte in copied text, by Windows-1252 or ISO 8859-1."""
    if code < 0x80:
        return (chr(code),)
    return tuple(sign for sign, byte in _bytes_of_characters().items() if sign and byte == code)


@cache
def _characters(table: Table) -> tuple[dict[int, str], re.Pattern[str]]:
    codes = table.meanings
    characters = [(sign, code) for sign, code in _bytes_of_characters().items() if sign]
    characters += [(chr(code), code) for code in range(0x80) if codes.get(code) != chr(code)]
    undefined = "".join(sign for sign, code in characters if code not in codes)
    meanings = {ord(sign): codes.get(code, REPLACEMENT) for sign, code in characters}
    return meanings, re.compile(f"[{re.escape(undefined)}]" if undefined else "(?!)")
