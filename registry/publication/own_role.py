"""What the registry says of itself: its own files and its root, as the offline keys signed them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from exchange.problems import Code, Problem
from exchange.registry.delegations import STANDING_ROLE
from registry.acting import Acting, act
from registry.actors.roles import Caller, Operation
from registry.actors.telling import Telling
from registry.publication.publish import (
    OWN_ROLE,
    is_signed,
    judge_next_root,
    judge_targets,
)
from registry.publication.publishing import Publishing, Roles
from registry.requests.changes import Change, ChangeKind
from registry.requests.effects import Effect
from registry.requests.judging import changed_files, delegated, gone_targets
from registry.requests.lifecycle import Needed


class OwnActs(Acting, Telling, Publishing):
    """The part of :class:`registry.registrar.Registrar` that publishes the registry's own role."""

    @act
    def publish_own(
        self, targets: bytes, files: Mapping[str, bytes], caller: Caller, at: datetime
    ) -> int:
        """Publish files of the registry itself (instance, schemas), none to renew the role, or
        another key of the online role that disables; returns the new version.

        Raises:
            Problem: ``NotAuthorised``; ``UntrustedMetadata``; ``Conflict`` when it does not follow
                the published version or changes a member's delegation; ``NotFound`` when the online
                key that it names does not lie here; ``InvalidDocument``.
        """
        caller.require(Operation.PUBLISH)
        current = self._targets()
        new = judge_targets(targets, self._root(), current, self._instance().instance, at)
        before, after = (delegated(role, self._instance()) for role in (current, new))
        is_handed_over = before.pop(None, None) != after.pop(None, None)
        if before != after:
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed/delegations",
                detail="a delegation changes only by approving a submission",
            )
        changed = changed_files(current, new, files)
        self._check_alone(changed, gone_targets(current, new))
        for path, data in changed.items():
            self._judge_own_file(path, data, at, changed)
        published = self._store.files(OWN_ROLE)
        own = {path: data for path, data in (published | changed).items() if path in new.targets}
        self._judge_withdrawal(gone_targets(current, new), published)
        breaking = self._breaking_schemas(changed, published, at)
        if lacking := Effect((), breaking=breaking).lacks_consents:
            raise lacking
        roles: Roles = {OWN_ROLE: (new.version, targets)}
        published_files = {OWN_ROLE: own}
        if is_handed_over:  # what the old key signed counts no more
            signed = self._sign_away(self._away(), at, new)
            roles[STANDING_ROLE], published_files[STANDING_ROLE] = signed
        with self._store.transaction():
            self._store.record(
                at, caller.id, "publish", OWN_ROLE, {"version": new.version, "files": [*changed]}
            )
            self._tell(None, self._deprecated_schemas(changed, at), at)
            self._publish(roles, published_files, at)
        return int(new.version)

    def _check_alone(self, changed: Collection[str], gone: Collection[str]) -> None:
        """Refuse what policy has two people agree to: here one acts, whoever signed."""
        changes = [Change(ChangeKind.PUBLISH, path) for path in changed]
        changes += [Change(ChangeKind.WITHDRAW, path) for path in gone]
        if self._terms.approval.needed(changes) is Needed.TWO:
            raise Problem(
                Code.CONFLICT,
                where="approval",
                detail="two must agree to this: hand it in (saphan registry propose), and let two "
                "others approve it",
            )

    @act
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
                "(saphan registry ceremony publish --keys, or --targets with a draft)",
            )
        self._store.record(at, caller.id, "publish root", "root", {"version": new.version})
        self._store.put_root(new.version, root)
        self._publish(roles, {}, at)
        return int(new.version)
