"""How commands print: JSON, text from outside, progress."""

from __future__ import annotations

import sys
import time
from typing import Self

import click
import orjson


class Progress:
    """Says on standard error how far something is, once it takes longer than a second."""

    def __init__(self) -> None:
        self._next = time.monotonic() + 1
        self._shown = False

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 0.5
        self._shown = True
        share = f" ({100 * done // total} %)" if total else ""
        click.echo(f"\r{what}: {done:,} of {total:,}{share}   ", nl=False, err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        if self._shown:
            click.echo(err=True)


class Count:
    """Counts; on standard error, too, when a person looks at it."""

    def __init__(self, what: str, *, hidden: bool) -> None:
        self.count = 0
        self._what = what
        self._shown = sys.stderr.isatty() and not hidden

    def __call__(self, more: int) -> None:
        self.count += more
        if self._shown:
            click.echo(f"\r{self.count} {self._what}", nl=False, err=True)

    def end(self) -> None:
        if self._shown and self.count:
            click.echo("", err=True)


def print_json(document: object) -> None:
    """Print one document as JSON, indented."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def plain(text: str) -> str:
    """Text from outside without what a terminal would obey.

    The zero-width space stays: Lao text has it between words.
    """
    return "".join(c if c.isprintable() or c in "\n\t\u200b" else "\ufffd" for c in text)
