"""The directory: what is published, to be searched by people and machines.

Derived from published files and held in memory; a member's part is replaced when its registration
is. Answers are plain JSON values, in the order of identifiers, in pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from exchange.contracts.deprecation import deprecation_of, read_deprecations
from exchange.documents import parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.once_only.elements import NO_ELEMENTS, Dictionary, describe, parse_elements
from exchange.problems import Code, Problem, Text
from exchange.registrations import (
    ELEMENTS_TARGET,
    INSTANCE_TARGET,
    InstanceRecord,
    MemberRecord,
    ServiceRecord,
    format_member,
    is_code_list_target,
    is_schema_target,
    member_target,
    parse_instance,
    parse_member,
)
from exchange.registry.continuity import parse_statements
from exchange.registry.delegations import continuity_target
from exchange.registry.standing import Disabled, Identifier, Standing
from exchange.trust.shared_schemas import schema_id, shared_schemas
from registry.directory.search import Entry, Kind, SearchIndex
from registry.pages import Listed, Listing, page_of
from schemas import CODE_LIST

MAX_PAGE = 200


@dataclass(slots=True)
class Directory:
    """Members, services, schemas and data elements as they are published."""

    instance: InstanceRecord | None = None
    schemas: dict[str, bytes] = field(default_factory=dict)
    elements: Dictionary = NO_ELEMENTS
    _schema_paths: dict[str, str] = field(default_factory=dict)
    _own: Mapping[str, bytes] = field(default_factory=dict)
    _members: dict[MemberId, Listed] = field(default_factory=dict)
    standing: tuple[Disabled, ...] = ()
    _index: SearchIndex = field(default_factory=SearchIndex)

    def load_own(self, files: Mapping[str, bytes]) -> None:
        """Take over the registry's own files: the instance and the shared schemas."""
        self.instance = parse_instance(files[INSTANCE_TARGET])
        paths = {
            path: schema_id(data, path)
            for path, data in files.items()
            if is_schema_target(path) or is_code_list_target(path)
        }
        self._own = files
        self._schema_paths = {identifier: path for path, identifier in paths.items()}
        self.schemas = shared_schemas(files)
        data = files.get(ELEMENTS_TARGET)
        self.elements = NO_ELEMENTS if data is None else parse_elements(data)
        self._index.put("", self._own_entries())

    def put(self, member: MemberId, version: int, files: Mapping[str, bytes]) -> None:
        """Take over a member's published files."""
        record = parse_member(files[member_target(member)], member)
        self._members[member] = Listed(version, record, files)
        self._index.put(str(member), _entries(record))

    def forget(self, member: MemberId) -> None:
        """Drop a member that is not delegated to any more."""
        self._members.pop(member, None)
        self._index.forget(str(member))

    def records(self) -> Iterator[tuple[MemberRecord, Mapping[str, bytes]]]:
        """Every member's record, with its published files."""
        for listed in self._members.values():
            yield listed.record, listed.files

    def listing(self) -> Listing | None:
        """All that pages show, as it is now; None before anything is loaded."""
        if self.instance is None:
            return None
        return Listing(self.instance, self._own, self.elements, tuple(self._members.values()))

    def things(self) -> set[Identifier]:
        """Everything that is registered."""
        found: set[Identifier] = set(self._members)
        for listed in self._members.values():
            record = listed.record
            for items in (record.servers, record.applications, record.services):
                found.update(item.id for item in items)
        return found

    def disabled(self) -> list[dict[str, Any]]:
        """What the registry has switched off, each with its reason."""
        return [
            {
                "kind": one.kind,
                "id": str(one.id),
                "since": one.since.isoformat(),
                "reason": one.reason.as_dict(),
            }
            for one in self.standing
        ]

    def _disabled(self, identifier: Identifier) -> dict[str, Any]:
        one = Standing(self.standing).of(identifier)
        return {} if one is None else {"disabled": one.reason.as_dict()}

    def member(self, member: MemberId) -> dict[str, Any]:
        """A member's document, with the version of its role and how often its keys changed.

        Raises:
            Problem: ``UnknownMember``.
        """
        listed = self._members.get(member)
        if listed is None:
            raise _unknown(Code.UNKNOWN_MEMBER, member)
        document = parse_document(format_member(listed.record), 1 << 30, str(member)).value
        return {
            "version": listed.version,
            "key_changes": self._key_changes(member),
            "document": document,
            **self._disabled(member),
        }

    def members(self, query: str, after: str, limit: int) -> dict[str, Any]:
        """A page of members whose id or name holds every word of ``query``."""
        wanted = self._wanted(query, Kind.MEMBER)
        found = (
            {
                "id": str(member),
                "name": listed.record.name.as_dict(),
                "version": listed.version,
                "services": len(listed.record.services),
            }
            for member, listed in sorted(self._members.items())
            if wanted is None or str(member) in wanted
        )
        return _page(list(found), after, limit)

    def services(self, query: str, after: str, limit: int) -> dict[str, Any]:
        """A page of services whose id, title or member's name holds every word of ``query``."""
        wanted = self._wanted(query, Kind.SERVICE)
        found = [
            self._describe(service, listed)
            for _, listed in sorted(self._members.items())
            for service in sorted(listed.record.services, key=lambda item: item.id)
            if wanted is None or str(service.id) in wanted
        ]
        return _page(found, after, limit)

    def service(self, service: ServiceId) -> dict[str, Any]:
        """One service.

        Raises:
            Problem: ``UnknownService``.
        """
        record, listed = self._find(service)
        return self._describe(record, listed) | self._deprecated(record, listed)

    @staticmethod
    def _deprecated(record: ServiceRecord, listed: Listed) -> dict[str, Any]:
        """The operations that are to go, with what is said of them."""
        path = record.openapi_target
        found = {} if path is None else read_deprecations(listed.files[path])
        told = [
            {"method": method, "path": template, **one.as_json()}
            for (method, template), one in found.items()
        ]
        return {"deprecated": told} if told else {}

    def openapi(self, service: ServiceId) -> bytes:
        """The OpenAPI document of a service.

        Raises:
            Problem: ``UnknownService``; ``NotFound`` when the service has none.
        """
        record, listed = self._find(service)
        if record.openapi_target is None:
            raise Problem(
                Code.NOT_FOUND, where=str(service), detail="the service has no OpenAPI document"
            )
        return listed.files[record.openapi_target]

    def documents(
        self, member: MemberId | None = None
    ) -> Iterator[tuple[ServiceRecord, bytes | None]]:
        """Every service, or those of one member, with its OpenAPI document where it has one."""
        listed = self._members.values() if member is None else self._of(member)
        for one in list(listed):
            for service in one.record.services:
                path = service.openapi_target
                yield service, None if path is None else one.files[path]

    def element(self, identifier: str) -> dict[str, Any]:
        """A data element as it stands in the dictionary.

        Raises:
            Problem: ``UnknownElement``.
        """
        return describe(self.elements.find(identifier, "path"))

    def element_list(self, query: str, after: str, limit: int) -> dict[str, Any]:
        """A page of elements whose id, name, definition or source holds every word of ``query``."""
        wanted = self._wanted(query, Kind.ELEMENT)
        found = [
            describe(one) for one in self.elements.elements if wanted is None or one.id in wanted
        ]
        return _page(found, after, limit)

    def schema_list(self) -> dict[str, Any]:
        """All shared schemas: id, title and target path."""
        items = []
        for identifier, data in sorted(self.schemas.items()):
            value = parse_document(data, len(data), identifier).value
            items.append(
                {
                    "id": identifier,
                    "title": {"en": value.get("title", ""), "lo": value.get("x-title-lo", "")},
                    "path": self._schema_paths[identifier],
                    "version": value.get("x-saphan-version"),
                    **_deprecated_schema(value),
                }
            )
        return {"items": items, "next": None}

    def search(self, query: str, kinds: frozenset[Kind], start: int, limit: int) -> dict[str, Any]:
        """A page of all that holds every word of ``query``, the best first."""
        found, total = self._index.search(query, kinds, start, limit)
        items = [
            {
                "kind": one.kind,
                "id": one.id,
                "title": one.title.as_dict(),
                "page": page_of(one.kind, one.id),
            }
            for one in found
        ]
        end = start + len(items)
        return {"items": items, "total": total, "next": str(end) if end < total else None}

    def _wanted(self, query: str, kind: Kind) -> set[str] | None:
        """The ids that a query means; None for all."""
        if not query.strip():
            return None
        return {one.id for one in self._index.matching(query, frozenset({kind}))}

    def _own_entries(self) -> Iterator[Entry]:
        for identifier, data in self.schemas.items():
            value = parse_document(data, len(data), identifier).value
            listed = CODE_LIST in value
            names = value.get("x-enum-titles", {}).values() if listed else ()
            words = [str(value.get(key, "")) for key in ("description", "x-description-lo")]
            words += [*value.get("properties", ()), *(f"{n['en']} {n['lo']}" for n in names)]
            title = Text(str(value.get("title", "")), str(value.get("x-title-lo", "")))
            kind = Kind.CODE_LIST if listed else Kind.SCHEMA
            yield Entry(kind, identifier, title, " ".join(words))
        for one in self.elements.elements:
            words = [str(one.source.service), one.definition.en, one.definition.lo]
            yield Entry(Kind.ELEMENT, one.id, one.name, " ".join(words))

    def counts(self) -> dict[str, int]:
        """How much is published."""
        services = sum(len(listed.record.services) for listed in self._members.values())
        return {"members": len(self._members), "services": services, "schemas": len(self.schemas)}

    def _of(self, member: MemberId) -> list[Listed]:
        listed = self._members.get(member)
        return [] if listed is None else [listed]

    def _key_changes(self, member: MemberId) -> int:
        data = self._own.get(continuity_target(member))
        return 0 if data is None else parse_statements(data, member)[-1].number

    def _find(self, service: ServiceId) -> tuple[ServiceRecord, Listed]:
        listed = self._members.get(service.member)
        for record in () if listed is None else listed.record.services:
            if record.id == service and listed is not None:
                return record, listed
        raise _unknown(Code.UNKNOWN_SERVICE, service)

    def _describe(self, service: ServiceRecord, listed: Listed) -> dict[str, Any]:
        return {
            "id": str(service.id),
            "type": service.type.value,
            "title": service.title.as_dict(),
            "member": {"id": str(service.id.member), "name": listed.record.name.as_dict()},
            "openapi": service.openapi is not None,
            **self._disabled(service.id),
        }


def _deprecated_schema(value: Mapping[str, Any]) -> dict[str, Any]:
    found = deprecation_of(value, "", "")
    return {} if found is None else {"deprecated": found.as_json()}


def _entries(record: MemberRecord) -> Iterator[Entry]:
    yield Entry(Kind.MEMBER, str(record.member), record.name)
    whose = f"{record.name.en} {record.name.lo}"
    for service in record.services:
        yield Entry(Kind.SERVICE, str(service.id), service.title, whose)


def _page(items: list[dict[str, Any]], after: str, limit: int) -> dict[str, Any]:
    rest = [item for item in items if item["id"] > after] if after else items
    rest.sort(key=lambda item: str(item["id"]))
    page = rest[:limit]
    return {"items": page, "next": page[-1]["id"] if len(rest) > limit else None}


def _unknown(code: Code, identifier: MemberId | ServiceId) -> Problem:
    return Problem(code, where=str(identifier), detail=f"the registry has no {identifier}")
