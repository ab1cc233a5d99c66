"""What the members of the reference world have agreed on, what auditors may see, and which facts
have one source."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from console.reference_world.laos import (
    BUDGET,
    DISBURSEMENTS,
    ENTERPRISE,
    ENTERPRISES,
    FOLLOWING,
    INGO_PROJECTS,
    INSPECTION,
    LAWS,
    MOF,
    MOFA,
    MOHA,
    MOIC,
    MOJ,
    MPI,
    PAYMENTS,
    PENSIONS,
    PERSONS,
    PROCEDURES,
    PROJECTS,
    PURPOSE,
    REVENUE,
)
from exchange.identifiers import MemberId, ServiceId
from exchange.journal.auditing import JOURNAL, USAGE, auditing_service
from exchange.problems import Text

_SUMMARY_FIELDS = (
    "/items/*/fiscal_year",
    "/items/*/province",
    "/items/*/sector_working_group",
    "/items/*/actual_usd",
    "/items/*/projects",
    "/items/*/disbursements",
    "/next",
)
_PROJECT_FIELDS = ("code", "title", "donor", "sector_working_group", "status", "provinces")
_ENTERPRISE_FIELDS = (
    "registration_number", "tax_number", "name", "legal_form", "status", "province",
)  # fmt: skip
_ELEMENTS = (
    ("enterprise.name", "Registered name", "ຊື່ວິສາຫະກິດ", "/name/lo"),
    ("enterprise.status", "Whether it is active", "ສະຖານະ", "/status"),
    ("enterprise.tax-number", "Tax number", "ເລກປະຈຳຕົວຜູ້ເສຍອາກອນ", "/tax_number"),
)


def elements() -> list[dict[str, Any]]:
    """Facts about enterprises that nobody needs to be asked for: the register gives them."""
    return [
        {
            "id": identifier,
            "version": 1,
            "name": {"en": english, "lo": lao},
            "definition": {"en": f"{english}, as registered", "lo": f"{lao}ຕາມທະບຽນວິສາຫະກິດ"},
            "schema": {"type": "string"},
            "subject": ENTERPRISE.partition(":")[0],
            "source": {
                "service": str(ENTERPRISES),
                "path": "/enterprises/{subject}",
                "pointer": pointer,
            },
            "legal_basis": {"en": "Law on enterprises", "lo": "ກົດໝາຍວ່າດ້ວຍວິສາຫະກິດ"},
            "validity": "P1D",
        }
        for identifier, english, lao, pointer in _ELEMENTS
    ]


def agreements(now: datetime) -> tuple[dict[str, Any], ...]:
    """What the ministries agree on: MOF reads of MPI, MOFA and MOIC, from this year to the next."""
    return (
        _agreement(
            MPI,
            Text(
                "Aid in the national budget: projects and disbursements",
                "ການຊ່ວຍເຫຼືອໃນງົບປະມານແຫ່ງຊາດ: ໂຄງການ ແລະ ການເບີກຈ່າຍ",
            ),
            [
                _grant(DISBURSEMENTS, ("/summary",), _SUMMARY_FIELDS),
                _grant(
                    PROJECTS,
                    ("/projects", "/projects/{code}"),
                    (
                        *(f"/items/*/{name}" for name in _PROJECT_FIELDS),
                        *(f"/{name}" for name in _PROJECT_FIELDS),
                        "/next",
                    ),
                ),
                _grant(PAYMENTS, ("/payments",), ("*",)),
            ],
            _BUDGET_PURPOSE,
            now,
        ),
        _agreement(
            MOFA,
            Text(
                "Aid in the national budget: non-governmental organisations",
                "ການຊ່ວຍເຫຼືອໃນງົບປະມານແຫ່ງຊາດ: ອົງການຈັດຕັ້ງສາກົນ",
            ),
            [_grant(INGO_PROJECTS, ("/summary",), _SUMMARY_FIELDS)],
            _BUDGET_PURPOSE,
            now,
        ),
        _agreement(
            MOIC,
            Text("Enterprises and their tax numbers", "ວິສາຫະກິດ ແລະ ເລກປະຈຳຕົວຜູ້ເສຍອາກອນ"),
            [
                _grant(
                    ENTERPRISES,
                    ("/enterprises", "/enterprises/{number}"),
                    (
                        *(f"/items/*/{name}" for name in _ENTERPRISE_FIELDS),
                        *(f"/{name}" for name in _ENTERPRISE_FIELDS),
                        "/next",
                    ),
                ),
                _grant(PROCEDURES, ("/procedures", "/procedures/{code}"), ("*",)),
            ],
            _REVENUE_PURPOSE,
            now,
        ),
        *_others(now),
    )


def _others(now: datetime) -> tuple[dict[str, Any], ...]:
    """Single purposes: what law says, who is alive, what trade needs."""
    return (
        _agreement(
            MOJ,
            Text("Legal grounds of payments", "ພື້ນຖານທາງກົດໝາຍຂອງການຈ່າຍ"),
            [
                _grant(
                    LAWS,
                    ("/laws", "/laws/{id}"),
                    (
                        *(f"/items/*/{name}" for name in _LAW_FIELDS),
                        *(f"/{name}" for name in _LAW_FIELDS),
                        "/next",
                    ),
                )
            ],
            _purpose(FOLLOWING, "Legal grounds", "ພື້ນຖານທາງກົດໝາຍ", *_STATE_BUDGET),
            now,
        ),
        _agreement(
            MOHA,
            Text("Pensions of civil servants", "ເບ້ຍບຳນານຂອງລັດຖະກອນ"),
            [_grant(PERSONS, ("/persons/{nid}",), ("/nid", "/name", "/surname", "/status"))],
            _purpose(PENSIONS, "Pension payments", "ການຈ່າຍເບ້ຍບຳນານ", *_SOCIAL_SECURITY),
            now,
        ),
    )


_LAW_FIELDS = ("id", "number", "kind", "title", "issued", "in_force")
_STATE_BUDGET = ("Law on state budget", "ກົດໝາຍ ວ່າດ້ວຍງົບປະມານແຫ່ງລັດ")
_SOCIAL_SECURITY = ("Law on social security", "ກົດໝາຍ ວ່າດ້ວຍປະກັນສັງຄົມ")


def _purpose(code: str, english: str, lao: str, law_en: str, law_lo: str) -> dict[str, Any]:
    return {
        "code": code,
        "title": {"en": english, "lo": lao},
        "legal_basis": {"en": law_en, "lo": law_lo},
    }


def mandates(now: datetime) -> tuple[dict[str, Any], ...]:
    """What SIA may see: the exchanges of MOF and MPI, from this year on, and about whom."""
    return tuple(_mandate(member, now) for member in (MOF, MPI))


def _mandate(member: MemberId, now: datetime) -> dict[str, Any]:
    paths = (
        *("/checkpoint", "/anchor", "/entries", "/entries/{index}", "/entries/{index}/proof"),
        *("/evidence/{index}", "/hidings", "/completeness"),
    )
    return {
        "id": f"sia-{member.member_code.lower()}-{now.year}",
        "version": 1,
        "kind": "audit",
        "title": {
            "en": f"Inspection of the exchanges of {member.member_code}",
            "lo": f"ການກວດກາການແລກປ່ຽນຂໍ້ມູນຂອງ {member.member_code}",
        },
        "provider": str(member),
        "consumer": str(INSPECTION),
        "grants": [
            _grant(auditing_service(member, JOURNAL), paths, ("*",)),
            _grant(auditing_service(member, USAGE), ("/",), ("*",)),
        ],
        "mandate": {
            "legal_basis": {"en": "Law on State Inspection", "lo": "ກົດໝາຍ ວ່າດ້ວຍການກວດກາລັດ"},
            "period": {"from": f"{now.year}-01-01T00:00:00Z"},
            "fields": ["*", "content"],
            "subjects": True,
            "hidden": True,
        },
        "valid_from": f"{now.year}-01-01T00:00:00Z",
        "valid_until": f"{now.year + 2}-01-01T00:00:00Z",
    }


_BUDGET_PURPOSE = {
    "code": PURPOSE,
    "title": {"en": "National budget", "lo": "ງົບປະມານແຫ່ງຊາດ"},
    "legal_basis": {
        "en": "Decree on the management and use of official development assistance",
        "lo": "ດຳລັດ ວ່າດ້ວຍການຄຸ້ມຄອງ ແລະ ນຳໃຊ້ ທຶນຊ່ວຍເຫຼືອທາງການເພື່ອການພັດທະນາ",
    },
}
_REVENUE_PURPOSE = {
    "code": REVENUE,
    "title": {"en": "Revenue from enterprises", "lo": "ລາຍຮັບຈາກວິສາຫະກິດ"},
    "legal_basis": {"en": "Law on enterprises", "lo": "ກົດໝາຍ ວ່າດ້ວຍວິສາຫະກິດ"},
}


def _grant(service: ServiceId, paths: tuple[str, ...], fields: tuple[str, ...]) -> dict[str, Any]:
    return {
        "service": str(service),
        "endpoints": [{"method": "GET", "path": path} for path in paths],
        "fields": list(fields),
    }


def _agreement(
    provider: MemberId,
    title: Text,
    grants: list[dict[str, Any]],
    purpose: Mapping[str, Any],
    now: datetime,
) -> dict[str, Any]:
    return {
        "id": f"mof-{provider.member_code.lower()}-{now.year}",
        "version": 1,
        "title": title.as_dict(),
        "provider": str(provider),
        "consumer": str(BUDGET),
        "grants": grants,
        "purposes": [dict(purpose)],
        "quota": {"per_day": 1_000_000, "per_second": 5_000},
        "valid_from": f"{now.year}-01-01T00:00:00Z",
        "valid_until": f"{now.year + 2}-01-01T00:00:00Z",
        "retention": "bodies",
    }
