"""The verified copy of the registry, against a simulated registry, good and evil."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, TargetFile, Targets

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem
from exchange.registrations import Environment, format_member, member_target
from exchange.registry.continuity import Statement, format_statements
from exchange.registry.delegations import continuity_target, role_name
from mediator.registry_copy import ACCEPTED, RegistryCopy
from registry.publication.publish import next_timestamp, sign
from registry.publication.signers import key_set, new_signer
from tests.registry.simulator import (
    MOF,
    MPI,
    NOW,
    URL,
    SimulatedRegistry,
    auth_certificate,
    instance_record,
    member_files,
    member_record,
    seal_certificate,
)

GRACE = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def registry() -> SimulatedRegistry:
    registry = SimulatedRegistry()
    registry.register(MPI)
    registry.register(MOF)
    registry.publish()
    return registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def copy_of(registry: SimulatedRegistry, folder: Path) -> RegistryCopy:
    """A copy in ``folder`` as a server has it after its start."""
    copy = RegistryCopy(folder, URL, registry.root_bytes, registry.fetcher, GRACE)
    copy.load(registry.now)
    return copy


@pytest.fixture
def copy(registry: SimulatedRegistry, folder: Path) -> RegistryCopy:
    copy = copy_of(registry, folder)
    assert copy.synchronise(NOW)
    return copy


def name_of(copy: RegistryCopy, member: MemberId) -> str:
    assert copy.state is not None
    return copy.state.member(member).name.en


def complaints(copy: RegistryCopy) -> list[Code]:
    assert copy.state is not None
    return [problem.code for problem in copy.state.complaints]


def refusal(copy: RegistryCopy, registry: SimulatedRegistry) -> Code:
    """The code with which a synchronisation is refused."""
    with pytest.raises(Problem) as caught:
        copy.synchronise(registry.now)
    return caught.value.code


# ------------------------------------------------------------------------------ the good registry


def test_everything_published_is_in_the_state(copy: RegistryCopy) -> None:
    """Members, services, their documents, schemas and certificates are found by their ids."""
    state = copy.state
    assert state is not None
    service = ServiceId.parse("LA/GOV/MPI/oda-mis/projects")
    assert state.member(MPI).name.en == "Ministry"
    assert state.service(service).title.lo == "ໂຄງການ"
    assert json.loads(state.openapi[service].read())["openapi"] == "3.1.0"
    assert [server.id for server in state.servers_of(service.application)] == [
        ServerId.parse("LA/GOV/MPI/ss1")
    ]
    assert set(state.schemas) == {"https://schemas.saphan.la/province/1"}
    seal = seal_certificate(MPI)
    keyid = next(keyid for keyid, (owner, _, _) in state.indexes.seals.items() if owner == MPI)
    assert state.seal_key(keyid)[2] == seal
    assert state.complaints == ()
    assert state.expires == NOW + timedelta(hours=1)


def test_the_dictionary_of_elements_is_followed_and_kept(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """New elements are there with the next state, and after a restart; a dictionary that is none
    leaves the last good state in force."""
    assert copy.state is not None
    assert copy.state.elements.elements == ()
    text = {"en": "Title", "lo": "ຊື່"}
    element = {
        "id": "project.title",
        "version": 1,
        "name": text,
        "definition": text,
        "schema": {"type": "string"},
        "subject": "la-project",
        "source": {
            "service": "LA/GOV/MPI/oda-mis/projects",
            "path": "/projects?code={subject}",
            "pointer": "/title",
        },
        "legal_basis": text,
        "validity": "P1D",
    }
    registry.own_files["elements.json"] = json.dumps({"elements": [element]}).encode()
    registry.publish()
    assert copy.synchronise(registry.now)
    for one in (copy, copy_of(registry, folder)):
        assert one.state is not None
        assert one.state.elements.find("project.title").subject == "la-project"
    registry.own_files["elements.json"] = b'{"elements": [{}]}'
    registry.publish()
    assert refusal(copy, registry) is Code.INVALID_DOCUMENT
    assert copy.state.elements.get("project.title") is not None


def test_nothing_new_costs_two_requests_and_no_parsing(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A poll without change asks for the next root and for the timestamp, and keeps the state."""
    before, parsed = copy.state, copy.parsed_members
    registry.fetcher.asked.clear()
    assert not copy.synchronise(NOW + MINUTE)
    assert registry.fetcher.asked == ["/metadata/2.root.json", "/metadata/timestamp.json"]
    assert copy.state is before
    assert copy.parsed_members == parsed


