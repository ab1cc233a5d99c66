"""Which lines of a message a signature covers, from its header fields (RFC 9421 section 2)."""

from __future__ import annotations

import re
from binascii import b2a_base64

from exchange.messages.forms import BOUND_FIELDS, MAX_VALUE_LENGTH, component_of, is_plain
from exchange.messages.heads import Headers, RequestHead
from exchange.messages.signature import malformed
from exchange.problems import Code, Problem

MAX_HEADERS = 100
# RFC 9110 section 5.5: visible characters, obs-text, and spaces or tabs between them.
_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
DIGEST = '"content-digest"'
MESSAGE_ID = '"x-road-id"'


def require_fields(lines: dict[str, str], components: tuple[str, ...]) -> None:
    """See to it that the message has each of these fields.

    Raises:
        Problem: ``InvalidHeader`` with the first that is not there.
    """
    for component in components:
        if component not in lines:
            raise Problem(
                Code.INVALID_HEADER,
                where=component.strip('"'),
                detail=f"the message must have the header field {component} exactly once",
            )


def cover_unsigned(lines: dict[str, str], headers: Headers, required: tuple[str, ...]) -> None:
    """Cover a message that is to be signed, with the fields that it must have.

    Raises:
        Problem: as :func:`cover`; ``InvalidHeader`` when it is signed already.
    """
    field, signature_field = cover(lines, headers)
    if field or signature_field:
        raise Problem(
            Code.INVALID_HEADER,
            where="signature",
            detail="the message has a Signature or Signature-Input field already",
        )
    require_fields(lines, required)


def covered_lines(headers: Headers) -> dict[str, str]:
    """What a signature covers of header lines: components and their values.

    Raises:
        Problem: ``InvalidHeader``, ``MalformedSignature`` for lines that cannot be signed.
    """
    lines: dict[str, str] = {}
    cover(lines, headers)
    return lines


def cover(lines: dict[str, str], headers: Headers) -> tuple[str, str]:
    """Add every end-to-end field to ``lines``; return Signature-Input and Signature, or ``""``."""
    if len(headers) > MAX_HEADERS:
        raise Problem(
            Code.INVALID_HEADER,
            where="headers",
            detail=f"{len(headers)} header lines, at most {MAX_HEADERS} are accepted",
        )
    derived = len(lines)
    expected = derived
    signature_input: str | None = None
    signature: str | None = None
    for name, value in headers:
        component = component_of(name)
        if component:
            lines[component] = value
            expected += 1
        elif name == "signature-input":
            if signature_input is not None:
                raise malformed(name, "the field appears twice")
            signature_input = value
        elif name == "signature":
            if signature is not None:
                raise malformed(name, "the field appears twice")
            signature = value
    text = "\n".join(lines.values())
    if len(lines) != expected or not is_plain(text, expected):
        _cover_wrapped(lines, headers, derived)
    return signature_input or "", signature or ""


def _cover_wrapped(lines: dict[str, str], headers: Headers, derived: int) -> None:
    """The exact and slower way of :func:`cover`, for repeated, non-ASCII and strange values."""
    for component in list(lines)[derived:]:
        del lines[component]
    values: dict[str, list[str]] = {}
    for name, value in headers:
        component = component_of(name)
        if component:
            if len(value) > MAX_VALUE_LENGTH or not _VALUE.fullmatch(value):
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail=f"the value is longer than {MAX_VALUE_LENGTH} characters, has space "
                    "around it, or holds a control character",
                )
            values.setdefault(component, []).append(value)
    for component, group in values.items():
        if len(group) == 1 and group[0].isascii():
            lines[component] = group[0]
        else:
            lines[f"{component};bs"] = ", ".join(
                f":{b2a_base64(value.encode('latin-1'), newline=False).decode()}:"
                for value in group
            )


def bind(lines: dict[str, str], request: RequestHead) -> None:
    """Add the components of the request that its response covers."""
    found: dict[str, str] = {}
    for name, value in request.headers:
        if name in BOUND_FIELDS:
            if name in found or not (value.isascii() and value.isprintable()):
                raise Problem(
                    Code.INVALID_HEADER,
                    where=name,
                    detail=f"the request has {name} twice or not in printable ASCII",
                )
            found[name] = value
    lines['"@method";req'] = request.method
    lines['"@target-uri";req'] = request.target_uri
    for name in BOUND_FIELDS:
        if name not in found:
            raise Problem(
                Code.INVALID_HEADER, where=name, detail=f"the request to be answered has no {name}"
            )
        lines[f'"{name}";req'] = found[name]


def missing(detail: str) -> Problem:
    """A message without a signature of the profile."""
    return Problem(Code.MISSING_SIGNATURE, where="signature", detail=detail)
