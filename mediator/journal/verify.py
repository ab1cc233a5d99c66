"""Offline verification of a journal's directory: every byte that the proofs rest on.

What is checked, and against what:

- the checkpoint against the verifier key, the store of the last signed checkpoint, and a
  checkpoint that somebody remembered: a log that was set back, cut or forked is refused. The store
  is read first, so that it may be behind a journal that is being written, and never ahead of it;
- every tile against the tiles below it and the checkpoint above; every entry against its leaf;
  partial tiles and bundles of earlier sizes, which stay until the full one is there, against the
  present ones;
- every record of the segments against its checksum and its leaf; every sealed part against the
  digest in its entry; where the member's key is here, its content, the commitment and the body's
  digest. A key that was destroyed never breaks anything.

A finding names the file and, where it can be told, the entry. When two files contradict each
other, the one that a third contradicts too is named.

Not checked: whether what was recorded is true, the certificates of those who signed (an export
holds what is needed for that), and whether the verifier key is the one that the registry lists.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from exchange import merkle
from exchange.checkpoint import Checkpoint, open_checkpoint, parse_text
from exchange.digest import format_content_digest
from exchange.entries import Sealed
from exchange.merkle import HASH_SIZE
from exchange.notes import VerifierKey, parse_note
from exchange.problems import Code, Problem
from exchange.sealed_parts import SealedPart, commitment, parse_part
from exchange.tiles import ENTRIES, WIDTH, Tile, parse_bundle, tile_at
from mediator.journal import segments
from mediator.journal.keyring import KeyRing
from mediator.journal.publication import CHECKPOINT
from mediator.journal.recovery import DESCRIPTION, Description
from mediator.journal.segments import Broken
from mediator.journal.signed import FILE as SIGNED_FILE
from mediator.journal.tiles import TileFolder

MAX_FINDINGS = 100

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be: its code, file, entry (if one is meant) and why."""

    code: Code
    file: str
    index: int | None
    detail: str

    def __str__(self) -> str:
        entry = "" if self.index is None else f"entry {self.index}, "
        return f"{self.code}: {entry}{self.file}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found. ``good`` only if there is no finding at all."""

    directory: str
    origin: str
    vkey: str
    size: int
    root: str
    unpublished: int
    """Whole records behind the published size (a live journal has some)."""
    sealed: int
    """Sealed parts that match their entries."""
    opened: int
    """Of these, how many were decrypted and their content checked."""
    without_key: int
    """Of these, how many could not be decrypted: the key was destroyed or is elsewhere."""
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        return not self.findings


