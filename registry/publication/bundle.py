"""Bundles (:mod:`exchange.registry.bundles`): what servers read, in a few files instead of
thousands.

The published one (``bundle.json`` and ``bundles/{sha256}``) spares a server that has everything to
fetch its requests; it is made anew now and then, and may be as old as that. The one that an
operator writes for servers on bad lines, or on none, has besides every root, the present metadata
and the log. Nothing in either is trusted because it is in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from exchange.log.checkpoint import parse_text
from exchange.log.notes import parse_note
from exchange.log.tiles import bundles_of, tiles_of
from exchange.problems import Problem
from exchange.registry.bundles import (
    LISTING,
    MAX_PIECE_BYTES,
    MAX_PIECES,
    Listing,
    Packing,
    Piece,
    parse_listing,
)
from exchange.registry.log import CHECKPOINT, FOLDER, proof_path
from registry.publication.tree import Tree
from registry.store import Store

PIECE_BYTES: Final = 1 << 20


def publish_bundle(public: Path, files: Iterable[Path]) -> bool:
    """Put out a bundle of published files, the listing last; whether they are others than before.

    Raises:
        OSError: a file cannot be read or written.
    """
    names = list(files)
    told = "".join(f"{name.relative_to(public).as_posix()}\n" for name in names)
    contents = sha256(told.encode()).hexdigest()
    listing = public / LISTING
    with suppress(OSError, Problem):
        if parse_listing(listing.read_bytes()).contents == contents:
            os.utime(listing)
            return False
    pieces = []
    for data in _pieces(public, names):
        if len(data) > MAX_PIECE_BYTES:
            continue  # nobody would take it: what is in it is fetched file by file
        pieces.append(piece := Piece(sha256(data).hexdigest(), len(data)))
        _replace(public / piece.path, data)
    _replace(listing, bytes(Listing(contents, tuple(pieces[:MAX_PIECES]))))
    return True


def bundle_age_s(public: Path) -> float:
    """Seconds since the published bundle was last right; endless when there is none."""
    try:
        return max(0.0, time.time() - (public / LISTING).stat().st_mtime)
    except FileNotFoundError:
        return float("inf")


def write_bundle(store: Store, tree: Tree, public: Path, out: Path) -> int:
    """Write the bundle of the present state; returns how many files it has. One rename at the end.

    Raises:
        Problem: of the database.
        OSError: a published file or the bundle cannot be read or written.
    """
    with store.transaction():
        paths = [*tree.present(store, read_alone=True), *tree.top_level(store)]
        snapshot = store.version("snapshot") or 0
    head = public / CHECKPOINT
    if head.exists():
        size = parse_text(parse_note(head.read_bytes()).text).size
        paths += [head, public / proof_path(snapshot)]
        paths += [public / FOLDER / str(tile) for tile in (*tiles_of(size), *bundles_of(size))]
    draft = out.with_name(f".{out.name}.new")
    draft.parent.mkdir(parents=True, exist_ok=True)
    packing = Packing()
    with open(draft, "wb") as file:
        for path in paths:
            file.write(packing.add(path.relative_to(public).as_posix(), path.read_bytes()))
        file.write(packing.end())
    os.replace(draft, out)
    return len(paths)


def _pieces(public: Path, files: Iterable[Path]) -> Iterator[bytes]:
    packing, parts, size = Packing(), [], 0
    for path in files:
        parts.append(packing.add(path.relative_to(public).as_posix(), path.read_bytes()))
        size += len(parts[-1])
        if size >= PIECE_BYTES:
            yield b"".join((*parts, packing.end()))
            packing, parts, size = Packing(), [], 0
    if parts:
        yield b"".join((*parts, packing.end()))


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    os.replace(temporary, path)
