"""Entries of the journal: what the Merkle tree holds, free of personal data (design: the journal).

Invariants:
- an entry is canonical JSON: UTF-8, sorted keys, no spaces, absent members left out; at most
  :data:`MAX_SIZE` bytes. ``parse_entry`` accepts only bytes that ``format_entry`` prints;
- it says who, what, when and with which outcome; payload, headers, real path and query are in the
  sealed part (:mod:`exchange.journal.sealed_parts`), which the entry names by the digest of its
  ciphertext;
- times are UTC and kept to the millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import orjson

from exchange.identifiers import ApplicationId, ServerId, ServiceId
from exchange.problems import Code, Problem

VERSION: Final = 1
MAX_SIZE = 65_000
REPEATED: Final = "repeated"
"""The event of an answer that was given again: the backend was not asked."""
ERASURE: Final = "erasure"
"""The event of an entry that says what was erased (``erased``)."""
MAX_ERASED: Final = 3000
STATISTICS: Final = "statistics"
"""The event of an entry that tells what was counted in answers."""
_MAX_NUMBER = 2**53 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEX_256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_HEX_128 = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Kind(StrEnum):
    """What an entry records."""

    REQUEST = "request"
    RESPONSE = "response"
    REFUSAL = "refusal"
    """We refused what came in."""
    FAILURE = "failure"
    """We could not finish what we had begun."""
    SYSTEM = "system"
    """The server itself: started, stopped, a key destroyed."""


class Side(StrEnum):
    """On which side of the exchange this server stood."""

    CONSUMER = "consumer"
    PROVIDER = "provider"
    SERVER = "server"


class Sealed(NamedTuple):
    """Where the sealed part is and how it was encrypted.

    ``digest`` is the hex SHA-256 of the ciphertext, ``size`` its length, ``key`` the name of the
    member's key of the month and retention class, ``leaf`` which of its keys is the record's.
    """

    digest: str
    size: int
    key: str
    leaf: int


class Statistics(NamedTuple):
    """How often the values of a statistics field came up in the answers of a service.

    Of the days ``first`` to ``last`` (UTC); ``counts`` are sorted by value. ``part`` numbers what a
    server writes, so that what a crash made it write twice counts once.
    """

    field: str
    first: date
    last: date
    part: int
    counts: tuple[tuple[str, int], ...]


class SubjectIndex(NamedTuple):
    """What a log commits to about the subjects of the entries ``[first, end)``.

    ``root`` (hex) is that of the Merkle tree over a line for each tag, sorted, of which there are
    ``leaves`` (:mod:`exchange.journal.subject_index`); ``months`` (sorted, ``2026-11``) are those
    of the entries that have a tag.
    """

    first: int
    end: int
    leaves: int
    months: tuple[str, ...]
    root: str


class Erased(NamedTuple):
    """What an erasure took away: ``key`` names the key that forgot.

    It forgot ``leaves`` (ascending, at most :data:`MAX_ERASED`), or all leaves before ``before``.
    ``ground`` is the legal ground, in words; it is public for ever, and names no person.
    """

    key: str
    ground: str
    leaves: tuple[int, ...] = ()
    before: int | None = None


class Entry(NamedTuple):
    """One entry; a named tuple, since each message makes two and frozen dataclasses are slow.

    ``at`` is kept to the millisecond, in UTC. ``id`` is X-Road-Id, ``request_id``
    X-Road-Request-Id, ``peer`` the other server, ``endpoint`` the path *template*, ``problem`` a
    code of :mod:`exchange.problems` and ``where`` its place, ``size`` the body's bytes,
    ``certificate`` the fingerprint of the signer's certificate, ``nonce`` that of the request's
    signature (in an answer: the request was claimed, and this is what came of it), ``event`` what
    a system entry is about, or :data:`REPEATED`.
    ``refusals`` says of how many refusals alike the entry tells, where they were too many to be
    recorded one by one. ``evidence`` is the hex SHA-256 of a document that is kept beside the
    log, to which the entry commits; ``statistics`` what was counted, about nobody;
    ``erased`` what an erasure took away. ``subject``
    is the tag of whom or what the exchange is about (:mod:`exchange.journal.subjects`); it,
    ``sealed`` and ``commitment`` are filled in by the journal. ``subjects`` commits to the index of
    tags.
    """

    kind: Kind
    side: Side
    at: datetime
    id: str | None = None
    request_id: str | None = None
    trace: str | None = None
    client: ApplicationId | None = None
    service: ServiceId | None = None
    peer: ServerId | None = None
    method: str | None = None
    endpoint: str | None = None
    status: int | None = None
    problem: str | None = None
    where: str | None = None
    size: int | None = None
    certificate: str | None = None
    agreement: str | None = None
    purpose: str | None = None
    nonce: str | None = None
    event: str | None = None
    refusals: int | None = None
    erased: Erased | None = None
    evidence: str | None = None
    statistics: Statistics | None = None
    subject: str | None = None
    subjects: SubjectIndex | None = None
    sealed: Sealed | None = None
    commitment: str | None = None


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC to the millisecond, such as ``2026-11-21T08:30:00.125Z``."""
    since = at - _EPOCH
    second = _second(since.days * 86_400 + since.seconds)
    return f"{second}.{since.microseconds // 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(since: int) -> str:
    """A second as text: many entries fall into one."""
    return (_EPOCH + timedelta(seconds=since)).isoformat()[:19]


