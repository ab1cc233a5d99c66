"""What a server tells the process that archives, and what that tells it back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import orjson

from exchange.problems import Code, Problem
from mediator.archive.settings import ArchiveSettings
from mediator.journal.holdings import Holdings


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is told: which journal, how, and what time it is."""

    directory: Path
    settings: ArchiveSettings
    now: datetime

    def __bytes__(self) -> bytes:
        return orjson.dumps(
            {
                "directory": str(self.directory),
                "settings": dataclasses.asdict(self.settings),
                "now": self.now.isoformat(),
            },
            default=str,
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        document = orjson.loads(data)
        settings: dict[str, Any] = document["settings"]
        if settings["folder"] is not None:
            settings["folder"] = Path(settings["folder"])
        return cls(
            Path(document["directory"]),
            ArchiveSettings(**settings),
            datetime.fromisoformat(document["now"]),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did; ``proposed`` are the holdings after a removal that may be made now."""

    entries: int = 0
    """So many entries are archived."""
    sealed: int = 0
    """Of so many entries the sealed parts are archived."""
    counted: int = 0
    """So many entries are in the tables."""
    proposed: Holdings | None = None
    problems: tuple[Problem, ...] = ()

    def __bytes__(self) -> bytes:
        return orjson.dumps(
            {
                "entries": self.entries,
                "sealed": self.sealed,
                "counted": self.counted,
                "proposed": None if self.proposed is None else bytes(self.proposed).decode(),
                "problems": [
                    {"code": each.code, "where": each.where, "detail": each.detail}
                    for each in self.problems
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        document = orjson.loads(data)
        proposed = document["proposed"]
        return cls(
            document["entries"],
            document["sealed"],
            document["counted"],
            None if proposed is None else Holdings.parse(proposed.encode()),
            tuple(
                Problem(Code(each["code"]), where=each["where"], detail=each["detail"])
                for each in document["problems"]
            ),
        )
