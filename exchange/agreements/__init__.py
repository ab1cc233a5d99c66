"""Agreements: the access right itself, one file sealed by provider and consumer.

Invariants:
- an :class:`Agreement` that exists is consistent: its services are the provider's, every endpoint
  is granted once, it begins before it ends; it grants the provider's reserved application
  ``auditing`` exactly when it is of kind *audit*, and then it has a :class:`Mandate`;
- :func:`open_agreement` returns only what exactly the provider and the consumer's member have
  sealed, each with a seal certificate judged at the given time, over the canonical bytes;
- :meth:`Agreement.allow` grants nothing that is not written: consumer, service, method, path
  template, purpose and time must all fit; HEAD is allowed where GET is, as it says less;
- the canonical form is JSON with sorted keys and without spaces, every member present (quota
  ``null`` when there is none) but those that came later, which are written only where they say
  something, so that agreements sealed before them stay valid byte for byte: ``limits``, ``kind``
  with ``mandate``, ``disclosure_delay_days``, ``subject``, ``group``, a grant's ``rows``, and the
  ``request_basis`` of a grant or purpose. People may write the document with spaces and leave
  optional members out.

The seal is a JWS (RFC 7515) with one signature per party, see :mod:`exchange.jws`. Not decided
here: which agreements a server holds (its own disk, never the registry), and counting of quotas.

Parts: :mod:`~exchange.agreements.values`, :mod:`~exchange.agreements.mandate`,
:mod:`~exchange.agreements.rows`, :mod:`~exchange.agreements.document`,
:mod:`~exchange.agreements.seal`,
:mod:`~exchange.agreements.revocation`, :mod:`~exchange.agreements.succession`.
"""

from exchange.agreements.document import (
    MAX_ENDPOINTS,
    MAX_QUOTA,
    METHODS,
    format_agreement,
    parse_agreement,
)
from exchange.agreements.mandate import Mandate
from exchange.agreements.revocation import (
    AgreementRevocation,
    format_revocation,
    open_revocation,
    parse_revocation,
    revocation_of,
    seal_revocation,
)
from exchange.agreements.rows import ROWS_HEADER, RowCondition, read_rows, rows_header
from exchange.agreements.seal import open_agreement, read_agreement, seal_agreement
from exchange.agreements.succession import in_force, revoked_by
from exchange.agreements.values import (
    LIMIT_NAMES,
    Agreement,
    Asked,
    Contact,
    Endpoint,
    Grant,
    Keep,
    Kind,
    Limits,
    Party,
    Purpose,
    Quota,
    Retention,
)
from exchange.contracts.projection import Projection

__all__ = [
    "LIMIT_NAMES",
    "MAX_ENDPOINTS",
    "MAX_QUOTA",
    "METHODS",
    "ROWS_HEADER",
    "Agreement",
    "AgreementRevocation",
    "Asked",
    "Contact",
    "Endpoint",
    "Grant",
    "Keep",
    "Kind",
    "Limits",
    "Mandate",
    "Party",
    "Projection",
    "Purpose",
    "Quota",
    "Retention",
    "RowCondition",
    "format_agreement",
    "format_revocation",
    "in_force",
    "open_agreement",
    "open_revocation",
    "parse_agreement",
    "parse_revocation",
    "read_agreement",
    "read_rows",
    "revocation_of",
    "revoked_by",
    "rows_header",
    "seal_agreement",
    "seal_revocation",
]
