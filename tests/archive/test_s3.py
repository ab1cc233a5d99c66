"""The archive in an S3-compatible store: a server of another project, over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.problems import Code, Problem
from mediator.archive import s3
from mediator.archive.restore import check_archive, restore
from mediator.archive.s3 import S3Store
from mediator.archive.settings import ArchiveSettings
from mediator.archive.stores import describe
from tests.archive.world import archive, fill
from tests.journal.world import assert_good
from tests.services.s3 import make_bucket, s3_server


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture
def settings(address: str, request: pytest.FixtureRequest) -> ArchiveSettings:
    bucket = request.node.name.replace("_", "-")[:60].strip("-")
    make_bucket(address, bucket)
    return ArchiveSettings(
        bucket=f"s3://{bucket}/journals/ss1",
        endpoint=address,
        region="us-east-1",
        access_key="key",
        secret_key="secret",
        parallel=2,
    )


async def test_it_goes_there_and_comes_back(settings: ArchiveSettings, tmp_path: Path) -> None:
    """What was archived in a bucket is checked there, restored from there, and verifies."""
    journal = tmp_path / "journal"
    await fill(journal, 0, 300)
    store = S3Store(settings)
    first = archive(journal, store)
    await fill(journal, 300, 600)
    second = archive(journal, store)
    assert second.manifest.number == first.manifest.number + 1
    assert check_archive(store) == second.manifest
    restore(store, tmp_path / "restored")
    assert_good(tmp_path / "restored", 600)


async def test_the_commands(settings: ArchiveSettings, tmp_path: Path) -> None:
    """`saphan archive run`, `check` and `restore` do the same, with the account from outside."""
    journal = tmp_path / "journal"
    await fill(journal, 0, 300)
    assert settings.bucket is not None
    assert settings.endpoint is not None
    store = ["--endpoint", settings.endpoint, "--region", "us-east-1", "--json"]
    account = {"SAPHAN_ARCHIVE_KEY": "key", "SAPHAN_ARCHIVE_SECRET": "secret"}
    answers = []
    for command in (
        ["run", str(journal), settings.bucket],
        ["check", settings.bucket],
        ["restore", settings.bucket, str(tmp_path / "restored")],
    ):
        result = CliRunner().invoke(main, ["archive", *command, *store], env=account)
        assert result.exit_code == 0, result.output
        answers.append(orjson.loads(result.stdout))
    assert answers[0]["entries"] == answers[1]["entries"] == answers[2]["entries"] == 256
    assert_good(tmp_path / "restored", 300)


async def test_an_archive_is_verified_where_it_is(
    settings: ArchiveSettings, tmp_path: Path
) -> None:
    """Part after part, each with its own verdict; nothing of it stays here."""
    await fill(tmp_path / "journal", 0, 600)
    archive(tmp_path / "journal", S3Store(settings))
    assert settings.bucket is not None
    assert settings.endpoint is not None
    (tmp_path / "scratch").mkdir()
    command = ["archive", "verify", settings.bucket, "--endpoint", settings.endpoint, "--part"]
    command += [
        "300",
        "--processes",
        "1",
        "--region",
        "us-east-1",
        "--scratch",
        str(tmp_path / "scratch"),
        "--json",
    ]
    account = {"SAPHAN_ARCHIVE_KEY": "key", "SAPHAN_ARCHIVE_SECRET": "secret"}
    done = CliRunner().invoke(main, command, env=account)
    assert done.exit_code == 0, done.output
    verdict = orjson.loads(done.stdout)
    assert [(one["first"], one["end"]) for one in verdict["parts"]] == [(0, 300), (300, 600)]
    assert verdict["parts"][1]["size"] == 600
    assert not [*(tmp_path / "scratch").iterdir()]


async def test_what_somebody_changes_in_the_store_is_found(
    settings: ArchiveSettings, tmp_path: Path
) -> None:
    """An object that was changed in the store is named by the check, and not restored."""
    journal = tmp_path / "journal"
    await fill(journal, 0, 300)
    store = S3Store(settings)
    archive(journal, store)
    name = "log/tile/entries/000"
    changed = (journal / name).read_bytes().replace(b"LA-7", b"LA-8")
    store.put(describe(name, changed), changed)
    for read in (check_archive, lambda found: restore(found, tmp_path / "restored")):
        with pytest.raises(Problem) as raised:
            read(store)
        assert raised.value.code is Code.ARCHIVE_FAILED
        assert raised.value.facts["object"] == name
    assert not (tmp_path / "restored/log/tile/entries/000").exists()


async def test_a_store_that_goes_away(
    settings: ArchiveSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that goes away ends the run with its name; where it is back, the run goes on."""
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    journal = tmp_path / "journal"
    await fill(journal, 0, 300)
    with s3_server(tmp_path) as address:
        make_bucket(address, "bucket")
        gone = ArchiveSettings(
            bucket="s3://bucket", endpoint=address, access_key="a", secret_key="b", region="x"
        )
    with pytest.raises(Problem) as raised:
        archive(journal, S3Store(gone))
    assert raised.value.code is Code.ARCHIVE_FAILED
    assert raised.value.facts["archive"] == "s3://bucket"
    archive(journal, S3Store(settings))


def test_an_account_that_is_refused(address: str) -> None:
    """A bucket that does not exist is a failure of the archive, not an empty archive."""
    nobody = ArchiveSettings(
        bucket="s3://nobody", endpoint=address, access_key="a", secret_key="b", region="x"
    )
    with pytest.raises(Problem) as raised:
        S3Store(nobody).put(describe("thing", b"one"), b"one")
    assert raised.value.code is Code.ARCHIVE_FAILED
    with pytest.raises(Problem) as raised:
        check_archive(S3Store(nobody))
    assert raised.value.code is Code.ARCHIVE_FAILED
