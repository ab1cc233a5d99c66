"""The reference world's legacy systems: files for readers of other hands, databases on servers."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import dbf
import python_calamine as calamine
from sqlalchemy import create_engine, text

from adapters.service import load
from console.reference_world import registers
from console.reference_world.legacy import open_portal, write_legacy
from console.reference_world.office_files import write_dbase, write_xlsx
from tests.adapters.legacy import get, items


def databases(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.sqlite")}


def test_a_workbook_is_what_others_read(tmp_path: Path) -> None:
    """Texts with signs of XML and blanks at the ends, numbers, dates, nothing."""
    rows = [["ຊື່ & <code>", "b", "c", "d"], [" x ", 7, Decimal("1.50"), date(2025, 2, 1)]]
    path = write_xlsx(tmp_path / "a.xlsx", "ໂຄງການ", [*rows, [None, 1, None, None]])
    book = calamine.CalamineWorkbook.from_path(str(path))
    assert book.sheet_names == ["ໂຄງການ"]
    read = book.get_sheet_by_name("ໂຄງການ").to_python()
    assert read == [rows[0], [" x ", 7.0, 1.5, date(2025, 2, 1)], ["", 1.0, "", ""]]


def test_a_table_of_dbase_is_what_others_read(tmp_path: Path) -> None:
    """Fields with lengths and decimals, dates, nothing."""
    fields = (("NAME", "C", 10, 0), ("AMOUNT", "N", 12, 2), ("DAY", "D", 8, 0))
    rows = [("é a", Decimal("12000.50"), date(2025, 2, 1)), (None, None, None)]
    with dbf.Table(str(write_dbase(tmp_path / "a.dbf", fields, rows))) as table:
        assert [(one.NAME.strip(), one.AMOUNT, one.DAY) for one in table] == [
            ("é a", 12000.5, date(2025, 2, 1)),
            ("", None, None),
        ]


async def test_databases_stand_on_servers_where_they_are_named(
    tmp_path: Path, mariadb_url: str, postgresql_url: str
) -> None:
    """ODA-MIS, enterprises and gazette in MariaDB, the civil register in PostgreSQL; no SQLite."""
    write_legacy(tmp_path, {"mariadb": mariadb_url, "postgresql": postgresql_url})
    assert not databases(tmp_path)
    engine = create_engine(mariadb_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM tbl_law")).scalar() == registers.LAWS
    engine.dispose()
    gazette, people = (load(tmp_path / f"{name}.yaml") for name in ("gazette", "civil-register"))
    assert (await items(gazette, "/laws?kind=decree&in_force=true"))[0]["kind"] == "decree"
    assert (await get(people, f"/persons/{registers.PERSON}")).status == 200
    await gazette.close()
    await people.close()


def test_without_servers_files_stand_in(tmp_path: Path) -> None:
    """Every mapping has its addresses, and the trade portal stands where its mapping says."""
    write_legacy(tmp_path)
    assert databases(tmp_path) == {
        "oda-mis.sqlite", "enterprises.sqlite", "gazette.sqlite", "civil-register.sqlite"
    }  # fmt: skip
    assert not any("${" in path.read_text("utf-8") for path in tmp_path.glob("*.yaml"))
    with open_portal(tmp_path) as portal:
        assert portal.address in (tmp_path / "trade-portal.yaml").read_text("utf-8")
