"""Allowances: whether an agreement opens an element to an application, as far as this server knows.

Of a provider that is hosted here its pinned agreements decide, and they are known here. Of others
the caller's member has copies, in the same folder: what they say is told, and who told it, since
the provider may have revoked one meanwhile. Only where no copy lies here nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from exchange.agreements import Agreement, Grant
from exchange.contracts.contract import Contract
from exchange.documents import format_moment
from exchange.identifiers import ApplicationId
from exchange.once_only.elements import Element
from exchange.problems import Code, Problem, Text
from mediator.agreements.agreed import Agreed
from mediator.agreements.pinned import PinnedAgreements

UNKNOWN: Final = Text(
    "No copy of an agreement with this provider lies at this server; only the provider's knows.",
    "ເຄື່ອງແມ່ຂ່າຍນີ້ບໍ່ມີສຳເນົາຂໍ້ຕົກລົງກັບຜູ້ໃຫ້ບໍລິການນີ້; ມີແຕ່ເຄື່ອງແມ່ຂ່າຍຂອງຜູ້ໃຫ້ບໍລິການທີ່ຮູ້.",
)
UNDESCRIBED: Final = Text(
    "The registry has no contract of this service now.", "ສູນທະບຽນບໍ່ມີສັນຍາຂອງບໍລິການນີ້ໃນຂະນະນີ້."
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether (None: not known), why, and of whom that is known: ``provider`` or ``copy``."""

    allowed: bool | None
    because: dict[str, Any]


def allowance(
    element: Element,
    client: ApplicationId,
    contract: Contract | None,
    agreements: PinnedAgreements,
    at: datetime,
) -> Allowance:
    """What is known of an element and an application that may want it.

    Args:
        contract: that of the element's source, if the registry has one.
    """
    service = element.source.service
    here = agreements.is_of(service.member)
    agreed = agreements.own if here else agreements.held
    known_from = "provider" if here else "copy"
    if not here and not agreed.knows(client, service):
        return Allowance(None, {"known_from": None, "message": UNKNOWN.as_dict()})
    if contract is None:
        return Allowance(None, {"known_from": None, "message": UNDESCRIBED.as_dict()})
    found = _judge(element, client, contract, agreed, at)
    if isinstance(found, Problem):
        told = {"code": found.code.value, "detail": found.detail}
        cause = {"message": found.entry.cause.as_dict()}
        return Allowance(False, {"known_from": known_from, **told, **cause})
    return Allowance(True, {"known_from": known_from, **_granted(*found)})


def _judge(
    element: Element, client: ApplicationId, contract: Contract, agreed: Agreed, at: datetime
) -> tuple[Agreement, Grant] | Problem:
    service = element.source.service
    path = element.source.path_of("x").partition("?")[0]
    try:
        template = contract.find("GET", path).operation.template
    except Problem as problem:
        return problem
    asked = (client, service, "GET", template, at)
    opening = agreed.opening(*asked)
    if not opening:
        return agreed.closed(*asked)
    for agreement, grant in opening:
        if grant.projection.releases(element.source.pointer):
            return agreement, grant
    named = ", ".join(agreement.reference for agreement, _ in opening)
    detail = f"{named} does not release {element.source.pointer}"
    return Problem(Code.FIELD_NOT_RELEASED, where="fields", detail=detail)


def _granted(agreement: Agreement, grant: Grant) -> dict[str, Any]:
    """What a call under the agreement needs."""
    codes: list[str | None] = [purpose.code for purpose in agreement.purposes]
    return {
        "agreement": agreement.reference,
        "valid_until": format_moment(agreement.valid_until),
        "purposes": [
            {"code": code, "request_basis": sorted(agreement.demanded(grant, code))}
            for code in codes or [None]
        ],
    }
