"""A request that writes, as an adapter understands it: statements, stored values, conditions.

Everything that a caller can get wrong without knowing the source is found here, and is a
:class:`adapters.answers.requests.Fault`. Nothing here touches the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

from adapters.answers.masking import profile_of
from adapters.answers.requests import Fault, Plan, bad, plan
from adapters.fields import Field, Mismatch
from adapters.mapping.callers import NOBODY, Caller
from adapters.mapping.model import Change, Parameter, Write
from adapters.mapping.parameters import parameter_value
from adapters.writes.ledger import Message
from adapters.writes.values import of_text, read_json, stored, text_of
from exchange.agreements import RowCondition
from exchange.problems import Code
from serving.backends import BackendRequest, Headers

MERGE_TYPE = "application/merge-patch+json"
_ID = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"', re.ASCII)
_LONGEST = 8_000
UNFIT_STATUS = 422


@dataclass(frozen=True, slots=True)
class Who:
    """Who writes, and what of the records that is allowed to see.

    Args:
        rows: conditions that the agreement sets on every record.
        today: the day in the source's zone, where it has one.
    """

    rows: tuple[RowCondition, ...] = ()
    caller: Caller = NOBODY
    today: date | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What to do: values by the names in the statements, and what the record must be before.

    ``absent`` are the names that a PATCH leaves as they are; ``texts`` the key's values as a path
    would have them, as far as the request gives them; ``tags`` those of ``If-Match`` (None: any).
    """

    write: Write
    message: Message
    values: Mapping[str, Any]
    absent: frozenset[str]
    texts: Mapping[str, str]
    tags: frozenset[str] | None
    who: Who

    @property
    def looks_before(self) -> bool:
        """Whether the record must be read before it is changed."""
        if self.write.change is Change.CREATE:
            return False
        narrowed = bool(self.who.rows) or bool(self.write.read.rights)
        return narrowed or self.tags is not None or bool(self.absent)

    def read(self, returned: Mapping[str, Any] | None = None) -> Plan:
        """The plan that reads the record back by its key.

        Args:
            returned: values of JSON, by field, that statements gave.
        """
        texts = dict(self.texts)
        for name, value in (returned or {}).items():
            texts[name] = text_of(value)
        key = {name: texts[name] for name in self.write.key}
        who = self.who
        return plan(self.write.read, key, "", who.rows, who.caller, who.today)


def ask(
    write: Write,
    variables: Mapping[str, str],
    request: BackendRequest,
    body: bytes,
    who: Who,
) -> Asked:
    """Read a request for ``write`` whose ``body`` its contract let pass.

    Raises:
        Fault: 400 with the place of what is missing or malformed; 422 for a value that its field
            does not have; 403 for a member that the caller sees masked; 428 when the record's
            entity tag is needed.
    """
    if request.query:
        raise bad("query", "a request that writes has no parameters")
    message = _message(write, request, body, who.caller)
    tags = _tags(request.headers)
    if tags is not None and write.change is Change.CREATE:
        raise bad("header.if-match", "what is not there yet has no entity tag")
    if tags is None and write.match_needed:
        detail = "read the record first and send its ETag as If-Match"
        raise bad("header.if-match", detail, status=428)
    content = read_json(body) if body else {}
    if not isinstance(content, dict):
        raise bad("body", "must be an object")
    values, texts, absent = _values(write, variables, content)
    _check_used(write, variables, content)
    _check_seen(write, who.caller, frozenset(values) - absent)
    values |= {"saphan_client": message.client, "saphan_id": message.id}
    return Asked(write, message, values, absent, texts, tags, who)


def _message(write: Write, request: BackendRequest, body: bytes, caller: Caller) -> Message:
    identifier = _header(request.headers, "x-road-id")
    if not identifier:
        detail = "a request that writes names its id, so that a repeat of it writes nothing twice"
        raise bad("header.x-road-id", detail)
    client = _header(request.headers, "x-road-client") or "-"
    for name, value in (("x-road-id", identifier), ("x-road-client", client)):
        if not _ID.fullmatch(value):
            raise bad(f"header.{name}", "must be 1 to 255 visible ASCII characters")
    parts = (
        request.method,
        write.path,
        request.path,
        _header(request.headers, "content-type"),
        _header(request.headers, "if-match"),
        # Who sees what of the answer that is kept may depend on these.
        caller.agreement,
        caller.purpose,
    )
    digest = sha256("\n".join(parts).encode() + b"\n" + body).hexdigest()
    return Message(client, identifier, digest)


