"""Settings of the exactly-once book."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exchange.problems import Code, Problem
from serving.settings import setting


@dataclass(frozen=True, slots=True)
class OnceSettings:
    """The exactly-once book: where it is, how much it keeps and for how long."""

    database: str | None = setting(
        "postgresql:// URL of a book that servers of one member share; without it the server has "
        "its own, in its folder",
        default=None,
    )
    key: Path | None = setting(
        "file with the book's key (32 bytes), the same for all servers that share the book; "
        "without it the server makes one in its folder",
        default=None,
    )

    claims_s: float = setting(
        "seconds for which a message's id is remembered: the longest time between two repeats",
        default=7 * 86400.0,
        low=60,
    )
    answers_s: float = setting(
        "seconds for which recorded answers can be given again", default=86400.0, low=60
    )
    answer_max_bytes: int = setting(
        "largest answer that can be given again", default=1024 * 1024, low=0, high=1024 * 1024
    )
    answers_max_bytes: int = setting(
        "bytes of all answers together; beyond it the oldest are deleted early",
        default=4 * 1024 * 1024 * 1024,
        low=1024 * 1024,
    )
    claims_max: int = setting(
        "remembered ids at most; beyond it unsafe calls are refused, beyond half of it those of an "
        "application that has more than all others together",
        default=20_000_000,
        low=1000,
    )
    claim_s: float = setting(
        "seconds that a call waits for the book at most", default=5.0, low=0.1, high=60
    )

    def __post_init__(self) -> None:
        if self.database is None:
            return
        if not self.database.startswith(("postgresql://", "postgres://")):
            raise Problem(
                Code.INVALID_SETTINGS, where="once.database", detail="is not a postgresql:// URL"
            )
        if self.key is None:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="once.key",
                detail="a shared book needs a key that all its servers have",
            )
