"""The continuity of members' keys: nobody but the old key hands a member's name to a new one.

TUF lets the holders of the targets keys delegate a member's role to any key, their own included.
A client of Saphan therefore holds on to the keys that it saw first and follows a change only if
a **statement** of it carries a signature of the old keys (as many as their threshold) or of the
offline root (as many as its threshold); design.md section 5 (b).

Invariants:
- a client remembers a :class:`Pin` for every member it ever saw, also for those that were
  removed: a removal followed by a registration with another key is a change of keys;
- statements of a member are numbered 1, 2, 3 …; a chain leads from the pinned keys to the offered
  ones without a gap, so that an old statement cannot be played again;
- keys are compared by their kind and their value, never by key id alone, which a TUF document
  may choose freely.

Statements of a member stand in the top-level target ``continuity/{role}.json``::

    {"statements": [{"signed": {"_type": "saphan-key-change", "member": "LA/GOV/MPI", "number": 1,
                                "from": KEYS, "to": KEYS},
                     "signatures": [{"keyid": HEX, "sig": HEX}]}]}

with KEYS = ``{"keys": {keyid: TUF key}, "threshold": n}``; the signatures are over the canonical
form of ``signed`` (keys sorted, no spaces, UTF-8).

What is not checked here: that the first keys ever seen are the right ones. A new server trusts the
registry's targets keys for that (trust on first use).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Key, Signature, Signer, SSlibKey
from tuf.api.metadata import DelegatedRole, Role, Root, Targets

from exchange.documents import Node, format_document, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import STANDING_TARGET, is_own_target

MAX_CONTINUITY_BYTES = 256 << 10
MAX_STATEMENTS = 64
MAX_ROLE_NAME = 150
MAX_KEYS = 16
STANDING_ROLE = "standing"
STATEMENT_TYPE = "saphan-key-change"
_HEX = re.compile(r"[0-9a-f]{2,2048}", re.ASCII)
_CONTINUITY = re.compile(r"continuity/[A-Za-z0-9'()+,\-.=%~]{1,200}\.json", re.ASCII)
_ED25519 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEY_TYPES = {"ed25519": "ed25519", "ecdsa": "ecdsa-sha2-nistp256"}


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that may sign for a role and how many of them must."""

    keys: tuple[Key, ...]
    threshold: int

    @property
    def identity(self) -> tuple[frozenset[tuple[str, str, str]], int]:
        """What makes two sets the same: kinds and values of the keys, and the threshold."""
        return frozenset(
            (key.keytype, key.scheme, str(key.keyval["public"])) for key in self.keys
        ), self.threshold

    def signed_by_enough(self, data: bytes, signatures: Iterable[Signature]) -> bool:
        """Whether ``threshold`` different keys of this set signed ``data``."""
        by_id = {key.keyid: key for key in self.keys}
        signers = set()
        for signature in signatures:
            key = by_id.get(signature.keyid)
            if key is not None and _verifies(key, signature, data):
                signers.add(str(key.keyval["public"]))
        return len(signers) >= self.threshold


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


def role_name(member: MemberId) -> str:
    """The TUF role of a member, such as ``LA~GOV~MPI``; ``~`` is in no identifier.

    Roles become file names at clients, so a long identifier is named by its digest instead.
    """
    name = str(member).replace("/", "~")
    if len(quote(name, "")) <= MAX_ROLE_NAME:
        return name
    return f"~{sha256(str(member).encode()).hexdigest()}"


def continuity_target(member: MemberId) -> str:
    """The target path of a member's statements."""
    return f"continuity/{role_name(member)}.json"


def delegated_role(member: MemberId, keys: KeySet) -> DelegatedRole:
    """The one form in which a member's role may be delegated."""
    return DelegatedRole(
        name=role_name(member),
        keyids=sorted(key.keyid for key in keys.keys),
        threshold=keys.threshold,
        terminating=True,
        paths=[f"{member}/*"],
    )


def read_delegations(targets: Targets, instance: str) -> dict[MemberId, KeySet]:
    """The members' keys in the registry's top-level targets metadata.

    Anything but the one form of a member's delegation, or a member's file among the registry's
    own targets, would be a second way to speak for a member, so it spoils the whole metadata.

    Raises:
        Problem: ``UntrustedMetadata`` for such metadata.
    """
    for path in targets.targets:
        own = is_own_target(path)
        if not (own or _CONTINUITY.fullmatch(path)):
            raise _untrusted(path, "the registry's own role may not hold this target")
    read_standing_keys(targets)
    delegations = targets.delegations
    if delegations is None:
        return {}
    if delegations.succinct_roles is not None or delegations.roles is None:
        raise _untrusted("delegations", "succinct roles are not used by this registry")
    found: dict[MemberId, KeySet] = {}
    for name, role in delegations.roles.items():
        if name == STANDING_ROLE:
            continue
        try:
            member = _delegated_member(role)
            keys = role_keys(role, delegations.keys)
        except Problem as problem:
            raise _untrusted(f"delegations/{name}", problem.detail) from problem
        wanted = delegated_role(member, keys)
        same = (role.terminating, role.paths) == (True, wanted.paths)
        if not same or not name == role.name == wanted.name or member.instance != instance:
            raise _untrusted(f"delegations/{name}", "not the one form of a member's delegation")
        found[member] = keys
    return found


