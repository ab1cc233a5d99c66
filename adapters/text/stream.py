"""Conversion of a text of any length, line by line, with the line and column of every place.

Lines and columns count from 1. A column counts characters: of the original (which in a table are
bytes) for what was lost, of the decoded line for what was normalised. A line longer than its bound
is converted in parts, cut at a space where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from adapters.text.convert import Encoding
from exchange.lao import Change, normalise
from exchange.problems import Code, Problem

LONGEST_LINE: Final = 1 << 20
MOST_PLACES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was lost or changed, and what."""

    line: int
    column: int
    what: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column} {self.what}"


@dataclass(slots=True)
class Report:
    """What became of a text; the places are the first :data:`MOST_PLACES` of each kind."""

    lines: int = 0
    lost: int = 0
    changed: int = 0
    losses: list[Place] = field(default_factory=list)
    changes: list[Place] = field(default_factory=list)

    def lose(self, line: int, column: int, what: str) -> None:
        self.lost += 1
        if len(self.losses) < MOST_PLACES:
            self.losses.append(Place(line, column, what))

    def change(self, line: int, column: int, change: Change) -> None:
        self.changed += 1
        if len(self.changes) < MOST_PLACES:
            self.changes.append(Place(line, column, _said(change)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """From what to what."""

    source: Encoding
    target: Encoding
    normalise: bool = False
    digits: bool = False

    def run(self, file: BinaryIO, report: Report) -> Iterator[bytes]:
        """The parts of the converted text, while ``report`` grows.

        Raises:
            Problem: ``UnreadableText`` with line and column where the text should be UTF-8 and is
                not.
        """
        column = 1
        for data, begins in _parts(file, utf_8=self._is_utf_8):
            if begins:
                report.lines, column = report.lines + 1, 1
                if report.lines == 1 and self._is_utf_8:
                    data = data.removeprefix(b"\xef\xbb\xbf")
            yield self._converted(data, column, report)
            if not data.endswith(b"\n"):
                column += len(data.decode("utf-8") if self._is_utf_8 else data)

    @property
    def _is_utf_8(self) -> bool:
        return self.source.table is None or self.source.copied

    def _converted(self, data: bytes, column: int, report: Report) -> bytes:
        line = report.lines
        try:
            done = self.source.read(data)
        except UnicodeDecodeError as error:
            place = column + len(data[: error.start].decode("utf-8"))
            raise Problem(
                Code.UNREADABLE_TEXT, where=f"{line}:{place}", detail="is not UTF-8"
            ) from error
        for loss in done.losses:
            report.lose(line, column + loss.position, f"0x{loss.code:02X} is not defined")
        text = done.text
        if self.normalise:
            tidy = normalise(text, digits=self.digits)
            text = tidy.text
            for change in tidy.changes:
                report.change(line, column + change.position, change)
        written, losses = self.target.write(text)
        for loss in losses:
            report.lose(line, column + loss.position, f"U+{loss.code:04X} cannot be written")
        return written


def _said(change: Change) -> str:
    codes = [
        " ".join(f"{ord(sign):04X}" for sign in text) or "nothing"
        for text in (change.before, change.after)
    ]
    return f"{change.rule}: {codes[0]} became {codes[1]}"


def _parts(file: BinaryIO, *, utf_8: bool) -> Iterator[tuple[bytes, bool]]:
    """The lines, and whether a line begins; long ones in parts that end between characters."""
    begins, rest = True, b""
    while True:
        more = file.readline(LONGEST_LINE - len(rest))
        data, rest = rest + more, b""
        if not data:
            return
        ended = data.endswith(b"\n")
        if more and not ended:
            cut = data.rfind(b" ") + 1 or (_before_character(data) if utf_8 else len(data))
            data, rest = data[:cut], data[cut:]
        yield data, begins
        begins = ended


def _before_character(data: bytes) -> int:
    """Where the last character of UTF-8 begins."""
    place = len(data) - 1
    while place > max(0, len(data) - 4) and data[place] & 0xC0 == 0x80:
        place -= 1
    return place or len(data)
