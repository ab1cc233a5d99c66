"""`saphan witness`: run a witness alone, for an auditor."""

from __future__ import annotations

from pathlib import Path

import click

from console.cli.options import JSON
from console.cli.printing import print_json
from mediator.witness.alone import serve_lone, verifier_key, witnessed_logs
from mediator.witness.settings import LoneWitnessSettings
from serving import logs, runtime
from serving.settings import read, table

SETTINGS = click.argument("settings", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def witness() -> None:
    """Cosign the checkpoints of logs: see to it that none ever shows two histories.

    A security server is a witness by itself; this runs one alone, for an auditor. SETTINGS is a
    YAML file with name, directory, listen, and the logs (docs/auditors.md).
    """


@witness.command("serve")
@SETTINGS
def serve_command(settings: Path) -> None:
    """Serve until SIGTERM or SIGINT.

    Logs go to standard error, one JSON object a line; "ready" comes with the key and the address
    that the logs' operators put into their policies.
    """
    loaded = read(LoneWitnessSettings, settings)
    logs.configure(loaded.log_level)
    runtime.run(lambda stop: serve_lone(loaded, stop))


@witness.command("key")
@SETTINGS
@JSON
def key_command(settings: Path, as_json: bool) -> None:
    """Print the witness's verifier key, which is made when there is none yet."""
    loaded = read(LoneWitnessSettings, settings)
    key = verifier_key(loaded)
    watched = witnessed_logs(loaded)
    if as_json:
        print_json({"vkey": str(key), "logs": sorted(watched)})
        return
    click.echo(str(key))
    click.echo(
        f"It witnesses {len(watched)} logs. Next: saphan witness serve {settings}, and give the "
        "operators of the logs the line for their policy:",
        err=True,
    )
    click.echo(f"witness NAME {key} URL/witness", err=True)


@witness.command("settings")
@JSON
def settings_command(as_json: bool) -> None:
    """List every setting with its default and meaning."""
    rows = table(LoneWitnessSettings)
    if as_json:
        names = ("name", "default", "help")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    for name, default, sentence in rows:
        click.echo(f"{name}  [{default}]\n    {sentence}")
