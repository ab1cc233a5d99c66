"""What a signature states of itself, and the entry's time against it.

A server's entry says the time by which it signed a message, or judged one to be fresh
(:mod:`mediator.message.records`); of another server's message whose body is long, the time at which
that was there. Both are readings of one clock. So an entry whose time is outside of what servers
take (:mod:`exchange.messages.signed`) is one that no honest server wrote: neither a clock that is
set nor a machine that stands still between judging and recording makes one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from exchange.journal.entries import Side
from exchange.messages.signature import parse_signature_input
from exchange.messages.signed import (
    MAX_AGE_S,
    MAX_SKEW_S,
    judge_request_times,
    judge_response_times,
)
from exchange.problems import Code, Problem
from mediator.journal.verify.signing import Signing
from serving.bodies import IN_MEMORY_BYTES

_LINE: Final = b'\n"@signature-params": '
# As our servers write them; what is written otherwise is read piece by piece.
_OURS: Final = re.compile(
    rb'\([^()\n]*\);created=([1-9]\d{0,11})(?:;expires=([1-9]\d{0,11}))?(?:;nonce="[^"()\n]*")?'
    rb';keyid="([0-9a-f]{64})";alg="([a-z0-9-]+)";tag="[a-z-]+"'
)


class Stated(NamedTuple):
    """What the parameters of a signature state; empty where they state no key or algorithm."""

    created: int
    expires: int | None
    keyid: str
    algorithm: str


def stated_of(base: bytes) -> Stated:
    """What a signature base states of its signature.

    Raises:
        Problem: ``MalformedSignature`` when it states no time, or is no signature base.
    """
    at = base.rfind(_LINE)
    ours = _OURS.fullmatch(base, at + len(_LINE)) if at >= 0 else None
    if ours is not None:
        created, expires, keyid, algorithm = ours.groups()
        until = None if expires is None else int(expires)
        return Stated(int(created), until, keyid.decode(), algorithm.decode())
    tail = base[at + len(_LINE) :]
    if at < 0 or not tail.isascii():
        raise Problem(
            Code.MALFORMED_SIGNATURE, where="signature base", detail="it has no parameters"
        )
    member, *_ = parse_signature_input(f"base={tail.decode()}")
    parameters = member.parameters
    made, end = parameters.get("created"), parameters.get("expires")
    signer, name = parameters.get("keyid"), parameters.get("alg")
    if type(made) is not int or made < 0:
        detail = "what was signed states no time"
        raise Problem(Code.MALFORMED_SIGNATURE, where="signature base", detail=detail)
    return Stated(
        made,
        end if type(end) is int else None,
        signer if type(signer) is str else "",
        name if type(name) is str else "",
    )


def check_moment(stated: Stated, entry: Mapping[str, Any], signing: Signing) -> None:
    """Check that an entry's time is one at which servers take what was signed.

    Raises:
        Problem: ``StaleSignature``.
    """
    at = int(datetime.fromisoformat(entry["at"]).timestamp())
    created, expires = stated.created, stated.expires
    request = signing is Signing.REQUEST
    own = entry["side"] == (Side.CONSUMER if request else Side.PROVIDER)
    size = entry.get("size")
    if type(size) is int and size > IN_MEMORY_BYTES and not own:
        at = min(at, created)  # its head was judged when it came, its body came as it did
    try:
        if request and expires is not None:
            judge_request_times(created, expires, at, MAX_SKEW_S, MAX_AGE_S)
        else:
            judge_response_times(created, at, MAX_SKEW_S, MAX_AGE_S)
    except Problem as problem:
        raise Problem(
            problem.code,
            detail=f"what it records was signed at {_text(created)}, and no server takes that at "
            f"{entry['at']}, the time of the entry",
        ) from problem


def _text(moment: int) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%FT%TZ}"
    except (ValueError, OverflowError, OSError):  # of a year that no calendar has
        return str(moment)
