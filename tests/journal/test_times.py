"""Rules of mediator.journal.verify.times: what time-stamps prove, and evidence beside the log."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from certs.responder import respond as answer_ocsp
from certs.stamper import StamperKey, respond
from console.cli.main import main
from exchange.evidence.revocation import check_ocsp, format_ocsp_request
from exchange.evidence.timestamps import format_request, open_response
from exchange.journal.entries import Entry, Kind, Side
from exchange.problems import Code
from mediator.journal.anchors import AnchorStore
from mediator.journal.evidence import EVENT, FILE, EvidenceStore
from mediator.journal.verify.times import Proven, proven_time, verify_evidence, verify_times
from tests.certs.pki import AT, development_authority, issuer_of, refusal, seal, write_pem
from tests.journal.world import MPI, journal_in, write

OURS, OTHER = development_authority(), development_authority("other")
TRUSTED = OURS.authorities
HOUR = timedelta(hours=1)


def token(text: bytes, at: datetime, authority: Any = OURS) -> bytes:
    issued = authority.issue_tsa(at=AT)
    key: StamperKey = issued.private_key
    request = format_request(sha256(text).digest(), 99)
    chain = [authority.issuer.certificate]
    return open_response(respond(request, key, issued.certificate, chain, at, 1))


def stamp(journal: Path, size: int, *at: datetime, authority: Any = OURS) -> None:
    """Give an anchor tokens of these times, one an authority."""
    with contextlib.closing(AnchorStore.create(journal)) as anchors:
        anchor = anchors.at_size(size)
        assert anchor is not None
        for number, moment in enumerate(at):
            anchors.add_token(size, f"tsa-{number}", token(anchor.text, moment, authority))


@pytest.fixture
async def journal(tmp_path: Path) -> Path:
    """A journal of six entries, with an anchor after each second one."""
    folder = tmp_path / "journal"
    for begin in (0, 2, 4):
        await write(folder, range(begin, begin + 2))
    return folder


def run(*arguments: str | Path) -> tuple[int, Any]:
    result = CliRunner().invoke(main, ["audit", *map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout) if result.stdout else None


async def test_an_entry_was_recorded_between_two_stamps(journal: Path) -> None:
    """Not yet there at the stamp before it, there at the first stamp that covers it."""
    stamp(journal, 2, AT)
    stamp(journal, 6, AT + HOUR)
    assert proven_time(journal, 0, TRUSTED) == Proven(AT, None, 2, "tsa-0")
    for index in (2, 5):
        assert proven_time(journal, index, TRUSTED) == Proven(AT + HOUR, AT, 6, "tsa-0")


async def test_what_is_not_covered_has_no_time(journal: Path) -> None:
    """An entry behind the last stamp has to wait for the next one."""
    stamp(journal, 4, AT)
    assert proven_time(journal, 4, TRUSTED) is None
    assert proven_time(journal, 3, TRUSTED) is not None


async def test_of_several_tokens_the_least_that_they_prove_counts(journal: Path) -> None:
    """An authority whose clock is wrong does not make an entry older, or its interval narrower."""
    stamp(journal, 2, AT, AT + HOUR)
    stamp(journal, 4, AT + 3 * HOUR, AT + 2 * HOUR)
    assert proven_time(journal, 1, TRUSTED) == Proven(AT + HOUR, None, 2, "tsa-1")
    assert proven_time(journal, 2, TRUSTED) == Proven(AT + 3 * HOUR, AT, 4, "tsa-0")


async def test_a_token_that_is_not_good_is_named(journal: Path) -> None:
    """Of another authority, or moved to another anchor: the finding tells whose and where."""
    stamp(journal, 2, AT, authority=OTHER)
    assert refusal(lambda: proven_time(journal, 0, TRUSTED)).code is Code.INVALID_TIMESTAMP
    with contextlib.closing(AnchorStore.create(journal)) as anchors:
        earlier = anchors.at_size(4)
        assert earlier is not None
        anchors.add_token(6, "moved", token(earlier.text, AT))
    found = verify_times(journal, TRUSTED)
    assert (found.tokens, found.checked, found.at) == (2, 2, None)
    first, second = (finding.detail for finding in found.findings)
    assert "tsa-0 on the anchor of size 2" in first
    assert "moved on the anchor of size 6" in second
    (moved,) = verify_times(journal, ()).findings  # whoever signed it, it is over another anchor
    assert "moved on the anchor of size 6" in moved.detail


async def test_a_token_that_was_changed_is_named_without_authorities(journal: Path) -> None:
    """Who signed it is not judged then; that it is as it was signed is."""
    stamp(journal, 4, AT)
    assert verify_times(journal, ()).findings == ()
    assert run("verify", journal)[0] == 0
    with contextlib.closing(sqlite3.connect(journal / "anchors.sqlite")) as connection:
        ((der,),) = connection.execute("SELECT der FROM tokens").fetchall()
        for at in (len(der) // 4, len(der) - 20):
            changed = bytearray(der)
            changed[at] ^= 1
            connection.execute("UPDATE tokens SET der = ?", (bytes(changed),))
            connection.commit()
            (finding,) = verify_times(journal, ()).findings
            assert (finding.code, finding.file) == (Code.INVALID_TIMESTAMP, "anchors.sqlite")


async def test_the_commands_tell_the_time(tmp_path: Path, journal: Path) -> None:
    """`saphan audit verify` and `show` judge time-stamps by the authorities that are named."""
    stamp(journal, 4, AT)
    ca = write_pem(tmp_path / "ca.pem", *TRUSTED)
    code, document = run("verify", journal, "--ca", ca)
    (verdict,) = document["verdicts"]
    assert (code, verdict["stamped"], verdict["tokens"], verdict["tokens_checked"]) == (0, 4, 1, 1)
    assert datetime.fromisoformat(verdict["stamped_at"]) == AT
    code, document = run("verify", journal)
    assert (code, document["verdicts"][0]["tokens"], document["verdicts"][0]["stamped_at"]) == (
        0,
        1,
        None,
    )
    foreign = write_pem(tmp_path / "foreign.pem", *OTHER.authorities)
    code, document = run("verify", journal, "--ca", foreign)
    assert code == 1
    assert [finding["code"] for finding in document["verdicts"][0]["findings"]] == [
        "InvalidTimestamp"
    ]
    code, document = run("show", journal, "3", "--ca", ca)
    assert (code, document["time"]["anchor"]) == (0, 4)
    assert datetime.fromisoformat(document["time"]["before"]) == AT
    assert run("show", journal, "5", "--ca", ca)[1]["time"] is None
    shown = CliRunner().invoke(main, ["audit", "show", str(journal), "3", "--ca", str(ca)])
    assert f"before {AT:%F %T} UTC" in shown.output


@pytest.fixture
async def evidence(tmp_path: Path) -> Path:
    """A journal with an entry that commits to an OCSP answer."""
    folder, certificate = tmp_path / "journal", seal().certificate
    issuer = OURS.issuer.certificate
    request = format_ocsp_request(certificate, issuer)
    der = answer_ocsp(request, issuer, issuer_of(OURS.issue_ocsp(at=AT)), (), AT)
    finding = check_ocsp(der, certificate, issuer, AT)
    async with journal_in(folder) as journal:
        with contextlib.closing(EvidenceStore.create(folder)) as store:
            store.keep(certificate, issuer, finding, AT.timestamp())
            receipt = await journal.record(
                Entry(
                    kind=Kind.SYSTEM,
                    side=Side.SERVER,
                    at=datetime.now(UTC),
                    certificate=finding.certificate,
                    event=EVENT,
                    evidence=finding.digest,
                ),
                MPI,
            )
            store.note(finding, receipt.index)
    await write(folder, range(1))
    return folder


CHANGES: dict[str, tuple[str, Sequence[str]]] = {
    "the document": ("UPDATE documents SET der = x'3000'", ["was changed"]),
    "which entry": ("UPDATE statements SET entry = 1", ["does not commit"]),
    "a certificate": ("UPDATE certificates SET der = x'3000'", ["certificate", "certificate"]),
    "its status": ("UPDATE statements SET status = 'revoked'", ["it says good"]),
    "when it came": ("UPDATE statements SET fetched_at = 4e9", ["is not good"]),
    "nothing": ("SELECT 1", []),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_changed_evidence_is_found(evidence: Path, change: str) -> None:
    """The entry commits to the document, so that a changed one is found, with its place."""
    statement, expected = CHANGES[change]
    with contextlib.closing(EvidenceStore.create(evidence)) as store:
        store._connection.execute(statement)
    number, findings = verify_evidence(evidence, evidence / "log", 2)
    assert number == 1
    assert len(findings) == len(expected)
    for finding, part in zip(findings, expected, strict=True):
        assert part in finding.detail
        assert (finding.code, finding.file) == (Code.JOURNAL_CORRUPT, FILE)
    assert run("verify", evidence)[0] == (1 if expected else 0)


async def test_a_damaged_store_of_evidence_is_found(evidence: Path) -> None:
    """A file that is no database fails the verification."""
    (evidence / FILE).write_bytes(b"damaged" * 1000)
    code, document = run("verify", evidence)
    assert code == 1
    assert document["verdicts"][0]["findings"][0]["file"] == FILE
