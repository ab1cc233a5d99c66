"""The key ceremony: a registry comes to be.

Each keeper of a root or targets key makes it on a machine of its own and gives the public half.
:func:`draft_registry` makes of these the first root and targets, which go from one keeper to the
other for their signatures; with enough of them :func:`open_drafted` opens the registry. No machine
ever has all keys. :func:`open_registry` does it all on one machine, for demonstrations.

``DIR`` afterwards::

    root.json             the anchor: give it to every member by a way that is not the registry
    draft/                what was signed
    offline/operator-api-key   the first API key of the operator
    offline/root-N.pem, offline/targets-N.pem   after a ceremony on one machine alone
    online/log.pem        signs the heads of the registry's own log, and stays there
    registry.db           the database, unless the settings name another
    online/snapshot.pem, online/timestamp.pem, online/standing.pem   stay beside the registry
    public/               the published tree
    registry.yaml         settings
"""

from __future__ import annotations

import dataclasses
import json
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Targets

from exchange.certificates.reading import refuse_development
from exchange.code_lists import parse_code_list
from exchange.log.notes import VerifierKey
from exchange.log.policy import parse_policy
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
from exchange.registry.delegations import STANDING_ROLE
from exchange.registry.key_sets import KeySet
from exchange.registry.log import origin
from exchange.registry.standing import format_standing
from registry.actors.roles import Right
from registry.directory.contents import Directory
from registry.publication.drafts import TargetsDraft, format_draft, parse_draft
from registry.publication.drafts import protocol as targets_protocol
from registry.publication.following import Shown
from registry.publication.log import RegistryLog
from registry.publication.publish import (
    OWN_ROLE,
    TARGETS_VALIDITY,
    RootKeys,
    judge_root,
    living,
    member_role,
    new_root,
    new_targets,
    next_snapshot,
    next_targets,
    next_timestamp,
    read,
    sign,
)
from registry.publication.publishing import OnlineKeys
from registry.publication.rotation import protocol as root_protocol
from registry.publication.rotation import sign_root
from registry.publication.signers import (
    key_set,
    log_key_of,
    new_signer,
    public_pem,
    read_signer,
    read_signers,
    write_signer,
)
from registry.publication.tree import Tree
from registry.publication.witnesses import Witnesses
from registry.requests.judging import check_schema
from registry.settings import SETTINGS_FILE, RegistrySettings, read_settings
from registry.store import Publication, Store

