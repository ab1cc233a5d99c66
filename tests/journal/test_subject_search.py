"""Searching by subject, as an auditor does with the files and the keys."""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli.main import main
from exchange.identifiers import MemberId
from tests.journal.world import MPI, QUICK, entry, journal_in, part

MOF = MemberId.parse("LA/GOV/MOF")
SEPTEMBER = datetime(2026, 9, 30, 23, 59, tzinfo=UTC)


def run(*arguments: Any, **more: Any) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)], **more)


def found(*arguments: Any, **more: Any) -> list[int]:
    result = run("search", *arguments, "--json", **more)
    assert result.exit_code == 0, result.output
    return [hit["index"] for hit in json.loads(result.stdout)["hits"]]


async def fill(directory: Path) -> None:
    """Ten entries over two months of two members, about three people."""
    async with journal_in(directory, QUICK) as journal:
        for number in range(10):
            await journal.record(
                entry(number, at=SEPTEMBER + timedelta(seconds=12 * number), purpose="p"),
                (MPI, MOF)[number % 2],
                part(number),
                f"la-nid:a{number % 3}",
            )


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("subjects") / "journal"
    asyncio.run(fill(directory))
    return directory


def test_a_person_is_found_over_months_and_members(journal: Path, tmp_path: Path) -> None:
    """However the identifier is written, and with other conditions; from a file too."""
    (tmp_path / "person.txt").write_text("la-nid:a1\n")
    assert found(journal, "--subject", "la-nid:A1") == [7, 4, 1]
    assert found(journal, "--subject", f"@{tmp_path}/person.txt") == [7, 4, 1]
    assert found(journal, "--subject", "la-nid:a1", "--until", "2026-10-01") == [4, 1]
    assert found(journal, "--subject", "la-nid:a1", "--id", "LA-4") == [4]
    assert found(journal, "--subject", "la-nid:a1", "--purpose", "another") == []
    assert found(journal, "--subject", "la-nid:a3") == []


def test_a_subject_that_is_none_is_refused_and_not_repeated(journal: Path) -> None:
    """The message says how it is written."""
    result = run("search", journal, "--subject", "0123456789")
    assert result.exit_code == 1
    assert "scheme:identifier" in result.output
    assert "0123456789" not in result.output


def test_without_the_keys_nobody_finds_a_person(journal: Path, tmp_path: Path) -> None:
    """A copy without keys says what is missing; it does not say that there is nothing."""
    copy = tmp_path / "copy"
    shutil.copytree(journal, copy, ignore=shutil.ignore_patterns("keys"))
    result = run("search", copy, "--subject", "la-nid:a1")
    assert result.exit_code == 1
    assert "keys" in result.output


def test_hits_are_printed_for_people_spreadsheets_and_programs(journal: Path) -> None:
    """A table has a line for each, CSV every member in columns of its own."""
    table = run("search", journal, "--subject", "la-nid:a1", "--format", "table").stdout
    assert [line.split()[:2] for line in table.splitlines()[1:3]] == [
        ["2026-10-01", "00:00:24Z"],
        ["2026-09-30", "23:59:48Z"],
    ]
    text = run("search", journal, "--id", "LA-4", "--format", "csv").stdout
    (row,) = csv.DictReader(StringIO(text))
    assert (row["id"], row["index"], row["journal"]) == ("LA-4", "4", str(journal))
    assert (row["at"], row["problem"]) == ("2026-09-30T23:59:48.000Z", "")


def test_an_index_is_made_anew_by_command(journal: Path, tmp_path: Path) -> None:
    """A copy gets one; a journal that a server has open is left to it."""
    copy = tmp_path / "copy"
    shutil.copytree(journal, copy)
    (copy / "index.sqlite").write_bytes(b"nonsense")
    result = run("index", "rebuild", copy, "--json")
    assert json.loads(result.stdout)["rebuilt"][0]["entries"] == 10
    assert found(copy, "--subject", "la-nid:a1") == [7, 4, 1]

    async def held() -> Result:
        async with journal_in(copy):
            return await asyncio.to_thread(run, "index", "rebuild", copy)

    refused = asyncio.run(held())
    assert refused.exit_code == 1
    assert "Conflict" in refused.output
