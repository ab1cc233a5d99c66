"""The pages as files: one per member, service, schema, code list and data element, in each
language.

They are made from what is published, hold no scripts and load nothing, and lie in ``pages/`` of
the published tree, so that any web server or mirror can hand them out.

Invariants:
- every text out of a document is escaped; it never becomes markup;
- a page is made again only when its source changed, and appears in one rename;
- names of files are made from identifiers alone and never leave their folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import get_ident
from typing import Any, Final
from urllib.parse import quote

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from exchange.code_lists import parse_code_list
from exchange.identifiers import MemberId, ServiceId
from exchange.once_only.elements import Dictionary, format_duration
from exchange.problems import Text
from exchange.registrations import (
    InstanceRecord,
    MemberRecord,
    ServiceRecord,
    is_code_list_target,
    is_schema_target,
)
from registry.directory.search import Kind
from registry.pages import shown
from registry.pages.words import WORDS, words

FOLDER: Final = "pages"
_MADE: Final = ".made.json"
LANGUAGES: Final = ("lo", "en")
MAX_NAME: Final = 180


def page_name(identifier: object) -> str:
    """The name of a page's file: no two identifiers share one, and none leaves its folder."""
    text = str(identifier).removeprefix("https://")
    text = text.replace("~", "~7E").replace("_", "~5F").replace("/", "_")
    name = quote(text, safe="~").replace("%", "~")
    if len(name) > MAX_NAME:
        name = f"{name[:MAX_NAME]}~{sha256(text.encode()).hexdigest()[:16]}"
    return f"{name}.html"


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A member as it is published: the version of its role, its record and its files."""

    version: int
    record: MemberRecord
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Listing:
    """What is published at one moment."""

    instance: InstanceRecord
    own: Mapping[str, bytes]
    elements: Dictionary
    members: tuple[Listed, ...]


def page_path(raw_path: str) -> Path | None:
    """The file below :data:`FOLDER` that a reader asks for, if the path is sound."""
    parts = raw_path.split("/")
    sound = all(part and part[0] != "." and part.isascii() for part in parts)
    if not sound or not raw_path.endswith(".html") or len(raw_path) > 1000 or "%" in raw_path:
        return None
    return Path(FOLDER, *parts)


class Site:
    """The pages below ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / FOLDER
        self._made = self._read_made()
        self._schemas: dict[str, tuple[str, Text, Mapping[str, Any]]] = {}
        self._lists: dict[str, Text] = {}
        self._elements: dict[str, Text] = {}
        self._seen: Listing | None = None
        self._stopped = False

    def stop(self) -> None:
        """Let an update that is under way end soon; the next process goes on from there."""
        self._stopped = True

    def update(self, listing: Listing) -> int:
        """Make the pages of what changed since they were made; returns how many sources did."""
        if (
            self._seen is not None
            and self._seen.own is listing.own
            and (self._seen.members == listing.members)
        ):
            return 0
        form = _form_of(listing.instance)
        made = self._made if self._made.get("form") == form else {}
        own = _digest_of(listing.own)
        linked = _linked(listing)
        wanted = {str(one.record.member): f"{one.version} {linked}" for one in listing.members}
        changed = [
            one
            for one in listing.members
            if made.get(str(one.record.member)) != wanted[str(one.record.member)]
        ]
        gone = [name for name in self._made if "/" in name and name not in wanted]
        is_new = made.get("own") != own
        if not (is_new or changed or gone):
            self._seen = listing
            return 0
        self._elements = {one.id: one.name for one in listing.elements.elements}
        self._write_own(listing.own, listing.instance, listing.elements)
        for one in changed:
            if self._stopped:
                return 0
            self._write_member(one.record, one.files, listing.instance)
        for name in gone:
            self._forget(MemberId.parse(name))
        self._write_index(
            (one.record for one in listing.members), listing.instance, listing.elements
        )
        self._made = {"form": form, "own": own, **wanted}
        _replace(self._directory / _MADE, orjson.dumps(self._made))
        self._seen = listing
        return is_new + len(changed) + len(gone)

    def _read_made(self) -> dict[str, str]:
        """What was made before; nothing when that cannot be told, and all is made again."""
        try:
            found = orjson.loads((self._directory / _MADE).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write_own(
        self, files: Mapping[str, bytes], instance: InstanceRecord, elements: Dictionary
    ) -> None:
        """Make the pages of shared schemas, code lists and data elements; removes those that
        went."""
        self._lists = {}
        self._schemas = {
            str(schema["$id"]): (str(schema["$id"]), shown.text_of(schema, "title"), schema)
            for path, data in sorted(files.items())
            if is_schema_target(path)
            for schema in [orjson.loads(data)]
        }
        kept: dict[str, set[str]] = {"schemas": set(), "code-lists": set(), "elements": set()}
        marked: dict[str, list[str]] = {}
        # Lists first: schemas lead to them.
        for path, data in sorted(files.items(), key=lambda item: (is_schema_target(item[0]), item)):
            if is_code_list_target(path):
                codes = parse_code_list(data, path)
                self._lists[codes.id] = codes.title
                kept["code-lists"].add(page_name(codes.id))
                self._put("code-lists", codes.id, "code_list", instance=instance, codes=codes)
            elif is_schema_target(path):
                schema = orjson.loads(data)
                identifier = str(schema["$id"])
                for element in shown.references(schema)[0]:
                    marked.setdefault(element, []).append(identifier)
                kept["schemas"].add(page_name(identifier))
                self._put(
                    "schemas",
                    identifier,
                    "schema",
                    instance=instance,
                    schema=schema,
                    id=identifier,
                    parts=list(shown.parts(schema)),
                    links=self._links(schema),
                    deprecation=shown.deprecation(schema),
                )
        for one in elements.elements:
            kept["elements"].add(page_name(one.id))
            users = marked.get(one.id, [])
            self._put("elements", one.id, "element", instance=instance, one=one, schemas=users)
        for folder, names in kept.items():
            self._prune(folder, names)
        self._write("elements.html", "elements", instance=instance, elements=elements.elements)

    def _write_member(
        self, record: MemberRecord, files: Mapping[str, bytes], instance: InstanceRecord
    ) -> None:
        """Make the pages of a member and of its services; removes those of services that went."""
        self._put("members", record.member, "member", instance=instance, record=record)
        folder = f"services/{page_name(record.member).removesuffix('.html')}"
        for service in record.services:
            data = files.get(service.openapi_target or "")
            document = {} if data is None else orjson.loads(data)
            self._put(
                folder,
                service.id,
                "service",
                instance=instance,
                record=record,
                service=service,
                operations=list(shown.operations(document)),
                links=self._links(document),
                deprecations=shown.deprecations(data),
            )
        self._prune(folder, {page_name(service.id) for service in record.services})

    def _links(self, document: Any) -> list[tuple[str, str, Text]]:
        """The pages that a document leads to: folder, identifier and title of each."""
        elements, schemas = shown.references(document)
        found = [("elements", one, self._elements[one]) for one in elements & self._elements.keys()]
        found += [("code-lists", one, self._lists[one]) for one in schemas & self._lists.keys()]
        found += [("schemas", one, self._schemas[one][1]) for one in schemas & self._schemas.keys()]
        return sorted(found, key=lambda link: link[:2])

    def _forget(self, member: MemberId) -> None:
        """Remove the pages of a member that left."""
        for language in LANGUAGES:
            (self._directory / language / "members" / page_name(member)).unlink(missing_ok=True)
        self._prune(f"services/{page_name(member).removesuffix('.html')}", set())

    def _write_index(
        self,
        records: Iterable[MemberRecord],
        instance: InstanceRecord,
        elements: Dictionary,
    ) -> None:
        """Make the first page, which leads to all others."""
        members = sorted(records, key=lambda record: record.member)
        self._write(
            "index.html",
            "index",
            instance=instance,
            members=members,
            schemas=list(self._schemas.values()),
            lists=sorted(self._lists.items()),
            elements=elements.elements,
        )

    # -- files -------------------------------------------------------------------------------

    def _put(self, folder: str, identifier: object, template: str, **values: Any) -> None:
        self._write(f"{folder}/{page_name(identifier)}", template, **values)

    def _write(self, path: str, template: str, **values: Any) -> None:
        up = "../" * path.count("/")
        for language in LANGUAGES:
            text = _template(template).render(
                language=language,
                other=next(one for one in LANGUAGES if one != language),
                path=path,
                up=up,
                w=words(language),
                page_name=page_name,
                service_page=_service_page,
                type_of=shown.type_of,
                duration=format_duration,
                **values,
            )
            _replace(self._directory / language / path, text.encode())

    def _prune(self, folder: str, names: set[str]) -> None:
        for language in LANGUAGES:
            below = self._directory / language / folder
            for file in below.glob("*.html") if below.is_dir() else ():
                if file.name not in names:
                    file.unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{get_ident()}.new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _form_of(instance: InstanceRecord) -> str:
    """What every page depends on: templates, words, and the name of the instance."""
    digest = sha256(repr((instance.name, WORDS)).encode())
    for file in sorted(Path(__file__).parent.rglob("*")):
        if file.suffix in (".j2", ".py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _linked(listing: Listing) -> str:
    """What pages of members may lead to: they are made again when that changes."""
    named = [*(one.id for one in listing.elements.elements), *sorted(listing.own)]
    return sha256("\n".join(named).encode()).hexdigest()[:16]


def _digest_of(files: Mapping[str, bytes]) -> str:
    digest = sha256()
    for path, data in sorted(files.items()):
        digest.update(f"{path} {sha256(data).hexdigest()}\n".encode())
    return digest.hexdigest()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("registry.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own"] = _own_language
    return environment


def _template(name: str) -> Any:
    return _environment().get_template(f"{name}.html.j2")


def _own_language(text: Text, language: str) -> str:
    """A text in a language, or in the other where it is missing."""
    return (text.en or text.lo) if language == "en" else (text.lo or text.en)


def page_of(kind: Kind, identifier: str) -> str:
    """Where the page of something that was found is, below a language's folder."""
    if kind is Kind.SERVICE:
        return _service_page(ServiceId.parse(identifier))
    return f"{kind}s/{page_name(identifier)}"


def _service_page(service: ServiceRecord | ServiceId) -> str:
    identifier = service.id if isinstance(service, ServiceRecord) else service
    folder = page_name(identifier.member).removesuffix(".html")
    return f"services/{folder}/{page_name(identifier)}"
