"""Long roles as deltas: what is asked for, and that nothing but the signed bytes is taken over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registry.deltas import MAX_DELTA_BYTES, encode, make_delta
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.deltas import MAX_STEPS
from registry.publication.publish import sign
from tests.registry.simulator import MOF, MPI, NOW, SimulatedRegistry

URL = "https://registry.example/"
OTHERS = [MemberId("LA", "GOV", f"M{number:02}") for number in range(20)]


@pytest.fixture
def registry() -> SimulatedRegistry:
    """A registry of some members, so that a delta is shorter than the whole."""
    registry = SimulatedRegistry()
    registry.gives_deltas = True
    for member in (MPI, *OTHERS):
        registry.register(member)
    registry.publish()
    return registry


@pytest.fixture
def copy(registry: SimulatedRegistry, tmp_path: Path) -> RegistryCopy:
    copy = RegistryCopy(
        tmp_path / "copy", URL, registry.root_bytes, registry.fetcher, timedelta(hours=1)
    )
    copy.load(NOW)
    copy.synchronise(NOW)
    registry.fetcher.asked.clear()
    return copy


def asked(registry: SimulatedRegistry) -> list[str]:
    """What was asked for of the two long roles."""
    long = ("snapshot", "targets/", ".targets.json")
    found = [path for path in registry.fetcher.asked if "/targets/LA" not in path]
    return [path for path in found if any(part in path for part in long)]


def name_of(copy: RegistryCopy) -> str:
    assert copy.state is not None
    return copy.state.member(MPI).name.en


def test_a_change_and_a_registration_come_as_deltas(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """Neither the snapshot nor the registry's own role is asked for whole."""
    registry.update(MPI, "New name")
    registry.register(MOF)
    registry.publish()
    assert copy.synchronise(NOW)
    assert name_of(copy) == "New name"
    assert copy.state is not None
    assert MOF in copy.state.members
    assert asked(registry) == ["/deltas/snapshot/2.json", "/deltas/targets/2.json"]


def test_some_versions_behind_each_delta_is_asked_for(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A server that was away for a while takes one step after the other."""
    for number in range(3):
        registry.update(MPI, f"Name {number}")
        registry.publish()
    assert copy.synchronise(NOW)
    assert name_of(copy) == "Name 2"
    wanted = [f"/deltas/{role}/{n}.json" for role in ("snapshot", "targets") for n in (2, 3, 4)]
    assert sorted(asked(registry)) == wanted


def test_far_behind_the_whole_files_are_asked_for(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """More steps than the bound are not taken."""
    for number in range(MAX_STEPS + 1):
        registry.update(MPI, f"Name {number}")
        registry.publish()
    assert copy.synchronise(NOW)
    last = MAX_STEPS + 2
    assert asked(registry) == [f"/metadata/{last}.snapshot.json", f"/metadata/{last}.targets.json"]


@pytest.mark.parametrize(
    "fault", ["missing", "no JSON", "does not fit", "leads elsewhere", "endless", "of another role"]
)
def test_without_a_good_delta_the_whole_file_is_taken(
    registry: SimulatedRegistry, copy: RegistryCopy, fault: str
) -> None:
    """Whatever is wrong with a delta costs a request and changes nothing."""
    registry.update(MPI, "New name")
    registry.publish()
    path = "/deltas/snapshot/2.json"
    if fault == "missing":
        del registry.files[path]
    else:
        registry.files[path] = {
            "no JSON": b"\xff",
            "does not fit": b'[{"op":"remove","path":"/signed/meta/nobody"}]',
            "leads elsewhere": b'[{"op":"replace","path":"/signed/version","value":2}]',
            "endless": b" " * (MAX_DELTA_BYTES + 1),
            "of another role": registry.files["/deltas/targets/2.json"],
        }[fault]
    assert copy.synchronise(NOW)
    assert name_of(copy) == "New name"
    assert "/metadata/2.snapshot.json" in registry.fetcher.asked


def test_a_delta_gets_nothing_past_the_signatures(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A mirror that changes a role by a delta has it refused, and the true one is taken."""
    registry.update(MPI, "New name")
    registry.publish()
    old = registry.files["/metadata/1.targets.json"]
    forged = registry.files["/metadata/2.targets.json"].replace(b"M07", b"M77")
    delta = make_delta(old, forged)
    assert delta is not None
    registry.files["/deltas/targets/2.json"] = delta
    assert copy.synchronise(NOW)
    assert copy.state is not None
    assert MemberId("LA", "GOV", "M77") not in copy.state.members
    assert "/metadata/2.targets.json" in registry.fetcher.asked


def test_a_damaged_own_copy_is_no_beginning(
    registry: SimulatedRegistry, copy: RegistryCopy, tmp_path: Path
) -> None:
    """A delta on top of damaged bytes does not have the signed digest."""
    own = tmp_path / "copy/metadata/snapshot.json"
    own.write_bytes(encode({"signed": {"version": 1, "meta": {}}}))
    registry.update(MPI, "New name")
    registry.publish()
    assert copy.synchronise(NOW)
    assert name_of(copy) == "New name"
    assert "/metadata/2.snapshot.json" in registry.fetcher.asked


def test_what_ends_while_nothing_changes_is_refused(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A timestamp that is renewed for ever does not prolong a snapshot that has ended."""
    registry.now = NOW + timedelta(days=6)
    registry.stamp()
    assert not copy.synchronise(registry.now)
    registry.now = NOW + timedelta(days=8)
    registry.stamp()
    with pytest.raises(Problem) as caught:
        copy.synchronise(registry.now)
    assert caught.value.code is Code.REGISTRY_STATE_EXPIRED


def test_another_root_is_judged_even_if_nothing_else_is_new(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A root that takes trust from the key of a known snapshot counts at once."""
    registry.root.version = 2
    registry.root.roles["snapshot"].keyids = [registry.timestamp_signer.public_key.keyid]
    registry.files["/metadata/2.root.json"] = sign(registry.root, registry.root_signers)
    with pytest.raises(Problem) as caught:
        copy.synchronise(NOW)
    assert caught.value.code is Code.UNTRUSTED_METADATA
