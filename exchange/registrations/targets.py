"""The paths of target files, and which of them are whose."""

from __future__ import annotations

import re

from exchange.identifiers import MemberId, ServiceId

MAX_OPENAPI_BYTES = 2 << 20
MAX_SCHEMA_BYTES = 512 << 10
INSTANCE_TARGET = "instance.json"
ELEMENTS_TARGET = "elements.json"
MERGERS_TARGET = "mergers.json"
STANDING_TARGET = "standing.json"
MEMBER_FILE = "member.json"
FILE_NAME = re.compile(r"[A-Za-z0-9'()+,\-.=%]{1,200}\.json", re.ASCII)
_CODE_LIST_TARGET = re.compile(r"code-lists/[a-z0-9-]{1,80}\.json", re.ASCII)
_CONSENT_FILE = re.compile(r"consent\.[A-Za-z0-9.-]{1,120}\.json", re.ASCII)
_CONSENT_TARGET = re.compile(r"consents/[A-Za-z0-9-][A-Za-z0-9.-]{0,118}\.json", re.ASCII)
_SCHEMA_TARGET = re.compile(r"schemas/[a-z0-9-]{1,80}\.[0-9]{1,4}\.json", re.ASCII)


def member_target(member: MemberId, file_name: str = MEMBER_FILE) -> str:
    """The target path of one of a member's files."""
    return f"{member}/{file_name}"


def openapi_file(service: ServiceId) -> str:
    """The customary name of a service's OpenAPI file."""
    application, code = str(service).split("/")[3:]
    return f"openapi.{application}.{code}.json"


def is_own_target(path: str) -> bool:
    """Whether the registry's own role may hold this target, besides statements of keys."""
    return path in {INSTANCE_TARGET, ELEMENTS_TARGET, MERGERS_TARGET} or (
        is_schema_target(path) or is_code_list_target(path) or is_consent_target(path)
    )


def is_code_list_target(path: str) -> bool:
    """Whether ``path`` is that of a code list: ``code-lists/{name}.json``."""
    return _CODE_LIST_TARGET.fullmatch(path) is not None


def is_consent_file(name: str) -> bool:
    """Whether a member's file is a consent to a change of one of its services."""
    return _CONSENT_FILE.fullmatch(name) is not None


def is_consent_target(path: str) -> bool:
    """Whether ``path`` is that of a consent to a change of a shared schema."""
    return _CONSENT_TARGET.fullmatch(path) is not None


def is_schema_target(path: str) -> bool:
    """Whether ``path`` is that of a shared schema: ``schemas/{name}.{major}.json``."""
    return _SCHEMA_TARGET.fullmatch(path) is not None
