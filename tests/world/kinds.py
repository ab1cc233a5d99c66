"""One service over each kind of source, for the journey that all of them make.

A kind is a function that makes a source with two records in a folder, under a name in
:data:`KINDS`: ``sql`` and the database, ``files`` and the ending of the name, or the kind alone. It
gives a mapping whose service has the code that it is asked for, where the two records are, and how
the published contract is narrower than what the source holds: one record fits it, one breaks it.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.documents.folder import Entry, Identity
from console.reference_world.trade_portal import WSDL
from console.reference_world.trade_portal.service import TradePortal
from tests.adapters.legacy import ACCESS
from tests.docs.tables import WRITERS, Rows, write_dbf
from tests.world.offices_api import KEY, offices_api

APPLICATION: Final = "LA/GOV/MPI/registers"
NAME: Final = "ຫ້ອງການແຂວງ"


@dataclass(frozen=True, slots=True)
class Made:
    """A service over a source: its mapping, what is asked, and the narrower contract.

    ``good`` answers ``answer``; what ``bad`` answers breaks the contract at ``place`` once
    ``narrow`` has changed the generated document. ``posts`` are endpoints that write; ``written``
    tells how often that was done.
    """

    mapping: str
    answer: Any
    narrow: Callable[[dict[str, Any]], None]
    good: str = "/offices/A-1"
    bad: str = "/offices/A-2"
    endpoints: tuple[str, ...] = ("/offices", "/offices/{code}")
    place: str = "/staff"
    posts: tuple[str, ...] = ()
    written: Callable[[], int] = lambda: 0


Maker = Callable[[Path, str, pytest.FixtureRequest], Made]

_ROWS: Final[Rows] = (
    ("Code", "ຊື່", "Staff", "Opened"),
    ("A-1", NAME, 41, date(1994, 3, 1)),
    ("A-2", f"{NAME} 2", 641, date(1996, 10, 15)),
)
_ANSWER: Final = {"code": "A-1", "name": NAME, "staff": 41, "opened": "1994-03-01"}
_COLUMNS: Final = (
    "columns: {code: Code, name: ຊື່, staff: {header: Staff, type: integer},"
    " opened: {header: Opened, type: date}}"
)
_MAPPING: Final = """\
saphan_mapping: 1
application: {application}
title: {{en: Offices, lo: ຫ້ອງການ}}
source:
{source}
records:
  office:
    title: {{en: Office, lo: ຫ້ອງການ}}
    # Seen by who asks as the journey does, told by the servers: nobody else sees a row.
    visible:
      rules:
        - when: {{client: LA/GOV/MOF/budget, agreement: mof-mpi, purpose: statistics}}
          rows: all
      otherwise: nothing
    fields: {{code: string, name: string, staff: integer, opened: date}}
queries:
  offices: {{record: office, sql: SELECT * FROM office}}
services:
  {service}:
    title: {{en: Offices, lo: ຫ້ອງການ}}
    endpoints:
      /offices:
        {{operation: list, query: offices, title: {{en: Offices, lo: ຫ້ອງການ}}, order: [code]}}
      /offices/{{code}}: {{operation: one, query: offices, title: {{en: Office, lo: ຫ້ອງການ}}}}
