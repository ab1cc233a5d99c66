"""The next root, made by people: drafted, carried from one to the other and signed, then published.

A draft is root metadata that says how it differs from the published one. Whoever signs it sees that
difference (:func:`protocol`) and the digest that all read aloud; a signature is added to the file,
which goes on to the next person. Enough keys of the old and of the new root must sign (TUF 1.0.34,
5.3.4). Nothing here touches a network; the registry and every server judge it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Role, Root

from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem
from registry.publication.drafts import add_signatures, digest_line, signers_of
from registry.publication.publish import judge_root, read, sign

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


def sign_root(draft: bytes, current: bytes | None, signers: Iterable[Signer]) -> bytes:
    """The draft with the signatures of those keys that old or new root name.

    Args:
        current: the published root; nothing for the first one.

    Raises:
        Problem: ``NotAuthorised`` when none of the keys is named.
    """
    named = [keyid for _, part, _ in _parts(draft, current) for keyid in part.keyids]
    return add_signatures(draft, signers, named, "root")


def protocol(draft: bytes, current: bytes | None) -> list[str]:
    """What people read aloud and sign on paper: what changes, the digest, who signed so far."""
    new = read(Root, draft, "draft")
    old = None if current is None else judge_root(current)
    if old is None:
        lines = ["First root of a new registry", f"  valid until {new.expires:%FT%TZ}"]
    else:
        lines = [
            f"Root {old.version} -> {new.version} of the registry",
            f"  valid until {new.expires:%FT%TZ} (before: {old.expires:%FT%TZ})",
        ]
    lines.append(digest_line(draft))
    for role in ROLES:
        lines += _told(role, new.roles[role], None if old is None else old.roles[role])
    for text in new.unrecognized_fields.get(LOG_FIELD, []):
        lines.append(f"  vouches for the log key {text}")
    for name, part, keys in _parts(draft, current):
        signed = [keyid[:16] for keyid in signers_of(draft, part.keyids, keys)]
        names = ", ".join(signed) or "nobody"
        lines.append(f"  signed by {len(signed)} of {part.threshold} ({name} root): {names}")
    return lines


def is_complete(draft: bytes, current: bytes | None) -> bool:
    """Whether enough keys of both roots have signed."""
    return all(
        len(signers_of(draft, part.keyids, keys)) >= part.threshold
        for _, part, keys in _parts(draft, current)
    )


def _told(role: str, after: Role, before: Role | None) -> Iterator[str]:
    was = "" if before is None else f" (before: {before.threshold} of {len(before.keyids)})"
    yield f"  {role}: {after.threshold} of {len(after.keyids)} keys must sign{was}"
    known = [] if before is None else before.keyids
    for keyid in after.keyids:
        yield f"    {keyid[:16]}  {'stays' if keyid in known else 'NEW'}"
    yield from (f"    {keyid[:16]}  GOES" for keyid in known if keyid not in after.keyids)


def _parts(draft: bytes, current: bytes | None) -> list[tuple[str, Role, dict[str, Key]]]:
    """Whose signatures count: of the published root, if there is one, and of the new one."""
    new = read(Root, draft, "draft")
    parts = [("new", new.roles["root"], new.keys)]
    if current is not None:
        old = judge_root(current)
        parts.insert(0, ("old", old.roles["root"], old.keys))
    elif new.version != 1:
        raise Problem(Code.INVALID_USAGE, where="--root", detail="name the published root")
    return parts


def _known(root: Root, role: str) -> None:
    if role not in ROLES or role not in root.roles:
        raise Problem(Code.NOT_FOUND, where=role, detail=f"the roles are {', '.join(ROLES)}")
