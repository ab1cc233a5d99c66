"""Trust policies: which logs, which witnesses, how many of them (C2SP tlog-policy, June 2026).

A policy is a text file that a person writes and an auditor keeps; it needs no network. Invariants:

- lines end in a newline, items are divided by spaces and tabs alone; octets above 0x7F are opaque;
  comments and empty lines are passed over, anything else that is not understood is refused;
- names of witnesses and groups are one set; a group or the quorum names only what stands on a line
  before it, and each name is in one group at most;
- no public key stands twice, whatever it is called;
- ``parse_policy(str(policy).encode()) == policy``.

Keys are Ed25519 (type 0x01 for logs, 0x04 for witnesses); others are refused with their line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from exchange.log.checkpoint import Checkpoint, parse_text
from exchange.log.cosignature import open_cosignature
from exchange.log.notes import (
    COSIGNATURE_ED25519,
    ED25519,
    Note,
    VerifierKey,
    decode_number,
    open_note,
    parse_note,
)
from exchange.problems import Code, Problem

MAX_BYTES: Final = 1 << 20
MAX_LINES: Final = 4096
NO_QUORUM: Final = "none"
_ITEM: Final = re.compile(r"[^ \t]+")
_CONTROL: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Party:
    """A log or a witness: its key, and where it is if that is said."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """``least`` of the members, which are witnesses or groups."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Known logs, known witnesses by name, groups in order, and what a valid checkpoint needs."""

    logs: tuple[Party, ...]
    witnesses: Mapping[str, Party]
    groups: Mapping[str, Group]
    quorum: str

    def __str__(self) -> str:
        lines = [_line("log", log.key, log.url) for log in self.logs]
        lines += [_line("witness", name, w.key, w.url) for name, w in self.witnesses.items()]
        lines += [_line("group", name, g.least, *g.members) for name, g in self.groups.items()]
        return "".join((*lines, _line("quorum", self.quorum)))

    @property
    def demands(self) -> bool:
        """Whether any cosignature is wanted at all."""
        return self.quorum != NO_QUORUM

    def is_quorum(self, names: frozenset[str]) -> bool:
        """Whether these witnesses are enough."""
        witnessing = set(names & self.witnesses.keys())
        for name, group in self.groups.items():  # each after what it names
            if sum(member in witnessing for member in group.members) >= group.least:
                witnessing.add(name)
        return not self.demands or self.quorum in witnessing

    def cosigners(self, note: Note, where: str = "checkpoint") -> frozenset[str]:
        """The names of the witnesses that cosigned a note.

        Raises:
            Problem: ``InvalidNote`` when a line by a known witness is wrong.
        """
        return frozenset(
            name
            for name, witness in self.witnesses.items()
            if any(line.is_by(witness.key) for line in note.signatures)
            and open_cosignature(note, witness.key, where)
        )

    def is_met(self, checkpoint: bytes) -> bool:
        """Whether a signed note carries the cosignatures that are wanted; see :meth:`check` for
        whether it is of a known log."""
        try:
            return self.is_quorum(self.cosigners(parse_note(checkpoint)))
        except Problem:
            return False

    def check(self, checkpoint: bytes, where: str = "checkpoint") -> Checkpoint:
        """Check a signed note: by a known log, and with the quorum.

        Raises:
            Problem: ``InvalidNote`` when it is malformed, not signed by a log of the policy (where
                the policy names logs), or a line of a known key is wrong; ``NotWitnessed`` when
                too few cosigned it.
        """
        note = parse_note(checkpoint, where)
        found = parse_text(note.text, where)
        if self.logs:
            # A key's name is the origin of its log: it signs for no other log of the policy.
            keys = [log.key for log in self.logs if log.key.name == found.origin]
            if not keys:
                raise Problem(
                    Code.INVALID_NOTE, where=where, detail=f"of another log: {found.origin[:200]!r}"
                )
            open_note(note, keys, where)
        cosigners = self.cosigners(note, where)
        if not self.is_quorum(cosigners):
            raise Problem(
                Code.NOT_WITNESSED,
                where=where,
                detail=f"cosigned by {', '.join(sorted(cosigners)) or 'no witness of the policy'}; "
                f"the quorum is {self.quorum}",
                facts={"cosigners": sorted(cosigners), "quorum": self.quorum},
            )
        return found


