"""What the registrar lets in, on the registrar itself: no network."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Delegations, TargetFile, Targets

from exchange.identifiers import MemberId, ServerId
from exchange.problems import Code, Problem
from exchange.registrations import (
    INSTANCE_TARGET,
    Environment,
    MemberRecord,
    format_instance,
    format_member,
)
from exchange.registry.delegations import delegated_role
from registry.actors.roles import Caller, Right
from registry.offline.member import KEY_FILE, MemberFolder
from registry.offline.operator import OwnRole, SignedOwn, sign_delegation, sign_files
from registry.publication.ceremony import PUBLIC, Quorum, online_keys, open_log, open_registry
from registry.publication.publish import OWN_ROLE, next_targets, read, sign
from registry.publication.publishing import Terms
from registry.publication.signers import key_set, new_signer, read_signers
from registry.publication.tree import Tree
from registry.registrar import Registrar
from registry.requests.lifecycle import Kind, Needed, Policy, State
from registry.requests.submissions import format_submission, parse_submission
from registry.settings import DATABASE, RegistrySettings, read_settings
from registry.store import NewRequest, Store
from tests.registry.simulator import (
    MOF,
    MPI,
    NOW,
    auth_certificate,
    instance_record,
    member_record,
    openapi_document,
    seal_certificate,
)
from tests.registry.world import described

OPERATOR = Caller("op", Right.OPERATOR, None, "")
TERMS = Terms(timedelta(hours=1), timedelta(days=7), Policy())


class Office:
    """A registrar with its offline keys and one member's folder."""

    def __init__(self, folder: Path, terms: Terms = TERMS, database: str = "") -> None:
        self.directory = folder / "registry"
        if not self.directory.exists():
            settings = RegistrySettings(database=database)
            open_registry(self.directory, instance_record(), NOW, settings=settings)
        settings = read_settings(self.directory)
        self.store = Store(settings.place(self.directory))
        log = open_log(self.store, self.directory, settings)
        self.tree = Tree(self.directory / PUBLIC, log)
        self.registrar = Registrar(self.store, self.tree, online_keys(self.directory), terms)
        self.registrar.start(NOW)
        self.targets_signers = read_signers(sorted(self.directory.glob("offline/targets-*.pem")))
        self.root_signers = read_signers(sorted(self.directory.glob("offline/root-*.pem")))
        path = folder / "mpi"
        self.member = MemberFolder.open(path) if path.exists() else MemberFolder.create(path, MPI)

    def own(self) -> OwnRole:
        return OwnRole(
            "LA",
            self.registrar.root_bytes(),
            self.registrar.targets_bytes(),
            self.store.files(OWN_ROLE),
        )

    def submit(
        self, record: MemberRecord | None = None, files: dict[str, bytes] | None = None
    ) -> int:
        """Sign and submit; returns the number."""
        what = described(record or member_record(MPI))
        if files:
            what = replace(what, files={**what.files, **files})
        submission = self.member.sign(what, 0, NOW)
        return self.registrar.submit(format_submission(submission), OPERATOR, NOW).id

    def delegate(self, number: int) -> SignedOwn:
        submission = parse_submission(self.store.request(number).body)
        return sign_delegation(self.own(), submission, self.targets_signers, [], NOW)

    def approve(self, number: int) -> None:
        signed = None
        if self.store.request(number).kind.needs_delegation:
            signed = self.delegate(number)
        self.registrar.approve(
            number,
            None if signed is None else signed.targets,
            {} if signed is None else signed.files,
            OPERATOR,
            NOW,
        )


@pytest.fixture
def office(tmp_path: Path, database: str) -> Iterator[Office]:
    office = Office(tmp_path, database=database)
    yield office
    office.store.close()


def code_of(work: Callable[[], object]) -> Code:
    """The code with which something is refused."""
    with pytest.raises(Problem) as caught:
        work()
    return caught.value.code


