"""Checking texts that are filtered by: whether values are spelled as filters expect."""

from __future__ import annotations

from typing import Any

from adapters.fields import Field, Mismatch


def unfound(field: Field, value: Any) -> str:
    """Why no filter finds a stored value of a decoded or trimmed field; empty when one does.

    A value that cannot be read at all is told by who converts it.
    """
    raw = bytes(value) if isinstance(value, bytearray | memoryview) else value
    try:
        text = field.converter()(raw)
    except Mismatch:
        return ""
    if text is None:
        return ""
    if field.decode is None:
        blanks = isinstance(raw, str) and raw != raw.strip()
        words = "a filter may not find it: blanks stand around it; trim it in the SQL of the query"
        return words if blanks else ""
    try:
        found = raw in field.to_source(text)
    except Mismatch as mismatch:
        return f"no filter finds it: it {mismatch.rule}"
    return "" if found else "no filter finds it: a mark is typed twice, or old and new are mixed"