PUBLIC = "public"
ANCHOR = "root.json"
LOG_KEY = "online/log.pem"
OPERATOR_KEY = "offline/operator-api-key"
DRAFT_ROOT = "draft/1.root.json"
DRAFT_TARGETS = "draft/1.targets.draft"
ROOT_VALIDITY = timedelta(days=5 * 365)


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many keys there are and how many of them must sign."""

    keys: int
    threshold: int

    def __post_init__(self) -> None:
        check_quorum(self.keys, self.threshold)

    def new_keys(self) -> tuple[CryptoSigner, ...]:
        """So many new keys."""
        return tuple(new_signer() for _ in range(self.keys))


def check_quorum(keys: int, threshold: int) -> None:
    """Raises: Problem ``InvalidSettings`` for more keys than can sign, or none."""
    if not 1 <= threshold <= keys <= 16:
        raise Problem(
            Code.INVALID_SETTINGS,
            where="threshold",
            detail=f"{threshold} of {keys}: 1 to 16 keys, and at most all must sign",
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """What came of the ceremony."""

    anchor: Path
    instance: str
    operator_api_key: str
    root_keys: tuple[Path, ...] = ()
    targets_keys: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Drafted:
    """A registry before its first signatures: the online keys, and what the offline keys sign."""

    root: bytes
    targets: TargetsDraft
    online: Mapping[str, CryptoSigner]

    def protocol(self) -> list[str]:
        """What people read aloud and sign on paper."""
        root = read(Root, self.root, "root")
        return [*root_protocol(self.root, None), *targets_protocol(self.targets, root)]


def draft_registry(
    instance: InstanceRecord,
    at: datetime,
    root: KeySet,
    targets: KeySet,
    schemas: Mapping[str, bytes] | None = None,
) -> Drafted:
    """Online keys, and the first root and targets of a new registry, without signatures.

    Args:
        root: public keys of the root role, each made by its keeper.
        targets: those of the targets role.
        schemas: shared schemas to publish from the start, by target path.

    Raises:
        Problem: ``InvalidSettings`` for a threshold that cannot be met; ``InvalidDocument`` for an
            instance or schema that servers would refuse; ``DevelopmentOnly`` for development
            authorities of a production instance.
    """
    for keys in (root, targets):
        check_quorum(len({key.keyid for key in keys.keys}), keys.threshold)
    refuse_development(instance.authorities, instance.environment)
    online = {name: new_signer() for name in ("snapshot", "timestamp", "standing", "log")}
    log = verifiers(instance.instance, [log_key_of(online["log"])])
    files = {INSTANCE_TARGET: format_instance(replace(instance, log=log)), **(schemas or {})}
    parse_instance(files[INSTANCE_TARGET])
    for path, data in (schemas or {}).items():
        _check_shared(path, data)
    snapshot, timestamp = (key_set([online[name]], 1) for name in ("snapshot", "timestamp"))
    public = RootKeys(root, targets, snapshot, timestamp)
    expires = at + TARGETS_VALIDITY
    own = next_targets(
        new_targets(expires),
        instance.instance,
        expires=expires,
        files=files,
        standing=key_set([online["standing"]], 1),
    )
    own.version = 1
    return Drafted(
        sign(new_root(public, at + ROOT_VALIDITY), []),
        TargetsDraft(instance.instance, b"", sign(own, []), files),
        online,
    )


def write_drafted(directory: Path, drafted: Drafted, settings: RegistrySettings) -> None:
    """Make ``directory`` with the online keys, the settings, and the drafts that people sign.

    Raises:
        Problem: ``Conflict`` when the folder is not empty.
    """
    check_empty(directory)
    for name, signer in drafted.online.items():
        write_signer(directory / "online" / f"{name}.pem", signer)
    (directory / "online").chmod(0o700)
    (directory / f"{LOG_KEY}.pub").write_bytes(public_pem(drafted.online["log"]))
    (directory / SETTINGS_FILE).write_text(_settings_text(settings))
    (directory / DRAFT_ROOT).parent.mkdir()
    (directory / DRAFT_TARGETS).write_bytes(format_draft(drafted.targets))
    (directory / DRAFT_ROOT).write_bytes(drafted.root)


def open_drafted(directory: Path, at: datetime) -> Opened:
    """Make database and tree of the registry in ``directory`` whose drafts enough people signed.

    Raises:
        Problem: ``NotFound`` when nothing was drafted there, ``Conflict`` when it is open already;
            ``UntrustedMetadata`` or ``NotAuthorised`` when too few have signed root or targets;
            ``InvalidDocument`` when they are not of these online keys.
    """
    if (directory / ANCHOR).exists():
        raise Problem(Code.CONFLICT, where=str(directory), detail="this registry is open already")
    try:
        root_metadata = (directory / DRAFT_ROOT).read_bytes()
        draft = parse_draft((directory / DRAFT_TARGETS).read_bytes())
    except OSError as error:
        raise Problem(
            Code.NOT_FOUND,
            where=str(directory),
            detail="no registry was drafted here (saphan registry init with --root-key)",
        ) from error
    settings, keys = read_settings(directory), online_keys(directory)
    root = judge_root(root_metadata)
    draft.require_complete(root)
    _check_drafted(root, draft, keys)
    publication = _first_publication(draft, root, keys, settings, at)
    store = Store.create(settings.place(directory))
    try:
        with store.transaction():
            store.put_fact("instance", draft.instance)
            store.put_root(1, root_metadata)
            store.publish(publication, at)
            api_key = store.add_api_key(Right.OPERATOR, None, "first operator", at)
            detail = {"root_keys": len(root.roles["root"].keyids)}
            store.record(at, "ceremony", "open", draft.instance, detail)
        tree = Tree(directory / PUBLIC, open_log(store, directory, settings))
        Shown(store, tree, Directory()).follow(check=True)
    finally:
        store.close()
    (directory / OPERATOR_KEY).parent.mkdir(mode=0o700, exist_ok=True)
    _write_private(directory / OPERATOR_KEY, f"{api_key}\n".encode())
    # The anchor is written last: where it is, the registry is whole.
    (directory / ANCHOR).write_bytes(root_metadata)
    return Opened(directory / ANCHOR, draft.instance, api_key)


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
    """The whole ceremony on one machine, which then has had all keys: for demonstrations.

    Raises:
        Problem: as :func:`draft_registry`, and ``Conflict`` when the folder is not empty.
    """
    check_empty(directory)
    signers = {"root": root.new_keys(), "targets": targets.new_keys()}
    drafted = draft_registry(
        instance,
        at,
        key_set(signers["root"], root.threshold),
        key_set(signers["targets"], targets.threshold),
        schemas,
    )
    first = sign_root(drafted.root, None, signers["root"])
    signed = drafted.targets.signed(read(Root, first, "root"), signers["targets"])
    drafted = replace(drafted, root=first, targets=signed)
    write_drafted(directory, drafted, settings or RegistrySettings())
    paths: dict[str, tuple[Path, ...]] = {}
    for role, keys in signers.items():
        paths[role] = tuple(
            directory / "offline" / f"{role}-{number}.pem" for number in range(1, len(keys) + 1)
        )
        for path, key in zip(paths[role], keys, strict=True):
            write_signer(path, key)
    (directory / "offline").chmod(0o700)
    opened = open_drafted(directory, at)
    return replace(opened, root_keys=paths["root"], targets_keys=paths["targets"])


def check_empty(directory: Path) -> None:
    """Raises: Problem ``Conflict`` when the folder is there and not empty."""
    if directory.exists() and any(directory.iterdir()):
        raise Problem(Code.CONFLICT, where=str(directory), detail="the folder is not empty")


def _check_shared(path: str, data: bytes) -> None:
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


def _check_drafted(root: Root, draft: TargetsDraft, keys: OnlineKeys) -> None:
    """Root and targets must be first ones, and name the keys that lie here."""
    targets = read(Targets, draft.targets, "targets")
    if (root.version, targets.version) != (1, 1):
        raise Problem(Code.INVALID_DOCUMENT, where=DRAFT_ROOT, detail="not the first of a registry")
    for path in targets.targets.keys() - draft.files.keys():
        raise Problem(Code.INVALID_DOCUMENT, where=DRAFT_TARGETS, detail=f"lacks the file {path}")
    for role in ("snapshot", "timestamp"):
        keys.of(role, root)
    keys.of_standing(targets)


def _first_publication(
    draft: TargetsDraft, root: Root, keys: OnlineKeys, settings: RegistrySettings, at: datetime
) -> Publication:
    terms = settings.terms()
    away = {STANDING_TARGET: format_standing(())}
    standing = member_role(away, version=1, expires=at + terms.snapshot_validity)
    versions = {OWN_ROLE: 1, STANDING_ROLE: 1}
    first = next_snapshot(None, versions, expires=at + terms.snapshot_validity, own=draft.targets)
    snapshot = sign(living(first, at), [keys.of("snapshot", root)])
    timestamp = next_timestamp(None, 1, expires=at + terms.timestamp_validity, snapshot=snapshot)
    return Publication(
        {
            OWN_ROLE: (1, draft.targets),
            STANDING_ROLE: (1, sign(living(standing, at), [keys.standing])),
            "snapshot": (1, snapshot),
            "timestamp": (1, sign(living(timestamp, at), [keys.of("timestamp", root)])),
        },
        {OWN_ROLE: draft.files, STANDING_ROLE: away},
    )


def online_keys(directory: Path) -> OnlineKeys:
    """The online keys of the registry in ``directory``; ``online/snapshot-2.pem`` and the like
    are those of the next root or targets.

    Raises:
        Problem: ``NotFound`` or ``InvalidDocument``.
    """
    online = directory / "online"
    roles = ("snapshot", "timestamp", "standing")
    further = sorted(path for role in roles for path in online.glob(f"{role}-*.pem"))
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
        ca = str(directory / settings.witness_ca) if settings.witness_ca else None
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            detail = f"{ca}: {error}"
            raise Problem(Code.INVALID_SETTINGS, where="witness_ca", detail=detail) from error
        witnesses = Witnesses(policy, timeout_s=settings.witness_timeout_s, context=context)
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
