"""Copies of the registry's database, and ways back to an earlier state.

A copy (:func:`back_up`) is a SQLite file with the tables of the registry, whichever engine it was
taken from; it is whole although the registry goes on meanwhile. It holds every state that was ever
published, so one copy leads back to any of them.

What clients accepted never goes back: versions only rise, and the log only grows (TUF 1.0.34
section 5; C2SP tlog-tiles). So there are two ways, and neither shows anybody an older version:

- the database was lost (:func:`restore`, :func:`catch_up`): the copy is put in place, and what was
  published after it is taken from a published tree, which proves itself by its signatures;
- a state was a mistake (:func:`set_back`): what the registry itself said then (its own files, who
  is a member) is published anew with the next version, signed by the targets keys. What members say
  of themselves, and their keys, only they can take back; they are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from exchange.identifiers import MemberId
from exchange.log.checkpoint import parse_text
from exchange.log.notes import parse_note
from exchange.problems import Code, Problem
from exchange.registrations import INSTANCE_TARGET, parse_instance
from exchange.registry.delegations import continuity_target, read_delegations, role_name
from exchange.registry.key_sets import KeySet
from exchange.registry.log import CHECKPOINT, FOLDER
from registry.publication.publish import (
    MAX_METADATA_BYTES,
    OWN_ROLE,
    TARGETS_VALIDITY,
    check_file,
    judge_targets,
    next_targets,
    read,
    sign,
)
from registry.publication.tree import TIMESTAMP
from registry.registrar import Registrar
from registry.store import Publication, Store
from serving.log.tiles import Edge, TileFolder

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What a published tree had that the database had not."""

    log_entries: int
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetBack:
    """What came of a way back: the new version, and who must sign anew to be as before."""

    version: int
    members: tuple[MemberId, ...]


def back_up(store: Store, path: Path) -> None:
    """Copy the database into a new file.

    Raises:
        Problem: ``Conflict`` when the file is there already.
    """
    copy = Store.create(path)
    try:
        with store.reading():
            copy.take_all(store)
    finally:
        copy.close()


def restore(path: Path, place: Path | str) -> Store:
    """Put a copy in place, where no registry may be yet; the caller closes what is returned.

    Raises:
        Problem: ``Conflict`` when a registry is there already; ``NotFound`` when ``path`` is none.
    """
    copy = Store(path)
    try:
        store = Store.create(place)
        try:
            with copy.reading():
                store.take_all(copy)
        except BaseException:
            store.close()
            raise
    finally:
        copy.close()
    return store


def catch_up(store: Store, tree: Path, at: datetime) -> CaughtUp:
    """Take over what a published tree has and the database has not, if its signatures hold.

    Raises:
        Problem: ``UntrustedMetadata``, ``DigestMismatch``, ``NotFound`` or ``JournalForked`` when
            the tree is damaged, or not of this registry's future.
    """
    with store.transaction():
        entries = _catch_up_log(store, tree)
        return CaughtUp(entries, _catch_up_roles(store, _Published(tree), at))


def set_back(
    registrar: Registrar, store: Store, state: int, signers: Sequence[Signer], at: datetime
) -> SetBack:
    """Publish anew what the registry itself said in an earlier state.

    Raises:
        Problem: ``NotFound`` for a state that never was; ``UntrustedMetadata`` when the keys are
            not enough of the targets keys; ``Conflict`` when the log's keys have changed since.
    """
    with registrar.acting():
        if state not in {version for version, _ in store.states()}:
            raise Problem(Code.NOT_FOUND, where=f"states/{state}", detail="there was no such state")
        now, then = _own(store.files(OWN_ROLE)), _own(store.files_at(state, OWN_ROLE))
        instance = parse_instance(now[INSTANCE_TARGET])
        if parse_instance(then[INSTANCE_TARGET]).log != instance.log:
            raise Problem(
                Code.CONFLICT,
                where=INSTANCE_TARGET,
                detail="the keys of the log have changed since; they never go back",
            )
        current = read(Targets, registrar.targets_bytes(), OWN_ROLE)
        before = store.roles_at(state)
        old = read(Targets, before[OWN_ROLE][1], OWN_ROLE)
        kept, files = _kept(current, old, instance.instance), dict(then)
        for member in kept:  # proofs of changed keys are never taken back
            if (path := continuity_target(member)) in now:
                files[path] = now[path]
        new = _signed_anew(current, instance.instance, kept, files, signers, at)
        root = read(Root, store.root(), "root")
        version = judge_targets(new, root, current, instance.instance, at).version
        store.record(at, "console", "restore", OWN_ROLE, {"state": state, "version": version})
        registrar.publish_roles({OWN_ROLE: (version, new)}, {OWN_ROLE: files}, at)
        present = store.versions()
    changed = [
        member
        for member in kept
        if (known := before.get(role_name(member))) and present[role_name(member)] != known[0]
    ]
    return SetBack(version, tuple(sorted(changed)))


