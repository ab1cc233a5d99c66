"""`saphan audit`: a module for each command, imported when it is called.

All but `ask` and `usage` read files only: no server needs to run, and a running one is not
disturbed.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

COMMANDS = (
    "search",
    "index",
    "show",
    "export",
    "verify",
    "reconcile",
    "stats",
    "misbehaviour",
    "ask",
    "usage",
    "anchors",
)
"""The name of a command is that of its module and of the function in it."""


class AuditGroup(click.Group):
    """Knows its commands by name, imports one when it is called; conditions may be no text."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnicodeEncodeError as error:
            raise click.UsageError(
                f"{ascii(error.object)[:100]} is not UTF-8: no entry holds such a text."
            ) from error


@click.group(cls=AuditGroup)
def audit() -> None:
    """Search, show, export and verify journals from their files; no server needs to run.

    Only `ask`, `usage`, `anchors`, and `reconcile` with mandates speak to servers: to those of
    organisations that gave you a mandate.

    DIR is a server's journal (the folder with journal.json) or any folder above several.
    """
