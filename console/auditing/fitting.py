"""Fitting: whether what a server shows is what it was asked for.

An entry may be proven and yet be none that was asked about, be shown twice, or name what nobody
can read: a server that answers so is told of, and the other organisations' answers stand. What a
mandate does not show cannot be compared; by such members no question is asked either.

Not compared: whether an entry is of the subject that was asked about, of whom it has a tag alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.auditing import JOURNAL, Hit, told
from exchange.journal.entries import Kind, Side
from exchange.problems import Code, Problem

Shown = Mapping[str, Any]
_SAID: Final = frozenset({Kind.REQUEST, Kind.RESPONSE})
_OUTCOMES: Final[dict[str, Callable[[Shown, int], bool]]] = {
    "ok": lambda entry, status: (
        entry["kind"] in _SAID and entry.get("problem") is None and status < 400
    ),
    "refused": lambda entry, status: entry["kind"] == Kind.REFUSAL,
    "failed": lambda entry, status: (
        entry["kind"] == Kind.FAILURE or (entry["kind"] == Kind.RESPONSE and status >= 400)
    ),
}


def check_fits(hits: Iterable[Hit], seen: set[int], service: str, query: Mapping[str, str]) -> None:
    """Check the entries of a page against the question.

    Args:
        seen: the indexes that this server has shown before; those of the page are added.
        service: of the two that were asked, ``journal`` or ``usage``.
        query: its conditions, as they were sent.

    Raises:
        Problem: ``InconsistentResponse`` at the entry that does not fit, or comes again;
            ``InvalidDocument`` at one that no server writes.
    """
    for hit in hits:
        where = f"entry {hit.index}"
        if hit.index in seen:
            raise Problem(Code.INCONSISTENT_RESPONSE, where=where, detail="is shown twice")
        seen.add(hit.index)
        entry = told(hit)
        try:
            _read(entry, service)
            wrong = [name for name, wanted in query.items() if not _fits(entry, name, wanted)]
        except (Problem, KeyError, TypeError, ValueError) as error:
            raise Problem(
                Code.INVALID_DOCUMENT, where=where, detail=f"is no entry: {error}"
            ) from error
        if wrong:
            raise Problem(
                Code.INCONSISTENT_RESPONSE,
                where=where,
                detail=f"does not fit what was asked for: {', '.join(wrong)}",
            )


def _read(entry: Shown, service: str) -> None:
    """Read what others rely on; what is wrong raises."""
    _moment(entry)
    if service == JOURNAL:
        Kind(entry["kind"])
        Side(entry["side"])
    if entry.get("client") is not None:
        ApplicationId.parse(entry["client"], "client")
    if entry.get("service") is not None:
        ServiceId.parse(entry["service"], "service")


def _moment(entry: Shown) -> datetime:
    at = datetime.fromisoformat(entry["at"])
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at


def _fits(entry: Shown, name: str, wanted: str) -> bool:
    if name == "since":
        return _moment(entry) >= datetime.fromisoformat(wanted)
    if name == "until":
        return _moment(entry) < datetime.fromisoformat(wanted)
    if name == "member":
        parties = (entry.get("client"), entry.get("service"))
        return any(party is not None and party.startswith(f"{wanted}/") for party in parties)
    if name == "outcome":
        return _OUTCOMES[wanted](entry, entry.get("status") or 200)
    if name == "status":
        return str(entry.get("status")) == wanted
    return bool(entry.get(name) == wanted)
