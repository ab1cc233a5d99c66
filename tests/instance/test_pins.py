"""Agreements and certificates of an instance: made once, made anew when they must be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.authority import DevelopmentAuthority, create_development_pki
from console.instance.agreements import Right, Seal, pin, unpin
from console.instance.configuration import Application, Connection, Member
from console.instance.hosted import RENEW, Hosted, Surroundings
from exchange.agreements import (
    MAX_ENDPOINTS,
    format_agreement,
    open_agreement,
    read_agreement,
    seal_agreement,
)
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.keys import signing_key

MPI, MOF = MemberId.parse("LA/GOV/MPI"), MemberId.parse("LA/GOV/MOF")
RIGHT = Right(
    ApplicationId.parse("LA/GOV/MOF/budget"),
    ServiceId.parse("LA/GOV/MPI/oda-mis/projects"),
    (("GET", "/projects/{code}"), ("POST", "/projects")),
)


@pytest.fixture
def authority(tmp_path: Path) -> DevelopmentAuthority:
    return create_development_pki(tmp_path / "pki", "LA", at=datetime.now(UTC))


def seals(authority: DevelopmentAuthority) -> dict[MemberId, Seal]:
    """New seals of both members."""
    found = {}
    for member in (MPI, MOF):
        issued = authority.issue_seal(member, at=datetime.now(UTC))
        assert issued.private_key is not None
        key = signing_key(issued.private_key, issued.certificate)
        found[member] = Seal(key, issued.certificate)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def version(folder: Path) -> int:
    (data,) = files(folder).values()
    return read_agreement(data)[0].version


def test_a_right_is_pinned_once(authority: DevelopmentAuthority, tmp_path: Path) -> None:
    """Both parties seal it over all operations; the second time nothing is written; what else lies
    in the folder is removed, and with the right its pin."""
    folder, both = tmp_path / "agreements", seals(authority)
    folder.mkdir()
    (folder / "stranger.jws").write_bytes(b"{}")
    held = pin(folder, [RIGHT], both, authority.authorities)
    assert held == {RIGHT.id}
    first = files(folder)
    ((name, data),) = first.items()
    assert name == f"{RIGHT.id}.jws"
    agreement = open_agreement(data, authority.authorities, datetime.now(UTC))
    assert (agreement.consumer, agreement.provider, agreement.purposes) == (
        RIGHT.consumer,
        MPI,
        (),
    )
    assert [(one.method, one.path) for one in agreement.grants[0].endpoints] == list(
        RIGHT.endpoints
    )
    pin(folder, [RIGHT], both, authority.authorities)
    assert files(folder) == first
    unpin(folder, [RIGHT])
    assert files(folder) == first
    unpin(folder, [])
    assert files(folder) == {}


def test_a_right_is_sealed_anew_when_something_changes(
    authority: DevelopmentAuthority, tmp_path: Path
) -> None:
    """Another contract, renewed seals, a damaged file, an end that is near: a higher version."""
    folder, both = tmp_path / "agreements", seals(authority)
    pin(folder, [RIGHT], both, authority.authorities)
    longer = replace(RIGHT, endpoints=(*RIGHT.endpoints, ("DELETE", "/projects/{code}")))
    pin(folder, [longer], both, authority.authorities)
    assert version(folder) == 2
    pin(folder, [longer], seals(authority), authority.authorities)
    assert version(folder) == 3
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    pin(folder, [longer], both, authority.authorities)
    assert open_agreement(path.read_bytes(), authority.authorities, datetime.now(UTC)).version == 1
    _shorten(path, both)
    pin(folder, [longer], both, authority.authorities)
    found = open_agreement(path.read_bytes(), authority.authorities, datetime.now(UTC))
    assert found.valid_until - datetime.now(UTC) > timedelta(days=300)


def _shorten(path: Path, both: dict[MemberId, Seal]) -> None:
    """Let the agreement end next month."""
    agreement, _ = read_agreement(path.read_bytes())
    near = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    sealed = format_agreement(replace(agreement, valid_until=near))
    for seal in both.values():
        sealed = seal_agreement(sealed, seal.key, seal.certificate)
    path.write_bytes(sealed)


def test_a_large_contract_is_granted_whole(authority: DevelopmentAuthority, tmp_path: Path) -> None:
    """More operations than one grant holds come in several."""
    many = tuple(("GET", f"/things/{number}") for number in range(MAX_ENDPOINTS + 1))
    pin(tmp_path / "a", [replace(RIGHT, endpoints=many)], seals(authority), authority.authorities)
    ((_, data),) = files(tmp_path / "a").items()
    grants = open_agreement(data, authority.authorities, datetime.now(UTC)).grants
    assert sum(len(grant.endpoints) for grant in grants) == len(many)


def test_no_two_rights_share_a_file() -> None:
    """Ids differ however codes are cut and cased; they are names that agreements may have."""
    consumers = ("LA/GOV/MOF/budget", "LA/GOV/MOF/Budget", "LA/GOV/MO/F-budget", "LA/GOV/(/)")
    services = ("LA/GOV/MPI/a/b", "LA/GOV/MPI/a/B", "LA/GOV/(/,/=")
    rights = {
        Right(ApplicationId.parse(one), ServiceId.parse(other), ()).id
        for one in consumers
        for other in services
    }
    assert len(rights) == len(consumers) * len(services)
    assert all(0 < len(one) <= 63 and one.strip("-") == one for one in rights)


def test_certificates_are_renewed_in_time(authority: DevelopmentAuthority, tmp_path: Path) -> None:
    """What lasts stays; what ends soon, names another domain or lost its key is issued anew."""
    hosted = Hosted(MPI, tmp_path / "member")
    member = Member("Planning", "GOV", "MPI", (Application("oda", Connection.MTLS),))
    around = Surroundings(tmp_path, "LA", "one.example", "127.0.0.1", "http://r", tmp_path / "root")

    def certificates() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(hosted.folder.glob("*/*.pem"))}

    hosted.issue(member, around, authority)
    first = certificates()
    assert first.keys() == {"seal.pem", "auth.pem", "oda.pem"}
    hosted.issue(member, around, authority)
    assert certificates() == first
    hosted.issue(member, replace(around, domain="two.example"), authority)
    second = certificates()
    assert {name for name in first if first[name] != second[name]} == {"auth.pem"}
    soon = authority.issue_seal(MPI, at=datetime.now(UTC), days=RENEW.days - 1)
    soon.write(hosted.server / "seal.pem", hosted.server / "seal.key")
    (hosted.folder / "applications/oda.key").unlink()
    before = certificates()
    hosted.issue(member, replace(around, domain="two.example"), authority)
    third = certificates()
    assert {name for name in before if before[name] != third[name]} == {"seal.pem", "oda.pem"}
