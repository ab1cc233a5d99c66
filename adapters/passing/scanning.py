"""A scan of an HTTP API: its OpenAPI document in, a mapping that passes it through out.

Proposed are the operations that read; one that writes only when it is named. What the mapping
cannot say as the document does is left out and told as a doubt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import yaml

from adapters.mapping.head import FORMAT_VERSION
from adapters.mapping.reader import parse
from adapters.passing import openapi
from adapters.passing.documents import read_document, server_of
from adapters.passing.file import METHODS, read_mapping
from adapters.passing.model import ApiMapping
from adapters.passing.schemas import modern, referred
from adapters.scan.answering import invent, schema_of
from adapters.scan.scanned import Look, Scanned, Unsure
from adapters.sources.variables import VARIABLE
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem

_COMPONENT: Final = "#/components/schemas/"
_PATH: Final = re.compile(r"(/([A-Za-z0-9._~-]+|\{[^{}/]+\}))+", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_KINDS: Final = {"string": "string", "integer": "integer", "number": "decimal"}
# What YAML would read as a line's end or a mark within quotes.
_NOT_IN_QUOTES: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")


def scan(look: Look) -> Scanned:
    """Propose a mapping of the API that the document at ``look.source`` describes.

    Raises:
        Problem: ``SourceFailed`` when the document cannot be had; ``InvalidDocument`` when it is
            not OpenAPI 3; ``NotFound`` when no operation of it can be passed through.
    """
    proposal = _Proposal(read_document(look.source), look.source)
    for name, item in _mapping(proposal.document.get("paths")).items():
        for method in METHODS:
            if method in _mapping(item) and _wanted(look, method, name, proposal):
                proposal.add(method, name, item)
    if not proposal.endpoints:
        raise Problem(
            Code.NOT_FOUND, where=look.source, detail="there is no operation to pass through"
        )
    text = proposal.text(look.application, look.service)
    mapping = read_mapping(parse(text.encode(), "proposal"))  # what is handed out can be read back
    counts = {"operations": proposal.count, "schemas": len(proposal.schemas)}
    document = openapi.document(mapping, look.service)
    return Scanned(
        text,
        counts,
        proposal.unsure,
        schema=schema_of(document),
        test_data=invent(document, look.seed),
    )


def proposed(
    document: Mapping[str, Any], source: str, wanted: Callable[[str, str], bool]
) -> tuple[ApiMapping | None, Sequence[Unsure]]:
    """All that can be said of the operations of ``document`` that are ``wanted``, by method and
    path, as a mapping of one service; None when that is nothing."""
    proposal = _Proposal(document, source)
    for name, item in _mapping(document.get("paths")).items():
        for method in METHODS:
            if method in _mapping(item) and wanted(method.upper(), name):
                proposal.add(method, name, item)
    if not proposal.endpoints:
        return None, proposal.unsure
    text = proposal.text(ApplicationId.parse("X/X/X/x"), "api")
    return read_mapping(parse(text.encode(), "document")), proposal.unsure


def _wanted(look: Look, method: str, path: str, proposal: _Proposal) -> bool:
    place = f"{method.upper()} {path}"
    if look.only:
        return place in look.only
    if method != "get":
        proposal.doubt(place, "writes", "left out: it may write; name it with --table to have it")
    return method == "get"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


@dataclass(slots=True)
class _Proposal:
    """What is gathered while operations are read."""

    document: Mapping[str, Any]
    source: str
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    schemas: dict[str, Any] = field(default_factory=dict)
    unsure: list[Unsure] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.endpoints.values()))

    def doubt(self, place: str, code: str, words: str) -> None:
        self.unsure.append(Unsure(place, code, words))

    def add(self, method: str, path: str, item: Mapping[str, Any]) -> None:
        """One operation, if it can be said."""
        place, operation = f"{method.upper()} {path}", _mapping(item[method])
        if not _PATH.fullmatch(path):
            self.doubt(place, "path", "left out: such a path cannot be said")
            return
        names = {name: _plain(name) for name in re.findall(r"\{([^{}]+)\}", path)}
        public = path
        for name, plain in names.items():
            public = public.replace(f"{{{name}}}", f"{{{plain}}}")
        answers = dict(self._answers(place, operation))
        if not any(200 <= status < 300 for status in answers):
            self.doubt(place, "answers", "left out: no answer of a known type is declared")
            return
        title = str(operation.get("summary") or operation.get("operationId") or place)[:200]
        told: dict[str, Any] = {"title": {"en": title, "lo": title}}
        parameters, passed = self._parameters(place, item, operation, names)
        told |= {"parameters": parameters} if parameters else {}
        told |= {"pass_headers": passed} if passed else {}
        if "requestBody" in operation and method not in ("get", "delete"):
            node = self._resolved(operation["requestBody"])
            body = self._content(place, node, "body")
            told |= {"body": body | {"required": node.get("required") is True}} if body else {}
        self.endpoints.setdefault(public, {})[method] = told | {"answers": answers}

    def _parameters(
        self,
        place: str,
        item: Mapping[str, Any],
        operation: Mapping[str, Any],
        names: Mapping[str, str],
    ) -> tuple[dict[str, Any], list[str]]:
        given = {
            (str(one.get("name")), str(one.get("in"))): one
            for one in map(
                self._resolved,
                [*_items(item.get("parameters")), *_items(operation.get("parameters"))],
            )
        }
        found: dict[str, Any] = {}
        passed: list[str] = []
        for name, plain in names.items():
            declared = given.pop((name, "path"), {})
            found[plain] = self._parameter(declared) or {"type": "string"}
            found[plain].pop("required", None)
        for (name, where), one in given.items():
            said = self._parameter(one) if where == "query" else None
            if where == "header" and re.fullmatch(r"x-[a-z0-9-]{1,40}", name.lower()):
                passed.append(name.lower())
            elif said is None or _plain(name) in found:
                self.doubt(f"{place} {name}", "parameter", "left out: it cannot be said")
            else:
                found[_plain(name)] = said | ({"sent_as": name} if _plain(name) != name else {})
        return found, passed

    def _parameter(self, one: Mapping[str, Any]) -> dict[str, Any] | None:
        schema = _mapping(self._resolved(one.get("schema")))
        kind = schema.get("type")
        listed: dict[str, Any] = {}
        if kind == "array" and one.get("in") == "query":
            listed = _listed(one, schema)
            schema = _mapping(self._resolved(schema.get("items")))
            kind = schema.get("type") if listed else None
        if kind == "boolean":
            told: dict[str, Any] = {"type": "boolean"}
        elif isinstance(kind, str) and kind in _KINDS:
            told = {"type": "date" if schema.get("format") == "date" else _KINDS[kind]}
        else:
            return None
        if not one.get("required"):
            told["required"] = False
        if told["type"] == "string":
            told |= {key: schema[key] for key in ("pattern",) if isinstance(schema.get(key), str)}
            values = [value for value in _items(schema.get("enum")) if isinstance(value, str)]
            told |= {"values": values} if values else {}
        if told["type"] == "integer":
            bounds = ("minimum", "maximum")
            told |= {key: schema[key] for key in bounds if type(schema.get(key)) is int}
        told |= listed
        example = one.get("example", schema.get("example"))
        if isinstance(example, list) and listed:
            example = example[0] if example else None
        if isinstance(example, str | int) and not isinstance(example, bool):
            told["example"] = str(example)
        return told

    def _answers(
        self, place: str, operation: Mapping[str, Any]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for status, response in _mapping(operation.get("responses")).items():
            if not re.fullmatch(r"[245][0-9]{2}", str(status)):
                continue
            response = _mapping(self._resolved(response))
            content = self._content(place, response, str(status))
            if content is not None:
                yield int(status), content
            elif str(status)[0] == "2" and not response.get("content"):
                yield int(status), {} if str(status) in ("204", "205") else {"as": 204}

    def _content(self, place: str, node: Any, what: str) -> dict[str, Any] | None:
        content = _mapping(_mapping(node).get("content"))
        media = [kind for kind in content if re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", kind)]
        for kind in content:
            if kind not in media:
                self.doubt(f"{place} {what}", "media-type", f"left out: {kind}")
        if not media:
            return None
        told: dict[str, Any] = {"media_types": media}
        schema = _mapping(content[media[0]]).get("schema")
        if isinstance(schema, dict) and schema:
            told["schema"] = self._schema(place, what, schema)
        return told

    def _schema(self, place: str, what: str, schema: Mapping[str, Any]) -> str:
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith(_COMPONENT):
            name = reference.removeprefix(_COMPONENT)
        else:
            name = _plain(f"{place} {what}")
            self.schemas[name] = modern(schema)
        known = _mapping(_mapping(self.document.get("components")).get("schemas"))
        for other in (name, *referred(schema, known)):
            if other in known and other not in self.schemas:
                self.schemas[other] = modern(known[other])
        return name

    def _resolved(self, node: Any) -> Any:
        """A parameter, a response, a body or a schema behind one reference."""
        reference = _mapping(node).get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return _mapping(node)
        found: Any = self.document
        for step in reference[2:].split("/"):
            found = _mapping(found).get(step.replace("~1", "/").replace("~0", "~"))
        return _mapping(found)

    def _source(self) -> dict[str, Any]:
        url = urljoin(self.source if "://" in self.source else "", server_of(self.document))
        told: dict[str, Any] = {"kind": "http", "url": url.rstrip("/")}
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or "{" in url or parts.username or parts.query:
            told["url"] = "${API_URL}"
            self.doubt("source", "address", "the document tells none: set API_URL")
        schemes = _mapping(_mapping(self.document.get("components")).get("securitySchemes"))
        for name, scheme in schemes.items():
            match scheme:
                case {"type": "apiKey", "in": "header", "name": str(header)}:
                    told["headers"] = {header.lower(): "${API_KEY}"}
                case {"type": "http", "scheme": "basic"}:
                    told["basic"] = {"user": "${API_USER}", "password": "${API_PASSWORD}"}
                case {"type": "http", "scheme": "bearer"}:
                    told["headers"] = {"authorization": "Bearer ${API_TOKEN}"}
                case _:
                    self.doubt("source", "access", f"{name} cannot be said: ask the API's owner")
                    continue
            variables = [*dict.fromkeys(VARIABLE.findall(str(told)))]
            words = f"{name} is taken from the environment: export {'=… '.join(variables)}=…"
            self.doubt("source", "access", words)
            break
        return told

    def text(self, application: ApplicationId, service: str) -> str:
        """The mapping as YAML."""
        title = str(_mapping(self.document.get("info")).get("title", service))[:200]
        texts = {"en": title, "lo": title}
        source = self._source()
        head = {
            "saphan_mapping": FORMAT_VERSION,
            "application": str(application),
            "title": texts,
            "source": source,
        }
        services = {"services": {service: {"title": texts, "endpoints": self.endpoints}}}
        doubts = [f"# unsure, {one.code}: {one.place}: {one.words}" for one in self.unsure]
        named = [f"  {name}: {_json(schema)}" for name, schema in self.schemas.items()]
        return "\n".join(
            [
                *(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "?", line) for line in doubts),
                _yaml(head),
                *(["schemas:", *named] if named else []),
                _yaml(services),
                "",
            ]
        )


def _listed(one: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """How a list is written (OpenAPI 3.1, 4.8.12); nothing for a way that cannot be said."""
    style = one.get("style", "form")
    if one.get("explode", style == "form") is True:
        way = {"form": "repeated"}.get(style)
    else:
        way = {"form": "comma", "pipeDelimited": "pipe", "spaceDelimited": "space"}.get(style)
    most = schema.get("maxItems")
    told: dict[str, Any] = {} if way is None else {"list": way}
    return told | ({"max_items": most} if way and type(most) is int and 0 < most <= 100 else {})


def _plain(name: str) -> str:
    """A name of letters, digits and ``_`` that is like this one."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return plain if _NAME.fullmatch(plain) else f"p_{plain}"


def _yaml(tree: Any) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100).rstrip()


def _json(schema: Any) -> str:
    text = json.dumps(schema, ensure_ascii=False)
    return _NOT_IN_QUOTES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
