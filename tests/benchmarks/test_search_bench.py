"""The benchmark of searches asks what a journal can answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import entries, search


def test_every_question_is_asked_and_the_index_is_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids, subjects and pages are found; appends are measured with and without the index."""
    monkeypatch.setattr(search, "TIMES", 5)
    monkeypatch.setattr(search, "ROUNDS", 1)
    monkeypatch.setattr(search, "BATCH", 256)
    asyncio.run(entries.write(tmp_path / "journal", 1000))
    results = search.run(tmp_path / "journal", None)
    assert results.entries == 1000
    hits = {took.question: took.hits for took in results.took}
    assert hits["message id"] == 2
    assert hits["subject, 24 months"] >= 2
    assert hits["next pages of a member's"] > 0
    assert results.appends.ratio > 0
