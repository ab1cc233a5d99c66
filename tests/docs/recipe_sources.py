"""What recipes need and no text can hold: by the name of the recipe, a context that makes it.

It is entered before the recipe's blocks are run and left after its servers have ended. It yields
words of the recipe and what stands for them here, such as an address.
"""

from __future__ import annotations

import lzma
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from console.reference_world.trade_portal.service import TradePortal
from tests.adapters.legacy import ACCESS
from tests.world.offices_api import offices_api

Source = Callable[[Path], AbstractContextManager[Mapping[str, str]]]


@contextmanager
def _access(folder: Path) -> Iterator[Mapping[str, str]]:
    if shutil.which("mdb-export") is None:
        (pytest.fail if os.environ.get("SAPHAN_REQUIRE_SERVICES") == "1" else pytest.skip)(
            "mdbtools is not installed"
        )
    (folder / "office.mdb").write_bytes(lzma.decompress((ACCESS / "access97.mdb.xz").read_bytes()))
    yield {}


@contextmanager
def _api(folder: Path) -> Iterator[Mapping[str, str]]:
    with offices_api() as url:
        yield {"http://10.1.2.3": url}


@contextmanager
def _trade_portal(folder: Path) -> Iterator[Mapping[str, str]]:
    with TradePortal() as portal:
        yield {"http://10.1.2.3": portal.address.removesuffix("/services/TradePortal")}


@contextmanager
def _papers(folder: Path) -> Iterator[Mapping[str, str]]:
    decrees = folder / "papers" / "decrees"
    decrees.mkdir(parents=True)
    for number, day in ((1, 1_580_947_200), (2, 1_581_897_600)):
        path = decrees / f"2020-{number}.pdf"
        path.write_bytes(b"%PDF-1.4\n".ljust(310 + number))
        os.utime(path, (day, day))
    (decrees / "notes.txt").write_text("to do", "utf-8")
    yield {}


SOURCES: Final[Mapping[str, Source]] = {
    "Access": _access,
    "A folder of documents": _papers,
    "An HTTP API": _api,
    "A SOAP service": _trade_portal,
}
