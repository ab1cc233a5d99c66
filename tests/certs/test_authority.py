"""Rules of certs.authority, certs.issue, certs.profiles and certs.files."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import DevelopmentAuthority, create_development_pki
from certs.files import read_file, write_file
from certs.issue import (
    Issued,
    address_names,
    new_private_key,
    parse_private_key,
    private_key_pem,
    requested_key,
)
from certs.profiles import BACKDATE_S, PROFILES, Profile, profile_of
from exchange.certificates.judging import judge_auth, judge_seal
from exchange.identifiers import MemberId, ServerId
from exchange.keys import Algorithm, algorithm_of
from exchange.problems import Code
from tests.certs.pki import (
    AT,
    BUDGET,
    MPI,
    SS1,
    days,
    development_authority,
    key,
    openssl,
    refusal,
    weak_rsa_key,
)

OURS = development_authority()


# ------------------------------------------------------------------------------------- the folder


def test_a_pki_is_a_folder(tmp_path: Path) -> None:
    """Root and issuing authority lie apart, keys readable by their owner alone."""
    authority = create_development_pki(tmp_path / "pki", "LA", at=AT)
    files = {str(p.relative_to(tmp_path / "pki")) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {
        "authority.json",
        "authorities.pem",
        "root/root.pem",
        "root/root.key.pem",
        "issuing/issuing.pem",
        "issuing/issuing.key.pem",
    }
    for key_file in tmp_path.rglob("*.key.pem"):
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    again = DevelopmentAuthority.open(tmp_path / "pki")
    assert (again.instance, again.authorities) == ("LA", authority.authorities)
    assert (tmp_path / "pki" / "authorities.pem").read_bytes() == authority.authorities_pem


def test_the_authorities_have_their_kind_and_length() -> None:
    """Root P-384, ten years, path length 1; issuing P-256, two years, path length 0."""
    root, issuing = OURS.authorities
    for certificate, curve, years, length in (
        (root, "secp384r1", 10, 1),
        (issuing, "secp256r1", 2, 0),
    ):
        public = certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert public.curve.name == curve
        span = certificate.not_valid_after_utc - AT
        assert abs(span - days(365.25 * years)) < days(2)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=length)


def test_issuing_does_not_need_the_root_key(tmp_path: Path) -> None:
    """The root key can be taken away after creation."""
    create_development_pki(tmp_path, "LA", at=AT)
    (tmp_path / "root" / "root.key.pem").unlink()
    authority = DevelopmentAuthority.open(tmp_path)
    issued = authority.issue_seal(MPI, at=AT)
    assert judge_seal(issued.certificate, authority.authorities, AT) == MPI


def test_production_gets_no_development_pki(tmp_path: Path) -> None:
    """For an instance that says production nothing is created."""
    problem = refusal(
        lambda: create_development_pki(tmp_path / "pki", "LA", at=AT, environment="production")
    )
    assert problem.code is Code.DEVELOPMENT_ONLY
    assert not (tmp_path / "pki").exists()


def test_an_authority_is_never_overwritten(tmp_path: Path) -> None:
    """A folder that holds an authority keeps it."""
    first = create_development_pki(tmp_path, "LA", at=AT)
    assert refusal(lambda: create_development_pki(tmp_path, "LA", at=AT)).code is Code.CONFLICT
    assert DevelopmentAuthority.open(tmp_path).authorities == first.authorities


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("authority.json", None, Code.NOT_FOUND),
        ("authority.json", b"{", Code.INVALID_DOCUMENT),
        ("authority.json", b"[]", Code.INVALID_DOCUMENT),
        ("authority.json", b'{"instance": "a/b"}', Code.INVALID_IDENTIFIER),
        ("authorities.pem", b"", Code.INVALID_DOCUMENT),
        ("authorities.pem", OURS.authorities_pem, Code.INVALID_DOCUMENT),
        ("issuing/issuing.key.pem", None, Code.NOT_FOUND),
        ("issuing/issuing.key.pem", b"x", Code.INVALID_DOCUMENT),
    ],
)
def test_a_damaged_folder_is_refused(
    tmp_path: Path, file: str, content: bytes | None, code: Code
) -> None:
    """A missing or foreign part of the folder is named."""
    create_development_pki(tmp_path, "LA", at=AT)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    problem = refusal(lambda: DevelopmentAuthority.open(tmp_path))
    assert problem.code is code
    assert str(tmp_path) in problem.where


# ---------------------------------------------------------------------------------------- issuing


def issue(profile: Profile) -> Issued:
    match profile:
        case Profile.AUTH:
            return OURS.issue_auth(SS1, ["localhost", "127.0.0.1"], at=AT)
        case Profile.SEAL:
            return OURS.issue_seal(MPI, at=AT)
        case Profile.CLIENT:
            return OURS.issue_client(BUDGET, at=AT)
        case Profile.TSA:
            return OURS.issue_tsa(at=AT)
        case _:
            return OURS.issue_ocsp(at=AT)


LEAVES = [profile for profile, shape in PROFILES.items() if not shape.is_authority]


@pytest.mark.parametrize("profile", LEAVES)
def test_a_certificate_has_its_profile_and_length(profile: Profile) -> None:
    """Each profile is recognised, begins a little before its issue, and has its own length."""
    issued = issue(profile)
    assert profile_of(issued.certificate) is profile
    assert (AT - issued.certificate.not_valid_before_utc).total_seconds() == BACKDATE_S
    assert issued.certificate.not_valid_after_utc == AT + days(PROFILES[profile].days)
    assert issued.private_key is not None
    assert issued.private_key.public_key() == issued.certificate.public_key()
    assert issued.chain_pem == issued.certificate.public_bytes(
        Encoding.PEM
    ) + OURS.issuer.certificate.public_bytes(Encoding.PEM)


@pytest.mark.parametrize("profile", LEAVES)
def test_a_certificate_is_reissued_with_its_names(profile: Profile) -> None:
    """Renewal keeps profile and names, with a new key, serial number and validity."""
    old = issue(profile)
    new = OURS.reissue(old.certificate, at=AT + days(400))
    assert profile_of(new.certificate) is profile
    assert new.certificate.subject == old.certificate.subject
    assert new.certificate.public_key() != old.certificate.public_key()
    assert new.certificate.serial_number != old.certificate.serial_number
    assert names(new.certificate) == names(old.certificate)
    assert new.certificate.not_valid_after_utc > AT + days(400)


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


@pytest.mark.parametrize("name", ["foreign", "an authority"])
def test_what_was_not_issued_here_is_not_reissued(name: str) -> None:
    """An authority renews its own end-entity certificates only."""
    foreign = development_authority("foreign").issue_seal(MPI, at=AT).certificate
    certificate = foreign if name == "foreign" else OURS.issuer.certificate
    assert refusal(lambda: OURS.reissue(certificate, at=AT)).code is Code.CONFLICT


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_seal_key_is_of_the_algorithm_asked_for(algorithm: Algorithm) -> None:
    """The three algorithms of the signature profile, by their names there."""
    assert algorithm_of(key(algorithm).public_key()) is algorithm
    assert refusal(lambda: new_private_key("rsa-1024")).code is Code.INVALID_SETTINGS


def test_validity_never_exceeds_the_authority() -> None:
    """A certificate ends with its authority at the latest, and cannot begin after that."""
    late = OURS.issue_seal(MPI, at=AT + days(700))
    assert late.certificate.not_valid_after_utc == OURS.issuer.certificate.not_valid_after_utc
    assert refusal(lambda: OURS.issue_seal(MPI, at=AT + days(731))).code is Code.CONFLICT
    assert refusal(lambda: OURS.issue_seal(MPI, at=AT - days(1))).code is Code.CONFLICT
    assert refusal(lambda: OURS.issue_seal(MPI, at=AT, days=0)).code is Code.INVALID_SETTINGS


def test_another_instance_gets_nothing() -> None:
    """An authority issues for its own instance only."""
    problem = refusal(lambda: OURS.issue_seal(MemberId("TH", "GOV", "MOF"), at=AT))
    assert problem.code is Code.INVALID_IDENTIFIER


@pytest.mark.parametrize(
    "name", ["", "a b", "a..b", "-", "*.la/x", "ສະພານ", "a" * 64, "1.2.3.4.5.b_"]
)
def test_a_server_name_is_a_dns_name_or_an_address(name: str) -> None:
    """Anything else is refused."""
    assert refusal(lambda: address_names([name])).code is Code.INVALID_SETTINGS


def test_a_server_needs_a_name() -> None:
    """Peers dial a name, so a server's certificate has one."""
    assert refusal(lambda: OURS.issue_auth(SS1, [], at=AT)).code is Code.INVALID_SETTINGS