def format_entry(entry: Entry) -> bytes:
    """The canonical bytes of an entry.

    Raises:
        Problem: ``InvalidDocument`` when it is longer than :data:`MAX_SIZE` or has text that is
            not Unicode (lone surrogates).
    """
    return format_sealed(entry, entry.sealed, entry.commitment, entry.subject)


def format_sealed(
    entry: Entry, sealed: Sealed | None, commitment: str | None, subject: str | None = None
) -> bytes:
    """:func:`format_entry` with these instead of the entry's own members of the same names.

    Saves a copy of the entry for each record. Members are written in sorted order. The values of
    enumerations are taken as plain strings, which spares orjson a property in Python; the entry is
    taken apart once, which is cheaper than asking for each member by its name.
    """
    (
        kind, side, at, message_id, request_id, trace, client, service, peer, method, endpoint,
        status, problem, where, size, certificate, agreement, purpose, nonce, event, refusals,
        erased, evidence, statistics, _, subjects, _, _,
    ) = entry  # fmt: skip
    document: dict[str, Any] = {}
    if agreement is not None:
        document["agreement"] = agreement
    document["at"] = format_time(at)
    if certificate is not None:
        document["certificate"] = certificate
    if client is not None:
        document["client"] = str(client)
    if commitment is not None:
        document["commitment"] = commitment
    if endpoint is not None:
        document["endpoint"] = endpoint
    if erased is not None:
        document["erased"] = _format_erased(erased)
    if event is not None:
        document["event"] = event
    if evidence is not None:
        document["evidence"] = evidence
    if message_id is not None:
        document["id"] = message_id
    document["kind"] = kind._value_
    if method is not None:
        document["method"] = method
    if nonce is not None:
        document["nonce"] = nonce
    if peer is not None:
        document["peer"] = str(peer)
    if problem is not None:
        document["problem"] = problem
    if purpose is not None:
        document["purpose"] = purpose
    if refusals is not None:
        document["refusals"] = refusals
    if request_id is not None:
        document["request_id"] = request_id
    if sealed is not None:
        document["sealed"] = {
            "digest": sealed.digest,
            "key": sealed.key,
            "leaf": sealed.leaf,
            "size": sealed.size,
        }
    if service is not None:
        document["service"] = str(service)
    document["side"] = side._value_
    if size is not None:
        document["size"] = size
    if statistics is not None:
        counted = statistics
        document["statistics"] = {
            "counts": dict(counted.counts),
            "field": counted.field,
            "from": counted.first.isoformat(),
            "part": counted.part,
            "until": counted.last.isoformat(),
        }
    if status is not None:
        document["status"] = status
    if subject is not None:
        document["subject"] = subject
    if subjects is not None:
        document["subjects"] = dict(sorted(subjects._asdict().items()))
    if trace is not None:
        document["trace"] = trace
    document["v"] = VERSION
    if where is not None:
        document["where"] = where
    try:
        # A copy of its own length: what orjson returns keeps a buffer of eight to ten times that,
        # and an entry is kept until it is published.
        data = b"".join((orjson.dumps(document), b""))
    except TypeError as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where="entry", detail=f"cannot be written: {error}"
        ) from error
    if len(data) > MAX_SIZE:
        raise Problem(
            Code.INVALID_DOCUMENT,
            where="entry",
            detail=f"an entry of {len(data)} bytes; {MAX_SIZE} are allowed",
        )
    return data


def _format_erased(erased: Erased) -> dict[str, Any]:
    what: dict[str, Any] = {}
    if erased.before is not None:
        what["before"] = erased.before
    what |= {"ground": erased.ground, "key": erased.key}
    if erased.leaves:
        what["leaves"] = erased.leaves
    return what


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=where, detail=detail)


