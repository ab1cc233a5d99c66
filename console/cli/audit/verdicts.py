"""Verdicts of verification, as JSON and for a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from console.cli.printing import plain
from exchange.problems import Code, Problem
from mediator.journal.export import ExportVerdict
from mediator.journal.verify import Finding, Verdict
from mediator.journal.verify.anchors import Anchored
from mediator.journal.verify.times import Stamped


def journal_verdict(
    verdict: Verdict,
    anchored: Anchored,
    stamped: Stamped,
    statements: int,
    sources: Sequence[str] = (),
) -> dict[str, Any]:
    """A journal's verdict, as JSON.

    Args:
        sources: where certificates of those who signed are from.
    """
    findings = (*verdict.findings, *anchored.findings, *stamped.findings)
    return {
        "kind": "journal",
        "good": not findings,
        "path": verdict.directory,
        "origin": verdict.origin,
        "vkey": verdict.vkey,
        "size": verdict.size,
        "root": verdict.root,
        "verified_before": verdict.since,
        "removed": verdict.elsewhere,
        "unpublished": verdict.unpublished,
        "sealed": verdict.sealed,
        "opened": verdict.opened,
        "without_key": verdict.without_key,
        "erased": verdict.erased,
        "lost": verdict.lost,
        "signatures": _signatures(verdict, sources),
        "anchors": anchored.anchors,
        "anchors_compared": anchored.compared,
        "witnessed": anchored.witnessed,
        "cosigners": list(anchored.cosigners),
        "tokens": stamped.tokens,
        "tokens_checked": stamped.checked,
        "stamped": stamped.size,
        "stamped_at": None if stamped.at is None else stamped.at.isoformat(),
        "statements": statements,
        "findings": [described(finding) for finding in findings],
    }


def _signatures(verdict: Verdict, sources: Sequence[str]) -> dict[str, Any] | None:
    """What came of the signatures of messages; None: nobody looked at them."""
    if verdict.signed is None:
        return None
    return {
        **dataclasses.asdict(verdict.signed),
        "missing_certificates": list(verdict.missing),
        "certificates_from": list(sources),
    }


def unreadable_verdict(folder: Path, problem: Problem) -> dict[str, Any]:
    """Of a journal of which not even the key is known."""
    finding = Finding(problem.code, problem.where, None, problem.detail)
    verdict = Verdict(str(folder), "", "", 0, "", 0, 0, 0, 0, (finding,))
    nothing = Anchored(0, 0, 0, (), ()), Stamped(0, 0, 0, None, ())
    return {**journal_verdict(verdict, *nothing, 0), "indexed": 0}


def export_verdict(path: Path, verdict: ExportVerdict) -> dict[str, Any]:
    """What was found in an export, for ``--json``."""
    return {
        "kind": "export",
        "good": verdict.good,
        "path": str(path),
        "vkeys": list(verdict.logs),
        "entries": verdict.entries,
        "opened": verdict.opened,
        "signatures": verdict.signatures,
        "without_certificate": verdict.without_certificate,
        "signed_by": verdict.signed_by,
        "stamped_at": verdict.stamped_at,
        "tokens": verdict.tokens,
        "cosignatures": verdict.cosignatures,
        "notes": list(verdict.notes),
        "findings": [described(finding) for finding in verdict.findings],
    }


_NOT_VERIFIED: Final = {
    "without_certificate": "whose certificate is not here",
    "unjudged": "right, by a certificate that no authority here issued",
    "revoked": "right, by a certificate that had been revoked",
    "expired": "right, by a certificate of this server's own side that was not valid then",
    "without_key": "in sealed parts that have no key here",
    "erased": "in sealed parts that are erased",
    "not_kept": "of entries that were kept alone",
}


def _print_signatures(told: dict[str, Any] | None) -> None:
    if told is None:
        click.echo("  the signatures of its messages were not verified")
        return
    left = [f"{told[name]:,} {what}" for name, what in _NOT_VERIFIED.items() if told[name]]
    if not left and not told["verified"]:
        return
    click.echo(
        f"  {told['verified']:,} signatures of messages were verified"
        + (f"; NOT verified: {'; '.join(left)}" if left else "")
    )
    if told["certificates_from"]:
        click.echo(plain(f"  certificates are from {', '.join(told['certificates_from'])}"))
    if told["without_certificate"] or told["unjudged"]:
        click.echo(
            "  To verify the others: name certificates by --certificates FOLDER or --registry "
            "FOLDER, and authorities by --ca FILE."
        )


def described(finding: Finding) -> dict[str, Any]:
    """A finding, as JSON."""
    return {
        "code": finding.code.value,
        "file": finding.file,
        "index": finding.index,
        "detail": finding.detail,
    }


def print_verdict(verdict: dict[str, Any]) -> None:
    """Print for people what was found, and what to do next."""
    word = "GOOD" if verdict["good"] else "NOT GOOD"
    if verdict["kind"] == "journal":
        click.echo(
            f"{verdict['path']}: {word}. {verdict['size']:,} entries, root "
            f"{verdict['root'][:16]}…, {verdict['sealed']:,} sealed parts fit, of which "
            f"{verdict['opened']:,} were opened, {verdict['erased']:,} are erased and "
            f"{verdict['without_key']:,} have no key here."
        )
        if verdict["verified_before"]:
            click.echo(
                f"  the first {verdict['verified_before']:,} were verified by an earlier run and "
                "not read again; this log extends what it was then"
            )
        if verdict["removed"]:
            click.echo(
                f"  the first {verdict['removed']:,} are not here but in an archive; their hashes "
                "are here and fit"
            )
        if verdict["lost"]:
            click.echo(f"  of {verdict['lost']:,} the key is gone, and no entry accounts for it")
        if verdict["unpublished"]:
            click.echo(f"  {verdict['unpublished']:,} more are recorded and not published yet")
        _print_signatures(verdict["signatures"])
        if verdict["witnessed"]:
            click.echo(
                f"  the first {verdict['witnessed']:,} are covered by the policy's quorum: "
                + ", ".join(map(plain, verdict["cosigners"]))
            )
        if verdict["stamped_at"]:
            click.echo(
                f"  the first {verdict['stamped']:,} were there at {verdict['stamped_at']}, by "
                f"time-stamps ({verdict['tokens_checked']:,} of {verdict['tokens']:,} checked)"
            )
        elif verdict["tokens"] and not verdict["tokens_checked"]:
            click.echo(f"  {verdict['tokens']:,} time-stamps, not judged: name authorities by --ca")
        if verdict["vkey"]:
            click.echo(f"  signed by {verdict['vkey']}")
    else:
        click.echo(
            f"{verdict['path']}: {word}. {verdict['entries']} entries, {verdict['opened']} opened, "
            f"{verdict['signatures']} signatures verified, {verdict['without_certificate']} "
            "without certificate."
        )
        if verdict["signed_by"]:
            stamped = f", stamped {verdict['stamped_at']}" if verdict["stamped_at"] else ""
            click.echo(f"  the whole is signed by {verdict['signed_by']}{stamped}")
        for key in verdict["vkeys"]:
            click.echo(f"  log signed by {key}")
        for note in verdict["notes"]:
            click.echo(plain(f"  not proven: {note}"))
    for finding in verdict["findings"]:
        entry = "" if finding["index"] is None else f"entry {finding['index']}, "
        line = f"  {finding['code']}: {entry}{finding['file']}: {finding['detail']}"
        click.echo(plain(line))
    if verdict["good"] and verdict.get("without_certificate"):
        click.echo("  Its signatures are not all checked: export it with --certificates FOLDER.")
    if verdict["good"]:
        click.echo("  Next: compare the key with the one that the registry lists.")
    else:
        click.echo(
            "  Next: keep this copy as it is; compare the named file with another copy of the log."
        )
        if any(finding["code"] == Code.MISSING_SIGNATURE.value for finding in verdict["findings"]):
            click.echo(
                "  What was signed is with the other party of the exchange, too: ask for its "
                "record, and compare both journals with saphan audit reconcile."
            )
