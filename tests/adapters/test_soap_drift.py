"""What of a WSDL has changed: told with its place, and whether the mapping needs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapters import kinds
from adapters.mapping.reader import parse
from adapters.soap.documents import Documents
from adapters.soap.drifting import compare
from adapters.soap.wrapping import Wrapped
from adapters.soap.wsdl import read_contract
from console.cli.adapter import adapter
from console.reference_world.trade_portal import FOLDER, WSDL
from exchange.problems import Problem
from tests.adapters.trade import MAPPING, wrapped

TEXT = MAPPING.read_text("utf-8")


def _drift(
    folder: Path, old: str, new: str, file: str = "trade.xsd"
) -> dict[str, tuple[str, bool]]:
    """The changes when ``old`` has become ``new``, by place."""
    for name in ("trade.wsdl", "trade.xsd"):
        text = (FOLDER / name).read_text("utf-8")
        if name == file:
            assert old in text
            text = text.replace(old, new)
        (folder / name).write_text(text, "utf-8")
    found = wrapped()
    assert isinstance(found, Wrapped)
    changes = compare(found.mapping, read_contract(Documents(str(folder / "trade.wsdl"))))
    return {one.place: (one.words, one.breaks) for one in changes}


CHANGES = [
    # given: less or more needed breaks
    ('name="most" type="xs:int" minOccurs="0"', 'name="most" type="xs:int"',
     "FindProcedures.most", "needed now", True),
    ('name="most" type="xs:int" minOccurs="0"', 'name="more" type="xs:int" minOccurs="0"',
     "FindProcedures.most", "gone", True),
    ('name="most" type="xs:int"', 'name="most" type="xs:byte"',
     "FindProcedures.most", "less now (least value, greatest value)", True),
    ('name="most" type="xs:int"', 'name="most" type="xs:long"',
     "FindProcedures.most", "more now", False),
    ('name="most" type="xs:int"', 'name="most" type="xs:date"',
     "FindProcedures.most", "is date now, was integer", True),
    ('<xs:element name="most"', '<xs:element name="page" type="xs:int"/><xs:element name="most"',
     "FindProcedures.page", "is new", True),
    ('<xs:element name="most"',
     '<xs:element name="page" type="xs:int" minOccurs="0"/><xs:element name="most"',
     "FindProcedures.page", "is new", False),
    ('name="procedure" type="xs:string" minOccurs="0"', 'name="x" type="xs:int" minOccurs="0"',
     "SubmitEnquiry.enquiry.procedure", "gone", True),
    # answered: more, or less that is certain, breaks
    ('name="automatic" type="xs:boolean"', 'name="automatic" type="xs:boolean" minOccurs="0"',
     "GetProcedure.procedure.automatic", "left out", True),
    ('name="workingDays" type="xs:int" minOccurs="0"', 'name="workingDays" type="xs:int"',
     "GetProcedure.procedure.step.workingDays", "needed now", False),
    ('name="validUntil" type="xs:date" nillable="true"', 'name="validUntil" type="xs:date"',
     "GetProcedure.procedure.validUntil", "not be nil", False),
    ('name="validFrom" type="xs:date"', 'name="validFrom" type="xs:date" nillable="true"',
     "GetProcedure.procedure.validFrom", "may be nil", True),
    ('name="authority" type="xs:string"', 'name="authority" type="t:Text"',
     "GetProcedure.procedure.authority", "is an object", True),
    ('name="fee" type="t:Fee"', 'name="fee" type="t:Fee" maxOccurs="9"',
     "GetProcedure.procedure.fee", "is a list", True),
    ('<xs:element name="updated"',
     '<xs:element name="by" type="xs:int"/><xs:element name="updated"',
     "GetProcedure.procedure.by", "is refused", True),
    ('<xs:element name="workingDays" type="xs:int" minOccurs="0"/>', "",
     "GetProcedure.procedure.step.workingDays", "gone", False),
    ('<xs:element name="formUrl"',
     '<xs:element name="formText" type="xs:string"/><xs:element name="formUrl"',
     "GetProcedure.procedure", "go together", True),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "words", "breaks"), CHANGES)
def test_a_changed_type_is_told(
    tmp_path: Path, old: str, new: str, place: str, words: str, breaks: bool
) -> None:
    """With its place in the message, and whether something is refused by it."""
    found = _drift(tmp_path, old, new)
    assert words in found[place][0]
    assert found[place][1] is breaks


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ('operation name="GetTariff"', 'operation name="AskTariff"', "GetTariff", "is gone"),
        ("trade:1#GetTariff", "trade:2#GetTariff", "GetTariff", "action"),
    ],
)
def test_a_changed_operation_is_told(
    tmp_path: Path, old: str, new: str, place: str, words: str
) -> None:
    """And one that no endpoint asks."""
    found = _drift(tmp_path, old, new, "trade.wsdl")
    assert words in found[place][0]
    assert found[place][1]
    if "AskTariff" in new:
        assert found["AskTariff"] == ("no endpoint asks this operation", False)


def test_the_same_wsdl_has_not_changed(tmp_path: Path) -> None:
    """Nothing is told, recursive types come to an end."""
    assert _drift(tmp_path, "GetTariff", "GetTariff", "trade.wsdl") == {}


def test_a_mapping_of_a_file_is_compared_with_another_wsdl(tmp_path: Path) -> None:
    """Of the service today, say; without one there is nothing to compare."""
    refused = CliRunner().invoke(adapter, ["drift", str(MAPPING)])
    assert isinstance(refused.exception, Problem)
    assert refused.exception.where == "--against"
    same = CliRunner().invoke(adapter, ["drift", str(MAPPING), "--against", str(WSDL)])
    assert same.exit_code == 0, same.output
    away = CliRunner().invoke(adapter, ["drift", str(MAPPING), "--against", "http://127.0.0.1:9/"])
    assert isinstance(away.exception, Problem)


def test_the_address_of_the_wsdl_counts_where_the_mapping_has_none(tmp_path: Path) -> None:
    """Else calls would go on to where nobody is."""
    _drift(tmp_path, "location=", "location=", "trade.wsdl")
    text = TEXT.replace("  address: ${TRADE_PORTAL_URL}\n", "")
    found = kinds.read_node(parse(text.encode(), MAPPING.name, MAPPING.parent))
    assert isinstance(found, Wrapped)
    path = tmp_path / "trade.wsdl"
    changed = path.read_text("utf-8").replace("http://trade.", "http://new.")
    assert changed != path.read_text("utf-8")
    path.write_text(changed, "utf-8")
    changes = compare(found.mapping, read_contract(Documents(str(path))))
    assert any("address" in one.words and one.breaks for one in changes)


def test_drift_is_told_as_json(tmp_path: Path) -> None:
    """As that of tables."""
    _drift(tmp_path, "GetTariff", "GetTax", "trade.wsdl")
    result = CliRunner().invoke(
        adapter,
        ["drift", str(MAPPING), "--against", str(tmp_path / "trade.wsdl"), "--json"],
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["drift"][0] == {
        "place": "GetTariff",
        "words": "the operation is gone",
        "breaks": True,
    }
