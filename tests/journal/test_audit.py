"""`saphan audit` as an auditor uses it: search, show, export, verify; by exit code and JSON."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from console.cli.main import main
from exchange.identifiers import ApplicationId, MemberId
from exchange.journal.entries import Kind, Side
from exchange.keys import signing_key
from exchange.problems import Problem
from mediator.journal.export import README, verify_export
from tests.journal.world import CLIENT, MPI, STILL, VERIFIER, entry, journal_in, part

MOF = MemberId.parse("LA/GOV/MOF")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def as_json(*arguments: Any) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class World:
    """Two servers' journals of the same exchanges, and the signer's certificate."""

    def __init__(self, directory: Path) -> None:
        self.mpi = directory / "mpi" / "journal"
        self.mof = directory / "mof" / "journal"
        self.certificates = directory / "certificates"
        private = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DEV MOF")])
        now = datetime.now(UTC)
        certificate = x509.CertificateBuilder(
            name, name, private.public_key(), 1, now, now + timedelta(days=1)
        ).sign(private, hashes.SHA256())
        self.certificates.mkdir()
        pem = certificate.public_bytes(Encoding.PEM)
        (self.certificates / "mof.pem").write_bytes(pem)
        (self.certificates / "notes.pem").write_bytes(b"not a certificate")
        self.key = signing_key(private, certificate)
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        for directory, side, member in (
            (self.mof, Side.CONSUMER, MOF),
            (self.mpi, Side.PROVIDER, MPI),
        ):
            async with journal_in(directory, origin=f"{side}.test") as journal:
                for number in range(4):
                    for kind in (Kind.REQUEST, Kind.RESPONSE):
                        value = entry(
                            number, side=side, kind=kind, certificate=self.key.keyid,
                            status=200 if kind is Kind.RESPONSE else None,
                        )  # fmt: skip
                        await journal.record(value, member, part(number, kind, key=self.key))
                await journal.record(
                    entry(9, kind=Kind.REFUSAL, side=side, id=None, problem="AccessDenied"), member
                )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("audit"))


@pytest.fixture
def fresh(tmp_path: Path) -> World:
    return World(tmp_path)


def test_search_goes_over_all_journals_below_a_folder(world: World) -> None:
    """A folder above several journals stands for all of them, newest entries first."""
    found = as_json("search", world.mpi.parents[1], "--id", "LA-2")
    assert {(hit["journal"], hit["index"]) for hit in found["hits"]} == {
        (str(directory), index) for directory in (world.mpi, world.mof) for index in (4, 5)
    }
    assert found["next"] is None


def test_search_pages(world: World) -> None:
    """A cursor goes on where the page ended."""
    seen: list[tuple[str, int]] = []
    cursor: list[str] = []
    while True:
        page = as_json("search", world.mpi, world.mof, "--limit", 5, *cursor)
        seen += [(hit["journal"], hit["index"]) for hit in page["hits"]]
        if page["next"] is None:
            break
        cursor = ["--cursor", page["next"]]
    assert len(seen) == len(set(seen)) == 18


def test_search_narrows(world: World) -> None:
    """Conditions are joined by and."""
    for options, count in [
        (("--outcome", "refused"), 1),
        (("--problem", "AccessDenied"), 1),
        (("--status", 200, "--kind", "response"), 4),
        (("--client", "LA/GOV/MOF/budget", "--member", "LA/GOV/MPI"), 9),
        (("--from", "2026-11-21T08:00:00.003Z", "--until", "2026-11-21T08:00:00.004Z"), 2),
        (("--until", "2026-11-21"), 0),
    ]:
        assert len(as_json("search", world.mpi, *options)["hits"]) == count


def test_a_person_can_read_it(world: World) -> None:
    """Without --json there are lines, and the next step."""
    result = run("search", world.mpi, "--id", "LA-1")
    assert "LA/GOV/MOF/budget → LA/GOV/MPI/oda-mis/projects" in result.output
    assert "Next:" in result.output
    assert "Try fewer conditions" in run("search", world.mpi, "--id", "none").output
    shown = run("show", world.mpi, 2)
    assert '"LA-1"' in shown.output
    assert "Proven: entry 2 is in provider.test, 9 entries" in shown.output
    assert '{"project": 1}' in shown.output
    assert "GOOD" in run("verify", world.mpi).output


def test_show_proves_and_opens(world: World) -> None:
    """The entry, its proof, and what is in the sealed part."""
    shown = as_json("show", world.mpi, 3)
    assert shown["entry"]["kind"] == "response"
    assert shown["proof"] == {
        "good": True, "origin": "provider.test", "size": 9, "root": shown["proof"]["root"],
    }  # fmt: skip
    assert shown["sealed"]["body"] == '{"project": 1}'
    assert as_json("show", world.mpi, 8)["sealed"] is None


def test_show_without_the_key_says_so(fresh: World) -> None:
    """When the key is elsewhere the proof still holds."""
    (fresh.mpi / "keys/LA/GOV/MPI/2026-11.d3650.key").unlink()
    shown = as_json("show", fresh.mpi, 3)
    assert shown["proof"]["good"] is True
    assert "not among" in shown["unreadable"]


@pytest.mark.parametrize("name", ["evidence", "evidence.zip"])
def test_an_export_is_verified_without_the_journal(world: World, tmp_path: Path, name: str) -> None:
    """Everything of one message from both sides, checked with the files alone."""
    target = tmp_path / name
    made = as_json(
        "export", world.mpi, 3, "--also", world.mof, "--certificates", world.certificates,
        "-o", target,
    )  # fmt: skip
    assert [entry["index"] for entry in made["entries"]] == [2, 3, 2, 3]
    (verdict,) = as_json("verify", target)["verdicts"]
    assert (verdict["entries"], verdict["opened"], verdict["signatures"]) == (4, 4, 4)
    assert verdict["without_certificate"] == 0


def test_an_export_has_what_its_readme_says(world: World, tmp_path: Path) -> None:
    """The files are named as documented; body and base are in the clear."""
    target = tmp_path / "evidence"
    run("export", world.mpi, "--id", "LA-1", "-o", target)
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert "entries/0-2/proof.tlog-proof" in names
    assert (target / "entries/0-2/body.bin").read_bytes() == b'{"project": 1}'
    assert (target / "logs/0/vkey").read_text().startswith("provider.test+")
    assert "ກວດສອບ" in (target / "README.txt").read_text()
    assert README.isprintable() or "\n" in README


def test_an_export_without_the_key_keeps_the_sealed_record(fresh: World, tmp_path: Path) -> None:
    """Without the member's key the sealed part goes along unopened, and all proofs hold."""
    (fresh.mpi / "keys/LA/GOV/MPI/2026-11.d3650.key").unlink()
    target = tmp_path / "evidence"
    made = as_json("export", fresh.mpi, 3, "-o", target)
    assert made["verdict"]["good"] is True
    assert (made["verdict"]["opened"], made["verdict"]["entries"]) == (0, 2)
    assert not (target / "entries/0-3/record.key").exists()
    assert (target / "entries/0-3/sealed.bin").stat().st_size > 0


