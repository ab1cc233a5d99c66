"""Registrations: what the registry publishes of an instance and what a member says of itself.

The documents are target files of the TUF repository (docs/architecture.md, Trust):

- ``instance.json``, signed by the registry's targets keys: :class:`InstanceRecord`;
- ``{member}/member.json``, signed by the member's own key: :class:`MemberRecord`.

Invariants:
- ``parse_member(format_member(record), record.member) == record``, likewise for instances;
- everything in a member's document belongs to that member: servers, applications, services;
- an application names servers, a service an application and, if it is of type ``OPENAPI``, a
  target file next to the document that holds its OpenAPI description.

Not checked here: certificates (:mod:`exchange.trust.admission` judges them at a time), signatures
(TUF), and that a server of another member agrees to host an application.

Parts: :mod:`~exchange.registrations.values`, :mod:`~exchange.registrations.targets`,
:mod:`~exchange.registrations.instance`, :mod:`~exchange.registrations.member`,
:mod:`~exchange.registrations.reading`.
"""

from exchange.registrations.instance import (
    MAX_INSTANCE_BYTES,
    MAX_LOG_KEYS,
    format_instance,
    parse_instance,
)
from exchange.registrations.member import (
    MAX_APPLICATIONS,
    MAX_MEMBER_BYTES,
    MAX_MOVES,
    MAX_SERVERS,
    MAX_SERVICES,
    format_member,
    parse_address,
    parse_member,
)
from exchange.registrations.reading import MAX_CERTIFICATE_CHARS, MAX_CERTIFICATES, pem
from exchange.registrations.targets import (
    ELEMENTS_TARGET,
    INSTANCE_TARGET,
    MAX_OPENAPI_BYTES,
    MAX_SCHEMA_BYTES,
    MEMBER_FILE,
    MERGERS_TARGET,
    STANDING_TARGET,
    is_code_list_target,
    is_consent_file,
    is_consent_target,
    is_own_target,
    is_schema_target,
    member_target,
    openapi_file,
)
from exchange.registrations.values import (
    ALLOWED_METHODS,
    AUDITING,
    GET_OPENAPI,
    LIST_METHODS,
    METASERVICES,
    RESERVED_SERVICE_CODES,
    ApplicationRecord,
    Environment,
    InstanceRecord,
    MemberRecord,
    Pair,
    ServerRecord,
    ServiceRecord,
    ServiceType,
    TimestampAuthority,
)

__all__ = [
    "ALLOWED_METHODS",
    "AUDITING",
    "ELEMENTS_TARGET",
    "GET_OPENAPI",
    "INSTANCE_TARGET",
    "LIST_METHODS",
    "MAX_APPLICATIONS",
    "MAX_CERTIFICATES",
    "MAX_CERTIFICATE_CHARS",
    "MAX_INSTANCE_BYTES",
    "MAX_LOG_KEYS",
    "MAX_MEMBER_BYTES",
    "MAX_MOVES",
    "MAX_OPENAPI_BYTES",
    "MAX_SCHEMA_BYTES",
    "MAX_SERVERS",
    "MAX_SERVICES",
    "MEMBER_FILE",
    "MERGERS_TARGET",
    "METASERVICES",
    "RESERVED_SERVICE_CODES",
    "STANDING_TARGET",
    "ApplicationRecord",
    "Environment",
    "InstanceRecord",
    "MemberRecord",
    "Pair",
    "ServerRecord",
    "ServiceRecord",
    "ServiceType",
    "TimestampAuthority",
    "format_instance",
    "format_member",
    "is_code_list_target",
    "is_consent_file",
    "is_consent_target",
    "is_own_target",
    "is_schema_target",
    "member_target",
    "openapi_file",
    "parse_address",
    "parse_instance",
    "parse_member",
    "pem",
]
