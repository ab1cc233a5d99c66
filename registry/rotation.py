"""The next root, made by people: drafted, carried from one to the other and signed, then published.

A draft is root metadata that says how it differs from the published one. Whoever signs it sees that
difference (:func:`protocol`) and the digest that all read aloud; a signature is added to the file,
which goes on to the next person. Enough keys of the old and of the new root must sign (TUF 1.0.34,
5.3.4). Nothing here touches a network; the registry and every server judge it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Root, Targets

from exchange.notes import VerifierKey
from exchange.problems import Code, Problem
from registry.publish import judge_root, next_targets, read, sign

LOG_FIELD = "x-saphan-log"
"""Keys of the registry's log that the root vouches for: after the old ones were lost."""
ROLES = ("root", "targets", "snapshot", "timestamp")


@dataclass(frozen=True, slots=True)
class Changes:
    """What the next root changes: keys by role, thresholds by role, keys of the log."""

    add: Mapping[str, Sequence[Key]]
    remove: Mapping[str, Sequence[str]]
    thresholds: Mapping[str, int]
    log: Sequence[VerifierKey] = ()


def draft_root(current: bytes, changes: Changes, expires: datetime) -> bytes:
    """The next root, without signatures.

    Raises:
        Problem: ``InvalidDocument`` for a published root that is none; ``NotFound`` for a key or
            role that is not there; ``InvalidSettings`` when fewer keys are left than must sign.
    """
    root = judge_root(current)
    root.version += 1
    root.expires = expires.replace(microsecond=0)
    for role, keys in changes.add.items():
        _known(root, role)
        for key in keys:
            root.add_key(key, role)
    for role, keyids in changes.remove.items():
        _known(root, role)
        for keyid in keyids:
            found = [known for known in root.roles[role].keyids if known.startswith(keyid)]
            if len(found) != 1 or len(keyid) < 8:
                raise Problem(
                    Code.NOT_FOUND, where=role, detail=f"no one key of the role begins with {keyid}"
                )
            root.revoke_key(found[0], role)
    for role, threshold in changes.thresholds.items():
        _known(root, role)
        root.roles[role].threshold = threshold
    for role in ROLES:
        part = root.roles[role]
        if not 1 <= part.threshold <= len(part.keyids) <= 16:
            raise Problem(
                Code.INVALID_SETTINGS,
                where=role,
                detail=f"{part.threshold} of {len(part.keyids)} keys cannot sign",
            )
    root.unrecognized_fields.pop(LOG_FIELD, None)
    if changes.log:
        root.unrecognized_fields[LOG_FIELD] = [str(key) for key in changes.log]
    return sign(root, [])


def sign_root(draft: bytes, current: bytes, signers: Iterable[Signer]) -> bytes:
    """The draft with the signatures of those keys that old or new root name.

    Raises:
        Problem: ``NotAuthorised`` when none of the keys is named.
    """
    metadata, old = _opened(draft), judge_root(current)
    named = {*metadata.signed.roles["root"].keyids, *old.roles["root"].keyids}
    fitting = [signer for signer in signers if signer.public_key.keyid in named]
    if not fitting:
        raise Problem(
            Code.NOT_AUTHORISED, where="keys", detail="none of these keys is a root key, old or new"
        )
    for signer in fitting:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def sign_targets_again(
    draft: bytes, targets: bytes, instance: str, signers: Sequence[Signer], expires: datetime
) -> bytes:
    """The published targets once more, under the targets keys of the draft.

    Raises:
        Problem: ``NotAuthorised`` when too few of them are here.
    """
    role = _opened(draft).signed.roles["targets"]
    fitting = [signer for signer in signers if signer.public_key.keyid in role.keyids]
    if len({signer.public_key.keyid for signer in fitting}) < role.threshold:
        raise Problem(
            Code.NOT_AUTHORISED,
            where="keys",
            detail=f"{len(fitting)} of the targets keys are here, {role.threshold} must sign",
            facts={"here": len(fitting), "threshold": role.threshold},
        )
    return sign(next_targets(read(Targets, targets, "targets"), instance, expires=expires), fitting)


def protocol(draft: bytes, current: bytes) -> list[str]:
    """What people read aloud and sign on paper: what changes, the digest, who signed so far."""
    metadata, old = _opened(draft), judge_root(current)
    new = metadata.signed
    digest = sha256(metadata.signed_bytes).hexdigest()
    lines = [
        f"Root {old.version} -> {new.version} of the registry",
        f"  valid until {new.expires:%FT%TZ} (before: {old.expires:%FT%TZ})",
        f"  SHA-256 of what is signed: {' '.join(digest[i : i + 8] for i in range(0, 64, 8))}",
    ]
    for role in ROLES:
        before, after = old.roles[role], new.roles[role]
        lines.append(
            f"  {role}: {after.threshold} of {len(after.keyids)} keys must sign "
            f"(before: {before.threshold} of {len(before.keyids)})"
        )
        for keyid in after.keyids:
            mark = "stays" if keyid in before.keyids else "NEW"
            lines.append(f"    {keyid[:16]}  {mark}")
        lines += [f"    {keyid[:16]}  GOES" for keyid in before.keyids if keyid not in after.keyids]
    for text in new.unrecognized_fields.get(LOG_FIELD, []):
        lines.append(f"  vouches for the log key {text}")
    for name, part in (("old", old.roles["root"]), ("new", new.roles["root"])):
        signed = [keyid[:16] for keyid in part.keyids if _has_signed(metadata, keyid, old)]
        names = ", ".join(signed) or "nobody"
        lines.append(f"  signed by {len(signed)} of {part.threshold} ({name} root): {names}")
    return lines


def is_complete(draft: bytes, current: bytes) -> bool:
    """Whether enough keys of both roots have signed."""
    metadata, old = _opened(draft), judge_root(current)
    return all(
        sum(_has_signed(metadata, keyid, old) for keyid in part.keyids) >= part.threshold
        for part in (old.roles["root"], metadata.signed.roles["root"])
    )


def _has_signed(metadata: Metadata[Root], keyid: str, old: Root) -> bool:
    key = metadata.signed.keys.get(keyid) or old.keys.get(keyid)
    signature = metadata.signatures.get(keyid)
    if key is None or signature is None:
        return False
    try:
        key.verify_signature(signature, metadata.signed_bytes)
    except Exception:  # whatever is wrong with it, it is none
        return False
    return True


def _opened(draft: bytes) -> Metadata[Root]:
    read(Root, draft, "draft")
    found: Metadata[Any] = Metadata.from_bytes(draft)
    return found


def _known(root: Root, role: str) -> None:
    if role not in ROLES or role not in root.roles:
        raise Problem(Code.NOT_FOUND, where=role, detail=f"the roles are {', '.join(ROLES)}")
