"""RFC 9421 on the wire: the fields Signature-Input and Signature, and the signature base.

This is the narrow codec of the message path. It reads exactly one spelling of each field, the
canonical serialisation of RFC 8941, so what was received can be signed again as it stands:

- members are joined by ``", "``, components by one space, parameters by nothing;
- parameter values are strings without escapes or integers without leading zeros;
- a duplicate label or parameter is refused, although RFC 8941 would let the last one win.

Invariants:
- lengths are capped before anything is parsed;
- the only exception that leaves a parser is a :class:`~exchange.problems.Problem`;
- a label is never trusted: it is not signed (RFC 9421 section 7.2.5). Select by ``tag``.

Which components and parameters must be there, and their values, is the matter of
:mod:`exchange.messages.envelope`.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from exchange.problems import Code, Problem

Parameters: TypeAlias = Mapping[str, str | int]

MAX_FIELD_LENGTH = 16 * 1024
MAX_MEMBERS = 8

# Possessive repeats: no backtracking, so the time is linear in the length of the field.
_LABEL = r"[a-z*][a-z0-9_.*\-]*+"
_STRING = r'"[ !#-\[\]-~]*+"'
_INTEGER = r"(?:0|-?[1-9][0-9]{0,14}+)"
_PARAMETER = rf";[a-z*][a-z0-9_.*\-]*+=(?:{_STRING}|{_INTEGER})"
_INPUT_MEMBER = re.compile(rf"({_LABEL})=(\(([ -'*-~]*+)\)((?:{_PARAMETER})*+))", re.ASCII)
_PARAMETERS = re.compile(r';([^=]+)=(?:"([^"]*)"|([0-9-]+))', re.ASCII)
_SIGNATURE_MEMBER = re.compile(rf"({_LABEL})=:([A-Za-z0-9+/]++={{0,2}}):", re.ASCII)
_PARAMS_LINE = '"@signature-params": '


@dataclass(frozen=True, slots=True)
class SignatureInput:
    """One member of Signature-Input.

    Attributes:
        label: names the member; not signed.
        components: the covered components as written, separated by single spaces.
        parameters: the signature's metadata, in the order of the field.
        text: the member's value as written, which is the value of ``@signature-params``.
    """

    label: str
    components: str
    parameters: Parameters
    text: str

    def component_list(self) -> list[str]:
        """The covered components, each as written; empty when nothing is covered."""
        return self.components.split(" ") if self.components else []


def format_signature_input(components: Iterable[str], parameters: Parameters) -> str:
    """The value of one Signature-Input member, which is also that of ``@signature-params``.

    Args:
        components: serialised component identifiers, such as ``"content-type"`` with its quotes.
        parameters: strings without ``"`` and ``\\``, and integers.
    """
    tail = "".join(
        f";{name}={value}" if isinstance(value, int) else f';{name}="{value}"'
        for name, value in parameters.items()
    )
    return f"({' '.join(components)}){tail}"


def parse_signature_input(field: str) -> list[SignatureInput]:
    """All members of a Signature-Input field value.

    Raises:
        Problem: ``MalformedSignature`` if the field is longer than 16 KiB, has more than 8
            members, repeats a label or a parameter, or is not written canonically.
    """
    _check_length("signature-input", field)
    members: list[SignatureInput] = []
    end = len(field)
    position = 0
    while True:
        match = _INPUT_MEMBER.match(field, position)
        if match is None or len(members) == MAX_MEMBERS:
            raise malformed("signature-input", f"it cannot be read from character {position} on")
        label, text, components, tail = match.groups()
        members.append(SignatureInput(label, components, _parse_parameters(tail), text))
        position = match.end()
        if position == end:
            break
        if not field.startswith(", ", position):
            raise malformed("signature-input", f"it cannot be read from character {position} on")
        position += 2
    if len(members) > 1 and len({member.label for member in members}) < len(members):
        raise malformed("signature-input", "a label appears twice")
    return members


def _parse_parameters(tail: str) -> dict[str, str | int]:
    found = _PARAMETERS.findall(tail)
    parameters: dict[str, str | int] = {
        name: int(number) if number else text for name, text, number in found
    }
    if len(parameters) != len(found):
        raise malformed("signature-input", "a parameter appears twice")
    return parameters


def format_signature(label: str, signature: bytes) -> str:
    """A Signature field value with one member."""
    return f"{label}=:{b2a_base64(signature, newline=False).decode()}:"


def parse_signature(field: str) -> dict[str, bytes]:
    """The signatures of a Signature field value by their labels.

    Raises:
        Problem: ``MalformedSignature`` if the field is longer than 16 KiB, has more than 8
            members, repeats a label, or is not canonical base64 in a canonical field.
    """
    _check_length("signature", field)
    signatures: dict[str, bytes] = {}
    end = len(field)
    position = 0
    while True:
        match = _SIGNATURE_MEMBER.match(field, position)
        if match is None or len(signatures) == MAX_MEMBERS:
            raise malformed("signature", f"it cannot be read from character {position} on")
        label, text = match.groups()
        if label in signatures:
            raise malformed("signature", "a label appears twice")
        signatures[label] = _decode(text)
        position = match.end()
        if position == end:
            return signatures
        if not field.startswith(", ", position):
            raise malformed("signature", f"it cannot be read from character {position} on")
        position += 2


def own_signature(label: str, field: str) -> bytes | None:
    """The signature in a field that :func:`format_signature` writes; None for any other field."""
    start = len(label) + 2
    if field.startswith(f"{label}=:") and field[-1] == ":" and len(field) <= MAX_FIELD_LENGTH:
        try:
            signature = a2b_base64(field[start:-1], strict_mode=True)
        except (Error, ValueError):
            return None
        if signature and format_signature(label, signature) == field:
            return signature
    return None


def _decode(text: str) -> bytes:
    """Canonical base64 only: the unused bits of the last character must be zero."""
    try:
        value = a2b_base64(text, strict_mode=True)
    except Error as error:
        raise malformed("signature", "a value is not base64") from error
    if b2a_base64(value, newline=False).decode() != text:
        raise malformed("signature", "a value is not canonical base64")
    return value


def signature_base(components: Iterable[str], values: Mapping[str, str], params: str) -> bytes:
    """The signature base of RFC 9421 section 2.5.

    Args:
        components: serialised component identifiers in the order of ``params``.
        values: the value of each component; ASCII without line breaks.
        params: the value of ``@signature-params``.
    """
    rows = [f"{component}: {values[component]}\n" for component in components]
    return f"{''.join(rows)}{_PARAMS_LINE}{params}".encode()


def parse_signature_base(base: bytes) -> tuple[dict[str, str], SignatureInput]:
    """Read a recorded signature base back: component to value, and the parameters.

    An auditor who verified a signature over ``base`` learns here what was signed.

    Raises:
        Problem: ``MalformedSignature`` if ``base`` is not what :func:`signature_base` writes, or
            its lines are not the components that its parameters list.
    """
    try:
        *rows, last = base.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise malformed("signature base", "it holds a character outside ASCII") from error
    if not last.startswith(_PARAMS_LINE):
        raise malformed("signature base", "it does not end with @signature-params")
    (member,) = parse_signature_input(f"base={last[len(_PARAMS_LINE) :]}")[:1]
    lines: dict[str, str] = {}
    for row in rows:
        component, separator, value = row.partition(": ")
        if not separator or component in lines:
            raise malformed("signature base", "a line is malformed or appears twice")
        lines[component] = value
    written = signature_base(lines, lines, member.text)
    if list(lines) != member.component_list() or written != base:
        raise malformed("signature base", "its lines are not the components that it lists")
    return lines, member


def malformed(where: str, detail: str) -> Problem:
    """The problem of a signature field that breaks the grammar or the profile."""
    return Problem(Code.MALFORMED_SIGNATURE, where=where, detail=f"{where}: {detail}")


def _check_length(name: str, field: str) -> None:
    if len(field) > MAX_FIELD_LENGTH:
        raise malformed(name, f"it is longer than {MAX_FIELD_LENGTH} characters")
