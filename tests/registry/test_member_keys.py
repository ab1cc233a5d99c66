"""A member changes its keys while a running server follows the registry, and a thief tries to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Targets

from exchange.certificates.reading import fingerprint_of
from exchange.problems import Code, Problem
from exchange.registrations import MemberRecord
from exchange.registry.continuity import Statement, format_statements
from exchange.registry.delegations import continuity_target, role_name
from mediator.registry_copy.view import RegistryView
from registry.offline.member import KEY_FILE, ROLE_VALIDITY
from registry.publication.publish import OWN_ROLE, member_role, next_targets, read, sign
from registry.publication.signers import key_set, new_signer, read_signer
from tests.registry.simulator import (
    KEYS,
    MPI,
    authority,
    member_files,
    member_record,
    seal_certificate,
)
from tests.registry.world import World, described


@pytest.fixture
async def view(world: World, tmp_path: Path) -> AsyncIterator[RegistryView]:
    """A server that follows the registry since MPI is there."""
    await world.register(MPI)
    view = await RegistryView.open(world.url, world.anchor, tmp_path / "copy", clock=world.clock)
    yield view
    await view.close()


async def hand_in(world: World, record: MemberRecord) -> None:
    """The member signs its role with the key in its folder; the registry publishes it."""

    def work() -> int:
        version = world.operator.published_version(MPI)
        signed = world.folder(MPI).sign(described(record), version, world.clock.now())
        return int(world.operator.submit(signed)["id"])

    await world.approve(await world.call(work))


def put_out(world: World, signer: CryptoSigner, name: str) -> None:
    """Publish, past the registry's checks, a role of MPI that this key has signed."""
    registrar, at = world.running.registrar, world.clock.now()
    files = member_files(member_record(MPI, name=name))
    with registrar.acting():
        present = registrar._store.version(role_name(MPI)) or 0
        role = member_role(files, version=present + 1, expires=at + ROLE_VALIDITY)
        signed = (present + 1, sign(role, [signer]))
        registrar.publish_roles({role_name(MPI): signed}, {role_name(MPI): files}, at)


def redelegate(world: World, to: CryptoSigner, statements: tuple[Statement, ...]) -> None:
    """Publish, past the registry's checks but with the targets keys, that MPI has other keys."""
    registrar, at = world.running.registrar, world.clock.now()
    path = continuity_target(MPI)
    files = {path: format_statements(statements)}
    with registrar.acting():
        new = next_targets(
            read(Targets, registrar.targets_bytes(), OWN_ROLE),
            "LA",
            expires=at + ROLE_VALIDITY,
            files=files,
            members={MPI: key_set([to], 1)},
        )
        roles = {OWN_ROLE: (new.version, sign(new, world.targets_signers))}
        own = registrar._store.files(OWN_ROLE) | files
        registrar.publish_roles(roles, {OWN_ROLE: own}, at)


def told(view: RegistryView) -> list[Code]:
    return [problem.code for problem in view.state.complaints]


async def test_the_role_key_changes_and_the_old_one_counts_no_more(
    world: World, view: RegistryView
) -> None:
    """With the old key's word servers follow the new key. What the old key signs later is
    refused, and the member stays as it was; its next change is taken over again."""
    folder = world.folder(MPI)
    old = read_signer(folder.directory / KEY_FILE)
    await asyncio.to_thread(folder.rotate, 1)
    await hand_in(world, member_record(MPI, name="With a new key"))
    assert await view.refresh()
    assert (view.state.member(MPI).name.en, told(view)) == ("With a new key", [])
    await asyncio.to_thread(put_out, world, old, "With the old key")
    await view.refresh()
    assert told(view) == [Code.UNTRUSTED_METADATA]
    assert view.state.member(MPI).name.en == "With a new key"
    await hand_in(world, member_record(MPI, name="Once more"))
    assert await view.refresh()
    assert (view.state.member(MPI).name.en, told(view)) == ("Once more", [])


@pytest.mark.parametrize("word", ["none", "its own", "the key before the last"])
async def test_a_thiefs_key_needs_the_word_of_the_present_one(
    world: World, view: RegistryView, word: str
) -> None:
    """Continuity: with the targets keys, and even with a key that the member gave up, a thief's
    key comes into no server: the present key has not signed."""
    folder = world.folder(MPI)
    old, thief = read_signer(folder.directory / KEY_FILE), new_signer()
    first = await asyncio.to_thread(folder.rotate, 1)
    await hand_in(world, member_record(MPI, name="Rotated"))
    await view.refresh()
    signers = {"none": [], "its own": [thief], "the key before the last": [old]}[word]
    second = Statement(MPI, 2, folder.keys, key_set([thief], 1), ()).sign(signers)
    await asyncio.to_thread(redelegate, world, thief, (first, second))
    await asyncio.to_thread(put_out, world, thief, "Thief")
    await view.refresh()
    assert told(view) == [Code.CONTINUITY_BROKEN]
    assert view.state.member(MPI).name.en == "Rotated"


async def test_a_seal_certificate_changes(world: World, view: RegistryView) -> None:
    """While both are registered both seal; then the old one is of nobody. A certificate whose key
    the member has not is refused by the registry, and one in a thief's role by every server."""
    before = seal_certificate(MPI)
    after, stolen = (issue(world) for _ in range(2))
    record = member_record(MPI)
    await hand_in(world, replace(record, seal_certificates=(before, after)))
    assert await view.refresh()
    assert [owner(view, one) for one in (before, after)] == [MPI, MPI]
    await hand_in(world, replace(record, seal_certificates=(after,)))
    assert await view.refresh()
    assert [owner(view, one) for one in (before, after)] == [Code.CERTIFICATE_MISMATCH, MPI]
    KEYS.pop(stolen)
    with pytest.raises(Problem):
        await hand_in(world, replace(record, seal_certificates=(after, stolen)))
    await asyncio.to_thread(put_out, world, new_signer(), "With the old certificate again")
    await view.refresh()
    assert [owner(view, one) for one in (before, after)] == [Code.CERTIFICATE_MISMATCH, MPI]


def issue(world: World) -> x509.Certificate:
    """Another seal certificate of MPI; its key is at hand."""
    issued = authority().issue_seal(MPI, at=world.clock.now())
    assert issued.private_key is not None
    KEYS[issued.certificate] = issued.private_key
    return issued.certificate


def owner(view: RegistryView, certificate: x509.Certificate) -> object:
    """Whose seal it is, or why it is nobody's."""
    try:
        return view.state.seal_key(fingerprint_of(certificate))[0]
    except Problem as problem:
        return problem.code
