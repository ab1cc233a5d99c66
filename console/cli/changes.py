"""`saphan adapter changes`: what was created, changed and removed in a source, as JSON lines."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections import Counter
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from console.cli.printing import plain
from exchange.problems import Code, Problem

# What the next look may find mended; anything else ends the command.
_PASSING = frozenset(
    {
        Code.SOURCE_FAILED,
        Code.BACKEND_TIMEOUT,
        Code.OVERLOADED,
        Code.QUERY_TOO_WIDE,
        Code.TOO_MANY_REMOVED,
    }
)


@click.command()
@click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("name", required=False)
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to keep what was told. Without it: MAPPING.NAME.state, beside the mapping.",
)
@click.option(
    "--agreement",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Tell what is released under the agreement in this file, sealed by both parties.",
)
@click.option("--list", "path", help="Of several lists that it opens, the one meant: /books.")
@click.option("--purpose", help="Tell what is seen for this purpose.")
@click.option("--client", help="Tell what this application of your own organisation sees.")
@click.option("--follow", is_flag=True, help="Go on until SIGTERM or SIGINT.")
@click.option(
    "--since",
    metavar="POSITION",
    help="With a new state: 'now' tells nothing of what is there already; with a watermark, a "
    "mark tells what was marked from then on.",
)
@click.option(
    "--accept-removals", is_flag=True, help="Tell removals, however many records are missing."
)
@click.option(
    "--owner-sql", is_flag=True, help="Only print what the owner of the database installs."
)
def changes(
    mapping: Path,
    name: str | None,
    state_file: Path | None,
    agreement: Path | None,
    path: str | None,
    purpose: str | None,
    client: str | None,
    follow: bool,
    since: str | None,
    accept_removals: bool,
    owner_sql: bool,
) -> None:
    """Tell what has changed in the source of MAPPING since the last time.

    NAME is one of the mapping's `changes`; it may be left out when there is only one. Each line on
    standard output is an event (CloudEvents 1.0, JSON) of the type saphan.record.created, .changed,
    .removed, or .refused for a row that does not fit the mapping. The first time, every record is
    told as created.

    \b
    saphan adapter changes library.yaml books --state books.state >> events.jsonl

    Another organisation is told under an --agreement: of the rows that it opens, the fields that
    it releases, for as long as it holds. Give the file as your server has it. A record that is
    not seen any more is removed, one that is seen from now on created; a change of what is not
    released is no event. Each audience has a state of its own, which --state names.

    An event is told at least once: what was written when the command ended, and was not yet
    noted, is told again with the same id.

    Exit codes: 0 all is told; 1 it could not be; 2 wrong usage.
    """
    from adapters.answers.layout import profile
    from adapters.changes import opening
    from adapters.changes.views import EVERYBODY
    from console.cli.audience import audience as audience_of
    from serving import logs, runtime

    logs.configure(logs.LogLevel.ERROR)
    read, chosen = opening.read(mapping, name)
    if owner_sql:
        click.echo(opening.sql_for_owner(read, chosen, os.environ))
        click.echo(
            "Next: run it with the database's own client, as the owner of the tables.", err=True
        )
        return

    def whom() -> Any:
        given: Any = {"client": client, "purpose": purpose, "agreement": agreement, "path": path}
        return audience_of(read, chosen, **given)

    audience = whom()
    if audience != EVERYBODY and state_file is None:
        raise click.UsageError("--state is needed, too: each audience has a state of its own")
    file = state_file or mapping.with_name(f"{mapping.name}.{chosen.name}.state")
    told: Counter[str] = Counter()

    async def main(stop: asyncio.Event) -> None:
        from adapters.changes.rounds import Feed
        from adapters.changes.state import State
        from adapters.sources.source import Source

        source = Source(read.source, os.environ, mapping.parent).lease()
        waiter = opening.waiter(read, chosen, os.environ)
        try:
            with State(file, opening.state_of(read, chosen, audience)) as state:
                feed = Feed(
                    chosen,
                    source,
                    read.source.limits,
                    state,
                    audience=audience,
                    zone=read.source.zone,
                    since=since,
                    accept_removals=accept_removals,
                )
                # A record that is masked or cut need not keep the schema of the whole one.
                record = chosen.query.record
                cut = audience.granted is not None and audience.granted.members is not None
                schema = None if cut or profile(record, audience.caller) else record.schema
                tell = _Teller(opening.owner_of(read, chosen), schema, told)
                while not await _round(feed, tell, stop, follow=follow):
                    await _pause(waiter, stop, chosen.poll_s)
                    feed.tell(whom())  # as the agreement is now
        finally:
            await waiter.close()
            await source.close()

    try:
        runtime.run(main)
    except BrokenPipeError:  # whoever reads has gone: what it did not get is told again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    counted = ", ".join(f"{number:,} {word}" for word, number in sorted(told.items()))
    click.echo(f"{counted or 'Nothing has changed'}. Next: run it again, or --follow.", err=True)


class _Teller:
    """Writes events, and only then lets them be noted as told."""

    def __init__(self, owner: str, schema: str | None, told: Counter[str]) -> None:
        self._owner, self._schema, self._told = owner, schema, told
        self._out = sys.stdout.buffer
        self._regular = False
        with suppress(OSError):  # a stream that is no file has no number
            self._regular = stat.S_ISREG(os.fstat(self._out.fileno()).st_mode)
        if self._regular and _is_torn(self._out.fileno()):
            # What a crash or a full disk left of a line must not swallow the first event.
            self._out.write(b"\n")

    def __call__(self, events: Any) -> None:
        if not events:
            return
        now = datetime.now(UTC)
        for event in events:
            self._out.write(event.line(self._owner, now, self._schema) + b"\n")
            self._told[event.told] += 1
        self._out.flush()
        if self._regular:
            os.fsync(self._out.fileno())


def _is_torn(descriptor: int) -> bool:
    """Whether a file that is written has an end that is not that of a line."""
    # It may be open for writing alone, so it is opened by what the system knows it by.
    with suppress(OSError), open(f"/proc/self/fd/{descriptor}", "rb") as file:
        return (
            file.seek(0, os.SEEK_END) > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
        )
    return False


async def _round(feed: Any, tell: _Teller, stop: asyncio.Event, *, follow: bool) -> bool:
    """Tell what has changed; whether that is all."""
    try:
        async with aclosing(feed.round()) as batches:
            async for batch in batches:
                tell(batch.events)
                feed.acknowledge(batch)
                if stop.is_set():
                    return True
    except Problem as problem:
        if not follow or problem.code not in _PASSING:
            raise
        click.echo(plain(f"{problem}; it is looked at again"), err=True)
    return not follow or stop.is_set()


async def _pause(waiter: Any, stop: asyncio.Event, seconds: float) -> None:
    """Until it is worth looking again, or the end."""
    tasks = [asyncio.ensure_future(one) for one in (waiter.wait(seconds), stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