def read_standing_keys(targets: Targets) -> KeySet | None:
    """The online keys that may take things away (:mod:`exchange.standing`); nothing if none may.

    Raises:
        Problem: ``UntrustedMetadata`` when the delegation is in another form than that of
            :func:`standing_role`.
    """
    delegations = targets.delegations
    if delegations is None or not delegations.roles or STANDING_ROLE not in delegations.roles:
        return None
    role = delegations.roles[STANDING_ROLE]
    keys = role_keys(role, delegations.keys)
    if (role.name, role.terminating, role.paths) != (STANDING_ROLE, True, [STANDING_TARGET]):
        raise _untrusted(f"delegations/{STANDING_ROLE}", "not the one form of this delegation")
    return keys


def standing_role(keys: KeySet) -> DelegatedRole:
    """The one form in which the online role that takes away is delegated."""
    return DelegatedRole(
        name=STANDING_ROLE,
        keyids=sorted(key.keyid for key in keys.keys),
        threshold=keys.threshold,
        terminating=True,
        paths=[STANDING_TARGET],
    )


def role_keys(role: Role, keys: Mapping[str, Key]) -> KeySet:
    """The keys of a role.

    Raises:
        Problem: ``UntrustedMetadata`` when a key is missing, of another kind than Ed25519 or
            P-256, there twice, or fewer than the threshold.
    """
    chosen = []
    for keyid in sorted(role.keyids):
        if keyid not in keys:
            raise _untrusted(f"keys/{keyid[:80]}", "the role names a key that is not there")
        chosen.append(keys[keyid])
    return _key_set(chosen, role.threshold)


def root_keys(root: Root) -> KeySet:
    """The keys of a TUF root's own role."""
    return role_keys(root.roles["root"], root.keys)


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


def parse_keys(node: Node) -> KeySet:
    """A set of keys in JSON.

    Raises:
        Problem: ``InvalidDocument`` for another form or another kind of key than Ed25519 or P-256.
    """
    fields = node.members(frozenset({"keys", "threshold"}))
    keys = [_key(keyid, item) for keyid, item in fields["keys"].entries(MAX_KEYS)]
    try:
        return _key_set(keys, fields["threshold"].integer(1, MAX_KEYS))
    except Problem as problem:
        raise node.refuse(problem.detail) from problem


def format_keys(keys: KeySet) -> dict[str, object]:
    """A set of keys as a JSON object."""
    return {"keys": {key.keyid: key.to_dict() for key in keys.keys}, "threshold": keys.threshold}


def _key(keyid: str, node: Node) -> Key:
    fields = node.members(frozenset({"keytype", "scheme", "keyval"}))
    value = fields["keyval"].members(frozenset({"public"}))["public"].text(2000)
    if not _HEX.fullmatch(keyid):
        raise node.refuse("a key id is lower-case hexadecimal")
    return SSlibKey(keyid, fields["keytype"].text(40), fields["scheme"].text(40), {"public": value})


def _key_set(keys: Sequence[Key], threshold: int) -> KeySet:
    for key in keys:
        if not _is_canonical(key):
            raise _untrusted(
                f"keys/{key.keyid[:80]}", "only Ed25519 and P-256 keys in their one form may sign"
            )
    values = {key.keyval["public"] for key in keys}
    if len(values) != len(keys):
        raise _untrusted("keys", "a key comes twice")
    if not 1 <= threshold <= len(keys) <= MAX_KEYS:
        raise _untrusted("keys", f"{len(keys)} keys cannot meet a threshold of {threshold}")
    return KeySet(tuple(sorted(keys, key=lambda key: str(key.keyid))), threshold)


def _is_canonical(key: Key) -> bool:
    """One spelling a key, so that the same key under two spellings cannot meet a threshold."""
    public = key.keyval.get("public")
    if not isinstance(public, str) or _KEY_TYPES.get(key.keytype) != key.scheme:
        return False
    if key.keytype == "ed25519":
        return _ED25519.fullmatch(public) is not None
    try:
        known = SSlibKey.from_crypto(load_pem_public_key(public.encode()))
    except (ValueError, UnsupportedAlgorithm):
        return False
    return bool(known.keyval["public"] == public)


def _signature(node: Node) -> Signature:
    fields = node.members(frozenset({"keyid", "sig"}))
    values = [fields["keyid"].text(200), fields["sig"].text(2048)]
    for value in values:
        if not _HEX.fullmatch(value):
            raise node.refuse("key id and signature are lower-case hexadecimal")
    return Signature(values[0], values[1])


def _verifies(key: Key, signature: Signature, data: bytes) -> bool:
    try:
        key.verify_signature(signature, data)
    except (UnverifiedSignatureError, VerificationError):
        return False
    return True


def _delegated_member(role: DelegatedRole) -> MemberId:
    if not role.paths or len(role.paths) != 1 or not role.paths[0].endswith("/*"):
        raise _untrusted("paths", "must be {member}/*")
    return MemberId.parse(role.paths[0].removesuffix("/*"), "paths")


def _untrusted(where: str, detail: str) -> Problem:
    return Problem(Code.UNTRUSTED_METADATA, where=where, detail=detail)


def _broken(member: MemberId, detail: str) -> Problem:
    return Problem(
        Code.CONTINUITY_BROKEN, where=str(member), detail=detail, facts={"member": str(member)}
    )
