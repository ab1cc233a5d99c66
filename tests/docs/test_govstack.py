"""docs/govstack-compliance.md names each requirement once, and shows what it claims."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/govstack-compliance.md"
NUMBERS = [
    *(str(number) for number in range(1, 49)),
    *(f"C{number}" for number in range(1, 29)),
    *(f"S{number}" for number in range(1, 20)),
]
_NUMBER = re.compile(r"[CS]?[0-9]+")
_NAMED = re.compile(r"`([A-Za-z_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)+)(?:::(\w+))?`")
_DOCUMENT = re.compile(r"`([A-Z]+\.md)`")


class Row(NamedTuple):
    """A requirement as the page has it."""

    number: str
    section: str
    level: str
    requirement: str
    state: str
    where: str
    missing: str

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The files that the row names as showing it, each with a test or nothing."""
        documents = [(name, "") for name in _DOCUMENT.findall(self.where)]
        return [*_NAMED.findall(self.where), *documents]


def _rows() -> list[Row]:
    rows = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and _NUMBER.fullmatch(cells[0]):
            assert len(cells) == len(Row._fields), line
            rows.append(Row(*cells))
    return rows


def test_every_requirement_stands_there_once_and_in_order() -> None:
    """48 of the specification, 28 cross-cutting, 19 of security."""
    assert [row.number for row in _rows()] == NUMBERS


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row.number)
def test_a_row_says_what_there_is_and_what_is_missing(row: Row) -> None:
    """Met or partly: a file shows it. Partly or not: the row says what is missing."""
    assert row.state in ("met", "partly", "not")
    assert row.level in ("R", "r", "o", "m")
    assert row.section
    assert bool(row.shown) == (row.state != "not"), row
    assert (row.missing != "–") == (row.state != "met"), row
    assert row.state != "not" or row.where == "–", row


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row.number)
def test_what_a_row_names_is_there(row: Row) -> None:
    """Files exist, and the tests named in them."""
    for path, test in [*row.shown, *_NAMED.findall(row.missing)]:
        file = ROOT / path
        assert file.is_file(), f"{row.number} names {path}"
        if test:
            assert re.search(rf"^(?:async )?def {test}\(", file.read_text("utf-8"), re.MULTILINE)
