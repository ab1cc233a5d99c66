"""Rules of `saphan schema`: what each command tells, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

import schemas
from console.cli.main import main
from tests.exchange.reference_engine import reference


def written(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_bytes(orjson.dumps(value))
    return path


def saphan(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["schema", *map(str, arguments)])


def test_check_tells_each_breaking_place_in_both_languages(tmp_path: Path) -> None:
    """Exit code 1, place, rule and reason; exit code 0 when nothing breaks."""
    old = written(tmp_path, "old.json", {"properties": {"a": {"maxLength": 9}}})
    new = written(tmp_path, "new.json", {"properties": {"a": {"maxLength": 5}}})
    found = saphan("check", old, new, "--way", "backward")
    assert found.exit_code == 1
    assert "#/properties/a/maxLength  [maxLength]" in found.output
    assert "texts must be shorter (5)" in found.output
    assert "ຂໍ້ຄວາມຕ້ອງສັ້ນລົງ (5)" in found.output
    found = saphan("check", old, new, "--way", "forward", "--json")
    assert (found.exit_code, orjson.loads(found.stdout)["compatible"]) == (0, True)


def test_check_knows_services_by_themselves(tmp_path: Path) -> None:
    """An OpenAPI document is compared as callers feel it; it is never compared with a schema."""
    answers = {"responses": {"200": {"description": ""}}}
    old = written(tmp_path, "a.json", {"openapi": "3.1.0", "paths": {"/x": {"get": answers}}})
    new = written(tmp_path, "b.json", {"openapi": "3.1.0", "paths": {}})
    assert "an operation is gone (GET /x)" in saphan("check", old, new).output
    other = written(tmp_path, "c.json", {"type": "string"})
    assert saphan("check", old, other).exit_code == 1


def test_a_schema_may_refer_to_the_shared_ones(tmp_path: Path) -> None:
    """Those that come with Saphan are known, others are named."""
    value = {"$ref": "https://schemas.saphan.la/values/1#/$defs/amount"}
    file = written(tmp_path, "a.json", value)
    assert saphan("check", file, file).exit_code == 0
    own = written(tmp_path, "own.json", {"$id": "https://example.la/own/1", "type": "string"})
    file = written(tmp_path, "b.json", {"$ref": "https://example.la/own/1"})
    assert saphan("check", file, file).exit_code == 1
    assert saphan("check", file, file, "--with", own).exit_code == 0


# -- faults --------------------------------------------------------------------------------------


def rules_of(folder: Path, value: Any) -> list[str]:
    found = saphan("lint", written(folder, "x.json", value), "--json")
    listed = orjson.loads(found.stdout)["findings"]
    assert found.exit_code == (1 if listed else 0)
    return [f"{one['rule']} {one['pointer']}".strip() for one in listed]


NAMED = {"title": "A", "x-title-lo": "ກ", "description": "b", "x-description-lo": "ຂ"}


@pytest.mark.parametrize(
    ("part", "rule"),
    [
        ({}, "title"),
        ({"title": "A"}, "title-lo"),
        (NAMED | {"x-description-lo": ""}, "description-lo"),
        (NAMED | {"type": "string"}, "string-unbounded"),
        (NAMED | {"type": "string", "pattern": "^a"}, "string-unbounded"),
        (NAMED | {"type": "string", "maxLength": 9, "format": "phone"}, "format-unknown"),
        (NAMED | {"type": "array"}, "array-unbounded"),
        (NAMED | {"type": "integer", "minimum": 0}, "number-unbounded"),
        (NAMED | {"type": "object", "properties": {}}, "object-open"),
        (NAMED | {"enum": ["a"]}, "enum-titles"),
    ],
)
def test_lint_finds_each_fault(tmp_path: Path, part: dict[str, Any], rule: str) -> None:
    """Each fault is told at its place, with a remedy in both languages."""
    found = rules_of(tmp_path, NAMED | {"properties": {"a": part}})
    assert rule in {one.partition(" ")[0] for one in found}
    assert all(" /properties/a" in one for one in found)


def test_lint_finds_names_and_dates(tmp_path: Path) -> None:
    """A name is lower case with underscores; one that speaks of a date has a format."""
    text = NAMED | {"type": "string", "maxLength": 10}
    found = rules_of(tmp_path, NAMED | {"properties": {"firstName": text, "birth_date": text}})
    assert found == ["name /properties/firstName", "format-missing /properties/birth_date"]


def test_lint_of_a_service(tmp_path: Path) -> None:
    """Operations say what they do in both languages, and what they answer."""
    answer = {"200": {"content": {"application/json": {}}}}
    paths = {"/workingGroups": {"get": {"responses": answer}}}
    found = rules_of(tmp_path, {"openapi": "3.1.0", "paths": paths})
    at = "/paths/~1workingGroups"
    assert found == [
        f"path-name {at}",
        f"operation-id {at}/get",
        f"summary {at}/get",
        f"summary-lo {at}/get",
        f"answer-schema {at}/get/responses/200/content/application~1json",
    ]


def test_lint_leaves_parts_alone_that_narrow_a_reference(tmp_path: Path) -> None:
    """What stands beside a `$ref` in an allOf is closed and bounded by what the reference says."""
    part = {"type": "object", "properties": {"items": {"type": "array"}}}
    page = {"$ref": "https://schemas.saphan.la/page/1"}
    assert rules_of(tmp_path, NAMED | {"allOf": [page, part]}) == []
    assert rules_of(tmp_path, NAMED | {"allOf": [part]}) != []


# -- test data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    sorted(Path(schemas.__file__).parent.glob("*.schema.json")),
    ids=lambda file: file.name.partition(".")[0],
)
def test_every_shared_schema_has_test_data(file: Path) -> None:
    """Generated records keep the schema; the same seed gives the same ones."""
    found = saphan("data", file, "--count", 20, "--seed", 7)
    assert found.exit_code == 0, found.output
    records = [orjson.loads(line) for line in found.stdout.splitlines()]
    engine = reference({"$ref": orjson.loads(file.read_bytes())["$id"]}, schemas.load_all())
    assert len(records) == 20
    assert all(engine.is_valid(record) for record in records)
    assert saphan("data", file, "--count", 20, "--seed", 7).stdout == found.stdout


def test_an_example_of_a_part(tmp_path: Path) -> None:
    """One definition can be shown alone; a schema that nothing keeps is a clear problem."""
    values = Path(schemas.__file__).parent / "values.schema.json"
    assert isinstance(
        orjson.loads(saphan("example", values, "--part", "/$defs/amount").stdout), str
    )
    file = written(tmp_path, "x.json", {"type": "string", "not": {}})
    assert "no instance was found" in saphan("example", file).output


@pytest.mark.parametrize("identifier", [None, "urn:example:own", "https://example.la/own/1"])
def test_parts_of_one_file_refer_to_each_other(tmp_path: Path, identifier: str | None) -> None:
    """By a JSON pointer, whatever the file is called, and also when it has no ``$id``."""
    value: dict[str, Any] = {"properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["a"]}
    if identifier is not None:
        value["$id"] = identifier
    old = written(tmp_path, "old.json", value | {"$defs": {"x": {"type": ["integer", "null"]}}})
    new = written(tmp_path, "new.json", value | {"$defs": {"x": {"type": "integer"}}})
    assert isinstance(orjson.loads(saphan("example", new).stdout)["a"], int)
    assert saphan("check", new, new).exit_code == 0
    found = orjson.loads(saphan("check", old, new, "--way", "backward", "--json").stdout)
    assert [one["where"].rpartition("#")[2] for one in found["breaks"]] == ["/$defs/x/type"]


@pytest.mark.parametrize(
    "value",
    [
        {"type": "array", "minItems": 10**8},
        {"type": "string", "minLength": 10**9},
        {
            "$ref": "#/$defs/x11",
            "$defs": {"x0": {"type": "null"}}
            | {
                f"x{n + 1}": {"prefixItems": [{"$ref": f"#/$defs/x{n}"}] * 9, "minItems": 9}
                for n in range(11)
            },
        },
    ],
    ids=["items", "letters", "wide"],
)
def test_no_instance_is_made_without_end(tmp_path: Path, value: dict[str, Any]) -> None:
    """A schema whose smallest instance is huge is told to be so."""
    found = saphan("example", written(tmp_path, "x.json", value))
    assert found.exit_code == 1
    assert "values and characters" in found.output
