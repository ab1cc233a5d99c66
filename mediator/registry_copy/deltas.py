"""Long roles out of the client's own copy and what changed since
(:mod:`exchange.registry.deltas`)."""

from __future__ import annotations

from typing import Final

import orjson
from tuf.api.exceptions import DownloadError, LengthOrHashMismatchError
from tuf.api.metadata import MetaFile

from exchange.problems import Problem
from exchange.registry.deltas import MAX_DELTA_BYTES, apply_delta, delta_path
from mediator.registry_copy.fetcher import RegistryFetcher

MAX_STEPS: Final = 16


class Deltas:
    """The deltas of the registry at ``url``."""

    def __init__(self, fetcher: RegistryFetcher, url: str) -> None:
        self._fetcher = fetcher
        self._url = url

    def lead_to(self, role: str, own: bytes, named: MetaFile) -> bytes | None:
        """The role's file that is named, made of the own copy of an earlier version.

        Nothing when there is no way there: then the whole file is asked for. What is given has the
        length and the digest that signed metadata names, so it is that file.
        """
        version = _version(own)
        steps = named.version - version
        if not named.hashes or not version or not 1 <= steps <= MAX_STEPS:
            return None
        urls = [f"{self._url}/{delta_path(role, version + step)}" for step in range(1, steps + 1)]
        self._fetcher.prefetch(dict.fromkeys(urls, MAX_DELTA_BYTES))
        try:
            for url in urls:
                own = apply_delta(own, self._fetcher.get(url, MAX_DELTA_BYTES))
            named.verify_length_and_hashes(own)
        except (DownloadError, LengthOrHashMismatchError, Problem):
            return None
        return own


def _version(metadata: bytes) -> int:
    """The version that a file names; 0 when it names none."""
    try:
        version = orjson.loads(metadata)["signed"]["version"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 0
    return version if isinstance(version, int) else 0
