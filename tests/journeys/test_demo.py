"""`saphan demo`: the story as one document, the world that keeps running, and how both end."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dbf
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect

from adapters.sources.addresses import parse_url
from certs.authority import create_development_pki
from console.cli.main import main
from console.reference_world import accords, data, laos, telling
from console.reference_world.ingo import write_ingo
from console.reference_world.registers import PERSON

DEMO = (sys.executable, "-m", "console.cli.main", "demo")
TIMEOUT_S = 120.0
FISCAL_YEAR = 2025


@pytest.fixture(scope="session")
def told() -> dict[str, Any]:
    """What `saphan demo --json` prints."""
    done = subprocess.run([*DEMO, "--json"], capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@dataclass(frozen=True, slots=True)
class Kept:
    """What was seen of a world that kept running, and of its end by SIGTERM."""

    folder: Path
    homes: dict[str, str]
    world: dict[str, Any]
    running: set[int]
    examples: list[tuple[int, Any]]
    mtls: list[str]
    returncode: int
    output: str
    left: set[int]


@pytest.fixture(scope="session")
def homes(request: pytest.FixtureRequest) -> dict[str, str]:
    """Addresses of empty databases by their kind, of the servers that there are."""
    found = {}
    for kind in ("mariadb", "postgresql"):
        with suppress(pytest.skip.Exception):
            found[kind] = request.getfixturevalue(f"{kind}_server").new_database("demo_home")
    return found


@pytest.fixture(scope="session")
def kept(homes: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A world is kept running, over real databases where there are some, tried with a plain HTTP
    client, and ended."""
    folder = tmp_path_factory.mktemp("demo") / "world"
    named = [word for kind, address in homes.items() for word in (f"--{kind}", address)]
    with subprocess.Popen(
        [*DEMO, "--dir", str(folder), "--keep-running", *named],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            world = wait_for_world(process, folder)
            running = processes_of(folder)
            examples = [send_example(world, service["example"]) for service in world["services"]]
            mtls = [send_with_certificate(world, shown=shown) for shown in (True, False)]
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=TIMEOUT_S)
    return Kept(
        folder,
        homes,
        world,
        running,
        examples,
        mtls,
        process.returncode,
        output.decode(),
        processes_of(folder),
    )


def wait_for_world(process: subprocess.Popen[bytes], folder: Path) -> dict[str, Any]:
    """The contents of world.json, once it is there."""
    path = folder / "world.json"
    deadline = time.monotonic() + TIMEOUT_S
    while not path.exists():
        assert process.poll() is None, "the demo ended"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    world: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return world


def send_example(world: dict[str, Any], example: dict[str, Any]) -> tuple[int, Any]:
    """Send an example as it is to the server of its client; status and document."""
    application = next(item for item in world["applications"] if item["id"] == example["client"])
    server = next(item for item in world["servers"] if item["id"] == application["server"])
    url = urlsplit(server["application_url"])
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    connection.request(example["method"], example["path"], example["body"], example["headers"])
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


def send_with_certificate(world: dict[str, Any], *, shown: bool) -> str:
    """Call as an application in mode mtls, its certificate shown or not; the problem's code."""
    portal = next(
        item for item in world["applications"] if item["id"] == "LA/GOV/MOIC/services-portal"
    )
    assert portal["mode"] == "mtls"
    server = next(item for item in world["servers"] if item["id"] == portal["server"])
    url = urlsplit(server["application_tls_url"])
    context = ssl.create_default_context(cafile=world["ca"])
    if shown:
        context.load_cert_chain(portal["certificate"], portal["key"])
    connection = http.client.HTTPSConnection(
        url.hostname or "", url.port, timeout=30, context=context
    )
    example = world["services"][0]["example"]
    headers = {**example["headers"], "X-Road-Client": portal["id"]}
    connection.request(example["method"], example["path"], headers=headers)
    code = connection.getresponse().getheader("X-Road-Error", "").rpartition(".")[2]
    connection.close()
    return code


