"""Recipes of a page: sections that are run as they stand.

A section whose heading begins with "Recipe: " is a recipe. It is run in an empty folder, one fenced
block after the other. What stands after the three strokes says what a block is:

``console``
    commands and what they print, standard output and error as on a terminal. A line ``$ …`` is a
    command (one that ends with a backslash goes on in the next line); the lines below it are all
    that it prints. A line ``…`` stands for any number of lines, ``…`` within a line for anything.
    A command must end with 0, or with what a last line ``[exit code 1]`` says. ``$ COMMAND &``
    starts a server, which must begin with the lines below it and is ended (SIGTERM) after the
    recipe. ``export NAME=VALUE`` holds for the commands that follow.
``yaml NAME``, ``json NAME``, ``xml NAME`` …
    a file of this name and content.
``yaml NAME +``
    the same lines must stand in the file NAME, which a command has written.
``csv NAME ENCODING``
    a file in an encoding that Python or Saphan knows; without one UTF-8.
``csv NAME.xlsx``, ``.xls``, ``.ods``, ``.dbf``
    a table of that format with these rows (:mod:`tests.docs.tables`). Of dBASE the first line has
    the fields with their types.
``sql NAME``
    statements by which the owner of a source made it: NAME ends with ``.db`` (a SQLite file), or is
    ``postgresql`` or ``mariadb``: a server of this kind, whose address stands for
    ``10.1.2.3:5432/office`` or ``10.1.2.3:3306/office`` in the recipe.

Whatever else a recipe needs (a server of another kind, a binary file) is made by a function of
:mod:`tests.docs.recipe_sources`, found by the recipe's name. Ports 8080 to 8099 stand for free
ones.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from console.reference_world.processes import free_ports
from tests.docs.generate import ROOT

DEADLINE_S = 60
ANY = "…"
_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
_EXIT = re.compile(r"\[exit code (\d+)\]")
_PORT = re.compile(r"\b80[89][0-9]\b")
_SHELL = re.compile(r"[|<>&;*?`(){}~]|\$\(")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its mark, the words after it, and its text."""

    kind: str
    words: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """A section of a page."""

    name: str
    blocks: tuple[Block, ...]


def read_recipes(page: Path) -> list[Recipe]:
    """The recipes of ``page``, in their order."""
    found = []
    for section in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if not heading.startswith("Recipe: "):
            continue
        blocks = []
        for mark, content in _FENCE.findall(text):
            kind, *words = mark.split() or [""]
            blocks.append(Block(kind, tuple(words), content))
        found.append(Recipe(heading.removeprefix("Recipe: "), tuple(blocks)))
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """A command, what it prints, and how it ends."""

    command: str
    printed: tuple[str, ...]
    exit_code: int = 0


def steps_of(block: Block) -> Iterator[Step]:
    """The commands of a ``console`` block."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    assert lines, "an empty block"
    assert lines[0].startswith("$ "), "a block of commands begins with one"
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        printed = lines[start + 1 : end]
        code = _EXIT.fullmatch(printed[-1]) if printed else None
        if code is not None:
            printed = printed[:-1]
        yield Step(lines[start][2:], tuple(printed), int(code[1]) if code else 0)


def matches(expected: tuple[str, ...], printed: list[str]) -> bool:
    """Whether ``printed`` is what was expected, ``…`` standing for anything."""
    pattern = "".join(
        r"(?:[^\n]*\n)*" if line.strip() == ANY else _line(line) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def _line(line: str) -> str:
    return r"[^\n]*".join(re.escape(part) for part in line.rstrip().split(ANY))


def plain_words(command: str) -> tuple[list[str], str | None]:
    """The words of a command of ours and the file that it prints to; none where it is another's or
    needs a shell."""
    plain, _, target = command.partition(" > ")
    if not command.startswith("saphan ") or _SHELL.search(re.sub(r"'[^']*'", "", plain)):
        return [], None
    rest = os.path.expandvars(plain.removeprefix("saphan "))
    return [sys.executable, "-m", "console.cli.main", *shlex.split(rest)], target or None


def write_command(folder: Path) -> None:
    """Make ``folder`` and in it `saphan`, for a shell's ``PATH``."""
    folder.mkdir()
    path = folder / "saphan"
    program = f'{sys.executable} -m console.cli.main "$@"'
    path.write_text(f"#!/bin/sh\nPYTHONPATH=$PYTHONPATH:{ROOT} exec {program}\n")
    path.chmod(0o755)


class Terminal:
    """Runs the steps of one recipe in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replaced: dict[str, str] = {}
        self._environment = dict(os.environ) | {"COLUMNS": "100"}
        self._servers: list[subprocess.Popen[str]] = []

    def local(self, text: str) -> str:
        """``text`` of the page with what stands here for its addresses and ports."""
        for port in sorted(set(_PORT.findall(text))):
            if port not in self.replaced:
                self.replaced[port] = str(free_ports(1)[0])
        for word, stand_in in self.replaced.items():
            text = text.replace(word, stand_in)
        return text

    def run(self, step: Step) -> None:
        """Run a command; what it prints and how it ends must be as the page says."""
        command = self.local(step.command)
        expected = tuple(map(self.local, step.printed))
        if command.endswith(" &"):
            self._serve(command.removesuffix(" &"), expected)
            return
        if command.startswith("export "):
            for word in shlex.split(command)[1:]:
                name, _, value = word.partition("=")
                self._environment[name] = value
            return
        words, target = self._words(command)
        with printing_to(self.folder, target) as output:
            done = subprocess.run(
                words, cwd=self.folder, env=self._environment, text=True, check=False,
                stdout=output or subprocess.PIPE, timeout=DEADLINE_S,
                stderr=subprocess.PIPE if output else subprocess.STDOUT,
            )  # fmt: skip
        printed = ((done.stderr if target else done.stdout) or "").splitlines()
        said = f"$ {command}\n" + "\n".join(printed)
        assert done.returncode == step.exit_code, said
        assert matches(expected, printed), f"{said}\n--- the page says:\n" + "\n".join(expected)

    def _words(self, command: str) -> tuple[list[str], str | None]:
        """The words of a command and the file that it prints to. One of ours is started as tests
        start them, without a shell, where it needs none."""
        words, target = plain_words(command)
        if words:
            return words, target
        commands = self.folder.parent / "commands"
        if not commands.exists():
            write_command(commands)
            self._environment["PATH"] = f"{commands}:{self._environment['PATH']}"
        return ["bash", "-euo", "pipefail", "-c", command], None

    def _serve(self, command: str, expected: tuple[str, ...]) -> None:
        words, _ = self._words(command)
        process = subprocess.Popen(
            words, cwd=self.folder, env=self._environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._servers.append(process)
        assert process.stdout is not None
        printed: list[str] = []
        while not matches(expected, printed):
            line = process.stdout.readline()
            assert line, f"$ {command} &\n" + "\n".join(printed)
            printed.append(line.rstrip("\n"))

    def stop(self) -> None:
        """End the servers; each must end well."""
        for process in reversed(self._servers):
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0, said


@contextmanager
def printing_to(folder: Path, target: str | None) -> Iterator[IO[str] | None]:
    if target is None:
        yield None
    else:
        with (folder / target).open("w", encoding="utf-8") as file:
            yield file
