"""What of a journal lies in a directory, where the directory does not hold all of it.

A journal that was pruned lacks old segments, and may lack old bundles of entries: they are in an
archive. An archive lacks the sealed parts of the newest entries: their segment is not closed yet.
An excerpt of an archive (:mod:`mediator.archive.excerpt`) has the entries of a range. The hashes of
the tree are always there, so every proof of an entry that is here can be made.

Invariants:
- ``holdings.json`` is written before anything is removed, and nothing else may be missing: what
  is absent without standing there is damage;
- what a pruned journal says of itself, its log says too: a system entry (event ``pruned``) whose
  ``evidence`` is the SHA-256 of these words, and which was published before they were written. So
  nobody hides a removal by writing the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from exchange.documents import format_document, parse_document
from exchange.problems import Code, Problem

FILE: Final = "holdings.json"
PRUNED: Final = "pruned"
"""The event of the entry that tells of a removal."""
_MAX_SIZE: Final = 10_000
_MAX_TEXT: Final = 1000
_MOST: Final = 2**53 - 1
_MEMBERS: Final = frozenset({"archive", "entries_from", "manifest", "segments_from"})


@dataclass(frozen=True, slots=True)
class Holdings:
    """Which part of a journal is in a directory; without a file, all of it."""

    segments_from: int = 0
    """The first entry whose record may be in a segment here; the first of a segment."""
    entries_from: int = 0
    """The first entry whose bundle must be here; a multiple of 256."""
    archive: str = ""
    """Where the rest is, as the settings name it."""
    manifest: str = ""
    """SHA-256 (hex) of the archive's last manifest when the removal was decided."""
    entry: int | None = None
    """The index of the entry that tells of it; None in an archive, which removed nothing."""
    segments_until: int | None = None
    """In an archive: the entry with which its segments end; None: they go to the log's end."""

    @property
    def is_excerpt(self) -> bool:
        """Whether a part of an archive was restored here; nothing was removed."""
        return self.segments_until is not None and self.entry is None and bool(self.archive)

    @property
    def digest(self) -> str:
        """What the entry ``pruned`` commits to (hex)."""
        return sha256(format_document(self._words())).hexdigest()

    def _words(self) -> dict[str, Any]:
        return {
            "archive": self.archive,
            "entries_from": self.entries_from,
            "manifest": self.manifest,
            "segments_from": self.segments_from,
        }

    def __bytes__(self) -> bytes:
        members: dict[str, Any] = {"v": 1, **self._words()}
        if self.entry is not None:
            members["entry"] = self.entry
        if self.segments_until is not None:
            members["segments_until"] = self.segments_until
        return format_document(members) + b"\n"

    @classmethod
    def read(cls, directory: Path) -> Holdings:
        """Read a directory's ``holdings.json``; without one the directory holds all.

        Raises:
            Problem: ``JournalCorrupt`` when it cannot be read or is malformed.
        """
        path = directory / FILE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise _corrupt(f"cannot be read: {error.strerror}") from error
        try:
            return cls.parse(data)
        except Problem as problem:
            raise _corrupt(problem.detail) from problem

    @classmethod
    def parse(cls, data: bytes) -> Holdings:
        """Parse the file's content.

        Raises:
            Problem: ``InvalidDocument``.
        """
        fields = parse_document(data, _MAX_SIZE, FILE).members(
            frozenset({"v", *_MEMBERS}), frozenset({"entry", "segments_until"})
        )
        fields["v"].integer(1, 1)
        entry, until = fields.get("entry"), fields.get("segments_until")
        return cls(
            segments_from=fields["segments_from"].integer(0, _MOST),
            entries_from=fields["entries_from"].integer(0, _MOST),
            archive=fields["archive"].text(_MAX_TEXT, 0),
            manifest=fields["manifest"].text(64, 0),
            entry=None if entry is None else entry.integer(0, _MOST),
            segments_until=None if until is None else until.integer(0, _MOST),
        )

    def elsewhere(self, what: str, index: int) -> Problem:
        """What to say of something that is not here and is no damage."""
        return Problem(
            Code.ARCHIVED,
            where=f"entry {index}",
            detail=f"{what} is in the archive {self.archive} and no longer here",
            facts={"archive": self.archive, "index": index},
        )


WHOLE: Final = Holdings()
"""All of a journal is there."""


def _corrupt(detail: str) -> Problem:
    return Problem(Code.JOURNAL_CORRUPT, where=FILE, detail=detail, facts={"file": FILE})
