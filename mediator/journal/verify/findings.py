"""Findings of a verification, and its verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exchange.problems import Code, Problem

MAX_FINDINGS = 100

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be: its code, file, entry (if one is meant) and why."""

    code: Code
    file: str
    index: int | None
    detail: str

    def __str__(self) -> str:
        entry = "" if self.index is None else f"entry {self.index}, "
        return f"{self.code}: {entry}{self.file}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found. ``good`` only if there is no finding at all."""

    directory: str
    origin: str
    vkey: str
    size: int
    root: str
    unpublished: int
    """Whole records behind the published size (a live journal has some)."""
    sealed: int
    """Sealed parts that match their entries."""
    opened: int
    """Of these, how many were decrypted and their content checked."""
    without_key: int
    """Of these, how many could not be decrypted: the key was destroyed or is elsewhere."""
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        return not self.findings


class Findings:
    """Collects findings; stops the verification when there are too many to be of use."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def add(self, code: Code, file: str, index: int | None, detail: str) -> None:
        self.found.append(Finding(code, file, index, detail))
        if len(self.found) >= MAX_FINDINGS:
            raise TooManyError

    def of(self, problem: Problem, file: str, index: int | None = None) -> None:
        self.add(problem.code, file, index, problem.detail)


class TooManyError(Exception):
    """There are :data:`MAX_FINDINGS` findings."""


@dataclass(slots=True)
class Counts:
    unpublished: int = 0
    sealed: int = 0
    opened: int = 0
    without_key: int = 0
