"""Maintenance: while it lasts, messages of other servers are refused with a notice.

The calls of the own applications go on: what is maintained is what this server offers. A refusal
is signed and recorded like any other, and says that nothing was done with the message, so that
another server of the provider can take it.

Invariants:
- what the administration said survives a restart: it is a file that is replaced whole and made
  durable before the answer; a file that cannot be read keeps the server from starting;
- without such a file the setting ``maintenance`` says how the server starts; ending the
  maintenance that the setting began holds until the next start;
- it ends when the administration ends it; the announced end only says when to try again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any, Final

import orjson

from exchange.documents import Node, format_moment, parse_document
from exchange.problems import ACTED, Code, Problem
from serving.clock import Clock
from serving.durable_files import replace_file, sync_folder

MAX_NOTICE: Final = 500
MAX_BYTES: Final = 8192
RETRY_AFTER_S: Final = 60
MAX_RETRY_AFTER_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Notice:
    """What the callers read, since when it holds, and when its end is expected."""

    text: str
    since: datetime
    until: datetime | None


def parse_order(data: bytes, since: datetime) -> Notice:
    """The body of the administration's order: ``notice``, and ``until`` where the end is known.

    Raises:
        Problem: ``InvalidDocument`` with the place; for an end that is over already, too.
    """
    fields = parse_document(data, MAX_BYTES, "maintenance").members(
        frozenset({"notice"}), frozenset({"until"})
    )
    text, node = _text(fields["notice"]), fields.get("until")
    until = None if node is None else node.moment()
    if node is not None and until is not None and until <= since:
        raise node.refuse(f"is over: it is {format_moment(since)} now")
    return Notice(text, since, until)


class Maintenance:
    """Whether this server is in maintenance; made by :meth:`open`."""

    def __init__(self, path: Path, clock: Clock, notice: Notice | None) -> None:
        self._path = path
        self._clock = clock
        self.notice = notice

    @classmethod
    def open(cls, path: Path, clock: Clock, setting: str | None) -> Maintenance:
        """Take up what the administration said last; else what the setting says.

        Raises:
            Problem: ``InvalidDocument`` when the file is damaged; ``InvalidSettings`` when the
                setting is no notice.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            if setting is None:
                return cls(path, clock, None)
            if not setting.strip() or len(setting) > MAX_NOTICE or not setting.isprintable():
                raise Problem(
                    Code.INVALID_SETTINGS,
                    where="maintenance",
                    detail=f"a notice is one line of 1 to {MAX_NOTICE} characters",
                ) from None
            return cls(path, clock, Notice(setting, clock.now(), None))
        fields = parse_document(data, MAX_BYTES, str(path)).members(
            frozenset({"notice", "since"}), frozenset({"until"})
        )
        until = fields.get("until")
        return cls(
            path,
            clock,
            Notice(
                _text(fields["notice"]),
                fields["since"].moment(),
                None if until is None else until.moment(),
            ),
        )

    def check(self) -> None:
        """Let a message of another server in.

        Raises:
            Problem: ``MaintenanceMode`` with the notice.
        """
        notice = self.notice
        if notice is None:
            return
        facts: dict[str, Any] = {ACTED: False, "retry_after_s": RETRY_AFTER_S}
        if notice.until is not None:
            left_s = ceil((notice.until - self._clock.now()).total_seconds())
            facts["until"] = format_moment(notice.until)
            if left_s > 0:
                facts["retry_after_s"] = min(left_s, MAX_RETRY_AFTER_S)
        raise Problem(Code.MAINTENANCE_MODE, where="server", detail=notice.text, facts=facts)

    def begin(self, notice: Notice) -> None:
        """Refuse messages from now on, after a restart too; writes a file, so for a thread."""
        replace_file(self._path, orjson.dumps(_members(notice)))
        self.notice = notice

    def end(self) -> None:
        """Take messages again; removes the file, so for a thread."""
        self._path.unlink(missing_ok=True)
        sync_folder(self._path.parent)
        self.notice = None

    def describe(self) -> dict[str, Any]:
        """What the administration and ``/healthz`` tell."""
        if self.notice is None:
            return {"on": False}
        return {"on": True, **_members(self.notice)}


def _members(notice: Notice) -> dict[str, str]:
    members = {"notice": notice.text, "since": format_moment(notice.since)}
    if notice.until is not None:
        members["until"] = format_moment(notice.until)
    return members


def _text(node: Node) -> str:
    text = node.text(MAX_NOTICE)
    if not text.strip() or not text.isprintable():
        raise node.refuse(f"a notice is one line of 1 to {MAX_NOTICE} characters")
    return text
