"""What an operator signs with offline keys, on a machine of the operator's choice.

Everything here takes published bytes and keys and gives bytes to hand to the registry; the
registry and every server check them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Targets

from exchange.continuity import (
    Pin,
    Statement,
    check_continuity,
    continuity_target,
    format_statements,
    parse_statements,
    read_delegations,
    root_keys,
)
from exchange.problems import Code, Problem
from exchange.registrations import MERGERS_TARGET
from registry.ceremony import TARGETS_VALIDITY
from registry.effects import mergers_after
from registry.lifecycle import Kind
from registry.orders import parse_order, parse_proposal
from registry.publish import judge_root, next_targets, read, sign
from registry.submissions import Submission, parse_submission


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


def sign_files(
    own: OwnRole, files: Mapping[str, bytes], signers: Sequence[Signer], at: datetime
) -> SignedOwn:
    """Put files into the registry's own role.

    Raises:
        Problem: ``NotAuthorised`` when the keys are not enough of the targets keys.
    """
    current = read(Targets, own.targets, "targets")
    new = next_targets(current, own.instance, expires=at + TARGETS_VALIDITY, files=files)
    return SignedOwn(_sign(own, new, signers), dict(files))


def sign_delegation(
    own: OwnRole,
    submission: Submission,
    signers: Sequence[Signer],
    root_signers: Sequence[Signer],
    at: datetime,
) -> SignedOwn:
    """Delegate a member's role to the keys of its submission.

    A change of keys takes the member's own statement, signed by its old keys; if those are lost,
    the root keys may vouch instead.

    Raises:
        Problem: ``NotAuthorised`` when the keys are not enough of the targets keys;
            ``ContinuityBroken`` when a change of keys has no statement that servers would believe.
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
    return SignedOwn(_sign(own, new, signers), files)


def sign_request(
    own: OwnRole,
    kind: Kind,
    body: bytes,
    submitted_at: datetime,
    signers: Sequence[Signer],
    root_signers: Sequence[Signer],
    at: datetime,
) -> SignedOwn:
    """Sign what approving a request changes in the registry's own role.

    Args:
        body: what was handed in.
        submitted_at: when; a merger bears this time.

    Raises:
        Problem: as :func:`sign_delegation`.
    """
    if kind.is_submission:
        return sign_delegation(own, parse_submission(body), signers, root_signers, at)
    if kind is Kind.OWN:
        proposal = parse_proposal(body)
        return sign_files(own, {proposal.path: proposal.data}, signers, at)
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
    return SignedOwn(_sign(own, new, signers), files)


def _sign(own: OwnRole, targets: Targets, signers: Sequence[Signer]) -> bytes:
    role = read(Root, own.root, "root").roles["targets"]
    fitting = [signer for signer in signers if signer.public_key.keyid in role.keyids]
    if len({signer.public_key.keyid for signer in fitting}) < role.threshold:
        raise Problem(
            Code.NOT_AUTHORISED,
            where="keys",
            detail=f"{len(fitting)} of the targets keys are here, {role.threshold} must sign; "
            "name them with --keys",
            facts={"here": len(fitting), "threshold": role.threshold},
        )
    return sign(targets, fitting)
