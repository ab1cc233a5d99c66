"""Problems: every way in which an exchange, a document or a command can fail.

A :class:`Problem` carries a code and facts; its texts come from :data:`CATALOGUE`, in English and
Lao. Codes keep X-Road's CamelCase names where X-Road has one (PR-REST 1.0.4), so clients that
match ``Server.ClientProxy.AccessDenied`` keep working. Exactly one place turns problems into HTTP:
:mod:`serving.replies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Fact: TypeAlias = str | int | float | bool | list[str] | None


class Blame(StrEnum):
    """Who has to act: h11's split of "you broke the rules" from "they did"."""

    CALLER = "caller"
    PROVIDER = "provider"
    PEER = "peer"
    OPERATOR = "operator"
    NETWORK = "network"


class Side(StrEnum):
    """Where a problem arose; gives X-Road's prefix of the error type."""

    CONSUMER = "Server.ClientProxy"
    PROVIDER = "Server.ServerProxy"
    CLIENT = "Client"


class Code(StrEnum):
    """Stable names of problems; the last part of X-Road's error type."""

    # the request as it came in
    INVALID_REQUEST = "InvalidRequest"
    INVALID_IDENTIFIER = "InvalidIdentifier"
    INVALID_CLIENT_IDENTIFIER = "InvalidClientIdentifier"
    INVALID_HEADER = "InvalidHeader"
    INVALID_JSON = "InvalidJson"
    PAYLOAD_TOO_LARGE = "PayloadTooLarge"
    SCHEMA_VIOLATION = "SchemaViolation"
    UNKNOWN_MEMBER = "UnknownMember"
    UNKNOWN_APPLICATION = "UnknownApplication"
    UNKNOWN_SERVICE = "UnknownService"
    UNKNOWN_ENDPOINT = "UnknownEndpoint"
    UNKNOWN_SERVER = "InvalidSecurityServer"
    TLS_REQUIRED = "TlsRequired"
    CLIENT_CERTIFICATE_REQUIRED = "ClientCertificateRequired"
    CLIENT_CERTIFICATE_REJECTED = "SslAuthenticationFailed"
    # certificates and signatures of the peer
    PEER_CERTIFICATE_EXPIRED = "PeerCertificateExpired"
    PEER_CERTIFICATE_UNTRUSTED = "PeerCertificateUntrusted"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_UNTRUSTED = "CertValidation"
    CERTIFICATE_MISMATCH = "IncorrectCertificate"
    MISSING_SIGNATURE = "MissingSignature"
    MALFORMED_SIGNATURE = "MalformedSignature"
    INVALID_SIGNATURE = "InvalidSignatureValue"
    STALE_SIGNATURE = "StaleSignature"
    REPLAYED_MESSAGE = "ReplayedMessage"
    DIGEST_MISMATCH = "DigestMismatch"
    INCONSISTENT_RESPONSE = "InconsistentResponse"
    # agreements
    ACCESS_DENIED = "AccessDenied"
    AGREEMENT_EXPIRED = "AgreementExpired"
    AGREEMENT_NOT_YET_VALID = "AgreementNotYetValid"
    AGREEMENT_INVALID = "AgreementInvalid"
    PURPOSE_NOT_ALLOWED = "PurposeNotAllowed"
    FIELD_NOT_RELEASED = "FieldNotReleased"
    QUOTA_EXCEEDED = "QuotaExceeded"
    # the provider's backend
    SERVICE_DISABLED = "ServiceDisabled"
    BACKEND_UNREACHABLE = "NetworkError"
    BACKEND_TIMEOUT = "BackendTimeout"
    BACKEND_NONSENSE = "BackendProtocolError"
    RESPONSE_SCHEMA_VIOLATION = "ResponseSchemaViolation"
    RESPONSE_TOO_LARGE = "ResponseTooLarge"
    SOURCE_FAILED = "SourceFailed"
    # the link between servers
    PEER_UNREACHABLE = "PeerUnreachable"
    PEER_TIMEOUT = "PeerTimeout"
    PEER_NONSENSE = "PeerProtocolError"
    # this server
    REGISTRY_STATE_EXPIRED = "OutdatedGlobalConf"
    LOGGING_FAILED = "LoggingFailed"
    OVERLOADED = "ServerOverloaded"
    SHUTTING_DOWN = "ShuttingDown"
    INTERNAL_ERROR = "InternalError"
    # registry and trust
    UNTRUSTED_METADATA = "UntrustedMetadata"
    CONTINUITY_BROKEN = "ContinuityBroken"
    ROLLBACK_DETECTED = "RollbackDetected"
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    NOT_AUTHORISED = "NotAuthorised"
    NOT_FOUND = "NotFound"
    CONFLICT = "Conflict"
    INVALID_DOCUMENT = "InvalidDocument"
    # the journal and its proofs
    INVALID_PROOF = "InvalidProof"
    INVALID_NOTE = "InvalidNote"
    INVALID_TIMESTAMP = "InvalidTimestamp"
    JOURNAL_CORRUPT = "JournalCorrupt"
    JOURNAL_FORKED = "JournalForked"
    SEALED_PART_UNREADABLE = "SealedPartUnreadable"
    # commands and settings
    INVALID_SETTINGS = "InvalidSettings"
    INVALID_MAPPING = "InvalidMapping"
    DEVELOPMENT_ONLY = "DevelopmentOnly"


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence in both working languages."""

    en: str
    lo: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue says of a code: honest HTTP status, blame, retry, cause and remedy."""

    status: int
    blame: Blame
    retryable: bool
    cause: Text
    remedy: Text


