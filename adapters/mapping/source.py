"""The ``source`` of a mapping file: a database address, or files, and what it may cost."""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from typing import Any

from adapters.mapping.model import Limits, SourceKind, SourceSettings, Wide
from adapters.mapping.reader import Node
from adapters.mapping.records import read_zone
from adapters.mapping.tables import read_file_table
from adapters.mapping.writes import WRITING_KEYS, read_writing
from adapters.sources.variables import VARIABLE

_ENVIRONMENT_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_WHOLE_LIMITS = {
    "max_connections": (1, 100),
    "max_waiting": (0, 10_000),
    "max_rows": (1, 10_000),
    "max_bytes": (1_000, 1 << 30),
    "max_request_bytes": (1_000, 1 << 20),
    "max_statements_per_hour": (0, 10**9),
    "large_table_rows": (1, 10**12),
    "failures_before_pause": (0, 1_000),
}
_SECONDS = {
    "statement_timeout_s": (0.05, 600),
    "connect_timeout_s": (0.05, 600),
    "longest_pause_s": (1, 600),
    "reading_wait_s": (0, 600),
}
LIMITS = (*_WHOLE_LIMITS, *_SECONDS)


def read_source(node: Node) -> SourceSettings:
    """Where the records are, and what may be asked of it."""
    found = node.members(
        ("kind",),
        (
            "url",
            "url_env",
            "tables",
            "wide_queries",
            "zone",
            "mask_key",
            "cursor_key",
            *WRITING_KEYS,
            *LIMITS,
        ),
    )
    kind = found["kind"].choice(SourceKind)
    wanted = ("url", "url_env") if kind is SourceKind.SQL else ("tables",)
    for key in ("url", "url_env", "tables"):
        if key in found and key not in wanted:
            found[key].refuse(f"has no meaning for a source of the kind {kind}")
    if kind is not SourceKind.SQL and "writes" in found:
        found["writes"].refuse("files are only read")
    given = [key for key in wanted if key in found]
    if len(given) != 1:
        node.refuse(f"exactly one of the keys {' and '.join(wanted)} is needed")
    url = ""
    if "url" in found:
        url = found["url"].text()
    elif "url_env" in found:
        url = "${" + found["url_env"].text(_ENVIRONMENT_NAME) + "}"
    tables = tuple(
        read_file_table(name, child)
        for name, child in (found["tables"].entries() if "tables" in found else {}).items()
    )
    return SourceSettings(
        kind,
        read_limits(found),
        url,
        tables,
        found["wide_queries"].choice(Wide) if "wide_queries" in found else Wide.WARN,
        node.where,
        zone=read_zone(found["zone"]) if "zone" in found else None,
        mask_key=read_key(found["mask_key"]) if "mask_key" in found else "",
        cursor_key=read_key(found["cursor_key"]) if "cursor_key" in found else "",
        writing=read_writing(found, _ENVIRONMENT_NAME),
    )


def read_key(node: Node) -> str:
    """``mask_key`` or ``cursor_key``: one in clear would be in every copy of the mapping."""
    text = node.text(longest=200)
    if not VARIABLE.fullmatch(text):
        node.refuse("must be a name of the environment, such as ${REGISTER_KEY}")
    return text


def read_limits(found: Map[str, Node]) -> Limits:
    """The limits among the keys of a source."""
    given: dict[str, Any] = {}
    for key, (low, high) in _WHOLE_LIMITS.items():
        if key in found:
            given[key] = found[key].integer(low, high)
    for key, bounds in _SECONDS.items():
        if key in found:
            given[key] = found[key].number(*bounds)
    return Limits(**given)
