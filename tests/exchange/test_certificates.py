"""Rules of exchange.certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.issue import Issuer, development_name, sign_certificate
from certs.profiles import PROFILES, Profile
from exchange.certificates.judging import judge_auth, judge_seal, judge_tsa
from exchange.certificates.names import (
    addresses_of,
    application_of,
    member_of,
    organization_identifier,
    server_of,
)
from exchange.certificates.reading import (
    fingerprint,
    fingerprint_of,
    is_development,
    parse_certificate,
    parse_certificates,
    refuse_development,
)
from exchange.identifiers import ApplicationId, MemberId, ServerId
from exchange.problems import Code
from tests.certs.pki import (
    AT,
    BUDGET,
    MOF,
    MPI,
    SS1,
    days,
    development_authority,
    issuer_of,
    key,
    openssl,
    p384_key,
    reasons,
    recrafted,
    refusal,
    seal,
    unix,
    weak_rsa_key,
    write_pem,
)

OURS = development_authority()
TRUSTED = OURS.authorities
SEAL = seal().certificate
AUTH = OURS.issue_auth(SS1, ["ss1.mpi.gov.la", "10.0.0.1", "::1"], at=AT).certificate
CLIENT = OURS.issue_client(BUDGET, at=AT).certificate
TSA = OURS.issue_tsa(at=AT).certificate
OCSP = OURS.issue_ocsp(at=AT).certificate

OWN_KEY = key("ecdsa-p256-sha256").public_key()
CODES = st.text("ABCabz019'()+,-.=?", min_size=1, max_size=12).filter(
    lambda c: c not in {".", ".."}
)


def uris(*texts: str) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(t) for t in texts]), False


def usage(**changes: bool) -> tuple[x509.ExtensionType, bool]:
    flags = {
        "digital_signature": True,
        "content_commitment": True,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": False,
        "crl_sign": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    return x509.KeyUsage(**(flags | changes)), True


def purposes(
    *oids: x509.ObjectIdentifier, critical: bool = False
) -> tuple[x509.ExtensionType, bool]:
    return x509.ExtendedKeyUsage(oids), critical


# ------------------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize("algorithm", ["ecdsa-p256-sha256", "ed25519", "rsa-pss-sha512"])
def test_a_seal_certificate_names_its_member(algorithm: str) -> None:
    """A seal certificate of each algorithm is judged to be its member's."""
    certificate = OURS.issue_seal(MPI, at=AT, public_key=key(algorithm).public_key()).certificate
    assert judge_seal(certificate, TRUSTED, AT) == MPI


def test_an_auth_certificate_names_its_server_and_addresses() -> None:
    """An auth certificate is judged to be its server's; its addresses can be read."""
    assert judge_auth(AUTH, TRUSTED, AT) == SS1
    assert addresses_of(AUTH) == ("ss1.mpi.gov.la", "10.0.0.1", "::1")


def test_a_client_certificate_names_its_application() -> None:
    """A client certificate names its application; a seal certificate names none."""
    assert application_of(CLIENT) == BUDGET
    problem = refusal(lambda: application_of(SEAL))
    assert problem.code is Code.CLIENT_CERTIFICATE_REJECTED


def test_a_time_stamp_certificate_is_accepted() -> None:
    """A certificate with timeStamping as its sole and critical purpose may stamp time."""
    judge_tsa(TSA, TRUSTED, AT)


@settings(max_examples=25, deadline=None)
@given(st.lists(CODES, min_size=3, max_size=3))
def test_every_identifier_comes_back_from_its_certificate(codes: list[str]) -> None:
    """Any X-Road code survives the way into a certificate and back."""
    instance, member_class, code = codes
    authority = OURS.issuer
    member = MemberId(instance, member_class, code)
    subject = development_name("x", organization_identifier(member))
    parts = str(member).split("/")
    urn = x509.UniformResourceIdentifier(f"urn:{parts[0]}:member:{parts[1]}:{parts[2]}")
    certificate = sign_certificate(
        Profile.SEAL, subject, OWN_KEY, authority, at=AT, days=1, names=[urn]
    )
    assert member_of(certificate) == member


def test_the_order_of_authorities_does_not_matter() -> None:
    """Root and issuing authority may be listed in any order, beside foreign ones."""
    others = development_authority("other").authorities
    assert judge_seal(SEAL, [*others, *reversed(TRUSTED)], AT) == MPI


def test_an_issuing_authority_alone_can_be_the_anchor() -> None:
    """A listed authority that no other listed authority issued is trusted by itself."""
    assert judge_seal(SEAL, [OURS.issuer.certificate], AT) == MPI


