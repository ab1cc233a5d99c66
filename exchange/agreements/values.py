"""What an agreement says, as values, and what it allows.

Times are aware. See :mod:`exchange.agreements` for the invariants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from exchange.agreements.mandate import Mandate
from exchange.agreements.reading import invalid
from exchange.agreements.rows import RowCondition
from exchange.contracts.projection import Projection
from exchange.documents import format_moment
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.once_only.evidence_requests import HEADER, BasisKind, parse_basis
from exchange.problems import Code, Problem, Text
from exchange.registrations import AUDITING

MAX_CONCURRENT: Final = 100_000
MAX_WAIT_S: Final = 86_400
MAX_RETENTION_DAYS: Final = 36_500
MAX_BODY_BYTES: Final = 2**40


class Kind(StrEnum):
    """What an agreement is about."""

    EXCHANGE = "exchange"
    """An application calls services of a provider."""
    AUDIT = "audit"
    """An auditor asks the provider's server about its journal."""


class Keep(StrEnum):
    """What a journal keeps of a message, encrypted."""

    METADATA = "metadata"
    """Nothing: the entry alone."""
    HEADERS = "headers"
    """What was signed, signature and headers; no body."""
    BODIES = "bodies"


@dataclass(frozen=True, slots=True)
class Retention:
    """What the provider's journal keeps of each message under the agreement, and for how many days
    after the month's end; None leaves it to the provider."""

    keep: Keep = Keep.BODIES
    days: int | None = None


class Asked(StrEnum):
    """Whether each call must name whom or what it is about."""

    REQUIRED = "required"


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
    """Endpoints of one service, the fields of their answers that are released, and which records
    are (all, when there are no conditions).

    With ``request_basis`` each call says why it is made (Exchange-Request-Basis), by one of these
    kinds.
    """

    service: ServiceId
    endpoints: tuple[Endpoint, ...]
    projection: Projection
    rows: tuple[RowCondition, ...] = ()
    request_basis: frozenset[BasisKind] = frozenset()

    @property
    def fields(self) -> tuple[str, ...]:
        return self.projection.fields


