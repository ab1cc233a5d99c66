"""The reference world: legacy databases with made-up records, and the mappings over them.

What is here has the shape of real registers and the content of none: every project, amount,
enterprise and non-governmental organisation is generated. Names of donor agencies are those of
kinds of agencies that work in the country; nothing said of them here is a fact.
"""

from __future__ import annotations

from pathlib import Path

MAPPINGS = Path(__file__).parent / "mappings"
