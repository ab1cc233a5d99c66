"""The registry's own log as servers follow it: grown, forked, withheld, witnessed or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey
from exchange.log.policy import Policy, parse_policy
from exchange.problems import Code, Problem
from exchange.registry.log import State, proof_path
from mediator.registry_copy import RegistryCopy
from mediator.registry_copy.log import ROOT_FIELD, FollowedLog
from mediator.witness.misbehaviour import Misbehaviours, Misdeed, judge, read
from registry.publication.publish import sign
from tests.registry.simulated_log import SimulatedLog, bundle_path
from tests.registry.simulator import MOF, MPI, NOW, URL, SimulatedRegistry

GRACE = timedelta(days=1)
ACT = b'{"act":"x","at":"y","digest":"z","kind":"act","number":1,"subject":"s","v":1}'


@pytest.fixture
def registry() -> SimulatedRegistry:
    registry = SimulatedRegistry()
    registry.log = SimulatedLog()
    registry.register(MPI)
    registry.publish()
    return registry


class Member:
    """A server that follows the registry."""

    def __init__(
        self, registry: SimulatedRegistry, folder: Path, policy: Policy | None = None
    ) -> None:
        self.registry = registry
        self.log = FollowedLog(registry.fetcher, policy, "LA/GOV/MPI/ss1")
        self.copy = RegistryCopy(
            folder, URL, registry.root_bytes, registry.fetcher, GRACE, log=self.log
        )
        self.copy.load(NOW)

    def follow(self) -> bool:
        return self.copy.synchronise(self.registry.now)

    def refusal(self) -> Code:
        """The code with which what the registry shows is refused; nothing is taken over."""
        before = self.copy.state
        with pytest.raises(Problem) as caught:
            self.follow()
        assert self.copy.state is before
        return caught.value.code

    @property
    def version(self) -> int:
        assert self.copy.state is not None
        return self.copy.state.version


@pytest.fixture
def member(registry: SimulatedRegistry, tmp_path: Path) -> Member:
    member = Member(registry, tmp_path / "copy")
    assert member.follow()
    return member


def log_of(registry: SimulatedRegistry) -> SimulatedLog:
    assert registry.log is not None
    return registry.log


def test_a_state_in_the_log_is_taken_over(registry: SimulatedRegistry, member: Member) -> None:
    """Each new snapshot costs its proof and the bundles of new entries; a poll costs neither."""
    assert member.copy.seen_log is not None
    assert member.copy.seen_log.checkpoint.size == 1
    log_of(registry).entries += [ACT] * 3
    registry.register(MOF)
    registry.publish()
    registry.fetcher.asked.clear()
    assert member.follow()
    asked = [path for path in registry.fetcher.asked if path.startswith("/log/")]
    assert asked == [f"/{proof_path(2)}", bundle_path(0, 5)]
    assert member.copy.seen_log.checkpoint.size == 5
    registry.fetcher.asked.clear()
    registry.stamp()
    assert not member.follow()
    assert not [path for path in registry.fetcher.asked if path.startswith("/log/")]


def test_a_restart_goes_on_from_the_accepted_head(
    registry: SimulatedRegistry, member: Member, tmp_path: Path
) -> None:
    """The head is on disk with the copy, and nothing is asked for twice."""
    again = Member(registry, tmp_path / "copy")
    assert again.copy.seen_log == member.copy.seen_log
    registry.fetcher.asked.clear()
    again.follow()
    assert not [path for path in registry.fetcher.asked if path.startswith("/log/")]
    log_of(registry).entries += [ACT] * 700
    registry.publish()
    assert again.follow()
    assert again.copy.seen_log is not None
    assert again.copy.seen_log.checkpoint.size == 702


def forget(registry: SimulatedRegistry) -> None:
    del registry.files[f"/{proof_path(2)}"]


def prove_another(registry: SimulatedRegistry) -> None:
    registry.files[f"/{proof_path(2)}"] = registry.files[f"/{proof_path(1)}"]


def sign_by_another(registry: SimulatedRegistry) -> None:
    other = log_of(registry).fork()
    other.keys = [Ed25519PrivateKey.generate()]
    registry.files[f"/{proof_path(2)}"] = other.proof(1)


def hide_entries(registry: SimulatedRegistry) -> None:
    path = bundle_path(1, 2)
    registry.files[path] = registry.files[path][:-4] + b"0000"


def endless(registry: SimulatedRegistry) -> None:
    registry.files[f"/{proof_path(2)}"] = bytes(1 << 20)


@pytest.mark.parametrize(
    ("trick", "code"),
    [
        (forget, Code.UNTRUSTED_METADATA),
        (prove_another, Code.INVALID_PROOF),
        (sign_by_another, Code.INVALID_NOTE),
        (hide_entries, Code.UNTRUSTED_METADATA),
        (endless, Code.REGISTRY_UNREACHABLE),
    ],
)
def test_a_state_that_the_log_does_not_prove_is_refused(
    registry: SimulatedRegistry,
    member: Member,
    trick: Callable[[SimulatedRegistry], None],
    code: Code,
) -> None:
    """Without its proof a state counts nothing, whoever signed it; the last good one stays."""
    registry.register(MOF)
    registry.publish()
    good = dict(registry.files)
    trick(registry)
    assert member.refusal() is code
    assert member.version == 1
    registry.files.update(good)
    assert member.follow()
    assert member.version == 2


def test_a_fork_is_refused_and_its_proof_convicts_the_log(
    registry: SimulatedRegistry, member: Member, tmp_path: Path
) -> None:
    """Another past under a good signature: the file alone proves it, with the log's key alone."""
    log = log_of(registry)
    log.entries += [ACT] * 4
    registry.publish()
    assert member.follow()
    registry.log = fork = log.fork()
    fork.entries[2] = ACT.replace(b"x", b"w")
    registry.publish()
    assert member.refusal() is Code.LOG_CONTRADICTED
    (found,) = member.log.found
    assert found.misdeed is Misdeed.FORK
    kept = Misbehaviours(tmp_path / "kept")
    assert kept.keep(found)
    assert judge(read(tmp_path / "kept" / found.name), log.verifiers)
    assert member.version == 2


