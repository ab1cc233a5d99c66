"""`saphan audit verify`: whether journals, published logs and exports are whole."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from console.cli.audit.evidence import certificates_in, read_authorities
from console.cli.audit.options import AS_JSON, INDEX_DATABASE, PASSPHRASE_FILE
from console.cli.audit.verdicts import (
    described,
    export_verdict,
    journal_verdict,
    print_verdict,
    unreadable_verdict,
)
from console.cli.printing import Progress, print_json
from exchange.log.notes import VerifierKey
from exchange.log.policy import Policy, parse_policy
from exchange.problems import Code, Problem
from mediator.journal.export import is_export, verify_export
from mediator.journal.passphrase import opened
from mediator.journal.reader import find_journals, is_journal
from mediator.journal.verify import Finding, Verdict, log_key
from mediator.journal.verify import verify as verify_journal
from mediator.journal.verify.accounts import KEYS
from mediator.journal.verify.anchors import Anchored, verify_anchors
from mediator.journal.verify.derived import Indexed, verify_index
from mediator.journal.verify.signers import Found, find_signers
from mediator.journal.verify.state import Kept
from mediator.journal.verify.times import Stamped, verify_evidence, verify_times
from mediator.journal.verify.workers import usable_processes


@click.command()
@click.argument(
    "paths",
    metavar="DIR_OR_EXPORT...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--known",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint of this log that you kept: cut and forked logs are refused.",
)
@click.option("--vkey", "vkeys", multiple=True, help="Verifier key of the log; may be repeated.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Authorities (PEM) that you trust, of time-stamps too; without it, of an export, those "
    "in it, and the time-stamps of a journal are only counted.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A trust policy (C2SP tlog-policy): its quorum must have cosigned each log.",
)
@click.option("--tree-only", is_flag=True, help="Leave out the sealed parts.")
@click.option(
    "--signatures/--no-signatures",
    default=True,
    show_default=True,
    help="Verify the signature of every message in a journal whose sealed part can be opened.",
)
@click.option(
    "--registry",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A server's copy of the registry, for certificates of those who signed; else the one "
    "beside a journal, if there is one.",
)
@click.option(
    "--certificates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with further certificates (PEM) of those who signed.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of yours that keeps how far each log was verified: only what is new is read, and "
    "the log must extend what it was.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="How many processes work on it; all processors by default.",
)
@PASSPHRASE_FILE
@click.option(
    "--some-keys",
    is_flag=True,
    help="Keys were left out of this copy on purpose: do not take them for destroyed.",
)
@INDEX_DATABASE
@click.option("--index", "rows", is_flag=True, help="Compare every row of the search index.")
@click.option(
    "--index-from",
    type=click.IntRange(0),
    help="Compare every row from this entry on: to go on where a run was ended.",
)
@AS_JSON
def verify(
    paths: tuple[Path, ...],
    known: Path | None,
    vkeys: tuple[str, ...],
    policy: Path | None,
    ca: Path | None,
    tree_only: bool,
    signatures: bool,
    registry: Path | None,
    certificates: Path | None,
    state: Path | None,
    processes: int | None,
    passphrase_file: Path | None,
    some_keys: bool,
    database: str | None,
    rows: bool,
    index_from: int | None,
    as_json: bool,
) -> None:
    """Verify journals, archives, published logs and exports, with nothing but the files.

    Signatures of messages are verified where the sealed part can be opened and the signer's
    certificate is found; how many were, and how many could not be, is told.

    Exit codes: 0 everything is as it was recorded; 1 something is not, or could not be read; 2
    wrong usage.
    """
    keys = [VerifierKey.parse(text, "--vkey") for text in vkeys]
    authorities = read_authorities(ca)
    asked = _Asked(
        keys,
        known.read_bytes() if known else None,
        parse_policy(policy.read_bytes(), str(policy)) if policy else None,
        tree_only,
        signatures and not tree_only,
        registry,
        certificates_in(certificates),
        processes or usable_processes(),
        authorities,
        passphrase_file,
        some_keys,
        database,
        index_from if index_from is not None or not rows else 0,
        None if state is None else Kept(state),
    )
    verdicts: list[dict[str, Any]] = []
    for path in paths:
        if is_export(path):
            verdicts.append(export_verdict(path, verify_export(path, keys, authorities)))
        else:
            verdicts += _verify_journals(path, asked)
    good = all(verdict["good"] for verdict in verdicts)
    if as_json:
        print_json({"good": good, "verdicts": verdicts})
    else:
        for verdict in verdicts:
            print_verdict(verdict)
    if not good:
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """How journals are to be verified."""

    keys: Sequence[VerifierKey]
    known: bytes | None
    policy: Policy | None
    tree_only: bool
    signatures: bool
    registry: Path | None
    certificates: Mapping[str, x509.Certificate]
    processes: int
    authorities: tuple[x509.Certificate, ...]
    passphrase_file: Path | None
    some_keys: bool
    database: str | None
    rows_from: int | None
    kept: Kept | None


def _verify_journals(path: Path, asked: _Asked) -> list[dict[str, Any]]:
    keys = asked.keys
    published = (path / "checkpoint").exists()
    folders = [path] if published else find_journals([path])
    if published and not keys and not is_journal(path):
        raise click.UsageError(f"{path} is a log without its key; give that by --vkey.")
    if asked.known is not None and len(folders) > 1:
        raise click.UsageError("--known is a checkpoint of one log; name one journal.")
    if len(keys) > 1 and len(folders) == 1:
        raise click.UsageError("one journal has one verifier key; give --vkey once.")
    verdicts = []
    for folder in folders:
        found = _verify_one(folder, keys[0] if len(folders) == 1 and keys else None, asked)
        if len(folders) > 1 and keys and found["vkey"] not in map(str, keys):
            detail = "names none of the keys that were given"
            foreign = Finding(Code.JOURNAL_FORKED, "journal.json", None, detail)
            found["findings"].append(described(foreign))
            found["good"] = False
        verdicts.append(found)
    return verdicts


def _verify_one(folder: Path, key: VerifierKey | None, asked: _Asked) -> dict[str, Any]:
    try:
        vkey = str(key or log_key(folder))
    except Problem as problem:  # the others that were named are verified all the same
        return unreadable_verdict(folder, problem)
    sought = _signers(folder, asked)
    kept = asked.kept
    since = kept.since(vkey) if kept else None
    try:
        with Progress() as progress:
            verdict = verify_journal(
                folder,
                key=key,
                known=asked.known,
                since=since,
                tree_only=asked.tree_only,
                encryption=opened(folder / KEYS, asked.passphrase_file),
                signers=sought.signers if sought else None,
                some_keys=asked.some_keys,
                processes=asked.processes,
                progress=progress,
                keep=partial(kept.note, vkey) if kept else lambda verified: None,
            )
            before = min(verdict.since, since.edge.size) if since else 0
            anchored = _anchors(folder, verdict, before, asked, progress)
            stamped = _times(folder, before, asked, progress)
            number, wrong = _evidence(folder, verdict)
            indexed = _index(folder, verdict, asked, progress)
            verdict = dataclasses.replace(
                verdict, findings=(*verdict.findings, *wrong, *indexed.findings)
            )
            found = journal_verdict(
                verdict, anchored, stamped, number, sought.sources if sought else ()
            )
        found["indexed"] = indexed.compared
        if kept is not None and verdict.reached is not None and found["good"]:
            kept.note(vkey, verdict.reached)
    finally:  # interrupted at the keyboard, too
        if kept is not None:
            kept.write()
    return found


def _signers(folder: Path, asked: _Asked) -> Found | None:
    """The certificates for a journal's signatures; None when these are left out."""
    if not asked.signatures or (folder / "checkpoint").exists():
        return None
    return find_signers(
        folder,
        registry=asked.registry,
        certificates=asked.certificates,
        authorities=asked.authorities,
    )


