"""The document form of agreements: read strictly, written canonically."""

from __future__ import annotations

import re
from typing import Any, Final

from exchange.agreements.mandate import Mandate, format_mandate, parse_mandate
from exchange.agreements.reading import (
    NOUN,
    as_agreement,
    name,
    optional,
    text,
)
from exchange.agreements.rows import format_rows, parse_rows
from exchange.agreements.values import (
    LIMITS,
    MAX_RETENTION_DAYS,
    Agreement,
    Asked,
    Contact,
    Endpoint,
    Grant,
    Keep,
    Kind,
    Limits,
    Party,
    Purpose,
    Quota,
    Retention,
)
from exchange.contracts.projection import MAX_FIELDS, Projection
from exchange.documents import Members, Node, format_document, format_moment, parse_document
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.once_only.evidence_requests import BasisKind

MAX_AGREEMENT_BYTES: Final = 256 * 1024
MAX_GRANTS: Final = 64
MAX_ENDPOINTS: Final = 256
MAX_PURPOSES: Final = 64
MAX_CONTACTS: Final = 16
MAX_QUOTA: Final = 10**12
MAX_VERSION: Final = 10**6
MAX_DELAY_DAYS: Final = 3660
METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_TEMPLATE: Final = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%{}]*)+")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


def parse_agreement(payload: bytes) -> Agreement:
    """Parse an agreement document, however it is spaced and ordered.

    Raises:
        Problem: ``AGREEMENT_INVALID`` with the JSON pointer of the fault: an unknown or missing
            key, a value of another form or past its cap, or an inconsistency.
    """
    with as_agreement():
        document = parse_document(payload, MAX_AGREEMENT_BYTES, NOUN)
        members = document.members(
            frozenset(
                {"id", "version", "title", "provider", "consumer", "grants"}
                | {"valid_from", "valid_until"}
            ),
            frozenset({"purposes", "quota", "limits", "retention", "contacts", "kind", "mandate"})
            | {"disclosure_delay_days", "group", "subject"},
        )
        return Agreement(
            id=name(members["id"]),
            version=members["version"].integer(1, MAX_VERSION),
            title=members["title"].bilingual(),
            provider=members["provider"].identifier(MemberId),
            consumer=members["consumer"].identifier(ApplicationId),
            grants=tuple(_grant(node) for node in members["grants"].items(MAX_GRANTS, 1)),
            valid_from=members["valid_from"].moment(),
            valid_until=members["valid_until"].moment(),
            purposes=tuple(_purpose(node) for node in optional(members, "purposes", MAX_PURPOSES)),
            quota=_quota(members.get("quota")),
            limits=_limits(members.get("limits")),
            retention=_retention(members.get("retention")),
            contacts=tuple(_contact(node) for node in optional(members, "contacts", MAX_CONTACTS)),
            mandate=_mandate(members),
            disclosure_delay_days=_days(members.get("disclosure_delay_days")),
            subject=_asked(members.get("subject")),
            group=None if (group := members.get("group")) is None else name(group),
        )


def format_agreement(agreement: Agreement) -> bytes:
    """The canonical bytes, which are what the parties seal; ``parse_agreement`` reads them back."""
    quota = agreement.quota
    return format_document(
        {
            **_said(agreement),
            "id": agreement.id,
            "version": agreement.version,
            "title": agreement.title.as_dict(),
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
                    **({"rows": format_rows(grant.rows)} if grant.rows else {}),
                    **_format_basis(grant.request_basis),
                }
                for grant in agreement.grants
            ],
            "purposes": [
                {
                    "code": purpose.code,
                    "title": purpose.title.as_dict(),
                    "legal_basis": purpose.legal_basis.as_dict(),
                    **_format_basis(purpose.request_basis),
                }
                for purpose in agreement.purposes
            ],
            "quota": {"per_day": quota.per_day, "per_second": quota.per_second},
            "valid_from": format_moment(agreement.valid_from),
            "valid_until": format_moment(agreement.valid_until),
            "retention": _format_retention(agreement.retention),
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


def _said(agreement: Agreement) -> dict[str, Any]:
    """The members that are written only where they say something."""
    said: dict[str, Any] = {}
    if limits := agreement.limits.given():
        said["limits"] = limits
    if agreement.mandate is not None:
        said |= {"kind": agreement.kind.value, "mandate": format_mandate(agreement.mandate)}
    if agreement.disclosure_delay_days:
        said["disclosure_delay_days"] = agreement.disclosure_delay_days
    if agreement.subject is not None:
        said["subject"] = agreement.subject.value
    if agreement.group is not None:
        said["group"] = agreement.group
    return said


