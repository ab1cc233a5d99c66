"""Checking the files of a mapping cell by cell: all that cannot be read, and what is left out.

A service reads a file whole or not at all, and names the first cell that stands in the way; who
corrects the file wants to know of the others, too. Findings name the place and the rule, never the
value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from adapters.findings import Finding
from adapters.mapping.model import FileTable, SourceKind, SourceSettings
from adapters.sources.snapshot import read_table
from adapters.sources.variables import resolve
from exchange.problems import Problem

MAX_FINDINGS: Final = 100
"""Of one file."""


def of_files(source: SourceSettings, environ: Mapping[str, str], folder: Path) -> list[Finding]:
    """What is wrong in the files of ``source``; nothing for a source of another kind."""
    if source.kind is not SourceKind.FILES:
        return []
    return [one for table in source.tables for one in of_file(table, environ, folder)]


def of_file(table: FileTable, environ: Mapping[str, str], folder: Path) -> Iterator[Finding]:
    """Each cell of a file that is not of its type, and which rows are left out as its foot."""
    path = folder / resolve(table.file, environ, table.where)
    wrong: list[Problem] = []
    left_out: list[int] = []

    def tell(one: Problem | int) -> None:
        if isinstance(one, int):
            left_out.append(one)
        elif len(wrong) <= MAX_FINDINGS:
            wrong.append(one)

    try:
        for _ in read_table(table, path, tell):
            pass
    except Problem as problem:  # the file itself cannot be read
        wrong.append(problem)
    for one in wrong[:MAX_FINDINGS]:
        yield Finding(one.where, one.detail)
    if len(wrong) > MAX_FINDINGS:
        yield Finding(path.name, f"only the first {MAX_FINDINGS} are told", warning=True)
    if left_out:
        first, last = left_out[0], left_out[-1]
        words = f"rows {first} to {last} are" if last > first else f"row {first} is"
        yield Finding(path.name, f"{words} left out, below the end of the rows", warning=True)