def _times(folder: Path, before: int, asked: _Asked, progress: Progress) -> Stamped:
    try:
        return verify_times(
            folder,
            asked.authorities,
            since=before,
            processes=asked.processes,
            progress=progress,
        )
    except Problem:
        return Stamped(0, 0, 0, None, ())  # the anchors cannot be read: that is told of them


def _index(folder: Path, verdict: Verdict, asked: _Asked, progress: Progress) -> Indexed:
    log = folder if (folder / "checkpoint").exists() else folder / "log"
    if not verdict.good:
        return Indexed(0, ())  # entries that are damaged say nothing of their rows
    reached = 0

    def told(what: str, done: int, total: int) -> None:
        nonlocal reached
        reached = done
        progress(what, done, total)

    try:
        return verify_index(
            folder,
            log,
            verdict.origin,
            verdict.size,
            asked.database,
            every_from=asked.rows_from,
            progress=told,
        )
    except KeyboardInterrupt:
        if asked.rows_from is not None:
            click.echo(f"\nTo go on with the rows: --index-from {reached}", err=True)
        raise


def _evidence(folder: Path, verdict: Verdict) -> tuple[int, tuple[Finding, ...]]:
    log = folder if (folder / "checkpoint").exists() else folder / "log"
    try:
        return verify_evidence(folder, log, verdict.size)
    except Problem as problem:
        return 0, (Finding(problem.code, problem.where, None, problem.detail),)


def _anchors(
    folder: Path, verdict: Verdict, before: int, asked: _Asked, progress: Progress
) -> Anchored:
    log = folder if (folder / "checkpoint").exists() else folder / "log"
    try:
        return verify_anchors(
            folder,
            log,
            VerifierKey.parse(verdict.vkey),
            verdict.size,
            asked.policy,
            since=before,
            processes=asked.processes,
            progress=progress,
        )
    except Problem as problem:
        finding = Finding(problem.code, problem.where, None, problem.detail)
        return Anchored(0, 0, 0, (), (finding,))
