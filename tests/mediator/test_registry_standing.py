"""The online role that can only take away, as servers take it over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole

from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem, Text
from exchange.registrations import MERGERS_TARGET, STANDING_TARGET, member_target
from exchange.registry.delegations import standing_role
from exchange.registry.standing import Disabled, Merger, format_mergers, format_standing
from mediator.registry_copy import RegistryCopy
from registry.publication.signers import key_set, new_signer
from tests.registry.simulator import MOF, MPI, NOW, URL, SimulatedRegistry

SERVICE = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
OFF = format_standing((Disabled(SERVICE, NOW, Text("Off", "ປິດ")),))


@pytest.fixture
def registry() -> SimulatedRegistry:
    registry = SimulatedRegistry()
    registry.register(MPI)
    registry.register(MOF)
    return registry


def copied(registry: SimulatedRegistry, folder: Path) -> RegistryCopy:
    registry.publish()
    copy = RegistryCopy(folder, URL, registry.root_bytes, registry.fetcher, timedelta(days=1))
    copy.load(NOW)
    copy.synchronise(NOW)
    return copy


def code_of(copy: RegistryCopy, service: ServiceId) -> Code | None:
    """Why the service is not found, if it is not."""
    assert copy.state is not None
    try:
        copy.state.service(service)
    except Problem as problem:
        return problem.code
    return None


def delegate(registry: SimulatedRegistry, data: bytes) -> None:
    signer = new_signer()
    role = standing_role(key_set([signer], 1))
    registry.extra_roles = [(role, [signer], {STANDING_TARGET: data})]


def test_a_disabled_service_is_gone_also_after_a_restart_without_network(
    registry: SimulatedRegistry, tmp_path: Path
) -> None:
    """The copy on disk holds what was taken away."""
    delegate(registry, OFF)
    assert code_of(copied(registry, tmp_path), SERVICE) is Code.DISABLED
    registry.fetcher.is_cut = True
    again = RegistryCopy(tmp_path, URL, registry.root_bytes, registry.fetcher, timedelta(days=1))
    again.load(NOW)
    assert code_of(again, SERVICE) is Code.DISABLED


def test_without_the_role_nothing_is_away(registry: SimulatedRegistry, tmp_path: Path) -> None:
    """The role is optional."""
    assert code_of(copied(registry, tmp_path), SERVICE) is None


def test_a_merged_member_is_told_from_the_registrys_own_file(
    registry: SimulatedRegistry, tmp_path: Path
) -> None:
    """Once its delegation is gone, calls to it name the successor."""
    del registry.members[MPI]
    merger = Merger(MPI, MOF, NOW, Text("Decree", "ດຳລັດ"))
    registry.own_files[MERGERS_TARGET] = format_mergers((merger,))
    assert code_of(copied(registry, tmp_path), SERVICE) is Code.MERGED


EVIL: dict[str, dict[str, object]] = {
    "a member's files": {"paths": [STANDING_TARGET, f"{MPI}/*"]},
    "the registry's files": {"paths": ["*"]},
    "not the end": {"terminating": False},
}


@pytest.mark.parametrize("how", EVIL)
def test_a_wider_delegation_spoils_the_metadata(
    registry: SimulatedRegistry, tmp_path: Path, how: str
) -> None:
    """The online key may speak of standing.json and nothing else."""
    signer = new_signer()
    plain = standing_role(key_set([signer], 1))
    wider = {"name": "standing", "keyids": plain.keyids, "threshold": 1, "terminating": True}
    role = DelegatedRole(**({**wider, "paths": plain.paths} | EVIL[how]))  # type: ignore[arg-type]
    registry.extra_roles = [(role, [signer], {STANDING_TARGET: OFF})]
    with pytest.raises(Problem) as caught:
        copied(registry, tmp_path)
    assert caught.value.code is Code.UNTRUSTED_METADATA


def test_the_key_of_standing_says_nothing_else(registry: SimulatedRegistry, tmp_path: Path) -> None:
    """What else its role lists is never read: not a member's document, not the instance."""
    signer = new_signer()
    role = standing_role(key_set([signer], 1))
    files = {STANDING_TARGET: OFF, member_target(MPI): b"{}", "instance.json": b"{}"}
    registry.extra_roles = [(role, [signer], files)]
    copy = copied(registry, tmp_path)
    assert copy.state is not None
    assert copy.state.member(MPI).name.en == "Ministry"
    assert code_of(copy, SERVICE) is Code.DISABLED
