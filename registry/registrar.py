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
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from exchange.certificates import refuse_development
from exchange.code_lists import parse_code_list
from exchange.consents import open_consent
from exchange.continuity import (
    KeySet,
    Pin,
    check_continuity,
    continuity_target,
    parse_statements,
    read_delegations,
    role_name,
    root_keys,
)
from exchange.documents import invalid, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import (
    ELEMENTS_TARGET,
    INSTANCE_TARGET,
    MAX_SCHEMA_BYTES,
    InstanceRecord,
    is_code_list_target,
    is_consent_target,
    is_schema_target,
    parse_instance,
)
from exchange.trust import schema_id, trusted_authorities
from registry.directory import Directory
from registry.evolution import (
    judge_schemas,
    judge_services,
    judge_withdrawals,
    major_of,
    version_of,
)
from registry.following import Shown
from registry.lifecycle import Act, Kind
from registry.once_only import (
    Documents,
    Meter,
    Policy,
    Question,
    judge_elements,
    questions,
    refuse_new_questions,
    services_of,
    told,
)
from registry.publish import (
    OWN_ROLE,
    check_file,
    is_due,
    judge_targets,
    next_snapshot,
    next_timestamp,
    read,
    sign,
)
from registry.roles import Caller, Operation
from registry.store import Publication, Store, SubmissionRow
from registry.submissions import (
    Judged,
    Standing,
    Submission,
    judge_submission,
    parse_submission,
)
from registry.tree import Tree

Roles = dict[str, tuple[int, bytes]]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """The keys that lie beside the running registry."""

    snapshot: Signer
    timestamp: Signer
    standing: Signer


@dataclass(frozen=True, slots=True)
class Terms:
    """How long online metadata is valid, whether updates wait for approval, and what becomes of
    services that ask people for registered facts."""

    timestamp_validity: timedelta
    snapshot_validity: timedelta
    approve_updates: bool
    once_only: Policy = Policy.WARN


def _act(method: Callable[Concatenate[Registrar, P], T]) -> Callable[Concatenate[Registrar, P], T]:
    """A method that is one act: see :meth:`Registrar.acting`."""

    @wraps(method)
    def run(registrar: Registrar, /, *args: P.args, **named: P.kwargs) -> T:
        with registrar.acting():
            return method(registrar, *args, **named)

    return run