def test_a_long_identifier_does_not_break_the_subject() -> None:
    """The common name is cut at 64 characters; the URI is whole."""
    server = ServerId("LA", "GOV", "M" * 200, "s" * 200)
    certificate = OURS.issue_auth(server, ["a.la"], at=AT).certificate
    assert judge_auth(certificate, OURS.authorities, AT) == server


# ----------------------------------------------------------------------------------- requests, keys


def request_pem(private_key: object, subject: str = "LA/GOV/MOF") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    )
    return builder.sign(private_key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def test_only_the_key_is_taken_from_a_request() -> None:
    """The certificate has the requester's key and the names that the authority was told."""
    own = ec.generate_private_key(ec.SECP256R1())
    public = requested_key(request_pem(own, "LA/GOV/MOF"), "request")
    issued = OURS.issue_seal(MPI, at=AT, public_key=public)
    assert issued.private_key is None
    assert issued.certificate.public_key() == own.public_key()
    assert judge_seal(issued.certificate, OURS.authorities, AT) == MPI
    with pytest.raises(ValueError, match="with the requester"):
        issued.write(Path("never"), Path("never.key"))


def test_a_request_of_openssl_is_read(tmp_path: Path) -> None:
    """`openssl req -new` makes what we accept."""
    (tmp_path / "key.pem").write_bytes(private_key_pem(key("ecdsa-p256-sha256")))
    made = openssl("req", "-new", "-key", tmp_path / "key.pem", "-subj", "/CN=x")
    assert requested_key(made.stdout, "request") == key("ecdsa-p256-sha256").public_key()


def test_bad_requests_are_refused() -> None:
    """No request, a request not signed with its key, and a weak key are INVALID_DOCUMENT."""
    good = request_pem(key("ecdsa-p256-sha256"))
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(Encoding.DER))
    at = der.index(b"LA/GOV/MOF")
    der[at] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    p521 = request_pem(ec.generate_private_key(ec.SECP521R1()))
    for bad in (b"", b"x", forged, request_pem(weak_rsa_key()), p521):
        assert refusal(lambda bad=bad: requested_key(bad, "csr")).code is Code.INVALID_DOCUMENT


