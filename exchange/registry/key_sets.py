"""The keys that may sign for a role of the registry, and how many of them must.

Invariants:
- keys are compared by their kind and their value, never by key id alone, which a TUF document may
  choose freely;
- a key has one spelling, so that the same key in two spellings does not meet a threshold of two.

In JSON: ``{"keys": {keyid: TUF key}, "threshold": n}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Key, Signature, SSlibKey
from tuf.api.metadata import Role, Root

from exchange.documents import Node
from exchange.problems import Code, Problem

MAX_KEYS = 16
HEX = re.compile(r"[0-9a-f]{2,2048}", re.ASCII)
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


def role_keys(role: Role, keys: Mapping[str, Key]) -> KeySet:
    """The keys of a role.

    Raises:
        Problem: ``UntrustedMetadata`` when a key is missing, of another kind than Ed25519 or
            P-256, there twice, or fewer than the threshold.
    """
    chosen = []
    for keyid in sorted(role.keyids):
        if keyid not in keys:
            raise untrusted(f"keys/{keyid[:80]}", "the role names a key that is not there")
        chosen.append(keys[keyid])
    return _key_set(chosen, role.threshold)


def root_keys(root: Root) -> KeySet:
    """The keys of a TUF root's own role."""
    return role_keys(root.roles["root"], root.keys)


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
    if not HEX.fullmatch(keyid):
        raise node.refuse("a key id is lower-case hexadecimal")
    return SSlibKey(keyid, fields["keytype"].text(40), fields["scheme"].text(40), {"public": value})


def _key_set(keys: Sequence[Key], threshold: int) -> KeySet:
    for key in keys:
        if not _is_canonical(key):
            raise untrusted(
                f"keys/{key.keyid[:80]}", "only Ed25519 and P-256 keys in their one form may sign"
            )
    values = {key.keyval["public"] for key in keys}
    if len(values) != len(keys):
        raise untrusted("keys", "a key comes twice")
    if not 1 <= threshold <= len(keys) <= MAX_KEYS:
        raise untrusted("keys", f"{len(keys)} keys cannot meet a threshold of {threshold}")
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


def _verifies(key: Key, signature: Signature, data: bytes) -> bool:
    try:
        key.verify_signature(signature, data)
    except (UnverifiedSignatureError, VerificationError):
        return False
    return True


def untrusted(where: str, detail: str) -> Problem:
    """``UntrustedMetadata`` at a place of TUF metadata."""
    return Problem(Code.UNTRUSTED_METADATA, where=where, detail=detail)
