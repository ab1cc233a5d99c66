"""Formats of our own under values that hypothesis makes: what is written reads back the same, and
whatever else comes is a problem that names the sender's mistake, not ours."""

# ruff: noqa: PT017 (both outcomes are right, each with a rule of its own)
from __future__ import annotations

import json
import sqlite3
import tempfile
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from hypothesis import strategies as st

from console.instance.drafts import read
from console.instance.merging import settle
from console.instance.reading import Mistaken
from console.instance.writing import write
from exchange.contracts.contract import Contract
from exchange.problems import Code, Problem
from mediator.auditing.api import query_of
from mediator.journal.index import Cursor, IndexReader, IndexWriter
from mediator.once.vault import Answer, Vault
from mediator.provider.maintenance import Maintenance, parse_order
from serving.clock import SystemClock
from serving.yaml_files import read_yaml
from tests.instance.test_configuration_document import JSON, LIKELY, drafts

# --- the exactly-once book --------------------------------------------------------------------

_VAULT = Vault(bytes(range(32)))
_PARTS = st.lists(
    st.sampled_from(["", "POST", "/a", "/a?b", '"', '","', "[", "\\", "\0", "é"])
    | st.text(max_size=6),
    max_size=5,
).map(tuple)
Named = tuple[tuple[str, ...], tuple[str, ...]]


def named() -> st.SearchStrategy[Named]:
    """The parts of two requests, which often look alike when they are joined."""
    return st.tuples(_PARTS, _PARTS) | st.tuples(_PARTS, st.integers(0, 3)).map(_split_elsewhere)


def _split_elsewhere(drawn: tuple[tuple[str, ...], int]) -> Named:
    parts, at = drawn
    return parts, (*parts[:at], "".join(parts[at : at + 2]), *parts[at + 2 :])


def check_fingerprints(given: Named) -> bool:
    """Two requests have one fingerprint if they are the same in every part, and only then."""
    first, second = given
    made = _VAULT.fingerprint(*first)
    assert (made == _VAULT.fingerprint(*second)) is (first == second)
    assert made != Vault(bytes(32)).fingerprint(*first)
    return first == second


_LATIN = st.text(st.characters(max_codepoint=255), max_size=12)
_ANSWERS = st.tuples(
    st.integers(100, 599),
    st.lists(st.tuples(_LATIN, _LATIN), max_size=4).map(tuple),
    st.binary(max_size=60),
    st.text(max_size=12),
    st.text(max_size=12),
    st.text(max_size=12),
)
Kept = tuple[tuple[Any, ...], int, bytes]


def kept_answers() -> st.SearchStrategy[Kept]:
    """An answer, and what is written over its sealed form at a place; often nothing."""
    return st.tuples(_ANSWERS, st.integers(0, 200), st.sampled_from([b"", b""]) | st.binary())


def check_answer_kept(given: Kept) -> bool:
    """What was sealed opens as it was, for its claim alone; what was changed does not open."""
    members, at, noise = given
    answer, key, fingerprint = Answer(*members), b"k" * 32, b"f" * 32
    data = _VAULT.seal(key, fingerprint, answer)
    changed = data[:at] + noise + data[at + len(noise) :]
    for box, found in (
        (key, changed),
        (b"K" * 32, data),
        (key, data[:at] if at < len(data) else b""),
    ):
        try:
            opened = _VAULT.open(box, fingerprint, found)
        except Problem as problem:
            assert problem.code is Code.ANSWER_NOT_KEPT
            assert (box, found) != (key, data)
        else:
            assert (box, found, opened) == (key, data, answer)
    return changed == data


# --- maintenance ------------------------------------------------------------------------------

_TIMES = [
    "2026-11-21T18:00:00Z", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2026-11-21t18:00:00z", "2026-1-2T3:4:5Z", "2026-11-21T18:00:00+00:00", "2026-11-21T24:00:00Z",
    "2026-11-21T18:00:60Z", " 2026-11-21T18:00:00Z", "٢026-11-21T18:00:00Z", "",
]  # fmt: skip


@st.composite
def orders(draw: Any) -> bytes:
    """Orders of the administration, most of them almost right."""
    fields: dict[str, Any] = {"notice": draw(st.sampled_from(["closed", "ປິດ"]) | st.text())}
    if draw(st.booleans()):
        fields["until"] = draw(st.sampled_from(_TIMES[:1] * 9 + _TIMES) | JSON)
    if not draw(st.integers(0, 9)):
        fields[draw(st.sampled_from(["since", "notice", "x"]))] = draw(JSON)
    data = bytearray(json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if not draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(data)))
        data[at : at + 1] = draw(st.binary(max_size=3))
    return bytes(data)


