"""Entries and sealed parts: canonical, strict, and nothing readable without the key."""

from __future__ import annotations

import hmac
import json
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.identifiers import ApplicationId, ServerId, ServiceId
from exchange.journal import sealed_parts
from exchange.journal.entries import (
    MAX_ERASED,
    MAX_SIZE,
    Entry,
    Erased,
    Kind,
    Sealed,
    Side,
    Statistics,
    SubjectIndex,
    format_entry,
    is_plain,
    parse_entry,
)
from exchange.journal.sealed_parts import Head, SealedPart
from exchange.problems import Code, Problem

AT = datetime(2026, 11, 21, 8, 30, 0, 125_000, tzinfo=UTC)
FULL = Entry(
    kind=Kind.REQUEST,
    side=Side.CONSUMER,
    at=AT,
    id="LA-1",
    request_id="r-1",
    trace="t",
    client=ApplicationId.parse("LA/GOV/MOF/budget"),
    service=ServiceId.parse("LA/GOV/MPI/oda-mis/projects"),
    peer=ServerId.parse("LA/GOV/MPI/ss1"),
    method="GET",
    endpoint="/projects/{id}",
    status=200,
    problem="AccessDenied",
    where="body#/ລາວ",
    size=1024,
    certificate="ab" * 32,
    agreement="mof-mpi-2026",
    purpose="national-budget",
    nonce="n",
    event="started",
    refusals=12,
    evidence="e" * 64,
    statistics=Statistics("sex", date(2026, 11, 20), date(2026, 11, 21), 3, (("F", 12), ("M", 9))),
    subject="5" * 32,
    subjects=SubjectIndex(3, 9, 2, ("2026-10", "2026-11"), "c" * 64),
    sealed=Sealed("cd" * 32, 2100, "LA/GOV/MOF 2026-11 d365", 7),
    commitment="ef" * 32,
)


def refused(data: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        parse_entry(data)
    assert caught.value.code in {Code.INVALID_DOCUMENT, Code.INVALID_IDENTIFIER}
    return caught.value


def test_an_entry_is_canonical_json() -> None:
    """Sorted keys, no spaces, UTF-8, absent members left out: any JSON tool can make it."""
    for entry in (FULL, Entry(kind=Kind.SYSTEM, side=Side.SERVER, at=AT)):
        data = format_entry(entry)
        document = json.loads(data)
        again = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert again.encode() == data
        assert None not in document.values()


def test_the_smallest_entry_byte_for_byte() -> None:
    """The form is fixed: it is the leaf of a tree."""
    entry = Entry(kind=Kind.SYSTEM, side=Side.SERVER, at=AT, event="started")
    assert format_entry(entry) == (
        b'{"at":"2026-11-21T08:30:00.125Z","event":"started","kind":"system","side":"server","v":1}'
    )


def test_a_full_entry_prints_back() -> None:
    """Every member survives formatting and parsing."""
    assert parse_entry(format_entry(FULL)) == FULL


def test_times_are_utc_to_the_millisecond() -> None:
    """Another zone is turned into UTC and finer time is cut."""
    vientiane = AT.astimezone(timezone(timedelta(hours=7))) + timedelta(microseconds=999)
    entry = Entry(kind=Kind.SYSTEM, side=Side.SERVER, at=vientiane)
    assert b'"at":"2026-11-21T08:30:00.125Z"' in format_entry(entry)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"v": True}, {"v": 1.0}, {"kind": "wish"}, {"kind": None}, {"side": 3},
        {"at": "2026-11-21T08:30:00Z"}, {"at": "2026-11-21 08:30:00.125Z"},
        {"at": "2026-11-21T08:30:00.125+00:00"}, {"at": "2026-13-21T08:30:00.125Z"}, {"at": 1},
        {"at": "2026-11-21T15:30:00.125+07:00"}, {"id": 1}, {"id": None}, {"status": "200"},
        {"status": -1}, {"status": True}, {"status": 2.0}, {"size": 2**53}, {"unknown": "x"},
        {"client": "LA/GOV/MOF"}, {"service": "LA/GOV/MOF/a"}, {"peer": "x"}, {"client": 1},
        {"sealed": {}}, {"sealed": None}, {"sealed": {"digest": "cd" * 32, "size": 1, "key": "k"}},
        {"sealed": {"digest": "CD" * 32, "size": 1, "key": "k", "leaf": 1}},
        {"commitment": "ef" * 31}, {"commitment": "EF" * 32}, {"erased": {}},
        {"erased": {"key": "k", "ground": "g"}}, {"erased": {"key": "k", "leaves": [1]}},
        {"erased": {"key": "k", "ground": "g", "leaves": [2, 1]}},
        {"erased": {"key": "k", "ground": "g", "leaves": [1, 1]}},
        {"erased": {"key": "k", "ground": "g", "leaves": [True]}},
        {"erased": {"key": "k", "ground": "g", "leaves": []}},
        {"erased": {"key": "k", "ground": "g", "leaves": [*range(MAX_ERASED + 1)]}},
        {"erased": {"key": "k", "ground": "g", "leaves": [1], "before": 2}},
        {"erased": {"key": "k", "ground": "g", "before": -1}},
    ],
)  # fmt: skip
def test_what_is_not_an_entry_is_refused(change: dict[str, Any]) -> None:
    """Wrong types, unknown members, other spellings of times, numbers and digests."""
    document = json.loads(format_entry(FULL)) | change
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    refused(text.encode())


