"""`saphan bench registry` on small registries: what it counts, and not how long it took."""

from __future__ import annotations

from pathlib import Path

from benchmarks import registries
from benchmarks.registry import look_up, measure


def test_a_generated_registry_is_followed_without_complaint(tmp_path: Path) -> None:
    """A server takes all of it; a poll and a change cost what is promised at any size."""
    measured = measure(registries.generate(tmp_path, 3))
    assert (measured.members, measured.services, measured.agreements) == (3, 30, 6)
    followed = {one.what: one for one in measured.followed}
    poll, change = followed["poll without change"], followed["one member's change"]
    assert poll.requests == 2
    assert 0 < poll.received_bytes <= 1024
    assert 0 < change.received_bytes <= 50 << 10
    assert followed["restart with the copy on disk"].requests == 2
    assert len(measured.acts) == 4


def test_every_pinned_agreement_is_looked_up(tmp_path: Path) -> None:
    """Calls are spread over all that are pinned; the benchmark refuses to count others."""
    assert look_up(tmp_path, 30).pinned == 30