def test_two_states_in_one_log_convict_it(
    registry: SimulatedRegistry, member: Member, tmp_path: Path
) -> None:
    """A log that grew well but tells of two snapshots of one version is as good as a fork."""
    log = log_of(registry)
    log.entries.append(bytes(State.of(b"shown to another", 1, 1, 1)))
    registry.publish()
    assert member.refusal() is Code.LOG_CONTRADICTED
    (found,) = member.log.found
    assert found.misdeed is Misdeed.TWO_STATES
    Misbehaviours(tmp_path / "kept").keep(found)
    assert judge(read(tmp_path / "kept" / found.name), log.verifiers)
    honest = replace(found, shown=found.known)
    assert not judge(honest, log.verifiers)


def test_heads_of_peers_are_compared(registry: SimulatedRegistry, member: Member) -> None:
    """An older head must be our past, a newer one tells nothing yet, another one convicts."""
    log = log_of(registry)
    before = log.head()
    log.entries += [ACT] * 2
    registry.publish()
    member.follow()
    seen = member.copy.seen_log
    assert seen is not None
    keys = log.verifiers

    def compare(note: bytes) -> bool:
        return member.log.compare(URL, seen, note, keys, NOW)

    assert not compare(before)
    between = log.fork()
    del between.entries[2:]
    assert not compare(between.head())
    newer = log.fork()
    newer.entries.append(ACT)
    assert compare(newer.head())
    between.entries[1] = b"{}"
    with pytest.raises(Problem) as caught:
        compare(between.head())
    assert caught.value.code is Code.LOG_CONTRADICTED
    assert judge(member.log.found[0], keys)


def policy_of(witnesses: dict[str, Ed25519PrivateKey], least: int) -> Policy:
    lines = [
        f"witness {name} {VerifierKey.of(name, key.public_key(), COSIGNATURE_ED25519)}\n"
        for name, key in witnesses.items()
    ]
    group = f"group all {least} {' '.join(witnesses)}\nquorum all\n"
    return parse_policy("".join((*lines, group)).encode())


