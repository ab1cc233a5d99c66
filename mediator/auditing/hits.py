"""Entries as they are shown, each with its path to the checkpoint that was read."""

from __future__ import annotations

from typing import Any

import orjson

from exchange.agreements import Mandate
from exchange.agreements.mandate import ALWAYS
from exchange.journal.auditing import Hit
from exchange.log import merkle
from mediator.journal.reader import JournalReader


def hit_of(
    reader: JournalReader,
    index: int,
    shown: dict[str, Any] | None = None,
    note: bytes | None = None,
) -> Hit:
    """An entry whole; or ``shown`` of it, with the hash of its leaf.

    Args:
        note: the checkpoint to which the path leads, as :meth:`JournalReader.prove` takes it.
    """
    entry = reader.entry(index)
    leaf, path = merkle.leaf_hash(entry), reader.prove(index, note).path
    if shown is None:
        return Hit(index, leaf, path, entry=entry)
    return Hit(index, leaf, path, shown=shown)


def hit_for(
    reader: JournalReader,
    index: int,
    mandate: Mandate,
    wanted: frozenset[str],
    note: bytes | None = None,
) -> Hit:
    """An entry as a mandate shows it; of that, the members that are ``wanted`` when any is.

    ``note`` is as in :func:`hit_of`.
    """
    if mandate.whole and not wanted:
        return hit_of(reader, index, note=note)
    shown = {
        name: value
        for name, value in orjson.loads(reader.entry(index)).items()
        if mandate.shows(name) and (not wanted or name in wanted or name in ALWAYS)
    }
    return hit_of(reader, index, shown, note)
