"""The benchmark of adapters runs, and says what it measured."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect

from benchmarks import adapter


def test_the_benchmark_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is there, and the allowance is that of the promise."""
    monkeypatch.setattr(adapter, "BOOK_ROWS", 100)
    monkeypatch.setattr(adapter, "TABLES", 3)
    done = CliRunner().invoke(adapter.adapter, ["--rows", "4000", "--rounds", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    allowed = 1.5 * found["core_get_ms"] + 0.3
    assert found["get_allowed_ms"] == pytest.approx(allowed, abs=0.002)
    assert found["page_ratio"] == pytest.approx(found["page_ms"] / found["core_page_ms"], abs=0.02)
    assert all(found[name] > 0 for name in ("get_ms", "walk_s", "workbook_s", "scan_s"))
    assert found["workbook_peak_mib"] > 10


def test_a_servers_database_is_measured(
    monkeypatch: pytest.MonkeyPatch, postgresql_url: str
) -> None:
    """The table is made there and is gone afterwards."""
    monkeypatch.setattr(adapter, "BOOK_ROWS", 100)
    monkeypatch.setattr(adapter, "TABLES", 3)
    words = ["--rows", "4000", "--rounds", "2", "--url", postgresql_url, "--json"]
    done = CliRunner().invoke(adapter.adapter, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["database"] == "postgresql"
    engine = create_engine(postgresql_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
