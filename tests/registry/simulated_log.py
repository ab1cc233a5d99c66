"""A registry's log in memory, made the slow way; whoever has its keys may do anything."""

from __future__ import annotations

from copy import copy

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.log import merkle
from exchange.log.checkpoint import Checkpoint
from exchange.log.cosignature import cosign
from exchange.log.notes import Note, VerifierKey, sign_note
from exchange.log.proof import LogProof, format_proof
from exchange.log.tiles import ENTRIES, WIDTH, Tile, bundles_of, format_bundle, tiles_of
from exchange.registry.log import State, origin, proof_path


class SimulatedLog:
    """Entries, the keys that sign heads, and witnesses that cosign whatever they are shown."""

    def __init__(self, instance: str = "LA") -> None:
        self.origin = origin(instance)
        self.keys = [Ed25519PrivateKey.generate()]
        self.witnesses: dict[str, Ed25519PrivateKey] = {}
        self.entries: list[bytes] = []

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        return tuple(VerifierKey.of(self.origin, key.public_key()) for key in self.keys)

    def fork(self) -> SimulatedLog:
        """The same past, and the same keys; another future."""
        other = copy(self)
        other.keys, other.entries = list(self.keys), list(self.entries)
        return other

    def subtree(self, level: int, index: int) -> bytes:
        """The root of a complete subtree."""
        part = self.entries[index << level : (index + 1) << level]
        return merkle.root_of_hashes(b"".join(map(merkle.leaf_hash, part)))

    def head(self) -> bytes:
        """The signed head, cosigned."""
        root = merkle.root_of_hashes(b"".join(map(merkle.leaf_hash, self.entries)))
        text = str(Checkpoint(self.origin, len(self.entries), root))
        lines = [line for key in self.keys for line in sign_note(text, self.origin, key).signatures]
        lines += [cosign(text, name, key, 1) for name, key in self.witnesses.items()]
        return bytes(Note(text, tuple(lines)))

    def proof(self, index: int) -> bytes:
        """The proof of an entry by the present head."""
        path = merkle.prove_inclusion(index, len(self.entries), self.subtree)
        return format_proof(LogProof(index, path, self.head(), self.entries[index]))

    def files(self) -> dict[str, bytes]:
        """Head, tiles and bundles, by their path."""
        size = len(self.entries)
        found = {"/log/checkpoint": self.head()}
        for tile in tiles_of(size):
            first = tile.first
            hashes = (
                self.subtree(8 * tile.level, number) for number in range(first, first + tile.width)
            )
            found[f"/log/{tile}"] = b"".join(hashes)
        for bundle in bundles_of(size):
            first = bundle.first
            found[f"/log/{bundle}"] = format_bundle(self.entries[first : first + bundle.width])
        return found

    def add_state(self, snapshot: bytes, version: int, targets: int, root: int) -> dict[str, bytes]:
        """Append a state; returns all files with its proof."""
        self.entries.append(bytes(State.of(snapshot, version, targets, root)))
        return self.files() | {f"/{proof_path(version)}": self.proof(len(self.entries) - 1)}


def bundle_path(index: int, size: int) -> str:
    """Where the entry is."""
    first = index // WIDTH
    return f"/log/{Tile(ENTRIES, first, min(WIDTH, size - first * WIDTH))}"
