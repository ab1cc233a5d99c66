"""`saphan adapter check`, `try` and `openapi`, as their user sees them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from adapters import check
from adapters.mapping.file import parse_mapping
from console.cli.main import main
from tests.adapters.legacy import MAPPING, Legacy, execute, fill
from tests.adapters.test_files import HEADER
from tests.adapters.test_files import MAPPING as SHEETS


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    fill(f"sqlite:///{tmp_path}/legacy.db")
    # The endpoint /slow is there to be cut; a check would wait for its end.
    text = (
        MAPPING.format(limits="")
        .split("      /slow:")[0]
        .replace("${LEGACY_URL}", "sqlite:///legacy.db")
    )
    path = tmp_path / "legacy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def saphan(*arguments: str | Path, **environ: str) -> Result:
    return CliRunner().invoke(main, ["adapter", *map(str, arguments)], env=environ)


def findings(result: Result) -> list[dict[str, object]]:
    found: list[dict[str, object]] = orjson.loads(result.stdout)["findings"]
    return found


def test_a_good_mapping_has_no_findings(mapping: Path) -> None:
    """Exit code 0, and the next step."""
    result = saphan("check", mapping, "--rows")
    assert result.exit_code == 0, result.output
    assert "Next:" in result.output


def test_rows_that_break_a_rule_are_named_without_their_values(mapping: Path) -> None:
    """Row, key, place, type and rule are told; the value is not; every bad row is told."""
    url = f"sqlite:///{mapping.parent}/legacy.db"
    execute(url, "UPDATE tbl_item SET start_text = '31/02/2024' WHERE id = 5")
    execute(url, "UPDATE tbl_item SET status_word = 'geheim' WHERE id = 9")
    result = saphan("check", mapping, "--rows", "--json")
    assert result.exit_code == 1
    found = [one for one in findings(result) if one["where"] == "items GET /items"]
    assert found == [
        {
            "where": "items GET /items",
            "rule": "must be a date written as %d/%m/%Y",
            "row": 5,
            "key": "id=5",
            "place": "/start",
            "type": "str",
        },
        {
            "where": "items GET /items",
            "rule": "must be a word of the translation table",
            "row": 9,
            "key": "id=9",
            "place": "/status",
            "type": "str",
        },
    ]
    assert "geheim" not in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("column: item_code", "column: code_of_item", "code_of_item"),
        ("FROM tbl_item\n    record", "FROM tbl_thing\n    record", "tbl_thing"),
        ("order: [id]", "order: [number]", "number"),
    ],
)
def test_a_query_that_does_not_run_is_told_in_the_database_s_words(
    mapping: Path, old: str, new: str, words: str
) -> None:
    """A missing table or column is found without reading rows."""
    text = mapping.read_text(encoding="utf-8")
    assert old in text
    mapping.write_text(text.replace(old, new), encoding="utf-8")
    result = saphan("check", mapping)
    assert result.exit_code == 1
    assert words in result.stdout


def test_an_order_that_does_not_tell_rows_apart_is_found(mapping: Path) -> None:
    """Pages over a key that repeats or is null would lose rows; the check says which."""
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace("order: [id]", "order: [title_lo]"), encoding="utf-8")
    rules = {str(one["rule"]) for one in findings(saphan("check", mapping, "--rows", "--json"))}
    assert any("null" in rule for rule in rules)
    assert any("does not tell this row from another" in rule for rule in rules)


def test_a_filter_that_the_database_cannot_compare_is_found(
    own_legacy: Legacy, tmp_path: Path
) -> None:
    """A number over a text fails on PostgreSQL: told before a caller meets it."""
    text = (
        MAPPING.format(limits="")
        .split("      /slow:")[0]
        .replace('note: {type: string, null_words: ["-", n/a]}', "note: decimal")
    )
    path = tmp_path / "other.yaml"
    path.write_text(text, encoding="utf-8")
    result = saphan("check", path, LEGACY_URL=own_legacy.url)
    assert result.exit_code == (1 if own_legacy.kind == "postgresql" else 0), result.stdout


def test_records_and_schemas_that_do_not_fit_are_found() -> None:
    """A required member without a field, a field without a member, an unknown schema."""
    text = MAPPING.format(limits="").replace(
        "  item:\n", "  item:\n    schema: https://schemas.saphan.la/province/1\n"
    )
    shared = {
        "https://schemas.saphan.la/province/1": orjson.dumps(
            {
                "required": ["code", "category"],
                "properties": {"code": {}, "category": {}},
                "additionalProperties": False,
            }
        )
    }
    found = check.against_schemas(parse_mapping(text.encode()), shared)
    rules = [finding.rule for finding in found]
    assert "the schema requires 'category', which no field gives" in rules
    assert "the schema has no member 'amount'" in rules
    assert "no shared schema" in check.against_schemas(parse_mapping(text.encode()), {})[0].rule


def test_a_source_that_is_down_is_a_problem_with_the_driver_s_words(mapping: Path) -> None:
    """Exit code 1 and what the driver said, for the operator's eyes."""
    mapping.with_name("legacy.db").unlink()
    result = saphan("check", mapping)
    assert result.exit_code == 1
    assert "SourceFailed at legacy.yaml:6 /source" in result.stderr
    assert f"unable to open database file ({mapping.parent / 'legacy.db'})" in result.stderr


