"""What an operator signs with offline keys, on a machine of the operator's choice.

Everything here takes published bytes and keys and gives bytes to hand to the registry; the
registry and every server check them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Targets

from exchange.registrations import MERGERS_TARGET
from exchange.registry.continuity import (
    Pin,
    Statement,
    check_continuity,
    format_statements,
    parse_statements,
)
from exchange.registry.delegations import continuity_target, read_delegations
from exchange.registry.key_sets import KeySet, root_keys
from registry.publication.drafts import TargetsDraft
from registry.publication.publish import TARGETS_VALIDITY, judge_root, next_targets, read, sign
from registry.requests.effects import mergers_after
from registry.requests.lifecycle import Kind
from registry.requests.orders import parse_order, parse_proposal
from registry.requests.submissions import Submission, parse_submission


@dataclass(frozen=True, slots=True)
class OwnRole:
    """The registry's own role as it is published now."""

    instance: str
    root: bytes
    targets: bytes
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class SignedOwn:
    """Next top-level targets metadata with the files that it names anew."""

    targets: bytes
    files: Mapping[str, bytes]


def draft_files(
    own: OwnRole,
    files: Mapping[str, bytes],
    at: datetime,
    *,
    gone: Iterable[str] = (),
    standing: KeySet | None = None,
) -> TargetsDraft:
    """Files put into the registry's own role; without any it says the same for longer.

    Args:
        gone: files that are taken out.
        standing: other online keys that may disable.
    """
    current = read(Targets, own.targets, "targets")
    expires = at + TARGETS_VALIDITY
    new = next_targets(current, own.instance, expires=expires, files=files, standing=standing)
    for path in gone:
        new.targets.pop(path, None)
    return _drafted(own, new, files)


def draft_delegation(
    own: OwnRole, submission: Submission, root_signers: Sequence[Signer], at: datetime
) -> TargetsDraft:
    """A member's role delegated to the keys of its submission.

    A change of keys takes the member's own statement, signed by its old keys; if those are lost,
    the root keys may vouch instead.

    Raises:
        Problem: ``ContinuityBroken`` when a change of keys has no statement that servers would
            believe.
    """
    current = read(Targets, own.targets, "targets")
    member = submission.member
    known = read_delegations(current, own.instance).get(member)
    files: dict[str, bytes] = {}
    if known is not None and known.identity != submission.keys.identity:
        path = continuity_target(member)
        published = own.files.get(path)
        earlier = () if published is None else parse_statements(published, member)
        number = earlier[-1].number if earlier else 0
        statement = submission.statement or Statement(
            member, number + 1, known, submission.keys, ()
        )
        statements = (*earlier, statement.sign(root_signers))
        root = root_keys(judge_root(own.root))
        check_continuity(member, Pin(known, number), submission.keys, statements, root)
        files[path] = format_statements(statements)
    new = next_targets(
        current,
        own.instance,
        expires=at + TARGETS_VALIDITY,
        files=files,
        members={member: submission.keys},
    )
    return _drafted(own, new, files)


def draft_request(
    own: OwnRole,
    kind: Kind,
    body: bytes,
    submitted_at: datetime,
    root_signers: Sequence[Signer],
    at: datetime,
) -> TargetsDraft:
    """What approving a request changes in the registry's own role.

    Args:
        body: what was handed in.
        submitted_at: when; a merger bears this time.

    Raises:
        Problem: as :func:`draft_delegation`.
    """
    if kind.is_submission:
        return draft_delegation(own, parse_submission(body), root_signers, at)
    if kind is Kind.OWN:
        proposal = parse_proposal(body)
        if proposal.data is None:
            return draft_files(own, {}, at, gone=[proposal.path])
        return draft_files(own, {proposal.path: proposal.data}, at)
    order = parse_order(body)
    moment = submitted_at.replace(microsecond=0)
    files = {}
    if kind is Kind.MERGE:
        files[MERGERS_TARGET] = mergers_after(order, own.files, moment)
    new = next_targets(
        read(Targets, own.targets, "targets"),
        own.instance,
        expires=at + TARGETS_VALIDITY,
        files=files,
        gone=[order.member],
    )
    return _drafted(own, new, files)


def signed(own: OwnRole, draft: TargetsDraft, signers: Sequence[Signer]) -> SignedOwn:
    """A draft signed by enough keys that are all here.

    Raises:
        Problem: ``NotAuthorised`` when they are not enough of the targets keys.
    """
    root = read(Root, own.root, "root")
    keyids = root.roles["targets"].keyids
    if any(signer.public_key.keyid in keyids for signer in signers):
        draft = draft.signed(root, signers)
    draft.require_complete(root)
    return SignedOwn(draft.targets, draft.files)


def sign_files(
    own: OwnRole, files: Mapping[str, bytes], signers: Sequence[Signer], at: datetime
) -> SignedOwn:
    """:func:`draft_files` and :func:`signed` in one."""
    return signed(own, draft_files(own, files, at), signers)


def sign_delegation(
    own: OwnRole,
    submission: Submission,
    signers: Sequence[Signer],
    root_signers: Sequence[Signer],
    at: datetime,
) -> SignedOwn:
    """:func:`draft_delegation` and :func:`signed` in one."""
    return signed(own, draft_delegation(own, submission, root_signers, at), signers)


def _drafted(own: OwnRole, new: Targets, files: Mapping[str, bytes]) -> TargetsDraft:
    return TargetsDraft(own.instance, own.targets, sign(new, []), dict(files))
