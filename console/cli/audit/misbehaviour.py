"""`saphan audit misbehaviour`: the kept proofs that a log contradicted what it had signed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from console.cli.audit.options import AS_JSON
from console.cli.printing import plain, print_json
from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem
from mediator.witness.misbehaviour import FOLDER, described, judge, read


@click.command()
@click.argument(
    "paths",
    metavar="DIR_OR_FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--vkey", "vkeys", multiple=True, help="Verifier key of the accused log, from the registry."
)
@AS_JSON
def misbehaviour(paths: tuple[Path, ...], vkeys: tuple[str, ...], as_json: bool) -> None:
    """Judge the proofs of misbehaviour that a witness kept: its folder, or single files.

    Each holds two checkpoints that a log signed. Both signatures are checked, by the keys of
    --vkey where they are given, else by those in the file; and whether the two prove by themselves
    that the log has two histories.

    Exit codes: 0 nothing is kept; 1 something is; 2 wrong usage.
    """
    keys = [VerifierKey.parse(text, "--vkey") for text in vkeys]
    found = [_judged(path, keys) for path in _files(paths)]
    if as_json:
        print_json({"misbehaviour": found})
    else:
        for one in found:
            _show(one)
        if not found:
            click.echo("Nothing is kept: no log misbehaved before this witness.")
    if found:
        sys.exit(1)


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_file():
            files.append(path)
        else:
            files += sorted(file for file in path.rglob("*.json") if file.parent.name == FOLDER)
    return files


def _judged(path: Path, keys: Sequence[VerifierKey]) -> dict[str, Any]:
    found = read(path)
    try:
        proven = judge(found, [key for key in keys if key.name == found.origin] if keys else None)
    except Problem as problem:
        if problem.code is not Code.INVALID_NOTE:
            raise
        return {**described(found), "path": str(path), "proven": False, "refused": problem.detail}
    return {**described(found), "path": str(path), "proven": proven}


def _show(one: dict[str, Any]) -> None:
    word = "PROVEN" if one["proven"] else "NOT PROVEN by the file alone"
    click.echo(plain(f"{one['origin']}: {one['misdeed']}, {word}; seen at {one['at']}"))
    click.echo(plain(f"  it signed   size {one['known_size']:,}, root {one['known_root']}"))
    click.echo(plain(f"  it showed   size {one['shown_size']:,}, root {one['shown_root']}"))
    if one["submitter"]:
        click.echo(plain(f"  shown by {one['submitter']}"))
    if "refused" in one:
        click.echo(plain(f"  this file shows nothing: {one['refused']}"))
    click.echo(plain(f"  {one['path']} (SHA-256 {one['digest']})"))
