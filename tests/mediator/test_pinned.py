"""The folder of pinned agreements, watched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediator import pinned
from mediator.background import background_tasks
from mediator.pinned import PinnedAgreements
from serving.clock import SystemClock


async def test_a_folder_that_cannot_be_read_does_not_end_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble with the disk is told once and leaves all as it was; afterwards changes count."""
    monkeypatch.setattr(pinned, "POLL_S", 0.01)
    broken = tmp_path / "a.jws"
    agreements = PinnedAgreements(tmp_path, [], SystemClock())
    agreements.load(())
    with capture_logs() as logs:
        async with asyncio.timeout(10), background_tasks() as background:
            background.start(agreements.watch(()))
            broken.symlink_to(broken)  # a loop: looking at it is an OSError
            while not _told(logs):  # noqa: ASYNC110 - the state is another task's
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            broken.unlink()
            broken.write_bytes(b"no agreement")
            while "a.jws" not in agreements.rejected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert _told(logs) == 1


def _told(logs: Sequence[Mapping[str, Any]]) -> int:
    return sum(line["event"] == "agreements_unreadable" for line in logs)
