"""Who is in the reference world: instance LA, its members, servers, services and agreements.

Codes and names are those of the institutions; their records are made up
(:mod:`console.reference_world.data`).
"""

from __future__ import annotations

from pathlib import Path

from adapters import kinds
from console.reference_world import registers
from console.reference_world.plans import ApplicationPlan, MemberPlan, ServerPlan, ServicePlan
from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text
from schemas import load_all

INSTANCE = "LA"
NAME = Text("Lao PDR", "ສປປ ລາວ")
PURPOSE = "national-budget"
REVENUE = "enterprise-revenue"
FOLLOWING = "legal-grounds"
PENSIONS = "pension-payments"
FISCAL_YEAR = 2025

DGC, MPI, MOFA, MOF, MOIC, SIA = (
    MemberId(INSTANCE, "GOV", code) for code in ("DGC", "MPI", "MOFA", "MOF", "MOIC", "SIA")
)
DGC_SERVER, MPI_SERVER, MOFA_SERVER, MOF_SERVER, MOIC_SERVER = (
    ServerId.parse(f"{member}/ss1") for member in (DGC, MPI, MOFA, MOF, MOIC)
)
MOJ, MOHA = (MemberId(INSTANCE, "GOV", code) for code in ("MOJ", "MOHA"))
BUDGET = ApplicationId.parse(f"{MOF}/budget")
PORTAL = ApplicationId.parse(f"{MOIC}/services-portal")
PROJECTS = ServiceId.parse(f"{MPI}/oda-mis/projects")
DISBURSEMENTS = ServiceId.parse(f"{MPI}/oda-mis/disbursements")
INGO_PROJECTS = ServiceId.parse(f"{MOFA}/ingo-register/projects")
PAYMENTS = ServiceId.parse(f"{MPI}/province-reports/payments")
LAWS = ServiceId.parse(f"{MOJ}/gazette/laws")
PERSONS = ServiceId.parse(f"{MOHA}/civil-register/persons")
PROCEDURES = ServiceId.parse(f"{MOIC}/services-portal/trade-procedures")
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

LEGAL_BASIS = "ກົດໝາຍວ່າດ້ວຍວິສາຫະກິດ (Law on enterprises)"
ENTERPRISE = "la-enterprise:0100001"
INSPECTION = ApplicationId.parse(f"{SIA}/inspection")


def plans(folder: Path) -> tuple[ServerPlan, ...]:
    """The servers of the world; ``folder`` holds the legacy databases and their mappings.

    The OpenAPI document of each service is generated from its mapping and written beside it.
    """
    oda_mis, ingo, enterprises, provinces, trade = (
        folder / f"{name}.yaml"
        for name in (
            "oda-mis",
            "ingo-register",
            "enterprise-register",
            "province-reports",
            "trade-portal",
        )
    )
    planning = MemberPlan(
        MPI,
        Text("Ministry of Planning and Investment", "ກະຊວງແຜນການ ແລະ ການລົງທຶນ"),
        (
            _application(MPI, "oda-mis", "ODA-MIS", "ລະບົບຂໍ້ມູນຂ່າວສານ ODA"),
            _application(MPI, "province-reports", "Reports of provinces", "ລາຍງານຂອງແຂວງ"),
        ),
        (
            _service(PROJECTS, oda_mis, "/projects?page_size=5", PURPOSE),
            _service(
                DISBURSEMENTS, oda_mis, f"/summary?fiscal_year={FISCAL_YEAR}&page_size=5", PURPOSE
            ),
            _service(PAYMENTS, provinces, "/payments?page_size=5", PURPOSE),
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
        (
            _service(ENTERPRISES, enterprises, "/enterprises?page_size=5", REVENUE),
            _service(PROCEDURES, trade, "/procedures/EXP-COF-01", REVENUE),
        ),
    )
    return (
        ServerPlan(MPI_SERVER, (planning,)),
        ServerPlan(MOFA_SERVER, (foreign,)),
        ServerPlan(MOF_SERVER, (finance,)),
        ServerPlan(MOIC_SERVER, (commerce,)),
        ServerPlan(DGC_SERVER, _hosted_by_dgc(folder)),
    )


def _hosted_by_dgc(folder: Path) -> tuple[MemberPlan, ...]:
    centre = MemberPlan(
        DGC,
        Text("Digital Government Center", "ສູນລັດຖະບານດິຈິຕອນ"),
        (_application(DGC, "e-services", "Common e-Service platform", "ລະບົບບໍລິການເອເລັກໂຕຣນິກ"),),
    )
    services = {
        MOJ: _service(LAWS, folder / "gazette.yaml", "/laws?page_size=5", FOLLOWING),
        MOHA: _service(
            PERSONS, folder / "civil-register.yaml", f"/persons/{registers.PERSON}", PENSIONS
        ),
    }
    others = []
    for code, english, lao, application, name_en, name_lo in HOSTED:
        member = MemberId(INSTANCE, "GOV", code)
        others.append(
            MemberPlan(
                member,
                Text(english, lao),
                (_application(member, application, name_en, name_lo),),
                (services[member],) if member in services else (),
            )
        )
    return (centre, *others)


def _application(
    member: MemberId, code: str, english: str, lao: str, mode: str = "mtls"
) -> ApplicationPlan:
    return ApplicationPlan(ApplicationId.parse(f"{member}/{code}"), Text(english, lao), mode)


def _service(service: ServiceId, mapping: Path, example: str, purpose: str) -> ServicePlan:
    found = kinds.read(mapping)
    openapi = mapping.with_name(f"openapi.{service.application_code}.{service.service_code}.json")
    openapi.write_bytes(found.document(service.service_code, load_all()))
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
