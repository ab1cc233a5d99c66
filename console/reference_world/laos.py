"""Who is in the reference world: instance LA, its members, servers, services and agreements.

Codes and names are those of the institutions; their records are made up
(:mod:`console.reference_world.data`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.mapping_file import load_mapping
from adapters.openapi import document
from console.reference_world import MAPPINGS, data
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from exchange.auditing import JOURNAL, USAGE, auditing_service
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from schemas import load_all

INSTANCE = "LA"
NAME = Text("Lao PDR", "ສປປ ລາວ")
PURPOSE = "national-budget"
REVENUE = "enterprise-revenue"
FISCAL_YEAR = 2025

DGC, MPI, MOFA, MOF, MOIC, SIA = (
    MemberId(INSTANCE, "GOV", code) for code in ("DGC", "MPI", "MOFA", "MOF", "MOIC", "SIA")
)
DGC_SERVER, MPI_SERVER, MOFA_SERVER, MOF_SERVER, MOIC_SERVER = (
    ServerId.parse(f"{member}/ss1") for member in (DGC, MPI, MOFA, MOF, MOIC)
)
BUDGET = ApplicationId.parse(f"{MOF}/budget")
PORTAL = ApplicationId.parse(f"{MOIC}/services-portal")
PROJECTS = ServiceId.parse(f"{MPI}/oda-mis/projects")
DISBURSEMENTS = ServiceId.parse(f"{MPI}/oda-mis/disbursements")
INGO_PROJECTS = ServiceId.parse(f"{MOFA}/ingo-register/projects")
ENTERPRISES = ServiceId.parse(f"{MOIC}/enterprise-register/enterprises")

# Members without a server of their own: DGC/ss1 hosts them. Code, names, application, its names.
HOSTED = (
    ("SIA", "State Inspection Authority", "ອົງການກວດກາແຫ່ງລັດ",
     "inspection", "Inspection", "ລະບົບກວດກາ"),
    ("LSB", "Lao Statistics Bureau", "ສູນສະຖິຕິແຫ່ງຊາດ",
     "laosis", "LAOSIS open data", "ລະບົບຂໍ້ມູນສະຖິຕິ"),
    ("MOJ", "Ministry of Justice", "ກະຊວງຍຸຕິທຳ",
     "gazette", "Official Gazette", "ຈົດໝາຍເຫດທາງລັດຖະການ"),
    ("MOHA", "Ministry of Home Affairs", "ກະຊວງພາຍໃນ",
     "civil-register", "Civil register", "ທະບຽນພົນລະເມືອງ"),
    ("MOES", "Ministry of Education and Sports", "ກະຊວງສຶກສາທິການ ແລະ ກິລາ",
     "aid-reports", "Aid reports", "ລາຍງານການຊ່ວຍເຫຼືອ"),
    ("MOH", "Ministry of Health", "ກະຊວງສາທາລະນະສຸກ",
     "aid-reports", "Aid reports", "ລາຍງານການຊ່ວຍເຫຼືອ"),
    ("MOLSW", "Ministry of Labour and Social Welfare", "ກະຊວງແຮງງານ ແລະ ສະຫວັດດີການສັງຄົມ",
     "aid-reports", "Aid reports", "ລາຍງານການຊ່ວຍເຫຼືອ"),
    ("MONRE", "Ministry of Natural Resources and Environment",
     "ກະຊວງຊັບພະຍາກອນທຳມະຊາດ ແລະ ສິ່ງແວດລ້ອມ",
     "aid-reports", "Aid reports", "ລາຍງານການຊ່ວຍເຫຼືອ"),
    ("MPWT", "Ministry of Public Works and Transport", "ກະຊວງໂຍທາທິການ ແລະ ຂົນສົ່ງ",
     "aid-reports", "Aid reports", "ລາຍງານການຊ່ວຍເຫຼືອ"),
)  # fmt: skip

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


LEGAL_BASIS = "ກົດໝາຍວ່າດ້ວຍວິສາຫະກິດ (Law on enterprises)"
ENTERPRISE = "la-enterprise:0100001"
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


INSPECTION = ApplicationId.parse(f"{SIA}/inspection")

# What the mappings take from the environment, as addresses within the folder of the databases.
_ADDRESSES = {
    "${ODA_MIS_URL}": "sqlite:///oda-mis.sqlite",
    "${ENTERPRISES_URL}": "sqlite:///enterprises.sqlite",
    "${INGO_FOLDER}": "ingo",
}


def write_databases(folder: Path) -> None:
    """Write the legacy databases into ``folder``, and the mappings with their addresses in them.

    A server of the world can so be started again with nothing but its settings file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for mapping in MAPPINGS.glob("*.yaml"):
        text = mapping.read_text("utf-8")
        for variable, address in _ADDRESSES.items():
            text = text.replace(variable, address)
        (folder / mapping.name).write_text(text, "utf-8")
    data.write_oda_mis(folder / "oda-mis.sqlite")
    data.write_enterprises(folder / "enterprises.sqlite")
    data.write_ingo_csv(folder / "ingo")


