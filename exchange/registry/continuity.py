"""The continuity of members' keys: nobody but the old key hands a member's name to a new one.

TUF lets the holders of the targets keys delegate a member's role to any key, their own included.
A client of Saphan therefore holds on to the keys that it saw first and follows a change only if
a **statement** of it carries a signature of the old keys (as many as their threshold) or of the
offline root (as many as its threshold).

Invariants:
- a client remembers a :class:`Pin` for every member it ever saw, also for those that were
  removed: a removal followed by a registration with another key is a change of keys;
- statements of a member are numbered 1, 2, 3 …; a chain leads from the pinned keys to the offered
  ones without a gap, so that an old statement cannot be played again.

Statements of a member stand in the top-level target ``continuity/{role}.json``::

    {"statements": [{"signed": {"_type": "saphan-key-change", "member": "LA/GOV/MPI", "number": 1,
                                "from": KEYS, "to": KEYS},
                     "signatures": [{"keyid": HEX, "sig": HEX}]}]}

with KEYS as in :mod:`exchange.registry.key_sets`; the signatures are over the canonical
form of ``signed`` (keys sorted, no spaces, UTF-8).

What is not checked here: that the first keys ever seen are the right ones. A new server trusts the
registry's targets keys for that (trust on first use).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from securesystemslib.signer import Signature, Signer

from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registry.delegations import continuity_target
from exchange.registry.key_sets import HEX, MAX_KEYS, KeySet, format_keys, parse_keys

MAX_CONTINUITY_BYTES = 256 << 10
MAX_STATEMENTS = 64
STATEMENT_TYPE = "saphan-key-change"


@dataclass(frozen=True, slots=True)
class Pin:
    """What a client remembers of a member: its keys and how often they have changed."""

    keys: KeySet
    number: int


@dataclass(frozen=True, slots=True)
class Statement:
    """That a member's keys change ``before`` → ``after``, for the ``number``-th time."""

    member: MemberId
    number: int
    before: KeySet
    after: KeySet
    signatures: tuple[Signature, ...]

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that signatures are made over."""
        return format_document(self._signed())

    def _signed(self) -> dict[str, object]:
        return {
            "_type": STATEMENT_TYPE,
            "member": str(self.member),
            "number": self.number,
            "from": format_keys(self.before),
            "to": format_keys(self.after),
        }

    def sign(self, signers: Iterable[Signer]) -> Statement:
        """This statement with the signatures of ``signers`` added."""
        data = self.signed_bytes
        added = tuple(signer.sign(data) for signer in signers)
        return Statement(
            self.member, self.number, self.before, self.after, (*self.signatures, *added)
        )


def check_continuity(
    member: MemberId,
    pin: Pin | None,
    offered: KeySet,
    statements: Sequence[Statement],
    root: KeySet,
) -> Pin:
    """The pin after ``offered`` was seen as the keys of ``member``.

    Args:
        pin: what this client remembers; nothing if it never saw the member.
        statements: the published chain of the member, oldest first.
        root: the keys of the present root.

    Raises:
        Problem: ``ContinuityBroken`` when the keys changed and no unbroken chain of sufficiently
            signed statements leads from the pinned keys to the offered ones.
    """
    if pin is None:
        return Pin(offered, statements[-1].number if statements else 0)
    if pin.keys.identity == offered.identity:
        return pin
    current = pin
    for statement in statements:
        if statement.number <= pin.number:
            continue
        current = _follow(member, current, statement, root)
        if current.keys.identity == offered.identity:
            return current
    raise _broken(member, "the keys changed and no signed statement leads to the new ones")


def _follow(member: MemberId, pin: Pin, statement: Statement, root: KeySet) -> Pin:
    number = pin.number + 1
    if statement.member != member or statement.number != number:
        raise _broken(member, f"the statement number {number} is missing")
    if statement.before.identity != pin.keys.identity:
        raise _broken(member, f"statement {number} does not begin with the keys known here")
    data = statement.signed_bytes
    if not pin.keys.signed_by_enough(data, statement.signatures) and not root.signed_by_enough(
        data, statement.signatures
    ):
        raise _broken(member, f"statement {number} is signed neither by the old keys nor by root")
    return Pin(statement.after, number)


def parse_statements(data: bytes, member: MemberId) -> tuple[Statement, ...]:
    """Parse ``continuity/{role}.json``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    document = parse_document(data, MAX_CONTINUITY_BYTES, continuity_target(member))
    fields = document.members(frozenset({"statements"}))
    return tuple(
        parse_statement(node, member) for node in fields["statements"].items(MAX_STATEMENTS, 1)
    )


def parse_statement(node: Node, member: MemberId) -> Statement:
    """One statement of a change of keys.

    Raises:
        Problem: ``InvalidDocument``.
    """
    fields = node.members(frozenset({"signed", "signatures"}))
    signed = fields["signed"].members(frozenset({"_type", "member", "number", "from", "to"}))
    if signed["_type"].value != STATEMENT_TYPE:
        raise signed["_type"].refuse(f"must be {STATEMENT_TYPE}")
    if signed["member"].value != str(member):
        raise signed["member"].refuse(f"must be {member}")
    return Statement(
        member=member,
        number=signed["number"].integer(1, 1_000_000),
        before=parse_keys(signed["from"]),
        after=parse_keys(signed["to"]),
        signatures=tuple(_signature(item) for item in fields["signatures"].items(MAX_KEYS)),
    )


def format_statements(statements: Sequence[Statement]) -> bytes:
    """The canonical bytes of ``continuity/{role}.json``."""
    return format_document({"statements": [format_statement(item) for item in statements]})


def format_statement(statement: Statement) -> dict[str, object]:
    """One statement as a JSON object."""
    return {
        "signed": statement._signed(),
        "signatures": [
            {"keyid": signature.keyid, "sig": signature.signature}
            for signature in statement.signatures
        ],
    }


def _signature(node: Node) -> Signature:
    fields = node.members(frozenset({"keyid", "sig"}))
    values = [fields["keyid"].text(200), fields["sig"].text(2048)]
    for value in values:
        if not HEX.fullmatch(value):
            raise node.refuse("key id and signature are lower-case hexadecimal")
    return Signature(values[0], values[1])


def _broken(member: MemberId, detail: str) -> Problem:
    return Problem(
        Code.CONTINUITY_BROKEN, where=str(member), detail=detail, facts={"member": str(member)}
    )