def test_a_private_key_comes_back_from_its_file() -> None:
    """PKCS #8 in PEM for each kind of key; anything else is INVALID_DOCUMENT."""
    for algorithm in Algorithm:
        pem = private_key_pem(key(algorithm))
        assert parse_private_key(pem, "key").public_key() == key(algorithm).public_key()
    assert refusal(lambda: parse_private_key(b"x", "key")).code is Code.INVALID_DOCUMENT


# ------------------------------------------------------------------------------------------- files


def test_files_are_written_whole_with_their_mode(tmp_path: Path) -> None:
    """Key 0600, certificate 0644, no temporary file left, an old file replaced."""
    issued = OURS.issue_seal(MPI, at=AT)
    for _ in range(2):
        issued.write(tmp_path / "a" / "seal.pem", tmp_path / "a" / "seal.key.pem")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["seal.key.pem", "seal.pem"]
    assert stat.S_IMODE((tmp_path / "a" / "seal.key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a" / "seal.pem").stat().st_mode) == 0o644
    assert (tmp_path / "a" / "seal.pem").read_bytes() == issued.chain_pem


def test_files_that_cannot_be_written_or_read_are_problems(tmp_path: Path) -> None:
    """The system's refusal is told with the path."""
    (tmp_path / "file").write_bytes(b"12345")
    blocked = tmp_path / "file" / "below"
    assert refusal(lambda: write_file(blocked, b"", mode=0o600)).where == str(blocked)
    assert refusal(lambda: read_file(tmp_path / "none")).code is Code.NOT_FOUND
    assert refusal(lambda: read_file(tmp_path)).code is Code.INVALID_DOCUMENT
    assert refusal(lambda: read_file(tmp_path / "file", limit=4)).code is Code.INVALID_DOCUMENT


# --------------------------------------------------------------------------------------------- TLS


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Shake hands through memory; returns the server's side. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    pending = list(sides)
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(side)
    assert not pending
    return sides[1]


def context(
    protocol: int, tmp_path: Path, authority: DevelopmentAuthority, issued: Issued
) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_verify_locations(cadata=authority.root.public_bytes(Encoding.PEM).decode())
    files = tmp_path / f"{issued.fingerprint}.pem", tmp_path / f"{issued.fingerprint}.key.pem"
    issued.write(*files)
    made.load_cert_chain(*files)
    return made


NOW = datetime.now(UTC)
TODAY = development_authority("today", NOW)


def test_servers_shake_hands_over_mutual_tls(tmp_path: Path) -> None:
    """Two auth certificates, each with its chain, are enough where only the root is trusted."""
    one = TODAY.issue_auth(SS1, ["ss1.la", "127.0.0.1"], at=NOW)
    two = TODAY.issue_auth(ServerId("LA", "GOV", "MOF", "ss1"), ["ss2.la"], at=NOW)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, TODAY, two)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, TODAY, one)
    for name in ("ss1.la", "127.0.0.1"):
        side = handshake(client, server, name)
        assert side.version() == "TLSv1.3"
        assert side.getpeercert(binary_form=True) == two.certificate.public_bytes(Encoding.DER)
    with pytest.raises(ssl.SSLCertVerificationError, match="match"):
        handshake(client, server, "other.la")


@pytest.mark.parametrize("name", ["expired", "foreign", "seal", "client as server"])
def test_tls_refuses_other_certificates(tmp_path: Path, name: str) -> None:
    """Expired, foreign, seal and client certificates make no TLS server."""
    past = development_authority("past", NOW - days(100))
    authority, wrong = {
        "expired": (past, past.issue_auth(SS1, ["ss1.la"], at=NOW - days(50))),
        "foreign": (TODAY, past.issue_auth(SS1, ["ss1.la"], at=NOW)),
        "seal": (TODAY, TODAY.issue_seal(MPI, at=NOW)),
        "client as server": (TODAY, TODAY.issue_client(BUDGET, at=NOW)),
    }[name]
    good = TODAY.issue_auth(SS1, ["ss1.la"], at=NOW)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, authority, good)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, authority, wrong)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "ss1.la")