def test_validity_includes_its_last_second() -> None:
    """RFC 5280 section 4.1.2.5: validity runs through notAfter."""
    end = SEAL.not_valid_after_utc
    assert judge_seal(SEAL, TRUSTED, end) == MPI
    assert (
        refusal(lambda: judge_seal(SEAL, TRUSTED, end + days(1))).code is Code.CERTIFICATE_EXPIRED
    )


def test_a_naive_time_is_a_programming_error() -> None:
    """The time must be aware; a naive one is the caller's bug, not a problem of the peer."""
    with pytest.raises(ValueError, match="aware"):
        judge_seal(SEAL, TRUSTED, AT.replace(tzinfo=None))


def test_the_fingerprint_is_that_of_openssl(tmp_path: Path) -> None:
    """The key id is the lower-case SHA-256 that openssl prints."""
    file = write_pem(tmp_path / "seal.pem", SEAL)
    printed = openssl("x509", "-in", file, "-noout", "-fingerprint", "-sha256").stdout.decode()
    expected = printed.strip().split("=")[1].replace(":", "").lower()
    assert fingerprint(SEAL.public_bytes(Encoding.DER)) == fingerprint_of(SEAL) == expected


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("at", "reason"), [(AT - days(1), "not-yet-valid"), (AT + days(366), "expired")]
)
def test_a_certificate_outside_its_validity_is_refused(at: object, reason: str) -> None:
    """Before and after its validity a seal is CERTIFICATE_EXPIRED, with the reason."""
    problem = refusal(lambda: judge_seal(SEAL, TRUSTED, at))  # type: ignore[arg-type]
    assert problem.code is Code.CERTIFICATE_EXPIRED
    assert reasons(problem) == {reason}


def test_a_server_outside_its_validity_is_refused() -> None:
    """A server's certificate has codes of its own."""
    problem = refusal(lambda: judge_auth(AUTH, TRUSTED, AT + days(8)))
    assert problem.code is Code.PEER_CERTIFICATE_EXPIRED
    assert reasons(problem) == {"expired"}


def test_a_foreign_authority_is_refused() -> None:
    """An authority with our authority's very names, but other keys, is foreign."""
    foreign = development_authority("foreign").issue_seal(MPI, at=AT).certificate
    problem = refusal(lambda: judge_seal(foreign, TRUSTED, AT))
    assert problem.code is Code.CERTIFICATE_UNTRUSTED
    assert reasons(problem) == {"untrusted-chain"}


def test_an_empty_list_of_authorities_trusts_nothing() -> None:
    """Without a listed authority nothing is trusted."""
    assert reasons(refusal(lambda: judge_auth(AUTH, [], AT))) == {"untrusted-chain"}


def test_every_mismatch_is_listed() -> None:
    """A foreign and expired server certificate used as a seal has all its faults told."""
    foreign = development_authority("foreign").issue_auth(SS1, ["a.la"], at=AT).certificate
    problem = refusal(lambda: judge_seal(foreign, TRUSTED, AT + days(30)))
    assert problem.code is Code.CERTIFICATE_UNTRUSTED
    assert reasons(problem) == {
        "expired",
        "untrusted-chain",
        "key-usage",
        "extended-key-usage",
        "name-malformed",
        "name-missing",
    }


def test_an_authority_that_ended_before_its_certificate_is_told() -> None:
    """When only the issuing authority has lapsed, the certificate is expired, not foreign."""
    long_lived = recrafted(SEAL, end=AT + days(3000))
    problem = refusal(lambda: judge_seal(long_lived, TRUSTED, AT + days(800)))
    assert problem.code is Code.CERTIFICATE_EXPIRED
    assert reasons(problem) == {"authority-not-valid"}


def test_a_root_that_ended_is_told() -> None:
    """An anchor is held to its validity like any other authority."""
    root, root_key = TRUSTED[0], ec.generate_private_key(ec.SECP384R1())
    short_root = sign_certificate(
        Profile.ROOT, root.subject, root_key.public_key(), root_key, at=AT, days=10
    )
    issuing = recrafted(OURS.issuer.certificate, Issuer(short_root, root_key))
    leaf = recrafted(SEAL, Issuer(issuing, OURS.issuer.private_key))
    assert judge_seal(leaf, [short_root, issuing], AT) == MPI
    problem = refusal(lambda: judge_seal(leaf, [short_root, issuing], AT + days(20)))
    assert reasons(problem) <= {"authority-not-valid", "untrusted-chain"}
    assert "authority-not-valid" in reasons(problem)


