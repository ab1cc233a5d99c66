"""Options that several commands of `saphan agreement` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Where to write."
)
IDENTIFIER = click.option("--id", "identifier", help="Name; made from the parties if not given.")


def validity(sentence: str) -> Callable[[_Command], _Command]:
    """For how many days something is valid; the sentence says what."""
    return click.option(
        "--days", type=click.IntRange(1, 36_500), default=365, show_default=True, help=sentence
    )


VALIDITY = validity("Validity from now.")
