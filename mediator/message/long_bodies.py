"""What must read a long body to judge it: contract checks and projections.

A body on disk is read into memory for that, when it is JSON and not too long, and counted there
with all that parsing makes of it; reading, parsing and judging are done by a thread. Short bodies
are judged where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import orjson

from exchange.agreements import Projection
from exchange.problems import Code, Problem
from serving.bodies import Body, Spooled

CHECKED_MAX_BYTES: Final = 16 * 1024 * 1024
_PARSED: Final = 6
"""What a JSON text and all that is made of it take, as a multiple of its length."""
_T = TypeVar("_T")


async def judge(
    body: Spooled, reads: bool, check: Callable[[bytes | None], _T], max_bytes: int, too_long: Code
) -> _T:
    """Run a contract check.

    Args:
        reads: whether the check needs the bytes; otherwise it gets None.
        max_bytes: of a body that is read.

    Raises:
        Problem: ``too_long``, ``ServerOverloaded``, or what the check says.
    """
    if not reads:
        return check(None)
    text = await _text(body, max_bytes, too_long)
    found = await body.room.spools.in_thread(lambda: check(text))
    if found is None:
        body.room.release(_PARSED * body.size)
    return found


async def project(
    body: Spooled, document: Any | None, projection: Projection, max_bytes: int
) -> Body:
    """The released fields of a long JSON body; ``document`` is its value when it was parsed.

    Raises:
        Problem: ``ResponseTooLarge``, ``ServerOverloaded``; ``BackendProtocolError`` when it is
            not JSON.
    """
    if document is None:
        text = await _text(body, max_bytes, Code.RESPONSE_TOO_LARGE)
        cut = await body.room.spools.in_thread(
            lambda: orjson.dumps(projection.project(parsed(text)))
        )
    else:
        cut = await body.room.spools.in_thread(lambda: orjson.dumps(projection.project(document)))
    return await body.room.take(cut)


def parsed(text: bytes) -> Any:
    """The value of a JSON answer of which some fields are released.

    Raises:
        Problem: ``BackendProtocolError``.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Problem(
            Code.BACKEND_NONSENSE,
            where="backend answer",
            detail="the agreement releases some fields only, and the answer is not JSON",
        ) from error


async def _text(body: Spooled, max_bytes: int, too_long: Code) -> bytes:
    if body.size > max_bytes:
        raise Problem(
            too_long,
            where="body",
            detail=f"{body.size} bytes of JSON, at most {max_bytes} are checked and cut: "
            "divide it into pages, or agree on a media type that no contract describes",
            facts={"limit_bytes": max_bytes},
        )
    body.room.hold(_PARSED * body.size)
    return await body.load()
