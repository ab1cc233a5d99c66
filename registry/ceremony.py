"""The key ceremony: a registry comes to be.

``DIR`` afterwards::

    root.json             the anchor: give it to every member by a way that is not the registry
    offline/root-N.pem    keys of the root role        } take these away from this machine: each
    offline/targets-N.pem keys of the targets role     } to another person, or at least elsewhere
    offline/operator-api-key   the first API key of the operator
    online/log.pem        signs the heads of the registry's own log, and stays there, too
    registry.db           the database, unless the settings name another
    online/snapshot.pem, online/timestamp.pem, online/standing.pem   stay beside the registry
    public/               the published tree
    registry.yaml         settings
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from exchange.certificates import refuse_development
from exchange.code_lists import parse_code_list
from exchange.continuity import STANDING_ROLE
from exchange.notes import VerifierKey
from exchange.policy import parse_policy
from exchange.problems import Code, Problem
from exchange.registrations import (
    INSTANCE_TARGET,
    STANDING_TARGET,
    InstanceRecord,
    format_instance,
    is_code_list_target,
    is_schema_target,
    parse_instance,
)
from exchange.registry_log import origin
from exchange.standing import format_standing
from registry.directory import Directory
from registry.following import Shown
from registry.judging import check_schema
from registry.log import RegistryLog
from registry.publish import (
    OWN_ROLE,
    RootKeys,
    member_role,
    new_root,
    new_targets,
    next_snapshot,
    next_targets,
    next_timestamp,
    sign,
)
from registry.publishing import OnlineKeys
from registry.roles import Right
from registry.settings import SETTINGS_FILE, RegistrySettings
from registry.signers import (
    key_set,
    log_key_of,
    new_signer,
    public_pem,
    read_signer,
    read_signers,
    write_signer,
)
from registry.store import Publication, Store
from registry.tree import Tree
from registry.witnesses import Witnesses

PUBLIC = "public"
ANCHOR = "root.json"
LOG_KEY = "online/log.pem"
OPERATOR_KEY = "offline/operator-api-key"
ROOT_VALIDITY = timedelta(days=5 * 365)
TARGETS_VALIDITY = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many keys there are and how many of them must sign."""

    keys: int
    threshold: int

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= self.keys <= 16:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="threshold",
                detail=f"{self.threshold} of {self.keys}: 1 to 16 keys, and at most all must sign",
            )


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of the ceremony."""

    anchor: Path
    operator_api_key: str
    root_keys: tuple[Path, ...]
    targets_keys: tuple[Path, ...]


def open_registry(
    directory: Path,
    instance: InstanceRecord,
    at: datetime,
    *,
    root: Quorum = Quorum(3, 2),
    targets: Quorum = Quorum(3, 2),
    schemas: Mapping[str, bytes] | None = None,
    settings: RegistrySettings | None = None,
) -> Opened:
    """Make keys, metadata, database and tree of a new registry in ``directory``.

    Args:
        schemas: shared schemas to publish from the start, by target path.

    Raises:
        Problem: ``Conflict`` when the folder is not empty; ``InvalidDocument`` for an instance or
            schema that servers would refuse; ``DevelopmentOnly`` for development authorities of a
            production instance.
    """
    if directory.exists() and any(directory.iterdir()):
        raise Problem(Code.CONFLICT, where=str(directory), detail="the folder is not empty")
    refuse_development(instance.authorities, instance.environment)
    log_key = new_signer()
    instance = replace(instance, log=verifiers(instance.instance, [log_key_of(log_key)]))
    files = {INSTANCE_TARGET: format_instance(instance), **(schemas or {})}
    parse_instance(files[INSTANCE_TARGET])
    for path, data in (schemas or {}).items():
        if is_code_list_target(path):
            parse_code_list(data, path)
        elif is_schema_target(path):
            check_schema(data, path)
        else:
            raise Problem(
                Code.INVALID_DOCUMENT,
                where=path,
                detail="must be schemas/{name}.{major}.json or code-lists/{name}.json",
            )
    settings = settings or RegistrySettings()
    keys = _Keys(
        tuple(new_signer() for _ in range(root.keys)),
        tuple(new_signer() for _ in range(targets.keys)),
        new_signer(),
        new_signer(),
        new_signer(),
    )
    root_metadata = _first_root(keys, root.threshold, targets.threshold, at)
    publication = _first_publication(keys, instance.instance, files, settings, at)
    root_paths, targets_paths = _write_keys(directory, keys)
    write_signer(directory / LOG_KEY, log_key)
    (directory / f"{LOG_KEY}.pub").write_bytes(public_pem(log_key))
    store = Store.create(settings.place(directory))
    try:
        with store.transaction():
            store.put_fact("instance", instance.instance)
            store.put_root(1, root_metadata)
            store.publish(publication, at)
            api_key = store.add_api_key(Right.OPERATOR, None, "first operator", at)
            store.record(at, "ceremony", "open", instance.instance, {"root_keys": root.keys})
        tree = Tree(directory / PUBLIC, open_log(store, directory, settings))
        Shown(store, tree, Directory()).follow(check=True)
    finally:
        store.close()
    _write_private(directory / OPERATOR_KEY, f"{api_key}\n".encode())
    (directory / SETTINGS_FILE).write_text(_settings_text(settings))
    # The anchor is written last: where it is, the registry is whole.
    (directory / ANCHOR).write_bytes(root_metadata)
    return Opened(directory / ANCHOR, api_key, root_paths, targets_paths)


@dataclass(frozen=True, slots=True)
class _Keys:
    """All keys of a new registry."""

    root: tuple[CryptoSigner, ...]
    targets: tuple[CryptoSigner, ...]
    snapshot: CryptoSigner
    timestamp: CryptoSigner
    standing: CryptoSigner


def _first_root(keys: _Keys, root: int, targets: int, at: datetime) -> bytes:
    public = RootKeys(
        key_set(keys.root, root),
        key_set(keys.targets, targets),
        key_set([keys.snapshot], 1),
        key_set([keys.timestamp], 1),
    )
    return sign(new_root(public, at + ROOT_VALIDITY), keys.root)


def _first_publication(
    keys: _Keys,
    instance: str,
    files: Mapping[str, bytes],
    settings: RegistrySettings,
    at: datetime,
) -> Publication:
    terms = settings.terms()
    expires = at + TARGETS_VALIDITY
    own = next_targets(
        new_targets(expires),
        instance,
        expires=expires,
        files=files,
        standing=key_set([keys.standing], 1),
    )
    own.version = 1
    away = {STANDING_TARGET: format_standing(())}
    standing = member_role(away, version=1, expires=at + terms.snapshot_validity)
    versions = {OWN_ROLE: 1, STANDING_ROLE: 1}
    snapshot = next_snapshot(None, versions, expires=at + terms.snapshot_validity)
    timestamp = next_timestamp(None, 1, expires=at + terms.timestamp_validity)
    return Publication(
        {
            OWN_ROLE: (1, sign(own, keys.targets)),
            STANDING_ROLE: (1, sign(standing, [keys.standing])),
            "snapshot": (1, sign(snapshot, [keys.snapshot])),
            "timestamp": (1, sign(timestamp, [keys.timestamp])),
        },
        {OWN_ROLE: files, STANDING_ROLE: away},
    )


def _write_keys(directory: Path, keys: _Keys) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    offline, online = directory / "offline", directory / "online"
    root = {offline / f"root-{number}.pem": key for number, key in enumerate(keys.root, 1)}
    targets = {offline / f"targets-{number}.pem": key for number, key in enumerate(keys.targets, 1)}
    beside = {
        online / "snapshot.pem": keys.snapshot,
        online / "timestamp.pem": keys.timestamp,
        online / "standing.pem": keys.standing,
    }
    for path, signer in (root | targets | beside).items():
        write_signer(path, signer)
    offline.chmod(0o700)
    online.chmod(0o700)
    return tuple(root), tuple(targets)


def online_keys(directory: Path) -> OnlineKeys:
    """The online keys of the registry in ``directory``; ``online/snapshot-2.pem`` and the like
    are those of the next root.

    Raises:
        Problem: ``NotFound`` or ``InvalidDocument``.
    """
    online = directory / "online"
    further = sorted([*online.glob("snapshot-*.pem"), *online.glob("timestamp-*.pem")])
    return OnlineKeys(
        read_signer(online / "snapshot.pem"),
        read_signer(online / "timestamp.pem"),
        read_signer(online / "standing.pem"),
        tuple(read_signers(further)),
    )


def log_keys(directory: Path) -> list[Ed25519PrivateKey]:
    """The keys of the log: ``online/log.pem``, and ``online/log-*.pem`` while they change.

    Raises:
        Problem: ``NotFound`` or ``InvalidDocument``.
    """
    further = sorted((directory / "online").glob("log-*.pem"))
    return [log_key_of(read_signer(path)) for path in (directory / LOG_KEY, *further)]


def verifiers(instance: str, keys: Iterable[Ed25519PrivateKey]) -> tuple[VerifierKey, ...]:
    """What servers know of the log's keys."""
    return tuple(VerifierKey.of(origin(instance), key.public_key()) for key in keys)


