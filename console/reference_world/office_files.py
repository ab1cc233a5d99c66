"""Files as offices have them, written small and always with the same bytes: a workbook of Excel
with one sheet (ECMA-376, inline strings), and a table of dBASE III.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

Cell = str | int | Decimal | date | None

_NAMESPACE: Final = "http://schemas.openxmlformats.org"
_MAIN: Final = f"{_NAMESPACE}/spreadsheetml/2006/main"
_RELATIONS: Final = f"{_NAMESPACE}/officeDocument/2006/relationships"
_PACKAGE: Final = f"{_NAMESPACE}/package/2006"
_TYPES: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_WRITTEN: Final = (2026, 1, 5)
_DAY_ZERO: Final = date(1899, 12, 30)
_PARTS: Final = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPES}.worksheet+xml"/>'
    "</Types>",
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="r2" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>',
    # The second style is a date (number format 14).
    "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><fonts><font/></fonts><fills><fill/></fills>'
    '<borders><border/></borders><cellStyleXfs><xf numFmtId="0"/></cellStyleXfs>'
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>',
}


def write_xlsx(path: Path, sheet: str, rows: Sequence[Sequence[Cell]]) -> Path:
    """A workbook with one sheet."""
    lines = "".join(f"<row>{''.join(map(_xlsx_cell, row))}</row>" for row in rows)
    parts = _PARTS | {
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>'
        f'<sheet name="{escape(sheet)}" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>{lines}</sheetData>'
        "</worksheet>",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            entry = zipfile.ZipInfo(name, (*_WRITTEN, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return path


def _xlsx_cell(value: Cell) -> str:
    match value:
        case None:
            return "<c/>"
        case date():
            return f'<c s="1"><v>{(value - _DAY_ZERO).days}</v></c>'
        case int() | Decimal():
            return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def write_dbase(
    path: Path, fields: Sequence[tuple[str, str, int, int]], rows: Sequence[Sequence[Cell]]
) -> Path:
    """A table of dBASE III in Windows-1252; a field is its name, its type (C, N, D), length and
    decimals."""
    width = 1 + sum(length for _, _, length, _ in fields)
    header = struct.pack(
        "<B3BIHH17xB2x", 3, _WRITTEN[0] - 1900, *_WRITTEN[1:], len(rows),
        32 * len(fields) + 33, width, 0x03,
    )  # fmt: skip
    described = b"".join(
        struct.pack("<11sc4xBB14x", name.encode("ascii"), kind.encode("ascii"), length, decimals)
        for name, kind, length, decimals in fields
    )
    records = b"".join(b" " + b"".join(_dbase_cells(fields, row)) for row in rows)
    path.write_bytes(header + described + b"\r" + records + b"\x1a")
    return path


def _dbase_cells(
    fields: Sequence[tuple[str, str, int, int]], row: Sequence[Cell]
) -> Iterator[bytes]:
    for (_, kind, length, decimals), value in zip(fields, row, strict=True):
        if value is None:
            text = ""
        elif isinstance(value, date):
            text = f"{value:%Y%m%d}"
        else:
            text = f"{value:.{decimals}f}" if kind == "N" else str(value)
        data = text.encode("cp1252")
        yield data.rjust(length) if kind == "N" else data.ljust(length)
