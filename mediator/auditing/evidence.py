"""The evidence of one exchange for an auditor whose mandate shows its content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from exchange.evidence import asic
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from mediator.journal.export import Chosen
from mediator.journal.reader import JournalReader
from mediator.pages.evidence import Evidence
from serving.backends import Headers

MAX_ENTRIES: Final = 64
MAX_BYTES: Final = 16 * 1024 * 1024
_EXCHANGE: Final = ("id", "client", "service")
_ASIC: Final[Headers] = (("content-type", asic.MIMETYPE),)


def evidence_of(
    reader: JournalReader,
    index: int,
    entry: Mapping[str, Any],
    shows: Callable[[dict[str, Any]], bool],
    member: MemberId,
    evidence: Evidence,
) -> tuple[Headers, bytes]:
    """The exchange to which an entry belongs, as ``saphan audit export`` makes it; reads files.

    Args:
        shows: whether the mandate shows another entry of the exchange.
        member: who is audited, and signs the container.

    Raises:
        Problem: ``QueryTooWide`` when there is more of it than one answer may hold;
            ``JournalCorrupt``.
    """
    chosen, size = [], 0
    for place in _of_exchange(reader, index, entry):
        found = orjson.loads(reader.entry(place))
        if place != index and (_exchange(found) != _exchange(entry) or not shows(found)):
            continue
        chosen.append(Chosen(reader, place))
        size += found.get("sealed", {}).get("size", 0)
        if len(chosen) > MAX_ENTRIES or size > MAX_BYTES:
            raise Problem(
                Code.QUERY_TOO_WIDE,
                where="path",
                detail=f"the exchange has more than {MAX_ENTRIES} entries or {MAX_BYTES} bytes; "
                "have it exported at the organisation",
            )
    return _ASIC, evidence.container(chosen, member)


def _of_exchange(reader: JournalReader, index: int, entry: Mapping[str, Any]) -> list[int]:
    if entry.get("id") is None:
        return [index]
    places = {place for place, _ in reader.of_message(entry["id"])}
    return sorted(places | {index})


def _exchange(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(name) for name in _EXCHANGE)
