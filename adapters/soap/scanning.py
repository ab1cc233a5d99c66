"""Scanning a WSDL: a mapping of its operations that can be read as it is.

What an operation does is guessed by its name. What may change something is proposed as a comment,
unless it was asked for by its name: to open it is the owner's decision. Every guess that matters is
a doubt beside its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Any

import yaml

from adapters.kinds import read_node
from adapters.mapping.head import FORMAT_VERSION
from adapters.mapping.parameters import RESERVED_PARAMETERS
from adapters.mapping.reader import parse
from adapters.scan.inferring import PERSONAL_NAMES, SECRET_NAMES, DoubtCode
from adapters.scan.scanned import Look, Scanned, Unsure
from adapters.soap.documents import Documents, is_url
from adapters.soap.lexical import Habits
from adapters.soap.rules import Path
from adapters.soap.schemas import components
from adapters.soap.shapes import Complex, Lexical, Member, Simple, Types
from adapters.soap.wsdl import BadWsdl, Contract, Operation, SeveralPorts, read_contract
from exchange.problems import Code, Problem

MOST_PARAMETERS = 40
ADDRESS = "SERVICE_URL"
"""The variable of an address that the WSDL does not tell."""
_DEPTH = 6
_READS = re.compile(
    r"(get|find|list|search|query|read|look_?up|fetch|retrieve|count|check|verify|is|has)(_|$)"
)
_LISTS = re.compile(r"(find|list|search|query|get_all)(_|$)")
_MISSING = re.compile(r"unknown|not_?found|no_?such|missing|not_?exist|no_?record")
_INVALID = re.compile(r"invalid|illegal|malformed|bad_|wrong|validation|incorrect")
_BASE64 = '"contentEncoding": "base64"'
_BASE64_FORM = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")


class SoapDoubt(StrEnum):
    """What the scan of a WSDL is unsure of, besides what every scan is."""

    MAY_WRITE = "may-write"
    UNUSABLE = "operation-not-usable"
    FAULT = "fault"
    PORT = "port"
    HEADER = "soap-header"
    ADDRESS = "address"


def scan(look: Look) -> Scanned:
    """Propose a mapping of the operations of a WSDL, a URL or a file.

    Raises:
        Problem: ``NotFound`` for a WSDL that cannot be read, or has no operation that can be asked.
    """
    try:
        contract, others = _read(look.source, look.folder)
    except BadWsdl as error:
        raise Problem(Code.NOT_FOUND, where=look.source, detail=str(error)) from error
    proposal = _Proposal(contract, frozenset(look.only))
    port: list[str] = []
    if others:
        words = f"the WSDL has other ports, which are left out: {', '.join(others)}"
        port = [
            proposal.doubt(contract.port, SoapDoubt.PORT, words),
            f"port: {_flow(contract.port)}",
        ]
    wanted = [
        one for name, one in contract.operations.items() if not look.only or name in look.only
    ]
    blocks = [block for one in wanted if (block := proposal.endpoint(one)) is not None]
    look.progress(len(blocks))
    if not blocks:
        why = "; ".join(f"{one.place}: {one.words}" for one in proposal.unsure)[:500]
        detail = f"the WSDL has no operation that can be asked ({why or 'there is none'})"
        raise Problem(Code.NOT_FOUND, where=look.source, detail=detail)
    place = look.source if is_url(look.source) else _relative(look.source, look.folder)
    addressed = all(is_url(one.address) for one in wanted)
    if not addressed:
        words = f"the WSDL does not say where the service is: set {ADDRESS}"
        proposal.doubt(contract.port, SoapDoubt.ADDRESS, words)
    text = "\n".join(_lines(look, place, port, blocks, addressed=addressed)) + "\n"
    if not is_url(look.source):
        # What is handed out can be read back; one of a URL would be kept beside it.
        read_node(parse(text.encode(), "proposal", look.folder))
    members = sum(len(list(one.members)) for one in contract.types.values())
    counts = {"operations": len(blocks), "members": members}
    schema = _schema(contract, wanted)
    records = [name for name in dict.fromkeys(proposal.records) if name in schema["$defs"]]
    return Scanned(text, counts, proposal.unsure, schema=schema, records=records)


def _schema(contract: Contract, operations: Sequence[Operation]) -> dict[str, Any]:
    """The inputs and outputs of the operations, as far as they are objects."""
    messages = [one for operation in operations for one in (operation.input, operation.output)]
    roots = [one.type for one in messages if one is not None]
    schemas = components(roots, contract.types, Habits())
    text = json.dumps(schemas).replace('"#/components/schemas/', '"#/$defs/')
    # As of tables, what is handed out says more than the contract, where nothing is judged by it.
    text = text.replace(_BASE64, f'{_BASE64}, "pattern": "{_BASE64_FORM}"')
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": json.loads(text)}


def _read(source: str, folder: FilePath) -> tuple[Contract, list[str]]:
    """What the WSDL promises, of the first port where one must be chosen; then also the others."""
    try:
        return read_contract(Documents(source, folder=folder)), []
    except SeveralPorts as several:
        first, *others = several.ports
        return read_contract(Documents(source, folder=folder), first), others


def _relative(source: str, folder: FilePath) -> str:
    path = FilePath(source).resolve()
    try:
        return path.relative_to(folder.resolve()).as_posix()
    except ValueError:
        return str(path)


def _lines(
    look: Look, place: str, port: Sequence[str], blocks: Sequence[_Block], *, addressed: bool
) -> Iterator[str]:
    yield f"saphan_mapping: {FORMAT_VERSION}"
    yield f"application: {look.application}"
    yield f"title: {_texts(look.application.application_code)}"
    yield ""
    yield "source:"
    yield "  kind: soap"
    yield f"  wsdl: {_flow(place)}"
    yield from (f"  {line}" for line in port)
    if addressed:
        yield "  # address: https://…  # where the service is elsewhere than the WSDL says"
    else:
        yield f"  address: ${{{ADDRESS}}}  # the WSDL does not say where the service is"
    yield "  zone: Asia/Vientiane  # of times that name none"
    yield ""
    yield "services:"
    yield f"  {look.service}:"
    yield f"    title: {_texts(look.service)}"
    yield "    endpoints:"
    open_ones = any(not block.closed for block in blocks)
    for block in blocks:
        # A service needs an endpoint: where all may write, they are proposed as they are.
        mark = "#" if block.closed and open_ones else ""
        yield from (f"      {mark}{line}" for line in block.lines)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000
    )
    return str(text).removesuffix("...\n").strip()


def _texts(name: str) -> str:
    return _flow({"en": name[:500], "lo": name[:500]})


def _snake(name: str) -> str:
    words = [word for word in _WORDS.split(name) if word]
    return "_".join(words).lower()


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines of one endpoint; ``closed`` when to open it is left to the owner."""

    lines: list[str]
    closed: bool


