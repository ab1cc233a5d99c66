"""The development certificate authority: a folder with a root kept apart and an issuing authority.

::

    DIR/authority.json        the instance, the environment, where its services listen, if known
    DIR/authorities.pem       root and issuing certificates: what everybody is to trust
    DIR/root/                 root.pem, root.key.pem: P-384, 10 years; needed only at creation
    DIR/issuing/              issuing.pem, issuing.key.pem: P-256, 2 years

Every subject says DEV; :func:`exchange.certificates.reading.refuse_development` refuses all of it
where an instance says ``production``. Nothing here is fit for anything but development and
training: keys lie in files. What is revoked stands in ``revoked.json`` (:mod:`certs.revocation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Required, TypedDict, Unpack

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from certs.files import PRIVATE_MODE, PUBLIC_MODE, read_file, write_file
from certs.issue import (
    Issued,
    Issuer,
    PublicKey,
    address_names,
    development_name,
    new_private_key,
    parse_private_key,
    private_key_pem,
    sign_certificate,
)
from certs.profiles import PROFILES, Profile, profile_of
from exchange.certificates.names import (
    addresses_of,
    application_of,
    application_urn,
    member_of,
    member_urn,
    organization_identifier,
    server_of,
    server_urn,
)
from exchange.certificates.reading import issued_by, parse_certificates
from exchange.identifiers import ApplicationId, MemberId, ServerId, check_code
from exchange.problems import Code, Problem

DEFAULT_ALGORITHM: Final = "ecdsa-p256-sha256"
_PEM: Final = serialization.Encoding.PEM


class Issuance(TypedDict, total=False):
    """What every ``issue_…`` takes besides the owner and its names.

    Members:
        at: the time of issue, which lets tests make expired certificates.
        days: how long it is valid; those of the profile when it is None or left out. Validity
            never exceeds the issuing authority's.
        public_key: the requester's key; a new one is made when it is None or left out.
        algorithm: of the key that is made; P-256 when it is left out.
    """

    at: Required[datetime]
    days: int | None
    public_key: PublicKey | None
    algorithm: str


def create_development_pki(
    directory: Path,
    instance: str,
    *,
    at: datetime,
    environment: str = "development",
    services_url: str | None = None,
) -> DevelopmentAuthority:
    """Create a root (P-384, 10 years) and an issuing authority (P-256, 2 years) in a folder.

    ``services_url`` is where :mod:`certs.services` will listen: the certificates then name the
    OCSP responder and the revocation list there.

    Raises:
        Problem: ``DEVELOPMENT_ONLY`` when ``environment`` is ``production``; ``CONFLICT`` when the
            folder already holds an authority; ``INVALID_IDENTIFIER`` for a bad instance code;
            ``INVALID_SETTINGS`` when the folder cannot be written.
    """
    check_code(instance, "instance")
    if environment == "production":
        raise Problem(
            Code.DEVELOPMENT_ONLY,
            where=str(directory),
            detail="a development PKI is not created for a production instance",
        )
    record = directory / "authority.json"
    if record.exists():
        raise Problem(
            Code.CONFLICT,
            where=str(directory),
            detail="the folder already holds an authority; issue from it, or name another folder",
        )
    root_key = ec.generate_private_key(ec.SECP384R1())
    root = sign_certificate(
        Profile.ROOT,
        development_name(f"{instance} root authority"),
        root_key.public_key(),
        root_key,
        at=at,
        days=PROFILES[Profile.ROOT].days,
    )
    issuing_key = ec.generate_private_key(ec.SECP256R1())
    issuing = sign_certificate(
        Profile.ISSUING,
        development_name(f"{instance} issuing authority"),
        issuing_key.public_key(),
        Issuer(root, root_key),
        at=at,
        days=PROFILES[Profile.ISSUING].days,
    )
    for name, key, certificate in (("root", root_key, root), ("issuing", issuing_key, issuing)):
        folder = directory / name
        write_file(folder / f"{name}.key.pem", private_key_pem(key), mode=PRIVATE_MODE)
        write_file(folder / f"{name}.pem", certificate.public_bytes(_PEM), mode=PUBLIC_MODE)
    made = DevelopmentAuthority(
        directory, instance, root, Issuer(issuing, issuing_key), services_url
    )
    write_file(directory / "authorities.pem", made.authorities_pem, mode=PUBLIC_MODE)
    # The record comes last: a folder without it is not an authority, and is created anew.
    write_file(
        record,
        orjson.dumps(
            {
                "v": 1,
                "instance": instance,
                "environment": environment,
                "services_url": services_url,
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        ),
        mode=PUBLIC_MODE,
    )
    return made


@dataclass(frozen=True, slots=True)
class DevelopmentAuthority:
    """The issuing authority with its key; the root is here as a certificate only.

    Every ``issue_…`` takes :class:`Issuance`. All raise ``CONFLICT`` when the issuing authority is
    not valid at ``at``, and ``INVALID_IDENTIFIER`` when the owner is of another instance.
    """

    directory: Path
    instance: str
    root: x509.Certificate
    issuer: Issuer
    services_url: str | None = None

    @classmethod
    def open(cls, directory: Path) -> DevelopmentAuthority:
        """Open a folder that :func:`create_development_pki` made; the root key may be elsewhere.

        Raises:
            Problem: ``NOT_FOUND`` when it is no such folder, ``INVALID_DOCUMENT`` when a file of
                it is damaged.
        """
        record = directory / "authority.json"
        if not record.exists():
            raise Problem(
                Code.NOT_FOUND,
                where=str(directory),
                detail="there is no authority here; saphan certs create makes one",
            )
        instance, services_url = _record_of(read_file(record), str(record))
        pem = read_file(directory / "authorities.pem")
        authorities = parse_certificates(pem, str(directory / "authorities.pem"))
        key_path = directory / "issuing" / "issuing.key.pem"
        key = parse_private_key(read_file(key_path), str(key_path))
        if len(authorities) != 2 or authorities[1].public_key() != key.public_key():
            raise Problem(
                Code.INVALID_DOCUMENT,
                where=str(directory / "authorities.pem"),
                detail="it is not the root followed by the issuing authority of the key here",
            )
        return cls(directory, instance, authorities[0], Issuer(authorities[1], key), services_url)

    @property
    def authorities(self) -> list[x509.Certificate]:
        """Root and issuing authority: what the registry lists for all to trust."""
        return [self.root, self.issuer.certificate]

    @property
    def authorities_pem(self) -> bytes:
        """:attr:`authorities` in PEM, in this order: what ``authorities.pem`` holds."""
        return b"".join(authority.public_bytes(_PEM) for authority in self.authorities)

    def issue_auth(
        self, server: ServerId, names: Sequence[str], **terms: Unpack[Issuance]
    ) -> Issued:
        """A server's TLS certificate for the DNS names and IP addresses ``names``.

        Raises:
            Problem: ``INVALID_SETTINGS`` when there is no name or one is malformed.
        """
        if not names:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="name",
                detail="a server's certificate needs a DNS name or IP address",
            )
        self._check_instance(server.instance)
        return self._issue(
            Profile.AUTH,
            development_name(str(server)),
            [x509.UniformResourceIdentifier(server_urn(server)), *address_names(names)],
            **terms,
        )

    def issue_seal(self, member: MemberId, **terms: Unpack[Issuance]) -> Issued:
        """A member's seal certificate."""
        self._check_instance(member.instance)
        return self._issue(
            Profile.SEAL,
            development_name(str(member), organization_identifier(member)),
            [x509.UniformResourceIdentifier(member_urn(member))],
            **terms,
        )

    def issue_client(self, application: ApplicationId, **terms: Unpack[Issuance]) -> Issued:
        """The certificate with which an application calls its server."""
        self._check_instance(application.instance)
        return self._issue(
            Profile.CLIENT,
            development_name(str(application)),
            [x509.UniformResourceIdentifier(application_urn(application))],
            **terms,
        )

    def issue_tsa(self, **terms: Unpack[Issuance]) -> Issued:
        """A time-stamp authority's certificate.

        Raises:
            Problem: ``INVALID_SETTINGS`` for Ed25519, which time-stamp clients do not know.
        """
        key = terms.get("public_key")
        if isinstance(key, Ed25519PublicKey) or terms.get("algorithm") == "ed25519":
            raise Problem(
                Code.INVALID_SETTINGS,
                where="algorithm",
                detail="a time-stamp authority signs with ECDSA or RSA",
            )
        return self._issue(
            Profile.TSA,
            development_name(f"{self.instance} time-stamp authority"),
            [],
            **terms,
        )

    def issue_ocsp(self, **terms: Unpack[Issuance]) -> Issued:
        """An OCSP responder's certificate."""
        return self._issue(
            Profile.OCSP,
            development_name(f"{self.instance} OCSP responder"),
            [],
            **terms,
        )

    def reissue(self, certificate: x509.Certificate, **terms: Unpack[Issuance]) -> Issued:
        """A new certificate with the profile and names of one that this authority issued.

        Raises:
            Problem: ``CONFLICT`` when it is of another authority or of no end-entity
                profile; its own validity does not matter.
        """
        profile = profile_of(certificate)
        if profile is None or not self.has_issued(certificate):
            raise Problem(
                Code.CONFLICT,
                where="certificate",
                detail=f"it was not issued by the authority in {self.directory}; name the folder "
                "of the one that issued it",
            )
        match profile:
            case Profile.AUTH:
                return self.issue_auth(
                    server_of(certificate),
                    addresses_of(certificate),
                    **terms,
                )
            case Profile.SEAL:
                return self.issue_seal(
                    member_of(certificate),
                    **terms,
                )
            case Profile.CLIENT:
                return self.issue_client(
                    application_of(certificate),
                    **terms,
                )
            case Profile.TSA:
                return self.issue_tsa(**terms)
            case Profile.OCSP:
                return self.issue_ocsp(**terms)
            case _:
                raise Problem(
                    Code.CONFLICT,
                    where="certificate",
                    detail="an authority's own certificate is renewed with a new development PKI",
                )

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether this authority signed a certificate, whatever its validity."""
        return issued_by(certificate, self.issuer.certificate)

    def _check_instance(self, instance: str) -> None:
        if instance != self.instance:
            raise Problem(
                Code.INVALID_IDENTIFIER,
                where="instance",
                detail=f"{instance!r} is not the instance of this authority, {self.instance!r}",
            )

    def _issue(
        self,
        profile: Profile,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        **terms: Unpack[Issuance],
    ) -> Issued:
        private_key, public_key = None, terms.get("public_key")
        if public_key is None:
            private_key = new_private_key(terms.get("algorithm", DEFAULT_ALGORITHM))
            public_key = private_key.public_key()
        days = terms.get("days")
        certificate = sign_certificate(
            profile,
            subject,
            public_key,
            self.issuer,
            at=terms["at"],
            days=PROFILES[profile].days if days is None else days,
            names=names,
            services_url=self.services_url,
        )
        chain = certificate.public_bytes(_PEM) + self.issuer.certificate.public_bytes(_PEM)
        return Issued(certificate, private_key, chain)


def _record_of(record: bytes, where: str) -> tuple[str, str | None]:
    try:
        value = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail="not JSON") from error
    instance = value.get("instance") if isinstance(value, dict) else None
    if not isinstance(instance, str):
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail="it names no instance")
    services_url = value.get("services_url")
    if not isinstance(services_url, str | None):
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail="services_url is not an address")
    return check_code(instance, where), services_url