class Registrar:
    """The acts of one registry."""

    def __init__(self, store: Store, tree: Tree, keys: OnlineKeys, terms: Terms) -> None:
        self._store = store
        self._tree = tree
        self._keys = keys
        self._terms = terms
        self.directory = Directory()
        self._shown = Shown(store, tree, self.directory)
        self._meter = Meter()

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
        whichever process; what it publishes is shown after it."""
        with self._store.transaction():
            self.follow()
            yield
        self.follow()

    # ------------------------------------------------------------------------------- members

    @_act
    def submit(self, body: bytes, caller: Caller, at: datetime) -> SubmissionRow:
        """Take in a submission; publishes it at once when updates need no approval.

        Raises:
            Problem: ``NotAuthorised``, or as :func:`registry.submissions.judge_submission`.
        """
        submission = parse_submission(body)
        caller.require(Operation.SUBMIT)
        caller.check_member(submission.member, "submission#/member")
        judged = self._judge(submission, at)
        caller.check_changes(judged.changes)
        with self._store.transaction():
            number = self._store.add_submission(
                submission.member,
                judged.kind,
                judged.role.version,
                body,
                submission.note,
                at,
                caller.id,
            )
            self._record(at, caller, "submit", submission.member, number, judged)
        if judged.kind is Kind.UPDATE and not self._terms.approve_updates:
            return self._approve(number, judged, {}, {}, caller, at)
        return self._store.submission(number)

    @_act
    def approve(
        self,
        number: int,
        targets: bytes | None,
        files: Mapping[str, bytes],
        caller: Caller,
        at: datetime,
    ) -> SubmissionRow:
        """Approve a submission and publish it.

        Args:
            targets: the next top-level targets metadata, which delegates to the member's keys,
                signed by enough targets keys; for a first registration or a change of keys.
            files: for a change of keys: the member's statements by their target path.

        Raises:
            Problem: ``NotAuthorised``; ``NotFound``; ``Conflict`` when the submission is not open,
                or ``targets`` is missing, not due, stale, or says more than this approval; and
                as :func:`registry.submissions.judge_submission`.
        """
        caller.require(Operation.APPROVE)
        row = self._store.submission(number)
        judged = self._judge(parse_submission(row.body), at)
        if judged.kind.needs_delegation is (targets is None):
            raise Problem(
                Code.CONFLICT,
                where=f"submissions/{number}",
                detail="a first registration or a change of keys needs metadata signed by the "
                "targets keys (saphan registry approve --keys), an update takes none",
                facts={"kind": judged.kind.value},
            )
        roles: Roles = {}
        own: dict[str, bytes] = {}
        if targets is not None:
            roles, own = self._judge_delegation(judged, targets, files, at)
        return self._approve(number, judged, roles, own, caller, at)

    @_act
    def decline(self, number: int, reason: str, caller: Caller, at: datetime) -> SubmissionRow:
        """Decline a submission.

        Raises:
            Problem: ``NotAuthorised``, ``NotFound``, or ``Conflict`` when it is not open.
        """
        caller.require(Operation.APPROVE)
        with self._store.transaction():
            self._store.decide(number, Act.DECLINE, at, caller.id, reason)
            row = self._store.submission(number)
            self._store.record(
                at,
                caller.id,
                "decline",
                str(row.member),
                {"submission": number, "reason": reason},
            )
        return row

    def advice(self, number: int, at: datetime) -> list[dict[str, Any]]:
        """What a submission's services ask people for although another organisation gives it.

        Raises:
            Problem: ``NotFound``.
        """
        submission = parse_submission(self._store.submission(number).body)
        published = self._store.files(role_name(submission.member))
        found = self._questions(services_of(submission, published), at)
        return [told(one) for one in found if one.problem is not None]

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
        if _delegated(new, self._instance()) != _delegated(current, self._instance()):
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed/delegations",
                detail="a delegation changes only by approving a submission",
            )
        if lost := {path for path in _gone(current, new) if not may_go(path)}:
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed/targets",
                detail=f"this file may not be withdrawn: {min(lost)}",
            )
        changed = _changed_files(current, new, files)
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
    def renew(self, at: datetime) -> bool:
        """Sign snapshot and timestamp again if less than half of their validity is left."""
        timestamp, snapshot = self._timestamp(), self._snapshot()
        self._tree.write_log(snapshot.version)
        terms = self._terms
        is_snapshot_due = is_due(snapshot, at, terms.snapshot_validity)
        if not is_snapshot_due and not is_due(timestamp, at, terms.timestamp_validity):
            return False
        if is_snapshot_due:
            self._publish({}, {}, at)
        else:
            self._stamp({}, {}, snapshot.version, at)
        return True

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

    def _approve(
        self,
        number: int,
        judged: Judged,
        roles: Roles,
        own: Mapping[str, bytes],
        caller: Caller,
        at: datetime,
    ) -> SubmissionRow:
        member = judged.submission.member
        name = role_name(member)
        all_roles = {**roles, name: (judged.role.version, judged.submission.role)}
        all_files: dict[str, Mapping[str, bytes]] = {name: judged.files}
        if own:
            all_files[OWN_ROLE] = self._store.files(OWN_ROLE) | dict(own)
        with self._store.transaction():
            self._store.decide(number, Act.PUBLISH, at, caller.id, "")
            self._record(at, caller, "approve", member, number, judged)
            self._publish(all_roles, all_files, at)
        return self._store.submission(number)

    def _judge(self, submission: Submission, at: datetime) -> Judged:
        judged = judge_submission(
            submission,
            self._standing(submission.member),
            self._instance(),
            self.directory.schemas,
            root_keys(self._root()),
            at,
        )
        judge_services(
            judged.record,
            judged.files,
            self._store.files(role_name(submission.member)),
            self.directory.schemas,
            self._instance(),
            at,
        )
        if self._terms.once_only is Policy.REFUSE:
            services = [
                (one, judged.files.get(one.openapi_target or "")) for one in judged.record.services
            ]
            published = self.directory.documents(submission.member)
            refuse_new_questions(self._questions(services, at), self._questions(published, at))
        return judged

    def _questions(self, services: Documents, at: datetime) -> Iterator[Question]:
        return questions(services, self.directory.elements, self.directory.schemas, at)

    def _judge_delegation(
        self, judged: Judged, targets: bytes, files: Mapping[str, bytes], at: datetime
    ) -> tuple[Roles, dict[str, bytes]]:
        submission, instance = judged.submission, self._instance()
        current = self._targets()
        new = judge_targets(targets, self._root(), current, instance.instance, at)
        wanted = _delegated(current, instance)
        wanted[submission.member] = submission.keys.identity
        changed = _changed_files(current, new, files)
        statements_path = continuity_target(submission.member)
        allowed = {statements_path} if judged.kind is Kind.KEYS else set()
        if _delegated(new, instance) != wanted or changed.keys() - allowed or _gone(current, new):
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed",
                detail=f"it must delegate to the submitted keys of {submission.member} and change "
                "nothing else",
            )
        if judged.kind is Kind.KEYS:
            statements = (
                parse_statements(changed[statements_path], submission.member)
                if statements_path in changed
                else ()
            )
            check_continuity(
                submission.member,
                self._standing(submission.member).pin,
                submission.keys,
                statements,
                root_keys(self._root()),
            )
        return {OWN_ROLE: (new.version, targets)}, changed

    def _judge_own_file(self, path: str, data: bytes, at: datetime) -> None:
        if path == INSTANCE_TARGET:
            instance, known = parse_instance(data), self._instance()
            if (instance.instance, instance.environment) != (known.instance, known.environment):
                raise invalid(path, "", "an instance keeps its code and its environment")
            refuse_development(instance.authorities, instance.environment)
        elif is_schema_target(path):
            check_schema(data, path)
        elif is_code_list_target(path):
            parse_code_list(data, path)
        elif is_consent_target(path):
            open_consent(data, trusted_authorities(self._instance()), at, path)
        elif path == ELEMENTS_TARGET:
            directory = self.directory
            documents = {
                service.id: document
                for service, document in directory.documents()
                if document is not None
            }
            judge_elements(data, directory.elements, documents, directory.schemas)
        else:
            raise invalid(
                path,
                "",
                "only instance.json, elements.json, schemas/, code-lists/ and consents/ are "
                "published this way",
            )

    def _publish(
        self, roles: Roles, files: Mapping[str, Mapping[str, bytes]], at: datetime
    ) -> None:
        """Sign a snapshot of the new versions, and a timestamp; within a transaction."""
        snapshot = next_snapshot(
            self._snapshot(),
            {name: version for name, (version, _) in roles.items()},
            expires=at + self._terms.snapshot_validity,
        )
        signed = (snapshot.version, sign(snapshot, [self._keys.snapshot]))
        self._stamp({**roles, "snapshot": signed}, files, snapshot.version, at)

    def _stamp(
        self,
        roles: Roles,
        files: Mapping[str, Mapping[str, bytes]],
        snapshot_version: int,
        at: datetime,
    ) -> None:
        timestamp = next_timestamp(
            self._timestamp(), snapshot_version, expires=at + self._terms.timestamp_validity
        )
        signed = (timestamp.version, sign(timestamp, [self._keys.timestamp]))
        self._store.publish(Publication({**roles, "timestamp": signed}, files), at)

    def _record(
        self,
        at: datetime,
        caller: Caller,
        act: str,
        member: MemberId,
        number: int,
        judged: Judged,
    ) -> None:
        detail = {
            "submission": number,
            "kind": judged.kind.value,
            "version": judged.role.version,
            "keys": [key.keyid for key in judged.submission.keys.keys],
            "changes": [str(change) for change in judged.changes],
        }
        self._store.record(at, caller.id, act, str(member), detail)

    def _standing(self, member: MemberId) -> Standing:
        keys = read_delegations(self._targets(), self._instance().instance).get(member)
        if keys is None:
            return Standing()
        statements = self._store.files(OWN_ROLE).get(continuity_target(member))
        number = 0 if statements is None else parse_statements(statements, member)[-1].number
        name = role_name(member)
        published = self._store.role(name)
        version = 0 if published is None else published[0]
        return Standing(Pin(keys, number), version, self._store.files(name))

    def _role(self, name: str) -> tuple[int, bytes]:
        published = self._store.role(name)
        if published is None:
            raise Problem(Code.NOT_FOUND, where=name, detail="the registry has no such role")
        return published

    def _root(self) -> Root:
        return read(Root, self._store.root(), "root")

    def _targets(self) -> Targets:
        return read(Targets, self._role(OWN_ROLE)[1], OWN_ROLE)

    def _snapshot(self) -> Snapshot:
        return read(Snapshot, self._role("snapshot")[1], "snapshot")

    def _timestamp(self) -> Timestamp:
        return read(Timestamp, self._role("timestamp")[1], "timestamp")

    def _instance(self) -> InstanceRecord:
        return parse_instance(self._store.files(OWN_ROLE)[INSTANCE_TARGET])


def may_go(path: str) -> bool:
    """Whether a file of the registry itself may be withdrawn."""
    return is_schema_target(path) or is_code_list_target(path) or is_consent_target(path)


def check_schema(data: bytes, path: str) -> None:
    """Refuse what is not a JSON Schema (2020-12) with an ``$id``.

    Raises:
        Problem: ``InvalidDocument`` with the place.
    """
    schema_id(data, path)
    version_of(data, path, major_of(path))
    try:
        Draft202012Validator.check_schema(parse_document(data, MAX_SCHEMA_BYTES, path).value)
    except SchemaError as error:
        pointer = "".join(f"/{part}" for part in error.absolute_path)
        raise invalid(path, pointer, error.message[:200]) from error


def _delegated(
    targets: Targets, instance: InstanceRecord
) -> dict[MemberId, tuple[frozenset[tuple[str, str, str]], int]]:
    delegations: dict[MemberId, KeySet] = read_delegations(targets, instance.instance)
    return {member: keys.identity for member, keys in delegations.items()}


def _changed_files(current: Targets, new: Targets, files: Mapping[str, bytes]) -> dict[str, bytes]:
    changed = {}
    for path, file in new.targets.items():
        if current.targets.get(path) == file:
            continue
        if path not in files:
            raise invalid("files", "", f"lacks {path}, which the metadata names anew")
        check_file(file, files[path])
        changed[path] = files[path]
    return changed


def _gone(current: Targets, new: Targets) -> set[str]:
    return set(current.targets) - set(new.targets)
