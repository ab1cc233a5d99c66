"""The checkpoint of a log: signed by its key, the last one that was signed, and no fork."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from exchange.journal.entries import Kind, parse_entry
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, open_checkpoint, parse_text
from exchange.log.notes import VerifierKey, parse_note
from exchange.problems import Code, Problem
from mediator.journal.holdings import FILE as HOLDINGS_FILE
from mediator.journal.holdings import PRUNED, Holdings
from mediator.journal.publication import CHECKPOINT
from mediator.journal.recovery import DESCRIPTION, LOCK
from mediator.journal.signed import FILE as SIGNED_FILE
from mediator.journal.verify.findings import Findings
from serving.log.tiles import TileFolder
from serving.sqlite_files import open_read_only


def check_head(
    directory: Path, log: Path, key: VerifierKey, findings: Findings
) -> tuple[Checkpoint, bytes] | None:
    """The published checkpoint, and as it was signed (empty: nothing is published yet).

    One whose signature is wrong is a finding; it is returned nevertheless, without a note, so that
    the tree is held against it.
    """
    file = f"log/{CHECKPOINT}"
    stored = _last_signed(directory, findings)
    try:
        data = (log / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        if stored or not (directory / DESCRIPTION).exists() or (log / "tile").exists():
            findings.add(Code.JOURNAL_CORRUPT, file, None, "there is no checkpoint")
            return None
        return Checkpoint(key.name, 0, merkle.EMPTY_ROOT), b""
    except OSError as error:
        findings.add(Code.JOURNAL_CORRUPT, file, None, f"cannot be read: {error.strerror}")
        return None
    try:
        head = open_checkpoint(data, key, where=file)
    except Problem as problem:
        findings.of(problem, file)
        with contextlib.suppress(Problem):  # the signature is wrong: see whether the tree is right
            return parse_text(parse_note(data).text), b""
        return None
    if stored and data not in stored:
        check_known(stored[0], SIGNED_FILE, key, head, log, findings)
    return head, data


def _last_signed(directory: Path, findings: Findings) -> tuple[bytes, ...]:
    """The checkpoint that was signed last and the one before it, as far as they are here."""
    path = directory / SIGNED_FILE
    if not path.exists():
        return ()
    try:
        connection = open_read_only(path)
        try:
            row = connection.execute("SELECT current, previous FROM signed").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        findings.add(Code.JOURNAL_CORRUPT, SIGNED_FILE, None, f"cannot be read: {error}")
        return ()
    return tuple(note for note in row or () if isinstance(note, bytes))


def check_known(
    known: bytes, name: str, key: VerifierKey, head: Checkpoint, log: Path, findings: Findings
) -> None:
    """Hold the log to a checkpoint of an earlier time; ``name`` tells where that is from.

    A root that the tiles give counts only when it is proven to be that of a prefix of the signed
    tree: so a damaged tile is never taken for a fork.
    """
    file = f"log/{CHECKPOINT}"
    try:
        old = open_checkpoint(known, key, where=name)
    except Problem as problem:
        findings.of(problem, name)
        return
    if old.size > head.size:
        findings.add(
            Code.JOURNAL_FORKED,
            file,
            None,
            f"the log was cut or set back: it had {old.size} entries ({name}) and says it has "
            f"{head.size}",
        )
        return
    read, root = TileFolder(log).subtrees(head.size), head.root
    if old.size < head.size:
        try:
            root = merkle.root(old.size, read)
            path = merkle.prove_consistency(old.size, head.size, read)
            merkle.check_consistency(old.size, head.size, path, root, head.root)
        except Problem:
            findings.add(
                Code.JOURNAL_CORRUPT,
                name,
                None,
                "cannot be held against the log: its tiles are damaged",
            )
            return
    if root != old.root:
        findings.add(
            Code.JOURNAL_FORKED,
            file,
            None,
            f"the log was forked: its first {old.size} entries are not those that were signed "
            f"({name})",
        )


def check_holdings(directory: Path, log: Path, size: int, findings: Findings) -> Holdings:
    """What is in this directory, as far as the log itself says that the rest was removed."""
    try:
        holdings = Holdings.read(directory)
    except Problem as problem:
        findings.of(problem, HOLDINGS_FILE)
        return Holdings()
    if holdings.is_excerpt and not (directory / LOCK).exists():
        return holdings  # the verdict says what is not here; no server's own journal is one
    if holdings.entries_from or holdings.segments_from:
        try:
            told = holdings.entry is not None and _tells_of(holdings, holdings.entry, log, size)
        except Problem:
            told = False  # the tree's own findings name what cannot be read
        if not told:
            findings.add(
                Code.JOURNAL_CORRUPT,
                HOLDINGS_FILE,
                holdings.entry,
                "says that entries were removed, and the log has no entry that tells of it",
            )
    return holdings


def _tells_of(holdings: Holdings, index: int, log: Path, size: int) -> bool:
    if index >= size:
        return False
    ((_, data),) = TileFolder(log).entries(index, index + 1, size)
    entry = parse_entry(data)
    return (entry.kind, entry.event, entry.evidence) == (Kind.SYSTEM, PRUNED, holdings.digest)