def processes_of(folder: Path) -> set[int]:
    """The processes that were started with a file of this folder, the demo itself left out."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "demo" not in arguments and any(item.startswith(f"{folder}/") for item in arguments):
            found.add(int(path.parent.name))
    return found


def result(told: dict[str, Any], step: int) -> Any:
    return told["steps"][step - 1]["result"]


# --- the story -------------------------------------------------------------------------------


def test_the_story_has_six_steps_in_both_languages(told: dict[str, Any]) -> None:
    """One document: title, six steps in order with times, the verified journals."""
    assert [step["step"] for step in told["steps"]] == [1, 2, 3, 4, 5, 6]
    assert all(step["title"]["en"] and step["title"]["lo"] for step in told["steps"])
    assert all(step["took_s"] >= 0 for step in told["steps"])
    assert told["instance"] == "LA"


def test_fourteen_institutions_are_registered_on_five_servers(told: dict[str, Any]) -> None:
    """Every institution of the world is a member, named in English and Lao."""
    members = result(told, 2)["members"]
    codes = sorted(member["id"].rpartition("/")[2] for member in members)
    assert " ".join(codes) == ("DGC LSB MOES MOF MOFA MOH MOHA MOIC MOJ MOLSW MONRE MPI MPWT SIA")
    assert len({member["server"] for member in members}) == 5
    assert all(member["name"]["lo"] != member["name"]["en"] for member in members)


def test_agreements_state_purpose_basis_fields_quota_and_end(told: dict[str, Any]) -> None:
    """What the ministries sealed says why, by which law, what, how much and until when."""
    agreements = result(told, 3)["agreements"]
    assert {(a["provider"], a["consumer"]) for a in agreements} >= {
        ("LA/GOV/MPI", "LA/GOV/MOF/budget"),
        ("LA/GOV/MOFA", "LA/GOV/MOF/budget"),
    }
    for agreement in agreements:
        assert agreement["purpose"]["lo"]
        assert agreement["legal_basis"]["lo"]
        assert agreement["fields"]
        assert agreement["fields"] != ["*"]
        assert agreement["quota_per_day"] > 0
        assert agreement["valid_until"].endswith("Z")


def test_the_table_is_what_the_legacy_registers_hold(told: dict[str, Any], tmp_path: Path) -> None:
    """The totals of both sources equal those that plain SQL and a plain sum give."""
    asked = result(told, 4)
    data.write_oda_mis(tmp_path / "oda-mis.sqlite")
    _, table = write_ingo(tmp_path)
    connection = sqlite3.connect(tmp_path / "oda-mis.sqlite")
    (oda,) = connection.execute(
        "SELECT SUM(CAST(ROUND(b.amt_usd * 100) AS INTEGER)) FROM tbl_disb b"
        " JOIN tbl_project p ON p.pid = b.pid"
        " WHERE p.is_public = 1 AND b.plan_flag = 0 AND b.fy = ?",
        (FISCAL_YEAR,),
    ).fetchone()
    connection.close()
    with dbf.Table(str(table)) as lines:
        ingo = sum(Decimal(str(one.SPENT)) for one in lines if one.YEAR == FISCAL_YEAR)
    assert asked["fiscal_year"] == FISCAL_YEAR
    assert Decimal(asked["oda_usd"]) == Decimal(oda) / 100
    assert Decimal(asked["ingo_usd"]) == ingo
    assert sum(Decimal(row["oda_usd"]) for row in asked["rows"]) == Decimal(asked["oda_usd"])
    facts = {one["element"]: one["source"] for one in asked["facts"]}
    assert facts == {one["id"]: str(laos.ENTERPRISES) for one in accords.elements()}


def test_each_exchange_left_four_entries(told: dict[str, Any]) -> None:
    """Both sides recorded request and response of both exchanges, in the order of the path."""
    for exchange in result(told, 4)["exchanges"]:
        steps = [(entry["side"], entry["kind"]) for entry in exchange["entries"]]
        assert steps == [
            ("consumer", "request"),
            ("provider", "request"),
            ("provider", "response"),
            ("consumer", "response"),
        ]


def test_what_must_fail_fails_with_its_code(told: dict[str, Any]) -> None:
    """Four things are refused, each with its code, place, remedy and records."""
    refused = result(told, 5)
    assert [(each["code"], each["status"]) for each in refused] == [
        ("AccessDenied", 403),
        ("FieldNotReleased", 403),
        ("ResponseSchemaViolation", 502),
        ("ReplayedMessage", 409),
    ]
    assert refused[2]["where"] == "body#/commitment"
    assert all(each["remedy"]["lo"] for each in refused)
    assert all(each["entries"][-1]["problem"] == each["code"] for each in refused)


def test_the_evidence_verifies_and_the_changed_byte_is_named(told: dict[str, Any]) -> None:
    """The export's signatures verify offline; the changed entry, and no other, is named."""
    proven = result(told, 6)
    answered = result(told, 4)["exchanges"][0]["entries"][2]
    assert proven["exported"]["signatures"] == 4
    assert proven["exported"]["opened"] == proven["exported"]["entries"]
    assert len(proven["stamps"]) == 2
    assert proven["changed"]["index"] == answered["index"]
    assert f"entry {answered['index']}," in proven["changed"]["finding"]