GOOD = format_entry(FULL)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b"\xff", GOOD + b"\n", b" " + GOOD, GOOD[:-1],
        GOOD.replace(b'"status":200', b'"status":2e2'),
        GOOD.replace(b'"status":200', b'"status":200,"status":200'),
        GOOD.replace(b'"id":"LA-1"', b'"id":"\\u004cA-1"'),
        GOOD.replace(b'"id":"LA-1",', b"").replace(b'"v":1', b'"id":"LA-1","v":1'),
        GOOD.replace(b'"kind":"request",', b""),
    ],
)  # fmt: skip
def test_other_spellings_of_an_entry_are_refused(data: bytes) -> None:
    """Spaces, duplicate members, escapes, another order, exponents, missing members."""
    assert data != GOOD
    refused(data)


def test_an_entry_has_at_most_65_000_bytes() -> None:
    """A longer entry is neither written nor read; it must fit a bundle."""
    with pytest.raises(Problem) as caught:
        format_entry(Entry(kind=Kind.REQUEST, side=Side.CONSUMER, at=AT, id="x" * MAX_SIZE))
    assert caught.value.code is Code.INVALID_DOCUMENT
    refused(b'{"id":"' + b"x" * MAX_SIZE + b'"}')


def test_text_that_is_not_unicode_is_refused() -> None:
    """A lone surrogate cannot be written as UTF-8."""
    with pytest.raises(Problem) as caught:
        format_entry(Entry(kind=Kind.REQUEST, side=Side.CONSUMER, at=AT, id="\ud800"))
    assert caught.value.code is Code.INVALID_DOCUMENT


TEXT = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NUMBER = st.none() | st.integers(0, 2**53 - 1)
MOMENT = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from(Kind),
    side=st.sampled_from(Side),
    at=MOMENT,
    id=TEXT,
    request_id=TEXT,
    trace=TEXT,
    client=st.sampled_from([None, FULL.client]),
    service=st.sampled_from([None, FULL.service]),
    peer=st.sampled_from([None, FULL.peer]),
    method=TEXT,
    endpoint=TEXT,
    status=NUMBER,
    problem=TEXT,
    where=TEXT,
    size=NUMBER,
    certificate=TEXT,
    agreement=TEXT,
    purpose=TEXT,
    nonce=TEXT,
    event=TEXT,
    refusals=NUMBER,
    statistics=st.none()
    | st.builds(
        Statistics,
        field=st.text(max_size=20),
        first=st.dates(),
        last=st.dates(),
        part=st.integers(0, 2**53 - 1),
        counts=st.dictionaries(st.text(max_size=20), st.integers(0, 2**53 - 1), min_size=1).map(
            lambda counts: tuple(sorted(counts.items()))
        ),
    ),
    evidence=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    erased=st.none()
    | st.builds(
        Erased,
        TEXT.filter(bool),
        TEXT.filter(bool),
        leaves=st.just(()),
        before=st.integers(0, 2**48),
    )
    | st.builds(
        Erased,
        TEXT.filter(bool),
        TEXT.filter(bool),
        leaves=st.sets(st.integers(0, 2**48), min_size=1, max_size=5).map(sorted).map(tuple),
        before=st.none(),
    ),
    subject=st.none() | st.binary(min_size=16, max_size=16).map(bytes.hex),
    subjects=st.none()
    | st.builds(
        SubjectIndex,
        first=st.integers(0, 9),
        end=st.integers(9, 2**40),
        leaves=st.integers(0, 2**40),
        months=st.sampled_from([(), ("2026-11",), ("2026-11", "2027-01")]),
        root=st.binary(min_size=32, max_size=32).map(bytes.hex),
    ),
    sealed=st.none()
    | st.builds(
        Sealed,
        digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
        size=st.integers(0, 2**40),
        key=st.text(st.characters(exclude_categories=("Cs",)), max_size=10),
        leaf=st.integers(0, 2**48 - 1),
    ),
    commitment=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(ENTRIES)