@pytest.mark.parametrize("is_local", [True, False])
def test_the_quorum_is_demanded(
    registry: SimulatedRegistry, tmp_path: Path, is_local: bool
) -> None:
    """By the server's own policy, or by that of the instance: too few cosignatures are refused."""
    witnesses = {name: Ed25519PrivateKey.generate() for name in ("w1", "w2", "w3")}
    policy = policy_of(witnesses, 2)
    if not is_local:
        registry.instance = replace(registry.instance, witnesses=policy)
    log_of(registry).witnesses = {"w1": witnesses["w1"]}
    registry.publish()
    member = Member(registry, tmp_path / "copy", policy if is_local else None)
    assert member.refusal() is Code.NOT_WITNESSED
    log_of(registry).witnesses = {name: witnesses[name] for name in ("w1", "w3")}
    registry.publish()
    assert member.follow()


def test_who_holds_the_targets_keys_cannot_drop_witnesses_or_log(
    registry: SimulatedRegistry, tmp_path: Path
) -> None:
    """The state that would do away with them must itself satisfy the rules before."""
    witnesses = {"w1": Ed25519PrivateKey.generate()}
    registry.instance = replace(registry.instance, witnesses=policy_of(witnesses, 1))
    log_of(registry).witnesses = witnesses
    registry.publish()
    member = Member(registry, tmp_path / "copy")
    assert member.follow()
    registry.instance = replace(registry.instance, witnesses=None)
    log_of(registry).witnesses = {}
    registry.publish()
    assert member.refusal() is Code.NOT_WITNESSED
    registry.log, kept = None, registry.log
    registry.publish()
    assert member.refusal() is Code.UNTRUSTED_METADATA
    assert kept is not None


def test_the_log_key_changes_only_by_the_old_one(
    registry: SimulatedRegistry, member: Member
) -> None:
    """A new key in the instance's record counts from the state on that the old key signed."""
    log = log_of(registry)
    old, new = log.keys[0], Ed25519PrivateKey.generate()
    log.keys = [new]
    registry.publish()
    assert member.refusal() is Code.INVALID_NOTE
    log.entries.pop()
    log.keys = [old, new]
    registry.publish()
    assert member.follow()
    log.keys = [new]
    registry.instance = replace(registry.instance, log=log.verifiers)
    registry.publish()
    assert member.follow()
    log.keys = [old]
    registry.publish()
    assert member.refusal() is Code.INVALID_NOTE


def test_the_root_may_vouch_for_a_lost_log_key(registry: SimulatedRegistry, member: Member) -> None:
    """A key that the offline root names counts, though the old one never signed."""
    log = log_of(registry)
    log.keys = [Ed25519PrivateKey.generate()]
    registry.root.version += 1
    registry.root.unrecognized_fields[ROOT_FIELD] = [str(key) for key in log.verifiers]
    registry.files[f"/metadata/{registry.root.version}.root.json"] = sign(
        registry.root, registry.root_signers
    )
    registry.publish()
    assert member.follow()


def test_a_mirror_is_asked_when_the_registry_fails(
    registry: SimulatedRegistry, tmp_path: Path
) -> None:
    """Any failure of one address leads to the next; what a mirror shows is checked as well."""
    lost = "http://lost.test"
    registry.fetcher.lost = lost
    copy = RegistryCopy(
        tmp_path / "copy", lost, registry.root_bytes, registry.fetcher, GRACE, mirrors=[URL]
    )
    copy.load(NOW)
    assert copy.synchronise(NOW)
    assert copy.state is not None
    registry.fetcher.lost = URL
    with pytest.raises(Problem) as caught:
        copy.synchronise(NOW + GRACE)
    assert caught.value.code is Code.REGISTRY_STATE_EXPIRED
    registry.fetcher.lost = None
    registry.fetcher.is_cut = True
    with pytest.raises(Problem) as caught:
        copy.synchronise(NOW)
    assert caught.value.code is Code.REGISTRY_UNREACHABLE