def test_the_auditor_asks_under_its_mandates(told: dict[str, Any]) -> None:
    """Both organisations' servers answer SIA over the network, proven in their logs."""
    assert len(result(told, 3)["mandates"]) == 2
    asked = result(told, 6)["asked"]
    assert [one["server"] for one in asked] == ["LA/GOV/MOF/ss1", "LA/GOV/MPI/ss1"]
    assert all(one["entries"] >= 2 for one in asked)


def test_every_journal_is_verified_at_the_end(told: dict[str, Any]) -> None:
    """All five journals, every sealed part of them opened, all signatures but those of partners
    without a certificate here; then nothing is left."""
    verified = told["verified"]
    assert len(verified) == 5
    assert all(journal["opened"] == journal["sealed"] for journal in verified)
    assert sum(journal["entries"] for journal in verified) >= 24
    assert sum(journal["signatures"] for journal in verified) >= 20
    assert not Path(told["directory"]).exists()
    assert not processes_of(Path(told["directory"]))


# --- the world that keeps running ------------------------------------------------------------


def test_every_example_of_the_world_works_as_it_stands(kept: Kept) -> None:
    """A plain HTTP client sends each example to its client's server and gets its records, out of
    databases, a workbook, a table of dBASE, CSV files and a SOAP service."""
    assert len(kept.examples) == 8
    single: dict[str, Any] = {}
    for status, document in kept.examples:
        assert status == 200, document
        if "items" in document:
            assert len(document["items"]) == 5
        else:
            single |= document
    assert single["code"] == "EXP-COF-01"
    assert (single["nid"], single["name"]) == (PERSON, "ນ້ຳຝົນ")  # stored as an old font drew it
    assert "birth_date" not in single  # not released


@pytest.mark.parametrize(
    ("kind", "mapping", "table"),
    [
        pytest.param("mariadb", "oda-mis", "tbl_project", marks=pytest.mark.needs_mariadb),
        pytest.param("mariadb", "gazette", "tbl_law", marks=pytest.mark.needs_mariadb),
        pytest.param(
            "postgresql", "civil-register", "tbl_person", marks=pytest.mark.needs_postgresql
        ),
    ],
)
def test_a_system_is_on_the_server_that_is_named(
    kept: Kept, kind: str, mapping: str, table: str
) -> None:
    """With --mariadb and --postgresql the story is played over these databases, and no file stands
    in; the examples and the start anew are tried over them, too."""
    if kind not in kept.homes:
        pytest.skip(f"there is no server of {kind}")
    text = (kept.folder / "legacy" / f"{mapping}.yaml").read_text("utf-8")
    assert kept.homes[kind] in text
    assert not list((kept.folder / "legacy").glob(f"{mapping}*.sqlite"))
    engine = create_engine(parse_url(kept.homes[kind], "url"))
    try:
        assert inspect(engine).has_table(table), inspect(engine).get_table_names()
    finally:
        engine.dispose()


def test_an_application_in_mode_mtls_is_known_by_its_certificate(kept: Kept) -> None:
    """With the certificate of world.json the call goes through to the provider, who has no
    agreement with it; without it, it stops at its own server.
    """
    assert kept.mtls == ["AccessDenied", "ClientCertificateRequired"]


def test_world_json_says_where_everything_is(kept: Kept) -> None:
    """Servers with their addresses, journals and processes; the registry; the authorities."""
    world = kept.world
    assert world["instance"] == "LA"
    assert Path(world["ca"]).exists()
    assert Path(world["registry"]["root"]).exists()
    assert len(world["servers"]) == 5
    for server in world["servers"]:
        assert server["pid"] in kept.running
        assert (Path(server["journal"]) / "journal.json").exists()
        assert server["application_url"].startswith("http://127.0.0.1:")
        assert server["application_tls_url"].startswith("https://127.0.0.1:")
        assert server["peer_url"].startswith("https://127.0.0.1:")
        assert server["admin_url"].startswith("http://127.0.0.1:")
    modes = {item["id"]: item["mode"] for item in world["applications"]}
    assert modes["LA/GOV/MOF/budget"] == "http"
    hosted = [member for server in world["servers"] for member in server["members"]]
    assert len(hosted) == len(set(hosted)) == 14


# --- a world that ended ----------------------------------------------------------------------