@dataclass(frozen=True, slots=True)
class Purpose:
    """A reason for which the consumer may ask, and the law that gives it; ``request_basis`` as a
    grant's, of each call for this purpose."""

    code: str
    title: Text
    legal_basis: Text
    request_basis: frozenset[BasisKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Quota:
    """How many calls the provider allows; None is without limit."""

    per_day: int | None = None
    per_second: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of each exchange under an agreement; None leaves it to the provider's service.

    ``concurrent`` bounds exchanges at the same time, ``connect_s``, ``first_byte_s`` and
    ``exchange_s`` the wait for the backend to be connected, and for its answer to begin and to
    end, the others the sizes of bodies. The stricter of agreement and service holds.
    """

    concurrent: int | None = None
    connect_s: int | None = None
    first_byte_s: int | None = None
    exchange_s: int | None = None
    request_max_bytes: int | None = None
    answer_max_bytes: int | None = None

    def given(self) -> dict[str, int]:
        """What is limited, by its name in the document."""
        values = {name: getattr(self, name) for name in LIMITS}
        return {name: value for name, value in values.items() if value is not None}


LIMITS: Final = {
    "concurrent": MAX_CONCURRENT,
    "connect_s": MAX_WAIT_S,
    "first_byte_s": MAX_WAIT_S,
    "exchange_s": MAX_WAIT_S,
    "request_max_bytes": MAX_BODY_BYTES,
    "answer_max_bytes": MAX_BODY_BYTES,
}
LIMIT_NAMES: Final = tuple(LIMITS)


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

    Times are aware; ``valid_until`` is the first moment at which it no longer holds. An agreement
    with a ``mandate`` is of kind *audit*. For ``disclosure_delay_days`` a use under the agreement
    is not told to the person whom it was about. ``group`` names what agreements of one text with
    many consumers have in common.
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
    retention: Retention = Retention()
    contacts: tuple[Contact, ...] = ()
    mandate: Mandate | None = None
    disclosure_delay_days: int = 0
    subject: Asked | None = None
    group: str | None = None
    _doors: Mapping[tuple[ServiceId, str, str], Grant] = field(
        init=False, repr=False, compare=False
    )
    _purpose_codes: frozenset[str] = field(init=False, repr=False, compare=False)
    _demands: Mapping[str | None, frozenset[BasisKind]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.valid_from >= self.valid_until:
            raise invalid("/valid_until", "must be after valid_from")
        codes = [purpose.code for purpose in self.purposes]
        if len(set(codes)) != len(codes):
            raise invalid("/purposes", "a purpose is listed twice")
        object.__setattr__(self, "_doors", self._open_doors())
        object.__setattr__(self, "_purpose_codes", frozenset(codes))
        demands = {one.code: one.request_basis for one in self.purposes if one.request_basis}
        object.__setattr__(self, "_demands", demands)
        for number, grant in enumerate(self.grants):
            for code, kinds in demands.items():
                if grant.request_basis and not grant.request_basis & kinds:
                    detail = f"leaves no basis that the purpose {code} takes too"
                    raise invalid(f"/grants/{number}/request_basis", detail)

    def _open_doors(self) -> dict[tuple[ServiceId, str, str], Grant]:
        doors: dict[tuple[ServiceId, str, str], Grant] = {}
        for number, grant in enumerate(self.grants):
            if grant.service.member != self.provider:
                raise invalid(
                    f"/grants/{number}/service", f"{grant.service} is not of {self.provider}"
                )
            self._check_kind(f"/grants/{number}", grant)
            for place, endpoint in enumerate(grant.endpoints):
                door = (grant.service, endpoint.method, endpoint.path)
                if door in doors:
                    raise invalid(
                        f"/grants/{number}/endpoints/{place}",
                        f"{endpoint.method} {endpoint.path} is granted twice",
                    )
                doors[door] = grant
        for (service, method, path), grant in tuple(doors.items()):
            if method == "GET":
                doors.setdefault((service, "HEAD", path), grant)
        return doors

    def _check_kind(self, place: str, grant: Grant) -> None:
        audits = grant.service.application_code == AUDITING
        if audits is not (self.mandate is not None):
            kind = Kind.AUDIT if audits else Kind.EXCHANGE
            raise invalid(f"{place}/service", f"only an agreement of kind {kind} grants this")
        if audits and not grant.projection.everything:
            raise invalid(f"{place}/fields", 'must be ["*"]: the mandate says which fields')
        if audits and grant.rows:
            raise invalid(f"{place}/rows", "must be left out: the mandate says which entries")

    @property
    def kind(self) -> Kind:
        """Whether it is about exchanges or about their audit."""
        return Kind.EXCHANGE if self.mandate is None else Kind.AUDIT

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
        *,
        has_subject: bool = False,
        basis: str = "",
    ) -> Grant:
        """The grant under which ``client`` may make this call at the time ``at``.

        Args:
            template: the path template that the service's contract found for the path.
            purpose: the code that the caller gave; needed when the agreement lists any.
            has_subject: whether the caller said whom or what it asks about (Exchange-Subject).
            basis: what it said of why it asks (Exchange-Request-Basis); read only where the grant
                or the purpose demands it.

        Raises:
            Problem: ``ACCESS_DENIED`` when the client is another or nothing here grants the
                endpoint; ``AGREEMENT_NOT_YET_VALID`` before it begins, ``AGREEMENT_EXPIRED`` from
                its end on; ``PURPOSE_NOT_ALLOWED`` when the purpose is missing or not listed;
                ``SUBJECT_MISSING`` when the agreement demands a subject and there is none;
                ``REQUEST_BASIS_MISSING`` when it demands a basis of certain kinds and there is
                none of them.
        """
        grant = self.grant(client, service, method, template)
        if grant is None:
            raise Problem(
                Code.ACCESS_DENIED,
                where=self.reference,
                detail=f"it grants {client} nothing at {method} {service} {template}",
                facts={"agreement": self.reference},
            )
        self.check_time(at)
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
        if self.subject is Asked.REQUIRED and not has_subject:
            raise Problem(
                Code.SUBJECT_MISSING,
                where=self.reference,
                detail="the call names no subject, which the agreement demands",
                facts={"agreement": self.reference},
            )
        if grant.request_basis or purpose in self._demands:
            self._check_basis(self.demanded(grant, purpose), basis)
        return grant

    def grant(
        self, client: ApplicationId, service: ServiceId, method: str, template: str
    ) -> Grant | None:
        """The grant that opens an endpoint to the client, whatever purpose and time."""
        return self._doors.get((service, method, template)) if client == self.consumer else None

    def check_time(self, at: datetime) -> None:
        """Raises: Problem ``AGREEMENT_NOT_YET_VALID`` or ``AGREEMENT_EXPIRED``."""
        if at < self.valid_from:
            raise Problem(
                Code.AGREEMENT_NOT_YET_VALID,
                where=self.reference,
                detail=f"it begins at {format_moment(self.valid_from)}",
                facts={"agreement": self.reference},
            )
        if at >= self.valid_until:
            raise Problem(
                Code.AGREEMENT_EXPIRED,
                where=self.reference,
                detail=f"it ended at {format_moment(self.valid_until)}",
                facts={"agreement": self.reference},
            )

    def demanded(self, grant: Grant, purpose: str | None) -> frozenset[BasisKind]:
        """The kinds of request basis of which a call under the grant must have one; none: it need
        not say why it is made."""
        of_grant, of_purpose = grant.request_basis, self._demands.get(purpose, frozenset())
        return of_grant & of_purpose if of_grant and of_purpose else of_grant | of_purpose

    def _check_basis(self, kinds: frozenset[BasisKind], said: str) -> None:
        names = sorted(kinds)
        wanted = " or ".join(names)
        try:
            given = parse_basis(said).kind if said else None
        except Problem as problem:
            raise self._basis_missing(f"it {problem.detail}", names) from problem
        if given not in kinds:
            has = "names no request basis" if given is None else f"is {given}"
            raise self._basis_missing(f"the call {has}, the agreement demands {wanted}", names)

    def _basis_missing(self, detail: str, names: list[BasisKind]) -> Problem:
        return Problem(
            Code.REQUEST_BASIS_MISSING,
            where=f"header.{HEADER}",
            detail=detail,
            facts={"agreement": self.reference, "request_basis": [str(name) for name in names]},
        )
