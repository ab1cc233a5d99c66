"""The folder of pinned agreements, watched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from certs.authority import create_development_pki
from exchange.agreements import (
    parse_agreement,
    revocation_of,
    seal_agreement,
    seal_revocation,
)
from exchange.identifiers import MemberId, ServiceId
from exchange.keys import SigningKey, signing_key
from exchange.problems import Code, Problem, Text
from mediator.agreements import pinned, pinned_files
from mediator.agreements.agreed import Agreed
from mediator.agreements.pinned import PinnedAgreements
from mediator.background.tasks import background_tasks
from serving.clock import SystemClock
from tests.world.small import BUDGET, MOF, MPI, PROJECTS, agreement


async def test_a_folder_that_cannot_be_read_does_not_end_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble with the disk is told once and leaves all as it was; afterwards changes count."""
    monkeypatch.setattr(pinned, "POLL_S", 0.01)
    broken = tmp_path / "a.jws"
    agreements = PinnedAgreements(tmp_path, [], SystemClock())
    agreements.load(())
    with capture_logs() as logs:
        async with asyncio.timeout(60), background_tasks() as background:
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
    pinned.own = Agreed([parse_agreement(json.dumps(agreement("a", grants=grants)).encode())])
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


class Seals:
    """Two members with seals, and agreements between them."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.authority = create_development_pki(folder / "pki", "LA", at=now - timedelta(days=1))
        self._issued = {one: self.authority.issue_seal(one, at=now) for one in (MPI, MOF)}

    def _signer(self, member: MemberId) -> tuple[SigningKey, x509.Certificate]:
        issued = self._issued[member]
        return signing_key(issued.private_key, issued.certificate), issued.certificate

    def agreement(self, name: str) -> bytes:
        document = json.dumps(agreement(name)).encode()
        return seal_agreement(seal_agreement(document, *self._signer(MPI)), *self._signer(MOF))

    def revocation(self, name: str) -> bytes:
        found = parse_agreement(json.dumps(agreement(name)).encode())
        revocation = revocation_of(found, datetime.now(UTC), Text("over", "ສິ້ນສຸດ"))
        return seal_revocation(revocation, *self._signer(MPI))


def test_the_copy_of_a_consumer_opens_nothing(tmp_path: Path) -> None:
    """At the server of its consumer it tells what is agreed; at the provider's it opens doors; at
    a third one it is rejected."""
    seals, folder = Seals(tmp_path), tmp_path / "agreements"
    folder.mkdir()
    (folder / "a.jws").write_bytes(seals.agreement("a"))
    (folder / "b.jws").write_bytes(seals.agreement("b"))
    (folder / "b.revocation.jws").write_bytes(seals.revocation("b"))
    asked = (BUDGET, PROJECTS, "GET", "/projects/{code}", datetime.now(UTC))
    for members, own, held in (((MPI,), 2, 0), ((MOF,), 0, 2), ((MPI, MOF), 2, 0), ((), 0, 0)):
        agreements = PinnedAgreements(folder, members, SystemClock())
        agreements.load(seals.authority.authorities)
        assert (len(agreements.own.agreements), len(agreements.held.agreements)) == (own, held)
        assert [bool(one.opening(*asked)) for one in (agreements.own, agreements.held)] == [
            own > 0,
            held > 0,
        ]
        assert len(agreements.own.revoked) + len(agreements.held.revoked) == bool(members)
        assert len(agreements.rejected) == (0 if members else 3)


async def test_a_revocation_is_recorded_once_whenever_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was placed while the server was stopped, and one that the journal could not
    take at first; not again after a restart, and again where nobody knows."""
    monkeypatch.setattr(pinned, "POLL_S", 0.01)
    seals, folder, told = Seals(tmp_path), tmp_path / "agreements", tmp_path / "told"
    folder.mkdir()
    names = ["a", "b"]
    files = {name: folder / f"{name}.revocation.jws" for name in names}
    files["a"].write_bytes(seals.revocation("a"))
    heard: list[str] = []
    failures = 2

    async def tell(digest: str) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise Problem(Code.INTERNAL_ERROR, detail="the disk is full")
        heard.append(digest)

    async def run(expected: int) -> None:
        agreements = PinnedAgreements(folder, [MPI], SystemClock(), told)
        agreements.load(())
        async with asyncio.timeout(60), background_tasks() as background:
            background.start(agreements.watch((), tell))
            while len(heard) < expected or not digests() <= _read(told):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        assert len(heard) == expected

    def digests() -> set[str]:
        return {sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}

    await run(1)
    files["b"].write_bytes(seals.revocation("b"))
    await run(2)
    await run(2)
    assert set(heard) == digests()
    told.write_text(told.read_text()[:-1])  # cut in the middle of a line
    await run(3)


def _read(path: Path) -> set[str]:
    return set(path.read_text().split()) if path.exists() else set()
