"""The journal's benchmark runs, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import journal


def test_the_benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number is there and positive, and nothing is left behind."""
    monkeypatch.setattr(journal, "TREE_SIZES", (1000,))
    monkeypatch.setattr(journal, "TURNS", 1)
    done = CliRunner().invoke(
        journal.journal, ["--seconds", "0.1", "--dir", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    assert [row["concurrency"] for row in results["appends"]] == [1, 16, 256]
    once = [results["indexing"], results["verification"]]
    for row in [*results["appends"], *results["proofs"], *once]:
        assert all(value > 0 for value in row.values())
    assert list(tmp_path.iterdir()) == []


def test_the_table_names_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --json a person reads rates, processor time and the ratio to the bare loop."""
    monkeypatch.setattr(journal, "TREE_SIZES", (1000,))
    monkeypatch.setattr(journal, "TURNS", 1)
    done = CliRunner().invoke(journal.journal, ["--seconds", "0.05", "--dir", str(tmp_path)])
    assert "of bare" in done.stdout
    assert "times the processor time" in done.stdout
    assert "offline verification" in done.stdout