WRONG_SEALS = {
    "a server's certificate": (
        AUTH,
        {"key-usage", "extended-key-usage", "name-malformed", "name-missing"},
    ),
    "a client's certificate": (
        CLIENT,
        {"key-usage", "extended-key-usage", "name-malformed", "name-missing"},
    ),
    "a time-stamp certificate": (TSA, {"key-usage", "extended-key-usage", "name-missing"}),
    "the issuing authority": (
        OURS.issuer.certificate,
        {"is-authority", "key-usage", "name-missing"},
    ),
    "no nonRepudiation": (
        recrafted(SEAL, extensions=[usage(content_commitment=False)]),
        {"key-usage"},
    ),
    "no digitalSignature": (
        recrafted(SEAL, extensions=[usage(digital_signature=False)]),
        {"key-usage"},
    ),
    "keyCertSign": (recrafted(SEAL, extensions=[usage(key_cert_sign=True)]), {"key-usage"}),
    "no key usage at all": (recrafted(SEAL, without=[x509.KeyUsage]), {"key-usage"}),
    "a TLS purpose": (
        recrafted(SEAL, extensions=[purposes(ExtendedKeyUsageOID.SERVER_AUTH)]),
        {"extended-key-usage"},
    ),
    "any purpose": (
        recrafted(SEAL, extensions=[purposes(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)]),
        {"extended-key-usage"},
    ),
    "RSA of 1024 bits": (recrafted(SEAL, public_key=weak_rsa_key().public_key()), {"weak-key"}),
    "a key on P-384": (recrafted(SEAL, public_key=p384_key()), {"weak-key"}),
    "no URI": (recrafted(SEAL, without=[x509.SubjectAlternativeName]), {"name-missing"}),
    "two URIs": (
        recrafted(SEAL, extensions=[uris("urn:LA:member:GOV:MPI", "urn:LA:member:GOV:MOF")]),
        {"name-missing"},
    ),
    "the URI of a server": (
        recrafted(SEAL, extensions=[uris("urn:LA:server:GOV:MPI:ss1")]),
        {"name-malformed"},
    ),
    "a web address": (recrafted(SEAL, extensions=[uris("https://mpi.gov.la")]), {"name-malformed"}),
    "another spelling": (
        recrafted(SEAL, extensions=[uris("urn:LA:member:GOV:%4DPI")]),
        {"name-malformed"},
    ),
    "a slash inside": (
        recrafted(SEAL, extensions=[uris("urn:LA:member:GOV/MPI")]),
        {"name-malformed"},
    ),
    "capital URN": (
        recrafted(SEAL, extensions=[uris("URN:LA:member:GOV:MPI")]),
        {"name-malformed"},
    ),
    "another member in the subject": (
        recrafted(SEAL, subject=seal(MOF).certificate.subject),
        {"names-differ"},
    ),
    "another member in the URI": (
        recrafted(SEAL, extensions=[uris("urn:LA:member:GOV:MOF")]),
        {"names-differ"},
    ),
    "no organizationIdentifier": (
        recrafted(SEAL, subject=development_name("MPI")),
        {"name-missing"},
    ),
    "two organizationIdentifiers": (
        recrafted(
            SEAL,
            subject=x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, f"XR:LA-{m}")
                    for m in (MPI, MOF)
                ]
            ),
        ),
        {"name-missing"},
    ),
    "a signature by a member": (recrafted(SEAL, issuer_of(seal())), {"untrusted-chain"}),
    "an unknown critical extension": (
        recrafted(
            SEAL,
            extensions=[
                (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
            ],
        ),
        {"untrusted-chain"},
    ),
}


@pytest.mark.parametrize("name", WRONG_SEALS)
def test_what_is_no_seal_certificate_is_refused(name: str) -> None:
    """Each fault of a seal certificate is CERTIFICATE_UNTRUSTED with exactly its reasons."""
    certificate, expected = WRONG_SEALS[name]
    problem = refusal(lambda: judge_seal(certificate, TRUSTED, AT))
    assert problem.code is Code.CERTIFICATE_UNTRUSTED
    assert reasons(problem) == expected


