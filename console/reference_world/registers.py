"""More legacy systems of the reference world: the official gazette, the civil register, and what
provinces send. Same seed, same bytes; no real person's data.

The gazette is a site in PHP with MySQL. The civil register is older than Unicode: its names are
coded as the font Saysettha Lao drew them, and were copied so into a database of today. Provinces
send a CSV file each, in whatever encoding their program writes.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from sqlalchemy import CHAR, Column, Integer, MetaData, Numeric, SmallInteger, String, Table

from adapters.text.codec import register
from console.reference_world import codes
from console.reference_world.data import SEED
from console.reference_world.writing import write_tables, written

LAWS: Final = 60
PERSONS: Final = 80
LINES: Final = 20
PERSON: Final = "ZQ7715500042"
"""A number that is in the register."""

gazette = MetaData()
_law = Table(
    "tbl_law",
    gazette,
    Column("law_id", Integer, primary_key=True, autoincrement=False),
    Column("doc_no", String(20), nullable=False),
    Column("doc_type", CHAR(3), index=True),
    Column("title_la", String(250), nullable=False),
    Column("title_en", String(250)),
    Column("issued", String(10)),
    Column("in_force", CHAR(1)),
    Column("pages", SmallInteger),
)

civil_register = MetaData()
_person = Table(
    "tbl_person",
    civil_register,
    Column("nid", CHAR(12), primary_key=True),
    Column("name_la", String(80), nullable=False),
    Column("surname_la", String(80), nullable=False),
    Column("sex", CHAR(1)),
    Column("birth", String(10)),
    Column("village_la", String(120)),
    Column("prov", CHAR(5)),
    Column("state", SmallInteger),
    Column("fee_kip", Numeric(12, 0)),
)

# Type, what it is called in the number, and its words.
_TYPES = (
    ("LAW", "ສພຊ", "ກົດໝາຍ ວ່າດ້ວຍ", "Law on"),
    ("DEC", "ລບ", "ດຳລັດ ວ່າດ້ວຍ", "Decree on"),
    ("AGR", "ລມຕ", "ຂໍ້ຕົກລົງ ວ່າດ້ວຍ", "Ministerial agreement on"),
)
# Names of nobody: flowers, stones and weekdays put together.
_NAMES = ("ດອກແກ້ວ", "ແສງຈັນ", "ພູທອງ", "ນ້ຳຝົນ", "ວັນສຸກ", "ຄຳຫຼ້າ", "ບົວລອຍ", "ສາຍລົມ", "ຈຳປີ", "ມະນີ")
_SURNAMES = ("ຕົວຢ່າງ", "ທົດລອງ", "ແບບຝຶກ", "ສົມມຸດ", "ຈຳລອງ")
_VILLAGES = ("ບ້ານໂພນສີ", "ບ້ານນາສາ", "ບ້ານດົງໂດກ", "ບ້ານຫ້ວຍຊາຍ", "ບ້ານທົ່ງກາງ")
_PLACES = ("LA-VT", "LA-LP", "LA-CH", "LA-SV", "LA-XA")

DROPS: Final = (("LA-LP", "utf-8-sig", ","), ("LA-CH", "ibm1133", ";"), ("LA-XA", "lswin", ";"))
"""The provinces that send files, and how they write them."""

_HEADER = ("Project", "ຊື່ບ້ານ", "Year", "Spent (KIP)", "Paid on")


def write_gazette(target: Path | str) -> None:
    """Write the gazette; as :func:`console.reference_world.data.write_oda_mis`."""
    chance = random.Random(SEED + 3)
    write_tables(target, gazette, ((_law, [_law_row(chance, n) for n in range(1, LAWS + 1)]),))


def write_civil_register(target: Path | str) -> None:
    """Write the civil register; as :func:`console.reference_world.data.write_oda_mis`."""
    register()
    chance = random.Random(SEED + 4)
    rows = [_person_row(chance, number) for number in range(PERSONS)]
    write_tables(target, civil_register, ((_person, rows),))


def write_drops(folder: Path) -> list[Path]:
    """Write the files of the provinces into ``folder``."""
    register()
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(SEED + 5)
    found = []
    for province, encoding, delimiter in DROPS:
        lines = [delimiter.join(_HEADER)]
        lines += [delimiter.join(_drop_line(chance, number)) for number in range(1, LINES + 1)]
        path = folder / f"{province}.csv"
        path.write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
        found.append(path)
    return found


def as_a_font_drew_it(text: str) -> str:
    """Lao text as it stands where the bytes of LSWin were copied as Latin letters."""
    data = text.encode("lswin")
    return "".join(_latin(code) for code in data)


def _latin(code: int) -> str:
    try:
        return bytes([code]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(code)


def _law_row(chance: random.Random, number: int) -> dict[str, Any]:
    kind, short, lao, english = _TYPES[number % 3]
    subject_en, subject_lo = chance.choice(chance.choice([*codes.SUBJECTS.values()])[1])
    day = date(2008, 1, 1) + timedelta(days=chance.randint(0, 6_500))
    return {
        "law_id": number,
        "doc_no": f"{number:02}/{short}",
        "doc_type": kind,
        "title_la": f"{lao}{subject_lo}",
        "title_en": None
        if number % 7 == 0
        else f"{english} {subject_en[0].lower()}{subject_en[1:]}",
        # Of some, the site's first version did not know the day.
        "issued": "00/00/0000" if number % 19 == 0 else written(day),
        "in_force": "N" if number % 9 == 0 else "Y",
        "pages": chance.randint(2, 140),
    }


def _person_row(chance: random.Random, number: int) -> dict[str, Any]:
    born = date(1950, 1, 1) + timedelta(days=chance.randint(0, 25_000))
    return {
        "nid": f"ZQ{7715500042 + 37 * number}",
        "name_la": as_a_font_drew_it(chance.choice(_NAMES)),
        "surname_la": as_a_font_drew_it(chance.choice(_SURNAMES)),
        "sex": "MF"[number % 2],
        "birth": written(born),
        "village_la": as_a_font_drew_it(chance.choice(_VILLAGES)),
        "prov": chance.choice(_PLACES),
        "state": 0 if number % 13 == 12 else 1,
        "fee_kip": Decimal(chance.randint(1, 9) * 5_000),
    }


def _drop_line(chance: random.Random, number: int) -> tuple[str, ...]:
    year = chance.choice((2024, 2025))
    day = date(year, chance.randint(1, 12), chance.randint(1, 28))
    spent = f"{chance.randint(1, 900) * 1_000_000:,}".replace(",", ".")
    village = chance.choice(_VILLAGES)
    return (f"LA-{year}-{number:04d}", village, str(year), spent, written(day))
