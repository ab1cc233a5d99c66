"""A registry's bundle, read file by file: it stands for downloads, and is verified like them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, DownloadHTTPError

from exchange.problems import Code, Problem
from mediator.registry_fetcher import RegistryFetcher

MAX_FILE_BYTES: Final = 32 << 20
MAX_FILES: Final = 500_000


class Bundle:
    """The bundle at ``path``.

    Raises:
        Problem: ``InvalidDocument`` when it is no bundle.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise Problem(
                Code.INVALID_DOCUMENT, where=str(path), detail=f"is no bundle: {error}"
            ) from error
        self._names = frozenset(self._archive.namelist()[:MAX_FILES])

    def read(self, name: str) -> bytes | None:
        """A file, if the bundle has it.

        Raises:
            DownloadError: of python-tuf, when it is damaged or too long.
        """
        if name not in self._names:
            return None
        try:
            with self._archive.open(name) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise DownloadError(f"{name} in the bundle: {error}") from error
        if len(data) > MAX_FILE_BYTES:
            raise DownloadError(f"{name} in the bundle is longer than {MAX_FILE_BYTES} bytes")
        return data

    def close(self) -> None:
        self._archive.close()


class BundleFetcher(RegistryFetcher):
    """Everything out of a bundle, nothing from the network; for the registry at ``url``."""

    def __init__(self, bundle: Bundle, url: str) -> None:
        super().__init__()
        self._bundle = bundle
        self._base = f"{url.rstrip('/')}/"

    def _stream(self, url: str) -> Iterator[bytes]:
        data = self._bundle.read(url.removeprefix(self._base))
        if data is None:
            raise DownloadHTTPError(f"{url} is not in the bundle", 404)
        return iter((data,))
