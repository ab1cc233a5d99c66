"""Derives adapters/text/pairs.py from the Lao text of this repository.

``python -m tests.adapters.derive_pairs`` writes it anew. The text is what the program itself says
in Lao (problems, pages, schemas) and the made-up records of the reference world; no other corpus.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from exchange.lao import normalise

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = (
    "exchange/problems.py",
    "console/**/*.py",
    "console/**/*.yaml",
    "console/**/*.csv",
    "schemas/**/*.json",
    "registry/**/*.py",
    "mediator/**/*.py",
)
LEAST = 3
SHARE_OF_COMMON = 0.8


def runs() -> Iterator[str]:
    """Every run of Lao characters in the repository's own text."""
    for pattern in PATTERNS:
        for path in sorted(ROOT.glob(pattern)):
            text = normalise(path.read_text(encoding="utf-8")).text
            yield from re.findall("[\u0e80-\u0eff]+", text)


def counted() -> Counter[str]:
    """How often each pair of neighbours occurs."""
    return Counter(one + other for run in runs() for one, other in pairwise(run))


def tiers(pairs: Counter[str]) -> tuple[set[str], set[str]]:
    """The pairs that make up most of the text, and the others that are not accidents."""
    common: set[str] = set()
    covered, wanted = 0, SHARE_OF_COMMON * pairs.total()
    for pair, count in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        if covered >= wanted:
            break
        common.add(pair)
        covered += count
    return common, {pair for pair, count in pairs.items() if count >= LEAST} - common


def module() -> str:
    """The text of the module."""
    pairs = counted()
    common, known = tiers(pairs)
    lines = [
        '"""Pairs of neighbours in written Lao: the model of the detector.',
        "",
        "Derived from the Lao text of this repository alone: what the program says, and the",
        f"reference world; {pairs.total():,} pairs. ``COMMON`` are those that make up",
        f"{SHARE_OF_COMMON:.0%} of it, ``KNOWN`` the others that occur at least {LEAST} times.",
        "Each line: a character and what may follow it.",
        "Made by ``python -m tests.adapters.derive_pairs``; do not edit.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "",
        "def _pairs(text: str) -> frozenset[str]:",
        "    return frozenset(line[0] + other for line in text.split() for other in line[1:])",
        "",
    ]
    for name, chosen in (("COMMON", common), ("KNOWN", known)):
        lines += ["", f'{name}: Final = _pairs("""']
        for first in sorted({pair[0] for pair in chosen}):
            lines.append(first + "".join(sorted(pair[1] for pair in chosen if pair[0] == first)))
        lines.append('""")')
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "adapters" / "text" / "pairs.py").write_text(module(), encoding="utf-8")
