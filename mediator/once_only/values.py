"""What an evidence request asks for and what comes of it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exchange.identifiers import ApplicationId
from exchange.once_only.elements import Element
from exchange.once_only.evidence_requests import Reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """An evidence request: ``subject`` as it stands in Exchange-Subject, ``identifier`` decoded;
    ``wait_s`` bounds each exchange."""

    id: str
    client: ApplicationId
    subject: str
    identifier: str
    elements: tuple[Element, ...]
    purpose: str
    basis: str
    wait_s: float
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Which exchange told something: X-Road-Id and X-Road-Request-Id find both sides' records."""

    id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Given:
    """A value with where it is from; ``at`` is when its source signed the answer, ``size`` the
    bytes of its JSON."""

    element: Element
    value: Any
    at: datetime
    exchange: Exchanged
    size: int

    @property
    def valid_until(self) -> datetime:
        return self.at + self.element.validity


@dataclass(frozen=True, slots=True)
class Missing:
    """An element that was not given, and why; ``code`` is that of a problem, if there was one."""

    element: Element
    reason: Reason
    detail: str = ""
    code: str | None = None
    retry_after_s: int | None = None
    exchange: Exchanged | None = None


Outcome = Given | Missing


@dataclass(frozen=True, slots=True)
class Answered:
    """All outcomes of an evidence request, in the order of its elements."""

    wanted: Wanted
    at: datetime
    outcomes: tuple[Outcome, ...]

    @property
    def given(self) -> tuple[Given, ...]:
        return tuple(one for one in self.outcomes if isinstance(one, Given))

    @property
    def missing(self) -> tuple[Missing, ...]:
        return tuple(one for one in self.outcomes if isinstance(one, Missing))
