"""Whether the values that were seen can be answered, and what else becomes of a column.

What a driver makes of a column may be nothing that JSON has: arrays, intervals, infinite numbers,
bytes. The database makes a text of it where that says the same; what is binary is left out. Either
is told: nothing breaks the first answer that was not announced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, Final
from uuid import UUID

import orjson

from adapters.answers.columns import column_converter, types_of
from adapters.fields import Kind, Mismatch
from adapters.mapping.reader import parse
from adapters.mapping.records import read_field
from adapters.scan.found import FoundColumn
from adapters.scan.inferring import DoubtCode, Proposal

_BINARY: Final = re.compile(r"(.*BLOB|BYTEA|(VAR|LONG ?VAR)?BINARY|IMAGE|RAW)(?![A-Z])", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# What text of them is the value itself, as str() writes it.
_SCALARS: Final = {str, int, float, Decimal, bool, date, datetime, time, UUID, bytes} | {
    *(IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network),
}
_BITS: Final = re.compile(r"BIT(\(\d+\))?$", re.ASCII)


def fit(
    column: FoundColumn, values: Sequence[Any], proposal: Proposal, as_text: str, *, by_it: bool
) -> Proposal:
    """``proposal`` where all values can be answered, else another.

    Args:
        column: what the source says of it.
        values: a few of its values.
        proposal: what was inferred.
        as_text: what makes a text of a column in the source's SQL; none where it cannot.
        by_it: whether records are asked for or ordered by the column.
    """
    known = [value for value in values if value is not None]
    word = column.type.upper()
    if column.unread and not known:
        return _left_out(proposal, f"the driver cannot read it: {column.unread}")
    if _is_binary(word, known):
        if _BITS.match(word) and as_text:
            proposal.sql, proposal.kind = "{} + 0", Kind.INTEGER
            return proposal
        return _left_out(proposal, "bytes that are no text: show what is in them by a view")
    if column.unread:
        return _text(proposal, as_text, f"the driver cannot read some values: {column.unread}")
    strange = sorted({type(value).__name__ for value in known if type(value) not in _SCALARS})
    if strange:
        return _text(proposal, as_text, f"values of the type {', '.join(strange)}")
    wrong = _mismatch(proposal, known)
    if wrong:
        return _text(proposal, as_text, f"of the sampled values, one {wrong}")
    if by_it and word.startswith(("ENUM", "TIME", "SET")) and not word.startswith("TIMESTAMP"):
        proposal.sql = as_text or "{}"  # compared as it is answered
    return proposal


def _is_binary(word: str, known: Sequence[Any]) -> bool:
    found = [bytes(value) for value in known if isinstance(value, bytes | bytearray | memoryview)]
    if not known:
        return _BINARY.match(word) is not None
    return any(not _is_text(value) for value in found)


def _is_text(value: bytes) -> bool:
    try:
        return _CONTROL.search(value.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def _left_out(proposal: Proposal, why: str) -> Proposal:
    proposal.refused = why
    proposal.doubts = []
    proposal.doubt(DoubtCode.LEFT_OUT, f"left out: {why}")
    return proposal


def _text(proposal: Proposal, as_text: str, why: str) -> Proposal:
    """A text in the words of the database, with what was doubted of the column itself."""
    if not as_text:
        return _left_out(proposal, why)
    about = (DoubtCode.PERSONAL, DoubtCode.SECRET)
    doubts = [doubt for doubt in proposal.doubts if doubt.code in about]
    made = Proposal(Kind.STRING, doubts=doubts, sql=as_text)
    made.doubt(DoubtCode.AS_TEXT, f"given as text: {why}")
    return made


def _mismatch(proposal: Proposal, known: Sequence[Any]) -> str:
    """The rule that a value breaks as a value of the proposed field, if one does."""
    keys = orjson.dumps({"type": str(proposal.kind), **proposal.keys})
    field = read_field("x", parse(keys, "proposal"), {})
    if field.decode is not None:
        return ""  # what cannot be decoded is an owner's question
    try:
        column_converter(field)(known, types_of(known))
    except Mismatch as mismatch:
        return mismatch.rule
    return ""
