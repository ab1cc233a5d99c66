"""Rules of exchange.i_json (RFC 7493): what was checked is what every reader sees."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.i_json import MAX_DEPTH, parse, parse_slowly
from exchange.problems import Code, Problem

REFUSED = {
    "empty": b"",
    "not JSON": b"hello",
    "not a number": b'{"a": NaN}',
    "infinity": b"[Infinity]",
    "overflow": b"1e400",
    "trailing comma": b"[1,]",
    "two values": b"1 2",
    "comment": b"[1] // one",
    "byte order mark": b"\xef\xbb\xbf[]",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "invalid UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "lone surrogate": b'"\\ud800"',
    "raw line feed in a string": b'"a\nb"',
    "too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "very deep": b"[" * 100_000 + b"]" * 100_000,
    "very deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "integer over 64 bits": b"18446744073709551616",
    "negative integer over 64 bits": b'{"a": -9223372036854775809}',
    "huge integer": b'{"a": ' + b"9" * 5_000 + b"}",
    "duplicate": b'{"a":1,"a":1}',
    "duplicate with blanks": b'{"a" : 1, "a"\n:\t2}',
    "duplicate inside": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "duplicate by escape": b'{"a":1,"\\u0061":2}',
    "duplicate behind an escaped colon": b'{"a":1,"b":"\\u003a","a":2}',
    "duplicate behind another escaped colon": b'{"a":1,"b":"\\u003A","a":2}',
    "duplicate behind an escaped quote": b'{"a":"\\":","a":"\\u0022\\u003a"}',
    "duplicate Lao name": '{"ຊື່":1,"ຊື່":2}'.encode(),
    "duplicate empty name": b'{"":1,"":2}',
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_refused(text: bytes) -> None:
    """Each breach is one problem with the caller's code, and the text is not quoted."""
    with pytest.raises(Problem) as caught:
        parse(text, "body")
    assert caught.value.code is Code.INVALID_JSON
    assert caught.value.where == "body"
    assert "hello" not in caught.value.detail


ACCEPTED = [
    b"null", b" [ ] ", b'{"a":1}', b'{"a":{"a":{"a":1}}}', b'{"a":":","b":"\\":"}',
    b'{"\\u003a":1,"b":"\\u003a\\u003A"}', b"18446744073709551615", b"-9223372036854775808",
    b'{"id":"12345678901234567890123456789"}', b"0.1000000000000000055511151231257827", b"-0",
    b'"\\u0000"', b'{"a":"http://x:80/","b":"10:00:00"}', b'[{"a":1},{"a":2}]', b"1E5",
    '{"ຊື່ໂຄງການ":"ສະພານ"}'.encode(), b'"\\u0e81\\u0eb3"', b'{"a":1,"A":2}',
    b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
]  # fmt: skip


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: bytes) -> None:
    """Valid I-JSON in any spelling, with the value that the standard library reads."""
    assert parse(text) == json.loads(text)


def test_the_code_is_the_callers_choice() -> None:
    """A backend's answer is the provider's fault, a request the caller's."""
    with pytest.raises(Problem) as caught:
        parse(b'{"a":1,"a":2}', "body", Code.BACKEND_NONSENSE)
    assert caught.value.code is Code.BACKEND_NONSENSE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(':"\\aກ ', max_size=4)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.lists(
        st.tuples(st.text(':"\\ab', max_size=2), inner), max_size=4
    ).map(lambda pairs: Members(pairs)),
    max_leaves=10,
)  # fmt: skip


class Members(list[Any]):
    """The members of an object, names perhaps repeated."""


def spelled(value: Any, draw: Any) -> str:
    """A spelling of a value: blanks and escapes wherever JSON allows them."""

    def blank() -> str:
        return str(draw(st.sampled_from(["", "", "", " ", "\n", "\t "])))

    def text(value: str) -> str:
        out = json.dumps(value, ensure_ascii=draw(st.booleans()))[1:-1]
        if draw(st.booleans()):
            out = out.replace(":", draw(st.sampled_from(["\\u003a", "\\u003A", ":"])))
        return f'"{out}"'

    if isinstance(value, Members):
        parts = [
            f"{blank()}{text(name)}{blank()}:{blank()}{spelled(one, draw)}{blank()}"
            for name, one in value
        ]
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        return "[" + ",".join(f"{blank()}{spelled(one, draw)}{blank()}" for one in value) + "]"
    return text(value) if isinstance(value, str) else json.dumps(value)


@settings(max_examples=400, deadline=None, database=None)
@given(st.data(), JSON)
def test_the_quick_reading_agrees_with_the_slow_one(data: st.DataObject, value: Any) -> None:
    """Duplicates are found however names, colons and quotes are spelled."""
    body = spelled(value, data.draw).encode()
    try:
        expected = parse_slowly(body)
    except Problem:
        with pytest.raises(Problem):
            parse(body)
    else:
        assert parse(body) == expected


@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No input leads to anything but a value or a Problem."""
    try:
        value = parse(body)
    except Problem:
        return
    assert orjson.loads(orjson.dumps(value)) == value
