"""The benchmark of evidence requests runs, and says what it measured."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks import once


def test_the_benchmark_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is there and positive, and the allowance is that of the promise."""
    monkeypatch.setattr(once, "DELAYS_MS", ((5, 10, 30),))
    done = CliRunner().invoke(once.once, ["--rounds", "3", "--json"])
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)["results"]
    assert (result["delays_ms"], result["rounds"]) == ([5, 10, 30], 3)
    assert result["slowest_ms"] >= 30
    assert result["evidence_ms"] >= 30
    assert result["allowed_ms"] == pytest.approx(1.5 * result["slowest_ms"] + 5, abs=0.1)
    assert 0 <= result["kept"] <= 1
