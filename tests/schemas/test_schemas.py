"""Rules of the shared schemas: complete in both languages, aligned, and kept by their examples."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

import schemas
from exchange.code_lists import parse_code_list
from exchange.contracts.contract import Contract
from exchange.problems import Problem
from tests.exchange.reference_engine import reference

SHARED = schemas.load_all()
DOCUMENTS = {name: orjson.loads(content) for name, content in SHARED.items()}
HERE = Path(schemas.__file__).parent
EXAMPLES = {file.stem: orjson.loads(file.read_bytes()) for file in HERE.glob("examples/*.json")}
LISTS = {file.stem: orjson.loads(file.read_bytes()) for file in HERE.glob("code-lists/*.json")}
SHORT = {name.split("/")[-2]: name for name in SHARED if "/code-lists/" not in name}
JSON = (("content-type", "application/json"),)


def judge(short: str, instance: Any) -> Problem | None:
    """The verdict of the message path."""
    schema = {"$ref": SHORT[short]}
    paths = {"/x": {"put": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}}
    contract = Contract.compile(orjson.dumps({"openapi": "3.1.0", "paths": paths}), SHARED)
    match = contract.find("PUT", "/x")
    try:
        match.operation.check_request(match, "", JSON, orjson.dumps(instance))
    except Problem as problem:
        return problem
    return None


VALID = [(name, one) for name, found in EXAMPLES.items() for one in found["valid"]]
INVALID = [(name, one) for name, found in EXAMPLES.items() for one in found["invalid"]]


@pytest.mark.parametrize(("name", "instance"), VALID)
def test_valid_examples(name: str, instance: Any) -> None:
    """Both engines accept what is shown as valid."""
    assert judge(name, instance) is None
    assert reference({"$ref": SHORT[name]}, SHARED).is_valid(instance)


@pytest.mark.parametrize(("name", "example"), INVALID)
def test_invalid_examples(name: str, example: dict[str, Any]) -> None:
    """Both engines refuse what is shown as invalid, at the place and by the keyword it says."""
    problem = judge(name, example["instance"])
    assert problem is not None
    assert problem.where == "body" + (f"#{example['at']}" if example["at"] else "")
    assert problem.facts["keyword"] == example["keyword"]
    assert problem.facts["violations"] == 1
    assert not reference({"$ref": SHORT[name]}, SHARED).is_valid(example["instance"])


def test_every_schema_has_examples() -> None:
    """At least one of each kind; code lists and values are shown by those that use them."""
    assert EXAMPLES.keys() == SHORT.keys() - {"values"}
    assert all(found["valid"] and found["invalid"] for found in EXAMPLES.values())


@pytest.mark.parametrize("name", SHORT.values())
def test_metaschema_and_name(name: str) -> None:
    """Each is JSON Schema 2020-12 under its own $id, NAME/MAJOR."""
    document = DOCUMENTS[name]
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$id"] == name
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert name == f"https://schemas.saphan.la/{name.split('/')[-2]}/1"


def parts(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema itself, its definitions, and every property however deep."""
    yield path, node
    for keyword in ("properties", "$defs"):
        for key, child in node.get(keyword, {}).items():
            yield from parts(child, f"{path}/{keyword}/{key}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict) and "title" in node[keyword]:
            yield from parts(node[keyword], f"{path}/{keyword}")


PARTS = [(name, path, part) for name, found in DOCUMENTS.items() for path, part in parts(found)]


@pytest.mark.parametrize(("name", "path", "part"), PARTS)
def test_both_languages(name: str, path: str, part: dict[str, Any]) -> None:
    """Every schema and property has its title in English and Lao; descriptions come in pairs."""
    assert part["title"].isascii()
    assert is_lao(part["x-title-lo"])
    assert ("description" in part) == ("x-description-lo" in part)
    assert is_lao(part.get("x-description-lo", "ກ"))
    titles = part.get("x-enum-titles")
    if titles is not None:
        assert list(titles) == part["enum"]
        assert all(one["en"] and is_lao(one["lo"]) for one in titles.values())


def is_lao(text: str) -> bool:
    """Lao script, composed as NFC has it, with the sign AM in one piece and no stray mark."""
    return (
        any("\u0e80" <= letter <= "\u0eff" for letter in text)
        and unicodedata.is_normalized("NFC", text)
        and "\u0ecd\u0eb2" not in text
        and not any("\u0e00" <= letter <= "\u0e7f" for letter in text)
        and text == text.strip()
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_records_are_closed(name: str) -> None:
    """An object takes no property that it does not declare, and requires only declared ones."""
    for path, part in parts(DOCUMENTS[name]):
        if part.get("type") == "object" and "properties" in part:
            assert part["additionalProperties"] is False, path
            assert set(part.get("required", ())) <= part["properties"].keys(), path


ISO_3166_2_LA = "AT BK BL CH HO KH LM LP OU PH SL SV VI VT XA XE XI XS"


def test_provinces_are_those_of_iso_3166() -> None:
    """ISO 3166-2:LA has one prefecture (LA-VT) and 17 provinces."""
    codes = [one["code"] for one in LISTS["province"]["codes"]]
    assert codes == [f"LA-{code}" for code in ISO_3166_2_LA.split()]
    shown = EXAMPLES["province"]["valid"]
    assert [one["code"] for one in shown] == codes
    assert [one["code"] for one in shown if one["category"] == "prefecture"] == ["LA-VT"]
    names = {one["code"]: one["name"] for one in LISTS["province"]["codes"]}
    for one in shown:
        assert names[one["code"]] == one["name"]


def test_districts_are_those_of_the_provinces() -> None:
    """148 districts, each of the 18 provinces with its own, and no name twice in a province."""
    districts = [(one["code"], one["name"]["lo"]) for one in LISTS["district"]["codes"]]
    assert len(districts) == len({code for code, _ in districts}) == 148
    numbers = {code[:2] for code, _ in districts}
    assert numbers == {f"{number:02}" for number in range(1, len(LISTS["province"]["codes"]) + 1)}
    assert len({(code[:2], name) for code, name in districts}) == 148


def test_ten_sector_working_groups() -> None:
    """The groups of the Round Table Process, shown by their examples."""
    codes = [one["code"] for one in LISTS["sector-working-group"]["codes"]]
    assert len(codes) == 10
    assert [one["code"] for one in EXAMPLES["sector-working-group"]["valid"]] == codes


def test_sectors_and_purposes_agree() -> None:
    """A DAC purpose begins with a DAC sector of the list."""
    sectors = "|".join(one["code"] for one in LISTS["dac-sector"]["codes"])
    assert (
        DOCUMENTS[SHORT["values"]]["$defs"]["dac_purpose"]["pattern"]
        == f"^(?:{sectors})[0-9]{{2}}$"
    )


@pytest.mark.parametrize("name", LISTS)
def test_code_lists(name: str) -> None:
    """Each list can be published, names its source, and each code in both languages."""
    content = schemas.load_code_list(name)
    found = parse_code_list(content, f"code-lists/{name}.json")
    assert (found.id, found.name) == (f"https://schemas.saphan.la/code-lists/{name}", name)
    assert found.source
    for one in found.codes:
        assert one.name.en
        assert is_lao(one.name.lo), one.code
        assert "\u200b" not in one.name.lo


def test_a_value_outside_of_its_list_breaks_the_list() -> None:
    """The problem names the code list as the rule that is broken."""
    problem = judge("province", EXAMPLES["province"]["valid"][0] | {"code": "LA-ZZ"})
    assert problem is not None
    assert problem.facts["rule"] == "https://schemas.saphan.la/code-lists/province#/enum"


@pytest.mark.parametrize(
    ("amount", "good"),
    [("0.00", True), ("-0.01", True), ("999999999999999.99", True), ("1000000000000000.00", False),
     ("-0.00", False), ("1", False), ("1.0", False), ("1.000", False), ("01.00", False),
     (".50", False), ("1,000.00", False), ("+1.00", False), ("1e3", False), ("໑.00", False),
     ("", False), (" 1.00", False), ("1.00\n", False), (1.0, False), (None, False)],
)  # fmt: skip
def test_amounts_have_one_spelling(amount: Any, good: bool) -> None:
    """Decimal text with two digits after the point: equal amounts are equal texts."""
    summary = {**EXAMPLES["disbursement-summary"]["valid"][0], "actual_usd": amount}
    assert (judge("disbursement-summary", summary) is None) is good


def test_loading() -> None:
    """A schema is found by short name and by $id, byte for byte as in its file."""
    file = (HERE / "disbursement.schema.json").read_bytes()
    assert schemas.load("disbursement") == file
    assert schemas.load("https://schemas.saphan.la/disbursement/1") == file
    assert schemas.identifier("disbursement") == "https://schemas.saphan.la/disbursement/1"
    for unknown in ("none", "https://schemas.saphan.la/disbursement/2", "../x", ""):
        with pytest.raises(KeyError):
            schemas.load(unknown)


def test_every_schema_and_property_is_documented() -> None:
    """docs/schemas.md names all of them in both languages."""
    page = (HERE.parent / "docs" / "schemas.md").read_text()
    for short, name in SHORT.items():
        document = DOCUMENTS[name]
        assert f"| `{short}` | {document['title']} | {document['x-title-lo']} |" in page
        for key, part in document.get("properties", {}).items():
            row = f"| {part['title']} | {part['x-title-lo']} |"
            assert row in page or not document.get("x-saphan-record"), key
