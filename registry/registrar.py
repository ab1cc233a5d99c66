"""The registrar: the acts of the registry, each judged, recorded and published as one.

It joins the rules (:mod:`registry.requests.lifecycle`, :mod:`registry.requests.submissions`,
:mod:`registry.publication.publish`), the database, the published tree and the two online keys. It
blocks; :mod:`registry.service` calls it from a thread, one act at a time. Every method is handed
the time.

Invariants:
- an act, what it is judged by and its record in ``acts`` are one transaction, one at a time over
  all processes on the database; what it published is shown after it
  (:mod:`registry.publication.following`);
- what is judged at submission is judged again at approval, against what is published then;
- the online keys alone can only say *again* what others signed: they hold no say over content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tuf.api.metadata import Targets

from exchange.problems import Code, Problem
from exchange.registry.consents import open_consent
from exchange.registry.delegations import STANDING_ROLE
from exchange.trust.admission import trusted_authorities
from registry.acting import act
from registry.actors import notices
from registry.actors.people import People
from registry.actors.roles import Caller, Operation, Right
from registry.directory.contents import Directory
from registry.publication.following import Shown
from registry.publication.own_role import OwnActs
from registry.publication.publish import OWN_ROLE, is_due, read
from registry.publication.publishing import OnlineKeys, Roles, Terms
from registry.publication.tree import Tree
from registry.requests.effects import Effect
from registry.requests.lifecycle import Act, Kind, Needed, State, next_state
from registry.requests.looking import Looking
from registry.requests.once_only import Meter
from registry.requests.orders import parse_order, parse_proposal
from registry.requests.submissions import parse_submission
from registry.store import CONSENT, NewRequest, RequestRow, Store


class Registrar(Looking, OwnActs, People):
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

    # ------------------------------------------------------------------------------- members

    @act
    def submit(
        self,
        body: bytes,
        caller: Caller,
        at: datetime,
        replaces: int | None = None,
        *,
        asks: bool = False,
    ) -> RequestRow:
        """Take in a submission; publishes it at once when nobody needs to approve.

        Args:
            replaces: the member's open submission by somebody else that this one replaces.
            asks: whether a breaking change is taken in to wait for the consents of its users, who
                are told; else it is refused.

        Raises:
            Problem: ``NotAuthorised``; ``Conflict`` when a submission of somebody else waits; or
                as :func:`registry.requests.submissions.judge_submission`.
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
            if row.submitted_by != caller.who and row.id != replaces:
                raise Problem(
                    Code.CONFLICT,
                    where="query.replaces",
                    detail=f"request {row.id} of {row.submitted_by} waits; look at it, and name it "
                    f"to replace it (saphan registry submit --replace {row.id})",
                    facts={"open": row.id, "submitted_by": row.submitted_by},
                )
        return self._take_in(request, self._effect_of(judged, at), caller, at, asks=asks)

    @act
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

    @act
    def propose(
        self, body: bytes, caller: Caller, at: datetime, *, asks: bool = False
    ) -> RequestRow:
        """Take in a proposal for the registry's own role; ``asks`` as in :meth:`submit`.

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
        return self._take_in(request, effect, caller, at, asks=asks)

    @act
    def consent(
        self, number: int, consents: Iterable[bytes], caller: Caller, at: datetime
    ) -> RequestRow:
        """Take in a consumer's consents to what an open request breaks.

        Raises:
            Problem: ``NotAuthorised``; ``NotFound``; ``InvalidDocument`` when one cannot be opened;
                ``Conflict`` when it is not one of those that the request lacks.
        """
        caller.require(Operation.CONSENT)
        row = self._store.request(number)
        next_state(row.state, Act.APPROVE)
        for data in consents:
            given = open_consent(data, trusted_authorities(self._instance()), at)
            caller.check_member(given.consumer, "consent#/consumer")
            breaking = self._effect(row, at).breaking
            if not any(one.is_asked(given) for one in breaking):
                raise Problem(
                    Code.CONFLICT,
                    where="consent",
                    detail=f"request {number} does not lack this consent of {given.consumer} to a "
                    f"change of {given.of}",
                )
            detail = {"submission": number, "of": given.of, "consent": data.decode()}
            self._store.record(at, caller.id, CONSENT, row.subject, detail)
            lacking = sum(len(one.missing) for one in self._effect(row, at).breaking)
            if row.member is not None:
                text = notices.consented(number, given.consumer, given.of, lacking)
                self._store.notify(row.member, number, CONSENT, text.en, text.lo, at)
        return row

    @act
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
                more than this approval; and as
                :func:`registry.requests.submissions.judge_submission`.
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
        if lacking := effect.lacks_consents:
            raise lacking
        needed = self._terms.approval.needed(effect.changes)
        agreed = row.deliberation.after(Act.APPROVE, by=caller.who, needed=needed, seen=effect.seen)
        if agreed.lacks(needed, effect.seen):
            with self._store.transaction():
                self._move(row, Act.APPROVE, caller, at, needed=needed, seen=effect.seen)
            return self._store.request(number)
        own = self._judge_own_change(row, effect, targets, files, at)
        return self._carry_out(row, effect, own, caller, at, needed)

    @act
    def decline(self, number: int, reason: str, caller: Caller, at: datetime) -> RequestRow:
        """Decline a request.

        Raises:
            Problem: ``NotAuthorised``, ``NotFound``, or ``Conflict`` when it is not open.
        """
        caller.require(Operation.APPROVE)
        with self._store.transaction():
            self._move(self._store.request(number), Act.DECLINE, caller, at, reason)
        return self._store.request(number)

    @act
    def withdraw(self, number: int, reason: str, caller: Caller, at: datetime) -> RequestRow:
        """Take a request back: its member's administrator may, and who handed it in.

        Raises:
            Problem: ``NotAuthorised``, ``NotFound``, or ``Conflict`` when it is not open.
        """
        row = self._store.request(number)
        if row.submitted_by not in {caller.who, caller.id}:
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

    def put_out_log(self) -> bool:
        """Put out the acts since the last state, and ask witnesses again that did not answer.

        Returns whether enough of them cosigned.
        """
        return self._tree.write_log(self._snapshot().version)

    @act
    def renew(self, at: datetime) -> bool:
        """Sign what the online keys sign again if less than half of its validity is left."""
        terms = self._terms
        # A publication signs a snapshot, too, but says nothing of what is disabled.
        seldom = (self._snapshot(), self._standing_role())
        are_due = any(is_due(one, at, terms.snapshot_validity) for one in seldom)
        if not are_due and not is_due(self._timestamp(), at, terms.timestamp_validity):
            return False
        if are_due:
            self._renew_all(at)
        else:
            self._stamp({}, {}, self._role("snapshot"), at)
        return True

    def publish_roles(
        self, roles: Roles, files: Mapping[str, Mapping[str, bytes]], at: datetime
    ) -> None:
        """Publish roles that were judged elsewhere; within :meth:`acting`."""
        self._publish(roles, files, at)

    def prune(self) -> int:
        """Remove files that nobody can be asking for any more."""
        return self._tree.prune(self._store)

    # ------------------------------------------------------------------------------- in detail

    def _take_in(
        self,
        request: NewRequest,
        effect: Effect,
        caller: Caller,
        at: datetime,
        *,
        asks: bool = False,
    ) -> RequestRow:
        lacking = effect.lacks_consents
        if lacking is not None and not asks:
            raise lacking
        needed = self._terms.approval.needed(effect.changes)
        with self._store.transaction():
            replaced = self._open_of(request)
            number = self._store.add_request(request, at, caller.who)
            for row in replaced:
                self._notify(row, Act.REPLACE, "", at)
            self._store.record(
                at, caller.id, "submit", request.subject, _told(number, request.kind, effect)
            )
            self._tell(number, notices.asks(number, effect.breaking), at)
        row = self._store.request(number)
        if needed is Needed.NONE and lacking is None:
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
            files[OWN_ROLE] = {k: v for k, v in {**known, **own}.items() if k in new.targets}
        if effect.away is not None:
            roles[STANDING_ROLE], files[STANDING_ROLE] = self._sign_away(effect.away, at)
        with self._store.transaction():
            if needed is not Needed.NONE:
                self._store.decide(
                    row.id, Act.APPROVE, at, caller.who, needed=needed, seen=effect.seen
                )
            self._move(row, Act.PUBLISH, caller, at, needed=needed, seen=effect.seen, effect=effect)
            self._revoke_undone(row, caller, at)
            self._tell_users(row, effect, at)
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
        self._store.decide(row.id, act, at, caller.who, reason, needed=needed, seen=seen)
        detail: dict[str, Any] = {"submission": row.id, "kind": row.kind.value}
        if effect is not None:
            detail = _told(row.id, row.kind, effect)
        if reason:
            detail["reason"] = reason
        word = "approve" if act is Act.PUBLISH else act.value
        self._store.record(at, caller.id, word, row.subject, detail)
        self._notify(row, act, reason, at)

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