def test_a_bad_sheet_is_named_by_its_place(tmp_path: Path) -> None:
    """The place inside the spreadsheet is what the operator reads."""
    (tmp_path / "lines.csv").write_text(HEADER + "1;a;;x;\n", encoding="utf-8")
    path = tmp_path / "sheets.yaml"
    path.write_text(SHEETS, encoding="utf-8")
    result = saphan("check", path, FOLDER=str(tmp_path))
    assert result.exit_code == 1
    assert "lines.csv row 2 column 4 (Spent (USD))" in result.stdout


def test_a_parameter_without_example_is_asked_for(mapping: Path) -> None:
    """--with gives a value where the mapping has no example."""
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.replace("default: 0, ", ""), encoding="utf-8")
    result = saphan("check", mapping)
    assert result.exit_code == 1
    assert "--with" in result.stdout
    assert saphan("check", mapping, "--with", "after=3").exit_code == 0
    assert saphan("check", mapping, "--with", "after").exit_code == 2


def test_try_asks_once(mapping: Path) -> None:
    """The body on standard output; another status than 200 is exit code 1."""
    result = saphan("try", mapping, "/items/P-001?fields=code", "--json")
    assert result.exit_code == 0
    assert orjson.loads(result.stdout)["body"] == {"code": "P-001"}
    result = saphan("try", mapping, "/items?unknown=1")
    assert result.exit_code == 1
    assert orjson.loads(result.stdout)["where"] == "query.unknown"


def test_openapi_prints_the_document(mapping: Path) -> None:
    """The document needs no source."""
    mapping.with_name("legacy.db").unlink()
    result = saphan("openapi", mapping)
    assert orjson.loads(result.stdout)["info"]["x-saphan-service"] == "LA/GOV/MPI/legacy/items"
    assert saphan("openapi", mapping, "other").exit_code == 1


def test_what_is_good_says_how_much_was_read(mapping: Path) -> None:
    """Who sees that nothing is wrong sees, too, that there was something to judge."""
    told = orjson.loads(saphan("check", mapping, "--rows", "--json").stdout)
    assert told["findings"] == []
    assert told["rows_read"] > 0
    assert f"{told['rows_read']:,} rows read" in saphan("check", mapping, "--rows").stdout


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_a_port_that_is_none_is_not_another_one(mapping: Path, port: str) -> None:
    """An operating system would take what is left of the number, and nobody would find it."""
    result = saphan("serve", mapping, "--port", port)
    assert result.exit_code == 2
    assert "InvalidUsage at --port" in result.stderr
