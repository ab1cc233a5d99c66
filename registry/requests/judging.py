"""What becomes of a request, and whether it may: the rules, held against what is published now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import chain

from tuf.api.metadata import Targets

from exchange.certificates.reading import refuse_development
from exchange.code_lists import parse_code_list
from exchange.compatibility.sets import check_readable
from exchange.contracts.deprecation import deprecation_of
from exchange.documents import invalid, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from exchange.registrations import (
    ELEMENTS_TARGET,
    INSTANCE_TARGET,
    MAX_SCHEMA_BYTES,
    InstanceRecord,
    MemberRecord,
    is_code_list_target,
    is_consent_target,
    is_schema_target,
    parse_instance,
)
from exchange.registry.consents import open_consent
from exchange.registry.continuity import check_continuity, parse_statements
from exchange.registry.delegations import (
    continuity_target,
    read_delegations,
    read_standing_keys,
    role_name,
)
from exchange.registry.key_sets import root_keys
from exchange.registry.standing import Standing as AllAway
from exchange.schema_sets.keywords import DRAFT_2020_12
from exchange.schema_sets.metaschema import check_metaschema
from exchange.schema_sets.places import Place
from exchange.schema_sets.places import parse_document as bounded_document
from exchange.trust.admission import trusted_authorities
from exchange.trust.shared_schemas import schema_id, shared_schemas
from registry.directory.contents import Directory
from registry.publication.publish import (
    OWN_ROLE,
    check_file,
    judge_targets,
)
from registry.publication.publishing import Terms
from registry.requests import lint
from registry.requests.effects import Effect, OwnChange, effect_of_order, effect_of_proposal
from registry.requests.evolution import (
    Breaking,
    Consents,
    breaking_schemas,
    breaking_services,
    judge_withdrawals,
    major_of,
    version_of,
)
from registry.requests.lifecycle import Kind
from registry.requests.lint import refuse_errors
from registry.requests.moves import judge_moves
from registry.requests.once_only import (
    Documents,
    Policy,
    Question,
    judge_elements,
    questions,
    refuse_new_questions,
    services_of,
)
from registry.requests.orders import Order, Proposal, parse_order, parse_proposal
from registry.requests.present import Present
from registry.requests.submissions import (
    Judged,
    Submission,
    judge_submission,
    parse_submission,
)
from registry.requests.uses import Uses
from registry.store import RequestRow

Identity = tuple[frozenset[tuple[str, str, str]], int]


class Judging(Present):
    """The judging part of :class:`registry.registrar.Registrar`."""

    _terms: Terms
    directory: Directory

    def _effect(self, row: RequestRow, at: datetime) -> Effect:
        """What a request brings, as things are now."""
        if row.kind.is_submission:
            return self._effect_of(self._judge(parse_submission(row.body), at), at, row)
        if row.kind is Kind.OWN:
            return self._effect_of_proposal(parse_proposal(row.body), at, row)
        return self._effect_of_order(
            parse_order(row.body), datetime.fromisoformat(row.submitted_at)
        )

    def _effect_of(self, judged: Judged, at: datetime, row: RequestRow | None = None) -> Effect:
        """What a submission brings; with its request, consents that were given to that count."""
        submission = judged.submission
        breaking = breaking_services(
            judged.record,
            judged.files,
            self._store.files(role_name(submission.member)),
            self.directory.schemas,
            self._uses(at, judged.files),
            self._consents(judged.files, at, row),
            {record.member: (record, files) for record, files in self.directory.records()},
        )
        name = role_name(submission.member)
        own = None
        if judged.kind.needs_delegation:
            free = {continuity_target(submission.member)} if judged.kind is Kind.KEYS else set()
            own = OwnChange({submission.member: submission.keys}, free=frozenset(free))
        return Effect(
            judged.changes,
            {name: (judged.role.version, submission.role)},
            {name: judged.files},
            own,
            record={
                "version": judged.role.version,
                "keys": [key.keyid for key in submission.keys.keys],
                **_lint_record(_documents(judged.record, judged.files)),
            },
            breaking=breaking,
        )

    def _effect_of_proposal(
        self, proposal: Proposal, at: datetime, row: RequestRow | None = None
    ) -> Effect:
        published = self._store.files(OWN_ROLE)
        if proposal.data is None:
            effect = effect_of_proposal(proposal, published)
            self._judge_withdrawal([proposal.path], published)
            return effect
        self._judge_own_file(proposal.path, proposal.data, at)
        breaking = self._breaking_schemas({proposal.path: proposal.data}, published, at, row)
        record = _lint_record(_schemas({proposal.path: proposal.data}))
        return replace(effect_of_proposal(proposal, published), breaking=breaking, record=record)

    def _judge_withdrawal(self, gone: Collection[str], published: Mapping[str, bytes]) -> None:
        """Refuse to withdraw files of the registry itself that are needed."""
        if lost := {path for path in gone if not may_go(path)}:
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed/targets",
                detail=f"this file may not be withdrawn: {min(lost)}",
            )
        judge_withdrawals(gone, published, self.directory.records())

    def _breaking_schemas(
        self,
        changed: Mapping[str, bytes],
        published: Mapping[str, bytes],
        at: datetime,
        row: RequestRow | None = None,
    ) -> tuple[Breaking, ...]:
        return breaking_schemas(
            changed,
            published,
            self.directory.records(),
            self._uses(at),
            self._consents({**published, **changed}, at, row),
        )

    def _uses(self, at: datetime, further: Mapping[str, bytes] | None = None) -> Uses:
        """Who uses what, by all that is published, and by what is handed in."""
        files = (item for _, files in self.directory.records() for item in files.items())
        authorities = trusted_authorities(self._instance())
        registered = {record.member for record, _ in self.directory.records()}

        def is_gone(member: MemberId) -> bool:
            return member not in registered and self._store.role(role_name(member)) is not None

        return Uses(chain(files, (further or {}).items()), authorities, at, is_gone)

    def _consents(
        self, files: Mapping[str, bytes], at: datetime, row: RequestRow | None
    ) -> Consents:
        given = [] if row is None else self._store.consents(row.id, row.subject)
        own = [(f"consents/request-{n}.json", data) for n, data in enumerate(given)]
        return Consents([*files.items(), *own], trusted_authorities(self._instance()), at)

    def _effect_of_order(self, order: Order, at: datetime) -> Effect:
        own = self._store.files(OWN_ROLE)
        things = self.directory.things()
        return effect_of_order(order, things, AllAway(self._away()), own, _whole_second(at))

    def _judge_own_change(
        self,
        row: RequestRow,
        effect: Effect,
        targets: bytes | None,
        files: Mapping[str, bytes],
        at: datetime,
    ) -> dict[str, bytes]:
        """The signed targets metadata and its files, when they say what the effect says."""
        change = effect.own
        if (change is None) is not (targets is None):
            raise Problem(
                Code.CONFLICT,
                where=f"submissions/{row.id}",
                detail="what changes the registry's own role needs metadata signed by the targets "
                "keys (saphan registry approve --keys); anything else takes none",
                facts={"kind": row.kind.value},
            )
        if change is None or targets is None:
            return {}
        instance, current = self._instance(), self._targets()
        new = judge_targets(targets, self._root(), current, instance.instance, at)
        wanted = delegated(current, instance)
        wanted |= {member: keys.identity for member, keys in change.delegated.items()}
        wanted = {member: keys for member, keys in wanted.items() if member not in change.gone}
        changed = changed_files(current, new, files)
        fixed = {path: data for path, data in changed.items() if path not in change.free}
        if (
            delegated(new, instance) != wanted
            or fixed != change.files
            or gone_targets(current, new) != change.removed
        ):
            raise Problem(
                Code.CONFLICT,
                where="targets#/signed",
                detail=f"it must say what request {row.id} says, and change nothing else",
            )
        for member, keys in change.delegated.items() if row.kind is Kind.KEYS else ():
            path = continuity_target(member)
            statements = parse_statements(changed[path], member) if path in changed else ()
            check_continuity(
                member, self._standing(member).pin, keys, statements, root_keys(self._root())
            )
        return {**changed, OWN_ROLE: targets}

    def _submission(self, number: int) -> Submission:
        row = self._store.request(number)
        if not row.kind.is_submission:
            raise Problem(
                Code.NOT_FOUND, where=f"submissions/{number}", detail="it is no member's role"
            )
        return parse_submission(row.body)

    def _linted(self, row: RequestRow) -> dict[str, bytes]:
        """The documents and schemas that a request brings, by path."""
        if row.kind is Kind.OWN:
            proposal = parse_proposal(row.body)
            return _schemas({} if proposal.data is None else {proposal.path: proposal.data})
        if not row.kind.is_submission:
            return {}
        submission = parse_submission(row.body)
        published = self._store.files(role_name(submission.member))
        services = services_of(submission, published)
        return {
            service.openapi_target: data
            for service, data in services
            if service.openapi_target is not None and data is not None
        }

    def _judge(self, submission: Submission, at: datetime) -> Judged:
        judged = judge_submission(
            submission,
            self._standing(submission.member),
            self._instance(),
            self.directory.schemas,
            root_keys(self._root()),
            at,
        )
        published = self._store.files(role_name(submission.member))
        members = {record.member: record for record, _ in self.directory.records()}
        judge_moves(judged.record, members.get(submission.member), members)
        described = _documents(judged.record, judged.files)
        refuse_errors({k: data for k, data in described.items() if published.get(k) != data})
        if self._terms.once_only is Policy.REFUSE:
            services = [
                (one, judged.files.get(one.openapi_target or "")) for one in judged.record.services
            ]
            before = self.directory.documents(submission.member)
            refuse_new_questions(self._questions(services, at), self._questions(before, at))
        return judged

    def _questions(self, services: Documents, at: datetime) -> Iterator[Question]:
        return questions(services, self.directory.elements, self.directory.schemas, at)

    def _judge_own_file(
        self, path: str, data: bytes, at: datetime, beside: Mapping[str, bytes] | None = None
    ) -> None:
        """Judge a file of the registry itself; ``beside`` are others that come with it."""
        if path == INSTANCE_TARGET:
            instance, known = parse_instance(data), self._instance()
            if (instance.instance, instance.environment) != (known.instance, known.environment):
                raise invalid(path, "", "an instance keeps its code and its environment")
            if known.log and not instance.log:
                raise invalid(path, "/log", "servers refuse a registry that gives up its log")
            refuse_development(instance.authorities, instance.environment)
        elif is_schema_target(path):
            check_schema(data, path)
            self._judge_new_schema(path, data, beside or {})
        elif is_code_list_target(path):
            parse_code_list(data, path)
            self._check_id(path, data, beside or {})
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

    def _judge_new_schema(self, path: str, data: bytes, beside: Mapping[str, bytes]) -> None:
        """Refuse a schema that is new or changed when nobody could read what refers to it."""
        own = self._store.files(OWN_ROLE)
        if own.get(path) == data:
            return
        refuse_errors({path: data})
        self._check_id(path, data, beside)
        shared = shared_schemas({**own, **beside, path: data})
        check_readable(schema_id(data, path), shared)

    def _check_id(self, path: str, data: bytes, beside: Mapping[str, bytes]) -> None:
        """Refuse an ``$id`` that another file has: readers would take the one for the other."""
        identifiers = shared_schemas({path: data}).keys()
        for other, known in {**self._store.files(OWN_ROLE), **beside}.items():
            is_shared = is_schema_target(other) or is_code_list_target(other)
            if is_shared and other != path and identifiers & shared_schemas({other: known}).keys():
                raise Problem(
                    Code.CONFLICT,
                    where=f"{path}#/$id",
                    detail=f"{other} has this $id already; name another, or change that file",
                )


def _documents(record: MemberRecord, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The OpenAPI documents of a member's services, by path."""
    paths = (service.openapi_target for service in record.services)
    return {path: files[path] for path in paths if path is not None and path in files}


