"""The difference between what a member describes and what is published of it.

What the registry shows is taken as it comes, for people to look at; servers verify it themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from tuf.api.metadata import Targets

from exchange.documents import invalid
from exchange.identifiers import MemberId
from exchange.registrations import MEMBER_FILE, member_target, parse_member
from registry.http.client import RegistryClient
from registry.offline.member import Described
from registry.publication.publish import read
from registry.requests.changes import Change, ChangeKind, Published, compare
from registry.requests.lifecycle import Kind, State
from registry.requests.submissions import parse_submission

RENEW_BEFORE = timedelta(days=120)


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do.

    ``changes`` is empty when everything is as described; ``waiting`` is the request that asks for
    it already, ``version`` the published version of the role, 0 without one.
    """

    described: Described
    version: int
    changes: tuple[Change, ...]
    waiting: int | None


def plan(client: RegistryClient, described: Described, at: datetime) -> Plan:
    """Compare a description with what the registry shows.

    Raises:
        Problem: what the client says; ``InvalidDocument`` when the registry shows nonsense.
    """
    member = described.member
    files = {member_target(member, name): data for name, data in described.files.items()}
    after = Published(parse_member(described.files[MEMBER_FILE], member), files)
    version = client.published_version(member)
    before, expires = (None, None) if version == 0 else _published(client, member, version)
    changes = compare(before, after)
    is_same = [change.kind for change in changes] == [ChangeKind.RENEW]
    if is_same and expires is not None and expires - at > RENEW_BEFORE:
        return Plan(described, version, (), None)
    return Plan(described, version, changes, _waiting(client, member, files, version))


def _published(
    client: RegistryClient, member: MemberId, version: int
) -> tuple[Published, datetime]:
    role = read(Targets, client.role(member, version), str(member))
    files = {}
    for path, file in role.targets.items():
        data = client.target(path, str(file.hashes.get("sha256", "")))
        if sha256(data).hexdigest() != file.hashes.get("sha256"):
            raise invalid(path, "", "the registry shows another file than its role names")
        files[path] = data
    return Published(parse_member(files[member_target(member)], member), files), role.expires


def _waiting(
    client: RegistryClient, member: MemberId, files: dict[str, bytes], version: int
) -> int | None:
    """The open request that brings just these files."""
    digests = {path: sha256(data).hexdigest() for path, data in files.items()}
    for row in client.pages("submissions", state=State.SUBMITTED.value, member=str(member)):
        if not Kind(row["kind"]).is_submission or row["version"] <= version:
            continue
        role = read(Targets, parse_submission(client.body(row["id"])).role, "request")
        if {path: file.hashes.get("sha256") for path, file in role.targets.items()} == digests:
            return int(row["id"])
    return None
