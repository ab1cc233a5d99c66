"""TUF metadata of the registry: built, signed and judged; no files, no network (TUF 1.0.34).

Roles: ``root`` (offline, threshold) vouches for ``targets`` (offline, threshold), ``snapshot`` and
``timestamp`` (online). ``targets`` holds the registry's own files (instance, shared schemas,
statements of changed keys) and delegates ``{member}/*`` to each member's own keys, in the one form
of :func:`exchange.registry.delegations.delegated_role`.

Invariants:
- versions only grow; a snapshot never forgets a role, or clients would refuse it;
- whatever is judged here was judged by the same code of python-tuf that clients run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import MAX_OPENAPI_BYTES
from exchange.registry.delegations import (
    STANDING_ROLE,
    delegated_role,
    read_delegations,
    read_standing_keys,
    role_name,
    standing_role,
)
from exchange.registry.endings import LIFE_FIELD
from exchange.registry.key_sets import KeySet

OWN_ROLE = "targets"
"""The registry's own role: the top-level targets."""
TARGETS_VALIDITY = timedelta(days=365)
MAX_METADATA_BYTES = 5_000_000
MAX_VERSION = 1 << 53
MAX_MEMBER_FILES_BYTES = 32 << 20
_SERIALIZER = JSONSerializer(compact=True)
SignedT = TypeVar("SignedT", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True, slots=True)
class RootKeys:
    """Public keys of the four top-level roles."""

    root: KeySet
    targets: KeySet
    snapshot: KeySet
    timestamp: KeySet


def new_root(keys: RootKeys, expires: datetime) -> Root:
    """The first root: who signs what, and how many of them."""
    parts = {
        "root": keys.root,
        "targets": keys.targets,
        "snapshot": keys.snapshot,
        "timestamp": keys.timestamp,
    }
    root = Root(version=1, expires=_whole(expires), consistent_snapshot=True)
    for name, part in parts.items():
        root.roles[name] = Role([], part.threshold)
        for key in part.keys:
            root.add_key(key, name)
    return root


def new_targets(expires: datetime) -> Targets:
    """The first top-level targets, without files and members."""
    return Targets(version=1, expires=_whole(expires), delegations=Delegations({}, {}))


def next_targets(
    current: Targets,
    instance: str,
    *,
    expires: datetime,
    files: Mapping[str, bytes] | None = None,
    members: Mapping[MemberId, KeySet] | None = None,
    gone: Collection[MemberId] = (),
    standing: KeySet | None = None,
) -> Targets:
    """The top-level targets after ``current``, with files put in and members delegated.

    Args:
        gone: members that are delegated no more.
        standing: the online keys that may take away; those of ``current`` when there are none.
    """
    targets = Targets.from_dict(current.to_dict())
    targets.version = current.version + 1
    targets.expires = _whole(expires)
    for path, data in (files or {}).items():
        targets.targets[path] = TargetFile.from_data(path, data, ["sha256"])
    delegated = read_delegations(current, instance) | dict(members or {})
    for member in gone:
        delegated.pop(member, None)
    keys = {key.keyid: key for part in delegated.values() for key in part.keys}
    roles = {role_name(member): delegated_role(member, part) for member, part in delegated.items()}
    if (standing := standing or read_standing_keys(current)) is not None:
        keys |= {key.keyid: key for key in standing.keys}
        roles[STANDING_ROLE] = standing_role(standing)
    targets.delegations = Delegations(keys, roles)
    return targets


def member_role(files: Mapping[str, bytes], *, version: int, expires: datetime) -> Targets:
    """A member's own role over its files (full target paths)."""
    return Targets(
        version=version,
        expires=_whole(expires),
        targets={
            path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()
        },
    )


def next_snapshot(
    current: Snapshot | None,
    versions: Mapping[str, int],
    *,
    expires: datetime,
    own: bytes | None = None,
) -> Snapshot:
    """The snapshot that names these versions of roles; roles it names already are kept.

    Args:
        own: the registry's own role as it is then: it is long, so its length and digest are named,
            and servers can tell whether a delta led to it.
    """
    meta = {} if current is None else dict(current.meta)
    for name, version in versions.items():
        meta[f"{name}.json"] = MetaFile(version)
    if own is not None:
        meta[f"{OWN_ROLE}.json"] = _named(meta[f"{OWN_ROLE}.json"].version, own)
    return Snapshot(
        version=1 if current is None else current.version + 1, expires=_whole(expires), meta=meta
    )


def next_timestamp(
    current: Timestamp | None,
    snapshot_version: int,
    *,
    expires: datetime,
    snapshot: bytes | None = None,
) -> Timestamp:
    """The timestamp that names a snapshot; by length and digest where its bytes are given."""
    meta = MetaFile(snapshot_version) if snapshot is None else _named(snapshot_version, snapshot)
    return Timestamp(
        version=1 if current is None else current.version + 1,
        expires=_whole(expires),
        snapshot_meta=meta,
    )


def _named(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])


def living(signed: SignedT, at: datetime) -> SignedT:
    """What online keys sign at ``at``, with how long it is valid: it is told of in proportion."""
    signed.unrecognized_fields[LIFE_FIELD] = round((signed.expires - at).total_seconds())
    return signed


def sign(signed: Signed, signers: Iterable[Signer]) -> bytes:
    """The metadata file of ``signed`` with a signature of each signer."""
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(_SERIALIZER)


def read(kind: type[SignedT], data: bytes, where: str) -> SignedT:
    """Decode metadata without judging its signatures.

    Raises:
        Problem: ``InvalidDocument`` when it is too long or not metadata of this kind.
    """
    return _decode(kind, data, where)[0]