SERVER = ServerId.parse("LA/GOV/MPI/ss1")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            lambda record: replace(record, seal_certificates=(seal_certificate(MOF),)),
            Code.CERTIFICATE_MISMATCH,
        ),
        (
            lambda record: replace(record, seal_certificates=(seal_certificate(MPI, "foreign"),)),
            Code.CERTIFICATE_UNTRUSTED,
        ),
        (
            lambda record: replace(record, seal_certificates=(auth_certificate(SERVER),)),
            Code.CERTIFICATE_UNTRUSTED,
        ),
        (
            lambda record: replace(
                record,
                servers=(
                    replace(
                        record.servers[0], auth_certificates=(auth_certificate(SERVER, "foreign"),)
                    ),
                ),
            ),
            Code.PEER_CERTIFICATE_UNTRUSTED,
        ),
        (
            lambda record: replace(
                record, services=(replace(record.services[0], openapi="openapi.x.json"),)
            ),
            Code.INVALID_DOCUMENT,
        ),
    ],
)
def test_what_servers_would_leave_out_is_not_let_in(
    office: Office, change: Callable[[MemberRecord], MemberRecord], code: Code
) -> None:
    """Foreign, mismatched or wrong certificates and missing documents are refused at the door."""
    record = change(member_record(MPI))
    files = {"member.json": format_member(record)}
    what = replace(
        described(member_record(MPI)), files={**described(member_record(MPI)).files, **files}
    )
    submission = office.member.sign(what, 0, NOW)
    assert (
        code_of(lambda: office.registrar.submit(format_submission(submission), OPERATOR, NOW))
        is code
    )
    assert office.store.requests() == []


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b"[]",
        b"not json",
        openapi_document().replace(b"3.1.0", b"2.0.0", 1),
        openapi_document().replace(
            b'"description": "done"',
            b'"description": "done", "content": {"application/json": {"schema": '
            b'{"$ref": "https://schemas.saphan.la/nothing/1"}}}',
        ),
        b'{"openapi":"3.1.0"' + b" " * (2 << 20) + b"}",
    ],
)
def test_an_openapi_document_must_compile(office: Office, document: bytes) -> None:
    """Not OpenAPI 3, an unknown shared schema, too long: refused with the file's name."""
    with pytest.raises(Problem) as caught:
        office.submit(files={"openapi.oda-mis.projects.json": document})
    assert caught.value.code is Code.INVALID_DOCUMENT


def test_a_rolled_back_role_is_refused(office: Office) -> None:
    """A version that was published already does not come again."""
    office.approve(office.submit())
    (office.member.directory / "version").write_text("0")
    with pytest.raises(Problem) as caught:
        office.submit()
    assert (caught.value.code, caught.value.status) == (Code.ROLLBACK_DETECTED, 409)


def test_what_was_right_when_submitted_is_judged_again_at_approval(office: Office) -> None:
    """An older open update cannot overtake a newer published one."""
    office.approve(office.submit())
    number = office.submit()
    stale = office.store.request(number)
    office.approve(number)
    with office.store.transaction():
        request = NewRequest(Kind.UPDATE, MPI, str(MPI), stale.body, stale.changes, version=2)
        again = office.store.add_request(request, NOW, "op")
    assert code_of(lambda: office.approve(again)) is Code.ROLLBACK_DETECTED


def beyond_every_version(role: Targets) -> None:
    role.version = 1 << 70


def larger_than_may_be(role: Targets) -> None:
    for number in range(20):
        path = f"LA/GOV/MPI/{number}.json"
        role.targets[path] = TargetFile(2 << 20, {"sha256": f"{number:064x}"}, path)


@pytest.mark.parametrize("change", [beyond_every_version, larger_than_may_be])
def test_what_servers_could_not_keep_is_not_let_in(
    office: Office, change: Callable[[Targets], None]
) -> None:
    """A version of 70 bits, or files of more than 32 MiB."""
    submission = office.member.sign(described(member_record(MPI)), 0, NOW)
    role = read(Targets, submission.role, "role")
    change(role)
    signer = read_signers([office.member.directory / KEY_FILE])
    submission = replace(submission, role=sign(role, signer))
    assert (
        code_of(lambda: office.registrar.submit(format_submission(submission), OPERATOR, NOW))
        is Code.INVALID_DOCUMENT
    )


