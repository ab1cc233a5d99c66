"""The register of international non-governmental organisations, in the files of its office: a
workbook of projects, and a table of dBASE with what was spent. Same seed, same bytes.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from console.reference_world import codes
from console.reference_world.data import FISCAL_YEARS, SEED
from console.reference_world.office_files import Cell, write_dbase, write_xlsx

PROJECTS: Final = 120
PROJECTS_FILE: Final = "ingo-projects.xlsx"
DISBURSEMENTS_FILE: Final = "INGODISB.DBF"
SHEET: Final = "ໂຄງການ"
_FIELDS: Final = (
    ("LINE_NO", "N", 6, 0),
    ("PROJ_NO", "C", 20, 0),
    ("YEAR", "N", 4, 0),
    ("PROVINCE", "C", 30, 0),
    ("SECTOR", "C", 40, 0),
    ("PLANNED", "N", 14, 2),
    ("SPENT", "N", 14, 2),
)


def write_ingo(folder: Path) -> tuple[Path, Path]:
    """Write the workbook and the table of the INGO register and give their paths."""
    chance = random.Random(SEED + 1)
    folder.mkdir(parents=True, exist_ok=True)
    projects = [_ingo_project(chance, number) for number in range(1, PROJECTS + 1)]
    lines = [line for project in projects for line in _ingo_lines(chance, project)]
    numbered = [(number, *line) for number, line in enumerate(lines, 1)]
    header = [name for name in projects[0] if name != "_years"]
    rows = [header, *([project[name] for name in header] for project in projects)]
    return (
        write_xlsx(folder / PROJECTS_FILE, SHEET, rows),
        write_dbase(folder / DISBURSEMENTS_FILE, _FIELDS, numbered),
    )


def _ingo_project(chance: random.Random, number: int) -> dict[str, Any]:
    organisation = chance.choice(codes.INGOS)
    sector = chance.choice([one for one in codes.SECTORS if one.code not in ("SWG04", "SWG05")])
    english, lao = chance.choice(codes.SUBJECTS[sector.code][1])
    places = chance.sample(codes.PROVINCES, chance.choice((1, 1, 2)))
    start = date(chance.choice((2022, 2023, 2024)), chance.randint(1, 12), 1)
    end = start + timedelta(days=1095)
    budget = chance.randint(40, 900) * 1_000
    return {
        "INGO Project No.": f"INGO-{start.year}-{number:03d}",
        "ຊື່ໂຄງການ": f"{lao} {places[0].lao}",
        "Project title": f"{english}, {places[0].english}",
        "Organisation No.": organisation.code,
        "Organisation": organisation.english,
        "ອົງການ": organisation.lao,
        "MOU": f"{chance.randint(1, 400)}/ກຕທ" if number % 9 else "-",
        "Partner": codes.AGENCIES[sector.code].english,
        "ຄູ່ຮ່ວມງານ": codes.AGENCIES[sector.code].lao,
        "Sector": sector.english,
        "Provinces": " / ".join(place.english for place in places),
        "Start": start,
        "End": end,
        "Budget (USD)": budget,
        "Status": "finished" if end < date(2026, 1, 1) else "running",
        "_years": [year for year in FISCAL_YEARS if start.year <= year <= end.year],
    }


def _ingo_lines(chance: random.Random, project: dict[str, Any]) -> list[tuple[Cell, ...]]:
    lines: list[tuple[Cell, ...]] = []
    for year in project["_years"]:
        for province in project["Provinces"].split(" / "):
            planned = chance.randint(2_000, 120_000)
            spent = Decimal(planned * chance.randint(50, 100)) / 100
            number = project["INGO Project No."]
            lines.append((number, year, province, project["Sector"], Decimal(planned), spent))
    return lines
