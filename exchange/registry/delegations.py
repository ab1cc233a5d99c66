"""The one form in which the registry delegates to members, and to the role that takes away.

Anything else in the top-level targets metadata would be a second way to speak for a member, so it
spoils the whole metadata. Who may change a member's keys is the matter of
:mod:`exchange.registry.continuity`.
"""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import quote

from tuf.api.metadata import DelegatedRole, Targets

from exchange.identifiers import MemberId
from exchange.problems import Problem
from exchange.registrations import STANDING_TARGET, is_own_target
from exchange.registry.key_sets import KeySet, role_keys, untrusted

MAX_ROLE_NAME = 150
STANDING_ROLE = "standing"
_CONTINUITY = re.compile(r"continuity/[A-Za-z0-9'()+,\-.=%~]{1,200}\.json", re.ASCII)


def role_name(member: MemberId) -> str:
    """The TUF role of a member, such as ``LA~GOV~MPI``; ``~`` is in no identifier.

    Roles become file names at clients, so a long identifier is named by its digest instead.
    """
    name = str(member).replace("/", "~")
    if len(quote(name, "")) <= MAX_ROLE_NAME:
        return name
    return f"~{sha256(str(member).encode()).hexdigest()}"


def continuity_target(member: MemberId) -> str:
    """The target path of a member's statements."""
    return f"continuity/{role_name(member)}.json"


def delegated_role(member: MemberId, keys: KeySet) -> DelegatedRole:
    """The one form in which a member's role may be delegated."""
    return DelegatedRole(
        name=role_name(member),
        keyids=sorted(key.keyid for key in keys.keys),
        threshold=keys.threshold,
        terminating=True,
        paths=[f"{member}/*"],
    )


def read_delegations(targets: Targets, instance: str) -> dict[MemberId, KeySet]:
    """The members' keys in the registry's top-level targets metadata.

    Anything but the one form of a member's delegation, or a member's file among the registry's
    own targets, would be a second way to speak for a member, so it spoils the whole metadata.

    Raises:
        Problem: ``UntrustedMetadata`` for such metadata.
    """
    for path in targets.targets:
        own = is_own_target(path)
        if not (own or _CONTINUITY.fullmatch(path)):
            raise untrusted(path, "the registry's own role may not hold this target")
    read_standing_keys(targets)
    delegations = targets.delegations
    if delegations is None:
        return {}
    if delegations.succinct_roles is not None or delegations.roles is None:
        raise untrusted("delegations", "succinct roles are not used by this registry")
    found: dict[MemberId, KeySet] = {}
    for name, role in delegations.roles.items():
        if name == STANDING_ROLE:
            continue
        try:
            member = _delegated_member(role)
            keys = role_keys(role, delegations.keys)
        except Problem as problem:
            raise untrusted(f"delegations/{name}", problem.detail) from problem
        wanted = delegated_role(member, keys)
        same = (role.terminating, role.paths) == (True, wanted.paths)
        if not same or not name == role.name == wanted.name or member.instance != instance:
            raise untrusted(f"delegations/{name}", "not the one form of a member's delegation")
        found[member] = keys
    return found


def read_standing_keys(targets: Targets) -> KeySet | None:
    """The online keys that may take things away (:mod:`exchange.registry.standing`); nothing if
    none may.

    Raises:
        Problem: ``UntrustedMetadata`` when the delegation is in another form than that of
            :func:`standing_role`.
    """
    delegations = targets.delegations
    if delegations is None or not delegations.roles or STANDING_ROLE not in delegations.roles:
        return None
    role = delegations.roles[STANDING_ROLE]
    keys = role_keys(role, delegations.keys)
    if (role.name, role.terminating, role.paths) != (STANDING_ROLE, True, [STANDING_TARGET]):
        raise untrusted(f"delegations/{STANDING_ROLE}", "not the one form of this delegation")
    return keys


def standing_role(keys: KeySet) -> DelegatedRole:
    """The one form in which the online role that takes away is delegated."""
    return DelegatedRole(
        name=STANDING_ROLE,
        keyids=sorted(key.keyid for key in keys.keys),
        threshold=keys.threshold,
        terminating=True,
        paths=[STANDING_TARGET],
    )


def _delegated_member(role: DelegatedRole) -> MemberId:
    if not role.paths or len(role.paths) != 1 or not role.paths[0].endswith("/*"):
        raise untrusted("paths", "must be {member}/*")
    return MemberId.parse(role.paths[0].removesuffix("/*"), "paths")