def test_the_registry_does_not_lose_what_servers_need(office: Office) -> None:
    """Its own next role may withdraw schemas, and neither the instance nor statements."""
    targets = read(Targets, office.own().targets, "targets")
    targets.version += 1
    del targets.targets["instance.json"]
    signed = sign(targets, office.targets_signers)
    assert code_of(lambda: office.registrar.publish_own(signed, {}, OPERATOR, NOW)) is Code.CONFLICT


def test_a_role_signed_by_another_key_is_refused(office: Office) -> None:
    """A key change without the old key's word waits, but targets keys alone cannot approve it."""
    office.approve(office.submit())
    number = int((office.member.directory / "version").read_text())
    other = MemberFolder.create(office.member.directory.with_name("other"), MPI)
    submission = other.sign(described(member_record(MPI)), number, NOW)
    row = office.registrar.submit(format_submission(submission), OPERATOR, NOW)
    assert row.kind is Kind.KEYS
    assert code_of(lambda: office.delegate(row.id)) is Code.CONTINUITY_BROKEN
    current = read(Targets, office.registrar.targets_bytes(), "targets")
    forced = next_targets(
        current, "LA", expires=NOW + timedelta(days=9), members={MPI: submission.keys}
    )
    signed = sign(forced, office.targets_signers)
    assert (
        code_of(lambda: office.registrar.approve(row.id, signed, {}, OPERATOR, NOW))
        is Code.CONTINUITY_BROKEN
    )


def test_too_few_targets_keys_sign_nothing(office: Office) -> None:
    """One of three keys is not enough, here and at the registry."""
    number = office.submit()
    office.targets_signers = office.targets_signers[:1]
    assert code_of(lambda: office.delegate(number)) is Code.NOT_AUTHORISED
    current = read(Targets, office.registrar.targets_bytes(), "targets")
    new = next_targets(
        current, "LA", expires=NOW + timedelta(days=9), members={MPI: office.member.keys}
    )
    signed = sign(new, office.targets_signers)
    assert (
        code_of(lambda: office.registrar.approve(number, signed, {}, OPERATOR, NOW))
        is Code.UNTRUSTED_METADATA
    )


def more_than_approved(targets: Targets) -> None:
    other = key_set([new_signer()], 1)
    assert targets.delegations is not None
    keys = {**targets.delegations.keys, **{key.keyid: key for key in other.keys}}
    roles = dict(targets.delegations.roles or {})
    role = delegated_role(MOF, other)
    targets.delegations = Delegations(keys, {**roles, role.name: role})


def other_keys(targets: Targets) -> None:
    evil = key_set([new_signer()], 1)
    role = delegated_role(MPI, evil)
    targets.delegations = Delegations({key.keyid: key for key in evil.keys}, {role.name: role})


def without_instance(targets: Targets) -> None:
    del targets.targets[INSTANCE_TARGET]


def skipped_version(targets: Targets) -> None:
    targets.version += 1


def same_version(targets: Targets) -> None:
    targets.version -= 1


@pytest.mark.parametrize(
    "change", [more_than_approved, other_keys, without_instance, skipped_version, same_version]
)
def test_an_approval_says_what_was_submitted_and_no_more(
    office: Office, change: Callable[[Targets], None]
) -> None:
    """Properly signed metadata that does anything else than this approval is a conflict."""
    number = office.submit()
    new = read(Targets, office.delegate(number).targets, "targets")
    change(new)
    signed = sign(new, office.targets_signers)
    assert (
        code_of(lambda: office.registrar.approve(number, signed, {}, OPERATOR, NOW))
        is Code.CONFLICT
    )
    assert office.store.request(number).state is State.SUBMITTED
    assert office.registrar.directory.counts()["members"] == 0


