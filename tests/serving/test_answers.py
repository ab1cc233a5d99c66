"""The reader of answers: framing by RFC 9112, limits, and nonsense."""

from __future__ import annotations

import http.client
import io
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.answers import AnswerReader
from serving.failures import ProtocolError, TooLarge

OK = b"HTTP/1.1 200 OK\r\n"
Read = tuple[int, tuple[tuple[str, str], ...], bytes, bool]


def read(*pieces: bytes, head_only: bool = False, ended: bool = False) -> Read | None:
    """What the reader makes of the pieces; None when the answer is not whole yet."""
    reader = AnswerReader(max_head_bytes=4096, max_body_bytes=10_000)
    reader.begin(head_only=head_only)
    whole = False
    for piece in pieces:
        assert not whole, "fed behind a whole answer"
        whole = reader.feed(piece)
    if ended and not whole:
        whole = reader.end()
    return (reader.status, reader.headers, reader.body, reader.keep_alive) if whole else None


GOOD: dict[str, tuple[bytes, bool, int, bytes, bool]] = {
    "a length": (OK + b"Content-Length: 2\r\n\r\nab", False, 200, b"ab", True),
    "length nought": (OK + b"Content-Length: 0\r\n\r\n", False, 200, b"", True),
    "chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n",
        False,
        200,
        b"abc",
        True,
    ),
    "a coding in capitals": (
        OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        False,
        200,
        b"a",
        True,
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", False, 204, b"", True),
    "not modified with a length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        False,
        304,
        b"",
        True,
    ),
    "HEAD with a length": (OK + b"Content-Length: 7\r\n\r\n", True, 200, b"", True),
    "HEAD with chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", True, 200, b"", True),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + OK
        + b"Content-Length: 1\r\n\r\na",
        False,
        200,
        b"a",
        True,
    ),
    "close": (OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na", False, 200, b"a", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", False, 200, b"a", False),
    "no reason phrase": (b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", False, 404, b"", True),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_ends_where_its_framing_says(name: str) -> None:
    """RFC 9112 section 6.3, whatever the cuts: in one piece and byte by byte."""
    data, head_only, status, body, keep_alive = GOOD[name]
    at_once = read(data, head_only=head_only)
    assert at_once is not None
    assert (at_once[0], at_once[2], at_once[3]) == (status, body, keep_alive)
    assert read(*[data[i : i + 1] for i in range(len(data))], head_only=head_only) == at_once
    for size in range(len(data)):
        assert read(data[:size], head_only=head_only) is None


def test_headers_keep_order_and_repeats() -> None:
    """Names in lower case, values stripped and read as ISO 8859-1; nothing is joined."""
    data = OK + b"X-B: 1\r\nA:\t v \r\nx-b: 2\r\nE:\r\nL: \xe9\r\nContent-Length: 0\r\n\r\n"
    result = read(data)
    assert result is not None
    assert result[1] == (
        ("x-b", "1"),
        ("a", "v"),
        ("x-b", "2"),
        ("e", ""),
        ("l", "é"),
        ("content-length", "0"),
    )


def test_headers_of_interim_answers_and_trailers_are_dropped() -> None:
    """Only the final head counts."""
    data = (
        b"HTTP/1.1 103 Early Hints\r\nEarly: 1\r\n\r\n"
        + OK
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\nLate: 1\r\n\r\n"
    )
    result = read(data)
    assert result is not None
    assert result[1] == (("transfer-encoding", "chunked"),)


def test_without_length_the_end_of_the_connection_ends_the_body() -> None:
    """RFC 9112 section 6.3, item 8; such a connection is never kept."""
    assert read(OK + b"\r\nab", ended=False) is None
    assert read(OK + b"\r\nab", b"c", ended=True) == (200, (), b"abc", False)


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 3\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        OK + b"A: b\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"",
    ],
)
def test_a_cut_answer_is_not_whole(data: bytes) -> None:
    """The end of the connection never completes an answer that says its own end."""
    assert read(data, ended=True) is None


NONSENSE: dict[str, bytes] = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "TLS alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "blank line in front": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "two digits of status": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "unknown interim answer": b"HTTP/1.1 150 Hm\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "list of lengths": OK + b"Content-Length: 1, 1\r\n\r\na",
    "signed length": OK + b"Content-Length: +1\r\n\r\na",
    "hexadecimal length": OK + b"Content-Length: 0x1\r\n\r\na",
    "negative length": OK + b"Content-Length: -1\r\n\r\na",
    "overflowing length": OK + b"Content-Length: 99999999999999999999999\r\n\r\na",
    "very long length": OK + b"Content-Length: " + b"0" * 30 + b"1\r\n\r\na",
    "length and chunks": OK
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunks and length": OK
    + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "foreign coding": OK + b"Transfer-Encoding: gzip\r\n\r\nab",
    "coding on top": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunk size in words": OK + b"Transfer-Encoding: chunked\r\n\r\nten\r\n",
    "chunk longer than said": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "folded header": OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space before colon": OK + b"A : b\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"Content-Length 0\r\n\r\n",
    "NUL in a value": OK + b"A: b\0c\r\nContent-Length: 0\r\n\r\n",
    "name not ASCII": OK + b"\xe0\xba\xaa: b\r\nContent-Length: 0\r\n\r\n",
    "bytes behind": OK + b"Content-Length: 1\r\n\r\nab",
    "a second answer behind": (OK + b"Content-Length: 0\r\n\r\n") * 2,
    "bytes behind close": OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nab",
    "body of 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_a_protocol_error(name: str) -> None:
    """In one piece and byte by byte; never an answer, never another exception."""
    data = NONSENSE[name]
    with pytest.raises(ProtocolError):
        read(data)
    if "behind" not in name and name != "body of 204":  # then the answer is whole before them
        with pytest.raises(ProtocolError):
            read(*[data[i : i + 1] for i in range(len(data))])


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 2\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        OK + b"Content-Length: 2\r\n\r\na\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5",
        OK + b"\r\nabc\r\n\r\n",
        (OK + b"Content-Length: 0\r\n\r\n") * 2,
    ],
)
def test_a_body_after_head_is_a_protocol_error(data: bytes) -> None:
    """RFC 9110 section 9.3.2: the answer to HEAD ends with its head."""
    with pytest.raises(ProtocolError):
        read(data, head_only=True)