def test_half_an_export_is_not_left(world: World, tmp_path: Path) -> None:
    """When the disk takes no more, the file is named, and what was written of it is gone."""
    target = tmp_path / "evidence.zip"
    program = (
        "import resource, sys; from console.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "main(sys.argv[1:])"
    )
    command = ["audit", "export", str(world.mpi), "3", "-o", str(target)]
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert str(target) in done.stderr
    assert not target.exists()


def test_an_entry_without_a_message_id_is_exported_alone(world: World, tmp_path: Path) -> None:
    """A refusal before there was an id is evidence too."""
    made = as_json("export", world.mpi, 8, "-o", tmp_path / "evidence")
    assert [entry["index"] for entry in made["entries"]] == [8]


def test_every_changed_file_of_an_export_is_found(world: World, tmp_path: Path) -> None:
    """A flipped bit in any file of an export, or a file too many or too few, fails it."""
    target = tmp_path / "evidence"
    run("export", world.mpi, 3, "--certificates", world.certificates, "-o", target)
    paths = sorted(path for path in target.rglob("*") if path.is_file())
    for path in paths:
        if path.name == "README.txt":
            continue
        data = path.read_bytes()
        for at in {0, len(data) // 2, len(data) - 2}:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            result = run("verify", target, "--json")
            assert result.exit_code == 1, (path, at)
        path.unlink()
        gone = run("verify", target, "--json")
        # without the record's key or a certificate an export says less, but nothing wrong
        if path.name != "record.key" and path.suffix != ".pem":
            assert gone.exit_code == 1, path
        path.write_bytes(data)
    (target / "extra").write_bytes(b"x")
    assert run("verify", target).exit_code == 1
    (target / "extra").unlink()
    assert run("verify", target).exit_code == 0


@pytest.mark.parametrize("damage", [None, b"", b"{}"])
def test_a_journal_without_its_description_is_a_finding_beside_the_others(
    fresh: World, damage: bytes | None
) -> None:
    """Below a folder it is not passed over in silence, and it does not hide what the others are."""
    path = fresh.mof / "journal.json"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    result = run("verify", fresh.mpi.parents[1], "--json")
    assert result.exit_code == 1
    verdicts = {one["path"]: one for one in json.loads(result.stdout)["verdicts"]}
    assert verdicts[str(fresh.mpi)]["good"]
    (finding,) = verdicts[str(fresh.mof)]["findings"]
    assert (finding["code"], finding["file"]) == ("JournalCorrupt", "journal.json")
    shown = run("verify", fresh.mpi.parents[1])
    assert f"{fresh.mof}: NOT GOOD" in shown.output
    assert f"at {fresh.mof}: journal.json" in run("search", fresh.mpi.parents[1]).output


def test_a_published_log_is_verified_with_its_key(fresh: World) -> None:
    """What a log publishes says no key of its own: without one, it is asked for by its option."""
    published = fresh.mpi / "log"
    unnamed = run("verify", published)
    assert unnamed.exit_code == 2
    assert "--vkey" in unnamed.output
    key = json.loads((fresh.mpi / "journal.json").read_text())["vkey"]
    assert run("verify", published, "--vkey", key).exit_code == 0


def test_an_export_is_checked_against_the_registry_s_key(world: World, tmp_path: Path) -> None:
    """With --vkey, only logs of these keys count."""
    target = tmp_path / "evidence"
    made = as_json("export", world.mpi, 3, "-o", target)
    (key,) = made["verdict"]["vkeys"]
    assert run("verify", target, "--vkey", key).exit_code == 0
    assert run("verify", target, "--vkey", str(VERIFIER)).exit_code == 1


@pytest.mark.parametrize("name", ["logs/0/checkpoint", "logs/0/vkey"])
def test_an_export_that_lacks_a_file_says_which(world: World, tmp_path: Path, name: str) -> None:
    """A missing file of the log is a finding of that file."""
    target = tmp_path / "evidence"
    run("export", world.mpi, 3, "-o", target)
    (target / name).unlink()
    assert name in {finding.file for finding in verify_export(target).findings}


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_zip_is_refused_or_found(world: World, tmp_path: Path, seed: int) -> None:
    """Whatever is wrong with a zip is said; nothing of it gets past as another error."""
    whole = tmp_path / "evidence.zip"
    run("export", world.mpi, 3, "-o", whole)
    data = whole.read_bytes()
    source = random.Random(seed)
    path = tmp_path / "changed.zip"
    for _ in range(40):
        changed = bytearray(data)
        changed[source.randrange(len(data))] ^= 1 << source.randrange(8)
        path.write_bytes(changed)
        with contextlib.suppress(Problem):
            verify_export(path)


@pytest.mark.parametrize("name", ["evidence", "evidence.zip"])
def test_an_export_is_for_its_owner_alone(world: World, tmp_path: Path, name: str) -> None:
    """It holds in clear what the journal keeps sealed in a folder that nobody else may enter."""
    run("export", world.mpi, 3, "-o", tmp_path / name)
    assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_an_export_that_does_not_verify_is_not_handed_over(fresh: World, tmp_path: Path) -> None:
    """Made of a damaged journal it is written, but called bad, with exit code 1."""
    path = fresh.mpi / "log/tile/0/000.p/9"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    result = run("export", fresh.mpi, 3, "-o", tmp_path / "evidence")
    assert result.exit_code == 1
    assert "NOT GOOD" in result.output
    assert "hand it over" not in result.output
    assert run("export", fresh.mpi, 3, "-o", tmp_path / "again", "--json").exit_code == 1


def test_an_export_holds_nothing_of_others_with_the_same_id(tmp_path: Path) -> None:
    """A message id is what its sender makes it: another client's exchange stays out, with its
    keys; by the id alone, which of the two is meant must be said."""
    other = ApplicationId.parse("LA/GOV/MOES/school")

    async def fill() -> None:
        async with journal_in(tmp_path / "journal") as journal:
            for client in (CLIENT, other):
                for kind in (Kind.REQUEST, Kind.RESPONSE):
                    status = 200 if kind is Kind.RESPONSE else None
                    value = entry(1, client=client, kind=kind, id="same", status=status)
                    message = part(1, kind, id="same", client=client)
                    await journal.record(value, MPI, message)

    asyncio.run(fill())
    made = as_json("export", tmp_path / "journal", 1, "-o", tmp_path / "evidence")
    assert [item["index"] for item in made["entries"]] == [0, 1]
    assert "MOES" not in "".join(
        path.read_text() for path in (tmp_path / "evidence").rglob("entry.json")
    )
    result = run("export", tmp_path / "journal", "--id", "same", "-o", tmp_path / "by-id")
    assert result.exit_code == 1
    assert "several exchanges" in result.stderr


def test_a_journal_counts_once(world: World, tmp_path: Path) -> None:
    """Named twice it is searched once; two copies of one log are refused with both places."""
    found = as_json("search", world.mpi, world.mpi.parent, "--id", "LA-2")
    assert [hit["index"] for hit in found["hits"]] == [5, 4]
    shutil.copytree(world.mpi, tmp_path / "copy")
    for arguments in (
        ("search", world.mpi, tmp_path / "copy"),
        ("export", world.mpi, 3, "--also", tmp_path / "copy", "-o", tmp_path / "x"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert str(tmp_path / "copy") in result.stderr


def test_a_folder_that_cannot_be_read_is_not_passed_over(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal may be in it: to leave it out in silence would call it good."""
    closed = tmp_path / "closed"
    closed.mkdir()
    shutil.copytree(world.mpi, tmp_path / "open")
    listing = os.scandir

    def scandir(path: str) -> Any:  # who runs the tests as root may read any folder
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listing(path)

    with monkeypatch.context() as changed:
        changed.setattr(os, "scandir", scandir)
        results = [run(command, tmp_path) for command in ("verify", "search")]
    for result in results:
        assert result.exit_code == 1
        assert str(closed) in result.stderr


def test_a_journal_without_its_checkpoint_is_not_empty(fresh: World, tmp_path: Path) -> None:
    """To search it and find nothing would hide what was recorded."""
    (fresh.mpi / "log/checkpoint").unlink()
    for command in (
        ("search", fresh.mpi),
        ("show", fresh.mpi, 1),
        ("export", fresh.mpi, 1, "-o", tmp_path / "x"),
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert "no checkpoint" in result.stderr


def test_a_segment_that_cannot_be_read_is_said(fresh: World, tmp_path: Path) -> None:
    """The entry and its proof are shown all the same; an export is not made."""
    (path,) = (fresh.mpi / "segments").iterdir()
    path.unlink()
    path.mkdir()
    assert "cannot be read" in as_json("show", fresh.mpi, 1)["unreadable"]
    assert "cannot be read" in run("export", fresh.mpi, 1, "-o", tmp_path / "x").stderr


def test_verify_tells_what_is_not_published(tmp_path: Path) -> None:
    """A person reads how many records are behind the checkpoint."""

    async def fill() -> Result:
        async with journal_in(tmp_path / "journal", STILL) as journal:
            await journal.record(entry(0), MPI, part(0))
            return await asyncio.to_thread(run, "verify", tmp_path)

    result = asyncio.run(fill())
    assert result.exit_code == 0
    assert "1 more are recorded and not published yet" in result.output


def test_verify_says_which_entry(fresh: World) -> None:
    """Exit code 1 and the entry and file of a changed byte."""
    path = fresh.mpi / "log/tile/entries/000.p/9"
    data = path.read_bytes()
    place = data.index(b"LA-2")
    path.write_bytes(data[:place] + b"LA-3" + data[place + 4 :])
    result = run("verify", fresh.mpi, "--json")
    assert result.exit_code == 1
    (verdict,) = json.loads(result.stdout)["verdicts"]
    (finding,) = verdict["findings"]
    assert (finding["index"], finding["file"]) == (4, "log/tile/entries/000.p/9")
    text = run("verify", fresh.mpi)
    assert "entry 4" in text.output
    assert "Next:" in text.output


def test_verify_against_a_remembered_checkpoint(world: World, tmp_path: Path) -> None:
    """--known with this log's checkpoint is good, with another log's it is not."""
    assert run("verify", world.mpi, "--known", world.mpi / "log/checkpoint").exit_code == 0
    assert run("verify", world.mpi, "--known", world.mof / "log/checkpoint").exit_code == 1
    assert run("verify", world.mpi.parents[1], "--tree-only").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("search",),
        ("search", "/no/such/folder"),
        ("verify",),
        ("verify", "/no/such/folder"),
        ("show", ".", "-1"),
        ("show", ".", "x"),
        ("export", ".", "-o", "x"),
        ("export", ".", "1", "--id", "x", "-o", "x"),
        ("search", ".", "--from", "yesterday"),
        ("search", ".", "--limit", "0"),
        ("search", ".", "--from", "0001-01-01T00:00:00+07:00"),
        ("search", ".", "--until", "9999-12-31T23:59:59-07:00"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    """What the command line cannot mean ends with 2."""
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("option", ["--id", "--purpose", "--endpoint"])
def test_text_that_is_not_utf_8_is_wrong_usage(world: World, option: str) -> None:
    """No entry holds such a text; that is said, and nothing else happens."""
    assert run("search", world.mpi, option, "\udcff").exit_code == 2


def test_times_may_be_given_in_any_zone(world: World) -> None:
    """Vientiane is seven hours ahead of UTC; what is printed says that it is UTC."""
    for since in ("2026-11-21T15:00:00.003+07:00", "2026-11-21T08:00:00.003"):
        found = run("search", world.mpi, "--from", since, "--until", "2026-11-21T08:00:00.004Z")
        assert found.output.count("2026-11-21 08:00:00Z") == 2


def test_lao_text_is_found_and_shown(tmp_path: Path) -> None:
    """Conditions are taken as they are written, vowel signs, tone marks, word spaces and all."""
    purpose = "ແຜນ\u200bງົບປະມານ-ປີ-໒໐໒໖-ນ້ຳ"

    async def fill() -> None:
        async with journal_in(tmp_path / "journal") as journal:
            await journal.record(entry(0, purpose=purpose, id=purpose), MPI, part(0, id=purpose))

    asyncio.run(fill())
    for option in ("--purpose", "--id"):
        assert purpose in run("search", tmp_path, option, purpose).output
        assert "No entry" in run("search", tmp_path, option, purpose[:-1]).output
    assert purpose in run("show", tmp_path, 0).output


def test_problems_say_the_next_step(world: World, tmp_path: Path) -> None:
    """A folder without a journal, an entry that is not there, an output that exists: exit 1."""
    for arguments in [
        ("search", tmp_path),
        ("verify", tmp_path),
        ("show", world.mpi, 99),
        ("show", world.mpi.parents[1], 0),
        ("export", world.mpi, "--id", "none", "-o", tmp_path / "x"),
        ("export", world.mpi, 0, "-o", tmp_path),
        ("search", world.mpi, "--client", "no"),
        ("search", world.mpi, "--cursor", "no"),
        ("verify", world.mpi, "--vkey", "no"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 1, arguments
        assert "Next:" in result.stderr


def test_what_came_from_outside_cannot_command_the_terminal(tmp_path: Path) -> None:
    """Control characters of a message id are shown as replacement characters."""

    async def fill() -> None:
        async with journal_in(tmp_path / "journal") as journal:
            await journal.record(entry(0, id="\x1b[2Jgone\x9b2J"), MPI)

    asyncio.run(fill())
    result = run("search", tmp_path)
    assert "\x1b" not in result.output
    for command in (("search", tmp_path), ("show", tmp_path, 0)):
        assert "\x9b" not in run(*command).output
    assert "\ufffd[2Jgone" in result.output


def test_a_zip_that_is_none_is_refused(tmp_path: Path) -> None:
    """Something that only calls itself a zip is said to be unreadable."""
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK nonsense")
    assert run("verify", path).exit_code == 1
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("export.json", "{}")
    result = run("verify", path)
    assert result.exit_code == 1
    assert isinstance(result.exception.__context__, Problem) or "Next:" in result.stderr