def test_two_approvals_signed_over_the_same_version_do_not_both_pass(office: Office) -> None:
    """The second is told to sign again over what is published now."""
    number = office.submit()
    signed = office.delegate(number)
    files = {"schemas/x.1.json": b'{"$id":"https://schemas.saphan.la/x/1"}'}
    own = sign_files(office.own(), files, office.targets_signers, NOW)
    office.registrar.publish_own(own.targets, own.files, OPERATOR, NOW)
    assert (
        code_of(
            lambda: office.registrar.approve(number, signed.targets, signed.files, OPERATOR, NOW)
        )
        is Code.CONFLICT
    )
    office.approve(number)


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        ("schemas/x.1.json", b"{}", Code.INVALID_DOCUMENT),
        ("schemas/x.1.json", b'{"$id":"https://x/1","type":"nonsense"}', Code.INVALID_DOCUMENT),
        (
            INSTANCE_TARGET,
            format_instance(instance_record(Environment.PRODUCTION)),
            Code.INVALID_DOCUMENT,
        ),
        ("LA/GOV/MPI/member.json", b"{}", Code.UNTRUSTED_METADATA),
        ("continuity/LA~GOV~MPI.json", b"{}", Code.INVALID_DOCUMENT),
    ],
)
def test_the_registry_publishes_only_its_own_kind_of_files(
    office: Office, path: str, data: bytes, code: Code
) -> None:
    """Schemas that are schemas, the instance as it is; no files of members, no statements."""
    own = sign_files(office.own(), {path: data}, office.targets_signers, NOW)
    assert (
        code_of(lambda: office.registrar.publish_own(own.targets, own.files, OPERATOR, NOW)) is code
    )


def test_a_schema_is_there_for_those_who_refer_to_it(office: Office) -> None:
    """Publish the schema first, then a service whose document refers to it is let in."""
    identifier = "https://schemas.saphan.la/thing/1"
    document = openapi_document().replace(
        b'"description": "done"',
        b'"description": "done", "content": {"application/json": {"schema": {"$ref": "'
        + identifier.encode()
        + b'"}}}',
    )
    files = {"openapi.oda-mis.projects.json": document}
    assert code_of(lambda: office.submit(files=files)) is Code.INVALID_DOCUMENT
    schema = {"schemas/thing.1.json": b'{"$id":"%s","type":"object"}' % identifier.encode()}
    own = sign_files(office.own(), schema, office.targets_signers, NOW)
    office.registrar.publish_own(own.targets, own.files, OPERATOR, NOW)
    office.approve(office.submit(files=files))
    assert office.registrar.directory.counts() == {"members": 1, "services": 1, "schemas": 1}


def test_without_approval_of_updates_they_are_published_at_once(tmp_path: Path) -> None:
    """The setting spares known keys the wait; a first registration waits all the same."""
    office = Office(tmp_path, replace(TERMS, approval=Policy(Needed.NONE)))
    number = office.submit()
    assert office.store.request(number).state is State.SUBMITTED
    office.approve(number)
    assert office.store.request(office.submit()).state is State.APPROVED
    office.store.close()


def test_files_published_already_need_not_be_sent_again(office: Office) -> None:
    """Over a thin line a member sends only what changed."""
    office.approve(office.submit())
    submission = office.member.sign(described(member_record(MPI, name="Other")), 0, NOW)
    slim = replace(submission, files={"member.json": submission.files["member.json"]})
    row = office.registrar.submit(format_submission(slim), OPERATOR, NOW)
    office.approve(row.id)
    assert len(office.store.files("LA~GOV~MPI")) == 2


def test_a_crash_before_the_export_is_made_good_at_the_next_start(
    office: Office, tmp_path: Path
) -> None:
    """The database decides: a tree that lost everything is written again, but for the differences
    from versions that it does not have any more: who asks for one gets the whole file."""
    office.approve(office.submit())
    public = office.directory / PUBLIC
    before = {path: path.read_bytes() for path in public.rglob("*.json")}
    for path in before:
        path.unlink()
    office.store.close()
    again = Office(tmp_path)
    again.store.close()
    after = {path: path.read_bytes() for path in public.rglob("*.json")}
    current = {
        path for path in before if path.name.split(".")[0] != "1" and "deltas" not in path.parts
    }
    assert current <= after.keys()
    assert all(before[path] == after[path] for path in current)


