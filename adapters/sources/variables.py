"""``${NAME}`` in addresses and paths of a mapping, taken from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exchange.problems import Code, Problem

SHORTEST_KEY = 16
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)


def resolve(text: str, environ: Mapping[str, str], where: str) -> str:
    """``text`` with each ``${NAME}`` replaced by the environment's value.

    Raises:
        Problem: ``InvalidMapping`` when a name is not in the environment or empty.
    """

    def value(match: re.Match[str]) -> str:
        found = environ.get(match[1], "")
        if not found:
            detail = f"the environment has no value for {match[1]}: export {match[1]}=… first"
            raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
        return found

    return VARIABLE.sub(value, text)


def resolve_key(text: str, environ: Mapping[str, str], where: str) -> bytes:
    """The key that ``text`` names; empty where it names none.

    Raises:
        Problem: ``InvalidMapping`` for a missing ``${NAME}``, or a key that is too short.
    """
    key = resolve(text, environ, where).encode()
    if text and len(key) < SHORTEST_KEY:
        detail = f"the value of {text} is shorter than {SHORTEST_KEY} bytes"
        raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
    return key
