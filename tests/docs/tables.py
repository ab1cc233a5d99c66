"""Tables of recipes as files of offices: workbooks of three formats, and dBASE with memos.

A cell is a number when its text is one, a date when it is written 2024-01-31, else text.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import dbf
import xlsxwriter
import xlwt

Cell = str | int | float | date | None
Rows = Sequence[Sequence[Cell]]


def cells(text: str) -> list[list[Cell]]:
    """The rows of a CSV text."""
    return [[_cell(one) for one in row] for row in csv.reader(io.StringIO(text))]


def _cell(text: str) -> Cell:
    if re.fullmatch(r"0|-?[1-9][0-9]{0,14}", text):
        return int(text)
    if re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", text):
        return float(text)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return date.fromisoformat(text)
    return text or None


def write_xlsx(path: Path, rows: Rows, sheet: str = "Sheet1") -> None:
    """One sheet, in the format of Excel since 2007."""
    with xlsxwriter.Workbook(str(path)) as book:
        day = book.add_format({"num_format": "dd/mm/yyyy"})
        page = book.add_worksheet(sheet)
        for line, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, date):
                    moment = datetime.combine(value, datetime.min.time())
                    page.write_datetime(line, column, moment, day)
                elif value is not None:
                    page.write(line, column, value)


def write_xls(path: Path, rows: Rows, sheet: str = "Sheet1") -> None:
    """One sheet, in the format of Excel before 2007."""
    book = xlwt.Workbook(encoding="utf-8")
    page = book.add_sheet(sheet)
    day = xlwt.easyxf(num_format_str="DD/MM/YYYY")
    for line, row in enumerate(rows):
        for column, value in enumerate(row):
            if value is not None:
                page.write(line, column, value, *([day] if isinstance(value, date) else []))
    book.save(str(path))


def write_ods(path: Path, rows: Rows, sheet: str = "Sheet1") -> None:
    """One sheet, in OpenDocument's format."""
    lines = "".join(
        "<table:table-row>" + "".join(map(_ods_cell, row)) + "</table:table-row>" for row in rows
    )
    name = "urn:oasis:names:tc:opendocument:xmlns"
    content = (
        '<?xml version="1.0" encoding="UTF-8"?><office:document-content'
        f' xmlns:office="{name}:office:1.0" xmlns:table="{name}:table:1.0"'
        f' xmlns:text="{name}:text:1.0" office:version="1.2"><office:body><office:spreadsheet>'
        f'<table:table table:name="{escape(sheet)}">{lines}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as parts:
        parts.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        parts.writestr("content.xml", content)
        manifest = f'<manifest:manifest xmlns:manifest="{name}:manifest:1.0"/>'
        parts.writestr("META-INF/manifest.xml", manifest)


def _ods_cell(value: Cell) -> str:
    match value:
        case None:
            return "<table:table-cell/>"
        case date():
            return f'<table:table-cell office:value-type="date" office:date-value="{value}"/>'
        case int() | float():
            return f'<table:table-cell office:value-type="float" office:value="{value}"/>'
    text = f"<text:p>{escape(str(value))}</text:p>"
    return f'<table:table-cell office:value-type="string">{text}</table:table-cell>'


def write_dbf(path: Path, text: str, codepage: str = "utf8", kind: str = "vfp") -> None:
    """A table of dBASE; the first line has the fields, such as ``CODE C(8),SINCE D,NOTE M``."""
    first, _, rest = text.partition("\n")
    fields = re.findall(r"(\w+) ([CNDLM](?:\([\d,]+\))?)", first)
    table = dbf.Table(
        str(path), "; ".join(" ".join(one) for one in fields), dbf_type=kind, codepage=codepage
    )
    table.open(dbf.READ_WRITE)
    for row in csv.reader(io.StringIO(rest)):
        table.append(
            tuple(_field(word, form[0]) for word, (_, form) in zip(row, fields, strict=True))
        )
    table.close()


def _field(word: str, form: str) -> object:
    if form == "D":
        return dbf.Date(date.fromisoformat(word)) if word else dbf.Date()
    if form == "N":
        return float(word) if "." in word else int(word) if word else None
    return word == "T" if form == "L" else word


WRITERS: Final[dict[str, Callable[[Path, Rows], None]]] = {
    ".xlsx": write_xlsx,
    ".xls": write_xls,
    ".ods": write_ods,
}
