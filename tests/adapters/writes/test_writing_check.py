"""`saphan adapter check` and `ledger` over a mapping that lets others write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

import schemas
from adapters.kinds import Checking
from adapters.mapping.file import parse_mapping
from adapters.records import Records
from console.cli.main import main
from tests.adapters.writes.library import BOOK, MAPPING, Library, send


async def check(library: Library, mapping: str = MAPPING) -> list[tuple[str, bool]]:
    parsed = parse_mapping(mapping.replace("LIMITS", "max_rows: 10").encode(), "library.yaml")
    environ = {"LIBRARY_URL": library.url, "LIBRARY_WRITER_URL": library.url}
    how = Checking(schemas.load_all(), False, {}, lambda count: None)
    found = await Records(parsed).check(environ, Path(), how)
    return [(one.rule, one.warning) for one in found]


async def test_what_can_be_written_is_checked_without_writing(library: Library) -> None:
    """Every statement would run, the ledger is there, and nothing has changed."""
    before = library.rows("SELECT * FROM tbl_book ORDER BY book_no")
    assert [rule for rule, warning in await check(library) if not warning] == []
    assert library.rows("SELECT * FROM tbl_book ORDER BY book_no") == before
    assert library.count("saphan_writes") == 0


async def test_what_is_not_there_is_found(library: Library) -> None:
    """A ledger that nobody made, a column that is gone."""
    library.rows("DROP TABLE saphan_writes")
    broken = MAPPING.replace("SET is_lent = 1", "SET lent = 1")
    rules = [rule for rule, warning in await check(library, broken) if not warning]
    assert sorted("ledger" in rule for rule in rules) == [False, True]
    assert any("would not run" in rule for rule in rules)


async def test_rights_beyond_the_list_are_a_warning(library: Library) -> None:
    """The account of these tests may write everything."""
    rules = [rule for rule, warning in await check(library) if warning]
    beyond = [rule for rule in rules if "which is not listed" in rule]
    assert bool(beyond) == (library.kind != "sqlite")


@pytest.mark.needs_postgresql
async def test_an_account_with_just_the_rights(
    request: pytest.FixtureRequest, library: Library
) -> None:
    """Exactly the listed tables: nothing to say; one right too few: a finding."""
    if library.kind != "postgresql":
        pytest.skip("one database shows it")
    for statement in (
        "DROP ROLE IF EXISTS shelf_writer",
        "CREATE ROLE shelf_writer LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON tbl_book, saphan_writes TO shelf_writer",
        "GRANT SELECT, INSERT ON tbl_loan TO shelf_writer",
    ):
        library.rows(statement)
    url = library.url.replace("saphan@", "shelf_writer@")
    own = MAPPING.replace("write_url_env: LIBRARY_WRITER_URL", f"write_url: {url}")
    try:
        assert [rule for rule, _ in await check(library, own) if "writes" in rule] == []
        library.rows("REVOKE INSERT ON tbl_loan FROM shelf_writer")
        found = [rule for rule, warning in await check(library, own) if not warning]
        assert len(found) == 1
        assert "would not run" in found[0]
    finally:
        library.rows("DROP OWNED BY shelf_writer")
        library.rows("DROP ROLE shelf_writer")


async def _write_twice(library: Library) -> None:
    adapter = library.adapter()
    await send(adapter, "POST", "/books", BOOK, id="old")
    await send(adapter, "PATCH", "/books/1", {"note": "x"}, id="new")
    await adapter.close()


def test_old_messages_are_forgotten(library: Library, tmp_path: Path) -> None:
    """``--thin`` deletes what is older; a repeat of a thinned message is a new one."""
    asyncio.run(_write_twice(library))
    library.rows("UPDATE saphan_writes SET written_at = written_at - 864000 WHERE id = 'old'")
    file = tmp_path / "library.yaml"
    file.write_text(MAPPING.replace("LIMITS", "max_rows: 10"), "utf-8")
    environ = {"LIBRARY_URL": library.url, "LIBRARY_WRITER_URL": library.url}
    result = CliRunner().invoke(main, ["adapter", "ledger", str(file), "--thin", "9"], env=environ)
    assert (result.exit_code, result.output) == (0, "1 message(s) forgotten.\n")
    assert library.rows("SELECT id FROM saphan_writes") == [("new",)]
    printed = CliRunner().invoke(main, ["adapter", "ledger", str(file)], env=environ)
    assert printed.stdout.startswith("CREATE TABLE saphan_writes (")
