"""The registry's log under a table of faults, and a start from every state that it can leave.

Each change of the disk (log and published tree) and each commit of the database is made to fail,
before it took effect or although it did; the process dies there, or goes on. At that moment what
servers see must be whole, and proven to be in the log. In the end the log must extend every head
that was ever signed, no act may be missing, and what is published must be what the database says.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CursorResult
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from exchange.documents import parse_document
from exchange.log.checkpoint import Checkpoint, open_checkpoint
from exchange.log.notes import Note
from exchange.log.tiles import bundles_of, parse_bundle
from exchange.registrations import INSTANCE_TARGET, parse_instance
from exchange.registry.log import check_state, origin, proof_path
from registry.publication.ceremony import PUBLIC, Quorum, log_keys, online_keys, open_registry
from registry.publication.log import RegistryLog
from registry.publication.tree import Tree
from registry.registrar import Registrar
from registry.settings import RegistrySettings
from registry.store import Store
from serving.log.files import RealFiles
from tests.faults.journals import slow_root
from tests.journal.world import FailingFiles
from tests.registry.simulator import NOW, instance_record

TERMS = RegistrySettings().terms()


class Faults(FailingFiles):
    """A file is written whole or not: it lies elsewhere until it is renamed."""

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        RealFiles.write(self, descriptor, data, offset)


class FailingStore(Store):
    """The database, failing at a chosen commit; whoever dies before it has changed nothing."""

    def __init__(self, place: Path, faults: FailingFiles) -> None:
        self.faults = FailingFiles()
        super().__init__(place)
        self.faults = faults

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.is_in_transaction:
            yield
            return
        fails = self.has_written = False
        with super().transaction():
            yield
            if self.has_written:
                self.faults.count += 1
                fails = self.faults.count == self.faults.at
            if fails and not self.faults.persisted:
                raise OSError(5, "the commit was made to fail")
        if fails:
            raise OSError(5, "the commit was made to fail, and was made")

    def _run(self, *arguments: Any) -> CursorResult[Any]:
        self.has_written = True
        return super()._run(*arguments)


class WatchedLog(RegistryLog):
    """The log, every head of which is remembered as soon as it is signed."""

    signed: list[bytes]

    def _signed(self, checkpoint: Checkpoint) -> Note:
        note = super()._signed(checkpoint)
        self.signed.append(bytes(note))
        return note


class Process:
    """One life of the registry on a folder, from its start to its death."""

    def __init__(self, directory: Path, faults: FailingFiles, signed: list[bytes]) -> None:
        self.public = directory / PUBLIC
        self.store = FailingStore(directory / "registry.db", faults)
        try:
            known = parse_instance(self.store.files("targets")[INSTANCE_TARGET]).log
            self.verifier = known[0]
            log = WatchedLog(
                self.store, self.public, origin("LA"), log_keys(directory), known, None, faults
            )
            log.signed = signed
            self.tree = Tree(self.public, log, faults)
            self.registrar = Registrar(self.store, self.tree, online_keys(directory), TERMS)
            self.registrar.start(NOW)
        except BaseException:
            self.die()
            raise

    def die(self) -> None:
        self.store.close()

    def act(self, subject: str) -> None:
        """An act that is recorded, in a transaction of its own, and put out."""
        with self.registrar.acting():
            if subject not in self.subjects():
                self.store.record(NOW, "operator", "test", subject, {})
        self.registrar.put_out_log()

    def subjects(self) -> list[str]:
        return [row.subject for row in self.store.acts(after=0, limit=100)]

    def check(self, signed: list[bytes]) -> None:
        """What is published verifies, is all of the database, and extends every signed head."""
        note = (self.public / "log" / "checkpoint").read_bytes()
        head = open_checkpoint(note, self.verifier)
        stored = self.store.checkpoint()
        assert stored is not None
        assert (stored.note, stored.size) == (note, head.size)
        entries: list[bytes] = []
        for bundle in bundles_of(head.size):
            data = (self.public / "log" / str(bundle)).read_bytes()
            entries += parse_bundle(data, bundle.width)
        assert entries == [entry for _, entry in self.store.log()]
        leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
        for one in (*signed, note):
            old = open_checkpoint(one, self.verifier)
            assert old.root == slow_root(leaves[: old.size])
        told = [parse_document(entry, 4096, "entry").value for entry in entries]
        assert [one["subject"] for one in told if one["kind"] == "act"] == self.subjects()
        self.check_files()

    def check_files(self) -> None:
        metadata = self.public / "metadata"
        roles = self.store.roles()
        for name, (version, data) in roles.items():
            path = f"{version}.{name}.json" if name != "timestamp" else "timestamp.json"
            assert (metadata / path).read_bytes() == data
        assert all(path.is_file() for path in self.tree.present(self.store))
        version, snapshot = roles["snapshot"]
        proof = (self.public / proof_path(version)).read_bytes()
        assert check_state(proof, snapshot, version, [self.verifier]).state.version == version


def check_visible(public: Path) -> None:
    """What the timestamp names is there, down to every role, and its proof is out."""
    metadata = public / "metadata"
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json")).signed
    version = timestamp.snapshot_meta.version
    snapshot = (metadata / f"{version}.snapshot.json").read_bytes()
    for path, named in Metadata[Snapshot].from_bytes(snapshot).signed.meta.items():
        assert (metadata / f"{named.version}.{path}").is_file()
    own = Metadata[Targets].from_file(str(metadata / "1.targets.json")).signed
    for path, file in own.targets.items():
        folder, _, name = path.rpartition("/")
        data = (public / "targets" / folder / f"{file.hashes['sha256']}.{name}").read_bytes()
        file.verify_length_and_hashes(data)
        if path == INSTANCE_TARGET:
            (verifier,) = parse_instance(data).log
    proof = (public / proof_path(version)).read_bytes()
    assert check_state(proof, snapshot, version, [verifier]).state.version == version


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A new registry, in memory where there is such a folder: the faults are made, so the disk
    need not be real."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        quorum = Quorum(1, 1)
        open_registry(Path(name) / "made", instance_record(), NOW, root=quorum, targets=quorum)
        yield Path(name)


def play(directory: Path, faults: FailingFiles, goes_on: bool) -> None:
    """Act, publish and sign again in turn; at the fault go on or start anew."""
    signed: list[bytes] = []
    process: Process | None = None
    steps: list[Callable[[Process], object]] = [
        lambda one: one.act("the act"),
        lambda one: one.registrar.renew(NOW + timedelta(days=4)),
        lambda one: (one.registrar.follow(), one.registrar.put_out_log()),
    ]
    for step in steps:
        while True:
            try:
                process = process or Process(directory, faults, signed)
                step(process)
                break
            except OSError:
                check_visible(directory / PUBLIC)
                if process is not None and not goes_on:
                    process.die()
                    process = None
    assert process is not None
    process.check(signed)
    assert "the act" in process.subjects()
    process.die()


def copy(made: Path, name: str) -> Path:
    shutil.rmtree(made / name, ignore_errors=True)
    return Path(shutil.copytree(made / "made", made / name))


def test_a_registry_may_die_at_every_step(made: Path) -> None:
    """No fork is signed, no act is lost, and files and database agree, wherever it stopped.

    To die after a step took effect is to die before the next.
    """
    for at in steps_of(made):
        play(copy(made, "dies"), Faults(at=at), goes_on=False)


def test_a_registry_goes_on_after_a_failed_step(made: Path) -> None:
    """The same without a new start: the next act puts out what the last one could not, whether the
    step took effect or not. Every third step, each kind in turn."""
    for at in steps_of(made)[::3]:
        play(copy(made, "retries"), Faults(at=at, persisted=at % 6 == 1), goes_on=True)


def steps_of(made: Path) -> range:
    """The numbers of all changes of the disk and commits, when none fails."""
    faults = Faults()
    play(copy(made, "whole"), faults, goes_on=True)
    assert {"write_file", "rename", "sync_directory", "make_directory"} <= set(faults.log)
    assert faults.count > len(faults.log)  # commits
    return range(1, faults.count + 1)
