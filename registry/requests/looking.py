"""What people are told of requests and of what is published; nothing here changes anything."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from exchange.problems import Problem
from exchange.registry.delegations import role_name
from registry.requests import lint
from registry.requests.changes import digest_of
from registry.requests.judging import Judging
from registry.requests.lifecycle import State
from registry.requests.once_only import Meter, lost_sources, services_of, told


class Looking(Judging):
    """The looking part of :class:`registry.registrar.Registrar`."""

    _meter: Meter

    def look(self, number: int, at: datetime) -> dict[str, Any]:
        """A request as things are now: what it changes, the digest of that (``seen``), how many
        must still approve it (``lacking``), what stands in its way, lint and other warnings."""
        row = self._store.request(number)
        found: dict[str, Any] = {
            "seen": digest_of(row.changes), "lacking": 0, "obstacle": None, "warnings": [],
            "breaking": []
        }  # fmt: skip
        found["findings"], found["more_findings"] = lint.told(self._linted(row))
        if row.kind.is_submission:
            found["warnings"] = self.advice(number, at)
        if row.state is not State.SUBMITTED:
            return found
        try:
            effect = self._effect(row, at)
        except Problem as problem:
            return found | {"obstacle": str(problem), "lacking": 1}
        if lacking := effect.lacks_consents:
            found |= {"obstacle": str(lacking)}
        needed = self._terms.approval.needed(effect.changes)
        return found | {
            "seen": effect.seen,
            "breaking": [one.describe() for one in effect.breaking],
            "lacking": row.deliberation.lacks(needed, effect.seen),
            "changes": [change.describe() for change in effect.changes],
        }

    def advice(self, number: int, at: datetime) -> list[dict[str, Any]]:
        """What a submission's services ask people for although another organisation gives it, and
        the elements that they gave and could not give any more.

        Raises:
            Problem: ``NotFound``.
        """
        submission, directory = self._submission(number), self.directory
        services = services_of(submission, self._store.files(role_name(submission.member)))
        asked = [told(one) for one in self._questions(services, at) if one.problem is not None]
        lost = lost_sources(submission.member, services, directory.elements, directory.schemas)
        return [*asked, *lost]

    @property
    def minutes_per_field(self) -> float:
        """How long a person takes to fill in a field, for estimates."""
        return self._terms.minutes_per_field

    def still_asked(self, at: datetime) -> list[dict[str, Any]]:
        """What published services ask people for that is registered: whether they may or not."""
        directory = self.directory
        found = self._meter.questions(
            directory.documents(), directory.elements, directory.schemas, at
        )
        return [told(one) for one in found]