def judge_root(data: bytes) -> Root:
    """A root that is signed by itself.

    Raises:
        Problem: ``InvalidDocument`` or ``UntrustedMetadata``.
    """
    root, metadata = _decode(Root, data, "root")
    _verify(root, "root", metadata)
    return root


def judge_next_root(data: bytes, current: bytes, at: datetime) -> Root:
    """The root after ``current``, signed by enough keys of both.

    Raises:
        Problem: ``InvalidDocument``; ``UntrustedMetadata`` for missing signatures; ``Conflict``
            when it does not follow the published version.
    """
    before = judge_root(current)
    root, metadata = _decode(Root, data, "root")
    if root.version != before.version + 1:
        raise Problem(
            Code.CONFLICT,
            where="root#/signed/version",
            detail=f"must be {before.version + 1}, the one after the published; draft it again",
            facts={"version": root.version, "published": before.version},
        )
    _verify(before, "root", metadata)
    _verify(root, "root", metadata)
    if not root.consistent_snapshot:
        raise _invalid("root#/signed/consistent_snapshot", "must be true")
    _check_expiry(root, at, "root")
    return root


def is_signed(data: bytes, root: Root, role: str) -> bool:
    """Whether a top-level role's file carries enough signatures of a root's keys."""
    try:
        _verify(root, role, Metadata[Any].from_bytes(data))
    except (RepositoryError, Problem):
        return False
    return True


def judge_targets(
    data: bytes, root: Root, current: Targets, instance: str, at: datetime
) -> Targets:
    """New top-level targets, signed by enough of the targets keys and following ``current``.

    Raises:
        Problem: ``InvalidDocument``; ``UntrustedMetadata`` for missing signatures or delegations
            in another form; ``Conflict`` when it does not follow the present version.
    """
    targets, metadata = _decode(Targets, data, "targets")
    _verify(root, "targets", metadata)
    if targets.version != current.version + 1:
        raise Problem(
            Code.CONFLICT,
            where="targets#/signed/version",
            detail=f"must be {current.version + 1}, the one after the published; sign it again",
            facts={"version": targets.version, "published": current.version},
        )
    read_delegations(targets, instance)
    _check_expiry(targets, at, "targets")
    return targets


def judge_member_role(
    data: bytes, member: MemberId, keys: KeySet, published_version: int, at: datetime
) -> Targets:
    """A member's role, signed by enough of ``keys`` and newer than the published one.

    Raises:
        Problem: ``InvalidDocument`` for form, foreign paths, delegations of its own, or an expiry,
            a version or sizes out of range; ``UntrustedMetadata`` for missing signatures;
            ``RollbackDetected`` (409) for a version that is not newer.
    """
    name = role_name(member)
    role, metadata = _decode(Targets, data, name)
    delegator = Targets(
        delegations=Delegations(
            {key.keyid: key for key in keys.keys}, {name: delegated_role(member, keys)}
        )
    )
    _verify(delegator, name, metadata)
    if role.version <= published_version:
        raise Problem(
            Code.ROLLBACK_DETECTED,
            where=f"{name}#/signed/version",
            detail=f"version {role.version} does not follow the published {published_version}",
            facts={"version": role.version, "published": published_version},
            status=409,
        )
    if role.version > MAX_VERSION:
        raise _invalid(f"{name}#/signed/version", f"must be {MAX_VERSION} at most")
    if sum(file.length for file in role.targets.values()) > MAX_MEMBER_FILES_BYTES:
        raise _invalid(
            f"{name}#/signed/targets",
            f"its files are larger than {MAX_MEMBER_FILES_BYTES} bytes together",
        )
    if role.delegations is not None:
        raise _invalid(f"{name}#/signed/delegations", "a member's role may not delegate further")
    for path, file in role.targets.items():
        if path.rpartition("/")[0] != str(member):
            raise _invalid(f"{name}#/signed/targets", f"{path[:120]!r} is not under {member}/")
        if set(file.hashes) != {"sha256"} or file.length > MAX_OPENAPI_BYTES:
            raise _invalid(
                f"{name}#/signed/targets", f"{path[:120]!r}: SHA-256 alone, 2 MiB at most"
            )
    _check_expiry(role, at, name)
    return role


def check_file(file: TargetFile, data: bytes) -> None:
    """Raises: Problem ``DigestMismatch`` when ``data`` is not what the role names."""
    try:
        file.verify_length_and_hashes(data)
    except RepositoryError as error:
        raise Problem(
            Code.DIGEST_MISMATCH,
            where=file.path,
            detail="the file is not the one that the signed role names",
        ) from error


def is_due(signed: Signed, at: datetime, validity: timedelta) -> bool:
    """Whether less than half of its validity is left."""
    return bool(signed.expires - at < validity / 2)


def _decode(kind: type[SignedT], data: bytes, where: str) -> tuple[SignedT, Metadata[Any]]:
    if len(data) > MAX_METADATA_BYTES:
        raise _invalid(where, f"longer than {MAX_METADATA_BYTES} bytes")
    try:
        metadata = Metadata[Any].from_bytes(data)
    except RepositoryError as error:
        raise _invalid(where, "not TUF metadata") from error
    signed = metadata.signed
    if not isinstance(signed, kind):
        raise _invalid(where, f"not {kind.type} metadata")
    return signed, metadata


def _verify(delegator: Root | Targets, role: str, metadata: Metadata[Any]) -> None:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise Problem(Code.UNTRUSTED_METADATA, where=role, detail=str(error), status=422) from error


def _check_expiry(signed: Signed, at: datetime, where: str) -> None:
    if not timedelta(hours=1) <= signed.expires - at <= timedelta(days=5 * 366):
        raise _invalid(f"{where}#/signed/expires", "must be one hour to five years from now")


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _invalid(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=where, detail=detail)
