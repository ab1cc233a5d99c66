"""The registry's state in an export: taken from a server's copy, and checked with TUF's rules.

::

    registry/root.json, timestamp.json, snapshot.json, targets.json   signed metadata
    registry/instance.json            the instance: its authorities
    registry/members/<n>/role.json, member.json    what each member of the exchange says of itself

Checked (:func:`check_registry`): each document is signed by the role above it, from the root that
is here, and has the version or digest that is signed above it. Not checked: that this root is the
instance's (compare it with one that came by another way), expiry (evidence is older than its
registry's next word), and the continuity of members' keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from cryptography import x509
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import MemberId
from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem
from exchange.registrations import (
    INSTANCE_TARGET,
    InstanceRecord,
    MemberRecord,
    member_target,
    parse_instance,
    parse_member,
)
from exchange.registry.delegations import role_name

FOLDER = "registry"
INSTANCE = f"{FOLDER}/instance.json"
_Signed = TypeVar("_Signed", Root, Timestamp, Snapshot, Targets)
_ACCEPTED = "accepted.json"
_TOP = ("root", "timestamp", "snapshot", "targets")


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registry's state says that evidence needs."""

    files: Mapping[str, bytes]
    instance: InstanceRecord | None
    members: tuple[MemberRecord, ...]

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """Authorities of seals and of time-stamps."""
        if self.instance is None:
            return ()
        stampers = (each.certificate for each in self.instance.timestamp_authorities)
        own = self.instance.authorities
        return (*own, *(each for each in stampers if is_authority(each) and each not in own))

    @property
    def certificates(self) -> dict[str, x509.Certificate]:
        """The seal certificates of the members, by fingerprint."""
        return {
            fingerprint_of(certificate): certificate
            for member in self.members
            for certificate in member.seal_certificates
        }

    @property
    def log_keys(self) -> tuple[VerifierKey, ...]:
        """The verifier keys of the members' logs, as far as they registered them."""
        return tuple(
            VerifierKey.parse(server.journal)
            for member in self.members
            for server in member.servers
            if server.journal is not None
        )


UNKNOWN = Registered({}, None, ())


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate says of itself that it issues others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False


def is_copy(folder: Path) -> bool:
    """Whether a folder is a server's copy of the registry, as far as this user may look."""
    try:
        return (folder / _ACCEPTED).is_file()
    except OSError:
        return False


def read_registry(copy: Path, members: Iterable[MemberId]) -> Registered:
    """The state that a server's copy of the registry holds, as far as it concerns some members.

    Args:
        copy: the folder ``registry`` of a server.

    Raises:
        Problem: ``InvalidDocument`` or ``UntrustedMetadata`` when the copy cannot be read or does
            not fit together.
    """
    wanted = sorted(set(members))
    try:
        return _read(copy, wanted)
    except Problem:
        return _read(copy, wanted)  # the server may have taken up a newer state just now


