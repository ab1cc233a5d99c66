"""What has become of a record, and how it is told: pure values.

What is known of a record and what is found of it decide what is told::

    known      found        told       known then
    nothing    fits         created    told
    told       fits, same   –          told
    told       fits, other  changed    told
    told       does not fit refused    told      (consumers keep what they had)
    told       nothing      removed    gone
    refused    fits         created    told
    refused    does not fit –, or refused when its values are others
    refused    nothing      –          gone
    gone       as nothing

Invariants of the ``id`` of an event: it is made of the state's own id, the key, the last event that
was *acknowledged* for this key, and what is told. So an event that is told again after a crash has
the id that it had, and a record that comes back to an earlier content has a new one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

import orjson

SPECIFICATION = "1.0"
"""Of CloudEvents, in whose structured JSON form events leave (section 3 of its JSON format)."""

_FRACTION = re.compile(r"(\.\d*[1-9])0+", re.ASCII)


class Told(StrEnum):
    """What an event says has become of a record."""

    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    REFUSED = "refused"


class Standing(StrEnum):
    """What consumers know of a record."""

    TOLD = "told"
    REFUSED = "refused"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a record: no value of it, a digest of what was found last."""

    standing: Standing
    digest: bytes
    event: str


@dataclass(frozen=True, slots=True)
class Good:
    """A row that became a record: its JSON."""

    data: bytes

    @property
    def digest(self) -> bytes:
        return _digest(self.data)


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that fits no record: the place in it and the rule it breaks.

    ``content`` is only for telling whether the row has changed.
    """

    where: str
    rule: str
    type: str
    content: str

    @property
    def digest(self) -> bytes:
        return _digest(b"!" + self.content.encode("utf-8", "replace"))

    @property
    def data(self) -> bytes:
        members = {"where": self.where, "rule": self.rule, "type": self.type}
        return orjson.dumps({name: value for name, value in members.items() if value})


Found: TypeAlias = Good | Bad | None
"""What is found of a key now: a record, a row that fits none, or no row."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell; ``data`` is the record, or of a refused one what is wrong with it."""

    id: str
    told: Told
    subject: str
    data: bytes | None

    def line(self, source: str, time: datetime, schema: str | None = None) -> bytes:
        """The event in CloudEvents' JSON, on one line without its end."""
        members: dict[str, Any] = {
            "specversion": SPECIFICATION,
            "id": self.id,
            "source": source,
            "type": f"saphan.record.{self.told}",
            "subject": self.subject,
            "time": time.isoformat(timespec="milliseconds"),
        }
        if self.data is not None:
            members["datacontenttype"] = "application/json"
            if schema is not None and self.told is not Told.REFUSED:
                members["dataschema"] = schema
            members["data"] = orjson.Fragment(self.data)
        return orjson.dumps(members)


def judge(state_id: str, key: str, known: Known | None, found: Found) -> tuple[Event | None, Known]:
    """What to tell of ``key``, and what to remember once that is acknowledged."""
    before = known or Known(Standing.GONE, b"", "")
    digest = b"" if found is None else found.digest
    if found is not None and before.standing is not Standing.GONE and digest == before.digest:
        return None, before
    told, standing = _outcome(before.standing, found)
    if told is None:
        return None, Known(standing, digest, before.event)
    name = orjson.dumps([state_id, key, before.event, told, digest.hex()])
    event = Event(
        id=hashlib.blake2b(name, digest_size=16).hexdigest(),
        told=told,
        subject=key,
        data=None if found is None else found.data,
    )
    return event, Known(standing, digest, event.id)


def _outcome(standing: Standing, found: Found) -> tuple[Told | None, Standing]:
    known = standing is Standing.TOLD
    match found:
        case None:
            return (Told.REMOVED if known else None), Standing.GONE
        case Bad():
            return Told.REFUSED, Standing.TOLD if known else Standing.REFUSED
        case Good():
            return (Told.CHANGED if known else Told.CREATED), Standing.TOLD


def subject(key: Sequence[Any]) -> str:
    """The text of a key: its parts, joined by ``/``; inside a part ``%`` and ``/`` are escaped.

    Numbers and times are written as PostgreSQL writes them in JSON, which is how its log has them.
    """
    return "/".join(_part(value).replace("%", "%25").replace("/", "%2F") for value in key)


def _part(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case datetime() | time():
            if isinstance(value, datetime) and value.tzinfo is not None:
                with suppress(OverflowError):  # at the end of the year 9999
                    value = value.astimezone(UTC)
            return _FRACTION.sub(r"\1", value.isoformat())
        case date():
            return value.isoformat()
        case float():
            return _plain(Decimal(repr(value)))
        case Decimal():
            return format(value, "f")
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case _:
            return str(value).encode("utf-8", "replace").decode("utf-8")


def _plain(number: Decimal) -> str:
    """The number of a binary fraction, which has no zeros at its end."""
    return format(number.normalize(), "f") if number else "0"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
