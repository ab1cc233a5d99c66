"""Options that several commands share."""

from __future__ import annotations

import click

from serving.logs import LogLevel

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
LOG_LEVEL = click.option(
    "--log-level",
    type=click.Choice([level.value for level in LogLevel]),
    default=LogLevel.INFO.value,
    callback=lambda context, option, value: LogLevel(value),
    show_default=True,
    help="What to log on standard error.",
)