def _mandate(members: Members) -> Mandate | None:
    kind, mandate = members.get("kind"), members.get("mandate")
    if kind is not None and kind.text() not in set(Kind):
        raise kind.refuse(f"must be one of {', '.join(Kind)}")
    audit = kind is not None and kind.text() == Kind.AUDIT
    if audit is (mandate is None):
        raise members.node.refuse("has a mandate exactly when its kind is audit")
    return None if mandate is None else parse_mandate(mandate)


def _days(node: Node | None) -> int:
    return 0 if node is None else node.integer(0, MAX_DELAY_DAYS)


def _grant(node: Node) -> Grant:
    members = node.members(
        frozenset({"service", "endpoints", "fields"}), frozenset({"rows", "request_basis"})
    )
    place = members["fields"]
    fields = [field.text() for field in place.items(MAX_FIELDS, 1)]
    return Grant(
        service=members["service"].identifier(ServiceId),
        endpoints=tuple(_endpoint(each) for each in members["endpoints"].items(MAX_ENDPOINTS, 1)),
        projection=Projection.compile(fields, f"{place.noun}#{place.pointer}"),
        rows=parse_rows(members.get("rows")),
        request_basis=_basis(members.get("request_basis")),
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
    members = node.members(
        frozenset({"code", "title", "legal_basis"}), frozenset({"request_basis"})
    )
    return Purpose(
        name(members["code"]),
        members["title"].bilingual(),
        members["legal_basis"].bilingual(),
        _basis(members.get("request_basis")),
    )


def _basis(node: Node | None) -> frozenset[BasisKind]:
    if node is None:
        return frozenset()
    found: set[BasisKind] = set()
    for each in node.items(len(BasisKind), 1):
        if each.text() not in set(BasisKind) - found:
            raise each.refuse(f"must be one of {', '.join(BasisKind)}, each at most once")
        found.add(BasisKind(each.text()))
    return frozenset(found)


def _format_basis(kinds: frozenset[BasisKind]) -> dict[str, list[str]]:
    return {"request_basis": sorted(kinds)} if kinds else {}


def _quota(node: Node | None) -> Quota:
    if node is None:
        return Quota()
    members = node.members(frozenset(), frozenset({"per_day", "per_second"}))
    return Quota(_limit(members.get("per_day")), _limit(members.get("per_second")))


def _limits(node: Node | None) -> Limits:
    if node is None:
        return Limits()
    members = node.members(frozenset(), frozenset(LIMITS))
    given = ((name, members.get(name)) for name in LIMITS)
    return Limits(
        **{name: each.integer(1, LIMITS[name]) for name, each in given if each is not None}
    )


def _limit(node: Node | None) -> int | None:
    return None if node is None else node.integer(1, MAX_QUOTA)


def _retention(node: Node | None) -> Retention:
    if node is None:
        return Retention()
    if isinstance(node.value, str):
        return Retention(_keep(node))
    members = node.members(frozenset({"days", "keep"}))
    return Retention(_keep(members["keep"]), members["days"].integer(1, MAX_RETENTION_DAYS))


def _keep(node: Node) -> Keep:
    text = node.text()
    if text not in set(Keep):
        raise node.refuse(f"must be one of {', '.join(Keep)}")
    return Keep(text)


def _format_retention(retention: Retention) -> str | dict[str, str | int]:
    """One word where no days are agreed."""
    if retention.days is None:
        return retention.keep.value
    return {"days": retention.days, "keep": retention.keep.value}


def _asked(node: Node | None) -> Asked | None:
    if node is None:
        return None
    if node.text() != Asked.REQUIRED:
        raise node.refuse(f"must be {Asked.REQUIRED}, or left out")
    return Asked.REQUIRED


def _contact(node: Node) -> Contact:
    members = node.members(frozenset({"party", "name"}), frozenset({"email", "phone"}))
    party, email = members["party"], text(members.get("email"))
    if party.text() not in set(Party):
        raise party.refuse(f"must be one of {', '.join(Party)}")
    if email is not None and not _EMAIL.fullmatch(email):
        raise members["email"].refuse("must be an e-mail address")
    return Contact(Party(party.text()), members["name"].text(), email, text(members.get("phone")))
