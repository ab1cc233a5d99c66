"""Rules of `saphan certs`."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec

from certs.authority import DevelopmentAuthority
from certs.issue import parse_private_key, private_key_pem
from console.cli.certs import certs
from console.cli.main import main
from console.reference_world.processes import free_ports
from exchange.certificates.names import member_of
from exchange.certificates.reading import fingerprint_of, parse_certificates
from tests.certs.pki import AT, MPI, SS1, days, development_authority, openssl, write_pem


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["certs", *map(str, arguments)])


def run_json(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    assert run("create", tmp_path / "pki").exit_code == 0
    return tmp_path / "pki"


@pytest.fixture
def sealed(pki: Path) -> Path:
    """The certificate file of a member's seal, issued by the command."""
    issued = run_json("issue", "seal", "LA/GOV/MPI", "--pki", pki, "-o", pki.parent / "mpi")
    return Path(issued["certificate_file"])


def test_create_makes_everything_that_an_instance_starts_with(tmp_path: Path) -> None:
    """Root, issuing authority, time-stamp and OCSP certificates, with the next step."""
    result = run("create", tmp_path / "pki", "--instance", "LA-TEST")
    assert result.exit_code == 0
    assert "DEVELOPMENT PKI" in result.output
    assert "Next: saphan certs issue seal LA-TEST/GOV/MPI" in result.output
    for name in ("authorities.pem", "tsa/tsa.pem", "tsa/tsa.key.pem", "ocsp/ocsp.pem"):
        assert (tmp_path / "pki" / name).is_file()
    assert DevelopmentAuthority.open(tmp_path / "pki").instance == "LA-TEST"