def test_a_new_timestamp_alone_prolongs_the_state(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """What is signed again unchanged moves only the end of the state, also across a restart."""
    registry.now += MINUTE
    registry.stamp()
    assert not copy.synchronise(registry.now)
    assert copy.state is not None
    assert copy.state.expires == NOW + timedelta(hours=1) + MINUTE
    registry.fetcher.is_cut = True
    again = copy_of(registry, folder)
    assert again.state is not None
    assert again.state.expires == copy.state.expires


def test_one_changed_member_does_not_parse_the_others(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """An update of one member takes six requests and one parsed document."""
    before = copy.state
    parsed = copy.parsed_members
    registry.update(MPI, "New name")
    registry.publish()
    registry.fetcher.asked.clear()
    assert copy.synchronise(NOW + MINUTE)
    assert name_of(copy, MPI) == "New name"
    assert copy.parsed_members == parsed + 1
    assert before is not None
    assert copy.state is not None
    assert copy.state.member(MOF) is before.member(MOF)
    assert (
        len(registry.fetcher.asked) == 6
    )  # root?, timestamp, snapshot, targets, role, member.json


def test_a_removed_member_leaves_the_state(registry: SimulatedRegistry, copy: RegistryCopy) -> None:
    """A member that is no longer delegated is unknown."""
    del registry.members[MOF]
    registry.publish()
    assert copy.synchronise(NOW)
    assert copy.state is not None
    with pytest.raises(Problem) as caught:
        copy.state.member(MOF)
    assert caught.value.code is Code.UNKNOWN_MEMBER


def test_identifiers_with_every_allowed_character_pass(folder: Path) -> None:
    """Codes with characters that URLs, file names and patterns treat specially are followed."""
    odd = MemberId("LA", "G.O'V", "a?(b)+c,d-e.=f")
    registry = SimulatedRegistry()
    registry.register(odd)
    registry.publish()
    copy = copy_of(registry, folder)
    copy.synchronise(NOW)
    assert complaints(copy) == []
    assert name_of(copy, odd) == "Ministry"


# --------------------------------------------------------------------------- without the registry


def test_a_restart_without_network_takes_up_the_last_good_copy(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """The state is rebuilt from disk without a single request."""
    registry.fetcher.is_cut = True
    registry.fetcher.asked.clear()
    again = copy_of(registry, folder)
    assert again.state == copy.state
    assert registry.fetcher.asked == []
    assert refusal(again, registry) is Code.REGISTRY_UNREACHABLE
    assert again.state == copy.state


def test_without_copy_and_registry_there_is_no_state(
    registry: SimulatedRegistry, folder: Path
) -> None:
    """A first start needs the registry."""
    registry.fetcher.is_cut = True
    copy = copy_of(registry, folder)
    assert refusal(copy, registry) is Code.REGISTRY_UNREACHABLE
    assert copy.state is None


def test_a_line_cut_in_the_middle_resumes(registry: SimulatedRegistry, folder: Path) -> None:
    """What had come before a cold start broke off is not asked for again."""
    copy = copy_of(registry, folder)
    missing = [path for path in registry.files if path.startswith("/targets/LA/GOV/MPI/")]
    hidden = {path: registry.files.pop(path) for path in missing}
    assert copy.synchronise(NOW)
    assert copy.state is not None
    assert set(copy.state.members) == {MOF}
    assert complaints(copy) == [Code.REGISTRY_UNREACHABLE]
    registry.files.update(hidden)
    registry.fetcher.asked.clear()
    assert copy.synchronise(NOW)
    assert set(copy.state.members) == {MPI, MOF}
    assert not any("MOF" in path for path in registry.fetcher.asked)


def test_a_damaged_file_of_the_copy_is_fetched_again(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """A flipped byte on disk drops that member until the registry gives the file again."""
    digest = next(
        path.rpartition("/")[2].partition(".")[0]
        for path in registry.files
        if path.startswith("/targets/LA/GOV/MPI/") and path.endswith(".member.json")
    )
    path = folder / "files" / digest
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    again = copy_of(registry, folder)
    assert again.state is not None
    assert set(again.state.members) == {MOF}
    assert again.synchronise(NOW)
    assert set(again.state.members) == {MPI, MOF}


@pytest.mark.parametrize("content", [b"", b"{", b'{"format":2}', b'{"format":1}'])
def test_a_damaged_record_is_refused_because_pins_would_be_lost(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path, content: bytes
) -> None:
    """Trusting the present keys anew is a person's decision, not what a bad disk decides."""
    (folder / ACCEPTED).write_bytes(content)
    with pytest.raises(Problem) as caught:
        copy_of(registry, folder)
    assert caught.value.code is Code.INVALID_DOCUMENT


def test_a_flipped_digit_in_the_record_is_damage_and_not_a_change_of_keys(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """The record carries its own digest, so that no member is cut off by a bad disk."""
    public = registry.members[MPI].signers[0].public_key.keyval["public"]
    other = public[:-1] + ("0" if public[-1] != "0" else "1")
    text = (folder / ACCEPTED).read_text()
    (folder / ACCEPTED).write_text(text.replace(public, other))
    with pytest.raises(Problem) as caught:
        copy_of(registry, folder)
    assert caught.value.code is Code.INVALID_DOCUMENT


def test_files_that_nothing_names_are_removed(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """The folder does not grow with every update."""
    before = len(list((folder / "files").iterdir()))
    for number in range(3):
        registry.update(MPI, f"Name {number}")
        registry.publish()
        copy.synchronise(NOW)
    assert len(list((folder / "files").iterdir())) == before


# ------------------------------------------------------------------------------ the evil registry


def test_a_rolled_back_timestamp_is_refused(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """An older timestamp, still valid, is a rollback; the newer state stays."""
    old = dict(registry.files)
    registry.update(MPI, "Newer")
    registry.publish()
    copy.synchronise(NOW)
    registry.files.update(old)
    assert refusal(copy, registry) is Code.ROLLBACK_DETECTED
    assert name_of(copy, MPI) == "Newer"


@pytest.mark.parametrize("lost", [("timestamp", "snapshot"), ("timestamp", "snapshot", "targets")])
@pytest.mark.parametrize("content", [None, b""])
def test_an_old_state_is_refused_though_the_clients_cache_was_lost(
    registry: SimulatedRegistry, folder: Path, lost: tuple[str, ...], content: bytes | None
) -> None:
    """The record of what was accepted is the anchor; a crash may empty the TUF client's cache."""
    old = registry.files["/metadata/timestamp.json"]
    registry.update(MPI, "New name")
    registry.publish()
    copy_of(registry, folder).synchronise(NOW)
    for name in lost:
        path = folder / "metadata" / f"{name}.json"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    registry.files["/metadata/timestamp.json"] = old
    copy = copy_of(registry, folder)
    assert refusal(copy, registry) is Code.ROLLBACK_DETECTED
    assert name_of(copy, MPI) == "New name"


def with_new_online_keys(registry: SimulatedRegistry) -> None:
    """The root gives new online keys, and the snapshots begin anew."""
    for role in ("snapshot", "timestamp"):
        new = new_signer()
        registry.root.revoke_key(registry.root.roles[role].keyids[0], role)
        registry.root.add_key(new.public_key, role)
        setattr(registry, f"{role}_signer", new)
    registry.root.version += 1
    registry.files[f"/metadata/{registry.root.version}.root.json"] = sign(
        registry.root, registry.root_signers
    )
    registry.snapshot = registry.timestamp = None


def test_new_online_keys_recover_from_versions_run_ahead(
    registry: SimulatedRegistry, folder: Path
) -> None:
    """Who stole the online keys may run versions ahead; the root's new keys begin anew."""
    for _ in range(5):
        registry.publish()
    copy_of(registry, folder).synchronise(NOW)
    with_new_online_keys(registry)
    registry.update(MPI, "New name")
    registry.publish()
    copy = copy_of(registry, folder)
    assert copy.synchronise(NOW)
    assert copy.state is not None
    assert copy.state.version == 1
    assert name_of(copy, MPI) == "New name"


def test_new_online_keys_do_not_roll_a_member_back(
    registry: SimulatedRegistry, folder: Path
) -> None:
    """A member's version is its own word: no key of the registry takes it back."""
    registry.update(MPI, "New name")
    registry.publish()
    copy = copy_of(registry, folder)
    copy.synchronise(NOW)
    with_new_online_keys(registry)
    registry.members[MPI].version = 1
    registry.publish()
    copy.synchronise(NOW)
    assert complaints(copy) == [Code.ROLLBACK_DETECTED]
    assert name_of(copy, MPI) == "New name"


def test_a_rolled_back_member_is_refused(registry: SimulatedRegistry, copy: RegistryCopy) -> None:
    """A new snapshot may not name an older version of a role."""
    registry.update(MPI, "Newer")
    registry.publish()
    copy.synchronise(NOW)
    registry.members[MPI].version = 1
    registry.publish()
    assert refusal(copy, registry) is Code.ROLLBACK_DETECTED
    assert name_of(copy, MPI) == "Newer"


def test_an_expired_timestamp_is_refused_and_does_not_prolong(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A frozen registry is not believed after the end of its timestamp."""
    registry.now += timedelta(hours=2)
    assert refusal(copy, registry) is Code.REGISTRY_STATE_EXPIRED
    assert copy.state is not None
    assert copy.state.expires == NOW + timedelta(hours=1)


def test_a_timestamp_of_another_key_is_refused(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """Only the timestamp key of the root signs timestamps."""
    registry.timestamp_signer = new_signer()
    registry.stamp()
    assert refusal(copy, registry) is Code.UNTRUSTED_METADATA


def test_targets_with_one_signature_of_two_are_refused(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """One stolen targets key changes nothing."""
    registry.targets_signers = registry.targets_signers[:1]
    registry.update(MPI, "Forged")
    registry.publish()
    assert refusal(copy, registry) is Code.UNTRUSTED_METADATA
    assert name_of(copy, MPI) == "Ministry"


def test_a_member_role_signed_by_the_registry_is_refused(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """The registry's keys are not a member's; that member keeps its state, others move on."""
    registry.members[MPI].delegated = registry.members[MPI].keys
    registry.members[MPI].signers = registry.targets_signers
    registry.update(MPI, "Forged")
    registry.update(MOF, "Finance")
    registry.publish()
    assert copy.synchronise(NOW)
    assert name_of(copy, MPI) == "Ministry"
    assert name_of(copy, MOF) == "Finance"
    assert complaints(copy) == [Code.UNTRUSTED_METADATA]


def test_two_of_three_targets_keys_cannot_redelegate_a_member(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """Plain TUF would believe this; the continuity rule keeps the last good state of the member,
    also after a restart, and the other members move on."""
    registry.members[MPI].signers = [new_signer()]
    registry.targets_signers = registry.targets_signers[:2]
    registry.update(MPI, "Forged")
    registry.update(MOF, "Finance")
    registry.publish()
    assert copy.synchronise(NOW)
    assert complaints(copy) == [Code.CONTINUITY_BROKEN]
    assert name_of(copy, MPI) == "Ministry"
    assert name_of(copy, MOF) == "Finance"
    again = copy_of(registry, folder)
    again.synchronise(NOW)
    assert complaints(again) == [Code.CONTINUITY_BROKEN]
    assert name_of(again, MPI) == "Ministry"


def test_removal_and_registration_anew_do_not_launder_a_key(
    registry: SimulatedRegistry, copy: RegistryCopy, folder: Path
) -> None:
    """Pins outlive the member: two steps are as much a change of keys as one."""
    evil = registry.members.pop(MPI)
    registry.publish()
    copy.synchronise(NOW)
    again = copy_of(registry, folder)
    evil.signers = [new_signer()]
    evil.version += 1
    registry.members[MPI] = evil
    registry.publish()
    again.synchronise(NOW)
    assert complaints(again) == [Code.CONTINUITY_BROKEN]
    assert again.state is not None
    assert MPI not in again.state.members


def test_a_member_changes_its_keys_with_its_old_key(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A statement signed by the old key is followed, and from then on the new key holds."""
    simulated = registry.members[MPI]
    old, simulated.signers = simulated.signers, [new_signer()]
    statement = Statement(MPI, 1, key_set(old, 1), simulated.keys, ()).sign(old)
    registry.own_files[continuity_target(MPI)] = format_statements([statement])
    registry.update(MPI, "With a new key")
    registry.publish()
    assert copy.synchronise(NOW)
    assert complaints(copy) == []
    assert name_of(copy, MPI) == "With a new key"
    simulated.signers = old
    registry.update(MPI, "With the old key")
    registry.publish()
    copy.synchronise(NOW)
    assert complaints(copy) == [Code.CONTINUITY_BROKEN]


@pytest.mark.parametrize(("count", "is_followed"), [(1, False), (2, True)])
def test_the_root_threshold_may_vouch_for_a_lost_key(
    registry: SimulatedRegistry, copy: RegistryCopy, count: int, is_followed: bool
) -> None:
    """Two of three root keys stand in for a lost key; one does not."""
    simulated = registry.members[MPI]
    old, simulated.signers = simulated.signers, [new_signer()]
    statement = Statement(MPI, 1, key_set(old, 1), simulated.keys, ())
    registry.own_files[continuity_target(MPI)] = format_statements(
        [statement.sign(registry.root_signers[:count])]
    )
    registry.update(MPI, "With a new key")
    registry.publish()
    copy.synchronise(NOW)
    assert complaints(copy) == ([] if is_followed else [Code.CONTINUITY_BROKEN])


def evil_role(name: str, path: str) -> Callable[[SimulatedRegistry], None]:
    def change(registry: SimulatedRegistry) -> None:
        signer = new_signer()
        role = DelegatedRole(name, [signer.public_key.keyid], 1, True, [path])
        record = member_record(MPI, name="Forged")
        files = {member_target(MPI): format_member(record)}
        registry.extra_roles.append((role, [signer], files))

    return change


def evil_target(path: str) -> Callable[[SimulatedRegistry], None]:
    def change(registry: SimulatedRegistry) -> None:
        registry.own_files[path] = format_member(member_record(MPI, name="Forged"))

    return change


def other_instance(registry: SimulatedRegistry) -> None:
    record = instance_record()
    registry.instance = type(record)(
        "TH", record.environment, record.name, record.authorities, record.timestamp_authorities
    )


@pytest.mark.parametrize(
    "change",
    [
        evil_role("a-first-role", "LA/GOV/MPI/*"),
        evil_role("LA~GOV~ANY", "LA/GOV/*/*"),
        evil_role("LA~GOV~ANY", "LA/*/*/*"),
        evil_role("TH~GOV~ANY", "TH/GOV/ANY/*"),
        evil_target(member_target(MPI)),
        evil_target("LA/GOV/MPI/openapi.oda-mis.projects.json"),
        evil_target("schemas/../instance.json"),
        other_instance,
    ],
)
def test_there_is_no_second_way_to_speak_for_a_member(
    registry: SimulatedRegistry, copy: RegistryCopy, change: Callable[[SimulatedRegistry], None]
) -> None:
    """Delegations in another form, members' files among the registry's own, another instance: the
    whole metadata is refused and prolongs nothing."""
    change(registry)
    registry.now += MINUTE
    registry.publish()
    assert refusal(copy, registry) is Code.UNTRUSTED_METADATA
    assert name_of(copy, MPI) == "Ministry"
    assert copy.state is not None
    assert copy.state.expires == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"LA/GOV/MPI/other.json": b"{}"},
        {member_target(MPI): b"{}"},
        {member_target(MPI): format_member(member_record(MPI, name="No OpenAPI"))},
        {member_target(MPI): format_member(member_record(MOF))},
    ],
)
def test_a_malformed_member_keeps_its_last_good_state(
    registry: SimulatedRegistry, copy: RegistryCopy, files: dict[str, bytes]
) -> None:
    """What is signed by the member's own key but cannot be read does not spoil the rest."""
    registry.members[MPI].files = files or {"LA/GOV/MPI/x.json": b"{}"}
    registry.members[MPI].version += 1
    registry.update(MOF, "Finance")
    registry.publish()
    assert copy.synchronise(NOW)
    assert name_of(copy, MPI) == "Ministry"
    assert name_of(copy, MOF) == "Finance"
    assert len(complaints(copy)) == 1


@pytest.mark.parametrize(
    "hashes",
    [
        {"sha256": "../../evil"},
        {"sha512": "0" * 128},
        {"md5": "a b\r\n", "sha256": "0" * 64},
        {"sha256": "A" * 64},
    ],
)
def test_a_digest_is_never_a_path(
    registry: SimulatedRegistry, copy: RegistryCopy, hashes: dict[str, str]
) -> None:
    """A member can neither make a server write elsewhere nor stop the others by odd digests."""
    name = role_name(MPI)
    metadata = json.loads(registry.files[f"/metadata/1.{name}.json"])
    signed = metadata["signed"]
    for file in signed["targets"].values():
        file["hashes"] = hashes
    role = Targets.from_dict(signed)
    role.version = 2
    registry.update(MPI, "Evil")
    registry.update(MOF, "Finance")
    registry.publish()
    registry.files[f"/metadata/2.{name}.json"] = sign(role, registry.members[MPI].signers)
    copy.synchronise(NOW)
    assert complaints(copy) == [Code.UNTRUSTED_METADATA]
    assert name_of(copy, MPI) == "Ministry"
    assert name_of(copy, MOF) == "Finance"


def other_version_of_x509(certificate: str) -> str:
    der = b64decode("".join(certificate.splitlines()[1:-1]))
    der = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    lines = [b64encode(der).decode()[at : at + 64] for at in range(0, len(b64encode(der)), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def test_an_unreadable_certificate_stays_the_trouble_of_its_member(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A certificate that the library cannot read does not stop the others from being followed."""
    files = member_files(member_record(MPI))
    document = json.loads(files[member_target(MPI)])
    document["seal_certificates"] = [other_version_of_x509(document["seal_certificates"][0])]
    files[member_target(MPI)] = json.dumps(document).encode()
    registry.update(MPI, "Evil")
    registry.members[MPI].files = files
    registry.update(MOF, "Finance")
    registry.publish()
    assert copy.synchronise(NOW)
    assert complaints(copy) == [Code.INVALID_DOCUMENT]
    assert name_of(copy, MPI) == "Ministry"
    assert name_of(copy, MOF) == "Finance"


def beyond_every_version(role: Targets) -> None:
    role.version = 1 << 70


def more_files_than_memory_holds(role: Targets) -> None:
    for number in range(20):
        path = f"LA/GOV/MPI/openapi.{number}.json"
        role.targets[path] = TargetFile(2 << 20, {"sha256": f"{number:064x}"}, path)


@pytest.mark.parametrize("change", [beyond_every_version, more_files_than_memory_holds])
def test_a_role_beyond_all_limits_stays_the_trouble_of_its_member(
    registry: SimulatedRegistry, copy: RegistryCopy, change: Callable[[Targets], None]
) -> None:
    """A version or files past the limits are refused before they are fetched or kept."""
    registry.update(MPI, "Evil")
    registry.update(MOF, "Finance")
    registry.publish()
    name = role_name(MPI)
    role = Targets.from_dict(json.loads(registry.files[f"/metadata/2.{name}.json"])["signed"])
    change(role)
    registry.files[f"/metadata/{role.version}.{name}.json"] = sign(
        role, registry.members[MPI].signers
    )
    registry.snapshot.meta[f"{name}.json"].version = role.version
    registry.files[f"/metadata/{registry.snapshot.version}.snapshot.json"] = sign(
        registry.snapshot, [registry.snapshot_signer]
    )
    assert copy.synchronise(NOW)
    assert complaints(copy) == [Code.UNTRUSTED_METADATA]
    assert name_of(copy, MPI) == "Ministry"
    assert name_of(copy, MOF) == "Finance"


def test_a_snapshot_beyond_every_version_is_refused(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A version that the record on disk cannot hold is not taken over."""
    registry.snapshot.version = 1 << 70
    registry.publish()
    assert refusal(copy, registry) is Code.UNTRUSTED_METADATA


# -------------------------------------------------------------------------- time and certificates


def test_an_expired_member_role_counts_until_its_grace_is_over(
    registry: SimulatedRegistry, folder: Path
) -> None:
    """A member that forgot to sign again keeps its last good state for the grace time."""
    registry.members[MPI].expires = NOW + timedelta(minutes=30)
    registry.publish()
    copy = copy_of(registry, folder)
    copy.synchronise(NOW)
    assert copy.state is not None
    assert not copy.review(NOW + timedelta(hours=1))
    assert MPI in copy.state.members
    assert copy.review(NOW + timedelta(minutes=31) + GRACE)
    assert MPI not in copy.state.members
    assert Code.REGISTRY_STATE_EXPIRED in complaints(copy)


def test_certificates_are_judged_again_when_one_ends(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """An auth certificate of 90 days is out of the state the day after."""
    server = ServerId.parse("LA/GOV/MPI/ss1")
    fingerprint = fingerprint_of(auth_certificate(server))
    assert copy.state is not None
    assert copy.state.auth_server(fingerprint) == server
    assert copy.review(NOW + timedelta(days=91))
    with pytest.raises(Problem) as caught:
        copy.state.auth_server(fingerprint)
    assert caught.value.code is Code.PEER_CERTIFICATE_UNTRUSTED
    assert Code.PEER_CERTIFICATE_EXPIRED in complaints(copy)


def test_other_authorities_are_a_judgement_of_everybody(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """In production the development authorities do not count, so no seal is left."""
    registry.instance = instance_record(Environment.PRODUCTION)
    registry.publish()
    copy.synchronise(NOW)
    assert copy.state is not None
    assert copy.state.indexes.seals == {}
    assert set(complaints(copy)) == {Code.DEVELOPMENT_ONLY}


def test_a_timestamp_from_the_future_is_still_only_a_timestamp(
    registry: SimulatedRegistry, copy: RegistryCopy
) -> None:
    """A timestamp naming a snapshot that is not there changes nothing."""
    registry.timestamp = next_timestamp(registry.timestamp, 99, expires=NOW + timedelta(hours=9))
    registry.files["/metadata/timestamp.json"] = sign(
        registry.timestamp, [registry.timestamp_signer]
    )
    assert refusal(copy, registry) is Code.REGISTRY_UNREACHABLE
    assert copy.state is not None
    assert copy.state.expires == NOW + timedelta(hours=1)
