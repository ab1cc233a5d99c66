"""Whose logs are witnessed and who is asked: what the registry and a policy say, and no more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.identifiers import MemberId, ServerId
from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey
from exchange.log.policy import parse_policy
from exchange.problems import Code, Problem, Text
from exchange.registrations import Environment, InstanceRecord, MemberRecord, ServerRecord
from exchange.trust.admission import AdmittedMember
from exchange.trust.state import RegistryState
from mediator.own_keys import origin_of, witness_of
from mediator.witness.known import (
    WitnessedLogs,
    among_peers,
    by_policy,
    default_policy,
    logs_of,
)
from mediator.witness.opening import Seeking
from mediator.witness.settings import WitnessSettings

OWN = ServerId.parse("LA/GOV/MPI/ss1")


def log_key(name: str, seed: str = "") -> VerifierKey:
    return VerifierKey.of(name, _private(seed or name).public_key())


def cosigner(name: str, seed: str = "") -> VerifierKey:
    return VerifierKey.of(name, _private(seed or name).public_key(), COSIGNATURE_ED25519)


def _private(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed.encode().ljust(32, b".")[:32])


REGISTRY = log_key("LA/registry")


def server(text: str, **changes: Any) -> ServerRecord:
    identifier = ServerId.parse(text)
    values: dict[str, Any] = {
        "journal": str(log_key(origin_of(identifier))),
        "witness": str(cosigner(witness_of(identifier))),
    }
    return ServerRecord(
        identifier, f"https://{text.replace('/', '-').lower()}:5500", (), **{**values, **changes}
    )


def state_of(*servers: ServerRecord) -> RegistryState:
    members: dict[MemberId, list[ServerRecord]] = {}
    for one in servers:
        members.setdefault(one.id.member, []).append(one)
    return RegistryState.build(
        InstanceRecord("LA", Environment.DEVELOPMENT, Text("i", "i"), (), (), (REGISTRY,)),
        [
            AdmittedMember(
                MemberRecord(member, Text("m", "m"), (), tuple(records), (), ()), {}, {}, (), None
            )
            for member, records in members.items()
        ],
        openapi={},
        schemas={},
        version=1,
        expires=datetime(2030, 1, 1, tzinfo=UTC),
    )


def test_all_logs_of_the_registry_are_witnessed_but_the_own_one() -> None:
    """And the registry's own, and those of settings; a change of the registry counts at once."""
    states = [state_of(server(str(OWN)), server("LA/GOV/MOF/ss1"))]
    further = log_key("registry.example/log")
    logs = WitnessedLogs(lambda: states[-1], OWN, [str(further)])
    assert {*logs()} == {"registry.example/log", "LA/registry", "LA/GOV/MOF/ss1/journal"}
    assert logs()["LA/registry"] == [REGISTRY]
    states.append(state_of(server("LA/GOV/MOF/ss1"), server("LA/GOV/MOIC/ss1")))
    assert {*logs()} == {
        "registry.example/log",
        "LA/registry",
        "LA/GOV/MOF/ss1/journal",
        "LA/GOV/MOIC/ss1/journal",
    }


def test_nobody_puts_a_key_in_front_of_another_s_log() -> None:
    """A key counts only under the name of the server that lists it: else one member could move the
    memory of another's log, and have its true checkpoints refused."""
    thief = server("LA/GOV/MOIC/ss1", journal=str(log_key("LA/GOV/MOF/ss1/journal", "thief")))
    as_witness = server("LA/GOV/MAF/ss1", journal=str(cosigner("LA/GOV/MAF/ss1/journal")))
    broken = server("LA/GOV/MOH/ss1", journal="nonsense")
    none = server("LA/GOV/MOES/ss1", journal=None)
    good = server("LA/GOV/MOF/ss1")
    logs = WitnessedLogs(lambda: state_of(thief, as_witness, broken, none, good), OWN, [])
    assert dict(logs()) == {
        "LA/registry": [REGISTRY],
        "LA/GOV/MOF/ss1/journal": [log_key("LA/GOV/MOF/ss1/journal")],
    }