def _header(headers: Headers, wanted: str) -> str:
    found = [value for name, value in headers if name == wanted]
    if len(found) > 1 and wanted != "if-match":
        raise bad(f"header.{wanted}", "appears twice")
    return ", ".join(found)


def _tags(headers: Headers) -> frozenset[str] | None:
    """The entity tags of ``If-Match`` (RFC 9110, 13.1.1); ``*`` is any record."""
    text = _header(headers, "if-match").strip()
    if not text:
        return None
    if len(text) > _LONGEST:
        raise bad("header.if-match", f"is longer than {_LONGEST} characters")
    if text == "*":
        return frozenset({"*"})
    tags = [word.strip() for word in text.split(",")]
    if not all(_TAG.fullmatch(tag) for tag in tags):
        raise bad("header.if-match", "must be entity tags, or *")
    return frozenset(tags)


def _values(
    write: Write, variables: Mapping[str, str], content: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str], frozenset[str]]:
    values: dict[str, Any] = {}
    texts: dict[str, str] = dict(variables)
    absent: set[str] = set()
    for name, field in write.fields.items():
        if name in variables:
            values[name] = _fitting(f"path.{name}", of_text, field, variables[name])
    for name, field in write.members.items():
        given = _member(content, field.path)
        if given is _NOTHING and write.method == "PATCH":
            absent.add(name)
            continue
        value = None if given is _NOTHING else given
        values[name] = _fitting(f"body#{field.pointer}", stored, field, value)
        if field.name in write.key and value is not None:
            texts[field.name] = text_of(value)
    for name, parameter in write.parameters.items():
        values[name] = _parameter(name, parameter, variables, content)
    for name in write.key:
        if name not in texts and name not in write.returned:
            raise bad(f"body#/{name.replace('.', '/')}", "is needed here", status=UNFIT_STATUS)
    return values, texts, frozenset(absent)


def _fitting(where: str, convert: Any, field: Field, value: Any) -> Any:
    try:
        return convert(field, value)
    except Mismatch as mismatch:
        status = 400 if where.startswith("path") else UNFIT_STATUS
        raise bad(where, mismatch.rule, Code.SCHEMA_VIOLATION, status) from mismatch


def _parameter(
    name: str, parameter: Parameter, variables: Mapping[str, str], content: Mapping[str, Any]
) -> Any:
    if name in variables:
        return parameter_value(parameter, variables[name], f"path.{name}")
    value = content.get(name)
    if isinstance(value, dict | list):
        raise bad(f"body#/{name}", "must be a plain value", status=UNFIT_STATUS)
    try:
        return parameter_value(
            parameter, None if value is None else text_of(value), f"body#/{name}"
        )
    except Fault as fault:
        raise bad(fault.where, fault.detail, Code.SCHEMA_VIOLATION, UNFIT_STATUS) from fault


class _Nothing:
    """A member that the body does not have, which is not one that is null."""


_NOTHING = _Nothing()


def _member(content: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if not isinstance(content, dict) or step not in content:
            # RFC 7396: what stands around a member is changed with it, and null takes all away.
            return None if content is None else _NOTHING
        content = content[step]
    return content


def _check_used(write: Write, variables: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """What the body says is written, or is what the path says; nothing is dropped in silence."""
    known = {field.path for field in write.members.values()}
    known |= {(name,) for name in write.parameters}
    for path, value in _leaves(content, ()):
        where = "body#/" + "/".join(path)
        if any(path[: len(one)] == one or one[: len(path)] == path for one in known):
            continue
        name = ".".join(path)
        if name not in variables:
            raise bad(where, "is not written here", Code.SCHEMA_VIOLATION, UNFIT_STATUS)
        if value is not None and text_of(value) != variables[name]:
            raise bad(where, "is not what the path says", Code.SCHEMA_VIOLATION, UNFIT_STATUS)


def _check_seen(write: Write, caller: Caller, written: frozenset[str]) -> None:
    """Who does not see a member whole cannot change what others see of it."""
    if write.change is not Change.UPDATE:
        return
    masked = {name for name, _ in profile_of(write.read.record.masks, caller)}
    for name, field in write.members.items():
        if name in written and field.name in masked:
            detail = "is not shown whole to this caller, and so not changed"
            raise bad(f"body#{field.pointer}", detail, Code.ACCESS_DENIED, 403)


def _leaves(content: Any, path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    if isinstance(content, dict) and content:
        for name, value in content.items():
            yield from _leaves(value, (*path, name))
    elif path:
        yield path, content