def plans(folder: Path) -> tuple[ServerPlan, ...]:
    """The servers of the world; ``folder`` holds the legacy databases and their mappings.

    The OpenAPI document of each service is generated from its mapping and written beside it.
    """
    oda_mis, ingo, enterprises = (
        folder / f"{name}.yaml" for name in ("oda-mis", "ingo-register", "enterprise-register")
    )
    planning = MemberPlan(
        MPI,
        Text("Ministry of Planning and Investment", "ກະຊວງແຜນການ ແລະ ການລົງທຶນ"),
        (_application(MPI, "oda-mis", "ODA-MIS", "ລະບົບຂໍ້ມູນຂ່າວສານ ODA"),),
        (
            _service(PROJECTS, oda_mis, "/projects?page_size=5", PURPOSE),
            _service(
                DISBURSEMENTS, oda_mis, f"/summary?fiscal_year={FISCAL_YEAR}&page_size=5", PURPOSE
            ),
        ),
    )
    foreign = MemberPlan(
        MOFA,
        Text("Ministry of Foreign Affairs", "ກະຊວງການຕ່າງປະເທດ"),
        (_application(MOFA, "ingo-register", "INGO register", "ທະບຽນອົງການຈັດຕັ້ງສາກົນ"),),
        (
            _service(
                INGO_PROJECTS, ingo, f"/summary?fiscal_year={FISCAL_YEAR}&page_size=5", PURPOSE
            ),
        ),
    )
    finance = MemberPlan(
        MOF,
        Text("Ministry of Finance", "ກະຊວງການເງິນ"),
        (_application(MOF, "budget", "National budget", "ງົບປະມານແຫ່ງຊາດ", "http"),),
    )
    commerce = MemberPlan(
        MOIC,
        Text("Ministry of Industry and Commerce", "ກະຊວງອຸດສາຫະກຳ ແລະ ການຄ້າ"),
        (
            _application(MOIC, "enterprise-register", "Enterprise register", "ທະບຽນວິສາຫະກິດ"),
            _application(MOIC, "services-portal", "Lao Services Portal", "ປະຕູການບໍລິການລາວ"),
        ),
        (_service(ENTERPRISES, enterprises, "/enterprises?page_size=5", REVENUE),),
    )
    return (
        ServerPlan(DGC_SERVER, _hosted_by_dgc()),
        ServerPlan(MPI_SERVER, (planning,)),
        ServerPlan(MOFA_SERVER, (foreign,)),
        ServerPlan(MOF_SERVER, (finance,)),
        ServerPlan(MOIC_SERVER, (commerce,)),
    )


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
                )
            ],
            _REVENUE_PURPOSE,
            now,
        ),
    )


def mandates(now: datetime) -> tuple[dict[str, Any], ...]:
    """What SIA may see: the exchanges of MOF and MPI, from this year on, and about whom."""
    return tuple(_mandate(member, now) for member in (MOF, MPI))


def _mandate(member: MemberId, now: datetime) -> dict[str, Any]:
    paths = (
        *("/checkpoint", "/entries", "/entries/{index}", "/entries/{index}/proof"),
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


def _hosted_by_dgc() -> tuple[MemberPlan, ...]:
    centre = MemberPlan(
        DGC,
        Text("Digital Government Center", "ສູນລັດຖະບານດິຈິຕອນ"),
        (_application(DGC, "e-services", "Common e-Service platform", "ລະບົບບໍລິການເອເລັກໂຕຣນິກ"),),
    )
    others = []
    for code, english, lao, application, name_en, name_lo in HOSTED:
        member = MemberId(INSTANCE, "GOV", code)
        others.append(
            MemberPlan(
                member, Text(english, lao), (_application(member, application, name_en, name_lo),)
            )
        )
    return (centre, *others)


def _application(
    member: MemberId, code: str, english: str, lao: str, mode: str = "mtls"
) -> ApplicationPlan:
    return ApplicationPlan(ApplicationId.parse(f"{member}/{code}"), Text(english, lao), mode)


def _service(service: ServiceId, mapping: Path, example: str, purpose: str) -> ServicePlan:
    found = load_mapping(mapping)
    openapi = mapping.with_name(f"openapi.{service.application_code}.{service.service_code}.json")
    openapi.write_bytes(document(found, service.service_code, load_all()))
    title = found.services[service.service_code].title
    return ServicePlan(
        service,
        Text(title["en"], title["lo"]),
        openapi,
        {"adapter": str(mapping)},
        {
            "client": str(BUDGET),
            "method": "GET",
            "path": f"/r1/{service}{example}",
            "headers": {"X-Road-Client": str(BUDGET), "Exchange-Purpose": purpose},
            "body": None,
        },
    )


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
        "title": {"en": title.en, "lo": title.lo},
        "provider": str(provider),
        "consumer": str(BUDGET),
        "grants": grants,
        "purposes": [dict(purpose)],
        "quota": {"per_day": 1_000_000, "per_second": 5_000},
        "valid_from": f"{now.year}-01-01T00:00:00Z",
        "valid_until": f"{now.year + 2}-01-01T00:00:00Z",
        "retention": "bodies",
    }
