"""Manifests: what each batch put into an archive, with digests, as a chain.

A manifest is canonical JSON. It names the objects of its batch, and up to where the archive holds
entries and sealed parts once the batch is there. The last batch of a run has the signed checkpoint
for whose tree the archive holds every tile; the others have none.

Invariants:
- the manifest is put after all it names was put and read back: it is the commit of its batch;
- each names the SHA-256 of the one before it, so that the last one tells of all;
- an object that a manifest names is never replaced by another content.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from exchange.documents import Node, format_document, parse_document
from exchange.problems import Code, Problem
from mediator.archive.stores import Store, Stored, failed, fetch

MAX_OBJECTS: Final = 4096
MAX_SIZE: Final = 2 << 20
NO_DIGEST: Final = "0" * 64
_MOST: Final = 2**53 - 1
_MEMBERS: Final = frozenset(
    {"checkpoint", "entries", "number", "objects", "origin", "previous", "segments", "v"}
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One batch; ``entries`` and ``segments`` count from the log's beginning."""

    number: int
    previous: str
    origin: str
    checkpoint: str
    """The signed note, or empty when further batches of the run follow."""
    entries: int
    """So many entries are here in full bundles."""
    segments: int
    """Of so many entries the sealed parts are here."""
    objects: tuple[Stored, ...]

    def __bytes__(self) -> bytes:
        return format_document(
            {
                "checkpoint": self.checkpoint,
                "entries": self.entries,
                "number": self.number,
                "objects": [[each.name, each.size, each.digest] for each in self.objects],
                "origin": self.origin,
                "previous": self.previous,
                "segments": self.segments,
                "v": 1,
            }
        )

    @property
    def digest(self) -> str:
        return sha256(bytes(self)).hexdigest()

    @classmethod
    def parse(cls, data: bytes, where: str) -> Self:
        """Parse a manifest.

        Raises:
            Problem: ``InvalidDocument``.
        """
        document = parse_document(data, MAX_SIZE, where)
        fields = document.members(_MEMBERS)
        fields["v"].integer(1, 1)
        manifest = cls(
            number=fields["number"].integer(0, _MOST),
            previous=fields["previous"].text(64),
            origin=fields["origin"].text(),
            checkpoint=fields["checkpoint"].text(100_000, 0),
            entries=fields["entries"].integer(0, _MOST),
            segments=fields["segments"].integer(0, _MOST),
            objects=tuple(_stored(item) for item in fields["objects"].items(MAX_OBJECTS)),
        )
        if bytes(manifest) != data:
            raise document.refuse("not in canonical form")
        return manifest


def _stored(node: Node) -> Stored:
    name, size, digest = node.items(3, 3)
    path = name.text(200)
    if path.startswith("/") or any(part in {"", ".", ".."} for part in path.split("/")):
        raise name.refuse("is no name of an object")
    return Stored(path, size.integer(0, _MOST), digest.text(64, 64))


def name_of(number: int) -> str:
    """The name of a manifest in its archive."""
    return f"manifests/{number:010d}.json"


def read_manifest(store: Store, number: int) -> Manifest | None:
    """A manifest, or None when the archive has none of this number.

    Raises:
        Problem: ``ArchiveFailed``, also when it is malformed.
    """
    name = name_of(number)
    try:
        manifest = Manifest.parse(fetch(store, name, MAX_SIZE), name)
    except Problem as problem:
        if problem.code is Code.NOT_FOUND:
            return None
        if problem.code is Code.INVALID_DOCUMENT:
            raise failed(store.url, name, problem.detail) from problem
        raise
    if manifest.number != number:
        raise failed(store.url, name, f"is the manifest of number {manifest.number}")
    return manifest


def last_manifest(store: Store, known: Manifest | None = None) -> Manifest | None:
    """The last manifest of an archive, from one that is known on, in few steps.

    Raises:
        Problem: ``ArchiveFailed``, also when the archive lacks the one that is known, or what
            follows it does not name it.
    """
    if known is None:
        return _search(store)
    found = read_manifest(store, known.number)
    if found != known:
        raise failed(
            store.url,
            name_of(known.number),
            "the archive has lost it, or has another: it was put there before",
        )
    while (following := read_manifest(store, found.number + 1)) is not None:
        check_chain(store, found, following)
        found = following
    return found


def _search(store: Store) -> Manifest | None:
    step, low, found = 1, 0, read_manifest(store, 0)
    if found is None:
        return None
    while (ahead := read_manifest(store, low + step)) is not None:
        low, found, step = low + step, ahead, step * 2
    while step > 1:
        step //= 2
        if (ahead := read_manifest(store, low + step)) is not None:
            low, found = low + step, ahead
    return found


def check_chain(store: Store, previous: Manifest | None, manifest: Manifest) -> None:
    """Check that a manifest follows another.

    Raises:
        Problem: ``ArchiveFailed``.
    """
    expected = NO_DIGEST if previous is None else previous.digest
    grows = previous is None or (
        manifest.origin == previous.origin
        and manifest.entries >= previous.entries
        and manifest.segments >= previous.segments
    )
    if manifest.previous != expected or not grows:
        raise failed(store.url, name_of(manifest.number), "does not follow the manifest before it")
