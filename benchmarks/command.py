"""`saphan bench`: measure against a baseline in the same run."""

from __future__ import annotations

import click

from benchmarks.journal import journal
from benchmarks.roundtrip import roundtrip


@click.group()
def bench() -> None:
    """Measure against a baseline in the same run; quote ratios, not single figures."""


bench.add_command(roundtrip)
bench.add_command(journal)
