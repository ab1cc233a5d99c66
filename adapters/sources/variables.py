"""``${NAME}`` in addresses and paths of a mapping, taken from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exchange.problems import Code, Problem

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


def resolve(text: str, environ: Mapping[str, str], where: str) -> str:
    """``text`` with each ``${NAME}`` replaced by the environment's value.

    Raises:
        Problem: ``InvalidMapping`` when a name is not in the environment or empty.
    """

    def value(match: re.Match[str]) -> str:
        found = environ.get(match[1], "")
        if not found:
            detail = f"the environment has no value for {match[1]}"
            raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
        return found

    return VARIABLE.sub(value, text)
