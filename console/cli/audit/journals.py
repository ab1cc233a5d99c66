"""The journals that a command of `saphan audit` was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exchange.problems import Code, Problem
from mediator.journal.passphrase import unlocked
from mediator.journal.reader import JournalReader, find_journals


def open_journals(
    directories: Sequence[Path], passphrase_file: Path | None = None
) -> list[JournalReader]:
    """The journals among and below some folders; none may be there in two copies."""
    found: dict[str, JournalReader] = {}
    for folder in find_journals(directories):
        journal = _open(folder, passphrase_file)
        other = found.setdefault(journal.origin, journal)
        if other is not journal:
            raise Problem(
                Code.CONFLICT,
                where=str(folder),
                detail=f"holds the same log as {other.directory} ({journal.origin}); name one of "
                "the two",
            )
    return list(found.values())


def one_journal(directory: Path, passphrase_file: Path | None = None) -> JournalReader:
    """The journal in a folder or below it.

    Raises:
        Problem: ``Conflict`` when there are several; as :func:`find_journals`.
    """
    folders = find_journals([directory])
    if len(folders) > 1:
        raise Problem(
            Code.CONFLICT,
            where=str(directory),
            detail="holds several journals; name one: " + ", ".join(map(str, folders[:10])),
        )
    return _open(folders[0], passphrase_file)


def _open(folder: Path, passphrase_file: Path | None) -> JournalReader:
    """Raises: Problem that names the journal, which may be one of several."""
    keyring = unlocked(folder / "keys", passphrase_file)
    try:
        return JournalReader(folder, keyring)
    except Problem as problem:
        raise Problem(
            problem.code,
            where=f"{folder}: {problem.where}",
            detail=problem.detail,
            facts=problem.facts,
        ) from problem
