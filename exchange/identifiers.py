"""X-Road identifiers of members, applications, services and servers.

Invariants:
- every code is 1 to 255 characters of X-Road's strict set ``A-Z a-z 0-9 ' ( ) + , - . = ?``
  (X-Road admin UI, ``strict-identifier-checks``; PR-REST 1.0.4 section 4.8) and is not ``.``
  or ``..``, which an HTTP intermediary could resolve away;
- ``parse(str(x)) == x`` and ``str(parse(text)) == text``: there is one spelling of an identifier.

The text form is the codes joined by ``/``, each percent-encoded separately (RFC 3986). Of the
strict set only ``?`` needs encoding (``%3F``).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Self, cast

from exchange.problems import Code, Problem

MAX_CODE_LENGTH = 255
MAX_ENCODED_LENGTH = 3 * MAX_CODE_LENGTH  # every character a "?"
_CODE = re.compile(r"[A-Za-z0-9'()+,\-.=?]{1,255}", re.ASCII)
_ENCODED_CODE = re.compile(r"(?:[A-Za-z0-9'()+,\-.=]|%3F){1,765}", re.ASCII)


def check_code(code: str, where: str) -> str:
    """Return ``code`` if it is a valid X-Road code.

    Raises:
        Problem: ``InvalidIdentifier`` at ``where`` when the code is empty, longer than 255
            characters, holds a character outside the strict set, or is ``.`` or ``..``.
    """
    if not _CODE.fullmatch(code) or code in {".", ".."}:
        raise Problem(
            Code.INVALID_IDENTIFIER,
            where=where,
            detail=f"{code[:80]!r} is not a code of 1 to 255 characters A-Z a-z 0-9 '()+,-.=?",
        )
    return code


def decode_code(segment: str, where: str) -> str:
    """Decode one percent-encoded path segment into a code.

    Only the canonical spelling is accepted (``?`` as ``%3F``, everything else literal).

    Raises:
        Problem: ``InvalidIdentifier`` at ``where`` for any other spelling.
    """
    if not _ENCODED_CODE.fullmatch(segment):
        raise Problem(
            Code.INVALID_IDENTIFIER,
            where=where,
            detail=f"{segment[:80]!r} is not a canonically percent-encoded X-Road code",
        )
    # A registry of many members says the same few codes in each of its identifiers.
    return check_code(sys.intern(segment.replace("%3F", "?")), where)


def _encode(code: str) -> str:
    return code.replace("?", "%3F")


@dataclass(frozen=True, slots=True, order=True)
class _Identifier:
    """Shared grammar: ``FIELDS`` codes in their order, validated on construction."""

    FIELDS: ClassVar[tuple[str, ...]] = ()
    NOUN: ClassVar[str] = "identifier"

    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = [getattr(self, name) for name in self.FIELDS]
        for name, code in zip(self.FIELDS, codes, strict=True):
            check_code(code, f"{self.NOUN} {name}")
        object.__setattr__(self, "_text", "/".join(map(_encode, codes)))

    def __str__(self) -> str:
        return self._text

    @classmethod
    def parse(cls, text: str, where: str = "") -> Self:
        """Parse the canonical text form.

        Raises:
            Problem: ``InvalidIdentifier`` at ``where`` when the number of codes is wrong or a
                code is not canonical.
        """
        # The same few identifiers come with every message, so reading one again is a look-up.
        # Long ones are not kept: nobody can fill the memory with them.
        read = _read if len(text) <= 256 else _read.__wrapped__
        kind = cast(Hashable, cls)  # for mypy, to whom a class of unknown subclass is not hashable
        return cast(Self, read(kind, text, where or cls.NOUN))


@lru_cache(maxsize=4096)
def _read(kind: type[_Identifier], text: str, where: str) -> _Identifier:
    longest = len(kind.FIELDS) * (MAX_ENCODED_LENGTH + 1) - 1
    if len(text) > longest:
        raise Problem(
            Code.INVALID_IDENTIFIER,
            where=where,
            detail=f"the text is longer than {longest} characters",
        )
    parts = text.split("/")
    if len(parts) != len(kind.FIELDS):
        raise Problem(
            Code.INVALID_IDENTIFIER,
            where=where,
            detail=f"{text[:120]!r} has {len(parts)} part(s); {kind.NOUN} identifiers have "
            f"{len(kind.FIELDS)}: {'/'.join(kind.FIELDS)}",
        )
    return kind(*(decode_code(part, where) for part in parts))


@dataclass(frozen=True, slots=True, order=True)
class MemberId(_Identifier):
    """A member of an instance, such as ``LA/GOV/MPI``."""

    FIELDS: ClassVar[tuple[str, ...]] = ("instance", "member_class", "member_code")
    NOUN: ClassVar[str] = "member"

    instance: str
    member_class: str
    member_code: str


@dataclass(frozen=True, slots=True, order=True)
class ApplicationId(_Identifier):
    """An application (X-Road: subsystem) of a member, such as ``LA/GOV/MPI/oda-mis``."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "instance",
        "member_class",
        "member_code",
        "application_code",
    )
    NOUN: ClassVar[str] = "application"

    instance: str
    member_class: str
    member_code: str
    application_code: str

    @property
    def member(self) -> MemberId:
        return _member(self.instance, self.member_class, self.member_code)


@dataclass(frozen=True, slots=True, order=True)
class ServiceId(_Identifier):
    """A service of an application, such as ``LA/GOV/MPI/oda-mis/projects``."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "instance",
        "member_class",
        "member_code",
        "application_code",
        "service_code",
    )
    NOUN: ClassVar[str] = "service"

    instance: str
    member_class: str
    member_code: str
    application_code: str
    service_code: str

    @property
    def application(self) -> ApplicationId:
        return _application(
            self.instance, self.member_class, self.member_code, self.application_code
        )

    @property
    def member(self) -> MemberId:
        return _member(self.instance, self.member_class, self.member_code)


@dataclass(frozen=True, slots=True, order=True)
class ServerId(_Identifier):
    """A security server of a member, such as ``LA/GOV/MPI/ss1``."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "instance",
        "member_class",
        "member_code",
        "server_code",
    )
    NOUN: ClassVar[str] = "server"

    instance: str
    member_class: str
    member_code: str
    server_code: str

    @property
    def member(self) -> MemberId:
        return _member(self.instance, self.member_class, self.member_code)


# The owner of an identifier is asked for with every message.
_member = lru_cache(maxsize=4096)(MemberId)
_application = lru_cache(maxsize=4096)(ApplicationId)
