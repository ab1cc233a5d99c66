"""Agreements that are revoked, renewed and tried, between running servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli.main import main
from console.reference_world.processes import health
from exchange.agreements import open_revocation
from exchange.identifiers import MemberId
from exchange.journal.entries import parse_entry
from exchange.problems import Code
from mediator.journal.reader import JournalReader
from tests.world import small
from tests.world.fixtures import world_of
from tests.world.small import BUDGET, MPI, MPI_SERVER, PROJECTS, PURPOSE, SmallWorld, wait_published

ALL = ["/code", "/title_en", "/title_lo"]


@pytest.fixture(scope="module")
def own_world() -> Iterator[SmallWorld]:
    """A world with an agreement for each test of this module."""
    names = ("by-mpi", "by-mof", "renewed", "some-rows", "on-request", "unseen")
    agreements = [small.agreement(name) for name in names]
    agreements += [small.agreement("of-budget", group="offices")]
    agreements += [small.agreement("of-vault", small.VAULT, group="offices")]
    for rows, asked in zip(agreements[3]["grants"], agreements[4]["grants"], strict=True):
        rows["rows"] = {"province": ["LA-VT", "ວຽງຈັນ"]}
        asked["request_basis"] = ["explicit"]
    with world_of(agreements, services={PROJECTS: {"narrows_rows": True}}) as built:
        yield built


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["agreement", *map(str, words)])


def seal_of(world: SmallWorld, member: MemberId, folder: Path) -> list[str]:
    """The options that name a member's seal."""
    server = world.world.server_of(member)
    certificate, key = folder / "seal.pem", folder / "seal.key.pem"
    server.seals[member].write(certificate, key)
    return ["--certificate", str(certificate), "--key", str(key)]


def call(world: SmallWorld, agreement: str) -> small.Answer:
    return world.call(headers={"Exchange-Agreement": agreement})


def tried(world: SmallWorld, agreement: str, *more: str) -> tuple[int, dict[str, Any]]:
    words = ["--admin", world.mpi.url("admin"), "--json", "--client", str(BUDGET)]
    words += ["--service", str(PROJECTS), "--path", "/projects/P-1", "--purpose", PURPOSE]
    result = run("try", *words, "--agreement", agreement, *more)
    return result.exit_code, json.loads(result.stdout)


def test_a_revoked_agreement_opens_nothing_at_once(own_world: SmallWorld, tmp_path: Path) -> None:
    """The first call after the command is refused, with the reason; so are those after the file
    was placed anew and the server started again. The journal commits to the revocation once, also
    to one that was placed while the server was stopped, and a dry run tells of it."""
    world, pinned = own_world, own_world.mpi.agreements / "by-mpi.jws"
    assert call(world, "by-mpi").status == 200
    code, answer = tried(world, "by-mpi")
    assert (code, answer["allowed"], answer["fields"]) == (0, True, ALL)
    why = ["--reason", "The project ended", "--reason-lo", "ໂຄງການສິ້ນສຸດແລ້ວ"]
    seal = seal_of(world, MPI, tmp_path)
    result = run("revoke", pinned, *seal, *why, "--admin", world.mpi.url("admin"))
    assert result.exit_code == 0, result.output
    refused = call(world, "by-mpi")
    assert (refused.status, refused.code) == (403, Code.AGREEMENT_REVOKED)
    assert refused.json["facts"]["reason_lo"] == "ໂຄງການສິ້ນສຸດແລ້ວ"
    sealed = pinned.read_bytes()
    pinned.unlink()
    world.mpi.process.stop()
    pinned.write_bytes(sealed)
    unseen = world.mpi.agreements / "unseen.jws"
    assert run("revoke", unseen, *seal, *why, "--to", unseen.parent).exit_code == 0
    world.world.start(MPI_SERVER)
    assert call(world, "unseen").code == Code.AGREEMENT_REVOKED
    assert call(world, "by-mpi").code == Code.AGREEMENT_REVOKED
    code, answer = tried(world, "by-mpi")
    assert (code, answer["steps"][-1]["code"]) == (1, Code.AGREEMENT_REVOKED)
    assert call(world, "renewed").status == 200
    files = [
        file
        for name in ("by-mpi", "unseen")
        for file in world.mpi.agreements.glob(f"{name}.*.revocation.jws")
    ]
    assert [open_revocation(file.read_bytes())[1] for file in files] == [MPI, MPI]
    digests = sorted(sha256(file.read_bytes()).hexdigest() for file in files)
    found = recorded(world, "agreement revoked")
    assert [found.count(digest) for digest in digests] == [1, 1]


