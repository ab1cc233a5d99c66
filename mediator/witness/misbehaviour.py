"""Proofs that a log misbehaved, kept as files: what it signed before, what it shows now.

A file is canonical JSON with both signed notes, the log's keys and the consistency attempt, so that
anybody can judge it again (:func:`judge`) with nothing but the log's key from the registry:

- ``fork``: the two notes prove by themselves that the log has two histories;
- ``inconsistent``: the log's own server could not show that its log grew from what it signed;
- ``rollback``: the log's own server came again with less than it had signed;
- ``two states``: the registry's log tells of two states of one version; instead of two notes the
  file has the proofs of both entries (C2SP tlog-proof).

``inconsistent`` and ``rollback`` rest on the word of this server for who showed it; what strangers
try is not kept, for anybody can send a public checkpoint with a wrong proof. Files are named by
their content, are never replaced, and are few: :data:`MAX_OF_A_LOG` of one log and one misdeed.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from exchange.journal.entries import format_time
from exchange.log.checkpoint import Checkpoint, open_checkpoint, parse_text
from exchange.log.notes import VerifierKey, parse_note
from exchange.log.proof import HEADER, parse_proof
from exchange.log.witness import origin_hash, proves_fork
from exchange.problems import Code, Problem
from exchange.registry.log import proves_two_states
from serving.durable_files import replace_file

FOLDER: Final = "misbehaviour"
MAX_OF_A_LOG: Final = 16
MAX_BYTES: Final = 2 << 20


class Misdeed(StrEnum):
    """What a log did."""

    FORK = "fork"
    INCONSISTENT = "inconsistent"
    ROLLBACK = "rollback"
    TWO_STATES = "two states"


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What a log did: both signed notes, and the proof that came with the second.

    ``shown`` is empty when the log had nothing any more.
    """

    misdeed: Misdeed
    origin: str
    keys: tuple[str, ...]
    at: str
    seen_by: str
    submitter: str | None
    known: bytes
    shown: bytes
    old_size: int
    proof: tuple[bytes, ...] = ()

    def __bytes__(self) -> bytes:
        document: dict[str, Any] = {
            "v": 1,
            "misdeed": self.misdeed.value,
            "origin": self.origin,
            "keys": list(self.keys),
            "at": self.at,
            "seen_by": self.seen_by,
            "submitter": self.submitter,
            "known": self.known.decode(),
            "shown": self.shown.decode(),
            "old_size": self.old_size,
            "proof": [base64.b64encode(sibling).decode() for sibling in self.proof],
        }
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(document, option=options)

    @property
    def digest(self) -> str:
        """The hex SHA-256 that an entry of the journal commits to."""
        return sha256(bytes(self)).hexdigest()

    @property
    def problem(self) -> Problem:
        """What the journal and the log tell."""
        return Problem(
            Code.LOG_CONTRADICTED,
            where=self.origin,
            detail=f"{self.misdeed.value}; the proof is kept as {self.name}",
            facts={"misdeed": self.misdeed.value, "origin": self.origin, "file": self.name},
        )

    @property
    def name(self) -> str:
        """The file's name: the log, what it did, and the content but for the time."""
        content = sha256(b"\0".join((self.known, self.shown))).hexdigest()[:16]
        return f"{self.kind}-{content}.json"

    @property
    def kind(self) -> str:
        """How the names of the files of this log and this misdeed begin."""
        return f"{origin_hash(self.origin)[:16]}-{self.misdeed.value}".replace(" ", "-")


def described(found: Misbehaviour) -> dict[str, Any]:
    """What the administration and ``saphan audit`` tell of it; ``proven`` by the file alone."""
    known, shown = _head(found.known), _head(found.shown)
    return {
        "misdeed": found.misdeed.value,
        "origin": found.origin,
        "at": found.at,
        "submitter": found.submitter,
        "known_size": known[0],
        "known_root": known[1],
        "shown_size": shown[0],
        "shown_root": shown[1],
        "proven": _judged(found),
        "file": found.name,
        "digest": found.digest,
    }


def _judged(found: Misbehaviour) -> bool:
    try:
        return judge(found)
    except Problem:
        return False


def judge(found: Misbehaviour, keys: Sequence[VerifierKey] | None = None) -> bool:
    """Whether the file proves by itself that the log forked.

    Args:
        keys: the log's keys as the registry lists them; without them, those in the file.

    Raises:
        Problem: ``InvalidNote`` when a note is not signed by the log: then the file shows nothing.
    """
    if not found.shown:
        return False
    trusted = [VerifierKey.parse(key) for key in found.keys] if keys is None else keys
    if found.misdeed is Misdeed.TWO_STATES:
        return proves_two_states(found.known, found.shown, trusted)
    known, shown = (
        _opened(note, trusted, found.origin, where)
        for note, where in ((found.known, "known"), (found.shown, "shown"))
    )
    return proves_fork(known, shown, found.old_size, found.proof)


def _head(note: bytes) -> tuple[int, str | None]:
    """Size and root of a note, also within a proof; of a log that shows nothing, zero."""
    if not note:
        return 0, None
    if note.startswith(HEADER.encode()):
        note = parse_proof(note).checkpoint
    checkpoint = parse_text(parse_note(note).text)
    return checkpoint.size, base64.b64encode(checkpoint.root).decode()


def _opened(note: bytes, keys: Sequence[VerifierKey], origin: str, where: str) -> Checkpoint:
    problem = Problem(Code.INVALID_NOTE, where=where, detail="no key of the log is known")
    for key in keys:
        try:
            return open_checkpoint(note, key, origin, where)
        except Problem as refused:
            problem = refused
    raise problem


class Misbehaviours:
    """The folder of proofs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def count(self) -> int:
        """How many are kept; a look into the folder."""
        return sum(1 for _ in self.folder.glob("*.json"))

    def keep(self, found: Misbehaviour) -> bool:
        """Keep a proof, durably; tells whether it is new. Blocks.

        Raises:
            OSError: the disk failed.
        """
        path = self.folder / found.name
        self.folder.mkdir(parents=True, exist_ok=True)
        of_log = list(self.folder.glob(f"{found.kind}-*.json"))
        if path in of_log or len(of_log) >= MAX_OF_A_LOG:
            return False
        replace_file(path, bytes(found))
        return True

    def all(self) -> list[Misbehaviour]:
        """What is kept, by name.

        Raises:
            Problem: ``InvalidDocument`` for a file that is none of ours.
            OSError: the disk failed.
        """
        return [read(path) for path in sorted(self.folder.glob("*.json"))]


def read(path: Path) -> Misbehaviour:
    """Read a kept proof; its content is not judged.

    Raises:
        Problem: ``InvalidDocument``.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        document = orjson.loads(data)
        if document.pop("v") != 1:
            raise ValueError("another version")
        found = Misbehaviour(
            **{
                **document,
                "misdeed": Misdeed(document["misdeed"]),
                "keys": tuple(document["keys"]),
                "known": document["known"].encode(),
                "shown": document["shown"].encode(),
                "proof": tuple(base64.b64decode(line, validate=True) for line in document["proof"]),
            }
        )
        if bytes(found) != data:
            raise ValueError("not in its canonical form")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where=path.name,
            detail=f"is no proof of misbehaviour that this version wrote: {error}",
        ) from error
    return found


def moment(at: datetime) -> str:
    """The time of a finding, as entries write it."""
    return format_time(at)