@dataclass(slots=True)
class _Proposal:
    contract: Contract
    named: frozenset[str]
    unsure: list[Unsure] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    records: list[str] = field(default_factory=list)
    """The types of what is answered, and of bodies."""

    def doubt(self, place: str, code: str, words: str) -> str:
        self.unsure.append(Unsure(place, code, words))
        return f"# unsure, {code}: {words}"

    def endpoint(self, operation: Operation) -> _Block | None:
        """The lines of an endpoint, None for an operation that cannot be asked."""
        types, output = self.contract.types, operation.output
        if operation.unusable is not None or output is None or isinstance(output.type, Simple):
            words = operation.unusable or "it answers nothing that has members"
            self.doubt(operation.name, SoapDoubt.UNUSABLE, words)
            return None
        word = _snake(operation.name)
        several, answer = _answer(output, types, bool(_LISTS.match(word)))
        found = _parameters(operation.input, types)
        writes = not _READS.match(word) or found is None
        lines = [f"operation: {'list' if several else 'one'}", f"call: {_flow(operation.name)}"]
        if writes:
            words = "by its name it may change something; POST is never sent a second time"
            lines += [self.doubt(operation.name, SoapDoubt.MAY_WRITE, words), "method: POST"]
        lines.append(f"title: {_texts(operation.name)}")
        keys: list[str] = []
        self.records += [*_type_at(output, answer, types)]
        if writes:
            if operation.input is not None:
                self.records += [*_type_at(operation.input, _body(operation.input, types), types)]
                lines.append(f"body: {'.'.join(_body(operation.input, types)) or '.'}")
        elif found:
            keys = [] if several else [one.name for one in found if one.required][:3]
            lines.append("parameters:")
            lines += [f"  {one.line()}" for one in found]
        if operation.headers:
            words = "it may need the header " + ", ".join(one.name for one in operation.headers)
            lines.append(self.doubt(operation.name, SoapDoubt.HEADER, words + " (soap_header)"))
        if answer:
            lines.append(f"answer: {'.'.join(answer)}")
        lines += self._faults(operation)
        lines += self._personal(operation, answer)
        path = self._path(word, keys)
        closed = writes and operation.name not in self.named
        return _Block([f"{path}:", *(f"  {line}" for line in lines)], closed)

    def _path(self, word: str, keys: Sequence[str]) -> str:
        stem = _READS.sub("", word, count=1) or word
        tail = "".join(f"/{{{key}}}" for key in keys)
        for name in (stem, word, *(f"{word}_{index}" for index in range(2, 1_000))):
            path = f"/{name.replace('_', '-')}"
            shape = path + "/{}" * len(keys)
            if shape not in self.paths:
                self.paths.add(shape)
                return path + tail
        raise Problem(Code.NOT_FOUND, where=word, detail="too many operations of one name")

    def _faults(self, operation: Operation) -> Iterator[str]:
        known = {}
        for name in operation.faults:
            word = _snake(name)
            if _MISSING.search(word):
                known[name] = "not_found"
            elif _INVALID.search(word):
                known[name] = "invalid"
            else:
                words = f"what the fault {name} means to a caller is not known"
                yield self.doubt(f"{operation.name}.{name}", SoapDoubt.FAULT, words)
        if known:
            yield f"faults: {_flow(known)}"

    def _personal(self, operation: Operation, answer: Path) -> Iterator[str]:
        member = operation.output
        for name in answer:
            member = None if member is None else _shape(member, self.contract.types, name)
        shape = None if member is None else self.contract.types.get(str(member.type))
        for inner in () if shape is None else shape.members:
            word = _snake(inner.name)
            place = f"{operation.name}.{inner.name}"
            for code, pattern, words in (
                (DoubtCode.PERSONAL, PERSONAL_NAMES, "is likely personal data, by its name"),
                (DoubtCode.SECRET, SECRET_NAMES, "is likely a password or a key, by its name"),
            ):
                if pattern.search(word):
                    yield self.doubt(place, code, f"{inner.name} {words}")


