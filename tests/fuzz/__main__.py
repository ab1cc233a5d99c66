"""Fuzz for longer: ``python -m tests.fuzz --seconds 600 [--target requests]``.

Targets take turns. A finding is printed, shrunk, and kept in tests/fuzz/corpus under its target,
where the tests replay it once it is committed; a stream as ``refused-found-…``, to be renamed when
it should be taken. Exit status 1 says that there was one.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import TARGETS, Target, keep

ROUND = 500


def main() -> int:
    """Run rounds until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for how long (default 600)")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one")
    parser.add_argument("--seed", type=int, default=time.time_ns(), help="of the first round")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    until, number, counts, found = time.monotonic() + options.seconds, options.seed, Counter(), 0
    for name in cycle(names):
        if time.monotonic() >= until or found >= 10:
            break
        number += 1
        found += not _round(name, TARGETS[name], number, counts)
    for name in names:
        print(f"{name}: {counts[name]} examples, {counts[name, True]} of them taken")
    print(f"findings: {found}; seeds {options.seed + 1} to {number}")
    return 1 if found else 0


def _round(name: str, target: Target, number: int, counts: Counter[Any]) -> bool:
    last: list[Any] = []

    @seed(number)
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(target.inputs)
    def hold(example: Any) -> None:
        last[:] = [example]
        counts[name] += 1
        counts[name, bool(target.check(example))] += 1

    try:
        hold()
    except Exception:
        print(f"--- {name}, seed {number}: {last[0]!r}", file=sys.stderr)
        traceback.print_exc()
        print(f"kept as {keep(name, last[0])}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
