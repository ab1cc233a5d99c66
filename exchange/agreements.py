"""Agreements: the access right itself, one file sealed by provider and consumer.

Invariants:
- an :class:`Agreement` that exists is consistent: its services are the provider's, every endpoint
  is granted once, it begins before it ends;
- :func:`open_agreement` returns only what exactly the provider and the consumer's member have
  sealed, each with a seal certificate judged at the given time, over the canonical bytes;
- :meth:`Agreement.allow` grants nothing that is not written: consumer, service, method, path
  template, purpose and time must all fit; HEAD is allowed where GET is, as it says less;
- the canonical form is JSON with sorted keys and without spaces, every member present (quota
  ``null`` when there is none) but ``limits``, which came later: it is written only where something
  is limited, so that agreements sealed before it stay valid byte for byte; people may write the
  document with spaces and leave optional members out.

The seal is a JWS (RFC 7515) with one signature per party, see :mod:`exchange.jws`. Not decided
here: which agreements a server holds (its own disk, never the registry), and counting of quotas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from cryptography import x509

from exchange.certificates import judge_seal, member_of
from exchange.documents import Members, Node, format_document, parse_document
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.jws import MAX_JWS_BYTES, Jws, format_jws, parse_jws, sign
from exchange.keys import SigningKey
from exchange.problems import Code, Problem, Text
from exchange.projection import MAX_FIELDS, Projection

__all__ = [
    "Agreement",
    "Contact",
    "Endpoint",
    "Grant",
    "Limits",
    "Party",
    "Projection",
    "Purpose",
    "Quota",
    "Retention",
    "format_agreement",
    "open_agreement",
    "parse_agreement",
    "read_agreement",
    "seal_agreement",
]

SEAL_TYPE: Final = "saphan-agreement+jws"
MAX_AGREEMENT_BYTES: Final = 256 * 1024
MAX_GRANTS: Final = 64
MAX_ENDPOINTS: Final = 256
MAX_PURPOSES: Final = 64
MAX_CONTACTS: Final = 16
MAX_QUOTA: Final = 10**12
MAX_CONCURRENT: Final = 100_000
MAX_WAIT_S: Final = 86_400
MAX_BODY_BYTES: Final = 2**40
MAX_VERSION: Final = 10**6

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TEMPLATE: Final = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%{}]*)+")
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_NOUN: Final = "agreement"

_IdentifierT = TypeVar("_IdentifierT", MemberId, ApplicationId, ServiceId)


class Retention(StrEnum):
    """What the journals keep of each message under the agreement."""

    BODIES = "bodies"
    HEADS = "heads"


class Party(StrEnum):
    """The two sides of an agreement."""

    PROVIDER = "provider"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A method and a path template of the service's contract, such as ``/projects/{id}``."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Endpoints of one service and the fields of their answers that are released."""

    service: ServiceId
    endpoints: tuple[Endpoint, ...]
    projection: Projection

    @property
    def fields(self) -> tuple[str, ...]:
        return self.projection.fields


@dataclass(frozen=True, slots=True)
class Purpose:
    """A reason for which the consumer may ask, and the law that gives it."""

    code: str
    title: Text
    legal_basis: Text