def _type_at(member: Member | None, path: Path, types: Types) -> Iterator[str]:
    """The name of the type of the object at ``path``."""
    for name in path:
        member = None if member is None else _shape(member, types, name)
    if member is not None and isinstance(member.type, str):
        yield member.type


def _shape(member: Member, types: Types, name: str) -> Member | None:
    return types[member.type].member(name) if isinstance(member.type, str) else None


# Where the record is.


def _answer(output: Member, types: Types, lists: bool) -> tuple[bool, Path]:
    """Whether the operation answers a list, and where it is, or the record."""
    path: Path = ()
    member = output
    for _ in range(_DEPTH):
        shape = types[str(member.type)]
        inner = _only(shape)
        if inner is None:
            break
        path, member = (*path, inner.name), inner
        if inner.repeated:
            return True, path
    if lists:
        found = list(_repeated(member, types, path, _DEPTH))
        if len(found) == 1:
            return True, found[0]
    return False, path


def _only(shape: Complex) -> Member | None:
    members = list(shape.members)
    only = members[0] if len(members) == 1 else None
    return only if only is not None and isinstance(only.type, str) else None


def _repeated(member: Member, types: Types, path: Path, depth: int) -> Iterator[Path]:
    if depth == 0 or not isinstance(member.type, str):
        return
    for inner in types[member.type].elements:
        if inner.repeated and isinstance(inner.type, str):
            yield (*path, inner.name)
        elif not inner.repeated:
            yield from _repeated(inner, types, (*path, inner.name), depth - 1)


# What is asked.


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    path: Path
    required: bool
    example: str | None

    def line(self) -> str:
        place = ".".join(self.path)
        if self.example is None:
            return f"{self.name}: {_flow(place)}"
        return f"{self.name}: {_flow({'member': place, 'example': self.example})}"


def _parameters(message: Member | None, types: Types) -> list[_Found] | None:
    """The parameters of a message of single values; None when it needs more than those."""
    if message is None:
        return []
    if isinstance(message.type, Simple):
        return None
    leaves = list(_leaves(message, types, (), True, _DEPTH))
    found: list[_Found] = []
    for path, member, required in leaves:
        simple = member.type
        if not isinstance(simple, Simple) or simple.listed:
            if required:
                return None
            continue
        names = (_snake(path[-1]), _snake("_".join(path)))
        taken = {one.name for one in found} | RESERVED_PARAMETERS
        name = next((one for one in names if one not in taken and _is_name(one)), None)
        if name is None or len(found) == MOST_PARAMETERS:
            if required:
                return None
            continue
        found.append(_Found(name, path, required, _example(simple)))
    return found


def _is_name(word: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]{0,40}", word, re.ASCII) is not None


def _example(simple: Simple) -> str | None:
    if simple.values:
        return simple.values[0]
    return "true" if simple.kind is Lexical.BOOLEAN else None


def _leaves(
    member: Member, types: Types, path: Path, required: bool, depth: int
) -> Iterator[tuple[Path, Member, bool]]:
    """Members that hold single values, and those that needed more: their paths and whether needed.

    An optional object with members of its own that it needs is passed over: one parameter alone
    could not make it.
    """
    shape = types[str(member.type)]
    if not shape.ordered or shape.choices or shape.abstract or depth == 0:
        yield path, member, required
        return
    for inner in shape.members:
        needed = required and inner.minimum > 0
        place = (*path, inner.name)
        if isinstance(inner.type, Simple):
            yield place, inner, needed
        elif inner.repeated:
            if needed:
                yield place, inner, True
        elif needed or not any(one.minimum for one in types[inner.type].members):
            yield from _leaves(inner, types, place, needed, depth - 1)


def _body(message: Member, types: Types) -> Path:
    """Where a body goes: into the only member of the message, if that has members itself."""
    inner = _only(types[message.type]) if isinstance(message.type, str) else None
    return () if inner is None or inner.repeated else (inner.name,)
