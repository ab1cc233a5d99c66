"""Sealed parts that cannot be opened, and what accounts for it: an erasure, or a key elsewhere.

Where the journal's keys are, each key that a record names must be there and still know the record,
unless an entry says that it was erased (the end of a retention is one, too). A copy without any
keys, and key files under a passphrase that nobody gave, account for all. Where only some keys were
handed out, whoever verifies says so.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exchange.journal.entries import ERASURE, Sealed
from exchange.log import merkle
from exchange.problems import Problem
from mediator.journal import segments
from mediator.journal.erasures import Erasures
from mediator.journal.key_files import KeyEncryption
from mediator.journal.keyring import IndexName, KeyName, KeyRing
from mediator.journal.passphrase import FILE as STORE
from mediator.journal.passphrase import check_store
from mediator.journal.recovery import LOCK
from mediator.journal.verify.commitments import leaf_of
from mediator.journal.verify.findings import Finding, Findings
from serving.log.tiles import TileFolder

_MARK: Final = f'"event":"{ERASURE}"'.encode()
KEYS: Final = "keys"


@dataclass(slots=True)
class Accounts:
    """What accounts for sealed parts without a key; goes to every process that reads records."""

    directory: Path
    log: Path
    size: int
    complete: bool
    """Every key must be here that no erasure took."""
    encryption: KeyEncryption | None
    erasures: Erasures
    _all: bool = field(default=False)
    """The erasures behind the published log, and of removed bundles, are among them."""

    @classmethod
    def of(
        cls,
        directory: Path,
        log: Path,
        size: int,
        encryption: KeyEncryption | None,
        erasures: Erasures,
        *,
        some_keys: bool,
    ) -> Accounts:
        """The accounts of a journal's directory; ``some_keys``: others were left out on purpose."""
        keys = (directory / KEYS).is_dir() or (directory / LOCK).exists()
        return cls(directory, log, size, keys and not some_keys, encryption, erasures)

    def ring(self) -> KeyRing:
        """The keys that are here."""
        return KeyRing(self.directory / KEYS, self.encryption)

    def erased(self, sealed: Sealed, index: int) -> bool:
        """Whether an entry says that this record was erased."""
        if self.erasures.of(sealed, index) is None and not self._all:
            self._all = True
            with contextlib.suppress(OSError, Problem):  # the findings of the files name it
                self._look_further()
        return self.erasures.of(sealed, index) is not None

    def _look_further(self) -> None:
        """Erasures that are durable and not published yet, and those whose bundle was removed."""
        folder = TileFolder(self.log)
        for index, entry in Erasures.read(self.directory).entries.items():
            if index < self.size and leaf_of(folder, index, self.size) == merkle.leaf_hash(entry):
                self.erasures.add(index, entry)
        records = self.directory / "segments"
        firsts = segments.segments_in(records)
        behind = max((first for first in firsts if first <= self.size), default=0)
        for first in firsts:
            if first < behind:
                continue
            for group in segments.read_groups(segments.path_of(records, first), first):
                if isinstance(group, segments.Broken):
                    break
                for index, entry in enumerate(group.entries, group.first):
                    if index >= self.size and _MARK in entry:
                        self.erasures.add(index, entry)


def check_keys(accounts: Accounts, findings: Findings) -> None:
    """Read every key that is here, whether a record needs it or not."""
    ring = accounts.ring()
    try:
        check_store(ring.directory)
    except Problem as problem:
        findings.of(problem, f"{KEYS}/{STORE}")
    names: list[KeyName | IndexName] = [*ring.names(), *ring.index_names()]
    for name in names:
        try:
            ring.check(name)
        except Problem as problem:
            if not problem.facts.get("encrypted"):
                file = f"{KEYS}/ ({name})"
                findings.extend([Finding(problem.code, file, None, problem.detail)])