def test_damaged_files_are_written_again_at_the_next_start(office: Office, tmp_path: Path) -> None:
    """A file that lost its content with the power is not served for ever."""
    office.approve(office.submit())
    office.store.close()
    public = office.directory / PUBLIC
    names = {"2.LA~GOV~MPI.json", "2.targets.json", "1.root.json"}
    before = {
        path: path.read_bytes()
        for path in public.rglob("*.json")
        if path.name in names or path.name.endswith("member.json")
    }
    for number, path in enumerate(before):
        path.write_bytes(b"" if number % 2 else path.read_bytes()[:-1])
    Office(tmp_path).store.close()
    assert {path: path.read_bytes() for path in before} == before


def test_long_metadata_is_published_compressed_too(office: Office) -> None:
    """What a server of files sends to who takes gzip is the same bytes, and as durable a name."""
    office.approve(office.submit())
    metadata = office.directory / PUBLIC / "metadata"
    compressed = sorted(metadata.glob("*.gz"))
    assert "2.targets.json.gz" in {path.name for path in compressed}
    for path in compressed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()


def test_old_files_are_removed_after_a_day(office: Office) -> None:
    """A client half-way through is served; after a day only what is published is left."""
    office.approve(office.submit())
    office.approve(office.submit(member_record(MPI, name="Other")))
    assert office.registrar.prune() == 0
    for path in (office.directory / PUBLIC / "metadata").iterdir():
        os.utime(path, (0, 0))
    assert office.registrar.prune() > 0
    names = sorted(path.name for path in (office.directory / PUBLIC / "metadata").iterdir())
    assert names == [
        "1.root.json",
        "1.standing.json",
        "2.LA~GOV~MPI.json",
        "2.targets.json",
        "2.targets.json.gz",
        "3.snapshot.json",
        "timestamp.json",
    ]


def test_a_registry_is_opened_once(office: Office) -> None:
    """A folder that holds anything is not opened again, and no key is overwritten."""
    assert code_of(lambda: open_registry(office.directory, instance_record(), NOW)) is Code.CONFLICT


def test_a_production_instance_has_no_development_authorities(tmp_path: Path) -> None:
    """Production and development certificates do not mix, from the first minute."""
    record = instance_record(Environment.PRODUCTION)
    assert code_of(lambda: open_registry(tmp_path / "r", record, NOW)) is Code.DEVELOPMENT_ONLY
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("keys", "threshold"), [(0, 0), (2, 3), (17, 1), (1, 0)])
def test_a_quorum_can_be_met(keys: int, threshold: int) -> None:
    """1 to 16 keys, and not more signatures than keys."""
    assert code_of(lambda: Quorum(keys, threshold)) is Code.INVALID_SETTINGS


def test_private_files_are_private(office: Office) -> None:
    """Keys, API key and database can be read by their owner only; what is public is named so."""
    for pattern in ("offline/*", "online/*", DATABASE):
        for path in office.directory.glob(pattern):
            assert path.suffix == ".pub" or path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(("code", "is_published"), [("?" * 66, True), ("a" * 255, False)])
def test_long_codes_do_not_break_file_names(
    office: Office, tmp_path: Path, code: str, is_published: bool
) -> None:
    """A code is published up to 200 encoded characters, also where its role's name is a digest."""
    member = MemberId("LA", "G", code)
    office.member = MemberFolder.create(tmp_path / "odd", member)
    record = replace(
        member_record(MPI),
        member=member,
        seal_certificates=(),
        servers=(),
        applications=(),
        services=(),
    )
    if not is_published:
        assert code_of(lambda: office.submit(record)) is Code.INVALID_DOCUMENT
        return
    office.approve(office.submit(record))
    assert office.registrar.directory.member(member)["version"] == 1
