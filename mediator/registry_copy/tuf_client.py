"""The TUF client workflow (python-tuf's ``Updater``), its cache, and files read by their digest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    Metadata,
    Root,
    Signature,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet

from exchange.identifiers import MemberId
from exchange.registrations import MAX_OPENAPI_BYTES
from exchange.registry.delegations import role_name
from mediator.registry_copy.accepted import MAX_MEMBERS, KeptDocument
from mediator.registry_copy.borders import untrusted
from mediator.registry_copy.bundle import NetworkBundle
from mediator.registry_copy.deltas import Deltas
from mediator.registry_copy.fetcher import RegistryFetcher

BUNDLE = "bundle"
MAX_ROLE_BYTES = 5_000_000
MAX_PREFETCH_BYTES = 64 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


class _Workflow(Updater):
    """python-tuf's workflow; a long role comes as deltas, or is the one that was verified before.

    The methods that it goes beyond are not public: python-tuf offers no other place for a client
    that keeps what it verified.
    """

    deltas: Deltas
    known: Known | None = None

    def _download_metadata(self, rolename: str, length: int, version: int | None = None) -> bytes:
        named = None
        if version is not None and rolename == Snapshot.type:
            named = self._trusted_set.timestamp.snapshot_meta
        elif version is not None and rolename == Targets.type:
            named = self._trusted_set.snapshot.meta.get(f"{rolename}.json")
        if named is not None:
            data = self.deltas.lead_to(rolename, self._own(rolename), named)
            if data is not None:
                return data
        return bytes(super()._download_metadata(rolename, length, version))

    def _own(self, rolename: str) -> bytes:
        try:
            return bytes(self._load_local_metadata(rolename))
        except OSError:
            return b""

    def _load_snapshot(self) -> None:
        known, trusted = self.known, self._trusted_set
        if known is None or known.root != trusted.root:
            super()._load_snapshot()
            return
        # As python-tuf does with the file in its cache: what was known is the least that is taken.
        trusted._check_final_timestamp()
        trusted._add(Snapshot.type, known.snapshot, Root.type)
        named = trusted.timestamp.snapshot_meta
        if named.version == known.snapshot.version:
            trusted._check_final_snapshot()
            return
        length = named.length or self.config.snapshot_max_length
        data = self._download_metadata(Snapshot.type, length, named.version)
        trusted.update_snapshot(data)
        self._persist_metadata(Snapshot.type, data)

    def _load_targets(self, role: str, parent_role: str) -> Targets:
        known, trusted = self.known, self._trusted_set
        if role != Targets.type or known is None or not known.targets_count(trusted):
            return super()._load_targets(role, parent_role)
        if known.targets.is_expired(trusted.reference_time):
            raise ExpiredMetadataError("targets.json is expired")
        trusted._check_final_snapshot()
        trusted._add(role, known.targets, parent_role)
        return known.targets


@dataclass(frozen=True, slots=True)
class Known:
    """What a round verified, for the next."""

    root: Root
    snapshot: Snapshot
    targets: Targets

    def targets_count(self, trusted: TrustedMetadataSet) -> bool:
        """Whether the same bytes of the own role are named, under a root that says the same."""
        before, now = (
            one.meta.get(f"{Targets.type}.json") for one in (self.snapshot, trusted.snapshot)
        )
        return (
            before is not None
            and bool(before.hashes)
            and before == now
            and self.root == trusted.root
        )


def _verify(
    kind: type[T],
    data: bytes,
    delegator: Root | Targets | None = None,
    role: str | None = None,
) -> tuple[T, bytes, dict[str, Signature]]:
    """As python-tuf does it, but what was signed is encoded once instead of twice."""
    metadata = Metadata[T].from_bytes(data)
    if metadata.signed.type != kind.type:
        raise RepositoryError(f"Expected '{kind.type}', got '{metadata.signed.type}'")
    signed = metadata.signed_bytes
    if delegator is not None:
        delegator.verify_delegate(role or kind.type, signed, metadata.signatures)
    return metadata.signed, signed, metadata.signatures


class TufClient:
    """One round of the client workflow at ``url``; :meth:`begin` comes first.

    Args:
        metadata: folder of the client's own cache.
        files: folder of target files by their SHA-256.
        root: the trusted root metadata, got by another way than from this registry.
        known: what an earlier round found in :attr:`known`.
    """

    def __init__(
        self,
        metadata: Path,
        files: Path,
        url: str,
        root: bytes,
        fetcher: RegistryFetcher,
        known: Known | None = None,
    ) -> None:
        self.url = base = url.rstrip("/")
        self._metadata = metadata
        self._files = files
        self._metadata_url = f"{base}/metadata/"
        self._targets_url = f"{base}/targets/"
        self._fetcher = fetcher
        config = UpdaterConfig(max_delegations=MAX_MEMBERS, targets_max_length=4 * MAX_ROLE_BYTES)
        self._workflow = _Workflow(
            str(metadata),
            self._metadata_url,
            str(files),
            self._targets_url,
            fetcher,
            config,
            bootstrap=root,
        )
        self._workflow.deltas = Deltas(fetcher, base)
        self._bundle = NetworkBundle(fetcher, base, metadata, files, metadata.parent / BUNDLE)
        self._bundled: dict[str, int] = {}
        self._has_bundled = False
        self._workflow.known = known
        self._trusted = self._workflow._trusted_set
        self._trusted._load_data = _verify  # type: ignore[assignment]  # narrower than python-tuf's

    def begin(self, at: datetime) -> None:
        """Take roots and timestamp over.

        Raises:
            RepositoryError, DownloadError: of python-tuf; see :mod:`.borders`.
        """
        # The client workflow judges expiry at one moment, fixed at its start (TUF 1.0.34, 5.1);
        # python-tuf has no argument for it, and this server's time comes from its clock alone.
        self._trusted.reference_time = at
        self._workflow._load_root()
        self._workflow._load_timestamp()

    def go_on(self) -> None:
        """Take the snapshot and the registry's own role over.

        Raises:
            RepositoryError, DownloadError: of python-tuf.
        """
        self._workflow._load_snapshot()
        self._workflow._load_targets(Targets.type, Root.type)

    @property
    def root(self) -> Root:
        """The root that was verified."""
        return self._trusted.root

    @property
    def timestamp(self) -> Timestamp:
        """The timestamp that was verified."""
        return self._trusted.timestamp

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that was verified."""
        return self._trusted.snapshot

    @property
    def targets(self) -> Targets:
        """The registry's own role, verified."""
        return self._trusted.targets

    @property
    def known(self) -> Known:
        """What was verified, for the next round."""
        return Known(self.root, self.snapshot, self.targets)

    @property
    def snapshot_bytes(self) -> bytes:
        """The snapshot's file."""
        return (self._metadata / f"{Snapshot.type}.json").read_bytes()

    def role(self, name: str) -> Targets:
        """A role that the registry's own role delegates to, verified.

        The own role holds none of its files and no other role may
        (:mod:`exchange.registry.delegations`), so nothing else is on the way to them.

        Raises:
            RepositoryError, DownloadError: of python-tuf.
        """
        role = self._workflow._load_targets(name, Targets.type)
        # A client that reads thousands of roles keeps none of them decoded.
        self._trusted._trusted_set.pop(name, None)
        self._trusted._trusted_delegations.discard((Targets.type, name))
        return role

    def take_bundle(self) -> None:
        """Take what the registry's bundle has; what it lacks is fetched as ever."""
        versions = {
            quote(name.removesuffix(".json"), ""): meta.version
            for name, meta in self.snapshot.meta.items()
            if name.removesuffix(".json") not in TOP_LEVEL_ROLE_NAMES
        }
        self._has_bundled = True
        self._bundled = self._bundle.take(versions)

    @property
    def has_bundled(self) -> bool:
        """Whether this round took something of a bundle, of which not all may be named."""
        return self._has_bundled

    def forget_bundle(self) -> None:
        """What was fetched is in force."""
        self._bundle.forget()

    def prefetch_roles(self, members: Iterable[MemberId], versions: Mapping[MemberId, int]) -> None:
        """Fetch members' roles side by side, but for those that came in a bundle."""
        wanted = {
            quote(role_name(member), ""): versions[member]
            for member in members
            if member in versions
        }
        self._fetcher.prefetch(
            {
                f"{self._metadata_url}{version}.{role}.json": MAX_ROLE_BYTES
                for role, version in wanted.items()
                if self._bundled.get(role) != version
            }
        )

    def prefetch(self, files: Iterable[TargetFile]) -> None:
        """Fetch side by side what is not on disk yet, as much as memory may hold at a time."""
        wanted: dict[str, int] = {}
        left = MAX_PREFETCH_BYTES
        for file in files:
            if not (self._files / digest_of(file)).exists() and file.length <= left:
                left -= file.length
                folder, _, name = file.path.rpartition("/")
                prefixed = f"{digest_of(file)}.{name}"
                path = f"{folder}/{prefixed}" if folder else prefixed
                wanted[f"{self._targets_url}{path}"] = file.length
        self._fetcher.prefetch(wanted)

    def kept(self, file: TargetFile) -> KeptDocument:
        """The same, left on disk."""
        self.read(file)
        return KeptDocument(str(self._files), digest_of(file))

    def read(self, file: TargetFile) -> bytes:
        """The bytes of a target file, checked against its length and digests.

        Raises:
            Problem: ``UntrustedMetadata`` when it is larger than any file here may be.
        """
        if file.length > MAX_OPENAPI_BYTES:
            raise untrusted(file.path, f"{file.length} bytes are more than {MAX_OPENAPI_BYTES}")
        path = self._files / digest_of(file)
        try:
            data = path.read_bytes()
            file.verify_length_and_hashes(data)
        except (OSError, RepositoryError):
            partial = path.with_suffix(".part")
            self._workflow.download_target(file, str(partial))
            os.replace(partial, path)
            data = path.read_bytes()
        return data


def digest_of(file: TargetFile) -> str:
    """The SHA-256 of a file, and nothing else: it becomes part of file names and addresses.

    Raises:
        Problem: ``UntrustedMetadata``.
    """
    digest = file.hashes.get("sha256", "")
    if not _SHA256.fullmatch(digest) or len(file.hashes) != 1:
        raise untrusted(file.path, "must have a SHA-256 in lower-case hexadecimal, alone")
    return digest
