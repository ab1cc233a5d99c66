"""One file with everything that a server needs for its first start: for bad lines, and for none.

A ZIP archive of published files under their published names: every root, the present metadata,
target files, the log's proof of the present state and the log itself. Nothing in it
is trusted because it is in it: a server verifies each file as if it had been downloaded.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from exchange.checkpoint import parse_text
from exchange.notes import parse_note
from exchange.registry_log import CHECKPOINT, FOLDER, proof_path
from exchange.tiles import bundles_of, tiles_of
from registry.store import Store
from registry.tree import Tree


def write_bundle(store: Store, tree: Tree, public: Path, out: Path) -> int:
    """Write the bundle of the present state; returns how many files it has. One rename at the end.

    Raises:
        Problem: of the database.
        OSError: a published file or the bundle cannot be read or written.
    """
    with store.transaction():
        paths = tree.present(store)
        snapshot = store.version("snapshot") or 0
    head = public / CHECKPOINT
    if head.exists():
        size = parse_text(parse_note(head.read_bytes()).text).size
        paths |= {head, public / proof_path(snapshot)}
        paths |= {public / FOLDER / str(tile) for tile in (*tiles_of(size), *bundles_of(size))}
    draft = out.with_name(f".{out.name}.new")
    draft.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(paths):
            archive.write(path, path.relative_to(public).as_posix())
    os.replace(draft, out)
    return len(paths)
