"""Digests of documents on disk, so that a start need not read what was read before.

One file beside the mapping: a line of text, records of fixed length, and the SHA-256 of all of
that. A record is known by number, length and times of the document's file, never by its name.

Invariants:
- a file that is not whole, or of another version, is passed over as if it were not there;
- it is replaced by a whole one, never changed, so that several processes may have it;
- a document that changed a moment before it was read is not kept: its file system may give a change
  that comes right after it the same time;
- it is a help: that it cannot be written is told, and nothing else.

Whoever may write to it may write to the mapping beside it, too; it is believed as that is. All of
this blocks.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import structlog

from adapters.documents.folder import Identity
from adapters.documents.media import MediaType

SETTLED_NS: Final = 2 * 10**9
"""How old a change is at least when its document is read; the coarsest clock of a disk ticks so."""
_RECORD: Final = struct.Struct("<QQqqB32s")
_KINDS: Final = tuple(MediaType)
_HEAD: Final = f"saphan-digests 1 {','.join(_KINDS)}\n".encode()
_SUM: Final = hashlib.sha256().digest_size
_MOST_BYTES: Final = 1_000_000 * _RECORD.size + len(_HEAD) + _SUM
_log = structlog.get_logger("saphan.adapters")


class Key(NamedTuple):
    """An :class:`Identity` without the device, which may have another number after a start."""

    number: int
    size: int
    written_ns: int
    changed_ns: int


Known: TypeAlias = Mapping[Key, tuple[MediaType, bytes]]
"""Media type and SHA-256 of documents."""


def key_of(identity: Identity) -> Key:
    """What a document is kept under."""
    return Key(*identity[1:])


def kept_path(folder: Path, mapping: str) -> Path:
    """Where the digests for a mapping file are: beside it, under its name."""
    return folder / f"{Path(mapping).stem}.kept-digests"


def load(path: Path) -> Known:
    """What was kept; nothing when there is none that fits."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        _log.warning("kept_digests_unreadable", path=str(path), why=str(error))
        return {}
    whole, found = data[:-_SUM], data[-_SUM:]
    records = memoryview(whole)[len(_HEAD) :]
    if (
        not whole.startswith(_HEAD)
        or len(records) % _RECORD.size
        or len(data) > _MOST_BYTES
        or hashlib.sha256(whole).digest() != found
    ):
        _log.warning("kept_digests_thrown_away", path=str(path))
        return {}
    return {
        Key(*record[:4]): (_KINDS[record[4]], record[5]) for record in _RECORD.iter_unpack(records)
    }


def settled(identity: Identity) -> bool:
    """Whether the document, which is being read now, changed long enough ago."""
    return time.time_ns() - max(identity.written_ns, identity.changed_ns) > SETTLED_NS


def save(path: Path, known: Iterable[tuple[Identity, MediaType, bytes]]) -> None:
    """Put a new file in the place of the old one."""
    parts = [_HEAD]
    for identity, kind, digest in known:
        with suppress(struct.error):  # times before 1970 and beyond 2262 have a form, others none
            parts.append(_RECORD.pack(*key_of(identity), _KINDS.index(kind), digest))
    whole = b"".join(parts)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(whole + hashlib.sha256(whole).digest())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        _log.warning("digests_not_kept", path=str(path), why=str(error))
        with suppress(OSError):
            new.unlink(missing_ok=True)