def _own(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    if INSTANCE_TARGET not in files:
        raise Problem(Code.NOT_FOUND, where=INSTANCE_TARGET, detail="the state is incomplete")
    return files


def _kept(current: Targets, old: Targets, instance: str) -> dict[MemberId, KeySet]:
    """Who was a member then, with the keys of now where there are any: keys never go back."""
    now = read_delegations(current, instance)
    then = read_delegations(old, instance)
    return {member: now.get(member, keys) for member, keys in then.items()}


def _signed_anew(
    current: Targets,
    instance: str,
    members: Mapping[MemberId, KeySet],
    files: Mapping[str, bytes],
    signers: Sequence[Signer],
    at: datetime,
) -> bytes:
    base = Targets.from_dict(current.to_dict())
    gone = read_delegations(current, instance).keys() - members.keys()
    if base.delegations is not None and base.delegations.roles is not None:
        for member in gone:
            base.delegations.roles.pop(role_name(member), None)
    new = next_targets(base, instance, expires=at + TARGETS_VALIDITY, members=members)
    new.targets = {
        path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()
    }
    return sign(new, signers)


class _Published:
    """A published tree, of this machine or of a mirror: read, and believed only when verified."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def metadata(self, name: str, version: int | None = None) -> Metadata[Any]:
        file = TIMESTAMP if version is None else f"{version}.{quote(name, '')}.json"
        data = self._read(self._tree / "metadata" / file)
        try:
            return Metadata[Any].from_bytes(data)
        except RepositoryError as error:
            raise Problem(Code.UNTRUSTED_METADATA, where=file, detail="not metadata") from error

    def bytes_of(self, name: str, version: int | None = None) -> bytes:
        file = TIMESTAMP if version is None else f"{version}.{quote(name, '')}.json"
        return self._read(self._tree / "metadata" / file)

    def has_root(self, version: int) -> bool:
        return (self._tree / "metadata" / f"{version}.root.json").is_file()

    def target(self, file: TargetFile) -> bytes:
        folder, _, name = file.path.rpartition("/")
        prefixed = f"{file.hashes['sha256']}.{name}"
        data = self._read(self._tree.joinpath("targets", *folder.split("/"), prefixed))
        check_file(file, data)
        return data

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(8 * MAX_METADATA_BYTES)
        except OSError as error:
            raise Problem(
                Code.NOT_FOUND, where=str(path), detail=f"the tree lacks it: {error.strerror}"
            ) from error


def _catch_up_roles(store: Store, tree: _Published, at: datetime) -> tuple[str, ...]:
    root = _newest_root(store, tree)
    timestamp = _verified(root, "timestamp", tree.metadata("timestamp"), Timestamp)
    version = timestamp.snapshot_meta.version
    snapshot = _verified(root, "snapshot", tree.metadata("snapshot", version), Snapshot)
    if version <= (store.version("snapshot") or 0):
        return ()
    roles: dict[str, tuple[int, bytes]] = {}
    files: dict[str, dict[str, bytes]] = {}
    newest = {name.removesuffix(".json"): meta.version for name, meta in snapshot.meta.items()}
    known = store.versions()
    if newest[OWN_ROLE] > known[OWN_ROLE]:
        own = tree.metadata(OWN_ROLE, newest[OWN_ROLE])
        targets = _verified(root, OWN_ROLE, own, Targets)
        roles[OWN_ROLE] = (newest[OWN_ROLE], tree.bytes_of(OWN_ROLE, newest[OWN_ROLE]))
        files[OWN_ROLE] = {path: tree.target(file) for path, file in targets.targets.items()}
    else:
        targets = read(Targets, (store.role(OWN_ROLE) or (0, b""))[1], OWN_ROLE)
    for name, newer in newest.items():
        if name != OWN_ROLE and newer > known.get(name, 0):
            signed = _verified(targets, name, tree.metadata(name, newer), Targets)
            roles[name] = (newer, tree.bytes_of(name, newer))
            files[name] = {path: tree.target(file) for path, file in signed.targets.items()}
    online = {
        "snapshot": (version, tree.bytes_of("snapshot", version)),
        "timestamp": (timestamp.version, tree.bytes_of("timestamp")),
    }
    store.record(at, "console", "catch up", OWN_ROLE, {"snapshot": version})
    store.publish(Publication({**roles, **online}, files), at)
    return tuple(sorted(roles))


def _newest_root(store: Store, tree: _Published) -> Root:
    root = read(Root, store.root(), "root")
    while tree.has_root(root.version + 1):
        metadata = tree.metadata("root", root.version + 1)
        new = _verified(root, "root", metadata, Root)
        _verified(new, "root", metadata, Root)
        store.put_root(new.version, tree.bytes_of("root", new.version))
        root = new
    return root


def _verified(delegator: Root | Targets, role: str, metadata: Metadata[Any], kind: type) -> Any:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise Problem(Code.UNTRUSTED_METADATA, where=role, detail=str(error)) from error
    if not isinstance(metadata.signed, kind):
        raise Problem(Code.UNTRUSTED_METADATA, where=role, detail="metadata of another kind")
    return metadata.signed


def _catch_up_log(store: Store, tree: Path) -> int:
    """Entries that are published and that the database lacks; the published head is taken over."""
    try:
        note = (tree / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return 0
    head = parse_text(parse_note(note).text)
    known = store.log_size()
    if head.size <= known:
        return 0
    edge = Edge.empty()
    for start in range(0, known, _BATCH):
        rows = store.log(after=start - 1, limit=min(_BATCH, known - start))
        _grow(edge, [entry for _, entry in rows])
    found = [entry for _, entry in TileFolder(tree / FOLDER).entries(known, head.size, head.size)]
    _grow(edge, found)
    if edge.size != head.size or edge.root() != head.root:
        raise Problem(
            Code.JOURNAL_FORKED,
            where=str(tree / CHECKPOINT),
            detail="the entries of the copy and of the tree are not those of its signed head",
        )
    for entry in found:
        store.append_log(entry)
    present = store.checkpoint()
    store.put_checkpoint(None if present is None else present.size, head.size, note)
    return len(found)


def _grow(edge: Edge, entries: list[bytes]) -> None:
    for start in range(0, len(entries), _BATCH):
        for _ in edge.append(entries[start : start + _BATCH]):
            pass  # tiles are made anew by who publishes


def digest_of(path: Path) -> str:
    """The SHA-256 of a copy, to be noted beside it."""
    digest = sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
