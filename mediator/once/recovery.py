"""Recovery: how the claims ended that a killed server left, as its journal tells.

The outcome of a claimed message is an entry before its answer leaves, and this entry alone carries
the nonce of the request that it answers. What is found is done, and its repeats get the answer
that was recorded; what is not found may have been carried out or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from exchange.problems import Problem
from mediator.journal.log import Journal
from mediator.once.claims import Left
from mediator.once.outcomes import of_entry
from mediator.once.vault import Answer

log = structlog.get_logger("mediator.once")

# Entries are roughly in the order of time, and clocks are set back a little.
_EARLIER = timedelta(minutes=10)


def outcomes(journal: Journal, left: Sequence[Left]) -> dict[str, Answer]:
    """The recorded outcomes of claims, by nonce. Blocks: reads the journal since the first claim.

    A journal that cannot be read tells nothing: those claims are unknown, which is safe.
    """
    since = datetime.fromtimestamp(min(one.claimed_at for one in left), UTC) - _EARLIER
    nonces = {one.nonce for one in left}
    found: dict[str, Answer] = {}
    try:
        for entry, part in journal.outcomes(nonces, since):
            found[entry["nonce"]] = of_entry(entry, part)
    except Problem as problem:
        log.error("journal_not_read", why=str(problem))
    return found
