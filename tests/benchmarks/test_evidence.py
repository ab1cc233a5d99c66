"""The benchmark of evidence runs, and says what it measured."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import evidence
from benchmarks.entries import write
from mediator.journal.reader import JournalReader


def test_the_benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number is there and positive; the journal that was named is appended to."""
    for name, value in (("SMALL", 300), ("BATCH", 32), ("ROUNDS", 2)):
        monkeypatch.setattr(evidence, name, value)
    asyncio.run(write(tmp_path, 600))
    done = CliRunner().invoke(evidence.evidence, ["--dir", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    assert results["entries"] == 600
    for part in ("proofs", "appends", "disk", "verification"):
        assert all(value > 0 for value in results[part].values()), (part, results[part])
    assert JournalReader(tmp_path).checkpoint.size == 600 + 3 * 32


def test_the_table_names_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --json a person reads them in lines; without --dir a journal is made."""
    for name, value in (("SMALL", 300), ("BATCH", 32), ("ROUNDS", 1)):
        monkeypatch.setattr(evidence, name, value)
    done = CliRunner().invoke(evidence.evidence, ["--count", "400", "--processes", "1"])
    assert done.exit_code == 0, done.output
    assert "a journal of 400 entries" in done.stdout
    for words in ("inclusion proof", "append, cpu", "disk, an entry", "verification"):
        assert words in done.stdout