"""


def _narrow(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["office"]["properties"]["staff"]["maximum"] = 100


def _made(service: str, source: str, **more: Any) -> Made:
    mapping = _MAPPING.format(application=APPLICATION, service=service, source=source)
    return Made(**({"mapping": mapping, "answer": _ANSWER, "narrow": _narrow} | more))


# Databases.

_STATEMENTS: Final = (
    "CREATE TABLE office (code VARCHAR(8) PRIMARY KEY, name VARCHAR(80), staff INTEGER,"
    " opened DATE)",
    *(
        f"INSERT INTO office VALUES ('{code}', '{name}', {staff}, '{day}')"  # noqa: S608
        for code, name, staff, day in _ROWS[1:]
    ),
)


def _sqlite(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
    with sqlite3.connect(folder / "office.db") as database:
        for statement in _STATEMENTS:
            database.execute(statement)
    database.close()
    return _made(service, "  kind: sql\n  url: sqlite:///office.db")


def _on_server(name: str) -> Maker:
    def make(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
        server = request.getfixturevalue(f"{name}_server")
        url = server.new_database("every_kind")
        for statement in _STATEMENTS:
            server.run(statement, "every_kind")
        return _made(service, f"  kind: sql\n  url: {url}")

    return make


# Files.


def _file(name: str, more: str = "", columns: str = _COLUMNS) -> str:
    return f"  kind: files\n  tables:\n    office:\n      file: {name}\n{more}      {columns}"


def _csv(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
    """As a province sends it: in IBM 1133, with semicolons and the day before the month."""
    lines = [";".join(map(str, _ROWS[0]))]
    lines += [f"{row[0]};{row[1]};{row[2]};{row[3]:%d/%m/%Y}" for row in _ROWS[1:]]
    (folder / "office.csv").write_bytes("\n".join(lines).encode("ibm1133"))
    columns = _COLUMNS.replace("type: date", "type: date, format: '%d/%m/%Y'")
    more = "      delimiter: ;\n      encoding: ibm1133\n"
    return _made(service, _file("office.csv", more, columns))


def _workbook(ending: str) -> Maker:
    def make(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
        WRITERS[ending](folder / f"office{ending}", _ROWS)
        return _made(service, _file(f"office{ending}"))

    return make


def _dbase(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
    """Of FoxPro, the names in its memo file."""
    lines = "".join(f"{row[0]},{row[1]},{row[2]},{row[3]}\n" for row in _ROWS[1:])
    write_dbf(folder / "office.dbf", f"CODE C(8),NAME M,STAFF N(6,0),OPENED D\n{lines}")
    assert (folder / "office.fpt").exists()
    columns = _COLUMNS.replace("Code", "CODE").replace("ຊື່", "NAME")
    columns = columns.replace("Staff", "STAFF").replace("Opened", "OPENED")
    return _made(service, _file("office.dbf", "      encoding: utf-8\n", columns))


def _access(name: str) -> Maker:
    """What another project's tests have: two rows of numbers, texts and dates."""

    def make(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
        if shutil.which("mdb-export") is None:
            missing = "mdbtools is not installed"
            (pytest.fail if os.environ.get("SAPHAN_REQUIRE_SERVICES") == "1" else pytest.skip)(
                missing
            )
        (folder / name).write_bytes(lzma.decompress((ACCESS / f"{name}.xz").read_bytes()))
        columns = (
            "columns: {code: A, name: B, staff: {header: D, type: integer},"
            " opened: {header: G, type: date, format: '%Y-%m-%d 00:00:00'}}"
        )
        return _made(
            service,
            _file(name, "      sheet: Table1\n", columns),
            answer={"code": "a", "name": "b", "staff": 0, "opened": "1981-12-12"},
            good="/offices/a",
            bad="/offices/abcdefg",
        )

    return make


# Services.

_SOAP: Final = """\
saphan_mapping: 1
application: {application}
title: {{en: Trade portal, lo: ປະຕູການຄ້າ}}
source: {{kind: soap, wsdl: "{wsdl}", address: "{address}"}}
services:
  {service}:
    title: {{en: Procedures, lo: ຂັ້ນຕອນ}}
    endpoints:
      /procedures/{{code}}:
        operation: one
        call: GetProcedure
        title: {{en: Procedure, lo: ຂັ້ນຕອນ}}
        parameters: {{code: code}}
        answer: procedure
      /enquiries:
        operation: one
        method: POST
        call: SubmitEnquiry
        title: {{en: Enquiry, lo: ຄຳຖາມ}}
        body: enquiry
"""


def _soap(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
    """The trade portal of the reference world; the contract leaves exports alone."""
    portal = TradePortal().__enter__()
    request.addfinalizer(lambda: portal.__exit__(None, None, None))
    mapping = _SOAP.format(
        application=APPLICATION, service=service, wsdl=WSDL, address=portal.address
    )

    def narrow(document: dict[str, Any]) -> None:
        properties = document["components"]["schemas"]["Procedure"]["properties"]
        properties["direction"]["enum"] = ["EXPORT"]

    answer = {
        "code": "EXP-COF-01",
        "title": [
            {"lang": "lo", "value": "ການສົ່ງອອກກາເຟ"},
            {"lang": "en", "value": "Export of coffee"},
        ],
        "direction": "EXPORT",
        "authority": "MAF",
        "hsCode": ["0901"],
        "fee": None,
        "validFrom": "2021-07-15",
        "validUntil": "2027-12-31",
        "updated": "2026-02-11T14:05:10.250+07:00",
        "automatic": True,
        "form": "4LqB4Lqy4LuA4Lqf",
    }
    good, bad = "/procedures/EXP-COF-01", "/procedures/TRA-GEN-01"
    enquiries = portal.portal.enquiries
    return Made(
        mapping, answer, narrow, good, bad, ("/procedures/{code}",), "/direction",
        ("/enquiries",), lambda: len(enquiries),
    )  # fmt: skip


# An HTTP API.

_PASSED: Final = """\
saphan_mapping: 1
application: {application}
title: {{en: Offices, lo: ຫ້ອງການ}}
source:
  kind: http
  url: {url}
  headers: {{x-api-key: {key}}}
schemas:
  office:
    type: object
    required: [code, name]
    properties: {{name: {{type: string}}, staff: {{type: integer}}}}
services:
  {service}:
    title: {{en: Offices, lo: ຫ້ອງການ}}
    endpoints:
      /offices/{{code}}:
        get:
          title: {{en: Office, lo: ຫ້ອງການ}}
          backend: /office.php?no={{code}}
          parameters: {{code: {{type: string, example: A-1}}}}
          answers: {{200: {{media_types: [application/json], schema: office}}}}
      /asked:
        get:
          title: {{en: Office, lo: ຫ້ອງການ}}
          backend: /office.php
          parameters: {{code: {{type: string, required: false, sent_as: "no"}}}}
          visible:
            rules: [{{when: {{client: LA/GOV/MOF, purpose: statistics}}, rows: {{code: A-1}}}}]
            otherwise: nothing
          answers: {{200: {{media_types: [application/json], schema: office}}}}
      /held:
        get:
          title: {{en: Office, lo: ຫ້ອງການ}}
          backend: /office.php
          parameters: {{code: {{type: string, required: false, sent_as: "no", rows: code}}}}
          answers: {{200: {{media_types: [application/json], schema: office}}}}
"""


def _http(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
    api = offices_api()
    url = api.__enter__()
    request.addfinalizer(lambda: api.__exit__(None, None, None))
    mapping = _PASSED.format(application=APPLICATION, service=service, url=url, key=KEY)
    return Made(mapping, _ANSWER, _narrow, endpoints=("/offices/{code}", "/asked"))


# A folder of documents.

LONG_BYTES: Final = 6 << 20
LONG: Final = b"%PDF-1.7\n" + bytes(range(256)) * (LONG_BYTES // 256)
_DOCUMENTS: Final = """\
saphan_mapping: 1
application: {application}
title: {{en: Offices, lo: ຫ້ອງການ}}
source: {{kind: documents, folder: papers}}
services:
  {service}:
    title: {{en: Offices, lo: ຫ້ອງການ}}
"""


def document_id(name: str) -> str:
    """What names a document of the folder."""
    return Entry((name,), name, Identity(0, 0, 0, 0, 0)).id


def _documents(folder: Path, service: str, request: pytest.FixtureRequest) -> Made:
    """Short ones, of which one is longer than its contract lets it be, and one of some MiB."""
    papers = folder / "papers"
    papers.mkdir()
    contents = {NAME: b"%PDF-1.7\n", "long-name": b"%PDF-1.7\n".ljust(641), "long": LONG}
    for name, content in contents.items():
        (papers / name).write_bytes(content)
        os.utime(papers / name, (762_480_000, 762_480_000))
    answer = {
        "id": document_id(NAME),
        "name": NAME,
        "media_type": "application/pdf",
        "size": 9,
        "digest": f"sha-256:{hashlib.sha256(contents[NAME]).hexdigest()}",
        "modified": "1994-03-01T00:00:00+00:00",
    }

    def narrow(document: dict[str, Any]) -> None:
        document["components"]["schemas"]["document"]["properties"]["size"]["maximum"] = 100

    one = "/documents/{id}"
    return Made(
        _DOCUMENTS.format(application=APPLICATION, service=service),
        answer,
        narrow,
        good=f"/documents/{document_id(NAME)}",
        bad=f"/documents/{document_id('long-name')}",
        endpoints=("/documents", one, f"{one}/content"),
        place="/size",
    )


KINDS: Final[dict[str, Maker]] = {
    "sql-sqlite": _sqlite,
    "sql-postgresql": _on_server("postgresql"),
    "sql-mariadb": _on_server("mariadb"),
    "files-csv": _csv,
    "files-xlsx": _workbook(".xlsx"),
    "files-xls": _workbook(".xls"),
    "files-ods": _workbook(".ods"),
    "files-dbf": _dbase,
    "files-mdb": _access("access97.mdb"),
    "files-accdb": _access("access2007.accdb"),
    "soap": _soap,
    "http": _http,
    "documents": _documents,
}
