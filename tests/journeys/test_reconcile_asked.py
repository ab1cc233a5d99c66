"""`saphan audit reconcile` of what organisations show to an auditor, by signed exchange."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.cli.main import main
from exchange.journal.auditing import Hit, Page, format_page
from exchange.journal.shown_anchor import ShownAnchor, format_anchor
from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint, sign_checkpoint
from exchange.log.notes import VerifierKey
from exchange.log.proof import check_proof, parse_proof
from exchange.problems import Code
from mediator.journal.anchors import AnchorReader
from mediator.journal.reader import JournalReader
from mediator.own_keys import log_key
from tests.world import small
from tests.world.audits import AUDITOR, CALLED, WAIT_S, asked, mandates_of, published
from tests.world.hostile import HostileServer, hostile_server
from tests.world.small import SmallWorld


def reconciled(world: SmallWorld, *words: object) -> Any:
    """Run the command as the auditor does."""
    ways: list[object] = ["--via", world.mof.url("http"), "--registry", world.world.registry_url]
    ways += ["--root", world.world.anchor]
    command = ["audit", "reconcile", *words, *ways, "--json"]
    return CliRunner().invoke(main, [str(word) for word in command])


def anchored(world: SmallWorld) -> None:
    """Wait until an anchor covers all that the journals have published."""
    published(world)
    deadline = time.monotonic() + WAIT_S
    for server in (world.mof, world.mpi):
        size = JournalReader(server.journal).checkpoint.size
        with contextlib.closing(AnchorReader.open(server.journal)) as anchors:
            while (newest := anchors.latest()) is None or newest.size < size:
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.fixture
def called(audited_world: SmallWorld) -> str:
    """The id of an exchange between the two, which anchors of both cover."""
    message_id = f"held-{secrets.token_hex(4)}"
    answer = audited_world.call(headers={"X-Road-Id": message_id})
    assert answer.status == 200, answer.body
    anchored(audited_world)
    return message_id


def test_two_mandates_are_reconciled_without_a_journal_at_hand(
    audited_world: SmallWorld, called: str
) -> None:
    """Both servers are asked; each side's entries are proven in one anchor of its log. The mandates
    see what orders and delays hide from others: other tests make such."""
    world = audited_world
    mine, theirs = mandates_of(world, "mof-whole", "whole")
    done = reconciled(world, mine, theirs)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["exchanges"] == report["agreeing"] >= 1
    for side, server in (("A", world.mof), ("B", world.mpi)):
        (log,) = report["sides"][side]
        assert log["server"] == str(server.plan.id)
        assert log["vkey"] == str(JournalReader(server.journal).key)
        assert log["anchor"].splitlines()[1] == str(log["size"])


def test_the_questions_are_recorded_by_the_audited(audited_world: SmallWorld, called: str) -> None:
    """Anchor and entries were asked for by signed exchanges that stand in its journal."""
    world = audited_world
    before = len(world.hits(world.mpi, client=str(AUDITOR)))
    assert reconciled(world, *mandates_of(world, "mof-whole", "whole")).exit_code == 0
    found = world.hits(world.mpi, client=str(AUDITOR))[before:]
    assert [hit.kind for hit in found].count("request") >= 2
    assert {hit.endpoint for hit in found} >= {"/anchor", "/entries"}


def test_a_journal_at_hand_is_held_against_what_is_shown(
    audited_world: SmallWorld, called: str
) -> None:
    """An organisation with its own journal and a mandate over the other; other members of the
    server's journal are passed over."""
    world = audited_world
    (mandate,) = mandates_of(world, "whole")
    report = json.loads(reconciled(world, world.mof.journal, mandate).stdout)
    assert report["agreeing"] >= 1
    lacking = {one["client"].rpartition("/")[0] for one in report["findings"]}
    assert lacking <= {str(small.PROVINCE.member)}, report["findings"]


@pytest.mark.parametrize(
    ("mandates", "words", "code"),
    [
        (("mof-audit", "narrow"), (), Code.FIELD_NOT_RELEASED),
        (("mof-audit", "ended"), (), Code.SOURCE_FAILED),
        (("mof-audit", "audit"), ("--period", "2025-12"), Code.OUTSIDE_MANDATE),
        (("mof-audit", "long"), ("--period", "2020-02-01/2022-02-01"), Code.OUTSIDE_MANDATE),
        (("portal-mof", "long"), (), Code.SOURCE_FAILED),
    ],
)
def test_what_cannot_be_reconciled_is_a_clear_problem(
    audited_world: SmallWorld, mandates: tuple[str, ...], words: tuple[str, ...], code: Code
) -> None:
    """A mandate that shows too little, has ended or has another period; too long a period."""
    anchored(audited_world)
    done = reconciled(audited_world, *mandates_of(audited_world, *mandates), *words)
    assert done.exit_code != 0
    assert code.value in done.output


