"""`saphan audit`: search, show, export and verify journals.

Everything reads files only: no server needs to run, and a running one is not disturbed.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import click
import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.certificates import fingerprint
from exchange.entries import Kind, parse_entry
from exchange.identifiers import ApplicationId, MemberId, ServiceId
from exchange.notes import VerifierKey
from exchange.problems import Code, Problem
from exchange.proof import check_proof
from mediator.journal import index
from mediator.journal.export import (
    Chosen,
    ExportVerdict,
    is_export,
    make_export,
    verify_export,
    write_export,
)
from mediator.journal.index import Cursor, Hit, Query
from mediator.journal.reader import JournalReader, Opened, find_journals
from mediator.journal.verify import Finding, Verdict
from mediator.journal.verify import verify as verify_journal

DIRECTORIES = click.argument(
    "directories",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
DIRECTORY = click.argument(
    "directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
_Parties: TypeAlias = tuple[ApplicationId | None, ServiceId | None]
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Moment(click.ParamType[datetime]):
    """A date or a time, in UTC when no zone is given."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):  # the latter: before the year 1 or after 9999 in UTC
            self.fail(f"{value!r} is not a time such as 2026-11-21 or 2026-11-21T08:30:00Z")


class Progress:
    """Says on standard error how far something is, once it takes longer than a second."""

    def __init__(self) -> None:
        self._next = time.monotonic() + 1
        self._shown = False

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 0.5
        self._shown = True
        share = f" ({100 * done // total} %)" if total else ""
        click.echo(f"\r{what}: {done:,} of {total:,} entries{share}   ", nl=False, err=True)

    def end(self) -> None:
        if self._shown:
            click.echo(err=True)


def _print_json(document: object) -> None:
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