class Problem(Exception):
    """One failure, as a value.

    Args:
        code: the stable name.
        where: the place in the input or the system: a header, a JSON pointer, a file, a setting.
        detail: one English sentence with the particulars; never secrets, never payload.
        facts: machine-readable particulars.
        retryable: overrides the catalogue when the raiser knows better.
        status: overrides the catalogue's HTTP status.
    """

    def __init__(
        self,
        code: Code,
        *,
        where: str = "",
        detail: str = "",
        facts: Mapping[str, Fact] | None = None,
        retryable: bool | None = None,
        status: int | None = None,
    ) -> None:
        self.code = code
        self.where = where
        self.detail = detail
        self.facts: dict[str, Fact] = dict(facts or {})
        entry = CATALOGUE[code]
        self.entry = entry
        self.retryable = entry.retryable if retryable is None else retryable
        self.status = entry.status if status is None else status
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.code}{place}: {self.detail or self.entry.cause.en}"

    @property
    def blame(self) -> Blame:
        return self.entry.blame


def _entry(
    status: int,
    blame: Blame,
    cause: tuple[str, str],
    remedy: tuple[str, str],
    retryable: bool = False,
) -> Entry:
    return Entry(status, blame, retryable, Text(*cause), Text(*remedy))


# Statuses follow RFC 9110 section 15 and RFC 6585; X-Road's own habit is a profile of the reply.
CATALOGUE: dict[Code, Entry] = {
    Code.INVALID_REQUEST: _entry(
        400,
        Blame.CALLER,
        ("The request is not a well-formed X-Road REST request.", "TODO"),
        (
            "Correct the request line: /r1/{instance}/{class}/{member}/{application}/{service}/{path}.",
            "TODO",
        ),
    ),
    Code.INVALID_IDENTIFIER: _entry(
        400,
        Blame.CALLER,
        ("An identifier does not follow the X-Road grammar.", "TODO"),
        ('Use codes of A-Z a-z 0-9 \'()+,-.=? joined by "/", each percent-encoded.', "TODO"),
    ),
    Code.INVALID_CLIENT_IDENTIFIER: _entry(
        400,
        Blame.CALLER,
        (
            "The header that names the calling application is missing, malformed or has two different values.",
            "TODO",
        ),
        ("Send X-Road-Client: {instance}/{class}/{member}/{application} exactly once.", "TODO"),
    ),
    Code.INVALID_HEADER: _entry(
        400,
        Blame.CALLER,
        ("A header field is malformed or not allowed here.", "TODO"),
        ("Correct the named header field.", "TODO"),
    ),
    Code.INVALID_JSON: _entry(
        400,
        Blame.CALLER,
        ("The body says it is JSON but cannot be read as JSON.", "TODO"),
        ("Send valid JSON in UTF-8 without duplicate keys, or the right Content-Type.", "TODO"),
    ),
    Code.PAYLOAD_TOO_LARGE: _entry(
        413,
        Blame.CALLER,
        ("The request body is larger than this service allows.", "TODO"),
        ("Send a smaller body, or ask the service owner to raise the limit.", "TODO"),
    ),
    Code.SCHEMA_VIOLATION: _entry(
        422,
        Blame.CALLER,
        ("The request breaks the schema that the service published.", "TODO"),
        ("Correct the named place; getOpenAPI shows the schema.", "TODO"),
    ),
    Code.UNKNOWN_MEMBER: _entry(
        404,
        Blame.CALLER,
        ("The registry does not know this member.", "TODO"),
        ("Check the member's class and code in the directory.", "TODO"),
    ),
    Code.UNKNOWN_APPLICATION: _entry(
        404,
        Blame.CALLER,
        ("The registry does not know this application.", "TODO"),
        ("Check the application's code in the directory.", "TODO"),
    ),
    Code.UNKNOWN_SERVICE: _entry(
        404,
        Blame.CALLER,
        ("The provider has no service of this code.", "TODO"),
        ("Check the service code in the directory.", "TODO"),
    ),
    Code.UNKNOWN_ENDPOINT: _entry(
        404,
        Blame.CALLER,
        ("The service has no endpoint with this method and path.", "TODO"),
        ("Compare method and path with the service's OpenAPI document.", "TODO"),
    ),
    Code.UNKNOWN_SERVER: _entry(
        404,
        Blame.CALLER,
        ("The security server that was asked for does not host the provider.", "TODO"),
        ("Leave out X-Road-Security-Server, or name a server of the provider.", "TODO"),
    ),
    Code.TLS_REQUIRED: _entry(
        403,
        Blame.CALLER,
        ("This application must connect over HTTPS but came in plain text.", "TODO"),
        ("Use the https address of your security server.", "TODO"),
    ),
    Code.CLIENT_CERTIFICATE_REQUIRED: _entry(
        403,
        Blame.CALLER,
        ("This application must show its client certificate but showed none.", "TODO"),
        ("Configure the application's certificate and key in its HTTP client.", "TODO"),
    ),
    Code.CLIENT_CERTIFICATE_REJECTED: _entry(
        403,
        Blame.CALLER,
        ("The client certificate is not one that is registered for this application.", "TODO"),
        ("Use the registered certificate, or register the new one.", "TODO"),
    ),
    Code.PEER_CERTIFICATE_EXPIRED: _entry(
        502,
        Blame.PEER,
        ("The TLS certificate of the other security server has expired.", "TODO"),
        ("Its operator must renew the auth certificate.", "TODO"),
    ),
    Code.PEER_CERTIFICATE_UNTRUSTED: _entry(
        502,
        Blame.PEER,
        (
            "The TLS certificate of the other security server is not trusted or not registered.",
            "TODO",
        ),
        ("Its operator must register the certificate that the server uses.", "TODO"),
    ),
    Code.CERTIFICATE_EXPIRED: _entry(
        403,
        Blame.PEER,
        ("The seal certificate of the signer is not valid at this time.", "TODO"),
        ("The signer must renew its seal certificate, or the clocks must be set right.", "TODO"),
    ),
    Code.CERTIFICATE_UNTRUSTED: _entry(
        403,
        Blame.PEER,
        ("The seal certificate of the signer is not trusted.", "TODO"),
        ("The signer must use a certificate of an approved certification authority.", "TODO"),
    ),
    Code.CERTIFICATE_MISMATCH: _entry(
        403,
        Blame.PEER,
        ("The key that signed does not belong to the organisation that the message names.", "TODO"),
        (
            "The signer must sign with the seal key that is registered for this organisation.",
            "TODO",
        ),
    ),
    Code.MISSING_SIGNATURE: _entry(
        403,
        Blame.PEER,
        ("The message carries no signature of the expected kind.", "TODO"),
        ("The sending server must sign every message (RFC 9421).", "TODO"),
    ),
    Code.MALFORMED_SIGNATURE: _entry(
        400,
        Blame.PEER,
        ("The signature fields cannot be read or do not cover what they must.", "TODO"),
        ("The sending server must follow the signature profile in docs/standards.md.", "TODO"),
    ),
    Code.INVALID_SIGNATURE: _entry(
        403,
        Blame.PEER,
        ("The signature does not match the message.", "TODO"),
        (
            "The message was changed on its way or signed with another key: send it again; if it repeats, ask both operators.",
            "TODO",
        ),
    ),
    Code.STALE_SIGNATURE: _entry(
        403,
        Blame.PEER,
        ("The signature is too old, from the future, or lives too long.", "TODO"),
        ("Set the clocks of both servers (NTP), then send again.", "TODO"),
        retryable=True,
    ),
    Code.REPLAYED_MESSAGE: _entry(
        409,
        Blame.PEER,
        ("This signed message has been received before.", "TODO"),
        ("Send a new message; a captured message cannot be used again.", "TODO"),
    ),
    Code.DIGEST_MISMATCH: _entry(
        400,
        Blame.PEER,
        ("The body does not match its Content-Digest.", "TODO"),
        ("The body was changed on its way: send it again.", "TODO"),
    ),
    Code.INCONSISTENT_RESPONSE: _entry(
        502,
        Blame.PEER,
        ("The response is not bound to the request that was sent.", "TODO"),
        ("Ask the operators of both servers; the recorded evidence shows both messages.", "TODO"),
    ),
    Code.ACCESS_DENIED: _entry(
        403,
        Blame.CALLER,
        ("No agreement allows this application to call this endpoint.", "TODO"),
        (
            "Ask the provider for an agreement that names this application, service and endpoint.",
            "TODO",
        ),
    ),
    Code.AGREEMENT_EXPIRED: _entry(
        403,
        Blame.CALLER,
        ("The agreement that allowed this call has ended.", "TODO"),
        ("Renew the agreement with the provider.", "TODO"),
    ),
    Code.AGREEMENT_NOT_YET_VALID: _entry(
        403,
        Blame.CALLER,
        ("The agreement for this call is not in force yet.", "TODO"),
        ("Wait until the agreement begins.", "TODO"),
    ),
    Code.AGREEMENT_INVALID: _entry(
        422,
        Blame.CALLER,
        ("The agreement is malformed or not sealed by both parties.", "TODO"),
        ("Correct the named place and have both parties seal it again.", "TODO"),
    ),
    Code.PURPOSE_NOT_ALLOWED: _entry(
        403,
        Blame.CALLER,
        ("The purpose of the call is missing or not one of the agreement.", "TODO"),
        ("Send Exchange-Purpose with a purpose code of the agreement.", "TODO"),
    ),
    Code.FIELD_NOT_RELEASED: _entry(
        403,
        Blame.CALLER,
        ("The call asks for a field that the agreement does not release.", "TODO"),
        ("Ask only for released fields, or have the agreement changed.", "TODO"),
    ),
    Code.QUOTA_EXCEEDED: _entry(
        429,
        Blame.CALLER,
        ("The quota of the agreement is used up.", "TODO"),
        ("Wait until the quota renews, or agree on a larger one.", "TODO"),
        retryable=True,
    ),
    Code.SERVICE_DISABLED: _entry(
        503,
        Blame.PROVIDER,
        ("The provider has switched this service off for now.", "TODO"),
        ("Read the notice, and try again later.", "TODO"),
        retryable=True,
    ),
    Code.BACKEND_UNREACHABLE: _entry(
        502,
        Blame.PROVIDER,
        ("The provider's backend cannot be reached.", "TODO"),
        ("Try again later; the provider must start its backend or correct its address.", "TODO"),
        retryable=True,
    ),
    Code.BACKEND_TIMEOUT: _entry(
        504,
        Blame.PROVIDER,
        ("The provider's backend did not answer in time.", "TODO"),
        ("Try again later, or ask for less at once.", "TODO"),
        retryable=True,
    ),
    Code.BACKEND_NONSENSE: _entry(
        502,
        Blame.PROVIDER,
        (
            "The provider's backend answered something that is not HTTP or not what it says it is.",
            "TODO",
        ),
        ("The provider must repair its backend.", "TODO"),
    ),
    Code.RESPONSE_SCHEMA_VIOLATION: _entry(
        502,
        Blame.PROVIDER,
        (
            "The backend's answer breaks the schema that the service published, and was stopped.",
            "TODO",
        ),
        ("The provider must correct the record or the schema at the named place.", "TODO"),
    ),
    Code.RESPONSE_TOO_LARGE: _entry(
        502,
        Blame.PROVIDER,
        ("The backend's answer is larger than this service allows.", "TODO"),
        ("Ask for less at once, or the provider must raise the limit.", "TODO"),
    ),
    Code.SOURCE_FAILED: _entry(
        502,
        Blame.PROVIDER,
        ("The legacy source could not answer the query.", "TODO"),
        ("Try again later; the provider must look at the source's connection.", "TODO"),
        retryable=True,
    ),
    Code.PEER_UNREACHABLE: _entry(
        503,
        Blame.NETWORK,
        ("No security server of the provider could be reached.", "TODO"),
        ("Try again later; check the line and the provider's server.", "TODO"),
        retryable=True,
    ),
    Code.PEER_TIMEOUT: _entry(
        504,
        Blame.NETWORK,
        ("The provider's security server did not answer in time.", "TODO"),
        ("Try again later.", "TODO"),
        retryable=True,
    ),
    Code.PEER_NONSENSE: _entry(
        502,
        Blame.PEER,
        ("The provider's security server answered something that is not this protocol.", "TODO"),
        ("Ask the operator of the provider's server.", "TODO"),
    ),
    Code.REGISTRY_STATE_EXPIRED: _entry(
        503,
        Blame.OPERATOR,
        ("This server's copy of the registry is too old to be trusted.", "TODO"),
        ("Restore the connection to the registry.", "TODO"),
        retryable=True,
    ),
    Code.LOGGING_FAILED: _entry(
        503,
        Blame.OPERATOR,
        ("This server cannot write its journal, so it exchanges nothing.", "TODO"),
        ("Free disk space or repair the disk; see /healthz.", "TODO"),
        retryable=True,
    ),
    Code.OVERLOADED: _entry(
        503,
        Blame.OPERATOR,
        ("This server has no room for another exchange now.", "TODO"),
        ("Try again after the time in Retry-After.", "TODO"),
        retryable=True,
    ),
    Code.SHUTTING_DOWN: _entry(
        503,
        Blame.OPERATOR,
        ("This server is stopping.", "TODO"),
        ("Try again in a moment.", "TODO"),
        retryable=True,
    ),
    Code.INTERNAL_ERROR: _entry(
        500,
        Blame.OPERATOR,
        ("This server met an error of its own.", "TODO"),
        ("Give the trace id to the operator.", "TODO"),
    ),
    Code.UNTRUSTED_METADATA: _entry(
        502,
        Blame.OPERATOR,
        ("The registry's metadata is not signed as it must be.", "TODO"),
        ("Do not use it; ask the registry's operator.", "TODO"),
    ),
    Code.CONTINUITY_BROKEN: _entry(
        502,
        Blame.OPERATOR,
        (
            "A member's keys changed without a signature of an old key of that member or of the offline root.",
            "TODO",
        ),
        ("Ask that member by another way whether it changed its keys.", "TODO"),
    ),
    Code.ROLLBACK_DETECTED: _entry(
        502,
        Blame.OPERATOR,
        ("The registry or log shows an older state than was seen before.", "TODO"),
        ("Do not use it; ask its operator.", "TODO"),
    ),
    Code.REGISTRY_UNREACHABLE: _entry(
        503,
        Blame.NETWORK,
        ("The registry cannot be reached.", "TODO"),
        (
            "Check the line and the registry's address; exchanges go on from the last good copy.",
            "TODO",
        ),
        retryable=True,
    ),
    Code.NOT_AUTHORISED: _entry(
        401,
        Blame.CALLER,
        ("This act needs the right of another role.", "TODO"),
        ("Use an API key of a role that may do this.", "TODO"),
    ),
    Code.NOT_FOUND: _entry(
        404,
        Blame.CALLER,
        ("There is no such thing here.", "TODO"),
        ("Check the name; list what exists.", "TODO"),
    ),
    Code.CONFLICT: _entry(
        409,
        Blame.CALLER,
        ("The request does not fit the present state.", "TODO"),
        ("Read the present state and send a request that fits it.", "TODO"),
    ),
    Code.INVALID_DOCUMENT: _entry(
        422,
        Blame.CALLER,
        ("A document is malformed or breaks its schema.", "TODO"),
        ("Correct the named place and submit it again.", "TODO"),
    ),
    Code.INVALID_PROOF: _entry(
        422,
        Blame.PEER,
        ("A Merkle proof does not lead to the root it should.", "TODO"),
        ("Do not trust the record; ask the log's operator for the files.", "TODO"),
    ),
    Code.INVALID_NOTE: _entry(
        422,
        Blame.PEER,
        ("A signed note or checkpoint is malformed or not signed by the known key.", "TODO"),
        ("Do not trust it; check the verifier key.", "TODO"),
    ),
    Code.INVALID_TIMESTAMP: _entry(
        422,
        Blame.PEER,
        (
            "A time-stamp is malformed, of other data, or not signed by a trusted authority.",
            "ກາເວລາຜິດຮູບແບບ, ເປັນຂອງຂໍ້ມູນອື່ນ ຫຼື ບໍ່ໄດ້ເຊັນໂດຍອົງການທີ່ເຊື່ອຖືໄດ້.",
        ),
        (
            "Do not rely on it; ask a listed time-stamp authority for a new one.",
            "ຢ່າອາໄສກາເວລານີ້; ຂໍກາເວລາໃໝ່ຈາກອົງການອອກກາເວລາທີ່ຂຶ້ນທະບຽນ.",
        ),
    ),
    Code.JOURNAL_CORRUPT: _entry(
        500,
        Blame.OPERATOR,
        ("A file of the journal is not what the checkpoint says it was.", "TODO"),
        ("Restore the named file from a copy; saphan audit verify shows what differs.", "TODO"),
    ),
    Code.JOURNAL_FORKED: _entry(
        500,
        Blame.OPERATOR,
        ("The journal on disk does not continue the published checkpoint.", "TODO"),
        ("Do not sign: find the right copy of the journal.", "TODO"),
    ),
    Code.SEALED_PART_UNREADABLE: _entry(
        410,
        Blame.OPERATOR,
        ("The sealed part was erased or its key is not here.", "TODO"),
        ("Look for the record of its erasure, or use the member's keys.", "TODO"),
    ),
    Code.INVALID_SETTINGS: _entry(
        422,
        Blame.OPERATOR,
        ("A setting is unknown, missing or out of range.", "TODO"),
        ("Correct the named setting; docs/settings.md lists all.", "TODO"),
    ),
    Code.INVALID_MAPPING: _entry(
        422,
        Blame.OPERATOR,
        ("The adapter's mapping is malformed or does not fit its source.", "TODO"),
        ("Correct the named place; saphan adapter check shows the rest.", "TODO"),
    ),
    Code.DEVELOPMENT_ONLY: _entry(
        403,
        Blame.OPERATOR,
        ("Development certificates are refused by an instance that says production.", "TODO"),
        ("Use certificates of the national certification authority.", "TODO"),
    ),
}
