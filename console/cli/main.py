"""`saphan`: one command, a group of subcommands for each task.

Subcommands are imported when they are called, so that a server does not carry the demo in memory.
Exit codes: 0 done, 1 a problem (its code, cause and remedy on standard error), 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import orjson

from exchange.problems import Code, Problem
from serving import logs

# name -> (module, attribute, one line of help)
COMMANDS = {
    "demo": ("console.cli.demo", "demo", "Build the reference world and play its story."),
    "mediator": ("console.cli.mediator", "mediator", "Run a security server."),
    "registry": ("console.cli.registry", "registry", "Run the registry, register and approve."),
    "schema": ("console.cli.schema", "schema", "Compare, check and try schemas and services."),
    "apply": (
        "console.cli.apply",
        "apply",
        "Bring a member to what a file describes; the difference first.",
    ),
    "agreement": (
        "console.cli.agreement",
        "agreement",
        "Draft, seal, pin, try, renew, revoke agreements.",
    ),
    "instance": (
        "console.cli.instance",
        "instance",
        "Serve an instance from GovStack's configuration document.",
    ),
    "adapter": ("console.cli.adapter", "adapter", "Wrap a legacy source as a service."),
    "text": ("console.cli.text", "text", "Convert Lao text from before Unicode."),
    "call": ("console.cli.call", "call", "Call a service through your security server."),
    "audit": ("console.cli.audit", "audit", "Search, show, export and verify journals."),
    "once": ("console.cli.once", "once", "How far the instance asks people once."),
    "witness": ("console.cli.witness", "witness", "Run a witness alone, for an auditor."),
    "archive": ("console.cli.archive", "archive", "Archive a journal, check, restore."),
    "certs": ("console.cli.certs", "certs", "Create, show and renew development certificates."),
    "govstack-harness": (
        "console.cli.govstack_harness",
        "govstack_harness",
        "Answer GovStack's test suite.",
    ),
    "bench": ("benchmarks.command", "bench", "Measure against a baseline in the same run."),
}


INTERRUPTED = 130


class ProblemShown(click.ClickException):
    """A problem as a person reads it: code, place, cause, next step."""

    def __init__(self, problem: Problem, *, exit_code: int = 1) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.exit_code = exit_code  # type: ignore[misc]  # click: one per class
        self.as_json = "--json" in sys.argv

    def show(self, file: Any = None) -> None:
        """Print to standard error."""
        problem = self.problem
        entry = problem.entry
        if self.as_json:
            members = {
                "type": problem.code.value,
                "where": problem.where,
                "detail": problem.detail,
                "facts": problem.facts,
                "cause": entry.cause.as_dict(),
                "remedy": entry.remedy.as_dict(),
            }
            click.echo(orjson.dumps(members).decode(), err=True)
            return
        place = f" at {problem.where}" if problem.where else ""
        click.echo(f"{problem.code}{place}: {problem.detail or entry.cause.en}", err=True)
        click.echo(f"  {entry.cause.en}", err=True)
        click.echo(f"  Next: {entry.remedy.en}", err=True)
        click.echo(f"  ຂັ້ນຕອນຕໍ່ໄປ: {entry.remedy.lo}", err=True)


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _shown():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _shown():
            return super().invoke(ctx)


@contextmanager
def _shown() -> Iterator[None]:
    """Have what a person can mend shown as a problem, and an interruption as one."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise ProblemShown(_usage(error), exit_code=error.exit_code) from error
    except KeyboardInterrupt:
        click.echo("Interrupted · ຖືກຢຸດກາງຄັນ", err=True)
        sys.exit(INTERRUPTED)
    except (Problem, ExceptionGroup, OSError) as error:
        problem = _problem_of(error)
        if problem is None:
            raise
        raise ProblemShown(problem) from error


def _usage(error: click.UsageError) -> Problem:
    """Wrong usage, with the place and how the command is called."""
    context = error.ctx
    detail, where = error.format_message(), ""
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        hint = error.param_hint or (error.param and error.param.get_error_hint(context))
        where = (hint if isinstance(hint, str) else " ".join(hint or ())).replace("'", "")
        detail = error.message
    if context is not None:
        where = where or context.command_path
        detail = f"{detail.rstrip('.')}. {context.get_usage()}"
    return Problem(Code.INVALID_USAGE, where=where, detail=" ".join(detail.split()))


def _problem_of(error: BaseException) -> Problem | None:
    """What a person can mend: a problem, one alone in a group, or a file that is not as it must be.

    A server that cannot start fails inside the group of its background tasks.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, Problem):
        return error
    if isinstance(error, OSError) and (error.filename is not None or error.errno == errno.ENOSPC):
        file = error.filename
        return Problem(
            Code.INVALID_USAGE,
            where="" if file is None else os.fsdecode(file),
            detail=os.strerror(error.errno) if error.errno else str(error),
        )
    return None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="saphan", prog_name="saphan")
def main() -> None:
    """Saphan (ສະພານ): exchange records between organisations, signed, recorded and provable.

    Exit codes: 0 done; 1 a problem, explained on standard error; 2 wrong usage; 130 interrupted.
    """
    # Standard output is the command's answer alone; what serves sets its own level.
    logs.configure(logs.LogLevel.WARNING)


if __name__ == "__main__":
    main()
