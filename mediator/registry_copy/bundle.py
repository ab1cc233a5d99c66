"""A registry's bundle (:mod:`exchange.registry.bundles`): what is in it is put where the client
looks before it asks, and is verified there like everything that the client finds or fetches.

A target file goes to ``files/{sha256}``, if it has the digest of its name. The role of a member
goes into the TUF client's cache, if it has the version that the present snapshot names: the client
judges what it finds in its cache, and fetches what does not hold. The other roles come from the
registry alone, and so does the word about what is new.

Invariants:
- what is missing, damaged, stale or foreign costs at most the fetching of single files;
- a piece that was unpacked is not asked for again after a line was cut;
- what lies in the folder of target files and what is unpacked into it are bounded together, however
  often bundles come of which nothing gets in force.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import orjson
import structlog
from tuf.api.exceptions import DownloadError, DownloadHTTPError

from exchange.problems import Code, Problem
from exchange.registry.bundles import (
    LISTING,
    MAX_LISTING_BYTES,
    MAX_UNPACKED_BYTES,
    Listing,
    Piece,
    parse_listing,
    unpack,
)
from mediator.registry_copy.fetcher import RegistryFetcher

_CHUNK: Final = 1 << 20
_BLOCK: Final = 4096  # what a small file takes on a disk
_TARGET: Final = re.compile(r"targets/(?:[^/]{1,255}/){0,8}([0-9a-f]{64})\.[^/]{1,255}", re.ASCII)
_ROLE: Final = re.compile(r"metadata/([1-9][0-9]{0,15})\.([^/\0]{1,240})\.json", re.ASCII)
log = structlog.get_logger(__name__)


class NetworkBundle:
    """The bundle of the registry at ``url``.

    Args:
        metadata: the TUF client's cache; ``files`` those of target files by their digest.
        done: folder that remembers which pieces were unpacked, until :meth:`forget`.
    """

    def __init__(
        self, fetcher: RegistryFetcher, url: str, metadata: Path, files: Path, done: Path
    ) -> None:
        self._fetcher = fetcher
        self._url = url
        self._metadata = metadata
        self._files = files
        self._done = done

    def take(self, versions: Mapping[str, int]) -> dict[str, int]:
        """Unpack what the registry has; which roles were put into the cache, by their file's name.

        Args:
            versions: the roles that are wanted, as they are named in files, and their versions.

        Raises:
            OSError: our disk.
        """
        taken: dict[str, int] = {}
        self._files.mkdir(parents=True, exist_ok=True)
        left = MAX_UNPACKED_BYTES - sum(
            _taken(one.stat().st_size) for one in os.scandir(self._files)
        )
        try:
            listing = parse_listing(self._fetcher.get(f"{self._url}/{LISTING}", MAX_LISTING_BYTES))
            self._remember(listing)
            for piece in listing.pieces:
                left = self._take_piece(piece, versions, taken, left)
        except DownloadHTTPError:
            return taken  # there is none, or another one by now
        except (DownloadError, Problem) as error:
            log.warning("registry_bundle_not_taken", why=str(error))
        return taken

    def forget(self) -> None:
        """What is in force now needs no bundle."""
        shutil.rmtree(self._done, ignore_errors=True)

    def _remember(self, listing: Listing) -> None:
        """Remember nothing of pieces that are not of the present bundle."""
        self._done.mkdir(exist_ok=True)
        for gone in {one.name for one in os.scandir(self._done)} - {
            piece.sha256 for piece in listing.pieces
        }:
            (self._done / gone).unlink()

    def _take_piece(
        self, piece: Piece, versions: Mapping[str, int], taken: dict[str, int], left: int
    ) -> int:
        done, roles = self._done / piece.sha256, {}
        with contextlib.suppress(OSError, orjson.JSONDecodeError):
            taken |= orjson.loads(done.read_bytes())
            return left
        if left <= 0:
            raise _no_room(piece)
        data = self._fetcher.get(f"{self._url}/{piece.path}", piece.size)
        if sha256(data).hexdigest() != piece.sha256:
            raise Problem(Code.DIGEST_MISMATCH, where=piece.path, detail="it is damaged")
        for name, content in unpack([data], left):
            left -= _taken(len(content))
            if left < 0:
                raise _no_room(piece)
            role = _ROLE.fullmatch(name)
            if role is None:
                put_target(self._files, name, content)
            elif versions.get(role[2]) == int(role[1]):
                _put(self._metadata / f"{role[2]}.json", content)
                roles[role[2]] = int(role[1])
        _put(done, orjson.dumps(roles))
        taken |= roles
        return left


class BundleFetcher(RegistryFetcher):
    """Everything out of the bundle at ``path``, nothing from the network; for the registry at
    ``url``. Target files are put into ``files`` at once.

    Raises:
        Problem: ``InvalidDocument`` when it is no bundle.
        OSError: it cannot be read, or ``files`` cannot be written.
    """

    def __init__(self, path: Path, url: str, files: Path) -> None:
        super().__init__()
        self._base = f"{url.rstrip('/')}/"
        files.mkdir(parents=True, exist_ok=True)
        self._held = {
            name: data
            for name, data in unpack(_chunks(path), MAX_UNPACKED_BYTES)
            if not put_target(files, name, data)
        }

    def _stream(self, url: str) -> Iterator[bytes]:
        data = self._held.get(url.removeprefix(self._base))
        if data is None:
            raise DownloadHTTPError(f"{url} is not in the bundle", 404)
        return iter((data,))


def put_target(files: Path, name: str, data: bytes) -> bool:
    """Keep a target file by its digest, if it has the one of its name; whether it was one."""
    match = _TARGET.fullmatch(name)
    if match is None:
        return False
    path = files / match[1]
    if sha256(data).hexdigest() == match[1] and not path.exists():
        _put(path, data)
    return True


def _taken(size: int) -> int:
    """What a file of this size takes on a disk."""
    return -(-size // _BLOCK) * _BLOCK


def _no_room(piece: Piece) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=piece.path, detail="there is no room for it")


def _put(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name[:200]}.part")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
