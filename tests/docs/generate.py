"""The reference pages that are made from the code: settings, commands, problems.

``python -m tests.docs.generate`` writes them anew; tests/docs/test_docs.py holds them equal.
Nothing here reads the clock, the environment or the network, so that the text depends on the code
alone.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from console.cli.main import COMMANDS, main
from exchange.problems import CATALOGUE, Blame, Code
from mediator.settings import ServerSettings
from mediator.witness.settings import LoneWitnessSettings
from registry.settings import RegistrySettings
from serving.settings import table

ROOT = Path(__file__).resolve().parents[2]
MADE = "<!-- Made by `python -m tests.docs.generate`; do not edit. -->"

WHO_ACTS = {
    Blame.CALLER: "the caller",
    Blame.PROVIDER: "the provider of the service",
    Blame.PEER: "the operator of the other server",
    Blame.OPERATOR: "the operator of this server",
    Blame.NETWORK: "nobody yet: the network",
}


def settings_page() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        MADE,
        "",
        "A security server reads one YAML file (`saphan mediator serve FILE`). Nested settings are",
        "written with dots here; `[]` marks a list. Unknown keys are refused. Relative paths are",
        "relative to the folder of the file. `${NAME}` in a text is taken from the environment; a",
        "name that the environment lacks is refused. `–` means: not set.",
        "",
        "`saphan mediator settings` prints the same table; `saphan mediator check FILE` tries a",
        "file out. How to use them: [operators.md](operators.md).",
        "",
        "## Security server",
        "",
        *_settings_table(table(ServerSettings)),
        "",
        "## Registry",
        "",
        "`registry.yaml` in the registry's folder; `saphan registry settings` prints the same.",
        "",
        *_settings_table(table(RegistrySettings)),
        "",
        "## Witness that runs alone",
        "",
        "`saphan witness settings` prints the same; see [auditors.md](auditors.md).",
        "",
        *_settings_table(table(LoneWitnessSettings)),
    ]
    return _text(lines)


def commands_page() -> str:
    """docs/commands.md."""
    lines = [
        "# Commands",
        "",
        MADE,
        "",
        "`saphan COMMAND --help` says the same. Every command with `--json` prints one JSON",
        "document. A problem is told on standard error with its code, place, cause and next step",
        "([problems.md](problems.md)).",
        "",
        *_paragraphs(main),
        "",
    ]
    context = click.Context(main, info_name="saphan")
    for name, (_, _, sentence) in COMMANDS.items():
        command = load_command(name)
        if command is None:
            lines += [f"## saphan {name}", "", sentence, "", "Not in this version.", ""]
            continue
        for path, found, depth in walk(name, command):
            lines += _command(path, found, depth, context)
    return _text(lines)


def problems_page() -> str:
    """docs/problems.md."""
    lines = [
        "# Problems",
        "",
        MADE,
        "",
        "Every failure has one of these codes. Over HTTP the code is the last part of the member",
        "`type` and of the header `X-Road-Error`, after `Server.ClientProxy.` when the consumer's",
        "server raised it and `Server.ServerProxy.` when the provider's server did. `where` names",
        "the place, `remedy` the next step in English and Lao, `detail` the trace id that finds",
        "both sides' records. `saphan` prints the same on standard error and ends with code 1.",
        "",
        "*Retry* says whether the same request may succeed later without a change. The status is",
        "the usual one; a few raisers choose a closer one (405, 408, 414, 431, 501).",
        "",
        "| Code | Status | Who acts | Retry |",
        "|---|---|---|---|",
    ]
    for code in Code:
        entry = CATALOGUE[code]
        retry = "yes" if entry.retryable else "no"
        lines.append(
            f"| [{code.value}](#{code.value.lower()}) | {entry.status} "
            f"| {WHO_ACTS[entry.blame]} | {retry} |"
        )
    lines.append("")
    for code in Code:
        entry = CATALOGUE[code]
        lines += [
            f"## {code.value}",
            "",
            f"- Cause: {entry.cause.en}",
            f"- ສາເຫດ: {entry.cause.lo}",
            f"- Remedy: {entry.remedy.en}",
            f"- ວິທີແກ້ໄຂ: {entry.remedy.lo}",
            "",
        ]
    return _text(lines)


PAGES: dict[str, Callable[[], str]] = {
    "docs/settings.md": settings_page,
    "docs/commands.md": commands_page,
    "docs/problems.md": problems_page,
}


def load_command(name: str) -> click.Command | None:
    """The command of this name, or None while its module is not there."""
    module, attribute, _ = COMMANDS[name]
    try:
        command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        return None
    assert isinstance(command, click.Command)
    return command


def walk(
    path: str, command: click.Command, depth: int = 2
) -> Iterator[tuple[str, click.Command, int]]:
    """A command and everything below it, as (path, command, depth of its heading)."""
    yield path, command, depth
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in list(command.commands) or command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(f"{path} {name}", below, depth + 1)


def options_of(command: click.Command) -> list[tuple[str, str, str]]:
    """Arguments and options as (spelling, default, sentence)."""
    rows = []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            rows.append((_spelling(parameter), _default(parameter), parameter.help or ""))
        else:
            needed = "required" if parameter.required else "–"
            rows.append((f"{parameter.human_readable_name}", needed, ""))
    return rows


def _command(path: str, command: click.Command, depth: int, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=f"saphan {path}")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f"{'#' * depth} saphan {path}",
        "",
        f"`{context.command_path} {usage}`",
        "",
        *_paragraphs(command),
        "",
    ]
    rows = [row for row in options_of(command) if row[0].startswith("-")]
    if rows:
        lines += ["| Option | Default | Meaning |", "|---|---|---|"]
        lines += [f"| `{_cell(a)}` | {_cell(b)} | {_cell(c)} |" for a, b, c in rows]
        lines.append("")
    return lines


def _paragraphs(command: click.Command) -> list[str]:
    text = inspect.cleandoc(command.help or "").replace("\f", "").replace("\b\n", "")
    return text.splitlines()


def _spelling(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag or option.count:
        return names
    shown = option.metavar or option.type.name.upper()
    if isinstance(option.type, click.Choice):
        shown = "|".join(str(choice) for choice in option.type.choices)
    return f"{names} {shown}" + (" …" if option.multiple else "")


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    info = option.to_info_dict().get("default")
    if option.is_flag or option.multiple or callable(info) or info is None:
        return "–"
    return f"`{info}`"


def _settings_table(rows: list[tuple[str, str, str]]) -> list[str]:
    lines = ["| Setting | Default | Meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {_cell(default)} | {_cell(text)} |" for name, default, text in rows]
    return lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _text(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    for page, make in PAGES.items():
        (ROOT / page).write_text(make(), encoding="utf-8")
        print(f"{page} written")
