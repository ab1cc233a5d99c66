"""Answers in the exactly-once book that an erasure takes along wait where a restart finds them.

The book's database may be down when an order is carried out. Which claims are meant is in the file
``answers-to-erase.json`` of the journal's folder before the erasure's entry is recorded, and leaves
it when the book has forgotten them. The file names claims as the book does, by keyed hashes.

What was written for an erasure that no entry tells of (the disk failed, a crash came before it) is
not carried out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from exchange.problems import Code, Problem
from serving.log.files import Files, RealFiles

FILE: Final = "answers-to-erase.json"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Claims (hex) whose answers wait to be erased; all of them when ``claims`` is None.

    The erasure's entries come at ``size`` of the journal or behind.
    """

    size: int
    claims: tuple[str, ...] | None

    @property
    def keys(self) -> list[bytes] | None:
        """The claims as the book knows them."""
        return None if self.claims is None else [bytes.fromhex(claim) for claim in self.claims]


class WaitingAnswers:
    """The file; every call may block."""

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self._path = directory / FILE
        self._files = files or RealFiles()

    def read(self) -> list[Waiting]:
        """What waits.

        Raises:
            Problem: ``JournalCorrupt``: nobody knows what was to be erased.
            OSError: it cannot be read.
        """
        try:
            found = orjson.loads(self._path.read_bytes())
            return [
                Waiting(one["size"], None if one["claims"] is None else tuple(one["claims"]))
                for one in found
            ]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(
                Code.JOURNAL_CORRUPT,
                where=FILE,
                detail="it cannot be read: erase the month of the order again, then delete it",
            ) from error

    def add(self, size: int, claims: Sequence[bytes] | None) -> Waiting:
        """Have these wait, durably.

        Raises:
            OSError: they do not, or they do; Problem: as :meth:`read`.
        """
        one = Waiting(size, None if claims is None else tuple(claim.hex() for claim in claims))
        self._write([*self.read(), one])
        return one

    def remove(self, done: Collection[Waiting]) -> None:
        """Take away what needs to wait no longer.

        Raises:
            OSError: it is done again; Problem: as :meth:`read`.
        """
        left = [one for one in self.read() if one not in done]
        if left:
            self._write(left)
        else:
            with contextlib.suppress(FileNotFoundError):
                self._files.remove(self._path)

    def _write(self, waiting: Sequence[Waiting]) -> None:
        draft = self._path.parent / "staging" / FILE
        self._files.write_file(draft, orjson.dumps([asdict(one) for one in waiting]))
        self._files.rename(draft, self._path)
        self._files.sync_directory(self._path.parent)
