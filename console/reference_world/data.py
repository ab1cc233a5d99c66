"""The legacy databases of the reference world, generated: same seed, same bytes.

Their shape is that of a PHP and MySQL system of 2012: tables called ``tbl_…``, dates as text in
d/m/Y, small integers for flags, codes of its own and free text where a code should be.

One project, :data:`BROKEN_PROJECT`, breaks the shared schema (its commitment is negative). It is a
draft, so no list shows it; ``GET /projects/{code}`` reaches it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import (
    CHAR,
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
)

from console.reference_world import codes
from console.reference_world.writing import Rows, write_tables, written

SEED = 20120901
PROJECTS = 500
DISBURSEMENTS = 5_000
ENTERPRISES = 200
FISCAL_YEARS = (2023, 2024, 2025, 2026)
BROKEN_PROJECT = "LA-2024-9999"
"""The project whose record breaks the schema ``aid-project``: ``commitment`` is negative."""

_MONEY = Numeric(18, 2)
_LAO_TEXT = String(250)

oda_mis = MetaData()
_province = Table(
    "tbl_province",
    oda_mis,
    Column("prov_code", CHAR(3), primary_key=True),
    Column("name_en", String(60)),
    Column("name_la", _LAO_TEXT),
)
_sector = Table(
    "tbl_swg",
    oda_mis,
    Column("swg_code", CHAR(5), primary_key=True),
    Column("name_en", String(60)),
    Column("name_la", _LAO_TEXT),
)
_donor = Table(
    "tbl_donor",
    oda_mis,
    Column("donor_id", Integer, primary_key=True, autoincrement=False),
    Column("donor_ref", String(20)),
    Column("name_en", String(120)),
    Column("name_la", _LAO_TEXT),
)
_project = Table(
    "tbl_project",
    oda_mis,
    Column("pid", Integer, primary_key=True, autoincrement=False),
    Column("proj_code", String(40), unique=True, nullable=False),
    Column("title_en", String(250)),
    Column("title_la", _LAO_TEXT),
    Column("descr_en", String(1000)),
    Column("donor_id", Integer, index=True),
    Column("impl_ref", String(20)),
    Column("impl_en", String(120)),
    Column("impl_la", _LAO_TEXT),
    Column("swg", CHAR(5), index=True),
    Column("dac", String(5)),
    Column("aid_type", String(4)),
    Column("fin_type", SmallInteger),
    Column("stat", String(4)),
    Column("prov_list", String(250)),
    Column("date_start", String(10)),
    Column("date_end", String(10)),
    Column("date_sign", Date),
    Column("amt_commit", _MONEY),
    Column("cur", CHAR(3)),
    Column("amt_usd", _MONEY),
    Column("sdg", String(20)),
    Column("is_public", SmallInteger),
    Column("upd_time", DateTime().with_variant(String(19), "sqlite")),
)
_project_province = Table(
    "tbl_project_prov",
    oda_mis,
    Column("pid", Integer, primary_key=True, autoincrement=False),
    Column("prov_code", CHAR(3), primary_key=True),
    Column("pct", Numeric(5, 2)),
)
_disbursement = Table(
    "tbl_disb",
    oda_mis,
    Column("disb_id", Integer, primary_key=True, autoincrement=False),
    Column("pid", Integer, index=True),
    Column("disb_date", String(10)),
    Column("fy", SmallInteger, index=True),
    Column("plan_flag", SmallInteger),
    Column("ttype", SmallInteger),
    Column("amt", _MONEY),
    Column("cur", CHAR(3)),
    Column("amt_usd", _MONEY),
    Column("prov_code", CHAR(3)),
    Column("remark_la", _LAO_TEXT),
)

enterprise_register = MetaData()
_enterprise = Table(
    "tbl_ent",
    enterprise_register,
    Column("reg_no", String(20), primary_key=True),
    Column("tin", String(14)),
    Column("name_en", String(200)),
    Column("name_la", _LAO_TEXT),
    Column("form_code", String(4)),
    Column("state_flag", SmallInteger),
    Column("reg_date", Date),
    Column("prov", CHAR(3)),
    Column("dist_en", String(60)),
    Column("dist_la", _LAO_TEXT),
    Column("isic", CHAR(4)),
    Column("cap_kip", _MONEY),
    Column("foreign_pct", Numeric(5, 2)),
    Column("emp", Integer),
)


def write_oda_mis(target: Path | str) -> None:
    """Write ODA-MIS into a SQLite file, or the database at a SQLAlchemy address; what was there
    under the same names is replaced.
    """
    chance = random.Random(SEED)
    projects, shares = _projects(chance)
    disbursements = _disbursements(chance, projects, shares)
    write_tables(
        target,
        oda_mis,
        (
            (_province, [_names(one, "prov_code") for one in codes.PROVINCES]),
            (_sector, [_names(one, "swg_code") for one in codes.SECTORS]),
            (_donor, _donors()),
            (_project, [*projects, _broken()]),
            (_project_province, [*shares, {"pid": 9999, "prov_code": "VTC", "pct": Decimal(100)}]),
            (_disbursement, disbursements),
        ),
    )


def write_enterprises(target: Path | str) -> None:
    """Write the enterprise register; as :func:`write_oda_mis`."""
    write_tables(
        target, enterprise_register, ((_enterprise, _enterprises(random.Random(SEED + 2))),)
    )


# ODA-MIS.


def _names(one: codes.Named, key: str) -> dict[str, Any]:
    return {key: one.code, "name_en": one.english, "name_la": one.lao}


def _donors() -> Rows:
    return [
        {"donor_id": number, "donor_ref": one.code, "name_en": one.english, "name_la": one.lao}
        for number, one in enumerate(codes.DONORS, 1)
    ]


def _projects(chance: random.Random) -> tuple[Rows, Rows]:
    projects: Rows = []
    shares: Rows = []
    for number in range(1, PROJECTS + 1):
        places = chance.sample(codes.PROVINCES, chance.choice((1, 1, 1, 2, 2, 3, 5)))
        project = _project_row(chance, number, [place.code for place in places])
        projects.append(project)
        rest = Decimal(100)
        for index, place in enumerate(places):
            last = index == len(places) - 1
            part = rest if last else (rest / (len(places) - index)).quantize(Decimal("1"))
            rest -= part
            shares.append({"pid": number, "prov_code": place.code, "pct": part})
    return projects, shares


def _project_row(chance: random.Random, number: int, places: Sequence[str]) -> dict[str, Any]:
    sector = chance.choice(codes.SECTORS).code
    purpose, subjects = codes.SUBJECTS[sector]
    english, lao = chance.choice(subjects)
    phase_en, phase_lo = chance.choice(codes.PHASES)
    agency = codes.AGENCIES[sector]
    start = date(chance.choice((2021, 2022, 2023, 2024, 2025)), chance.randint(1, 12), 1)
    end = start + timedelta(days=chance.choice((730, 1095, 1460, 1825)))
    currency = chance.choices(tuple(codes.RATES), (12, 4, 2, 1, 2))[0]
    usd = Decimal(chance.randint(20, 2_000)) * 10_000
    place = next(one for one in codes.PROVINCES if one.code == places[0])
    return {
        "pid": number,
        "proj_code": f"LA-{start.year}-{number:04d}",
        "title_en": f"{english} in {place.english}{phase_en}",
        # A title here and there has stray blanks, or was never translated.
        "title_la": None if number % 41 == 0 else f" {lao} {place.lao}{phase_lo}"[number % 2 :],
        "descr_en": None if number % 3 else f"{english}: support to {agency.english}.",
        "donor_id": chance.randint(1, len(codes.DONORS)),
        "impl_ref": agency.code,
        "impl_en": agency.english,
        "impl_la": agency.lao,
        "swg": sector,
        "dac": purpose,
        "aid_type": chance.choices(("C01", "D02", "B04"), (8, 2, 1))[0],
        "fin_type": chance.choices((110, 421), (4, 1))[0],
        "stat": _state(chance, start, end),
        "prov_list": ", ".join(
            chance.choice(codes.PROVINCE_SPELLINGS.get(code, (code,))) for code in places
        ),
        "date_start": written(start),
        "date_end": written(end),
        "date_sign": None if number % 17 == 0 else start - timedelta(days=chance.randint(10, 120)),
        "amt_commit": _converted(usd, currency),
        "cur": currency,
        "amt_usd": None if number % 29 == 0 else usd.quantize(Decimal("0.01")),
        "sdg": None if number % 13 == 0 else codes.GOALS[sector],
        "is_public": 1,
        "upd_time": datetime(2026, 1, 5, 8) + timedelta(minutes=chance.randint(0, 400_000)),
    }


def _broken() -> dict[str, Any]:
    project = _project_row(random.Random(SEED - 1), 9999, ["VTC"])
    return project | {
        "proj_code": BROKEN_PROJECT,
        "title_en": "Draft entered twice, with a minus",
        "amt_commit": Decimal("-1500000.00"),
        "is_public": 0,
    }


def _state(chance: random.Random, start: date, end: date) -> str:
    if end < date(2026, 1, 1):
        return chance.choice(("FIN", "CLS"))
    return chance.choices(codes.STATES, (2, 20, 1, 1, 1, 1))[0]


def _disbursements(chance: random.Random, projects: Rows, shares: Rows) -> Rows:
    places: dict[int, list[str]] = {}
    for share in shares:
        places.setdefault(share["pid"], []).append(share["prov_code"])
    rows: Rows = []
    # Plan and payment in turn; four fifths of what is planned is paid, as in real years.
    for number in range(1, DISBURSEMENTS + 1):
        project = projects[(number - 1) // 2 % len(projects)]
        planned = number % 2 == 1
        if planned:
            year = chance.choice(FISCAL_YEARS)
            usd = Decimal(chance.randint(1_000, 900_000)) + Decimal(chance.randint(0, 99)) / 100
            place = chance.choice(places[project["pid"]])
        else:
            usd = (usd * chance.randint(58, 100) / 100).quantize(Decimal("0.01"))
        day = date(year, chance.randint(1, 12), chance.randint(1, 28))
        rows.append(
            {
                "disb_id": number,
                "pid": project["pid"],
                "disb_date": written(day),
                "fy": year,
                "plan_flag": int(planned),
                "ttype": 3 if number % 5 else 4,
                "amt": _converted(usd, project["cur"]),
                "cur": project["cur"],
                "amt_usd": usd,
                "prov_code": place,
                "remark_la": f"ງວດທີ {number % 4 + 1} ປີ {year}" if number % 7 == 0 else None,
            }
        )
    return rows


# The enterprise register.


def _enterprises(chance: random.Random) -> Rows:
    return [_enterprise_row(chance, number) for number in range(1, ENTERPRISES + 1)]


def _enterprise_row(chance: random.Random, number: int) -> dict[str, Any]:
    english, lao = chance.choice(codes.NAMES)
    trade, trade_lao, isic = chance.choice(codes.TRADES)
    province = chance.choice(codes.PROVINCES).code
    district = codes.DISTRICTS.get(province, (None, None))
    return {
        "reg_no": f"01{number:05d}",
        "tin": None if number % 19 == 0 else f"{chance.randint(10**11, 10**12 - 1)}",
        "name_en": f"{english} {trade} {number}",
        "name_la": f"{lao} {trade_lao} {number}",
        "form_code": chance.choices(codes.LEGAL_FORMS, (8, 2, 8, 6, 1, 1, 1, 1, 1))[0],
        "state_flag": chance.choices((1, 2, 0), (17, 2, 1))[0],
        "reg_date": date(2008, 1, 1) + timedelta(days=chance.randint(0, 6_500)),
        "prov": province,
        "dist_en": district[0],
        "dist_la": district[1],
        "isic": isic,
        "cap_kip": Decimal(chance.randint(10, 50_000)) * 1_000_000,
        "foreign_pct": Decimal(chance.choice((0, 0, 0, 0, 30, 49, 100))),
        "emp": None if number % 11 == 0 else chance.randint(1, 400),
    }


def _converted(usd: Decimal, currency: str) -> Decimal:
    return (usd / Decimal(codes.RATES[currency])).quantize(Decimal("0.01"))