def test_the_consumer_revokes_too(own_world: SmallWorld, tmp_path: Path) -> None:
    """It sends the file to the provider, who gives it to the server; a stranger's is refused."""
    world, carried = own_world, tmp_path / "carried.jws"
    consumer, document = small.MOF, world.mpi.agreements / "by-mof.jws"
    seal = seal_of(world, consumer, tmp_path)
    assert run("revoke", document, *seal, "--reason", "no need", "-o", carried).exit_code == 0
    assert call(world, "by-mof").status == 200  # not told yet
    assert run("revoked", carried, "--admin", world.mpi.url("admin")).exit_code == 0
    assert call(world, "by-mof").code == Code.AGREEMENT_REVOKED
    other = json.loads(carried.read_text())
    other["signatures"][0]["signature"] = "AAAA" + other["signatures"][0]["signature"][4:]
    carried.write_text(json.dumps(other))
    refused = run("revoked", carried, "--admin", world.mpi.url("admin"))
    assert refused.exit_code == 1
    assert Code.AGREEMENT_INVALID in refused.output


def test_a_renewal_takes_over_where_it_begins(own_world: SmallWorld, tmp_path: Path) -> None:
    """A dry run says what a call would get on a day to come; from the day on at which a narrower
    version begins, the wider one releases nothing more although it would last longer."""
    world, draft = own_world, tmp_path / "renewed.json"
    code, answer = tried(world, "renewed", "--at", "2100-01-01")
    assert (code, answer["steps"][-1]["code"]) == (1, Code.AGREEMENT_EXPIRED)
    written = run("renew", world.mpi.agreements / "renewed.jws", "--now", "-o", draft)
    assert written.exit_code == 0, written.output
    document = json.loads(draft.read_text())
    assert document["version"] == 2
    begins = datetime.now(UTC) + timedelta(days=40)
    document |= {
        "valid_from": f"{begins:%Y-%m-%dT%H:%M:%SZ}",
        "valid_until": "2099-06-01T00:00:00Z",
    }
    for grant in document["grants"]:
        grant["fields"] = ["/code"]
    draft.write_text(json.dumps(document))
    for member in (MPI, small.MOF):
        assert run("seal", draft, *seal_of(world, member, tmp_path), "-o", draft).exit_code == 0
    pin = run("pin", draft, "--to", world.mpi.agreements, "--ca", world.world.authorities)
    assert pin.exit_code == 0, pin.output
    later = begins + timedelta(days=1)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # the folder is looked at every second
        code, answer = tried(world, "renewed", "--at", f"{later:%Y-%m-%d}")
        if answer["agreement"] == "renewed/2":
            break
        time.sleep(0.1)
    assert (code, answer["agreement"], answer["fields"]) == (0, "renewed/2", ["/code"])
    code, answer = tried(world, "renewed")
    assert (code, answer["agreement"], answer["fields"]) == (0, "renewed/1", ALL)
    assert json.loads(call(world, "renewed").body).keys() == {"code", "title_en", "title_lo"}


def test_a_dry_run_names_each_step(own_world: SmallWorld) -> None:
    """Service, client, endpoint, agreement, basis, selection, contract and rates, up to the one
    that fails; nothing reaches the backend, and nothing is recorded."""
    world = own_world
    seen, size = len(world.backend.seen), journal_size(world)

    def steps(*more: str) -> list[tuple[str, str]]:
        _, answer = tried(world, "renewed", *more)
        return [(step["step"], step.get("code", "")) for step in answer["steps"]]

    passed = [("service", ""), ("client", ""), ("endpoint", ""), ("agreement", "")]
    rest = [("basis", ""), ("selection", ""), ("contract", ""), ("rates", "")]
    assert steps() == [*passed, *rest]
    assert steps("--service", f"{PROJECTS}x") == [("service", Code.UNKNOWN_SERVICE)]
    assert steps("--client", "LA/GOV/MOX/a")[1] == ("client", Code.UNKNOWN_APPLICATION)
    assert steps("--path", "/nothing")[-1] == ("endpoint", Code.UNKNOWN_ENDPOINT)
    assert steps("--purpose", "other")[-1] == ("agreement", Code.PURPOSE_NOT_ALLOWED)
    words = ["--admin", world.mpi.url("admin"), "--client", "nonsense", "--service", str(PROJECTS)]
    assert Code.INVALID_IDENTIFIER in run("try", *words).output
    missing = run("try", *words, "--client", str(BUDGET), "--body", "@/nowhere/body.json")
    assert Code.INVALID_SETTINGS in missing.output
    assert (len(world.backend.seen), journal_size(world)) == (seen, size)


