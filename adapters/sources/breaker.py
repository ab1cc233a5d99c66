"""Sparing a source that is down, and one that is asked too often: pure, the time is an argument.

A :class:`Breaker` is a table of three states (M. Nygard, *Release It!*, circuit breaker)::

    closed     asked as usual; after `failures` failures in a row → open
    open       not asked for a while, which doubles up to `longest_s`; then → trying
    trying     one request asks: answered → closed; failed → open

A :class:`Budget` counts what was asked in each hour.
"""

from __future__ import annotations

FIRST_PAUSE_S = 1.0
HOUR_S = 3600.0


class Breaker:
    """Whether a source may be asked now.

    Args:
        failures: failures in a row after which it is not asked for a while; 0 never stops asking.
        longest_s: the longest pause, in seconds.
    """

    def __init__(self, failures: int, longest_s: float) -> None:
        self._most = failures
        self._longest_s = longest_s
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._closed_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last answers failed so often that requests are turned away."""
        return self._most > 0 and self._failures >= self._most

    def wait_s(self, now: float) -> float:
        """Seconds until the source may be asked; 0 when it may be asked now.

        Whoever is told 0 while the breaker is open is the one that tries: others wait meanwhile.
        """
        if not self.is_open:
            return 0.0
        left = self._closed_until - now
        if left > 0:
            return left
        self._closed_until = now + self._pause_s
        return 0.0

    def succeeded(self) -> None:
        """The source answered, if only with a refusal of a query."""
        self._failures, self._pause_s = 0, FIRST_PAUSE_S

    def failed(self, now: float) -> None:
        """The source could not be reached."""
        self._failures += 1
        if self.is_open:
            if self._failures > self._most:
                self._pause_s = min(2 * self._pause_s, self._longest_s)
            self._closed_until = now + self._pause_s


class Budget:
    """At most ``per_hour`` questions in each hour from the first; 0 is no limit."""

    def __init__(self, per_hour: int) -> None:
        self._per_hour = per_hour
        self._spent = 0
        self._ends = 0.0

    def wait_s(self, now: float) -> float:
        """Count one question; seconds to wait when the hour's are spent, else 0."""
        if not self._per_hour:
            return 0.0
        if now >= self._ends:
            self._spent, self._ends = 0, now + HOUR_S
        if self._spent >= self._per_hour:
            return self._ends - now
        self._spent += 1
        return 0.0