def read_whole_registry(copy: Path) -> Registered:
    """The state that a server's copy of the registry holds, of all members.

    Raises:
        Problem: as :func:`read_registry`.
    """
    try:
        accepted = json.loads((copy / _ACCEPTED).read_bytes())
        members = [MemberId.parse(member, _ACCEPTED) for member in accepted["members"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refuse(str(copy), f"is no whole copy of a registry: {error!r}") from error
    return read_registry(copy, members)


def _read(copy: Path, members: list[MemberId]) -> Registered:
    try:
        accepted = json.loads((copy / _ACCEPTED).read_bytes())
        files = {
            f"{FOLDER}/{role}.json": (copy / "metadata" / f"{role}.json").read_bytes()
            for role in _TOP
        }
        files[INSTANCE] = _file(copy, accepted["shared"][INSTANCE_TARGET])
        known = (member for member in members if str(member) in accepted["members"])
        for at, member in enumerate(known):
            held = accepted["members"][str(member)]["files"]
            folder = f"{FOLDER}/members/{at}"
            files[f"{folder}/member.json"] = _file(copy, held[member_target(member)])
            role = copy / "metadata" / f"{quote(role_name(member), '')}.json"
            files[f"{folder}/role.json"] = role.read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refuse(str(copy), f"is no whole copy of a registry: {error!r}") from error
    registered = parse_registry(files)
    check_registry(registered)
    return registered


def _file(copy: Path, digest: str) -> bytes:
    if not digest.isalnum():
        raise ValueError("a digest that is none")
    return (copy / "files" / digest).read_bytes()


def parse_registry(files: Mapping[str, bytes]) -> Registered:
    """What the registry's files of an export say; not checked yet.

    Raises:
        Problem: ``InvalidDocument`` and whatever parsing says.
    """
    kept = {name: data for name, data in files.items() if name.startswith(f"{FOLDER}/")}
    instance = parse_instance(kept[INSTANCE]) if INSTANCE in kept else None
    members = tuple(
        parse_member(kept[name], _named(kept[name], name))
        for name in sorted(kept)
        if name.endswith("/member.json")
    )
    return Registered(kept, instance, members)


def _named(data: bytes, name: str) -> MemberId:
    try:
        return MemberId.parse(json.loads(data)["member"], name)
    except (ValueError, KeyError, TypeError) as error:
        raise _refuse(name, "names no member") from error


def check_registry(registered: Registered) -> None:
    """Check the signatures and digests of a state from its own root on.

    Raises:
        Problem: ``UntrustedMetadata`` at the file that does not fit.
    """
    if registered.files:
        _Checking(registered.files).run()


class _Checking:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._at = FOLDER

    def run(self) -> None:
        try:
            self._check()
        except (RepositoryError, DeserializationError, KeyError, ValueError) as error:
            raise Problem(
                Code.UNTRUSTED_METADATA,
                where=self._at,
                detail=f"is not what is signed above it: {error}",
            ) from error

    def _check(self) -> None:
        root = self._signed("root.json", Root)
        self._by(root.signed, "root", root)
        timestamp = self._signed("timestamp.json", Timestamp)
        self._by(root.signed, "timestamp", timestamp)
        snapshot = self._signed("snapshot.json", Snapshot)
        self._by(root.signed, "snapshot", snapshot)
        self._same(timestamp.signed.snapshot_meta, snapshot.signed.version)
        targets = self._signed("targets.json", Targets)
        self._by(root.signed, "targets", targets)
        self._same(snapshot.signed.meta["targets.json"], targets.signed.version)
        self._at = INSTANCE
        self._target(targets.signed, INSTANCE_TARGET)
        for name in sorted(self._files):
            if name.endswith("/member.json"):
                self._check_member(name, snapshot.signed, targets.signed)

    def _check_member(self, name: str, snapshot: Snapshot, targets: Targets) -> None:
        self._at = name
        member = _named(self._files[name], name)
        role = role_name(member)
        stated = self._signed(
            f"{name.removeprefix(f'{FOLDER}/').rpartition('/')[0]}/role.json", Targets
        )
        self._by(targets, role, stated)
        self._same(snapshot.meta[f"{role}.json"], stated.signed.version)
        self._at = name
        self._target(stated.signed, member_target(member))

    def _signed(self, name: str, kind: type[_Signed]) -> Metadata[_Signed]:
        self._at = f"{FOLDER}/{name}"
        found: Metadata[_Signed] = Metadata.from_bytes(self._files[self._at])
        if not isinstance(found.signed, kind):
            raise ValueError(f"is of type {found.signed.type}")
        return found

    def _by(self, above: Root | Targets, role: str, signed: Metadata[Any]) -> None:
        above.verify_delegate(role, signed.signed_bytes, signed.signatures)

    def _same(self, meta: MetaFile, version: int) -> None:
        meta.verify_length_and_hashes(self._files[self._at])
        if meta.version != version:
            raise ValueError(f"version {version}, not {meta.version}")

    def _target(self, role: Targets, path: str) -> None:
        role.targets[path].verify_length_and_hashes(self._files[self._at])


def _refuse(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=where, detail=detail)