def any_of(witnesses: Mapping[str, VerifierKey], least: int) -> Policy:
    """A policy that wants ``least`` of the witnesses; all of them when they are fewer."""
    parties = {name: Party(key) for name, key in witnesses.items()}
    least = min(least, len(parties))
    if not least:
        return Policy((), parties, {}, NO_QUORUM)
    name = next(name for name in _names() if name not in parties)
    return Policy((), parties, {name: Group(least, tuple(parties))}, name)


def parse_policy(data: bytes, where: str = "policy") -> Policy:
    """Parse a policy file.

    Raises:
        Problem: ``InvalidDocument`` with the line.
    """
    if len(data) > MAX_BYTES or data.count(b"\n") > MAX_LINES:
        raise Problem(Code.INVALID_DOCUMENT, where=where, detail="the policy is too long")
    reading = _Reading(where)
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        reading.place = f"{where}, line {number}"
        if _CONTROL.search(line):
            raise reading.refuse("control characters other than tab and newline are not allowed")
        items = _ITEM.findall(line.decode("utf-8", "surrogateescape"))
        if number == len(lines) and line:
            raise reading.refuse("the last line does not end with a newline")
        if items and not items[0].startswith("#"):
            reading.take(items)
    reading.place = where
    if reading.quorum is None:
        raise reading.refuse("there is no quorum line; quorum none asks for no cosignature")
    return Policy(tuple(reading.logs), reading.witnesses, reading.groups, reading.quorum)


@dataclass(slots=True)
class _Reading:
    """What was read so far."""

    place: str
    logs: list[Party] = field(default_factory=list)
    witnesses: dict[str, Party] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None
    members: set[str] = field(default_factory=set)

    def refuse(self, detail: str) -> Problem:
        return Problem(Code.INVALID_DOCUMENT, where=self.place, detail=detail)

    def take(self, items: list[str]) -> None:
        match items:
            case ["log", vkey]:
                self.logs.append(self._party(vkey, None, ED25519, self.logs))
            case ["log", vkey, url]:
                self.logs.append(self._party(vkey, url, ED25519, self.logs))
            case ["witness", name, vkey]:
                self._witness(name, vkey, None)
            case ["witness", name, vkey, url]:
                self._witness(name, vkey, url)
            case ["group", name, least, *members]:
                self._group(name, least, members)
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise self.refuse(
                    "is none of: log VKEY [URL], witness NAME VKEY [URL], "
                    "group NAME all|any|K NAME..., quorum NAME"
                )

    def _party(self, vkey: str, url: str | None, kind: int, known: list[Party]) -> Party:
        try:
            key = VerifierKey.parse(vkey, self.place)
        except Problem as problem:
            raise self.refuse(problem.detail) from problem
        if key.kind != kind:
            raise self.refuse(f"a key of type 0x{key.kind:02x}; 0x{kind:02x} is wanted here")
        if any(party.key.public == key.public for party in known):
            raise self.refuse("this public key stands in the policy twice")
        return Party(key, url)

    def _witness(self, name: str, vkey: str, url: str | None) -> None:
        self._new(name)
        known = [*self.witnesses.values()]
        self.witnesses[name] = self._party(vkey, url, COSIGNATURE_ED25519, known)

    def _group(self, name: str, least: str, members: list[str]) -> None:
        self._new(name)
        for member in members:
            self._defined(member)
            if member in self.members:
                raise self.refuse(f"{_shown(member)} is the member of a group already")
            self.members.add(member)
        try:
            number = {"any": 1, "all": len(members)}.get(least) or decode_number(least, self.place)
        except Problem as problem:
            raise self.refuse("the number is not all, any or a decimal number") from problem
        if not 1 <= number <= len(members):
            raise self.refuse(f"{number} of {len(members)} members cannot be wanted")
        self.groups[name] = Group(number, tuple(members))

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise self.refuse("there is a second quorum line")
        if name != NO_QUORUM:
            self._defined(name)
        self.quorum = name

    def _new(self, name: str) -> None:
        if name == NO_QUORUM or name in self.witnesses or name in self.groups:
            raise self.refuse(f"the name {_shown(name)} is taken")

    def _defined(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise self.refuse(f"no line before defines {_shown(name)}")


def _line(*items: object) -> str:
    return " ".join(str(item) for item in items if item is not None) + "\n"


def _names() -> Iterator[str]:
    yield "quorum"
    number = 1
    while True:
        number += 1
        yield f"quorum-{number}"


def _shown(name: str) -> str:
    return name[:100].encode("ascii", "backslashreplace").decode()