def _schemas(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if is_schema_target(path)}


def _lint_record(files: Mapping[str, bytes]) -> dict[str, object]:
    """What lint has found, as it is recorded: how often which rule."""
    found, more = lint.told(files)
    rules = dict(sorted(Counter(one["rule"] for one in found).items()))
    return {"lint": {"rules": rules, "more": more}} if rules else {}


def may_go(path: str) -> bool:
    """Whether a file of the registry itself may be withdrawn."""
    return is_schema_target(path) or is_code_list_target(path) or is_consent_target(path)


def check_schema(data: bytes, path: str) -> None:
    """Refuse what is not a JSON Schema (2020-12) with an ``$id``, as those who refer to it would.

    Not looked at: where its references lead.

    Raises:
        Problem: ``InvalidDocument`` with the place.
    """
    schema_id(data, path)
    version_of(data, path, major_of(path))
    deprecation_of(parse_document(data, MAX_SCHEMA_BYTES, path).value, path, "")
    schema = bounded_document(data, path)
    if schema.get("$schema", DRAFT_2020_12) != DRAFT_2020_12:
        raise invalid(path, "/$schema", f"shared schemas are of {DRAFT_2020_12}")
    check_metaschema(schema, lambda pointer: Place(path, pointer))


def delegated(targets: Targets, instance: InstanceRecord) -> dict[MemberId | None, Identity]:
    """Whose role is delegated to which keys; under nothing, the keys of the online role."""
    found: dict[MemberId | None, Identity] = {
        member: keys.identity
        for member, keys in read_delegations(targets, instance.instance).items()
    }
    standing = read_standing_keys(targets)
    if standing is not None:
        found[None] = standing.identity
    return found


def _whole_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def changed_files(current: Targets, new: Targets, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that the new metadata names and the current does not, each as its metadata says.

    Raises:
        Problem: ``InvalidDocument`` when one lacks or is not what the metadata says.
    """
    changed = {}
    for path, file in new.targets.items():
        if current.targets.get(path) == file:
            continue
        if path not in files:
            raise invalid("files", "", f"lacks {path}, which the metadata names anew")
        check_file(file, files[path])
        changed[path] = files[path]
    return changed


def gone_targets(current: Targets, new: Targets) -> set[str]:
    """The files that the new metadata names no more."""
    return set(current.targets) - set(new.targets)
