"""`saphan audit anchors`: get and keep the newest anchors of the logs of a mandate."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from console.auditing.asking import Auditor, NotAnswered, log_key
from console.cli.audit.mandates import MANDATES, Way, open_auditor, reached, read_mandates
from console.cli.audit.options import AS_JSON
from console.cli.printing import plain, print_json
from exchange.agreements import Agreement
from exchange.journal.auditing import JOURNAL
from exchange.journal.shown_anchor import open_anchor
from exchange.log.checkpoint import open_checkpoint
from exchange.log.policy import Policy, parse_policy
from exchange.problems import Problem
from exchange.registrations import ServerRecord
from serving.durable_files import replace_file


@click.command()
@MANDATES
@reached(required=True)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A trust policy (C2SP tlog-policy): its quorum must have cosigned each anchor.",
)
@click.option(
    "-o",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where anchors are kept; those of before are what each log must have grown from.",
)
@AS_JSON
def anchors(
    mandates: tuple[Path, ...], way: Way, policy: Path | None, folder: Path, as_json: bool
) -> None:
    """Get the newest anchor of each log: checkpoint, cosignatures, time-stamps.

    Each log has to prove that it grew from the anchor that was kept before; one that did not is
    told, and the older anchor stays. Exit code 1 when that is so, or somebody did not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    quorum = parse_policy(policy.read_bytes(), str(policy)) if policy else None
    rows = asyncio.run(_ask(way, read_mandates(mandates), quorum, folder))
    if as_json:
        print_json({"anchors": rows})
    else:
        for row in rows:
            click.echo(plain(_line(row)))
        click.echo("Next: saphan audit verify DIR --known FILE, when you get a copy of a journal.")
    if any("problem" in row for row in rows):
        sys.exit(1)


async def _ask(
    way: Way, mandates: list[Agreement], policy: Policy | None, folder: Path
) -> list[dict[str, Any]]:
    rows = []
    async with open_auditor(way) as auditor:
        for mandate in mandates:
            for server in auditor.servers(mandate.provider):
                row: dict[str, Any] = {"server": str(server.id), "mandate": mandate.reference}
                try:
                    row |= await _keep(auditor, mandate, server, policy, folder)
                except NotAnswered as refusal:
                    row |= {"problem": refusal.code, "detail": refusal.detail}
                except Problem as problem:
                    row |= {"problem": problem.code.value, "detail": str(problem)}
                rows.append(row)
    return rows


async def _keep(
    auditor: Auditor,
    mandate: Agreement,
    server: ServerRecord,
    policy: Policy | None,
    folder: Path,
) -> dict[str, Any]:
    """Ask one server, prove what it shows, and keep it.

    Raises:
        NotAnswered: it does not answer.
        Problem: as :func:`exchange.journal.shown_anchor.open_anchor`; ``NotWitnessed``.
        OSError: the folder cannot be written.
    """
    key = log_key(server)
    # "~" is in no identifier: no two servers have one name.
    path = folder / f"{str(server.id).replace('/', '~')}.checkpoint"
    known = open_checkpoint(path.read_bytes(), key, where=str(path)) if path.exists() else None
    target = "/anchor" if known is None else f"/anchor?since={known.size}"
    anchor, checkpoint = open_anchor(
        await auditor.get(mandate, server, JOURNAL, target), key, known
    )
    if policy is not None:
        policy.check(anchor.checkpoint, f"anchor of {server.id}")
    files = [path]
    for number, (_, token) in enumerate(anchor.tokens):
        files.append(path.with_suffix(f".{checkpoint.size}-{number}.tst"))
        replace_file(files[-1], token)
    replace_file(path, anchor.checkpoint)
    return {
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "grown_from": None if known is None else known.size,
        "times": [stamp.time.isoformat() for stamp in anchor.stamps],
        "files": [str(one) for one in files],
    }


def _line(row: dict[str, Any]) -> str:
    if "problem" in row:
        return f"{row['server']}: {row['problem']} {row['detail']}"
    since = row["grown_from"]
    grown = "nothing was known before" if since is None else f"grown from {since:,}, proven"
    times = "; ".join(f"stamped {time}" for time in row["times"]) or "not stamped yet"
    times += " (by whom is not judged)" if row["times"] else ""
    return f"{row['server']}: {row['size']:,} entries; {grown}; {times}; {row['files'][0]}"
