"""The registrar: the acts of the registry, each judged, recorded and published as one.

It joins the rules (:mod:`registry.lifecycle`, :mod:`registry.submissions`,
:mod:`registry.publish`), the database, the published tree and the two online keys. It blocks;
:mod:`registry.service` calls it from a thread, one act at a time. Every method is handed the time.

Invariants:
- an act, what it is judged by and its record in ``acts`` are one transaction, one at a time over
  all processes on the database; what it published is shown after it (:mod:`registry.following`);
- what is judged at submission is judged again at approval, against what is published then;
- the online keys alone can only say *again* what others signed: they hold no say over content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from tuf.api.metadata import Targets

from exchange.continuity import (
    STANDING_ROLE,
    role_name,
)
from exchange.problems import Code, Problem
from registry.changes import digest_of
from registry.directory import Directory
from registry.effects import Effect
from registry.evolution import (
    judge_schemas,
    judge_withdrawals,
)
from registry.following import Shown
from registry.judging import Judging, changed_files, delegated, gone_targets, may_go
from registry.lifecycle import Act, Kind, Needed, State, next_state
from registry.notices import notice_text
from registry.once_only import (
    Meter,
    lost_sources,
    services_of,
    told,
)
from registry.orders import parse_order, parse_proposal
from registry.publish import (
    OWN_ROLE,
    is_due,
    is_signed,
    judge_next_root,
    judge_targets,
    read,
)
from registry.publishing import OnlineKeys, Publishing, Terms
from registry.roles import Caller, Operation, Right
from registry.store import NewRequest, RequestRow, Store
from registry.submissions import (
    parse_submission,
)
from registry.tree import Tree

Roles = dict[str, tuple[int, bytes]]
P = ParamSpec("P")
T = TypeVar("T")


def _act(method: Callable[Concatenate[Registrar, P], T]) -> Callable[Concatenate[Registrar, P], T]:
    """A method that is one act: see :meth:`Registrar.acting`."""

    @wraps(method)
    def run(registrar: Registrar, /, *args: P.args, **named: P.kwargs) -> T:
        with registrar.acting():
            return method(registrar, *args, **named)

    return run


class Registrar(Judging, Publishing):
    """The acts of one registry."""

    def __init__(self, store: Store, tree: Tree, keys: OnlineKeys, terms: Terms) -> None:
        self._store = store
        self._tree = tree
        self._keys = keys
        self._terms = terms
        self.directory = Directory()
        self._shown = Shown(store, tree, self.directory)
        self._meter = Meter()
        self._decoded = None

    def start(self, at: datetime) -> None:
        """Show what is published, and renew what is due."""
        self._shown.follow(check=True)
        self.renew(at)

    def follow(self) -> bool:
        """Show what other processes published; tells whether there was anything."""
        return self._shown.follow()

    @contextmanager
    def acting(self) -> Iterator[None]:
        """An act: judged and written in one transaction, against what is published then by
        whichever process; what it publishes is shown after it. One within another is part of it."""
        if self._store.is_in_transaction:
            yield
            return
        try:
            with self._store.transaction():
                self.follow()
                yield
        except BaseException:
            self._decoded = None  # it may be of a version that was never published
            raise
        self.follow()

    # ------------------------------------------------------------------------------- members

    @_act
    def submit(
        self, body: bytes, caller: Caller, at: datetime, replaces: int | None = None
    ) -> RequestRow:
        """Take in a submission; publishes it at once when nobody needs to approve.

        Args:
            replaces: the member's open submission by somebody else that this one replaces.

        Raises:
            Problem: ``NotAuthorised``; ``Conflict`` when a submission of somebody else waits; or
                as :func:`registry.submissions.judge_submission`.
        """
        submission = parse_submission(body)
        caller.require(Operation.SUBMIT)
        caller.check_member(submission.member, "submission#/member")
        judged = self._judge(submission, at)
        caller.check_changes(judged.changes)
        member = submission.member
        request = NewRequest(
            judged.kind,
            member,
            str(member),
            body,
            judged.changes,
            submission.note,
            judged.role.version,
        )
        for row in self._open_of(request):
            if row.submitted_by != caller.id and row.id != replaces:
                raise Problem(
                    Code.CONFLICT,
                    where="query.replaces",
                    detail=f"request {row.id} of {row.submitted_by} waits; look at it, and name it "
                    f"to replace it (saphan registry submit --replace {row.id})",
                    facts={"open": row.id, "submitted_by": row.submitted_by},
                )
        return self._take_in(request, self._effect_of(judged), caller, at)

    @_act
    def order(self, body: bytes, caller: Caller, at: datetime) -> RequestRow:
        """Take in an order to disable, enable, delete or merge.

        Raises:
            Problem: ``NotAuthorised``; ``InvalidDocument``; ``Conflict`` when it does not fit what
                is published.
        """
        order = parse_order(body)
        caller.require(Operation.ORDER)
        effect = self._effect_of_order(order, at)
        request = NewRequest(
            order.kind, order.member, str(order.thing), body, effect.changes, order.reason.en
        )
        return self._take_in(request, effect, caller, at)

    @_act
    def propose(self, body: bytes, caller: Caller, at: datetime) -> RequestRow:
        """Take in a proposal for the registry's own role.

        Raises:
            Problem: ``NotAuthorised``; ``InvalidDocument``; ``Conflict`` when it is published
                already.
        """
        proposal = parse_proposal(body)
        caller.require(Operation.PROPOSE)
        effect = self._effect_of_proposal(proposal, at)
        request = NewRequest(
            Kind.OWN, caller.member, proposal.path, body, effect.changes, proposal.note
        )
        return self._take_in(request, effect, caller, at)

    @_act
    def approve(
        self,
        number: int,
        targets: bytes | None,
        files: Mapping[str, bytes],
        caller: Caller,
        at: datetime,
        expected: str | None = None,
    ) -> RequestRow:
        """Approve a request; publishes it when enough people have.

        Args:
            targets: with the last approval of what the offline keys must sign: the next top-level
                targets metadata, signed by enough targets keys.
            files: what that metadata names anew, by target path.
            expected: the digest of the changes that the approver has seen, when told.

        Raises:
            Problem: ``NotAuthorised``; ``NotFound``; ``Conflict`` when the request is not open,
                changes something else by now, or ``targets`` is missing, not due, stale, or says
                more than this approval; and as :func:`registry.submissions.judge_submission`.
        """
        caller.require(Operation.APPROVE)
        row = self._store.request(number)
        next_state(row.state, Act.APPROVE)
        effect = self._effect(row, at)
        if expected is not None and expected != effect.seen:
            raise Problem(
                Code.CONFLICT,
                where="If-Match",
                detail="what it changes is another thing by now: something else was published "
                "meanwhile; look at it again",
                facts={"seen": expected, "now": effect.seen},
                status=412,
            )
        needed = self._terms.approval.needed(effect.changes)
        agreed = row.deliberation.after(Act.APPROVE, by=caller.id, needed=needed, seen=effect.seen)
        if agreed.lacks(needed, effect.seen):
            with self._store.transaction():
                self._move(row, Act.APPROVE, caller, at, needed=needed, seen=effect.seen)
            return self._store.request(number)
        own = self._judge_own_change(row, effect, targets, files, at)
        return self._carry_out(row, effect, own, caller, at, needed)

    @_act
    def decline(self, number: int, reason: str, caller: Caller, at: datetime) -> RequestRow:
        """Decline a request.

        Raises:
            Problem: ``NotAuthorised``, ``NotFound``, or ``Conflict`` when it is not open.
        """
        caller.require(Operation.APPROVE)
        with self._store.transaction():
            self._move(self._store.request(number), Act.DECLINE, caller, at, reason)
        return self._store.request(number)

    @_act
    def withdraw(self, number: int, reason: str, caller: Caller, at: datetime) -> RequestRow:
        """Take a request back: its member's administrator may, and who handed it in.

        Raises:
            Problem: ``NotAuthorised``, ``NotFound``, or ``Conflict`` when it is not open.
        """
        row = self._store.request(number)
        if row.submitted_by != caller.id:
            caller.require(Operation.WITHDRAW)
            if caller.right is not Right.ADMINISTRATOR or not caller.concerns(row.member):
                raise Problem(
                    Code.NOT_AUTHORISED,
                    where="Authorization",
                    detail="who handed it in withdraws it, or the member's administrator; "
                    "the registry declines",
                    status=403,
                )
        with self._store.transaction():
            self._move(self._store.request(number), Act.WITHDRAW, caller, at, reason)
        return self._store.request(number)

    def look(self, number: int, at: datetime) -> dict[str, Any]:
        """A request as things are now: what it changes, the digest of that (``seen``), how many
        must still approve it (``lacking``), what stands in its way, and warnings."""
        row = self._store.request(number)
        found: dict[str, Any] = {
            "seen": digest_of(row.changes), "lacking": 0, "obstacle": None, "warnings": []
        }  # fmt: skip
        if row.kind.is_submission:
            found["warnings"] = self.advice(number, at)
        if row.state is not State.SUBMITTED:
            return found
        try:
            effect = self._effect(row, at)
        except Problem as problem:
            return found | {"obstacle": str(problem), "lacking": 1}
        needed = self._terms.approval.needed(effect.changes)
        return found | {
            "seen": effect.seen,
            "lacking": row.deliberation.lacks(needed, effect.seen),
            "changes": [change.describe() for change in effect.changes],
        }

    def advice(self, number: int, at: datetime) -> list[dict[str, Any]]:
        """What a submission's services ask people for although another organisation gives it, and
        the elements that they gave and could not give any more.

        Raises:
            Problem: ``NotFound``.
        """
        submission, directory = self._submission(number), self.directory
        services = services_of(submission, self._store.files(role_name(submission.member)))
        asked = [told(one) for one in self._questions(services, at) if one.problem is not None]
        lost = lost_sources(submission.member, services, directory.elements, directory.schemas)
        return [*asked, *lost]

    def still_asked(self, at: datetime) -> list[dict[str, Any]]:
        """What published services ask people for that is registered: whether they may or not."""
        directory = self.directory
        found = self._meter.questions(
            directory.documents(), directory.elements, directory.schemas, at
        )
        return [told(one) for one in found]

    # ------------------------------------------------------------------------ the registry's own

    @_act
    def publish_own(
        self, targets: bytes, files: Mapping[str, bytes], caller: Caller, at: datetime
    ) -> int:
        """Publish files of the registry itself (instance, schemas); returns the new version.

        Raises:
            Problem: ``NotAuthorised``; ``UntrustedMetadata``; ``Conflict`` when it does not follow
                the published version or changes a delegation; ``InvalidDocument``.
        """
        caller.require(Operation.PUBLISH)
        current = self._targets()
        new = judge_targets(targets, self._root(), current, self._instance().instance, at)
        if delegated(new, self._instance()) != delegated(current, self._instance()):
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed/delegations",
                detail="a delegation changes only by approving a submission",
            )
        if lost := {path for path in gone_targets(current, new) if not may_go(path)}:
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed/targets",
                detail=f"this file may not be withdrawn: {min(lost)}",
            )
        changed = changed_files(current, new, files)
        for path, data in changed.items():
            self._judge_own_file(path, data, at)
        published = self._store.files(OWN_ROLE)
        own = {path: data for path, data in (published | changed).items() if path in new.targets}
        judge_withdrawals(published.keys() - own.keys(), published, self.directory.records())
        judge_schemas(changed, published, self.directory.records(), self._instance(), at)
        with self._store.transaction():
            self._store.record(
                at, caller.id, "publish", OWN_ROLE, {"version": new.version, "files": [*changed]}
            )
            self._publish({OWN_ROLE: (new.version, targets)}, {OWN_ROLE: own}, at)
        return int(new.version)

    @_act
    def publish_root(self, root: bytes, targets: bytes | None, caller: Caller, at: datetime) -> int:
        """Publish the next root; returns its version.

        Args:
            targets: the next top-level targets, which say the same, signed by the targets keys that
                the new root names; when those that are published do not carry enough of them.

        Raises:
            Problem: ``NotAuthorised``; ``UntrustedMetadata``; ``InvalidDocument``; ``Conflict``
                when it does not follow the published root, or ``targets`` are missing or say
                anything new; ``NotFound`` when an online key that it names does not lie here.
        """
        caller.require(Operation.PUBLISH)
        new, current = judge_next_root(root, self._store.root(), at), self._targets()
        for role in ("snapshot", "timestamp"):
            self._keys.of(role, new)
        roles: Roles = {}
        if targets is not None:
            judged = judge_targets(targets, new, current, self._instance().instance, at)
            if (judged.targets, judged.delegations) != (current.targets, current.delegations):
                raise Problem(
                    Code.CONFLICT,
                    where="targets#/signed",
                    detail="must say what is published, under the new keys, and nothing else",
                )
            roles[OWN_ROLE] = (judged.version, targets)
        elif not is_signed(self.targets_bytes(), new, OWN_ROLE):
            raise Problem(
                Code.CONFLICT,
                where="targets",
                detail="the root names other targets keys: sign the targets with them, too "
                "(saphan registry ceremony targets)",
            )
        self._store.record(at, caller.id, "publish root", "root", {"version": new.version})
        self._store.put_root(new.version, root)
        self._publish(roles, {}, at)
        return int(new.version)

    def put_out_log(self) -> bool:
        """Put out the acts since the last state, and ask witnesses again that did not answer.

        Returns whether enough of them cosigned.
        """
        return self._tree.write_log(self._snapshot().version)

    @_act
    def renew(self, at: datetime) -> bool:
        """Sign snapshot and timestamp again if less than half of their validity is left."""
        timestamp, snapshot = self._timestamp(), self._snapshot()
        terms = self._terms
        is_snapshot_due = is_due(snapshot, at, terms.snapshot_validity)
        if not is_snapshot_due and not is_due(timestamp, at, terms.timestamp_validity):
            return False
        if is_snapshot_due:
            self._renew_all(at)
        else:
            self._stamp({}, {}, snapshot.version, at)
        return True

    def publish_roles(
        self, roles: Roles, files: Mapping[str, Mapping[str, bytes]], at: datetime
    ) -> None:
        """Publish roles that were judged elsewhere; within :meth:`acting`."""
        self._publish(roles, files, at)

    def prune(self) -> int:
        """Remove files that nobody can be asking for any more."""
        return self._tree.prune(self._store)

    def expiries(self) -> dict[str, datetime]:
        """When each top-level role ends."""
        signed = (self._root(), self._targets(), self._snapshot(), self._timestamp())
        return {part.type: part.expires for part in signed}

    def root_bytes(self) -> bytes:
        """The newest root metadata."""
        return self._store.root()

    def targets_bytes(self) -> bytes:
        """The present top-level targets metadata."""
        return self._role(OWN_ROLE)[1]

    # ------------------------------------------------------------------------------- in detail

    def _take_in(
        self, request: NewRequest, effect: Effect, caller: Caller, at: datetime
    ) -> RequestRow:
        needed = self._terms.approval.needed(effect.changes)
        with self._store.transaction():
            replaced = self._open_of(request)
            number = self._store.add_request(request, at, caller.id)
            for row in replaced:
                self._notify(row, Act.REPLACE, "", at)
            self._store.record(
                at, caller.id, "submit", request.subject, _told(number, request.kind, effect)
            )
        row = self._store.request(number)
        if needed is Needed.NONE:
            return self._carry_out(row, effect, {}, caller, at, needed)
        return row

    def _open_of(self, request: NewRequest) -> list[RequestRow]:
        if not request.kind.is_submission:
            return []
        return self._store.requests(
            state=State.SUBMITTED,
            member=request.member,
            kinds=[kind for kind in Kind if kind.is_submission],
        )

    def _carry_out(
        self,
        row: RequestRow,
        effect: Effect,
        own: Mapping[str, bytes],
        caller: Caller,
        at: datetime,
        needed: Needed,
    ) -> RequestRow:
        """Publish what a request brings; ``own`` is signed targets metadata and its files."""
        roles, files = dict(effect.roles), dict(effect.files)
        if own:
            new = read(Targets, own[OWN_ROLE], OWN_ROLE)
            known = self._store.files(OWN_ROLE)
            roles[OWN_ROLE] = (new.version, own[OWN_ROLE])
            files[OWN_ROLE] = known | {k: v for k, v in own.items() if k != OWN_ROLE}
        if effect.away is not None:
            roles[STANDING_ROLE], files[STANDING_ROLE] = self._sign_away(effect.away, at)
        with self._store.transaction():
            if needed is not Needed.NONE:
                self._store.decide(
                    row.id, Act.APPROVE, at, caller.id, needed=needed, seen=effect.seen
                )
            self._move(row, Act.PUBLISH, caller, at, needed=needed, seen=effect.seen, effect=effect)
            self._revoke_undone(row, caller, at)
            self._publish(roles, files, at)
        return self._store.request(row.id)

    def _move(
        self,
        row: RequestRow,
        act: Act,
        caller: Caller,
        at: datetime,
        reason: str = "",
        *,
        needed: Needed = Needed.ONE,
        seen: str = "",
        effect: Effect | None = None,
    ) -> None:
        """One act on a request, recorded and told; within a transaction."""
        self._store.decide(row.id, act, at, caller.id, reason, needed=needed, seen=seen)
        detail: dict[str, Any] = {"submission": row.id, "kind": row.kind.value}
        if effect is not None:
            detail = _told(row.id, row.kind, effect)
        if reason:
            detail["reason"] = reason
        word = "approve" if act is Act.PUBLISH else act.value
        self._store.record(at, caller.id, word, row.subject, detail)
        self._notify(row, act, reason, at)

    def _notify(self, row: RequestRow, act: Act, reason: str, at: datetime) -> None:
        if row.member is not None:
            text = notice_text(row.id, row.kind, row.subject, act, reason)
            self._store.notify(row.member, row.id, act.value, text.en, text.lo, at)

    def _revoke_undone(self, row: RequestRow, caller: Caller, at: datetime) -> None:
        """An approved request whose effect is taken back is revoked: a disabling by an enabling,
        a registration by a deletion or a merger."""
        undone = {
            Kind.ENABLE: {Kind.DISABLE},
            Kind.DELETE: {Kind.FIRST},
            Kind.MERGE: {Kind.FIRST},
        }.get(row.kind)
        if undone is None:
            return
        for other in self._store.requests(
            state=State.APPROVED, member=row.member, kinds=undone, limit=10_000
        ):
            if other.subject == row.subject:
                self._move(other, Act.REVOKE, caller, at, f"by request {row.id}")


def _told(number: int, kind: Kind, effect: Effect) -> dict[str, Any]:
    """What the record of an act says of a request."""
    changes = [str(change) for change in effect.changes]
    return {"submission": number, "kind": kind.value, "changes": changes, **effect.record}