class ReadingGroup(click.Group):
    """A group whose conditions may be no text at all."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnicodeEncodeError as error:
            raise click.UsageError(
                f"{ascii(error.object)[:100]} is not UTF-8: no entry holds such a text."
            ) from error


def _plain(text: str) -> str:
    """Text from outside without what a terminal would obey.

    The zero-width space stays: Lao text has it between words.
    """
    return "".join(c if c.isprintable() or c in "\n\t\u200b" else "\ufffd" for c in text)


@click.group(cls=ReadingGroup)
def audit() -> None:
    """Search, show, export and verify journals. Reads files only; no server needs to run.

    DIR is a server's journal (the folder with journal.json) or any folder above several.
    """


@audit.command()
@DIRECTORIES
@click.option("--from", "since", type=Moment(), help="Not before this time (UTC).")
@click.option("--until", type=Moment(), help="Before this time (UTC).")
@click.option("--client", help="Calling application: LA/GOV/MOF/budget.")
@click.option("--service", help="Service: LA/GOV/MPI/oda-mis/projects.")
@click.option("--member", help="Member on either side: LA/GOV/MPI.")
@click.option("--endpoint", help="Path template: /projects/{id}.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Kind of entry.")
@click.option(
    "--outcome",
    type=click.Choice(index.OUTCOMES),
    help="How it ended: refused here; failed, or answered with a problem.",
)
@click.option("--status", type=click.IntRange(100, 599), help="HTTP status.")
@click.option("--problem", help="Problem code: AccessDenied.")
@click.option("--id", "message_id", help="Message id (X-Road-Id).")
@click.option("--request-id", help="Request id (X-Road-Request-Id).")
@click.option("--trace", help="Trace id.")
@click.option("--agreement", help="Agreement: mof-mpi-2026.")
@click.option("--purpose", help="Purpose code: national-budget.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Hits on a page.",
)
@click.option("--cursor", help="Go on where a page ended.")
@AS_JSON
def search(
    directories: tuple[Path, ...],
    since: datetime | None,
    until: datetime | None,
    client: str | None,
    service: str | None,
    member: str | None,
    endpoint: str | None,
    kind: str | None,
    outcome: str | None,
    status: int | None,
    problem: str | None,
    message_id: str | None,
    request_id: str | None,
    trace: str | None,
    agreement: str | None,
    purpose: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """Find entries in the journals of DIR..., newest first. All conditions must hold."""
    query = Query(
        since=since,
        until=until,
        client=str(ApplicationId.parse(client, "--client")) if client else None,
        service=str(ServiceId.parse(service, "--service")) if service else None,
        member=str(MemberId.parse(member, "--member")) if member else None,
        endpoint=endpoint,
        kind=kind,
        outcome=outcome,
        status=status,
        problem=problem,
        id=message_id,
        request_id=request_id,
        trace=trace,
        agreement=agreement,
        purpose=purpose,
    )
    place = Cursor.parse(cursor) if cursor else None
    journals = _journals(directories)
    progress = Progress()
    page = index.search([journal.index(progress) for journal in journals], query, limit, place)
    progress.end()
    where = {journal.origin: str(journal.directory) for journal in journals}
    if as_json:
        hits = [{"journal": where[hit.origin], **_hit(hit)} for hit in page.hits]
        _print_json({"hits": hits, "next": str(page.next) if page.next else None})
        return
    for hit in page.hits:
        click.echo(_line(hit, where[hit.origin]))
    if not page.hits:
        click.echo("No entry fits. Try fewer conditions, or a longer time.")
        if query.problem is not None and query.problem not in set(Code):
            click.echo(f"Saphan has no problem {query.problem}; docs/problems.md lists all.")
    elif page.next:
        click.echo(f"Next page: the same command with --cursor {page.next}")
    else:
        click.echo("Next: saphan audit show DIR INDEX, or saphan audit export DIR INDEX -o FOLDER")


def _hit(hit: Hit) -> dict[str, Any]:
    document = {name: value for name, value in dataclasses.asdict(hit).items() if value is not None}
    document["at"] = hit.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return document


def _line(hit: Hit, directory: str) -> str:
    parties = f"{hit.client or '?'} → {hit.service or '?'}" if hit.kind != "system" else "–"
    request = " ".join(filter(None, (hit.method, hit.endpoint)))
    result = " ".join(str(x) for x in (hit.status, hit.problem) if x is not None)
    moment = hit.at.strftime("%Y-%m-%d %H:%M:%SZ")
    begin = f"{moment}  {directory} {hit.index}  {hit.side} {hit.kind}  {parties}"
    return _plain("  ".join(filter(None, (begin, request, result, hit.id))))


def _journals(directories: Sequence[Path]) -> list[JournalReader]:
    """The journals among and below some folders; none may be there in two copies."""
    found: dict[str, JournalReader] = {}
    for folder in find_journals(directories):
        journal = JournalReader(folder)
        other = found.setdefault(journal.origin, journal)
        if other is not journal:
            raise Problem(
                Code.CONFLICT,
                where=str(folder),
                detail=f"holds the same log as {other.directory} ({journal.origin}); name one of "
                "the two",
            )
    return list(found.values())


def _one_journal(directory: Path) -> JournalReader:
    folders = find_journals([directory])
    if len(folders) > 1:
        raise Problem(
            Code.CONFLICT,
            where=str(directory),
            detail="holds several journals; name one: " + ", ".join(map(str, folders[:10])),
        )
    return JournalReader(folders[0])


@audit.command()
@DIRECTORY
@click.argument("number", metavar="INDEX", type=click.IntRange(0))
@AS_JSON
def show(directory: Path, number: int, as_json: bool) -> None:
    """Show entry INDEX of the journal in DIR, prove it, and open its sealed part if it can be."""
    journal = _one_journal(directory)
    data = journal.entry(number)
    entry = parse_entry(data, f"entry {number}")
    checkpoint = check_proof(journal.prove(number), data, journal.key)
    opened: Opened | None = None
    unreadable: Problem | None = None
    if entry.sealed is not None:
        try:
            opened = journal.open(entry, journal.ciphertext(number))
        except Problem as problem:
            unreadable = problem
    if as_json:
        _print_json(
            {
                "index": number,
                "entry": orjson.loads(data),
                "proof": {
                    "good": True,
                    "origin": checkpoint.origin,
                    "size": checkpoint.size,
                    "root": checkpoint.root.hex(),
                },
                "sealed": None if opened is None else _opened(opened),
                "unreadable": None if unreadable is None else str(unreadable),
            }
        )
        return
    click.echo(_plain(orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2).decode()))
    click.echo(
        f"\nProven: entry {number} is in {checkpoint.origin}, {checkpoint.size} entries, "
        f"root {checkpoint.root.hex()[:16]}…"
    )
    if opened is not None:
        _print_part(opened)
    elif unreadable is not None:
        click.echo(f"\nSealed part: not readable. {unreadable.detail}")
    else:
        click.echo("\nThe entry has no sealed part.")
    click.echo(f"\nNext: saphan audit export {directory} {number} -o evidence")


def _opened(opened: Opened) -> dict[str, Any]:
    part = opened.part
    return {
        "head": {
            "method": part.head.method,
            "target": part.head.target,
            "status": part.head.status,
            "headers": part.head.headers,
        },
        "base": part.base.decode("utf-8", "replace"),
        "signature": part.signature.hex(),
        "body": part.body.decode("utf-8", "replace"),
        "body_bytes": len(part.body),
    }


def _print_part(opened: Opened) -> None:
    part = opened.part
    click.echo("\nSealed part, opened with the member's key; it fits the entry's commitment:")
    click.echo(_plain(f"  {part.head.method or part.head.status} {part.head.target or ''}"))
    for name, value in part.head.headers:
        click.echo(_plain(f"  {name}: {value}"))
    click.echo(f"  signature over {len(part.base)} bytes" if part.base else "  not signed")
    if part.body:
        text = part.body.decode("utf-8", "replace")
        click.echo(_plain(f"\n{text[:4000]}"))
        if len(text) > 4000:
            click.echo(f"… {len(part.body):,} bytes in all; export shows the whole body")


@audit.command()
@DIRECTORY
@click.argument("number", metavar="[INDEX]", required=False, type=click.IntRange(0))
@click.option("--id", "message_id", help="Message id (X-Road-Id) instead of an index.")
@click.option(
    "--also",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another journal to look in for the same message, such as the other side's.",
)
@click.option(
    "--certificates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with certificates (PEM) of those who signed.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="New folder, or a file that ends in .zip.",
)
@AS_JSON
def export(
    directory: Path,
    number: int | None,
    message_id: str | None,
    also: tuple[Path, ...],
    certificates: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Export all evidence of one exchange: that of entry INDEX in DIR, or of a message id.

    Entries of the same message id, client and service belong together. The export holds their
    content in clear and may be read by its owner alone.

    Exit codes: 0 the export verifies; 1 it does not, or could not be made; 2 wrong usage.
    """
    if (number is None) == (message_id is None):
        raise click.UsageError("Name the exchange by INDEX or by --id, one of the two.")
    if number is not None:
        first = _one_journal(directory)
        entry = parse_entry(first.entry(number), f"entry {number}")
        message_id = entry.id
        journals = _journals([first.directory, *also])
        chosen = [Chosen(first, number)]
        if message_id is not None:
            parties = (entry.client, entry.service)
            chosen = _exchange(journals, message_id, parties) or chosen
    else:
        assert message_id is not None  # noqa: S101  # one of the two
        chosen = _exchange(_journals([directory, *also]), message_id)
    if not chosen:
        raise Problem(
            Code.NOT_FOUND,
            where=str(directory),
            detail=f"no published entry has the message id {message_id!r}; "
            "saphan audit search finds ids",
        )
    write_export(make_export(chosen, _certificates(certificates)), output)
    verdict = verify_export(output)
    if as_json:
        _print_json(
            {
                "output": str(output),
                "id": message_id,
                "entries": [
                    {"journal": str(choice.journal.directory), "index": choice.index}
                    for choice in chosen
                ],
                "verdict": _export_verdict(output, verdict),
            }
        )
    elif not verdict.good:
        _print_verdict(_export_verdict(output, verdict))
    if not verdict.good:
        sys.exit(1)
    if as_json:
        return
    click.echo(
        f"{output}: {len(chosen)} entries of {message_id or 'one entry'}, {verdict.opened} with "
        f"their content, {verdict.signatures} signatures verified."
    )
    if verdict.without_certificate:
        click.echo(
            f"{verdict.without_certificate} signatures could not be checked. Next: export again "
            "with --certificates FOLDER (certificates in PEM of those who signed)."
        )
        return
    click.echo(f"Next: hand it over; anybody checks it with: saphan audit verify {output}")


