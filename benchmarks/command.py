"""`saphan bench`: measure against a baseline in the same run."""

from __future__ import annotations

import click

from benchmarks.adapter import adapter
from benchmarks.evidence import evidence
from benchmarks.journal import journal
from benchmarks.once import once
from benchmarks.registry import registry
from benchmarks.roundtrip import roundtrip
from benchmarks.search import search
from benchmarks.transfer import transfer
from benchmarks.workload import workload


@click.group()
def bench() -> None:
    """Measure against a baseline in the same run; quote ratios, not single figures."""


bench.add_command(roundtrip)
bench.add_command(journal)
bench.add_command(workload)
bench.add_command(transfer)
bench.add_command(registry)
bench.add_command(evidence)
bench.add_command(search)
bench.add_command(once)
bench.add_command(adapter)