def test_a_dry_run_goes_over_a_group(own_world: SmallWorld, tmp_path: Path) -> None:
    """Each consumer under its own agreement; one that is refused is named, and ends it with 1."""
    world = own_world
    words = ["--admin", world.mpi.url("admin"), "--group", "offices", "--service", str(PROJECTS)]
    words += ["--path", "/projects/P-1", "--purpose", PURPOSE]
    assert run("try", *words).exit_code == 0
    seal, of_vault = seal_of(world, MPI, tmp_path), world.mpi.agreements / "of-vault.jws"
    why = ["--reason", "closed", "--admin", world.mpi.url("admin")]
    assert run("revoke", of_vault, *seal, *why).exit_code == 0
    told = run("try", *words)
    assert told.exit_code == 1
    assert f"ok  {BUDGET}: of-budget/1" in told.stdout
    assert f"NO  {small.VAULT}: agreement: {Code.AGREEMENT_REVOKED}" in told.stdout
    assert Code.INVALID_USAGE in run("try", *words, "--group", "none").output


def test_the_backend_is_told_which_records_are_agreed(own_world: SmallWorld) -> None:
    """In a header field of the provider's server, which a caller cannot write, and under which
    agreement, also when the caller named none; a backend for which nobody vouched is not asked."""
    world, forged = own_world, {"Exchange-Rows": '{"province":["LA-XA"]}'}
    for agreement, told in (("some-rows", {"province": ["LA-VT", "ວຽງຈັນ"]}), ("renewed", None)):
        headers = {"Exchange-Agreement": agreement, **forged}
        assert world.call(headers=headers).status == 200
        [seen] = [
            text
            for name, text in world.backend.seen[-1].headers.items()
            if name.lower() == "exchange-rows"
        ] or [None]
        assert (seen and json.loads(seen)) == told
        assert world.backend.seen[-1].headers["exchange-agreement"] == agreement
    assert world.call().status == 200
    opened_by = world.backend.seen[-1].headers["exchange-agreement"]
    assert tried(world, opened_by)[1]["agreement"].startswith(f"{opened_by}/")
    asked = len(world.backend.seen)
    refused = world.call(service=small.LENIENT, headers={"Exchange-Agreement": "some-rows"})
    assert (refused.status, refused.code) == (503, Code.SERVICE_DISABLED)
    assert len(world.backend.seen) == asked
    _, answer = tried(world, "some-rows")
    assert answer["rows"] == {"province": ["LA-VT", "ວຽງຈັນ"]}


def test_a_call_says_why_it_is_made_where_that_is_agreed(own_world: SmallWorld) -> None:
    """Without a basis, or with one of another kind, it is refused with what is demanded, and the
    refusal recorded; nothing reaches the backend. A dry run names the check."""
    world, seen = own_world, len(own_world.backend.seen)
    bases = {'explicit;at=@1763800000;ref="a/1"': True, 'statutory;law=%"Law 12"': False, "": False}
    for basis, taken in bases.items():
        headers = {"Exchange-Agreement": "on-request"}
        headers |= {"Exchange-Request-Basis": basis} if basis else {}
        answer = world.call(headers=headers)
        code, told = tried(world, "on-request", "--request-basis", basis)
        step = next(one for one in told["steps"] if one["step"] == "basis")
        assert (answer.status, code) == ((200, 0) if taken else (403, 1))
        if taken:
            assert told["request_basis"] == ["explicit"]
            continue
        assert answer.code == step["code"] == Code.REQUEST_BASIS_MISSING
        assert answer.json["facts"]["request_basis"] == ["explicit"]
        wait_published(world.mpi)
        reader = JournalReader(world.mpi.journal)
        entries = [parse_entry(data) for _, data in reader.proven(0, reader.checkpoint.size)]
        assert entries[-1].problem == Code.REQUEST_BASIS_MISSING
    assert len(world.backend.seen) == seen + 1


def recorded(world: SmallWorld, event: str) -> list[str]:
    """The documents that entries of an event commit to."""
    wait_published(world.mpi)
    reader = JournalReader(world.mpi.journal)
    entries = (parse_entry(data) for _, data in reader.proven(0, reader.checkpoint.size))
    return [str(entry.evidence) for entry in entries if entry.event == event]


def journal_size(world: SmallWorld) -> int:
    checks: Any = health(f"{world.mpi.url('admin')}/healthz")["checks"]
    return int(checks["journal"]["entries"])