def _exchange(
    journals: Sequence[JournalReader], message_id: str, parties: _Parties | None = None
) -> list[Chosen]:
    """The entries of one exchange: of a message id, and of one client and one service.

    A message id is what its sender makes it, so that two exchanges may have the same.

    Raises:
        Problem: ``Conflict`` when several exchanges have the id and ``parties`` names none.
    """
    progress = Progress()
    found: dict[_Parties, list[Chosen]] = {}
    for journal in journals:
        for number, entry in journal.of_message(message_id, progress):
            of = (entry.client, entry.service)
            found.setdefault(of, []).append(Chosen(journal, number))
    progress.end()
    if parties is not None:
        return found.get(parties, [])
    if len(found) > 1:
        places = (f"{chosen[0].journal.directory} {chosen[0].index}" for chosen in found.values())
        raise Problem(
            Code.CONFLICT,
            where=f"message id {message_id!r}",
            detail="several exchanges have it; name one by DIR and INDEX: "
            + ", ".join([*places][:10]),
        )
    return [choice for chosen in found.values() for choice in chosen]


def _certificates(folder: Path | None) -> dict[str, x509.Certificate]:
    found: dict[str, x509.Certificate] = {}
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix not in {".pem", ".crt", ".cer"} or not path.is_file():
            continue
        if path.stat().st_size <= 1 << 20:
            try:
                certificates = x509.load_pem_x509_certificates(path.read_bytes())
            except ValueError:
                continue  # a key or something else in PEM
            for certificate in certificates:
                found[fingerprint(_der(certificate))] = certificate
    return found


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@audit.command()
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
@click.option("--tree-only", is_flag=True, help="Leave out the sealed parts.")
@AS_JSON
def verify(
    paths: tuple[Path, ...],
    known: Path | None,
    vkeys: tuple[str, ...],
    tree_only: bool,
    as_json: bool,
) -> None:
    """Verify journals, published logs and exports, with nothing but the files.

    Exit codes: 0 everything is as it was recorded; 1 something is not, or could not be read; 2
    wrong usage.
    """
    keys = [VerifierKey.parse(text, "--vkey") for text in vkeys]
    remembered = known.read_bytes() if known else None
    verdicts: list[dict[str, Any]] = []
    for path in paths:
        if is_export(path):
            verdicts.append(_export_verdict(path, verify_export(path, keys)))
        else:
            verdicts += _verify_journals(path, keys, remembered, tree_only)
    good = all(verdict["good"] for verdict in verdicts)
    if as_json:
        _print_json({"good": good, "verdicts": verdicts})
    else:
        for verdict in verdicts:
            _print_verdict(verdict)
    if not good:
        sys.exit(1)