def test_whatever_is_written_can_be_read(entry: Entry) -> None:
    """An entry that could be written parses to itself: nothing unreadable gets into the tree."""
    assert parse_entry(format_entry(entry)) == entry


PLAIN = FULL._replace(event=None, refusals=None, evidence=None, statistics=None, subjects=None)
OTHERS: list[Any] = [
    None, True, -1, 2**53, 1.5, "", "x", [], ["x"], {}, {"x": 1}, {"leaf": 7}, 10**18
]  # fmt: skip


@pytest.mark.parametrize("member", list(json.loads(format_entry(PLAIN))))
def test_the_short_way_takes_no_entry_that_the_long_one_refuses(member: str) -> None:
    """Identifiers, digests and texts are taken as they stand; the kind of each value is not."""
    document = json.loads(format_entry(PLAIN))
    assert is_plain(document, format_entry(PLAIN))
    texts = {"client", "service", "peer", "commitment", "subject", "endpoint", "where", "trace"}
    for other in OTHERS:
        changed = document | {member: other}
        data = orjson.dumps(changed, option=orjson.OPT_SORT_KEYS)
        if is_plain(orjson.loads(data), data) and not (member in texts and type(other) is str):
            parse_entry(data)


@pytest.mark.parametrize("member", ["digest", "key", "leaf", "size"])
def test_the_short_way_takes_no_sealed_part_that_the_long_one_refuses(member: str) -> None:
    """The same of the sealed part that an entry names."""
    document = json.loads(format_entry(PLAIN))
    for other in OTHERS:
        changed = document | {"sealed": document["sealed"] | {member: other}}
        data = orjson.dumps(changed, option=orjson.OPT_SORT_KEYS)
        if is_plain(orjson.loads(data), data) and not (member == "digest" and type(other) is str):
            parse_entry(data)


PART = SealedPart(
    b'"@method": GET\n"@signature-params": ()',
    b"s" * 64,
    Head((("content-type", "application/json"), ("x", "\u00e9")), "GET", "/r1/LA?x=1"),
    b'{"name":"\xe0\xba\xa5"}',
    b"0123456789abcdef",
)


def test_a_sealed_part_prints_back() -> None:
    """Request and response parts survive formatting and parsing."""
    answer = SealedPart(b"", b"", Head((), status=404), b"", b"x" * 16)
    for part in (PART, answer):
        assert sealed_parts.parse_part(sealed_parts.format_part(part)) == part


def test_a_sealed_part_byte_for_byte() -> None:
    """uint32 length, JSON with the lengths, base, signature, body."""
    part = SealedPart(b"BASE", b"SIG", Head((("a", "b"),), status=200), b"BODY", b"s" * 16)
    document = (
        b'{"base":4,"head":{"headers":[["a","b"]],"status":200},"salt":"' + b"73" * 16 + b'",'
        b'"signature":3}'
    )
    expected = len(document).to_bytes(4, "big") + document + b"BASESIGBODY"
    assert sealed_parts.format_part(part) == expected


@given(
    st.builds(
        SealedPart,
        base=st.binary(max_size=30),
        signature=st.binary(max_size=30),
        head=st.builds(
            Head,
            headers=st.lists(st.tuples(st.text("ab\u00e9\u0eaa"), st.text("xy"))).map(tuple),
            method=st.none() | st.text("GET"),
            target=st.none() | st.text("/?"),
            status=st.none() | st.integers(100, 599),
        ),
        body=st.binary(max_size=30),
        salt=st.binary(min_size=16, max_size=64),
    )
)
def test_sealed_parts_print_back(part: SealedPart) -> None:
    """Formatting and parsing are inverse."""
    assert sealed_parts.parse_part(sealed_parts.format_part(part)) == part


