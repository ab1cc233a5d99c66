"""What the commands share that ask organisations under a mandate."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from console.auditing.asking import Auditor, Outcome, Told
from console.cli.audit.options import AS_JSON, Moment
from console.cli.call import pool_to
from console.cli.printing import plain
from exchange.agreements import Agreement, Kind, read_agreement
from exchange.journal.entries import format_time
from exchange.journal.subjects import normal_subject
from exchange.problems import Code, Problem
from mediator.registry_copy.view import RegistryView
from serving.small_files import read_file

MAX_RUNS: Final = 20
_read = functools.partial(read_file, code=Code.INVALID_USAGE)
_FILE: Final = click.Path(exists=True, path_type=Path)
MANDATES: Final = click.option(
    "--mandate",
    "mandates",
    type=_FILE,
    multiple=True,
    required=True,
    help="A sealed mandate, or a folder of them (*.jws); may be repeated.",
)


class Way(NamedTuple):
    """How the own security server and the registry are reached."""

    via: str
    cert: Path | None
    key: Path | None
    ca: Path | None
    registry: str
    root: Path
    purpose: str | None


class Question(NamedTuple):
    """Who is asked, how they are reached, and of which time; see :func:`asking`."""

    mandates: list[Agreement]
    way: Way
    period: dict[str, str]
    limit: int


Options = Callable[[Callable[..., None]], Callable[..., None]]


def reached(*, required: bool) -> Options:
    """The options by which the own server and the registry are named; the command is given the
    :class:`Way` as ``way``, which may be None unless it is ``required``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def asked(
            *arguments: Any,
            via: str | None,
            cert: Path | None,
            key: Path | None,
            ca: Path | None,
            registry: str | None,
            root: Path | None,
            purpose: str | None,
            **more: Any,
        ) -> None:
            way = None
            if via is not None and registry is not None and root is not None:
                way = Way(via, cert, key, ca, registry, root, purpose)
            command(*arguments, way=way, **more)

        options: tuple[Options, ...] = (
            click.option("--via", required=required, metavar="URL", help="Your own server."),
            click.option("--cert", type=_FILE, help="Your application's certificate (PEM)."),
            click.option("--key", type=_FILE, help="Its private key (PEM)."),
            click.option("--ca", type=_FILE, help="Authorities of your server (PEM)."),
            click.option(
                "--registry",
                envvar="SAPHAN_REGISTRY",
                required=required,
                show_envvar=True,
                metavar="URL",
                help="Address of the registry, which knows the keys of the logs.",
            ),
            click.option(
                "--root", type=_FILE, required=required, help="The registry's anchor, root.json."
            ),
            click.option("--for", "purpose", metavar="CODE", help="Purpose of the asking."),
        )
        return _with(asked, options)

    return decorate


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """The options by which mandates, the own server and the registry are named; what they say is
    the command's first argument.

    Raises:
        Problem: as :func:`read_mandates`, when the command is run.
    """

    @functools.wraps(command)
    def asked(
        *,
        mandates: tuple[Path, ...],
        way: Way,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        **more: Any,
    ) -> None:
        command(Question(read_mandates(mandates), way, _period(since, until), limit), **more)

    options: tuple[Options, ...] = (
        MANDATES,
        reached(required=True),
        click.option("--from", "since", type=Moment(), help="Not before this time (UTC)."),
        click.option("--until", type=Moment(), help="Before this time (UTC)."),
        click.option(
            "--limit",
            type=click.IntRange(1, 100_000),
            default=100,
            show_default=True,
            help="Entries of each server, the newest.",
        ),
        AS_JSON,
    )
    return _with(asked, options)


def _with(command: Callable[..., None], options: tuple[Options, ...]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


def read_mandates(paths: Iterable[Path]) -> list[Agreement]:
    """The mandates among some files and folders.

    Raises:
        Problem: ``AgreementInvalid`` for a file that is none; ``InvalidUsage`` when there is none.
    """
    files = [
        file for path in paths for file in (sorted(path.glob("*.jws")) if path.is_dir() else [path])
    ]
    found = [read_agreement(_read(file))[0] for file in files]
    mandates = [agreement for agreement in found if agreement.kind is Kind.AUDIT]
    if not mandates:
        raise Problem(
            Code.INVALID_USAGE, where="--mandate", detail="no agreement of kind audit is there"
        )
    return mandates


@asynccontextmanager
async def open_auditor(way: Way) -> AsyncIterator[Auditor]:
    """Connections to the own server, with the registry as it is now."""
    with tempfile.TemporaryDirectory(prefix="saphan-") as folder:
        view = await RegistryView.open(way.registry, _read(way.root), Path(folder))
        try:
            state = view.state
        finally:
            await view.close()
    pool, host = pool_to(way.via, way.cert, way.key, way.ca)
    try:
        yield Auditor(pool, host, state, way.purpose)
    finally:
        await pool.close()


def asked_rows(told: Iterable[Told], *, all_of_it: bool = False) -> list[dict[str, Any]]:
    """What each server did, as JSON; ``all_of_it``: all entries of a period were asked for."""
    rows = []
    for one in told:
        row: dict[str, Any] = {
            "organisation": str(one.agreement.provider),
            "server": str(one.server),
            "mandate": one.agreement.reference,
            "outcome": one.outcome.value,
            "entries": len(one.hits),
            "more": one.more,
        }
        if one.checkpoint is not None:
            row |= {"size": one.checkpoint.size, "root": one.checkpoint.root.hex()}
        if all_of_it:
            row["not_shown"] = [list(gap) for gap in one.gaps]
        if one.code:
            row |= {"problem": one.code, "detail": one.detail}
        rows.append(row)
    return rows


def print_asked(told: Iterable[Told], *, all_of_it: bool = False) -> None:
    """Who answered, and who did not; ``all_of_it`` as in :func:`asked_rows`."""
    click.echo("\nAsked:")
    for one in told:
        line = f"  {one.server}  {one.outcome}"
        if one.outcome is Outcome.PROVEN:
            size = one.checkpoint.size if one.checkpoint is not None else 0
            line += f"  {len(one.hits)} of a log of {size}" + (", and more" if one.more else "")
        else:
            line += f"  {one.code} {one.detail}"
        click.echo(plain(line))
        if all_of_it and one.gaps:
            runs = [f"{first}" if first == last else f"{first}-{last}" for first, last in one.gaps]
            click.echo(
                f"    not shown between them: {', '.join(runs[:MAX_RUNS])}"
                + (" …" if len(runs) > MAX_RUNS else "")
                + "; other members' entries, hidden, or left out"
            )


def all_proven(told: Iterable[Told]) -> bool:
    """Whether every organisation answered, and proved what it said."""
    return all(one.outcome is Outcome.PROVEN for one in told)


def _period(since: datetime | None, until: datetime | None) -> dict[str, str]:
    """The conditions of a period."""
    given = {"since": since, "until": until}
    return {name: format_time(moment) for name, moment in given.items() if moment is not None}


def subject_given(text: str) -> str:
    """A subject from the command line, or from a file; checked before it is sent to anybody.

    Raises:
        Problem: ``InvalidHeader`` when it is not written as it must be.
    """
    subject = _read(Path(text[1:])).decode("utf-8", "replace").strip() if text[:1] == "@" else text
    normal_subject(subject, "--subject")
    return subject
