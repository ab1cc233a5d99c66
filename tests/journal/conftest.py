"""What the tests of journals share."""

from __future__ import annotations

import pytest

from mediator.journal import passphrase


@pytest.fixture(autouse=True)
def _cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase is tried in a moment: the store's file says how much work it asks for, and
    tests of what becomes of it try dozens."""
    monkeypatch.setattr(passphrase, "_LOG_N", 4)