@given(st.data())
def test_a_changed_part_is_refused_or_another_part(data: st.DataObject) -> None:
    """Whatever parses prints back: no two spellings of one part."""
    plaintext = bytearray(sealed_parts.format_part(PART))
    at = data.draw(st.integers(0, len(plaintext) - 1))
    plaintext[at] ^= data.draw(st.integers(1, 255))
    try:
        part = sealed_parts.parse_part(bytes(plaintext))
    except Problem as problem:
        assert problem.code is Code.INVALID_DOCUMENT  # noqa: PT017
    else:
        assert part != PART
        assert sealed_parts.format_part(part) == plaintext


@pytest.mark.parametrize(
    "headers",
    [
        None, 1, "ab", ["ab"], {"ab": 1}, [["a"]], [["a", 1]], [["a", None]], [[["a"], "b"]],
        [["a", "b", "c"]], [{"a": 1, "b": 2}],
    ],
)  # fmt: skip
def test_header_lines_are_pairs_of_strings(headers: Any) -> None:
    """Whatever else comes apart into pairs is no part."""
    plaintext = sealed_parts.format_part(PART)
    end = 4 + int.from_bytes(plaintext[:4], "big")
    document = json.loads(plaintext[4:end])
    document["head"]["headers"] = headers
    changed = json.dumps(document, separators=(",", ":")).encode()
    with pytest.raises(Problem) as caught:
        sealed_parts.parse_part(len(changed).to_bytes(4, "big") + changed + plaintext[end:])
    assert caught.value.code is Code.INVALID_DOCUMENT


@pytest.mark.parametrize("size", [0, 15, 65])
def test_salts_are_16_to_64_bytes(size: int) -> None:
    """A short salt would make the commitment guessable; a long one is no HMAC key here."""
    with pytest.raises(Problem):
        sealed_parts.format_part(SealedPart(b"", b"", Head(), b"", bytes(size)))


def test_an_entry_keeps_no_more_memory_than_its_bytes() -> None:
    """Thousands of entries wait for publication: none of them keeps the buffer of its encoder."""
    format_entry(FULL)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [format_entry(FULL) for _ in range(100)]
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 1.2 * sum(map(len, kept))


@given(st.binary(min_size=16, max_size=64), st.binary(max_size=300))
def test_our_hmac_is_hmac(key: bytes, message: bytes) -> None:
    """The HMAC that keeps the interpreter's lock equals the standard library's."""
    assert sealed_parts.hmac_sha256(key, message) == hmac.digest(key, message, "sha256")


def test_the_commitment_is_hmac_over_base_and_signature() -> None:
    """An auditor can make it with any HMAC-SHA256 tool."""
    expected = hmac.new(PART.salt, PART.base + PART.signature, "sha256").hexdigest()
    assert sealed_parts.commitment(PART) == expected


def test_seal_and_open() -> None:
    """What is encrypted opens with the record's key; the nonce stands in front."""
    ciphertext = sealed_parts.encrypt(b"text", b"k" * 32, "m 2026-11 d9", b"n" * 12)
    assert ciphertext[:12] == b"n" * 12
    assert sealed_parts.decrypt(ciphertext, b"k" * 32, "m 2026-11 d9") == b"text"


@pytest.mark.parametrize("change", ["short", "empty", "bit", "nonce", "key", "name"])
def test_what_was_changed_does_not_open(change: str) -> None:
    """A flipped or missing bit, another nonce or key, or another name of the key refuses."""
    name = "m 2026-11 d9"
    good = sealed_parts.encrypt(b"text", b"k" * 32, name, b"n" * 12)
    ciphertext = {
        "short": good[:-1],
        "empty": b"",
        "bit": good[:-1] + bytes([good[-1] ^ 1]),
        "nonce": b"x" + good[1:],
    }.get(change, good)
    key = b"x" * 32 if change == "key" else b"k" * 32
    with pytest.raises(Problem) as caught:
        sealed_parts.decrypt(ciphertext, key, "other" if change == "name" else name)
    assert caught.value.code is Code.SEALED_PART_UNREADABLE