class _Findings:
    """Collects findings; stops the verification when there are too many to be of use."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def add(self, code: Code, file: str, index: int | None, detail: str) -> None:
        self.found.append(Finding(code, file, index, detail))
        if len(self.found) >= MAX_FINDINGS:
            raise _TooManyError

    def of(self, problem: Problem, file: str, index: int | None = None) -> None:
        self.add(problem.code, file, index, problem.detail)


class _TooManyError(Exception):
    """There are :data:`MAX_FINDINGS` findings."""


@dataclass(slots=True)
class _Counts:
    unpublished: int = 0
    sealed: int = 0
    opened: int = 0
    without_key: int = 0


def verify(
    directory: Path,
    *,
    key: VerifierKey | None = None,
    known: bytes | None = None,
    tree_only: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Verdict:
    """Verify a journal's directory, or a copy of its ``log/`` alone.

    Args:
        directory: a journal, or what it publishes.
        key: the log's verifier key as the registry lists it; without it, that of journal.json.
        known: a signed checkpoint of this log that was remembered from before.
        tree_only: leave out the segments (sealed parts).
        progress: is told (what, done, total) now and then.

    Raises:
        Problem: ``JournalCorrupt`` when the directory is no journal, or no key is known.
    """
    findings = _Findings()
    log = directory / "log" if (directory / "log").is_dir() else directory
    if key is None or (directory / DESCRIPTION).exists():
        try:
            description = Description.read(directory / DESCRIPTION)
        except Problem as problem:
            if key is None:
                raise
            findings.of(problem, DESCRIPTION)
        else:
            if key is not None and key != description.key:
                findings.add(
                    Code.JOURNAL_FORKED, DESCRIPTION, None, "names another key than was given"
                )
            key = key or description.key
    assert key is not None  # noqa: S101  # or reading the description raised
    counts = _Counts()
    head = Checkpoint(key.name, 0, merkle.EMPTY_ROOT)
    with contextlib.suppress(_TooManyError):
        found = _check_head(directory, log, key, findings)
        if found is not None:
            head = found
            if known is not None:  # before the tiles: a fork must be told however much is damaged
                _check_known(known, "known checkpoint", key, head, log, findings)
            hashes = _Tree(log, head, directory, findings).check(progress)
            if not tree_only and log != directory:
                _check_segments(directory, head, hashes, findings, counts, progress)
    return Verdict(
        str(directory),
        key.name,
        str(key),
        head.size,
        head.root.hex(),
        counts.unpublished,
        counts.sealed,
        counts.opened,
        counts.without_key,
        tuple(findings.found),
    )


def _check_head(
    directory: Path, log: Path, key: VerifierKey, findings: _Findings
) -> Checkpoint | None:
    file = f"log/{CHECKPOINT}"
    stored = _last_signed(directory, findings)
    try:
        data = (log / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        if stored or not (directory / DESCRIPTION).exists() or (log / "tile").exists():
            findings.add(Code.JOURNAL_CORRUPT, file, None, "there is no checkpoint")
            return None
        return Checkpoint(key.name, 0, merkle.EMPTY_ROOT)
    except OSError as error:
        findings.add(Code.JOURNAL_CORRUPT, file, None, f"cannot be read: {error.strerror}")
        return None
    try:
        head = open_checkpoint(data, key, where=file)
    except Problem as problem:
        findings.of(problem, file)
        with contextlib.suppress(Problem):  # the signature is wrong: see whether the tree is right
            return parse_text(parse_note(data).text)
        return None
    if stored and data not in stored:
        _check_known(stored[0], SIGNED_FILE, key, head, log, findings)
    return head


def _last_signed(directory: Path, findings: _Findings) -> tuple[bytes, ...]:
    """The checkpoint that was signed last and the one before it, as far as they are here."""
    path = directory / SIGNED_FILE
    if not path.exists():
        return ()
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            row = connection.execute("SELECT current, previous FROM signed").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        findings.add(Code.JOURNAL_CORRUPT, SIGNED_FILE, None, f"cannot be read: {error}")
        return ()
    return tuple(note for note in row or () if isinstance(note, bytes))


def _check_known(
    known: bytes, name: str, key: VerifierKey, head: Checkpoint, log: Path, findings: _Findings
) -> None:
    """Hold the log to a checkpoint of an earlier time; ``name`` tells where that is from.

    A root that the tiles give counts only when it is proven to be that of a prefix of the signed
    tree: so a damaged tile is never taken for a fork.
    """
    file = f"log/{CHECKPOINT}"
    try:
        old = open_checkpoint(known, key, where=name)
    except Problem as problem:
        findings.of(problem, name)
        return
    if old.size > head.size:
        findings.add(
            Code.JOURNAL_FORKED,
            file,
            None,
            f"the log was cut or set back: it had {old.size} entries ({name}) and says it has "
            f"{head.size}",
        )
        return
    read, root = TileFolder(log).subtrees(head.size), head.root
    if old.size < head.size:
        try:
            root = merkle.root(old.size, read)
            path = merkle.prove_consistency(old.size, head.size, read)
            merkle.check_consistency(old.size, head.size, path, root, head.root)
        except Problem:
            findings.add(
                Code.JOURNAL_CORRUPT,
                name,
                None,
                "cannot be held against the log: its tiles are damaged",
            )
            return
    if root != old.root:
        findings.add(
            Code.JOURNAL_FORKED,
            file,
            None,
            f"the log was forked: its first {old.size} entries are not those that were signed "
            f"({name})",
        )


class _Tree:
    """Checks bundles and tiles from the leaves up; keeps one row of hashes at a time."""

    def __init__(self, log: Path, head: Checkpoint, directory: Path, findings: _Findings) -> None:
        self._folder = TileFolder(log)
        self._head = head
        self._segments = directory / "segments"
        self._findings = findings

    def check(self, progress: Progress) -> Callable[[int], bytes | None]:
        """Check everything; returns a function that gives the leaf hash of an entry."""
        size = self._head.size
        row, suspects = self._check_leaves(progress)
        level, edges = 0, [row.edge]
        while row.full:
            level += 1
            row, suspects = self._check_level(level, row.full, suspects)
            edges.append(row.edge)
        root = b""
        for hashes in edges:
            if hashes or root:
                root = merkle.root_of_hashes(hashes + root)
        if (root or merkle.EMPTY_ROOT) != self._head.root and not self._findings.found:
            self._findings.add(
                Code.JOURNAL_FORKED,
                f"log/{CHECKPOINT}",
                None,
                f"the {size} entries do not give its root",
            )
        progress("tree", size, size)
        return self._leaf

    def _leaf(self, index: int) -> bytes | None:
        tile = tile_at(0, index // WIDTH, self._head.size)
        try:
            at = index % WIDTH * HASH_SIZE
            return self._folder.read_tile(tile)[at : at + HASH_SIZE]
        except Problem:
            return None

    def _read(self, tile: Tile) -> bytes | None:
        try:
            return self._folder.read_tile(tile)
        except Problem as problem:
            self._findings.of(problem, f"log/{tile}")
            return None

    def _check_leaves(self, progress: Progress) -> tuple[_Row, set[int]]:
        size = self._head.size
        above: list[bytes] = []
        suspects: set[int] = set()
        edge = b""
        for index in range(-(-size // WIDTH)):
            if index % 64 == 0:
                progress("tree", index * WIDTH, size)
            tile, bundle = tile_at(0, index, size), tile_at(ENTRIES, index, size)
            stored = self._read(tile)
            computed = self._leaf_hashes(bundle)
            good = stored if stored is not None else computed
            if stored is None or computed is None:
                suspects.add(index)
            elif stored != computed:
                suspects.add(index)
                good = self._judge_leaves(tile, bundle, stored, computed)
            hashes = good or bytes(tile.width * HASH_SIZE)
            if good is not None:
                self._check_earlier(tile, hashes)
                self._check_earlier(bundle, hashes)
            if tile.full:
                above.append(merkle.root_of_hashes(hashes))
            else:
                edge = hashes
        return _Row(b"".join(above), edge), suspects

    def _leaf_hashes(self, bundle: Tile) -> bytes | None:
        try:
            entries = parse_bundle(self._folder.read(bundle), bundle.width, f"log/{bundle}")
        except Problem as problem:
            whole = problem.facts.get("whole")
            index = self._first_bad(bundle) if isinstance(whole, int) else None
            self._findings.of(problem, f"log/{bundle}", index)
            return None
        return b"".join([sha256(b"\x00" + entry).digest() for entry in entries])

    def _first_bad(self, bundle: Tile) -> int | None:
        """The first entry of a bundle that does not fit its leaf, when the bundle is broken."""
        data = self._folder.read(bundle)
        at = 0
        for index in range(bundle.first, bundle.first + bundle.width):
            length = int.from_bytes(data[at : at + 2], "big")
            entry = data[at + 2 : at + 2 + length]
            if len(entry) != length or merkle.leaf_hash(entry) != self._leaf(index):
                return index
            at += 2 + length
        return None

    def _judge_leaves(self, tile: Tile, bundle: Tile, stored: bytes, computed: bytes) -> bytes:
        """Say which of a tile and its bundle is wrong, entry by entry; returns the right hashes."""
        tile_is_wrong = self._tile_is_wrong(tile, stored, computed)
        for at in range(tile.width):
            place = slice(at * HASH_SIZE, (at + 1) * HASH_SIZE)
            if stored[place] == computed[place]:
                continue
            index = tile.first + at
            wrong = tile_is_wrong
            if wrong is None:
                record = segments.find_record(self._segments, index)
                leaf = None if record is None else merkle.leaf_hash(record.entry)
                wrong = leaf == computed[place]
            self._findings.add(
                Code.JOURNAL_CORRUPT,
                f"log/{tile if wrong else bundle}",
                index,
                "the leaf hash in the tile is not that of the entry"
                if wrong
                else "the entry is not the one that the tree holds",
            )
        return computed if tile_is_wrong else stored

    def _tile_is_wrong(self, tile: Tile, stored: bytes, computed: bytes) -> bool | None:
        """Whether the level above contradicts the tile (True) or the bundle; None: it cannot."""
        if not tile.full:
            return None
        try:
            parent = tile_at(1, tile.index // WIDTH, self._head.size)
            hashes = self._folder.read_tile(parent)
        except Problem:
            return None
        at = tile.index % WIDTH * HASH_SIZE
        expected = hashes[at : at + HASH_SIZE]
        if merkle.root_of_hashes(stored) == expected:
            return False
        if merkle.root_of_hashes(computed) == expected:
            return True
        return None

    def _check_level(
        self, level: int, computed: bytes, suspects: set[int]
    ) -> tuple[_Row, set[int]]:
        """Check the tiles of a level against the roots of the full tiles below."""
        size = self._head.size
        above: list[bytes] = []
        suspects_above: set[int] = set()
        edge = b""
        for index in range(-(-len(computed) // (WIDTH * HASH_SIZE))):
            tile = tile_at(level, index, size)
            start = tile.first * HASH_SIZE
            expected = computed[start : start + tile.width * HASH_SIZE]
            stored = self._read(tile)
            if stored is not None and stored != expected:
                for at in range(tile.width):
                    place = slice(at * HASH_SIZE, (at + 1) * HASH_SIZE)
                    below = tile.first + at
                    if stored[place] != expected[place] and below not in suspects:
                        first = below << 8 * level
                        self._findings.add(
                            Code.JOURNAL_CORRUPT,
                            f"log/{tile}",
                            first,
                            f"the hash over the {1 << 8 * level} entries from {first} is wrong",
                        )
            self._check_earlier(tile, expected)
            if tile.full:
                above.append(merkle.root_of_hashes(expected))
            else:
                edge = expected
        return _Row(b"".join(above), edge), suspects_above

    def _check_earlier(self, tile: Tile, hashes: bytes) -> None:
        """Check what is left of this tile or bundle of other sizes against the right hashes.

        A wider one is of a size that no checkpoint names (a crash): what both hold is compared.
        """
        for earlier in self._folder.partials(tile):
            if earlier == tile:
                continue
            found = self._read(earlier) if tile.level != ENTRIES else self._leaf_hashes(earlier)
            if found is None:
                continue
            for at in range(0, min(len(found), len(hashes)), HASH_SIZE):
                if found[at : at + HASH_SIZE] != hashes[at : at + HASH_SIZE]:
                    number = tile.first + at // HASH_SIZE
                    self._findings.add(
                        Code.JOURNAL_CORRUPT,
                        f"log/{earlier}",
                        number << 8 * max(tile.level, 0),
                        "is not what the tree holds",
                    )
                    break


@dataclass(frozen=True, slots=True)
class _Row:
    """What a level gives the one above: roots of its full tiles; and its partial tile."""

    full: bytes
    edge: bytes


def _check_segments(
    directory: Path,
    head: Checkpoint,
    leaf: Callable[[int], bytes | None],
    findings: _Findings,
    counts: _Counts,
    progress: Progress,
) -> None:
    records = directory / "segments"
    keyring = KeyRing(directory / "keys")
    bad_keys: set[str] = set()
    expected = 0
    if not records.is_dir():
        findings.add(
            Code.JOURNAL_FORKED, "segments", 0, "is missing; --tree-only checks the log alone"
        )
        return
    for group, file in _groups(records, head, findings):
        if group.first != expected:
            findings.add(
                Code.JOURNAL_CORRUPT, file, expected, f"records {expected} to {group.first} miss"
            )
        expected = group.next
        progress("sealed parts", min(expected, head.size), head.size)
        for index, (entry, sealed) in enumerate(
            zip(group.entries, group.sealed, strict=True), group.first
        ):
            if index >= head.size:
                counts.unpublished += 1
            elif merkle.leaf_hash(entry) != leaf(index):
                findings.add(
                    Code.JOURNAL_CORRUPT, file, index, "the entry is not the one in the tree"
                )
                continue
            try:
                _check_sealed(entry, sealed, keyring, bad_keys, counts)
            except Problem as problem:
                where = problem.where if problem.where.startswith("keys/") else file
                findings.of(problem, where, index)
    if expected < head.size:
        findings.add(
            Code.JOURNAL_FORKED,
            "segments",
            expected,
            f"the segments end with {expected} records; the log has {head.size}",
        )


def _groups(
    records: Path, head: Checkpoint, findings: _Findings
) -> Iterator[tuple[segments.Group, str]]:
    """The whole groups of all segments in order; what is broken is found and passed over."""
    firsts = segments.segments_in(records)
    for number, first in enumerate(firsts):
        path = segments.path_of(records, first)
        file = f"segments/{path.name}"
        index, offset = first, 0
        while True:
            broken: Broken | None = None
            try:
                for group in segments.read_groups(path, index, offset=offset):
                    if isinstance(group, Broken):
                        broken = group
                    else:
                        yield group, file
            except OSError as error:  # of a broken disk, too
                findings.add(Code.JOURNAL_CORRUPT, file, None, f"cannot be read: {error.strerror}")
            if broken is None:
                break
            after = segments.next_mark(path, broken.offset, broken.group)
            torn = number == len(firsts) - 1 and broken.group >= head.size
            if torn and after is not None:  # or was it being written, and is whole by now?
                again = segments.read_groups(path, broken.group, offset=broken.offset)
                torn = isinstance(next(again, broken), segments.Group)
                after = None if torn else after
            if not torn:
                findings.add(Code.JOURNAL_CORRUPT, file, broken.index, broken.reason)
            if after is None:
                break
            offset, index = after


def _check_sealed(
    entry: bytes, ciphertext: bytes, keyring: KeyRing, bad_keys: set[str], counts: _Counts
) -> None:
    try:
        document = orjson.loads(entry)
        named = document.get("sealed")
        sealed = None if named is None else Sealed(**named)
        if sealed is not None and not type(sealed.key) is type(sealed.wrapped) is str:
            raise TypeError("key")
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise Problem(Code.JOURNAL_CORRUPT, detail="the entry is no entry") from error
    if sealed is None:
        if ciphertext:
            raise Problem(Code.JOURNAL_CORRUPT, detail="a sealed part that its entry does not name")
        return
    if len(ciphertext) != sealed.size or sha256(ciphertext).hexdigest() != sealed.digest:
        raise Problem(
            Code.JOURNAL_CORRUPT, detail="the sealed part has another digest than its entry says"
        )
    counts.sealed += 1
    if sealed.key in bad_keys:
        return
    try:
        key = keyring.find(sealed.key)
        if key is None:
            counts.without_key += 1
            return
        plaintext = key.open(sealed, ciphertext)
    except Problem as problem:
        bad_keys.add(sealed.key)  # said once, not for each of a month's records
        raise Problem(
            problem.code, where=f"keys/ ({sealed.key})", detail=problem.detail
        ) from problem
    check_part(parse_part(plaintext), document.get("commitment"), document.get("size"))
    counts.opened += 1


def check_part(part: SealedPart, expected: str | None, size: int | None) -> None:
    """Check an opened sealed part against its entry's commitment and body size.

    Raises:
        Problem: ``JournalCorrupt`` when the commitment, ``DigestMismatch`` when the digest of a
            body that was kept, does not fit.
    """
    if commitment(part) != expected:
        raise Problem(Code.JOURNAL_CORRUPT, detail="the commitment is not to this signature base")
    if not part.base or len(part.body) != size:
        return  # not signed, or the body was not kept
    stated = [value for name, value in part.head.headers if name == "content-digest"]
    if stated and stated != [format_content_digest(sha256(part.body).digest())]:
        raise Problem(
            Code.DIGEST_MISMATCH, detail="the body has another digest than its head states"
        )
