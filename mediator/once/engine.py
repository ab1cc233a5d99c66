"""The database under the exactly-once book, as its one thread sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mediator.once.claims import Ending, Left, Released, Row, Totals, Wanted

BATCH = 1000
"""Rows that one :meth:`Engine.forget` deletes at most, so that claims do not wait long."""


class EngineFailed(Exception):
    """The database did not do what it was asked; whether it did a part is not known."""


class Engine(Protocol):
    """Blocking; called by one thread. What a method wrote is durable when it returns.

    Every method raises :class:`EngineFailed` when the database fails, and may be called again
    after :meth:`open`.
    """

    name: str

    def open(self, proof: bytes) -> None:
        """Connect, anew if need be, and make the tables if they are not there.

        Raises:
            Problem: ``InvalidSettings`` when the book was begun with another key than ``proof``'s.
        """
        ...

    def write(
        self, wanted: Sequence[Wanted], endings: Sequence[Ending], released: Sequence[Released]
    ) -> list[Row | None]:
        """Claim, then end, then take back; each claim's key occurs once in ``wanted``.

        Returns, for each that is wanted: None when it is claimed now, and for good; else the claim
        that is there already. An ending or a taking back whose nonce is not the claim's, or whose
        claim is not there, does nothing; what is done stays done.
        """
        ...

    def left(self) -> list[Left]:
        """The running claims of earlier runs of this server."""
        ...

    def forget(self, claims_before: float, answers_before: float) -> int:
        """Delete the oldest claims, and answers, from before these times: how many rows changed."""
        ...

    def shed(self, answer_bytes: int) -> None:
        """Delete the oldest answers, of about as many bytes; their claims stay."""
        ...

    def erase(self, keys: Sequence[bytes] | None) -> None:
        """Delete the answers of these claims, or all answers, so that their bytes are overwritten
        where the database can; the claims stay."""
        ...

    def totals(self) -> Totals:
        """How full the book is; cheap."""
        ...

    def count(self) -> int:
        """How many claims there are, exactly; not cheap."""
        ...

    def sample(self, most: int) -> list[bytes]:
        """The keys of up to so many claims, picked at random; cheap however many there are."""
        ...

    def close(self) -> None:
        """Disconnect; idempotent, raises nothing."""
        ...