def open_log(store: Store, directory: Path, settings: RegistrySettings) -> RegistryLog:
    """The log of the registry in ``directory``, whose first state is in the database.

    Raises:
        Problem: as :func:`log_keys`; ``InvalidSettings`` or ``InvalidDocument`` for a policy.
    """
    witnesses = None
    if settings.witnesses:
        path = directory / settings.witnesses
        try:
            policy = parse_policy(path.read_bytes(), str(path))
        except OSError as error:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="witnesses",
                detail=f"{path} cannot be read: {error.strerror}",
            ) from error
        witnesses = Witnesses(policy, timeout_s=settings.witness_timeout_s)
    instance = parse_instance(store.files(OWN_ROLE)[INSTANCE_TARGET])
    name, keys = origin(instance.instance), log_keys(directory)
    return RegistryLog(store, directory / PUBLIC, name, keys, instance.log, witnesses)


def _settings_text(settings: RegistrySettings) -> str:
    lines = ["# Settings of this registry; `saphan registry settings` explains each."]
    for field in dataclasses.fields(settings):
        # JSON is YAML, also for addresses with signs of their own.
        value = json.dumps(getattr(settings, field.name), default=dataclasses.asdict)
        lines.append(f"{field.name}: {value}")
    return "\n".join(lines) + "\n"


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
