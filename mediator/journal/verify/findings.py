"""Findings of a verification, and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from exchange.problems import Code, Problem
from mediator.journal.verify.reached import Verified
from mediator.journal.verify.signatures import MAX_MISSING, Signed

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
    """Of these, how many could not be decrypted: the member's key is not here."""
    findings: tuple[Finding, ...]
    erased: int = 0
    """Of the sealed parts, how many were erased, as an entry of the log says."""
    lost: int = 0
    """Of the sealed parts, how many have no key any more, and nothing accounts for it."""
    since: int = 0
    """So many entries were verified by an earlier run and not read again."""
    elsewhere: int = 0
    """So many entries of old were removed from here; an archive has them."""
    signed: Signed | None = None
    """What came of the signatures, those of earlier runs included; None: nobody looked at them."""
    missing: tuple[str, ...] = ()
    """Fingerprints of certificates that were looked for and are not here; some of them."""
    reached: Verified | None = None
    """What a later run may build on; None when there are findings, or nothing is published."""

    @property
    def good(self) -> bool:
        return not self.findings


class Findings:
    """Collects findings; stops the verification when there are too many to be of use."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self._keys: set[str] = set()

    def add(self, code: Code, file: str, index: int | None, detail: str) -> None:
        """Add a finding.

        Raises:
            TooManyError: there are :data:`MAX_FINDINGS` now.
        """
        self.found.append(Finding(code, file, index, detail))
        if len(self.found) >= MAX_FINDINGS:
            raise TooManyError

    def of(self, problem: Problem, file: str, index: int | None = None) -> None:
        self.add(problem.code, file, index, problem.detail)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add what a unit of work found; a bad key is said once, not for each unit."""
        for finding in findings:
            if finding.file.startswith("keys/"):
                if finding.file in self._keys:
                    continue
                self._keys.add(finding.file)
            self.add(finding.code, finding.file, finding.index, finding.detail)


class TooManyError(Exception):
    """There are :data:`MAX_FINDINGS` findings."""


@dataclass(slots=True)
class Counts:
    """How many records were seen; see :class:`Verdict`."""

    unpublished: int = 0
    sealed: int = 0
    opened: int = 0
    without_key: int = 0
    erased: int = 0
    lost: int = 0
    signed: Signed = field(default_factory=Signed)
    missing: set[str] = field(default_factory=set)

    def add(self, other: Counts) -> None:
        self.unpublished += other.unpublished
        self.sealed += other.sealed
        self.opened += other.opened
        self.without_key += other.without_key
        self.erased += other.erased
        self.lost += other.lost
        self.signed.add(other.signed)
        self.missing.update(sorted(other.missing)[: MAX_MISSING - len(self.missing)])
