"""What a member does on its own machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.identifiers import MemberId, ServerId
from exchange.problems import Code, Problem
from exchange.registrations import parse_member
from registry.offline.member import MemberFolder, describe
from registry.requests.submissions import format_submission, parse_submission
from tests.registry.simulator import (
    MPI,
    NOW,
    auth_certificate,
    authority,
    member_record,
    openapi_document,
    seal_certificate,
)
from tests.registry.world import described


@pytest.fixture
def description(tmp_path: Path) -> dict[str, Any]:
    """A description with the files that it names."""
    chain = seal_certificate(MPI).public_bytes(Encoding.PEM) + authority().authorities_pem
    (tmp_path / "seal.pem").write_bytes(chain)
    server = auth_certificate(ServerId.parse("LA/GOV/MPI/ss1"))
    (tmp_path / "auth.pem").write_bytes(server.public_bytes(Encoding.PEM))
    (tmp_path / "api.json").write_bytes(openapi_document())
    (tmp_path / "agreement.x.json").write_bytes(b"{}")
    return {
        "member": "LA/GOV/MPI",
        "name": {"en": "Planning", "lo": "ແຜນການ"},
        "seal_certificates": ["seal.pem"],
        "servers": [
            {
                "id": "LA/GOV/MPI/ss1",
                "address": "https://127.0.0.1:5501",
                "auth_certificates": ["auth.pem"],
            }
        ],
        "applications": [
            {
                "id": "LA/GOV/MPI/oda-mis",
                "name": {"en": "ODA", "lo": "ODA"},
                "servers": ["LA/GOV/MPI/ss1"],
            }
        ],
        "services": [
            {
                "id": "LA/GOV/MPI/oda-mis/projects",
                "title": {"en": "Projects", "lo": "ໂຄງການ"},
                "openapi": "api.json",
            },
            {"id": "LA/GOV/MPI/oda-mis/raw", "title": {"en": "Raw", "lo": "ດິບ"}},
        ],
        "agreements": ["agreement.x.json"],
    }


def written(folder: Path, description: object) -> Path:
    path = folder / "member.yaml"
    path.write_text(yaml.safe_dump(description, allow_unicode=True))
    return path


def test_a_description_becomes_the_member_s_files(
    tmp_path: Path, description: dict[str, Any]
) -> None:
    """The certificate of a chain, the type from the OpenAPI file, customary names."""
    found = describe(written(tmp_path, description))
    assert sorted(found.files) == [
        "agreement.x.json",
        "member.json",
        "openapi.oda-mis.projects.json",
    ]
    record = parse_member(found.files["member.json"], MPI)
    assert record.seal_certificates == (seal_certificate(MPI),)
    assert [service.type.value for service in record.services] == ["OPENAPI", "REST"]


def test_an_openapi_file_in_yaml_becomes_json(tmp_path: Path, description: dict[str, Any]) -> None:
    """What people write is what machines read."""
    (tmp_path / "api.yaml").write_text(yaml.safe_dump(yaml.safe_load(openapi_document())))
    description["services"][0]["openapi"] = "api.yaml"
    found = describe(written(tmp_path, description))
    assert found.files["openapi.oda-mis.projects.json"].startswith(b'{"info"')


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda value: value.pop(key)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        (drop("name"), Code.INVALID_DOCUMENT, "member.yaml#"),
        (
            lambda value: value.update(member="LA/GOV"),
            Code.INVALID_IDENTIFIER,
            "member.yaml#/member",
        ),
        (
            lambda value: value.update(seal_certificates=["no.pem"]),
            Code.NOT_FOUND,
            "member.yaml#/seal_certificates/0",
        ),
        (
            lambda value: value.update(seal_certificates=["api.json"]),
            Code.INVALID_DOCUMENT,
            "member.yaml#/seal_certificates/0",
        ),
        (
            lambda value: value["servers"][0].update(address="http://x"),
            Code.INVALID_DOCUMENT,
            "LA/GOV/MPI/member.json#/servers/0/address",
        ),
        (
            lambda value: value["services"][0].update(openapi="no.json"),
            Code.NOT_FOUND,
            "member.yaml#/services/0/openapi",
        ),
        (
            lambda value: value["applications"][0].update(servers=["LA/GOV/MPI/ss9"]),
            Code.INVALID_DOCUMENT,
            "member.yaml#/servers",
        ),
        (lambda value: value.update(acl=[]), Code.INVALID_DOCUMENT, "member.yaml#"),
        (lambda value: value.update(servers=[1]), Code.INVALID_DOCUMENT, "member.yaml#/servers/0"),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(
    tmp_path: Path,
    description: dict[str, Any],
    change: Callable[[dict[str, Any]], object],
    code: Code,
    where: str,
) -> None:
    """The member learns what to mend before anything is signed or sent."""
    change(description)
    with pytest.raises(Problem) as caught:
        describe(written(tmp_path, description))
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize("text", ["[", "- a", "", "member: !!python/object:x {}", "\x00"])
def test_what_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    """Broken YAML, lists, nothing, and tags that would make objects."""
    (tmp_path / "member.yaml").write_text(text)
    with pytest.raises(Problem) as caught:
        describe(tmp_path / "member.yaml")
    assert caught.value.code is Code.INVALID_DOCUMENT


def test_versions_only_grow(tmp_path: Path) -> None:
    """Higher than what was signed here and than what the registry shows."""
    folder = MemberFolder.create(tmp_path / "m", MPI)
    what = described(member_record(MPI))
    folder.sign(what, 0, NOW)
    assert folder.version == 1
    folder.sign(what, 7, NOW)
    assert folder.version == 8
    folder.sign(what, 3, NOW)
    assert MemberFolder.open(tmp_path / "m").version == 9


def test_a_new_key_comes_with_the_old_one_s_word(tmp_path: Path) -> None:
    """Rotation keeps the old key's file and puts the statement into the next submission."""
    folder = MemberFolder.create(tmp_path / "m", MPI)
    old = folder.keys
    statement = folder.rotate(1)
    assert (statement.before, statement.after) == (old, folder.keys)
    assert old.signed_by_enough(statement.signed_bytes, statement.signatures)
    submission = folder.sign(described(member_record(MPI)), 0, NOW)
    assert parse_submission(format_submission(submission)).statement == statement
    assert (tmp_path / "m/registry-key.1.old.pem").stat().st_mode & 0o077 == 0


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """member-init in a folder with a key is refused; so is a folder without."""
    MemberFolder.create(tmp_path / "m", MPI)
    with pytest.raises(Problem) as caught:
        MemberFolder.create(tmp_path / "m", MPI)
    assert caught.value.code is Code.CONFLICT
    with pytest.raises(Problem) as caught:
        MemberFolder.open(tmp_path)
    assert caught.value.code is Code.NOT_FOUND


def test_a_description_of_another_member_is_not_signed(tmp_path: Path) -> None:
    """The folder's member is the one that speaks."""
    folder = MemberFolder.create(tmp_path / "m", MemberId("LA", "GOV", "MOF"))
    with pytest.raises(Problem):
        folder.sign(described(member_record(MPI)), 0, NOW)