@dataclass(frozen=True, slots=True)
class Quota:
    """How many calls the provider allows; None is without limit."""

    per_day: int | None = None
    per_second: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of each exchange under an agreement; None leaves it to the provider's service.

    ``concurrent`` bounds exchanges at the same time, ``first_byte_s`` and ``exchange_s`` the wait
    for the backend's answer to begin and to end, the others the sizes of bodies. The stricter of
    agreement and service holds.
    """

    concurrent: int | None = None
    first_byte_s: int | None = None
    exchange_s: int | None = None
    request_max_bytes: int | None = None
    answer_max_bytes: int | None = None

    def given(self) -> dict[str, int]:
        """What is limited, by its name in the document."""
        values = {name: getattr(self, name) for name in _LIMITS}
        return {name: value for name, value in values.items() if value is not None}


_LIMITS: Final = {
    "concurrent": MAX_CONCURRENT,
    "first_byte_s": MAX_WAIT_S,
    "exchange_s": MAX_WAIT_S,
    "request_max_bytes": MAX_BODY_BYTES,
    "answer_max_bytes": MAX_BODY_BYTES,
}
LIMIT_NAMES: Final = tuple(_LIMITS)


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to ask about the agreement; an office rather than a person."""

    party: Party
    name: str
    email: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one provider lets one application of a consumer do.

    Times are aware; ``valid_until`` is the first moment at which it no longer holds.
    """

    id: str
    version: int
    title: Text
    provider: MemberId
    consumer: ApplicationId
    grants: tuple[Grant, ...]
    valid_from: datetime
    valid_until: datetime
    purposes: tuple[Purpose, ...] = ()
    quota: Quota = Quota()
    limits: Limits = Limits()
    retention: Retention = Retention.BODIES
    contacts: tuple[Contact, ...] = ()
    _doors: Mapping[tuple[ServiceId, str, str], Grant] = field(
        init=False, repr=False, compare=False
    )
    _purpose_codes: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.valid_from >= self.valid_until:
            raise _invalid("/valid_until", "must be after valid_from")
        codes = [purpose.code for purpose in self.purposes]
        if len(set(codes)) != len(codes):
            raise _invalid("/purposes", "a purpose is listed twice")
        object.__setattr__(self, "_doors", self._open_doors())
        object.__setattr__(self, "_purpose_codes", frozenset(codes))

    def _open_doors(self) -> dict[tuple[ServiceId, str, str], Grant]:
        doors: dict[tuple[ServiceId, str, str], Grant] = {}
        for number, grant in enumerate(self.grants):
            if grant.service.member != self.provider:
                raise _invalid(
                    f"/grants/{number}/service", f"{grant.service} is not of {self.provider}"
                )
            for place, endpoint in enumerate(grant.endpoints):
                door = (grant.service, endpoint.method, endpoint.path)
                if door in doors:
                    raise _invalid(
                        f"/grants/{number}/endpoints/{place}",
                        f"{endpoint.method} {endpoint.path} is granted twice",
                    )
                doors[door] = grant
        for (service, method, path), grant in tuple(doors.items()):
            if method == "GET":
                doors.setdefault((service, "HEAD", path), grant)
        return doors

    @property
    def reference(self) -> str:
        """Id and version, as records and messages name it: ``mof-mpi-2026/1``."""
        return f"{self.id}/{self.version}"

    def allow(
        self,
        client: ApplicationId,
        service: ServiceId,
        method: str,
        template: str,
        purpose: str | None,
        at: datetime,
    ) -> Grant:
        """The grant under which ``client`` may make this call at the time ``at``.

        Args:
            template: the path template that the service's contract found for the path.
            purpose: the code that the caller gave; needed when the agreement lists any.

        Raises:
            Problem: ``ACCESS_DENIED`` when the client is another or nothing here grants the
                endpoint; ``AGREEMENT_NOT_YET_VALID`` before it begins, ``AGREEMENT_EXPIRED`` from
                its end on; ``PURPOSE_NOT_ALLOWED`` when the purpose is missing or not listed.
        """
        grant = self._doors.get((service, method, template)) if client == self.consumer else None
        if grant is None:
            raise Problem(
                Code.ACCESS_DENIED,
                where=self.reference,
                detail=f"it grants {client} nothing at {method} {service} {template}",
                facts={"agreement": self.reference},
            )
        if at < self.valid_from:
            raise Problem(
                Code.AGREEMENT_NOT_YET_VALID,
                where=self.reference,
                detail=f"it begins at {_format_moment(self.valid_from)}",
                facts={"agreement": self.reference},
            )
        if at >= self.valid_until:
            raise Problem(
                Code.AGREEMENT_EXPIRED,
                where=self.reference,
                detail=f"it ended at {_format_moment(self.valid_until)}",
                facts={"agreement": self.reference},
            )
        codes = self._purpose_codes
        if purpose not in codes and (codes or purpose is not None):
            given = "no purpose" if purpose is None else f"purpose {purpose[:80]!r}"
            listed = ", ".join(sorted(codes)) or "none"
            raise Problem(
                Code.PURPOSE_NOT_ALLOWED,
                where=self.reference,
                detail=f"the call has {given}; the agreement lists {listed}",
                facts={"agreement": self.reference, "purposes": sorted(codes)},
            )
        return grant


# -------------------------------------------------------------------------------- document form


def parse_agreement(payload: bytes) -> Agreement:
    """Parse an agreement document, however it is spaced and ordered.

    Raises:
        Problem: ``AGREEMENT_INVALID`` with the JSON pointer of the fault: an unknown or missing
            key, a value of another form or past its cap, or an inconsistency.
    """
    with _as_agreement():
        document = parse_document(payload, MAX_AGREEMENT_BYTES, _NOUN)
        members = document.members(
            frozenset(
                {"id", "version", "title", "provider", "consumer", "grants"}
                | {"valid_from", "valid_until"}
            ),
            frozenset({"purposes", "quota", "limits", "retention", "contacts"}),
        )
        return Agreement(
            id=_name(members["id"]),
            version=members["version"].integer(1, MAX_VERSION),
            title=members["title"].bilingual(),
            provider=_identifier(MemberId, members["provider"]),
            consumer=_identifier(ApplicationId, members["consumer"]),
            grants=tuple(_grant(node) for node in members["grants"].items(MAX_GRANTS, 1)),
            valid_from=_moment(members["valid_from"]),
            valid_until=_moment(members["valid_until"]),
            purposes=tuple(_purpose(node) for node in _optional(members, "purposes", MAX_PURPOSES)),
            quota=_quota(members.get("quota")),
            limits=_limits(members.get("limits")),
            retention=_retention(members.get("retention")),
            contacts=tuple(_contact(node) for node in _optional(members, "contacts", MAX_CONTACTS)),
        )


def format_agreement(agreement: Agreement) -> bytes:
    """The canonical bytes, which are what the parties seal; ``parse_agreement`` reads them back."""
    quota, limits = agreement.quota, agreement.limits.given()
    return format_document(
        {
            **({"limits": limits} if limits else {}),
            "id": agreement.id,
            "version": agreement.version,
            "title": _bilingual(agreement.title),
            "provider": str(agreement.provider),
            "consumer": str(agreement.consumer),
            "grants": [
                {
                    "service": str(grant.service),
                    "endpoints": [
                        {"method": endpoint.method, "path": endpoint.path}
                        for endpoint in grant.endpoints
                    ],
                    "fields": list(grant.fields),
                }
                for grant in agreement.grants
            ],
            "purposes": [
                {
                    "code": purpose.code,
                    "title": _bilingual(purpose.title),
                    "legal_basis": _bilingual(purpose.legal_basis),
                }
                for purpose in agreement.purposes
            ],
            "quota": {"per_day": quota.per_day, "per_second": quota.per_second},
            "valid_from": _format_moment(agreement.valid_from),
            "valid_until": _format_moment(agreement.valid_until),
            "retention": agreement.retention.value,
            "contacts": [
                {
                    "party": contact.party.value,
                    "name": contact.name,
                    "email": contact.email,
                    "phone": contact.phone,
                }
                for contact in agreement.contacts
            ],
        }
    )


def _grant(node: Node) -> Grant:
    members = node.members(frozenset({"service", "endpoints", "fields"}))
    place = members["fields"]
    fields = [field.text() for field in place.items(MAX_FIELDS, 1)]
    return Grant(
        service=_identifier(ServiceId, members["service"]),
        endpoints=tuple(_endpoint(each) for each in members["endpoints"].items(MAX_ENDPOINTS, 1)),
        projection=Projection.compile(fields, f"{place.noun}#{place.pointer}"),
    )


def _endpoint(node: Node) -> Endpoint:
    members = node.members(frozenset({"method", "path"}))
    method, path = members["method"].text(), members["path"].text()
    if method not in METHODS:
        raise members["method"].refuse(f"must be one of {', '.join(sorted(METHODS))}")
    if not _TEMPLATE.fullmatch(path):
        raise members["path"].refuse("must be a path template such as /projects/{id}")
    return Endpoint(method, path)


def _purpose(node: Node) -> Purpose:
    members = node.members(frozenset({"code", "title", "legal_basis"}))
    return Purpose(
        _name(members["code"]), members["title"].bilingual(), members["legal_basis"].bilingual()
    )


def _quota(node: Node | None) -> Quota:
    if node is None:
        return Quota()
    members = node.members(frozenset(), frozenset({"per_day", "per_second"}))
    return Quota(_limit(members.get("per_day")), _limit(members.get("per_second")))


def _limits(node: Node | None) -> Limits:
    if node is None:
        return Limits()
    members = node.members(frozenset(), frozenset(_LIMITS))
    given = ((name, members.get(name)) for name in _LIMITS)
    return Limits(
        **{name: each.integer(1, _LIMITS[name]) for name, each in given if each is not None}
    )


def _limit(node: Node | None) -> int | None:
    return None if node is None else node.integer(1, MAX_QUOTA)


def _retention(node: Node | None) -> Retention:
    if node is None:
        return Retention.BODIES
    text = node.text()
    if text not in set(Retention):
        raise node.refuse(f"must be one of {', '.join(Retention)}")
    return Retention(text)


def _contact(node: Node) -> Contact:
    members = node.members(frozenset({"party", "name"}), frozenset({"email", "phone"}))
    party, email = members["party"], _text(members.get("email"))
    if party.text() not in set(Party):
        raise party.refuse(f"must be one of {', '.join(Party)}")
    if email is not None and not _EMAIL.fullmatch(email):
        raise members["email"].refuse("must be an e-mail address")
    return Contact(Party(party.text()), members["name"].text(), email, _text(members.get("phone")))


def _text(node: Node | None) -> str | None:
    return None if node is None else node.text()


def _optional(members: Members, key: str, most: int) -> Iterator[Node]:
    node = members.get(key)
    return iter(()) if node is None else node.items(most)


def _name(node: Node) -> str:
    text = node.text()
    if not _NAME.fullmatch(text):
        raise node.refuse("must be 1 to 63 of a-z 0-9 and inner hyphens")
    return text


def _identifier(kind: type[_IdentifierT], node: Node) -> _IdentifierT:
    text = node.text(2048)
    try:
        return kind.parse(text)
    except Problem as problem:
        raise node.refuse(problem.detail) from problem


def _moment(node: Node) -> datetime:
    text = node.text()
    if not _MOMENT.fullmatch(text):
        raise node.refuse("must be a UTC time such as 2026-01-31T00:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise node.refuse("is no time of the calendar") from error


def _format_moment(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _bilingual(text: Text) -> dict[str, str]:
    return {"en": text.en, "lo": text.lo}


# ------------------------------------------------------------------------------------- the seal


def seal_agreement(document: bytes, key: SigningKey, certificate: x509.Certificate) -> bytes:
    """Add a party's seal to an agreement, written or already sealed by the other party.

    A party that seals again (with a renewed certificate) replaces its earlier seal.

    Args:
        document: the agreement as JSON, or the JWS that this function returned before.

    Returns:
        The JWS in canonical JSON.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the document or a seal on it is wrong, or the
            certificate is of neither party; ``CERTIFICATE_MISMATCH`` when the key is not the
            certificate's. The certificate is *not* judged: :func:`open_agreement` does.
    """
    if _is_sealed(document):
        agreement, earlier = _read(document)
        signatures = list(earlier.signatures)
        payload = earlier.payload
    else:
        agreement = parse_agreement(document)
        signatures = []
        payload = format_agreement(agreement)
    signer = member_of(certificate)
    if signer not in _parties(agreement):
        raise _invalid("", f"{signer} is neither its provider nor its consumer's member")
    others = [each for each in signatures if member_of(each.certificate) != signer]
    with _as_agreement():
        own = sign(payload, key, certificate, SEAL_TYPE)
    return format_jws(payload, [*others, own])


def read_agreement(jws: bytes) -> tuple[Agreement, tuple[x509.Certificate, ...]]:
    """Read a sealed agreement, with one party's seal or both, and the certificates of its seals.

    The seals are checked to be of those certificates; whether these are trusted, valid and of
    both parties is *not*. For display and countersigning only; access needs
    :func:`open_agreement`.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the file or a seal on it is wrong.
    """
    agreement, sealed = _read(jws)
    return agreement, tuple(each.certificate for each in sealed.signatures)


def open_agreement(jws: bytes, authorities: Sequence[x509.Certificate], at: datetime) -> Agreement:
    """Open an agreement that exactly its provider and its consumer's member have sealed.

    Both certificates are judged at the time ``at``; the agreement's own validity is not: that is
    for :meth:`Agreement.allow`. A member that agrees with itself seals once. Revocation is not
    checked.

    Raises:
        Problem: ``AGREEMENT_INVALID`` when the file is malformed, a seal is not over these bytes,
            a party's seal is missing, or there is one too many; ``CERTIFICATE_EXPIRED`` or
            ``CERTIFICATE_UNTRUSTED`` when a seal's certificate does not stand.
    """
    agreement, sealed = _read(jws)
    signers = [judge_seal(each.certificate, authorities, at) for each in sealed.signatures]
    parties = _parties(agreement)
    for number, signer in enumerate(signers):
        if signer not in parties:
            raise _invalid(f"/signatures/{number}", f"{signer} is not a party")
        if signer in signers[:number]:
            raise _invalid(f"/signatures/{number}", f"{signer} sealed twice")
    if missing := [str(party) for party in parties if party not in signers]:
        raise _invalid("/signatures", f"the seal of {' and '.join(missing)} is missing")
    return agreement


def _read(jws: bytes) -> tuple[Agreement, Jws]:
    with _as_agreement():
        sealed = parse_jws(jws, SEAL_TYPE, _NOUN)
        agreement = parse_agreement(sealed.payload)
        if format_agreement(agreement) != sealed.payload:
            raise _invalid("/payload", "is not in the canonical form")
        for number, signature in enumerate(sealed.signatures):
            signature.check(sealed.payload, f"{_NOUN}#/signatures/{number}")
    return agreement, sealed


def _is_sealed(document: bytes) -> bool:
    with _as_agreement():
        value = parse_document(document, MAX_JWS_BYTES, _NOUN).value
    return isinstance(value, dict) and "signatures" in value


def _parties(agreement: Agreement) -> tuple[MemberId, ...]:
    return tuple(dict.fromkeys((agreement.provider, agreement.consumer.member)))


@contextmanager
def _as_agreement() -> Iterator[None]:
    """Tell faults of documents and signatures as faults of the agreement."""
    try:
        yield
    except Problem as problem:
        if problem.code not in {Code.INVALID_DOCUMENT, Code.INVALID_SIGNATURE}:
            raise
        raise Problem(
            Code.AGREEMENT_INVALID, where=problem.where, detail=problem.detail
        ) from problem


def _invalid(pointer: str, detail: str) -> Problem:
    return Problem(Code.AGREEMENT_INVALID, where=f"{_NOUN}#{pointer}", detail=detail)
