"""I-JSON (RFC 7493): JSON that every reader understands alike.

Invariants of :func:`parse`: what it returns is what any other conforming reader sees, so a body
that was checked here and is forwarded byte for byte cannot mean something else to the backend.
- UTF-8 without a byte order mark, no lone surrogates, no NaN or infinities (sections 2.1, 2.2);
- no duplicate member names (section 2.3);
- nothing nested deeper than :data:`MAX_DEPTH`;
- integers fit in 64 bits; anything longer would be silently rounded by most readers.

Numbers with a fraction or an exponent are IEEE 754 doubles (section 2.2). Digits beyond a double
are not noticed: amounts of money travel as strings.

How duplicates are found without a second parser: ``orjson`` keeps the last of several equal
names, so writing the value again gives fewer colons than came in. The number of colons in a text
is the number of its members plus the colons inside its strings, and both numbers survive the
round trip unless a colon is spelled as an escape; then, and when the counts differ, a slower
strict reader decides.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from exchange.problems import Code, Problem

MAX_DEPTH: Final = 254
"""Depth that ``orjson`` can also write again, which the projection of answers needs."""

_DIGITS_AS_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER: Final = b"0" * 19
_ESCAPED_COLON: Final = b"\\u003"


def parse(body: bytes, where: str = "body", code: Code = Code.INVALID_JSON) -> Any:
    """Read I-JSON.

    Args:
        body: the text as it came.
        where: the place that a problem names.
        code: the problem to raise; answers of a backend have another one than requests.

    Raises:
        Problem: ``code`` when the text breaks one of the module's invariants. The detail never
            quotes the text.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(code, where=where, detail=f"not JSON: {error}") from error
    try:
        again = orjson.dumps(value)
    except TypeError as error:
        raise Problem(
            code, where=where, detail=f"JSON nested deeper than {MAX_DEPTH} levels"
        ) from error
    if again == body:
        return value
    if (
        body.count(b":") == again.count(b":")
        and _ESCAPED_COLON not in body
        and _LONG_NUMBER not in body.translate(_DIGITS_AS_ZERO)
    ):
        return value
    parse_slowly(body, where, code)
    return value


def parse_slowly(body: bytes, where: str = "body", code: Code = Code.INVALID_JSON) -> Any:
    """Read JSON with the standard library, refusing duplicate names and integers over 64 bits.

    This is the obvious reference of :func:`parse` and its second opinion in doubtful cases; the
    text must already be known to be JSON of bounded depth.

    Raises:
        Problem: ``code`` for a duplicate name or an integer outside 64 bits.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Problem(code, where=where, detail="an object names a member twice")
        return found

    def integer(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
            raise Problem(code, where=where, detail="an integer does not fit in 64 bits")
        return number

    return json.loads(body, object_pairs_hook=members, parse_int=integer)
