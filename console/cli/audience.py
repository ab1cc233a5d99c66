"""For whom `saphan adapter changes` tells: a client, or the consumer of an agreement.

The agreement is a file, as servers hold it (`agreements/ID.jws`): sealed by both parties. What
revokes it is looked for beside it. The certificates of the seals are not judged: who tells changes
reads the source itself and believes what lies on its own disk.
"""

from __future__ import annotations

from pathlib import Path

from adapters.changes.grants import caller_of, granted
from adapters.changes.views import Audience
from adapters.mapping.callers import Caller
from adapters.mapping.changes import Changes
from adapters.mapping.model import Mapping
from exchange.agreements import Agreement, open_revocation, read_agreement, revoked_by
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from mediator.agreements.pinned_files import REVOCATION
from serving.small_files import read_file


def audience(
    mapping: Mapping,
    changes: Changes,
    *,
    client: str | None,
    purpose: str | None,
    agreement: Path | None,
    path: str | None,
) -> Audience:
    """The audience that the options name.

    Raises:
        Problem: ``InvalidUsage`` for an agreement that is not at hand, or a client of another
            organisation without one; ``AgreementInvalid``, ``AgreementRevoked``; what
            :func:`adapters.changes.grants.granted` raises.
    """
    asking = None if client is None else ApplicationId.parse(client, "--client")
    if agreement is not None:
        held = _held(agreement)
        caller = caller_of(held, asking, purpose or "")
        return Audience(caller, granted(mapping, changes, held, path))
    if asking is not None and asking.member != mapping.application.member:
        detail = f"{asking.member} is told what an agreement releases: give its file (--agreement)"
        raise Problem(Code.INVALID_USAGE, where="--client", detail=detail)
    return Audience(Caller(asking, "", purpose or ""))


def _held(file: Path) -> Agreement:
    sealed = read_file(file, where="--agreement", code=Code.INVALID_USAGE)
    held, certificates = read_agreement(sealed)
    if len(certificates) < len({held.provider, held.consumer.member}):
        detail = "a party has not sealed it yet: it opens nothing"
        raise Problem(Code.AGREEMENT_INVALID, where=str(file), detail=detail)
    found = sorted(file.parent.glob(f"{held.id}.*{REVOCATION}"))
    revocation = revoked_by(held, (open_revocation(read_file(one))[0] for one in found))
    if revocation is not None:
        raise revocation.problem(held)
    return held