HUGE: dict[str, tuple[list[bytes], str]] = {
    "declared body": ([OK + b"Content-Length: 10001\r\n\r\n"], "body"),
    "chunked body": (
        [OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"3e8\r\n" + b"x" * 1000 + b"\r\n"] * 11],
        "body",
    ),
    "endless body": ([OK + b"\r\n", *[b"x" * 1000] * 11], "body"),
    "endless header line": ([OK + b"A: ", *[b"x" * 1000] * 5], "head"),
    "endless header fields": ([OK, *[b"A: b\r\n" * 100] * 7], "head"),
    "endless reason": ([b"HTTP/1.1 200 ", *[b"x" * 1000] * 5], "head"),
    "endless trailers": (
        [OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", *[b"A: b\r\n" * 100] * 7],
        "head",
    ),
    "endless chunk extension": (
        [OK + b"Transfer-Encoding: chunked\r\n\r\n1;", *[b"x" * 1000] * 5],
        "head",
    ),
    "endless interim answer": ([b"HTTP/1.1 103 x\r\n", *[b"A: b\r\n" * 100] * 7], "head"),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_is_too_large_is_refused_while_it_comes(name: str) -> None:
    """The limits hold for every part of an answer that can be endless."""
    pieces, what = HUGE[name]
    with pytest.raises(TooLarge) as caught:
        read(*pieces)
    assert caught.value.what == what


def test_the_smallest_chunks_are_not_mistaken_for_a_large_head() -> None:
    """Chunks of one byte cost six times their size and are legal."""
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9_000 + b"0\r\n\r\n"
    result = read(*[data[i : i + 1000] for i in range(0, len(data), 1000)])
    assert result is not None
    assert result[2] == b"x" * 9_000


names = st.from_regex(r"X-[A-Za-z0-9]{1,8}", fullmatch=True)
values = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@st.composite
def answers(draw: Any) -> bytes:
    """Well-formed answers of all framings."""
    status = draw(st.sampled_from([200, 201, 404, 500]))
    fields = draw(st.lists(st.tuples(names, values), max_size=6))
    body = draw(st.binary(max_size=300))
    head = f"HTTP/1.1 {status} Reason\r\n".encode()
    head += b"".join(f"{name}: {value}\r\n".encode() for name, value in fields)
    if draw(st.booleans()):
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    size = draw(st.integers(min_value=1, max_value=100))
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@settings(max_examples=150, deadline=None)
@given(answers(), st.lists(st.integers(min_value=0, max_value=600), max_size=5))
def test_reads_what_the_standard_library_reads(data: bytes, cuts: list[int]) -> None:
    """The reference is http.client; the cuts between pieces change nothing."""
    reference = http.client.HTTPResponse(_Socket(data))  # type: ignore[arg-type]
    reference.begin()
    body = reference.read()
    places = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    result = read(*pieces)
    assert result is not None
    assert result[0] == reference.status
    assert result[2] == body
    assert [(n, v) for n, v in result[1] if n.startswith("x-")] == [
        (n.lower(), v) for n, v in reference.getheaders() if n.startswith("X-")
    ]


@st.composite
def broken(draw: Any) -> bytes:
    """Answers with a few bytes exchanged, cut out or put in."""
    data = bytearray(draw(answers()))
    for _ in range(draw(st.integers(min_value=1, max_value=4))):
        place = draw(st.integers(min_value=0, max_value=max(len(data) - 1, 0)))
        piece = draw(st.binary(max_size=6) | st.sampled_from([b"\r\n", b"\0", b"HTTP/1.1 ", b"5"]))
        data[place : place + draw(st.integers(min_value=0, max_value=6))] = piece
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(broken() | st.binary(max_size=200), st.booleans(), st.integers(min_value=1, max_value=400))
def test_whatever_comes_the_reader_raises_only_its_own(
    data: bytes, head_only: bool, size: int
) -> None:
    """Any bytes in any pieces: an answer, an unfinished answer, or one of two exceptions."""
    reader = AnswerReader(max_head_bytes=256, max_body_bytes=256)
    reader.begin(head_only=head_only)
    try:
        for i in range(0, len(data), size):
            if reader.feed(data[i : i + size]):
                break
        else:
            reader.end()
    except (ProtocolError, TooLarge):
        pass
    assert len(reader.body) <= 256


def test_one_reader_reads_many_answers_in_turn() -> None:
    """HEAD between others included: nothing of an answer lives on in the next."""
    reader = AnswerReader(max_head_bytes=4096, max_body_bytes=100)
    for number in range(3):
        reader.begin(head_only=True)
        assert reader.feed(OK + b"Content-Length: 5\r\n\r\n")
        reader.begin(head_only=False)
        assert reader.feed(OK + b"N: %d\r\nContent-Length: 1\r\n\r\n%d" % (number, number))
        assert reader.body == b"%d" % number
        assert reader.headers == (("n", str(number)), ("content-length", "1"))
