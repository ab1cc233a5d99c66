"""Arguments and options that several commands of `saphan audit` share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

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
INDEX_DATABASE = click.option(
    "--database",
    envvar="SAPHAN_INDEX_DATABASE",
    metavar="URL",
    help="The search index in PostgreSQL (setting journal.index_database).",
)
PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    envvar="SAPHAN_PASSPHRASE_FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Opens key files under a passphrase (setting journal.passphrase_file).",
)
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
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


class Period(click.ParamType[tuple[datetime, datetime]]):
    """A month, a day, or a time from which and one before which."""

    name = "period"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[datetime, datetime]:
        first, slash, last = value.partition("/")
        moment = Moment()
        if slash:
            since, until = moment.convert(first, param, ctx), moment.convert(last, param, ctx)
        elif (month := _MONTH.fullmatch(value)) and 1 <= int(month[2]) <= 12:
            since = moment.convert(f"{value}-01", param, ctx)
            until = (since + timedelta(days=31)).replace(day=1)
        elif _DAY.fullmatch(value):
            since = moment.convert(value, param, ctx)
            until = since + timedelta(days=1)
        else:
            self.fail(f"{value!r} is not a period such as 2026-11 or 2026-11-01/2026-11-15")
        if since >= until:
            self.fail(f"{value!r} ends before it begins")
        return since, until
