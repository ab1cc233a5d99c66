"""The legacy systems of the reference world, each in its native form, in one folder::

*.yaml                     the mappings, with the addresses of the systems in them
oda-mis.sqlite, …          databases; on a server where one is named
ingo/, provinces/          files of offices
trade.wsdl, trade.xsd      of the trade portal, a SOAP service that runs beside the world
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from console.reference_world import MAPPINGS, data, ingo, registers, trade_portal
from console.reference_world.processes import free_ports
from console.reference_world.trade_portal.service import PATH, TradePortal

_DATABASES: Final[tuple[tuple[str, str, Callable[[Path | str], None]], ...]] = (
    ("ODA_MIS_URL", "mariadb", data.write_oda_mis),
    ("ENTERPRISES_URL", "mariadb", data.write_enterprises),
    ("GAZETTE_URL", "mariadb", registers.write_gazette),
    ("CIVIL_REGISTER_URL", "postgresql", registers.write_civil_register),
)
"""What the mappings call a database, where it is at home, and who writes it."""


def write_legacy(folder: Path, servers: dict[str, str] | None = None) -> None:
    """Write the systems into ``folder``, and the mappings with their addresses in them.

    A server of the world can so be started again with nothing but its settings file.

    Args:
        folder: a new one.
        servers: addresses of databases by their kind (``mariadb``, ``postgresql``), whose tables of
            the same names are replaced; SQLite files stand in for those that are not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_ports(1)[0]
    addresses = {
        "INGO_FOLDER": "ingo",
        "DROPS_FOLDER": "provinces",
        "TRADE_PORTAL_URL": f"http://127.0.0.1:{port}{PATH}",
    }
    for variable, kind, write in _DATABASES:
        file = f"{variable.removesuffix('_URL').lower().replace('_', '-')}.sqlite"
        address = (servers or {}).get(kind)
        write(address or folder / file)
        addresses[variable] = address or f"sqlite:///{file}"
    ingo.write_ingo(folder / "ingo")
    registers.write_drops(folder / "provinces")
    for file_of_portal in (trade_portal.WSDL, trade_portal.XSD):
        shutil.copy(file_of_portal, folder)
    for mapping in MAPPINGS.glob("*.yaml"):
        text = mapping.read_text("utf-8").replace("../trade_portal/", "")
        for variable, address in addresses.items():
            text = text.replace(f"${{{variable}}}", address)
        (folder / mapping.name).write_text(text, "utf-8")


def open_portal(folder: Path) -> TradePortal:
    """The trade portal, where its mapping in ``folder`` says that it is."""
    text = (folder / "trade-portal.yaml").read_text("utf-8")
    found = re.search(rf"address: http://127\.0\.0\.1:(\d+){PATH}", text)
    if found is None:
        raise RuntimeError(f"{folder} does not say where the trade portal is")
    return TradePortal(int(found[1]))