@pytest.mark.parametrize("text", ["nonsense", str(cosigner("w"))])
def test_what_is_no_key_of_a_log_is_refused_in_settings(text: str) -> None:
    """At the start, with the setting."""
    with pytest.raises(Problem) as caught:
        logs_of([text], "witnesses.logs")
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, "witnesses.logs")


def test_peers_of_other_members_are_asked_spread_over_all() -> None:
    """So many, of so many members, stable; never the own member's, none without a key of its own
    name; and the asking is spread."""
    servers = [server(f"LA/GOV/M{n:02}/ss{s}") for n in range(20) for s in (1, 2)]
    liar = server("LA/GOV/M90/ss1", witness=str(cosigner("LA/GOV/M00/ss1/witness", "liar")))
    mute = server("LA/GOV/M91/ss1", witness=None)
    state = state_of(*servers, liar, mute)
    counts: dict[str, int] = {}
    for own in servers:
        asked = among_peers(state, own.id, 3)
        assert asked == among_peers(state, own.id, 3)
        members = [one.server.id.member for one in asked if one.server is not None]
        assert len({*members}) == 3
        assert own.id.member not in members
        assert {liar.id.member, mute.id.member}.isdisjoint(members)
        for one in asked:
            counts[one.name] = counts.get(one.name, 0) + 1
    assert max(counts.values()) <= 12  # of 120 over 40
    assert len(among_peers(state_of(servers[0]), OWN, 3)) == 1
    assert among_peers(state_of(server(str(OWN))), OWN, 3) == []
    assert not default_policy([], 2).demands
    assert default_policy(among_peers(state, OWN, 3), 2).groups["quorum"].least == 2


def test_a_witness_leaving_the_registry_changes_the_set_by_one() -> None:
    """Rendezvous hashing: the others stay."""
    servers = [server(f"LA/GOV/M{n:02}/ss1") for n in range(10)]
    asked = [one.name for one in among_peers(state_of(*servers), OWN, 3)]
    left = [one for one in servers if str(one.id) != asked[1]]
    now = [one.name for one in among_peers(state_of(*left), OWN, 3)]
    assert now[:2] == [asked[0], asked[2]]


def test_a_policy_s_witnesses_are_found_by_url_or_by_their_key(tmp_path: Path) -> None:
    """With a URL there; else where the registry has a server with this very key; else not asked."""
    registered = server("LA/GOV/MOF/ss1")
    text = (
        f"witness far {cosigner('far.example')} https://far.example/w\n"
        f"witness mof {registered.witness}\n"
        f"witness nowhere {cosigner('nowhere.example')}\n"
        "group g 2 far mof nowhere\nquorum g\n"
    )
    policy = parse_policy(text.encode())
    state = state_of(registered, server("LA/GOV/MOIC/ss1"))
    far, mof = by_policy(policy, state)
    assert (far.name, far.url, far.server) == ("far", "https://far.example/w", None)
    assert (mof.name, mof.url, mof.server) == ("mof", None, registered)
    file = tmp_path / "policy"
    file.write_text(text)
    assert Seeking(WitnessSettings(policy=file), OWN, lambda: state)() == ([far, mof], policy)


@pytest.mark.parametrize(
    "url", ["ftp://w/", "https://", "w.example", "http://u@w/", "http://w:x/", "http://w/?q"]
)
def test_a_url_that_is_none_is_refused_at_the_start(tmp_path: Path, url: str) -> None:
    """With the witness's name."""
    file = tmp_path / "policy"
    file.write_text(f"witness w {cosigner('w')} {url}\nquorum w\n")
    with pytest.raises(Problem) as caught:
        Seeking(WitnessSettings(policy=file), OWN, lambda: state_of())
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, "witness w")