def test_create_refuses_production_and_existing_folders(pki: Path) -> None:
    """Both refusals exit 1 and end with the next step."""
    for arguments in ((pki,), (pki.parent / "new", "--environment", "production")):
        result = run("create", *arguments)
        assert result.exit_code == 1
        assert "Next:" in result.stderr
    assert not (pki.parent / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "profile", "owner"),
    [
        (("auth", "LA/GOV/MPI/ss1", "--name", "127.0.0.1"), "auth", "LA/GOV/MPI/ss1"),
        (("seal", "LA/GOV/MPI", "--algorithm", "ed25519"), "seal", "LA/GOV/MPI"),
        (("client", "LA/GOV/MOF/budget", "--days", "3"), "client", "LA/GOV/MOF/budget"),
        (("tsa",), "tsa", None),
        (("ocsp",), "ocsp", None),
    ],
)
def test_issue_writes_key_and_certificate(
    pki: Path, arguments: tuple[str, ...], profile: str, owner: str | None
) -> None:
    """Each profile: a chain that openssl verifies, a key of mode 0600, what goes where."""
    issued = run_json("issue", *arguments, "--pki", pki, "-o", pki.parent / "out")
    assert (issued["profile"], issued["owner"], issued["development"]) == (profile, owner, True)
    assert issued["next"]
    certificate, key = Path(issued["certificate_file"]), Path(issued["key_file"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    leaf, issuing = parse_certificates(certificate.read_bytes())
    assert parse_private_key(key.read_bytes(), "key").public_key() == leaf.public_key()
    assert fingerprint_of(leaf) == issued["fingerprint"]
    write_pem(pki / "issuing-only.pem", issuing)
    verified = openssl(
        *("verify", "-CAfile", pki / "root" / "root.pem"),
        *("-untrusted", pki / "issuing-only.pem", certificate),
    )
    assert verified.returncode == 0, verified.stderr


def test_issue_takes_a_request(pki: Path, tmp_path: Path) -> None:
    """With --csr no key is made; the request's names are not taken."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "own.key.pem").write_bytes(private_key_pem(key))
    made = openssl("req", "-new", "-key", tmp_path / "own.key.pem", "-subj", "/CN=LA.GOV.MOF")
    (tmp_path / "own.csr").write_bytes(made.stdout)
    issued = run_json(
        *("issue", "seal", "LA/GOV/MPI", "--csr", tmp_path / "own.csr", "--pki", pki),
        *("-o", tmp_path / "out"),
    )
    assert issued["key_file"] is None
    leaf = parse_certificates(Path(issued["certificate_file"]).read_bytes())[0]
    assert leaf.public_key() == key.public_key()
    assert member_of(leaf) == MPI
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seal-LA.GOV.MPI.pem"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("auth", "LA/GOV/MPI/ss1"),
        ("auth", "--name", "localhost"),
        ("seal",),
        ("seal", "LA/GOV/MPI", "--name", "localhost"),
        ("tsa", "LA/GOV/MPI"),
        ("root", "LA"),
        ("seal", "LA/GOV/MPI", "--days", "0"),
    ],
)
def test_issue_explains_wrong_usage(pki: Path, arguments: tuple[str, ...]) -> None:
    """Wrong usage exits 2, without a traceback and without files."""
    result = run("issue", *arguments, "--pki", pki, "-o", pki.parent / "out")
    assert result.exit_code == 2
    assert not (pki.parent / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("seal", "LA/GOV"), "InvalidIdentifier"),
        (("seal", "TH/GOV/MOF"), "InvalidIdentifier"),
        (("auth", "LA/GOV/MPI/ss1", "--name", "a b"), "InvalidSettings"),
        (("seal", "LA/GOV/MPI", "--csr", "none.csr"), "NotFound"),
    ],
)
def test_issue_explains_problems(pki: Path, arguments: tuple[str, ...], code: str) -> None:
    """A problem exits 1; with --json standard error is its document."""
    result = run("issue", *arguments, "--pki", pki, "-o", pki.parent / "out")
    assert result.exit_code == 1
    assert code in result.stderr
    assert "Next:" in result.stderr
    assert not (pki.parent / "out").exists()


def test_a_folder_without_authority_points_to_create(tmp_path: Path) -> None:
    """A mistyped --pki is told as that, with the command that makes one."""
    result = run("issue", "seal", "LA/GOV/MPI", "--pki", tmp_path / "pk", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "saphan certs create" in result.stderr


def test_issue_never_overwrites(pki: Path, sealed: Path) -> None:
    """A second issue into the same folder is refused and points to renew."""
    before = sealed.read_bytes()
    result = run("issue", "seal", "LA/GOV/MPI", "--pki", pki, "-o", sealed.parent)
    assert result.exit_code == 1
    assert "saphan certs renew" in result.stderr
    assert sealed.read_bytes() == before


def test_show_tells_a_file_and_a_folder(pki: Path, sealed: Path) -> None:
    """Names, days left, fingerprint, profile and the DEV mark; each certificate once."""
    result = run("show", sealed)
    assert result.exit_code == 0
    for expected in ("[DEV]", "seal of a member", "LA/GOV/MPI", "XR:LA-LA/GOV/MPI", "364 day(s)"):
        assert expected in result.output
    shown = run_json("show", pki.parent)
    assert sorted(each["profile"] for each in shown) == [
        *("issuing", "ocsp", "root", "seal", "tsa")
    ]
    assert all(each["state"] == "valid" and each["development"] for each in shown)


def test_show_marks_what_has_ended(tmp_path: Path) -> None:
    """An expired certificate is shown as such, with the command that renews."""
    past = development_authority("past of commands", AT - days(365))
    write_pem(tmp_path / "old.pem", past.issue_auth(SS1, ["a.la"], at=AT - days(365)).certificate)
    result = run("show", tmp_path)
    assert "EXPIRED" in result.output
    assert "saphan certs renew" in result.output
    assert run_json("show", tmp_path / "old.pem")[0]["state"] == "expired"


def test_show_explains_a_folder_without_certificates(tmp_path: Path) -> None:
    """Nothing to show is a problem, not an empty success; a broken file is named."""
    assert run("show", tmp_path).exit_code == 1
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n")
    result = run("show", tmp_path)
    assert result.exit_code == 1
    assert "broken.pem" in result.stderr


def test_renew_keeps_the_old_files_for_overlap(pki: Path, sealed: Path) -> None:
    """A successor with a new key appears beside the old certificate, which is not touched."""
    before = sealed.read_bytes()
    renewed = run_json("renew", sealed, "--pki", pki)
    successor = Path(renewed["certificate_file"])
    assert successor.parent == sealed.parent
    assert sealed.read_bytes() == before
    old, new = (parse_certificates(path.read_bytes())[0] for path in (sealed, successor))
    assert member_of(new) == member_of(old)
    assert new.public_key() != old.public_key()
    assert any(str(sealed) in step and "keep" in step for step in renewed["next"])
    again = run_json("renew", successor, "--pki", pki)
    assert Path(again["certificate_file"]) not in {sealed, successor}


def test_renew_over_the_same_key(pki: Path, sealed: Path) -> None:
    """With --same-key the key stays, also for the successor of a successor."""
    key = parse_certificates(sealed.read_bytes())[0].public_key()
    certificate = sealed
    for _ in range(2):
        renewed = run_json("renew", certificate, "--pki", pki, "--same-key")
        assert renewed["key_file"] is None
        certificate = Path(renewed["certificate_file"])
        assert parse_certificates(certificate.read_bytes())[0].public_key() == key
    (sealed.parent / "seal-LA.GOV.MPI.key.pem").unlink()
    result = run("renew", sealed, "--pki", pki, "--same-key")
    assert result.exit_code == 1
    assert "--csr" in result.stderr


def test_renew_refuses_the_certificate_of_another_authority(pki: Path, tmp_path: Path) -> None:
    """Only the authority that issued a certificate renews it."""
    foreign = development_authority("foreign").issue_seal(MPI, at=AT).certificate
    file = write_pem(tmp_path / "foreign.pem", foreign)
    result = run("renew", file, "--pki", pki)
    assert result.exit_code == 1
    assert "Conflict" in result.stderr


@pytest.mark.parametrize("command", list(certs.commands))
def test_every_command_has_help(command: str) -> None:
    """Each command and each of its options says what it is for."""
    result = run(command, "--help")
    assert result.exit_code == 0
    for parameter in certs.commands[command].params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), parameter.name


def test_a_revoked_certificate_is_in_the_list(pki: Path, sealed: Path, tmp_path: Path) -> None:
    """`saphan certs revoke` and `crl`: `openssl verify -crl_check` refuses it, and not another."""
    other = run_json("issue", "seal", "LA/GOV/MOF", "--pki", pki, "-o", tmp_path / "mof")
    made = run_json("revoke", sealed, "--pki", pki, "--reason", "keyCompromise")
    assert made["reason"] == "keyCompromise"
    assert run("revoke", sealed, "--pki", pki, "--reason", "superseded").exit_code == 1
    der, pem = tmp_path / "list.crl", tmp_path / "list.pem"
    assert run("crl", "--pki", pki, "-o", der).exit_code == 0
    assert openssl("crl", "-inform", "DER", "-in", der, "-out", pem).returncode == 0
    for file, good in ((sealed, False), (Path(other["certificate_file"]), True)):
        verified = openssl(
            *("verify", "-crl_check", "-CRLfile", pem, "-CAfile", pki / "root" / "root.pem"),
            *("-untrusted", pki / "issuing" / "issuing.pem", file),
        )
        assert (verified.returncode == 0) is good, verified.stderr


def test_the_services_of_an_authority_are_served(tmp_path: Path) -> None:
    """`saphan certs serve`: `openssl ocsp` asks the address that the certificate names."""
    (port,) = free_ports(1)
    pki, url = tmp_path / "pki", f"http://127.0.0.1:{port}"
    assert run("create", pki, "--services-url", url).exit_code == 0
    issued = run_json("issue", "seal", "LA/GOV/MPI", "--pki", pki, "-o", tmp_path / "mpi")
    seal_file = Path(issued["certificate_file"])
    named = openssl("x509", "-in", seal_file, "-noout", "-ocsp_uri").stdout.decode().strip()
    assert named == f"{url}/ocsp"
    command = [sys.executable, "-m", "console.cli.main", "certs", "serve", "--pki", str(pki)]
    with subprocess.Popen(
        [*command, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert url in process.stdout.readline()
            issuing = pki / "issuing" / "issuing.pem"
            asked = openssl(
                *("ocsp", "-issuer", issuing, "-cert", seal_file, "-url", named),
                *("-CAfile", pki / "root" / "root.pem", "-verify_other", issuing),
            )
            assert b"Response verify OK" in asked.stderr, asked.stderr
            assert b": good" in asked.stdout
        finally:
            process.terminate()
        assert process.wait(20) == 0
