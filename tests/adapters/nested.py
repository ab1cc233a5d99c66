"""A database of projects with what belongs to them, and a mapping that nests it."""

from __future__ import annotations

from pathlib import Path

from adapters.mapping.file import parse_mapping
from adapters.mapping.model import Mapping
from adapters.service import Adapter
from adapters.sources.source import Source
from exchange.agreements import ROWS_HEADER, RowCondition, rows_header
from tests.adapters.legacy import INJECTION

TABLES = [
    "CREATE TABLE ministry (code VARCHAR(60) PRIMARY KEY, name VARCHAR(80))",
    "CREATE TABLE project (id INTEGER PRIMARY KEY, code VARCHAR(60), ministry_code VARCHAR(60),"
    " given VARCHAR(40), family VARCHAR(40), price DECIMAL(12,2), number DECIMAL(12,3),"
    " signed_be VARCHAR(40), year_be INTEGER, budget_m DECIMAL(12,4), status VARCHAR(10),"
    " province VARCHAR(10))",
    "CREATE TABLE tranche (project_id INTEGER, no INTEGER, amount DECIMAL(12,2),"
    " PRIMARY KEY (project_id, no))",
    "CREATE TABLE payment (project_id INTEGER, tranche_no INTEGER, paid INTEGER,"
    " payee VARCHAR(60))",
]
MINISTRIES = [("MOH", "Health"), ("MOES", "Education"), (INJECTION, "Odd")]
PROJECTS = [
    (1, "P-1", "MOH", "Somphone", "Wongsa", 10.5, 3, "12/05/2569", 2569, 1.5, "ONG", "01"),
    (2, "P-2", "moes", "Keo", None, 0.1, 2, "໑/໒/໒໕໖໗", 2567, 0.0001, "CMP", "99"),
    (3, "P-3", None, None, None, None, 2, "29/02/2567", None, None, "ONG", None),
    (4, INJECTION, INJECTION, "a", "b", 2, 0, None, 2500, 2, "CMP", "01"),
    (5, "P-5", "GONE", "a", "b", 2, 4, "1/1/2500", 2600, 2, "ONG", "02"),
]
TRANCHES = [(1, 2, 20), (1, 1, 10.5), (2, 1, 5), (4, 1, 7), (4, 2, 8), (4, 3, 9)]
PAYMENTS = [(1, 1, 100, "x"), (1, 1, 50, INJECTION), (1, 2, 20, None), (4, 3, 1, "y")]

MAPPING = """
saphan_mapping: 1
application: LA/GOV/MPI/nested
title: {en: Nested, lo: ຊ້ອນ}
source: {kind: sql, url: "${LEGACY_URL}", LIMITS}
enumerations:
  status: {ONG: ongoing, CMP: completed}
  region: {"01": north, "02": south}
records:
  payment:
    title: {en: Payment, lo: ການຈ່າຍ}
    fields: {paid: integer, payee: {type: string, null: "null"}}
  tranche:
    title: {en: Tranche, lo: ງວດ}
    fields: {number: {column: no, type: integer}, amount: {type: decimal, scale: 2}}
    nested:
      payments:
        {query: payments, join: {project_id: project_id, tranche_no: no}, order: [paid desc, payee]}
  ministry:
    title: {en: Ministry, lo: ກະຊວງ}
    fields: {name: string}
  project:
    title: {en: Project, lo: ໂຄງການ}
    fields:
      code: string
      given: {type: string, hidden: true}
      family: {type: string, hidden: true}
      price: {type: decimal, scale: 2}
      number: {type: decimal, scale: 3, hidden: true}
      signed: {column: signed_be, type: date, calendar: buddhist, format: "%d/%m/%Y"}
      year: {column: year_be, type: integer, calendar: buddhist}
      budget: {column: budget_m, type: decimal, factor: 1000000, scale: 2, emit: string}
      status: {type: enumeration, table: status}
      province: {type: string, hidden: true}
      person.name: {type: string, compute: {concat: [given, family], separator: " "}}
      person.label: {type: string, compute: {template: "{code} ({family})"}}
      country: {type: string, compute: {constant: LA}}
      first: {type: string, null: "null", compute: {coalesce: [family, given]}}
      spent: {type: decimal, scale: 2, rounding: half_up, compute: {multiply: [price, number]}}
      each: {type: decimal, scale: 2, rounding: half_up, compute: {divide: [price, number]}}
      signed_year: {type: integer, compute: {year: signed}}
      region: {type: enumeration, table: region, otherwise: "null", compute: {lookup: province}}
      open: {type: boolean, compute: {equals: status, to: ongoing}}
    nested:
      tranches: {query: tranches, join: {project_id: id}, order: [no], most: 3}
      ministry: {query: ministries, join: {code: ministry_code}, as: one, "null": "null"}
queries:
  projects: {record: project, sql: SELECT * FROM project WHERE id <> 4 OR number <> 0}
  every: {record: project, sql: SELECT * FROM project}
  tranches: {record: tranche, sql: SELECT * FROM tranche}
  payments: {record: payment, sql: SELECT * FROM payment}
  ministries: {record: ministry, sql: SELECT * FROM ministry}
services:
  projects:
    title: {en: Projects, lo: ໂຄງການ}
    endpoints:
      /projects:
        operation: list
        query: projects
        title: {en: Projects, lo: ໂຄງການ}
        order: [id]
        page_size: 3
        filters:
          code: {}
          given: {}
          signed: {}
          year: {}
          year_from: {field: year, compare: at_least}
          budget: {}
          budget_from: {field: budget, compare: at_least}
      /projects/{code}:
        operation: one
        query: every
        title: {en: Project, lo: ໂຄງການ}
"""


def mapping_of(text: str = MAPPING, limits: str = "max_connections: 2") -> Mapping:
    return parse_mapping(text.replace("LIMITS", limits).encode(), "nested.yaml")


def adapter_of(url: str, mapping: Mapping) -> Adapter:
    return Adapter(mapping, Source(mapping.source, {"LEGACY_URL": url}, Path()))


def opened(**conditions: list[str]) -> dict[str, str]:
    """The header field by which the mediator tells what an agreement opens; _ for a dot."""
    rows = [RowCondition(name.replace("_", "."), tuple(of)) for name, of in conditions.items()]
    return {ROWS_HEADER: rows_header(tuple(rows))}