def test_a_world_that_ended_is_started_again_where_it_was(kept: Kept) -> None:
    """Same addresses, same journals, no story: the examples work, and the first entries stay."""
    journals = [Path(server["journal"]) for server in kept.world["servers"]]
    before = [(journal / "log" / "checkpoint").read_text().splitlines() for journal in journals]
    with subprocess.Popen(
        [*DEMO, "--dir", str(kept.folder), "--keep-running"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line.decode())
                if line.startswith(b"Running until"):
                    break
            else:
                pytest.fail("".join(said))
            world = json.loads((kept.folder / "world.json").read_text("utf-8"))
            status, _ = send_example(kept.world, kept.world["services"][0]["example"])
            second = CliRunner().invoke(main, ["demo", "--dir", str(kept.folder), "--keep-running"])
        finally:
            process.terminate()
            process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, "".join(said)
    assert status == 200
    assert not any(line.startswith("1  ") for line in said)
    assert [without_pid(server) for server in world["servers"]] == [
        without_pid(server) for server in kept.world["servers"]
    ]
    for journal, (origin, size, _, *_rest) in zip(journals, before, strict=True):
        after = (journal / "log" / "checkpoint").read_text().splitlines()
        assert after[0] == origin
        assert int(after[1]) > int(size)
    assert second.exit_code == 1
    assert "the world runs already" in second.output
    assert not processes_of(kept.folder)


def without_pid(server: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in server.items() if name != "pid"}


def test_a_world_is_not_played_over(kept: Kept) -> None:
    """A folder with a world is refused without --keep-running, and told about it."""
    done = CliRunner().invoke(main, ["demo", "--dir", str(kept.folder)])
    assert done.exit_code == 1
    assert "Conflict at --dir" in done.output
    assert "--keep-running" in done.output


def test_a_world_that_was_moved_is_refused(kept: Kept, tmp_path: Path) -> None:
    """Its settings name files by the place where it was built."""
    shutil.copytree(kept.folder, tmp_path / "moved")
    done = CliRunner().invoke(main, ["demo", "--dir", str(tmp_path / "moved"), "--keep-running"])
    assert done.exit_code == 1
    assert str(kept.folder) in done.output


def test_a_world_whose_certificates_have_ended_is_refused(kept: Kept, tmp_path: Path) -> None:
    """They have a week; a start would fail later and say less."""
    path = kept.folder / "servers" / "MPI-ss1" / "auth.pem"
    valid = path.read_bytes()
    past = datetime.now(UTC) - timedelta(days=30)
    authority = create_development_pki(tmp_path / "pki", "LA", at=past)
    issued = authority.issue_auth(laos.MPI_SERVER, ["127.0.0.1"], at=past)
    path.write_bytes(issued.chain_pem)
    try:
        done = CliRunner().invoke(main, ["demo", "--dir", str(kept.folder), "--keep-running"])
    finally:
        path.write_bytes(valid)
    assert done.exit_code == 1
    assert f"Conflict at {path}" in done.output
    assert "name a new folder" in done.output


def test_provinces_and_sectors_are_named_in_both_languages(kept: Kept) -> None:
    """Who reads Lao only finds each row of the table, in 100 columns at most."""
    table = kept.output[kept.output.index("Province, sector") :].split("\n\n")[0].splitlines()
    named = [line.strip() for line in table[1:21]]
    assert all(name.isascii() for name in named[::2])
    assert all("\u0e80" <= name[0] <= "\u0eff" for name in named[1::2])
    assert max(telling.columns_of(line) for line in table) <= 100


# --- how it ends -----------------------------------------------------------------------------


def test_sigterm_ends_a_kept_world_with_all_its_processes(kept: Kept) -> None:
    """After SIGTERM the journals are verified once more, it exits 0, and no process is left."""
    assert kept.returncode == 0, kept.output
    assert "5 journals verified" in kept.output
    assert len(kept.running) == 6  # five servers and the registry
    assert not kept.left
    assert (kept.folder / "servers" / "MPI-ss1" / "data" / "journal").exists()


def test_an_interruption_in_the_story_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C in the middle: exit code 130, no process and no temporary folder is left."""
    with subprocess.Popen(
        [*DEMO, "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith(b"2 "):
                break
        assert processes_of(tmp_path)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=TIMEOUT_S)
    assert running.returncode == 130
    assert not processes_of(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """The demo never builds over what is there; it says what to do."""
    (tmp_path / "mine").touch()
    done = CliRunner().invoke(main, ["demo", "--dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "Conflict at --dir" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
