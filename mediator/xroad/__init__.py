"""X-Road's REST face: how a request names service and client (PR-REST 1.0.4).

``/r1/{instance}/{class}/{member}/{application}/{service}/{path}?{query}`` with ``X-Road-Client``;
GovStack names the header ``X-GovStack-Client``. Pure: from method, target and header fields to a
:class:`mediator.message.stages.Call`; and whether a connection is good enough for its application's
mode.

:mod:`~mediator.xroad.addresses` reads identifiers, :mod:`~mediator.xroad.fields` judges header
fields, :mod:`~mediator.xroad.connections` judges connections, :mod:`~mediator.xroad.calls` puts a
call together, :mod:`~mediator.xroad.request_hash` computes the hash that its answer carries.
docs/x-road.md holds every rule of the protocol against them.
"""

from mediator.xroad.addresses import (
    CLIENT_HEADERS,
    canonical,
    canonical_target,
    client_calling,
    client_named,
    client_of,
    service_named,
    service_of,
)
from mediator.xroad.calls import METHODS, call_of, new_request_id
from mediator.xroad.connections import (
    Connection,
    Entrance,
    LocalApplication,
    authenticate,
    is_near,
)
from mediator.xroad.fields import (
    MAX_FIELDS,
    MAX_LINK_HEAD_BYTES,
    MAX_MESSAGE_ID,
    OF_PROXIES,
    REPEAT,
    first,
    forwarded,
    id_named,
    own_fields,
    subject_named,
    subject_of,
)
from mediator.xroad.request_hash import head_of, request_hash

__all__ = [
    "CLIENT_HEADERS",
    "MAX_FIELDS",
    "MAX_LINK_HEAD_BYTES",
    "MAX_MESSAGE_ID",
    "METHODS",
    "OF_PROXIES",
    "REPEAT",
    "Connection",
    "Entrance",
    "LocalApplication",
    "authenticate",
    "call_of",
    "canonical",
    "canonical_target",
    "client_calling",
    "client_named",
    "client_of",
    "first",
    "forwarded",
    "head_of",
    "id_named",
    "is_near",
    "new_request_id",
    "own_fields",
    "request_hash",
    "service_named",
    "service_of",
    "subject_named",
    "subject_of",
]