WRONG_AUTHS = {
    "a seal certificate": (
        SEAL,
        {"key-usage", "extended-key-usage", "name-malformed", "name-missing"},
    ),
    "a client's certificate": (CLIENT, {"extended-key-usage", "name-malformed", "name-missing"}),
    "only serverAuth": (
        recrafted(AUTH, extensions=[purposes(ExtendedKeyUsageOID.SERVER_AUTH)]),
        {"extended-key-usage"},
    ),
    "no extended key usage": (
        recrafted(AUTH, without=[x509.ExtendedKeyUsage]),
        {"extended-key-usage"},
    ),
    "nonRepudiation": (recrafted(AUTH, extensions=[usage()]), {"key-usage"}),
    "no address": (
        recrafted(AUTH, extensions=[uris("urn:LA:server:GOV:MPI:ss1")]),
        {"name-missing"},
    ),
    "the URI of a member": (
        recrafted(
            AUTH,
            extensions=[
                (
                    x509.SubjectAlternativeName(
                        [
                            x509.DNSName("a.la"),
                            x509.UniformResourceIdentifier("urn:LA:member:GOV:MPI"),
                        ]
                    ),
                    False,
                )
            ],
        ),
        {"name-malformed"},
    ),
}


@pytest.mark.parametrize("name", WRONG_AUTHS)
def test_what_is_no_server_certificate_is_refused(name: str) -> None:
    """Each fault of a server's certificate is told with exactly its reasons."""
    certificate, expected = WRONG_AUTHS[name]
    problem = refusal(lambda: judge_auth(certificate, TRUSTED, AT))
    assert problem.code is Code.PEER_CERTIFICATE_UNTRUSTED
    assert reasons(problem) == expected


STAMPING = ExtendedKeyUsageOID.TIME_STAMPING


@pytest.mark.parametrize(
    "certificate",
    [
        SEAL,
        AUTH,
        recrafted(TSA, extensions=[purposes(STAMPING)]),
        recrafted(
            TSA, extensions=[purposes(STAMPING, ExtendedKeyUsageOID.CLIENT_AUTH, critical=True)]
        ),
    ],
    ids=["seal", "auth", "not critical", "not sole"],
)
def test_time_stamping_must_be_sole_and_critical(certificate: x509.Certificate) -> None:
    """RFC 3161 section 2.3: timeStamping is the only purpose, and critical."""
    problem = refusal(lambda: judge_tsa(certificate, TRUSTED, AT))
    assert problem.code is Code.INVALID_TIMESTAMP
    assert "extended-key-usage" in reasons(problem)


def test_an_issuing_authority_cannot_make_authorities() -> None:
    """The path length of the issuing authority is zero: an authority below it anchors nothing."""
    below_key = ec.generate_private_key(ec.SECP256R1())
    below = sign_certificate(
        Profile.ISSUING,
        development_name("below"),
        below_key.public_key(),
        OURS.issuer,
        at=AT,
        days=10,
    )
    leaf = recrafted(SEAL, Issuer(below, below_key))
    problem = refusal(lambda: judge_seal(leaf, [*TRUSTED, below], AT))
    assert reasons(problem) == {"untrusted-chain"}


def test_unreadable_extensions_are_told() -> None:
    """Extensions that are not DER make a certificate malformed, and raise nothing else."""
    junk = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"junk")
    certificate = recrafted(SEAL, without=[x509.SubjectAlternativeName], extensions=[(junk, False)])
    problem = refusal(lambda: judge_seal(certificate, TRUSTED, AT))
    assert problem.code is Code.CERTIFICATE_UNTRUSTED
    assert "malformed" in reasons(problem)


def test_unused_bits_of_the_signature_are_no_second_encoding() -> None:
    """A signature that says its last bit is unused (X.690 section 8.6) is refused: the bit is not
    covered by the signature, and libraries let it pass when it is 0."""
    even = AUTH
    while even.signature[-1] & 1:
        even = recrafted(AUTH)
    der = bytearray(even.public_bytes(Encoding.DER))
    assert judge_auth(parse_certificate(bytes(der)), TRUSTED, AT)
    der[len(der) - len(even.signature) - 1] = 1
    problem = refusal(lambda: parse_certificate(bytes(der)))
    assert problem.code is Code.INVALID_DOCUMENT
    assert "octets" in problem.detail


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_change_of_a_byte_is_trusted(data: st.DataObject) -> None:
    """A certificate with a changed byte is unreadable or refused; nothing else is raised."""
    der = bytearray(AUTH.public_bytes(Encoding.DER))
    place = data.draw(st.integers(0, len(der) - 1))
    der[place] ^= data.draw(st.integers(1, 255))
    problem = refusal(lambda: judge_auth(parse_certificate(bytes(der)), TRUSTED, AT))
    assert problem.code in {
        Code.INVALID_DOCUMENT,
        Code.PEER_CERTIFICATE_UNTRUSTED,
        Code.PEER_CERTIFICATE_EXPIRED,
    }


