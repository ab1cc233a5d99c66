"""The TUF client workflow (python-tuf's ``Updater``), its cache, and files read by their digest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile
from tuf.ngclient import Updater, UpdaterConfig

from exchange.continuity import role_name
from exchange.identifiers import MemberId
from exchange.registrations import MAX_OPENAPI_BYTES
from mediator.registry_copy.accepted import MAX_MEMBERS
from mediator.registry_copy.borders import untrusted
from mediator.registry_fetcher import RegistryFetcher

MAX_ROLE_BYTES = 5_000_000
MAX_PREFETCH_BYTES = 64 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
T = TypeVar("T")


class TufClient:
    """One round of the client workflow at ``url``; :meth:`refresh` comes first.

    Args:
        metadata: folder of the client's own cache.
        files: folder of target files by their SHA-256.
        root: the trusted root metadata, got by another way than from this registry.
    """

    def __init__(
        self, metadata: Path, files: Path, url: str, root: bytes, fetcher: RegistryFetcher
    ) -> None:
        self.url = base = url.rstrip("/")
        self._metadata = metadata
        self._files = files
        self._metadata_url = f"{base}/metadata/"
        self._targets_url = f"{base}/targets/"
        self._fetcher = fetcher
        config = UpdaterConfig(max_delegations=MAX_MEMBERS, targets_max_length=4 * MAX_ROLE_BYTES)
        self._updater = Updater(
            str(metadata),
            self._metadata_url,
            str(files),
            self._targets_url,
            fetcher,
            config,
            bootstrap=root,
        )

    def refresh(self, at: datetime) -> None:
        """Take the top-level roles over.

        Raises:
            RepositoryError, DownloadError: of python-tuf; see :mod:`.borders`.
        """
        # The client workflow judges expiry at one moment, fixed at its start (TUF 1.0.34, 5.1);
        # python-tuf has no argument for it, and this server's time comes from its clock alone.
        self._updater._trusted_set.reference_time = at
        self._updater.refresh()

    def load(self, path: str) -> bool:
        """Verify the roles on the way to a target path; whether there is such a target."""
        return self._updater.get_targetinfo(path) is not None

    def verified(self, kind: type[T], role: str) -> T:
        """The metadata of a role that was verified; the client persists nothing else.

        Raises:
            Problem: ``UntrustedMetadata`` when it is of another kind.
        """
        signed = Metadata[Any].from_bytes(self.verified_bytes(role)).signed
        if not isinstance(signed, kind):
            raise untrusted(role, "not metadata of this role")
        return signed

    def verified_bytes(self, role: str) -> bytes:
        """The file of a role that was verified."""
        return (self._metadata / f"{quote(role, '')}.json").read_bytes()

    def prefetch_roles(self, members: Iterable[MemberId], versions: Mapping[MemberId, int]) -> None:
        """Fetch members' roles side by side."""
        self._fetcher.prefetch(
            {
                f"{self._metadata_url}{versions[member]}.{quote(role_name(member), '')}.json": (
                    MAX_ROLE_BYTES
                )
                for member in members
                if member in versions
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
            self._updater.download_target(file, str(partial))
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
