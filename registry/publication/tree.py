"""The published tree: what the database says is published, as files that any web server can serve.

``metadata/{version}.{role}.json``, ``metadata/timestamp.json`` and, under consistent snapshots
(TUF 1.0.34 section 6.2), ``targets/{folder}/{sha256}.{name}``. Beside long metadata lies the same
compressed, ``….json.gz``, for servers of files that send it to who takes gzip. What changed in
the two long roles since the version before is ``deltas/{role}/{version}.json``
(:mod:`exchange.registry.deltas`).

Invariants:
- a file appears in one rename, and what names it appears later: targets, roles, snapshot, and
  ``timestamp.json`` last; a crash in between leaves the old state whole;
- files that carry a version or a digest in their name never change;
- what is not named any more stays for :data:`KEEP` so that a client half-way through is served.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from exchange.log.tiles import Tile
from exchange.problems import Problem
from exchange.registry.bundles import FOLDER as BUNDLES
from exchange.registry.bundles import LISTING, is_read_by_servers, parse_listing
from exchange.registry.deltas import FOLDER as DELTAS
from exchange.registry.deltas import delta_path, make_delta
from exchange.registry.log import FOLDER, proof_path
from registry.pages import FOLDER as PAGES
from registry.pages import page_path
from registry.publication.log import RegistryLog
from registry.publication.publish import OWN_ROLE
from registry.store import Publication, Store
from serving.log.files import Files, RealFiles

KEEP = timedelta(days=1)
TIMESTAMP = "timestamp.json"
LONG_ROLES = (OWN_ROLE, "snapshot")
"""They name every member, so servers are told what changed in them."""
KEPT_DELTAS = 32
_TOP = frozenset({*LONG_ROLES, "timestamp"})
_WORTH_COMPRESSING = 1400  # bytes: less goes in one packet anyhow
_STATE = re.compile(r"state/[1-9][0-9]{0,15}\.tlog-proof", re.ASCII)
_DELTA = re.compile(rf"({'|'.join(LONG_ROLES)})/[1-9][0-9]{{0,15}}\.json", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9'()+,\-.=~%]{1,900}", re.ASCII)


class _QuickFiles(RealFiles):
    """The disk, not waited for: what a lost power takes is made again from the database."""

    def write_file(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)


class Tree:
    """The tree under ``directory``."""

    def __init__(
        self, directory: Path, log: RegistryLog | None = None, files: Files | None = None
    ) -> None:
        self._directory = directory
        self._log = log
        self._files = files or _QuickFiles()

    def write_roots(self, roots: Mapping[int, bytes], *, check: bool = False) -> None:
        """Add root metadata, by version; idempotent."""
        for version, metadata in roots.items():
            self._put(self._role("root", version), metadata, check=check)

    def write(self, publication: Publication, *, check: bool = False) -> None:
        """Add what was published, in the order in which one thing names another; idempotent.

        Args:
            check: whether files that are there already are read and compared: what a lost power
                or a bad disk has damaged is written again.
        """
        roles = dict(publication.roles)
        timestamp, snapshot = roles.pop("timestamp", None), roles.pop("snapshot", None)
        for files in publication.files.values():
            for path, data in files.items():
                self._put(self._target(path, _digest(data)), data, check=check)
        for name, (version, metadata) in roles.items():
            self._put_role(name, version, metadata, check=check)
        if snapshot is not None:
            self._put_role("snapshot", *snapshot, check=check)
        if timestamp is not None:
            self._replace(self._directory / "metadata" / TIMESTAMP, timestamp[1])

    def write_log(self, version: int) -> bool:
        """Put out the log and the proof that it has the snapshot of this version; before that.

        Returns whether enough witnesses cosigned it; if not, it is to be tried again.
        """
        if self._log is None:
            return True
        self._log.publish()
        is_witnessed = self._log.cosign()
        self._log.put_out_proof(version)
        return is_witnessed

    def present(self, store: Store, *, read_alone: bool = False) -> list[Path]:
        """The files of what is published now, but for the top-level roles and the log.

        Args:
            read_alone: whether files of members that no server reads are left out.
        """
        versions = store.versions()
        files: dict[str, list[Path]] = {name: [] for name in sorted(versions)}
        for role, path, digest in store.named():
            if role == OWN_ROLE or not read_alone or is_read_by_servers(path):
                files[role].append(self._target(path, digest))
        return [
            path
            for name, targets in files.items()
            for path in ([self._role(name, versions[name])] if name not in _TOP else []) + targets
        ]

    def top_level(self, store: Store) -> list[Path]:
        """The files of the present top-level roles, and every root."""
        versions = store.versions()
        return [
            self._directory / "metadata" / TIMESTAMP,
            *(self._role("root", version) for version in store.roots()),
            *(self._role(name, versions[name]) for name in LONG_ROLES),
        ]

    def prune(self, store: Store) -> int:
        """Remove files that are neither published nor younger than :data:`KEEP`."""
        versions = store.versions()
        named = {*self.present(store), *self.top_level(store), *self._bundle()}
        named |= {_compressed(path) for path in named}
        named.add(self._directory / proof_path(versions.get("snapshot", 0)))
        named |= {
            path
            for name in LONG_ROLES
            for version in range(versions[name], max(0, versions[name] - KEPT_DELTAS), -1)
            for plain in [self._directory / delta_path(name, version)]
            for path in (plain, _compressed(plain))
        }
        oldest = time.time() - KEEP.total_seconds()
        removed = 0
        for path in self._all_files():
            if path in named or self._stays(path):
                continue
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def metadata_file(self, raw_name: str) -> Path | None:
        """The file that a client asks for as ``/metadata/{raw_name}``, if the name is sound."""
        name = quote(unquote(raw_name), "")
        return self._directory / "metadata" / name if _is_sound(name) else None

    def log_file(self, path: str) -> Path | None:
        """The file that a client asks for as ``/log/{path}``, if the path is sound."""
        if path != "checkpoint" and not _STATE.fullmatch(path):
            try:
                Tile.parse(path)
            except Problem:
                return None
        return self._directory.joinpath(FOLDER, *path.split("/"))

    def delta_file(self, path: str) -> Path | None:
        """The file that a client asks for as ``/deltas/{path}``, if the path is sound."""
        return self._directory / DELTAS / path if _DELTA.fullmatch(path) else None

    def bundle_file(self, path: str) -> Path | None:
        """The file that a client asks for as ``/bundles/{path}``, if the path is sound."""
        return self._directory / BUNDLES / path if _DIGEST.fullmatch(path) else None

    @property
    def listing(self) -> Path:
        """``bundle.json``."""
        return self._directory / LISTING

    def page_file(self, raw_path: str) -> Path | None:
        """The file that a reader asks for as ``/pages/{raw_path}``, if the path is sound."""
        path = page_path(raw_path)
        return None if path is None else self._directory / path

    def target_file(self, raw_path: str) -> Path | None:
        """The file that a client asks for as ``/targets/{raw_path}``, if the path is sound."""
        parts = raw_path.split("/")
        if not 1 <= len(parts) <= 6 or not all(_is_sound(part) for part in parts):
            return None
        return self._directory.joinpath("targets", *parts)

    def _role(self, name: str, version: int) -> Path:
        return self._directory / "metadata" / f"{version}.{quote(name, '')}.json"

    def _target(self, path: str, digest: str) -> Path:
        folder, _, name = path.rpartition("/")
        return self._directory.joinpath("targets", *folder.split("/"), f"{digest}.{name}")

    def _bundle(self) -> Iterable[Path]:
        """The published bundle (:mod:`registry.publication.bundle`), if there is one."""
        listing = self._directory / LISTING
        try:
            pieces = parse_listing(listing.read_bytes()).pieces
        except (OSError, Problem):
            return ()
        return (listing, *(self._directory / piece.path for piece in pieces))

    def _put_role(self, name: str, version: int, metadata: bytes, *, check: bool) -> None:
        """Metadata, and the same compressed: what is sent to who takes gzip."""
        path = self._role(name, version)
        self._put_small(path, metadata, check=check)
        before = self._role(name, version - 1)
        if name in LONG_ROLES and before.exists():
            delta = make_delta(before.read_bytes(), metadata)
            if delta is not None:
                self._put_small(self._directory / delta_path(name, version), delta, check=check)

    def _put_small(self, path: Path, data: bytes, *, check: bool) -> None:
        """A file, and the same compressed where that is worth it."""
        if len(data) > _WORTH_COMPRESSING:
            self._put(_compressed(path), gzip.compress(data, mtime=0), check=check)
        self._put(path, data, check=check)

    def _put(self, path: Path, data: bytes, *, check: bool = False) -> None:
        if not path.exists() or (check and path.read_bytes() != data):
            self._replace(path, data)

    def _replace(self, path: Path, data: bytes) -> None:
        self._files.make_directory(path.parent)
        temporary = path.parent / f".{path.name[-100:]}.new"
        self._files.write_file(temporary, data)
        self._files.rename(temporary, path)

    def _stays(self, path: Path) -> bool:
        """Whether it stays: pages, the head, full tiles, and partial ones without a full one."""
        parts = path.relative_to(self._directory).parts
        if parts[0] == PAGES:
            return True
        if parts[0] != FOLDER:
            return False
        if path.parent.suffix == ".p":
            return not path.parent.with_suffix("").exists()
        return parts[1] != "state"

    def _all_files(self) -> Iterable[Path]:
        return (path for path in self._directory.rglob("*") if path.is_file())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _compressed(path: Path) -> Path:
    # The name under which aiohttp and nginx (gzip_static) look for it.
    return path.with_name(f"{path.name}.gz")


def _is_sound(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not name.startswith(".")