# ------------------------------------------------------------------------- names without judgement


def test_names_are_read_without_judgement() -> None:
    """member_of and server_of read names of expired certificates too, and refuse wrong forms."""
    assert member_of(SEAL) == MPI
    assert server_of(AUTH) == SS1
    assert refusal(lambda: member_of(AUTH)).code is Code.CERTIFICATE_UNTRUSTED
    assert refusal(lambda: server_of(SEAL)).code is Code.PEER_CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (MPI, "XR:LA-LA/GOV/MPI"),
        (MemberId("LA-TEST", "GOV", "A?"), "XR:LA-LA-TEST/GOV/A%3F"),
        (MemberId("test", "COM", "1"), "XR:XX-test/COM/1"),
    ],
)
def test_the_organization_identifier_has_the_form_of_en_319_412_1(
    member: MemberId, expected: str
) -> None:
    """Two letters and a colon, a country, a hyphen, the identifier."""
    assert organization_identifier(member) == expected


def test_parsing_refuses_what_is_not_pem() -> None:
    """Text without a certificate, a damaged one and a huge one are INVALID_DOCUMENT."""
    pem = SEAL.public_bytes(Encoding.PEM)
    assert parse_certificates(pem + pem) == (SEAL, SEAL)
    for text in (b"", b"hello", pem.replace(b"M", b"!"), pem * 1000):
        assert refusal(lambda text=text: parse_certificates(text)).code is Code.INVALID_DOCUMENT


# ------------------------------------------------------------------------------------ development


def test_every_subject_says_dev() -> None:
    """Nothing that the development authority makes can be taken for a real certificate."""
    for certificate in (*TRUSTED, SEAL, AUTH, CLIENT, TSA, OCSP):
        assert is_development(certificate)
        name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        assert str(name).startswith("DEV ")


def test_production_refuses_development_certificates() -> None:
    """An instance that says production refuses them, even under an innocent subject."""
    innocent = recrafted(SEAL, subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MPI")]))
    problem = refusal(lambda: refuse_development([innocent], "production"))
    assert problem.code is Code.DEVELOPMENT_ONLY
    refuse_development([innocent], "development")


# --------------------------------------------------------------------------------- a foreign judge


@pytest.mark.parametrize(
    ("certificate", "purpose"),
    [
        (SEAL, "any"),
        (AUTH, "sslserver"),
        (AUTH, "sslclient"),
        (CLIENT, "sslclient"),
        (TSA, "timestampsign"),
        (OCSP, "ocsphelper"),
    ],
)
def test_openssl_accepts_each_profile(
    tmp_path: Path, certificate: x509.Certificate, purpose: str
) -> None:
    """openssl verify in strict mode accepts every profile for its purpose."""
    chain = (*TRUSTED, certificate)
    files = [write_pem(tmp_path / f"{n}.pem", each) for n, each in enumerate(chain)]
    result = openssl(
        *("verify", "-x509_strict", "-purpose", purpose, "-attime", unix(AT)),
        *("-CAfile", files[0], "-untrusted", files[1], files[2]),
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("certificate", "purpose", "at"),
    [
        (AUTH, "sslserver", AT + days(8)),
        (CLIENT, "sslserver", AT),
        (AUTH, "timestampsign", AT),
        (recrafted(SEAL, issuer_of(seal())), "any", AT),
    ],
    ids=["expired", "client as server", "auth as tsa", "signed by a leaf"],
)
def test_openssl_refuses_what_we_refuse(
    tmp_path: Path, certificate: x509.Certificate, purpose: str, at: object
) -> None:
    """openssl agrees on validity, purpose and who may issue."""
    chain = (*TRUSTED, certificate)
    files = [write_pem(tmp_path / f"{n}.pem", each) for n, each in enumerate(chain)]
    result = openssl(
        *("verify", "-purpose", purpose, "-attime", unix(at)),  # type: ignore[arg-type]
        *("-CAfile", files[0], "-untrusted", files[1], files[2]),
    )
    assert result.returncode != 0


def test_profiles_are_told_apart() -> None:
    """Server and application identifiers have the same form; only the URI's kind parts them."""
    assert str(ServerId("LA", "GOV", "MPI", "x")) == str(ApplicationId("LA", "GOV", "MPI", "x"))
    assert len({shape.title for shape in PROFILES.values()}) == len(PROFILES)