def _string(value: Any, where: str) -> str:
    if type(value) is not str:
        raise _refuse(where, "not a string")
    return value


def _number(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise _refuse(where, "not a natural number")
    return value


def _digest(value: Any, where: str) -> str:
    if type(value) is not str or not _HEX_256.fullmatch(value):
        raise _refuse(where, "not 64 lower-case hex digits")
    return value


def _tag(value: Any, where: str) -> str:
    if type(value) is not str or not _HEX_128.fullmatch(value):
        raise _refuse(where, "not 32 lower-case hex digits")
    return value


_Word = TypeVar("_Word", bound=StrEnum)


def _word(words: type[_Word]) -> Callable[[Any, str], _Word]:
    def parse(value: Any, where: str) -> _Word:
        try:
            return words(_string(value, where))
        except ValueError as error:
            raise _refuse(where, f"{value[:40]!r} is not one of {', '.join(words)}") from error

    return parse


def _time(value: Any, where: str) -> datetime:
    try:
        return datetime.fromisoformat(_string(value, where))
    except ValueError as error:
        raise _refuse(where, f"{value[:40]!r} is not a time") from error


def _statistics(value: Any, where: str) -> Statistics:
    members = {"counts", "field", "from", "part", "until"}
    if type(value) is not dict or value.keys() != members or type(value["counts"]) is not dict:
        raise _refuse(where, "not exactly counts, field, from, part and until")
    counts = [
        (_string(name, where), _number(count, where)) for name, count in value["counts"].items()
    ]
    if not counts or counts != sorted(counts):
        raise _refuse(f"{where}/counts", "not sorted, or empty")
    return Statistics(
        _string(value["field"], f"{where}/field"),
        _day(value["from"], f"{where}/from"),
        _day(value["until"], f"{where}/until"),
        _number(value["part"], f"{where}/part"),
        tuple(counts),
    )


def _day(value: Any, where: str) -> date:
    try:
        return date.fromisoformat(_string(value, where))
    except ValueError as error:
        raise _refuse(where, f"{value[:40]!r} is not a day") from error


def _sealed(value: Any, where: str) -> Sealed:
    if type(value) is not dict or value.keys() != {"digest", "key", "leaf", "size"}:
        raise _refuse(where, "not exactly digest, key, leaf and size")
    return Sealed(
        _digest(value["digest"], f"{where}/digest"),
        _number(value["size"], f"{where}/size"),
        _string(value["key"], f"{where}/key"),
        _number(value["leaf"], f"{where}/leaf"),
    )


def _subjects(value: Any, where: str) -> SubjectIndex:
    if type(value) is not dict or value.keys() != set(SubjectIndex._fields):
        raise _refuse(where, f"not exactly {', '.join(SubjectIndex._fields)}")
    months = value["months"]
    if type(months) is not list or not all(
        type(month) is str and _MONTH.fullmatch(month) for month in months
    ):
        raise _refuse(f"{where}/months", "not a list of months")
    if sorted(set(months)) != months:
        raise _refuse(f"{where}/months", "not sorted, or one is there twice")
    first, end = _number(value["first"], f"{where}/first"), _number(value["end"], f"{where}/end")
    if first > end:
        raise _refuse(f"{where}/end", "before the first")
    leaves = _number(value["leaves"], f"{where}/leaves")
    return SubjectIndex(first, end, leaves, tuple(months), _digest(value["root"], f"{where}/root"))


def _erased(value: Any, where: str) -> Erased:
    if type(value) is not dict or value.keys() not in (
        {"before", "ground", "key"},
        {"ground", "key", "leaves"},
    ):
        raise _refuse(where, "not exactly ground, key, and leaves or before")
    leaves = value.get("leaves", [])
    if type(leaves) is not list or len(leaves) > MAX_ERASED:
        raise _refuse(f"{where}/leaves", f"not a list of at most {MAX_ERASED}")
    numbers = [_number(leaf, f"{where}/leaves") for leaf in leaves]
    if numbers != sorted(set(numbers)):
        raise _refuse(f"{where}/leaves", "not in ascending order")
    before = value.get("before")
    return Erased(
        _string(value["key"], f"{where}/key"),
        _string(value["ground"], f"{where}/ground"),
        tuple(numbers),
        None if before is None else _number(before, f"{where}/before"),
    )


_MEMBERS: dict[str, Callable[[Any, str], Any]] = {
    "kind": _word(Kind),
    "side": _word(Side),
    "at": _time,
    "id": _string,
    "request_id": _string,
    "trace": _string,
    "client": lambda value, where: ApplicationId.parse(_string(value, where), where),
    "service": lambda value, where: ServiceId.parse(_string(value, where), where),
    "peer": lambda value, where: ServerId.parse(_string(value, where), where),
    "method": _string,
    "endpoint": _string,
    "status": _number,
    "problem": _string,
    "where": _string,
    "size": _number,
    "certificate": _string,
    "agreement": _string,
    "purpose": _string,
    "nonce": _string,
    "event": _string,
    "refusals": _number,
    "erased": _erased,
    "subject": _tag,
    "subjects": _subjects,
    "evidence": _digest,
    "statistics": _statistics,
    "sealed": _sealed,
    "commitment": _digest,
}

# Days that every year has.
_PLAIN_TIME = re.compile(
    r"20\d\d-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|"
    r"(?:0[13578]|1[02])-31)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z",
    re.ASCII,
)
_PLAIN = frozenset(
    {
        "agreement", "at", "certificate", "client", "commitment", "endpoint", "event", "id",
        "kind", "method", "nonce", "peer", "problem", "purpose", "request_id", "sealed", "service",
        "side", "size", "status", "subject", "trace", "v", "where",
    }
)  # fmt: skip
_PLAIN_TYPES: Final = {"sealed": dict, "size": int, "status": int, "v": int}
_NEEDED = frozenset({"at", "kind", "side", "v"})
_KINDS, _SIDES = [str(kind) for kind in Kind], [str(Side.CONSUMER), str(Side.PROVIDER)]


def is_plain(document: Mapping[str, Any], data: bytes) -> bool:
    """Whether data, whose parsed JSON this is, is an entry of a message in canonical form.

    For most entries this spares whoever reads millions :func:`parse_entry`, which takes ten times
    as long. Identifiers and texts are taken as they stand.
    """
    if tuple(map(type, document.values())) != _plain_types(tuple(document)):
        return False
    sealed: Mapping[str, Any] | None = document.get("sealed")
    return (
        (sealed is None or _is_plain_sealed(sealed))
        and document["v"] == VERSION
        and document["kind"] in _KINDS
        and document["side"] in _SIDES
        and 0 <= document.get("size", 0) <= _MAX_NUMBER
        and 0 <= document.get("status", 0) <= _MAX_NUMBER
        and _PLAIN_TIME.fullmatch(document["at"]) is not None
        and orjson.dumps(document) == data
    )


@lru_cache(maxsize=256)
def _plain_types(names: tuple[str, ...]) -> tuple[type, ...] | None:
    """The types of these members, when they are those of an entry of a message, sorted.

    Entries have few forms.
    """
    found = set(names)
    if found <= _PLAIN and found >= _NEEDED and sorted(found) == list(names):
        return tuple(_PLAIN_TYPES.get(name, str) for name in names)
    return None


def _is_plain_sealed(sealed: Mapping[str, Any]) -> bool:
    """:func:`is_plain` of the member ``sealed``; its digest is taken as it stands."""
    if tuple(map(type, sealed.values())) != (str, str, int, int):
        return False
    return (
        tuple(sealed) == ("digest", "key", "leaf", "size")
        and 0 <= sealed["leaf"] <= _MAX_NUMBER
        and 0 <= sealed["size"] <= _MAX_NUMBER
    )


def parse_entry(data: bytes, where: str = "entry") -> Entry:
    """Parse an entry.

    Raises:
        Problem: ``InvalidDocument`` (``InvalidIdentifier`` for identifiers) when the bytes are not
            what :func:`format_entry` prints for the entry they describe: too long, not JSON,
            unknown or duplicate members, other spellings of numbers, times or strings.
    """
    if len(data) > MAX_SIZE:
        raise _refuse(where, f"an entry of {len(data)} bytes; {MAX_SIZE} are allowed")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _refuse(where, "not JSON") from error
    if type(document) is not dict:
        raise _refuse(where, "not an object")
    if document.pop("v", None) != VERSION:
        raise _refuse(where, f"not version {VERSION}")
    values: dict[str, Any] = {}
    for name, value in document.items():
        parse = _MEMBERS.get(name)
        if parse is None:
            raise _refuse(where, f"unknown member {name[:40]!r}")
        values[name] = parse(value, f"{where}/{name}")
    missing = {"kind", "side", "at"} - values.keys()
    if missing:
        raise _refuse(where, f"no {', '.join(sorted(missing))}")
    entry = Entry(**values)
    if entry.at.tzinfo is not UTC or format_entry(entry) != data:
        raise _refuse(where, "not in canonical form")
    return entry