def check_order(data: bytes) -> bool:
    """An order that is taken is the same notice after a restart, and can be told to callers."""
    try:
        notice = parse_order(data, datetime(2026, 1, 1, tzinfo=UTC))
    except Problem as problem:
        assert problem.code is Code.INVALID_DOCUMENT, problem
        return False
    with tempfile.TemporaryDirectory(prefix="saphan-") as folder:
        path = Path(folder) / "maintenance.json"
        told = Maintenance(path, SystemClock(), notice).describe()
        path.write_bytes(orjson.dumps({name: told[name] for name in told if name != "on"}))
        again = Maintenance.open(path, SystemClock(), None)
        assert (again.notice, again.describe()) == (notice, told)
        try:
            again.check()
        except Problem as problem:
            assert problem.code is Code.MAINTENANCE_MODE
            assert 0 < problem.facts["retry_after_s"] <= 24 * 3600
        else:
            raise AssertionError("a message is let in")
    return True


# --- questions of auditors --------------------------------------------------------------------

_AUDIT = Contract.compile(
    orjson.dumps(read_yaml(files("mediator").joinpath("apis/audit.yaml").read_bytes())), {}
)
_ENTRIES = _AUDIT.find("GET", "/entries")
_EMPTY = IndexWriter(":memory:")
_READER = IndexReader(_EMPTY.open(), "an.example/log")
_CONDITIONS = [
    "since", "until", "client", "service", "member", "endpoint", "kind", "outcome", "status",
    "problem", "id", "request_id", "trace", "agreement", "purpose", "limit", "cursor", "x",
]  # fmt: skip
_ASKED = [
    "2026-11-21T18:00:00Z", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+23:59", "200", "99",
    "9999-12-31T23:59:59-23:59", "1", "1000", "0", "-1", "LA/GOV/MOF/budget", "LA/GOV", "request",
    "refused", "ok", "InvalidRequest", "GET /a", "a", "", "\0",
    "\ud7ff", "%", "1e3", "18446744073709551616",
]  # fmt: skip
_INTEGERS = st.integers(-(2**64), 2**64) | st.integers(0, 9)


def questions() -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    """Conditions of a search; cursors are well-formed more often than not."""
    cursors = st.builds(
        _cursor, _INTEGERS, st.text(max_size=5) | st.just("an.example/log"), _INTEGERS
    )
    value = st.sampled_from(_ASKED) | st.text(max_size=20)
    likely = st.tuples(st.sampled_from(_CONDITIONS[:-1]), value)
    pair = (
        likely
        | st.tuples(st.sampled_from(_CONDITIONS), value)
        | st.tuples(st.just("cursor"), cursors)
    )
    return st.lists(pair, max_size=3).map(tuple)


def _cursor(at: int, origin: str, index: int) -> str:
    try:
        return str(Cursor(at, origin, index))
    except TypeError:  # beyond what JSON is written with
        return ""


def check_question(conditions: tuple[tuple[str, str], ...]) -> bool:
    """A question is answered, or is the asker's mistake; never one of the server or its index."""
    text = urlencode(conditions)
    try:
        _ENTRIES.operation.check_request(_ENTRIES, text, (), b"")
        asked = dict(parse_qsl(text, keep_blank_values=True))
        cursor = Cursor.parse(asked["cursor"]) if "cursor" in asked else None
        query = query_of(asked)
        assert _READER.search(query, int(asked.get("limit", 100)), cursor) == []
    except Problem as problem:
        assert problem.status < 500, problem
        return False
    except sqlite3.Error as error:
        raise AssertionError(conditions) from error
    return True


# --- the configuration of an instance ---------------------------------------------------------


def configurations() -> st.SearchStrategy[Any]:
    """GovStack's documents, good ones, likely ones and any JSON at all."""
    return drafts() | LIKELY | JSON


def check_configuration(value: Any) -> bool:
    """What is read is written so that it reads back the same, whole or merged into itself."""
    try:
        found = settle(read(value))
    except Mistaken:
        return False
    assert settle(read(write(found))) == found
    assert settle(read(write(found)), found) == found
    return True
