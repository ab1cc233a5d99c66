"""Where foreign exceptions stop: python-tuf's and the disk's become Problems here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    RepositoryError,
)

from exchange.problems import Code, Problem


@contextlib.contextmanager
def tuf_problems() -> Iterator[None]:
    """python-tuf's exceptions stop here."""
    try:
        yield
    except DownloadHTTPError as error:
        raise Problem(
            Code.REGISTRY_UNREACHABLE, detail=str(error), facts={"status": error.status_code}
        ) from error
    except DownloadError as error:
        detail = f"{error}" + (f": {error.__cause__}" if error.__cause__ else "")
        raise Problem(Code.REGISTRY_UNREACHABLE, detail=detail) from error
    except BadVersionNumberError as error:
        raise Problem(Code.ROLLBACK_DETECTED, where="registry", detail=str(error)) from error
    except ExpiredMetadataError as error:
        raise Problem(Code.REGISTRY_STATE_EXPIRED, where="registry", detail=str(error)) from error
    except RepositoryError as error:
        raise untrusted("registry", str(error)) from error


@contextlib.contextmanager
def disk(directory: Path) -> Iterator[None]:
    """The disk's exceptions stop here."""
    try:
        yield
    except OSError as error:
        raise Problem(
            Code.INTERNAL_ERROR,
            where=str(directory),
            detail=f"the copy of the registry cannot be read or written: {error.strerror}",
        ) from error


def untrusted(where: str, detail: str) -> Problem:
    """What the registry says breaks a rule."""
    return Problem(Code.UNTRUSTED_METADATA, where=where, detail=detail)