def _verify_journals(
    path: Path, keys: Sequence[VerifierKey], known: bytes | None, tree_only: bool
) -> list[dict[str, Any]]:
    folders = [path] if (path / "checkpoint").exists() else find_journals([path])
    if known is not None and len(folders) > 1:
        raise click.UsageError("--known is a checkpoint of one log; name one journal.")
    if len(keys) > 1 and len(folders) == 1:
        raise click.UsageError("one journal has one verifier key; give --vkey once.")
    verdicts = []
    for folder in folders:
        progress = Progress()
        key = keys[0] if len(folders) == 1 and keys else None
        verdict = verify_journal(
            folder, key=key, known=known, tree_only=tree_only, progress=progress
        )
        progress.end()
        if len(folders) > 1 and keys and verdict.vkey not in map(str, keys):
            foreign = Finding(
                Code.JOURNAL_FORKED, "journal.json", None, "names none of the keys that were given"
            )
            verdict = dataclasses.replace(verdict, findings=(*verdict.findings, foreign))
        verdicts.append(_journal_verdict(verdict))
    return verdicts


def _journal_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": "journal",
        "good": verdict.good,
        "path": verdict.directory,
        "origin": verdict.origin,
        "vkey": verdict.vkey,
        "size": verdict.size,
        "root": verdict.root,
        "unpublished": verdict.unpublished,
        "sealed": verdict.sealed,
        "opened": verdict.opened,
        "without_key": verdict.without_key,
        "findings": [_finding(finding) for finding in verdict.findings],
    }


def _export_verdict(path: Path, verdict: ExportVerdict) -> dict[str, Any]:
    return {
        "kind": "export",
        "good": verdict.good,
        "path": str(path),
        "vkeys": list(verdict.logs),
        "entries": verdict.entries,
        "opened": verdict.opened,
        "signatures": verdict.signatures,
        "without_certificate": verdict.without_certificate,
        "findings": [_finding(finding) for finding in verdict.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code.value,
        "file": finding.file,
        "index": finding.index,
        "detail": finding.detail,
    }


def _print_verdict(verdict: dict[str, Any]) -> None:
    word = "GOOD" if verdict["good"] else "NOT GOOD"
    if verdict["kind"] == "journal":
        click.echo(
            f"{verdict['path']}: {word}. {verdict['size']:,} entries, root "
            f"{verdict['root'][:16]}…, {verdict['sealed']:,} sealed parts fit, of which "
            f"{verdict['opened']:,} were opened and {verdict['without_key']:,} have no key here."
        )
        if verdict["unpublished"]:
            click.echo(f"  {verdict['unpublished']:,} more are recorded and not published yet")
        click.echo(f"  signed by {verdict['vkey']}")
    else:
        click.echo(
            f"{verdict['path']}: {word}. {verdict['entries']} entries, {verdict['opened']} opened, "
            f"{verdict['signatures']} signatures verified, {verdict['without_certificate']} "
            "without certificate."
        )
        for key in verdict["vkeys"]:
            click.echo(f"  signed by {key}")
    for finding in verdict["findings"]:
        entry = "" if finding["index"] is None else f"entry {finding['index']}, "
        line = f"  {finding['code']}: {entry}{finding['file']}: {finding['detail']}"
        click.echo(_plain(line))
    if verdict["good"] and verdict.get("without_certificate"):
        click.echo("  Its signatures are not all checked: export it with --certificates FOLDER.")
    if verdict["good"]:
        click.echo("  Next: compare the key with the one that the registry lists.")
    else:
        click.echo(
            "  Next: keep this copy as it is; compare the named file with another copy of the log."
        )
