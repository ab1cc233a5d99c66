"""Rules of `saphan schema`: what each command tells, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from click.testing import CliRunner, Result

from console.cli.main import main


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
    assert (found.exit_code, orjson.loads(found.output)["compatible"]) == (0, True)


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
