"""The folder of pinned agreements, watched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchange.agreements import parse_agreement
from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem
from mediator import pinned, pinned_files
from mediator.background import background_tasks
from mediator.pinned import PinnedAgreements
from serving.clock import SystemClock
from tests.world.small import agreement


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
            background.start(agreements.watch((), _unheard))
            broken.symlink_to(broken)  # a loop: looking at it is an OSError
            while not _told(logs):  # noqa: ASYNC110 - the state is another task's
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            broken.unlink()
            broken.write_bytes(b"no agreement")
            while "a.jws" not in agreements.rejected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert _told(logs) == 1


async def _unheard(digest: str) -> None:
    raise AssertionError("no revocation came")


def _told(logs: Sequence[Mapping[str, Any]]) -> int:
    return sum(line["event"] == "agreements_unreadable" for line in logs)


def test_grants_that_open_nothing_are_told() -> None:
    """A rejected file, a service of another server, an endpoint or field that is not there."""
    pinned = PinnedAgreements(None, [], SystemClock())
    content = {"application/json": {"schema": {"properties": {"code": {}}}}}
    paths = {"/projects": {"get": {"responses": {"200": {"content": content}}}}}
    document = json.dumps({"openapi": "3.1.0", "paths": paths}).encode()
    endpoints = [{"method": "GET", "path": path} for path in ("/projects", "/project")]
    grants = [
        {"service": f"LA/GOV/MPI/oda-mis/{service}", "endpoints": endpoints, "fields": ["/cod"]}
        for service in ("projects", "others")
    ]
    pinned.agreements = (parse_agreement(json.dumps(agreement("a", grants=grants)).encode()),)
    pinned.rejected = {"b.jws": Problem(Code.AGREEMENT_INVALID, detail="no seal")}
    doubts = pinned.doubts({ServiceId.parse("LA/GOV/MPI/oda-mis/projects"): document}, {})
    assert [doubt.partition(": ")[0] for doubt in doubts] == [
        "b.jws",
        *["agreement a, LA/GOV/MPI/oda-mis/projects"] * 2,
        "agreement a, LA/GOV/MPI/oda-mis/others",
    ]


def test_no_file_is_left_out_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with more files than are read might hold a revocation among the rest: it is refused
    as a whole, and what was read before stays."""
    monkeypatch.setattr(pinned_files, "MAX_FILES", 3)
    for number in range(3):
        (tmp_path / f"a-{number}.jws").write_bytes(b"{}")
    agreements = PinnedAgreements(tmp_path, [], SystemClock())
    agreements.load(())
    assert len(agreements.rejected) == 3
    (tmp_path / "a.revocation.jws").write_bytes(b"{}")
    with pytest.raises(OSError, match="more than 3 files"):
        agreements.load(())
    assert len(agreements.rejected) == 3