def test_a_mandate_takes_a_way(audited_world: SmallWorld) -> None:
    """Without the own server and the registry nobody can be asked."""
    paths = [str(path) for path in mandates_of(audited_world, "mof-audit", "audit")]
    done = CliRunner().invoke(main, ["audit", "reconcile", *paths])
    assert done.exit_code == 2
    assert "--via" in done.output


def kept(world: SmallWorld, folder: Path, *mandates: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `saphan audit anchors` as the auditor does."""
    code, report = asked(world, "anchors", mandates_of(world, *mandates), "-o", folder)
    return code, report["anchors"]


def test_anchors_are_kept_and_each_log_proves_that_it_grew(
    audited_world: SmallWorld, tmp_path: Path
) -> None:
    """The first time an anchor is taken as it is; then it is what the log must have grown from."""
    world = audited_world
    anchored(world)
    code, first = kept(world, tmp_path, "mof-audit", "audit")
    assert (code, [row["grown_from"] for row in first]) == (0, [None, None])
    world.call()
    anchored(world)
    code, then = kept(world, tmp_path, "mof-audit", "audit")
    assert (code, [row["grown_from"] for row in then]) == (0, [row["size"] for row in first])
    assert all(now["size"] > before["size"] for now, before in zip(then, first, strict=True))
    file = tmp_path / "LA~GOV~MPI~ss1.checkpoint"
    verified = ["audit", "verify", str(world.mpi.journal), "--known", str(file)]
    assert CliRunner().invoke(main, verified).exit_code == 0


@pytest.fixture
def hostile(abandoned_world: SmallWorld) -> Iterator[HostileServer]:
    """A server with MPI's own keys that tells auditors what it likes."""
    folder = abandoned_world.mpi.folder
    with hostile_server(abandoned_world, folder / "auth.pem", folder / "auth.key") as server:
        yield server


def _tell(world: SmallWorld, server: HostileServer, left_out: str = "") -> Page:
    """What MPI's server would show, without the entries of a message."""
    reader = JournalReader(world.mpi.journal)
    out = {index for index, _ in reader.of_message(left_out)} if left_out else set()
    hits = tuple(
        Hit(index, merkle.leaf_hash(entry), reader.prove(index).path, entry=entry)
        for index in range(reader.checkpoint.size)
        if index not in out
        for entry in [reader.entry(index)]
    )
    page = Page(reader.origin, reader.checkpoint_note, hits, None)
    server.anchor = format_anchor(ShownAnchor(reader.checkpoint_note, (), ()))
    server.page = format_page(page)
    return page


def test_what_an_organisation_does_not_show_lacks(
    abandoned_world: SmallWorld, hostile: HostileServer
) -> None:
    """The other side's entries are shown, with proofs by the key that the registry lists."""
    world = abandoned_world
    anchored(world)
    mandates = mandates_of(world, "mof-audit", "mpi-audit")
    _tell(world, hostile)
    assert reconciled(world, *mandates).exit_code == 0
    _tell(world, hostile, CALLED)
    done = reconciled(world, *mandates)
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert {(one["side"], one["id"]) for one in report["findings"]} == {("B", CALLED)}
    key = VerifierKey.parse(report["sides"]["A"][0]["vkey"])
    for one in report["findings"]:
        (shown,) = one["entries"]
        check_proof(parse_proof(shown["proof"].encode()), shown["entry"].encode(), key)


def test_a_log_that_did_not_grow_from_the_kept_anchor_is_told(
    abandoned_world: SmallWorld, hostile: HostileServer, tmp_path: Path
) -> None:
    """A log that was rewritten cannot show its growth; the older anchor stays in the folder."""
    world = abandoned_world
    _tell(world, hostile)
    path = tmp_path / "LA~GOV~MPI~ss1.checkpoint"
    key = log_key(world.mpi.journal.parent / "journal.key")
    other = Checkpoint(JournalReader(world.mpi.journal).origin, 3, bytes(32))
    path.write_bytes(sign_checkpoint(other, key))
    code, (row,) = kept(world, tmp_path, "mpi-audit")
    assert (code, row["problem"]) == (1, Code.JOURNAL_FORKED.value)
    assert path.read_bytes() == sign_checkpoint(other, key)


def test_pages_of_another_tree_are_refused(
    abandoned_world: SmallWorld, hostile: HostileServer, tmp_path: Path
) -> None:
    """All that is shown is proven in the anchor that was asked for, or nothing of it counts."""
    world = abandoned_world
    anchored(world)
    page = _tell(world, hostile)
    entry = page.hits[0].entry or b""
    forged = entry.replace(b'"at":"20', b'"at":"19')
    changed = Hit(0, merkle.leaf_hash(forged), page.hits[0].path, entry=forged)
    hostile.page = format_page(Page(page.origin, page.checkpoint, (changed, *page.hits[1:]), None))
    done = reconciled(world, *mandates_of(world, "mof-audit", "mpi-audit"))
    assert done.exit_code == 1
    assert Code.INVALID_PROOF.value in done.output
