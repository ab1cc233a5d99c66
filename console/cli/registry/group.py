"""The group `saphan registry`, and the options that its commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def registry() -> None:
    """Run the registry, register members and services, approve, look up."""


def CLIENT(command: Command) -> Command:
    """The options of every command that speaks to a registry: where it is and with which key."""
    for option in (
        click.option(
            "--api-key",
            envvar="SAPHAN_API_KEY",
            default="",
            help="API key, or @FILE; else SAPHAN_API_KEY.",
        ),
        click.option(
            "--registry",
            "url",
            envvar="SAPHAN_REGISTRY",
            required=True,
            show_envvar=True,
            metavar="URL",
            help="Address of the registry.",
        ),
    ):
        command = option(command)
    return command


DRY = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
PROTOCOL = click.option(
    "--protocol", type=PATH, help="Add the protocol of this step to a text file, to be signed."
)
DRAFT = click.option(
    "--draft",
    type=PATH,
    help="Publish nothing: write a draft to this file, which others sign too (saphan registry "
    "ceremony sign).",
)


def ASK(command: Command) -> Command:
    """The option that asks users of what breaks for their consents."""
    return click.option(
        "--ask-consents",
        "asks",
        is_flag=True,
        help="What breaks its users waits for their consents, and they are told; without this it "
        "is refused.",
    )(command)


def TARGETS_KEYS(command: Command) -> Command:
    """The options of every command that signs as the registry: keys, or a draft for others."""
    return click.option(
        "--keys",
        type=PATH,
        multiple=True,
        metavar="PATH",
        help="Targets keys: files, or a folder with targets-*.pem. As many as must sign, or "
        "--draft.",
    )(DRAFT(command))
