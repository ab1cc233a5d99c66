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

ACTED = "acted"
"""The fact that a refusal on the link carries as ``False`` when it is certain that the provider's
server did nothing with the message: another of its servers may then have it, whatever the method.
"""


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
    CERTIFICATE_REVOKED = "CertificateRevoked"
    CERTIFICATE_STATUS_UNKNOWN = "CertificateStatusUnknown"
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
    AGREEMENT_REVOKED = "AgreementRevoked"
    PURPOSE_NOT_ALLOWED = "PurposeNotAllowed"
    SUBJECT_MISSING = "SubjectMissing"
    REQUEST_BASIS_MISSING = "RequestBasisMissing"
    FIELD_NOT_RELEASED = "FieldNotReleased"
    OUTSIDE_MANDATE = "OutsideMandate"
    QUERY_TOO_WIDE = "QueryTooWide"
    QUOTA_EXCEEDED = "QuotaExceeded"
    # the provider's backend
    SERVICE_DISABLED = "ServiceDisabled"
    DISABLED = "DisabledByRegistry"
    MERGED = "MemberMerged"
    BACKEND_UNREACHABLE = "NetworkError"
    BACKEND_TIMEOUT = "BackendTimeout"
    BACKEND_NONSENSE = "BackendProtocolError"
    RESPONSE_SCHEMA_VIOLATION = "ResponseSchemaViolation"
    RESPONSE_TOO_LARGE = "ResponseTooLarge"
    SOURCE_FAILED = "SourceFailed"
    TOO_MANY_REMOVED = "TooManyRemoved"
    CHANGE_STATE_UNUSABLE = "ChangeStateUnusable"
    # exactly once
    MESSAGE_ID_REUSED = "MessageIdReused"
    MESSAGE_IN_PROGRESS = "MessageInProgress"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    ANSWER_NOT_KEPT = "AnswerNotKept"
    WRITE_UNCONFIRMED = "WriteUnconfirmed"
    ONCE_UNAVAILABLE = "ExactlyOnceUnavailable"
    # the link between servers
    PEER_UNREACHABLE = "PeerUnreachable"
    PEER_TIMEOUT = "PeerTimeout"
    PEER_NONSENSE = "PeerProtocolError"
    # this server
    REGISTRY_STATE_EXPIRED = "OutdatedGlobalConf"
    LOGGING_FAILED = "LoggingFailed"
    OVERLOADED = "ServerOverloaded"
    SHUTTING_DOWN = "ShuttingDown"
    MAINTENANCE_MODE = "MaintenanceMode"
    INTERNAL_ERROR = "InternalError"
    # registry and trust
    UNTRUSTED_METADATA = "UntrustedMetadata"
    CONTINUITY_BROKEN = "ContinuityBroken"
    ROLLBACK_DETECTED = "RollbackDetected"
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    NOT_AUTHORISED = "NotAuthorised"
    NOT_FOUND = "NotFound"
    CONFLICT = "Conflict"
    PRECONDITION_FAILED = "PreconditionFailed"
    BREAKING_CHANGE = "BreakingChange"
    INVALID_DOCUMENT = "InvalidDocument"
    # the journal and its proofs
    INVALID_PROOF = "InvalidProof"
    INVALID_NOTE = "InvalidNote"
    INVALID_TIMESTAMP = "InvalidTimestamp"
    INVALID_REVOCATION_STATUS = "InvalidRevocationStatus"
    JOURNAL_CORRUPT = "JournalCorrupt"
    JOURNAL_FORKED = "JournalForked"
    LOG_CONTRADICTED = "LogContradicted"
    NOT_WITNESSED = "NotWitnessed"
    SEALED_PART_ERASED = "SealedPartErased"
    SEALED_PART_UNREADABLE = "SealedPartUnreadable"
    KEY_LOST = "KeyLost"
    ARCHIVED = "ArchivedElsewhere"
    ARCHIVE_FAILED = "ArchiveFailed"
    # commands and settings
    INVALID_USAGE = "InvalidUsage"
    OWN_SERVER_UNREACHABLE = "OwnServerUnreachable"
    INVALID_SETTINGS = "InvalidSettings"
    INVALID_MAPPING = "InvalidMapping"
    UNREADABLE_TEXT = "UnreadableText"
    DEVELOPMENT_ONLY = "DevelopmentOnly"
    NOT_CONVERGED = "NotConverged"
    # ask once
    UNKNOWN_ELEMENT = "UnknownElement"
    ELEMENT_HAS_SOURCE = "ElementHasSource"
    ASK_ONCE = "AskOnce"


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence in both working languages."""

    en: str
    lo: str

    def as_dict(self) -> dict[str, str]:
        """As documents and answers hold it: ``{"en": …, "lo": …}``."""
        return {"en": self.en, "lo": self.lo}


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
        (
            "The request is not one that is understood here.",
            "ຄຳຮ້ອງບໍ່ຖືກຕ້ອງຕາມຮູບແບບທີ່ລະບົບນີ້ເຂົ້າໃຈ.",
        ),
        (
            "Correct the part that is named. Calls of services are"
            " /r1/{instance}/{class}/{member}/{application}/{service}/{path}.",
            "ກະລຸນາແກ້ສ່ວນທີ່ລະບຸໄວ້. ຄຳຮ້ອງເຖິງບໍລິການແມ່ນ"
            " /r1/{instance}/{class}/{member}/{application}/{service}/{path}.",
        ),
    ),
    Code.INVALID_IDENTIFIER: _entry(
        400,
        Blame.CALLER,
        (
            "An identifier does not follow the X-Road grammar.",
            "ລະຫັດລະບຸບໍ່ຖືກຕ້ອງຕາມຫຼັກການຂຽນຂອງ X-Road.",
        ),
        (
            'Use codes of A-Z a-z 0-9 \'()+,-.=? joined by "/", each percent-encoded.',
            'ກະລຸນາໃຊ້ລະຫັດທີ່ປະກອບດ້ວຍ A-Z a-z 0-9 \'()+,-.=? ຂັ້ນດ້ວຍ "/" ແລະ ເຂົ້າລະຫັດແບບເປີເຊັນ (percent-encoding) ແຕ່ລະລະຫັດ.',
        ),
    ),
    Code.INVALID_CLIENT_IDENTIFIER: _entry(
        400,
        Blame.CALLER,
        (
            "The header that names the calling application is missing, malformed or has two different values.",
            "ຊ່ອງຫົວຂໍ້ທີ່ລະບຸແອັບພລິເຄຊັນຜູ້ຮ້ອງຂໍ ຂາດຫາຍ, ຜິດຮູບແບບ ຫຼື ມີສອງຄ່າທີ່ບໍ່ກົງກັນ.",
        ),
        (
            "Send X-Road-Client: {instance}/{class}/{member}/{application} exactly once.",
            "ກະລຸນາສົ່ງ X-Road-Client: {instance}/{class}/{member}/{application} ພຽງຄັ້ງດຽວ.",
        ),
    ),
    Code.INVALID_HEADER: _entry(
        400,
        Blame.CALLER,
        (
            "A header field is malformed or not allowed here.",
            "ຊ່ອງຫົວຂໍ້ (header) ຜິດຮູບແບບ ຫຼື ບໍ່ອະນຸຍາດໃຫ້ໃຊ້ບ່ອນນີ້.",
        ),
        ("Correct the named header field.", "ກະລຸນາແກ້ຊ່ອງຫົວຂໍ້ທີ່ລະບຸໄວ້."),
    ),
    Code.INVALID_JSON: _entry(
        400,
        Blame.CALLER,
        (
            "The body says it is JSON but cannot be read as JSON.",
            "ເນື້ອໃນລະບຸວ່າເປັນ JSON ແຕ່ບໍ່ສາມາດອ່ານເປັນ JSON ໄດ້.",
        ),
        (
            "Send valid JSON in UTF-8 without duplicate keys, or the right Content-Type.",
            "ກະລຸນາສົ່ງ JSON ທີ່ຖືກຕ້ອງໃນຮູບແບບ UTF-8 ໂດຍບໍ່ມີຊື່ຊ້ຳກັນ ຫຼື ລະບຸ Content-Type ໃຫ້ຖືກຕ້ອງ.",
        ),
    ),
    Code.PAYLOAD_TOO_LARGE: _entry(
        413,
        Blame.CALLER,
        (
            "The request body is larger than this service allows.",
            "ເນື້ອໃນຂອງຄຳຮ້ອງໃຫຍ່ກວ່າທີ່ບໍລິການນີ້ອະນຸຍາດ.",
        ),
        (
            "Send a smaller body, or ask the service owner to raise the limit.",
            "ກະລຸນາສົ່ງເນື້ອໃນທີ່ນ້ອຍກວ່າ ຫຼື ຂໍໃຫ້ເຈົ້າຂອງບໍລິການເພີ່ມຂີດຈຳກັດ.",
        ),
    ),
    Code.SCHEMA_VIOLATION: _entry(
        422,
        Blame.CALLER,
        (
            "The request breaks the schema that the service published.",
            "ຄຳຮ້ອງບໍ່ຖືກຕ້ອງຕາມໂຄງຮ່າງຂໍ້ມູນທີ່ບໍລິການໄດ້ເຜີຍແຜ່.",
        ),
        (
            "Correct the named place; getOpenAPI shows the schema.",
            "ກະລຸນາແກ້ຈຸດທີ່ລະບຸໄວ້; ເບິ່ງໂຄງຮ່າງຂໍ້ມູນໄດ້ດ້ວຍ getOpenAPI.",
        ),
    ),
    Code.UNKNOWN_MEMBER: _entry(
        404,
        Blame.CALLER,
        ("The registry does not know this member.", "ທະບຽນກາງບໍ່ມີສະມາຊິກນີ້."),
        (
            "Check the member's class and code in the directory.",
            "ກະລຸນາກວດປະເພດ ແລະ ລະຫັດຂອງສະມາຊິກໃນສາລະບານ.",
        ),
    ),
    Code.UNKNOWN_APPLICATION: _entry(
        404,
        Blame.CALLER,
        ("The registry does not know this application.", "ທະບຽນກາງບໍ່ມີແອັບພລິເຄຊັນນີ້."),
        ("Check the application's code in the directory.", "ກະລຸນາກວດລະຫັດຂອງແອັບພລິເຄຊັນໃນສາລະບານ."),
    ),
    Code.UNKNOWN_SERVICE: _entry(
        404,
        Blame.CALLER,
        ("The provider has no service of this code.", "ຜູ້ໃຫ້ບໍລິການບໍ່ມີບໍລິການທີ່ມີລະຫັດນີ້."),
        ("Check the service code in the directory.", "ກະລຸນາກວດລະຫັດຂອງບໍລິການໃນສາລະບານ."),
    ),
    Code.UNKNOWN_ENDPOINT: _entry(
        404,
        Blame.CALLER,
        (
            "The service has no endpoint with this method and path.",
            "ບໍລິການນີ້ບໍ່ມີຈຸດເຊື່ອມຕໍ່ທີ່ກົງກັບວິທີ (method) ແລະ ເສັ້ນທາງ (path) ນີ້.",
        ),
        (
            "Compare method and path with the service's OpenAPI document.",
            "ກະລຸນາທຽບວິທີ ແລະ ເສັ້ນທາງກັບເອກະສານ OpenAPI ຂອງບໍລິການ.",
        ),
    ),
    Code.UNKNOWN_SERVER: _entry(
        404,
        Blame.CALLER,
        (
            "The security server that was asked for does not host the provider.",
            "ເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພທີ່ລະບຸໄວ້ ບໍ່ໄດ້ຮອງຮັບຜູ້ໃຫ້ບໍລິການນີ້.",
        ),
        (
            "Leave out X-Road-Security-Server, or name a server of the provider.",
            "ກະລຸນາຕັດ X-Road-Security-Server ອອກ ຫຼື ລະບຸເຄື່ອງແມ່ຂ່າຍຂອງຜູ້ໃຫ້ບໍລິການ.",
        ),
    ),
    Code.TLS_REQUIRED: _entry(
        403,
        Blame.CALLER,
        (
            "This application must connect over HTTPS but came in plain text.",
            "ແອັບພລິເຄຊັນນີ້ຕ້ອງເຊື່ອມຕໍ່ຜ່ານ HTTPS ແຕ່ໄດ້ສົ່ງມາໂດຍບໍ່ເຂົ້າລະຫັດ.",
        ),
        (
            "Use the https address of your security server.",
            "ກະລຸນາໃຊ້ທີ່ຢູ່ https ຂອງເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຂອງທ່ານ.",
        ),
    ),
    Code.CLIENT_CERTIFICATE_REQUIRED: _entry(
        403,
        Blame.CALLER,
        (
            "This application must show its client certificate but showed none.",
            "ແອັບພລິເຄຊັນນີ້ຕ້ອງສະແດງໃບຢັ້ງຢືນຂອງຕົນ ແຕ່ບໍ່ໄດ້ສະແດງ.",
        ),
        (
            "Configure the application's certificate and key in its HTTP client.",
            "ກະລຸນາຕັ້ງຄ່າໃບຢັ້ງຢືນ ແລະ ກະແຈຂອງແອັບພລິເຄຊັນໃນໂປຣແກຣມທີ່ໃຊ້ເອີ້ນ HTTP.",
        ),
    ),
    Code.CLIENT_CERTIFICATE_REJECTED: _entry(
        403,
        Blame.CALLER,
        (
            "The client certificate is not one that is registered for this application.",
            "ໃບຢັ້ງຢືນທີ່ສະແດງບໍ່ແມ່ນໃບທີ່ຂຶ້ນທະບຽນໄວ້ສຳລັບແອັບພລິເຄຊັນນີ້.",
        ),
        (
            "Use the registered certificate, or register the new one.",
            "ກະລຸນາໃຊ້ໃບຢັ້ງຢືນທີ່ຂຶ້ນທະບຽນແລ້ວ ຫຼື ຂຶ້ນທະບຽນໃບໃໝ່.",
        ),
    ),
    Code.PEER_CERTIFICATE_EXPIRED: _entry(
        502,
        Blame.PEER,
        (
            "The TLS certificate of the other security server has expired.",
            "ໃບຢັ້ງຢືນ TLS ຂອງເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຝ່າຍກົງຂ້າມໝົດອາຍຸແລ້ວ.",
        ),
        ("Its operator must renew the auth certificate.", "ຜູ້ດູແລເຄື່ອງແມ່ຂ່າຍນັ້ນຕ້ອງຕໍ່ອາຍຸໃບຢັ້ງຢືນຂອງເຄື່ອງ."),
    ),
    Code.PEER_CERTIFICATE_UNTRUSTED: _entry(
        502,
        Blame.PEER,
        (
            "The TLS certificate of the other security server is not trusted or not registered.",
            "ໃບຢັ້ງຢືນ TLS ຂອງເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຝ່າຍກົງຂ້າມ ບໍ່ໜ້າເຊື່ອຖື ຫຼື ບໍ່ໄດ້ຂຶ້ນທະບຽນ.",
        ),
        (
            "Its operator must register the certificate that the server uses.",
            "ຜູ້ດູແລເຄື່ອງແມ່ຂ່າຍນັ້ນຕ້ອງຂຶ້ນທະບຽນໃບຢັ້ງຢືນທີ່ເຄື່ອງໃຊ້ຢູ່.",
        ),
    ),
    Code.CERTIFICATE_EXPIRED: _entry(
        403,
        Blame.PEER,
        (
            "The seal certificate of the signer is not valid at this time.",
            "ໃບຢັ້ງຢືນຕາປະທັບຂອງຜູ້ເຊັນໃຊ້ບໍ່ໄດ້ໃນເວລານີ້.",
        ),
        (
            "The signer must renew its seal certificate, or the clocks must be set right.",
            "ຜູ້ເຊັນຕ້ອງຕໍ່ອາຍຸໃບຢັ້ງຢືນຕາປະທັບ ຫຼື ຕ້ອງຕັ້ງໂມງຂອງເຄື່ອງໃຫ້ຖືກຕ້ອງ.",
        ),
    ),
    Code.CERTIFICATE_UNTRUSTED: _entry(
        403,
        Blame.PEER,
        ("The seal certificate of the signer is not trusted.", "ໃບຢັ້ງຢືນຕາປະທັບຂອງຜູ້ເຊັນບໍ່ໜ້າເຊື່ອຖື."),
        (
            "The signer must use a certificate of an approved certification authority.",
            "ຜູ້ເຊັນຕ້ອງໃຊ້ໃບຢັ້ງຢືນຈາກອົງການອອກໃບຢັ້ງຢືນທີ່ໄດ້ຮັບອະນຸມັດ.",
        ),
    ),
    Code.CERTIFICATE_MISMATCH: _entry(
        403,
        Blame.PEER,
        (
            "The key that signed does not belong to the organisation that the message names.",
            "ກະແຈທີ່ໃຊ້ເຊັນບໍ່ແມ່ນຂອງອົງການທີ່ລະບຸໄວ້ໃນຂໍ້ຄວາມ.",
        ),
        (
            "The signer must sign with the seal key that is registered for this organisation.",
            "ຜູ້ເຊັນຕ້ອງເຊັນດ້ວຍກະແຈຕາປະທັບທີ່ຂຶ້ນທະບຽນໄວ້ສຳລັບອົງການນີ້.",
        ),
    ),
    Code.CERTIFICATE_REVOKED: _entry(
        403,
        Blame.PEER,
        (
            "The certificate was revoked by the authority that issued it.",
            "ໃບຢັ້ງຢືນຖືກຖອນຄືນໂດຍອົງການທີ່ອອກໃບຢັ້ງຢືນນັ້ນ.",
        ),
        (
            "Its owner must get a new certificate, register it and use it.",
            "ເຈົ້າຂອງໃບຢັ້ງຢືນຕ້ອງຂໍໃບໃໝ່, ຂຶ້ນທະບຽນ ແລະ ນຳໃຊ້ໃບໃໝ່ນັ້ນ.",
        ),
    ),
    Code.CERTIFICATE_STATUS_UNKNOWN: _entry(
        503,
        Blame.OPERATOR,
        (
            "Whether a certificate is revoked could not be learned for too long.",
            "ບໍ່ສາມາດກວດສອບໄດ້ເປັນເວລາດົນເກີນໄປວ່າ ໃບຢັ້ງຢືນຖືກຖອນຄືນແລ້ວ ຫຼື ບໍ່.",
        ),
        (
            "The operator of this server must make the OCSP responder or revocation list of the"
            " named certificate's authority reachable; /healthz tells more.",
            "ຜູ້ດູແລເຄື່ອງແມ່ຂ່າຍນີ້ຕ້ອງເຮັດໃຫ້ເຂົ້າເຖິງ OCSP ຫຼື ບັນຊີການຖອນຄືນ ຂອງອົງການທີ່ອອກໃບຢັ້ງຢືນນັ້ນໄດ້;"
            " ເບິ່ງລາຍລະອຽດທີ່ /healthz.",
        ),
        retryable=True,
    ),
    Code.MISSING_SIGNATURE: _entry(
        403,
        Blame.PEER,
        ("The message carries no signature of the expected kind.", "ຂໍ້ຄວາມບໍ່ມີລາຍເຊັນຕາມປະເພດທີ່ກຳນົດ."),
        (
            "The sending server must sign every message (RFC 9421).",
            "ເຄື່ອງແມ່ຂ່າຍທີ່ສົ່ງຕ້ອງເຊັນທຸກຂໍ້ຄວາມ (RFC 9421).",
        ),
    ),
    Code.MALFORMED_SIGNATURE: _entry(
        400,
        Blame.PEER,
        (
            "The signature fields cannot be read or do not cover what they must.",
            "ບໍ່ສາມາດອ່ານຂໍ້ມູນລາຍເຊັນໄດ້ ຫຼື ລາຍເຊັນບໍ່ກວມເອົາສ່ວນທີ່ຕ້ອງກວມ.",
        ),
        (
            "The sending server must follow the signature profile in docs/standards.md.",
            "ເຄື່ອງແມ່ຂ່າຍທີ່ສົ່ງຕ້ອງປະຕິບັດຕາມຂໍ້ກຳນົດລາຍເຊັນໃນ docs/standards.md.",
        ),
    ),
    Code.INVALID_SIGNATURE: _entry(
        403,
        Blame.PEER,
        ("The signature does not match the message.", "ລາຍເຊັນບໍ່ກົງກັບຂໍ້ຄວາມ."),
        (
            "The message was changed on its way or signed with another key: send it again; if it repeats, ask both operators.",
            "ຂໍ້ຄວາມຖືກປ່ຽນແປງລະຫວ່າງທາງ ຫຼື ເຊັນດ້ວຍກະແຈອື່ນ: ກະລຸນາສົ່ງໃໝ່; ຖ້າຍັງເກີດຂຶ້ນອີກ ໃຫ້ສອບຖາມຜູ້ດູແລລະບົບທັງສອງຝ່າຍ.",
        ),
    ),
    Code.STALE_SIGNATURE: _entry(
        403,
        Blame.PEER,
        (
            "The signature is too old, from the future, or lives too long.",
            "ລາຍເຊັນເກົ່າເກີນໄປ, ລົງເວລາໄວ້ໃນອະນາຄົດ ຫຼື ມີອາຍຸຍາວເກີນກຳນົດ.",
        ),
        (
            "Set the clocks of both servers (NTP), then send again.",
            "ກະລຸນາຕັ້ງໂມງຂອງເຄື່ອງແມ່ຂ່າຍທັງສອງໃຫ້ຖືກຕ້ອງ (NTP) ແລ້ວສົ່ງໃໝ່.",
        ),
        retryable=True,
    ),
    Code.REPLAYED_MESSAGE: _entry(
        409,
        Blame.PEER,
        ("This signed message has been received before.", "ຂໍ້ຄວາມທີ່ເຊັນແລ້ວນີ້ເຄີຍໄດ້ຮັບມາກ່ອນ."),
        (
            "Send a new message; a captured message cannot be used again.",
            "ກະລຸນາສົ່ງຂໍ້ຄວາມໃໝ່; ຂໍ້ຄວາມທີ່ຖືກດັກເອົາໄປບໍ່ສາມາດນຳມາໃຊ້ຊ້ຳໄດ້.",
        ),
    ),
    Code.DIGEST_MISMATCH: _entry(
        400,
        Blame.PEER,
        ("The body does not match its Content-Digest.", "ເນື້ອໃນບໍ່ກົງກັບຄ່າ Content-Digest ຂອງມັນ."),
        ("The body was changed on its way: send it again.", "ເນື້ອໃນຖືກປ່ຽນແປງລະຫວ່າງທາງ: ກະລຸນາສົ່ງໃໝ່."),
    ),
    Code.INCONSISTENT_RESPONSE: _entry(
        502,
        Blame.PEER,
        ("The response is not bound to the request that was sent.", "ຄຳຕອບບໍ່ໄດ້ຜູກກັບຄຳຮ້ອງທີ່ສົ່ງໄປ."),
        (
            "Ask the operators of both servers; the recorded evidence shows both messages.",
            "ກະລຸນາສອບຖາມຜູ້ດູແລເຄື່ອງແມ່ຂ່າຍທັງສອງຝ່າຍ; ຫຼັກຖານທີ່ບັນທຶກໄວ້ສະແດງຂໍ້ຄວາມທັງສອງ.",
        ),
    ),
    Code.ACCESS_DENIED: _entry(
        403,
        Blame.CALLER,
        (
            "No agreement allows this application to call this endpoint.",
            "ບໍ່ມີຂໍ້ຕົກລົງທີ່ອະນຸຍາດໃຫ້ແອັບພລິເຄຊັນນີ້ເອີ້ນໃຊ້ຈຸດເຊື່ອມຕໍ່ນີ້.",
        ),
        (
            "Ask the provider for an agreement that names this application, service and endpoint.",
            "ກະລຸນາຂໍຂໍ້ຕົກລົງຈາກຜູ້ໃຫ້ບໍລິການ ທີ່ລະບຸແອັບພລິເຄຊັນ, ບໍລິການ ແລະ ຈຸດເຊື່ອມຕໍ່ນີ້.",
        ),
    ),
    Code.AGREEMENT_EXPIRED: _entry(
        403,
        Blame.CALLER,
        ("The agreement that allowed this call has ended.", "ຂໍ້ຕົກລົງທີ່ອະນຸຍາດການເອີ້ນໃຊ້ນີ້ສິ້ນສຸດແລ້ວ."),
        ("Renew the agreement with the provider.", "ກະລຸນາຕໍ່ຂໍ້ຕົກລົງກັບຜູ້ໃຫ້ບໍລິການ."),
    ),
    Code.AGREEMENT_REVOKED: _entry(
        403,
        Blame.CALLER,
        (
            "The agreement that allowed this call was revoked by one of its parties.",
            "ຂໍ້ຕົກລົງທີ່ອະນຸຍາດການເອີ້ນໃຊ້ນີ້ຖືກຄູ່ສັນຍາຝ່າຍໜຶ່ງຍົກເລີກແລ້ວ.",
        ),
        (
            "Ask the provider for the reason given; a new version sealed by both opens it again.",
            "ກະລຸນາສອບຖາມຜູ້ໃຫ້ບໍລິການກ່ຽວກັບເຫດຜົນ; ສະບັບໃໝ່ທີ່ທັງສອງຝ່າຍຮັບຮອງຈະເປີດໃຫ້ໃຊ້ໄດ້ອີກ.",
        ),
    ),
    Code.AGREEMENT_NOT_YET_VALID: _entry(
        403,
        Blame.CALLER,
        ("The agreement for this call is not in force yet.", "ຂໍ້ຕົກລົງສຳລັບການເອີ້ນໃຊ້ນີ້ຍັງບໍ່ທັນມີຜົນບັງຄັບໃຊ້."),
        ("Wait until the agreement begins.", "ກະລຸນາລໍຖ້າຈົນກວ່າຂໍ້ຕົກລົງຈະເລີ່ມມີຜົນ."),
    ),
    Code.AGREEMENT_INVALID: _entry(
        422,
        Blame.CALLER,
        (
            "The agreement is malformed or not sealed by both parties.",
            "ຂໍ້ຕົກລົງຜິດຮູບແບບ ຫຼື ບໍ່ໄດ້ປະທັບຕາຄົບທັງສອງຝ່າຍ.",
        ),
        (
            "Correct the named place and have both parties seal it again.",
            "ກະລຸນາແກ້ຈຸດທີ່ລະບຸໄວ້ ແລ້ວໃຫ້ທັງສອງຝ່າຍປະທັບຕາຄືນໃໝ່.",
        ),
    ),
    Code.PURPOSE_NOT_ALLOWED: _entry(
        403,
        Blame.CALLER,
        (
            "The purpose of the call is missing or not one of the agreement.",
            "ການເອີ້ນໃຊ້ບໍ່ໄດ້ລະບຸຈຸດປະສົງ ຫຼື ຈຸດປະສົງບໍ່ຢູ່ໃນຂໍ້ຕົກລົງ.",
        ),
        (
            "Send Exchange-Purpose with a purpose code of the agreement.",
            "ກະລຸນາສົ່ງ Exchange-Purpose ພ້ອມລະຫັດຈຸດປະສົງທີ່ມີໃນຂໍ້ຕົກລົງ.",
        ),
    ),
    Code.SUBJECT_MISSING: _entry(
        403,
        Blame.CALLER,
        (
            "The agreement demands that each call names whom or what it asks about.",
            "ຂໍ້ຕົກລົງກຳນົດໃຫ້ທຸກການເອີ້ນໃຊ້ລະບຸວ່າກ່ຽວກັບໃຜ ຫຼື ສິ່ງໃດ.",
        ),
        (
            "Send Exchange-Subject with scheme:identifier of the person, business or thing.",
            "ກະລຸນາສົ່ງ Exchange-Subject ພ້ອມ scheme:identifier ຂອງບຸກຄົນ, ທຸລະກິດ ຫຼື ສິ່ງທີ່ກ່ຽວຂ້ອງ.",
        ),
    ),
    Code.REQUEST_BASIS_MISSING: _entry(
        403,
        Blame.CALLER,
        (
            "The agreement demands that the call says why it is made: a person's own request, "
            "or a law.",
            "ຂໍ້ຕົກລົງກຳນົດໃຫ້ການເອີ້ນໃຊ້ລະບຸເຫດຜົນ: ຄຳຮ້ອງຂໍຂອງບຸກຄົນນັ້ນເອງ ຫຼື ກົດໝາຍ.",
        ),
        (
            "Send Exchange-Request-Basis with a basis of a kind that the agreement takes.",
            "ກະລຸນາສົ່ງ Exchange-Request-Basis ພ້ອມເຫດຜົນປະເພດທີ່ຂໍ້ຕົກລົງຍອມຮັບ.",
        ),
    ),
    Code.FIELD_NOT_RELEASED: _entry(
        403,
        Blame.CALLER,
        (
            "The call asks for a field that the agreement does not release.",
            "ການເອີ້ນໃຊ້ຂໍຊ່ອງຂໍ້ມູນທີ່ຂໍ້ຕົກລົງບໍ່ໄດ້ເປີດເຜີຍໃຫ້.",
        ),
        (
            "Ask only for released fields, or have the agreement changed.",
            "ກະລຸນາຂໍສະເພາະຊ່ອງຂໍ້ມູນທີ່ເປີດເຜີຍ ຫຼື ສະເໜີປັບປຸງຂໍ້ຕົກລົງ.",
        ),
    ),
    Code.OUTSIDE_MANDATE: _entry(
        403,
        Blame.CALLER,
        (
            "The auditor asks for more than its mandate covers.",
            "ຜູ້ກວດສອບຂໍຂໍ້ມູນເກີນຂອບເຂດທີ່ໄດ້ຮັບມອບໝາຍ.",
        ),
        (
            "Ask within the mandate, or have it changed by the audited organisation.",
            "ກະລຸນາຂໍພາຍໃນຂອບເຂດທີ່ໄດ້ຮັບມອບໝາຍ ຫຼື ສະເໜີອົງການທີ່ຖືກກວດສອບໃຫ້ປັບປຸງຂອບເຂດ.",
        ),
    ),
    Code.QUERY_TOO_WIDE: _entry(
        422,
        Blame.CALLER,
        (
            "The search would look at more entries than one search may.",
            "ການຄົ້ນຫານີ້ຕ້ອງກວດເບິ່ງບັນທຶກຫຼາຍກວ່າທີ່ການຄົ້ນຫາໜຶ່ງຄັ້ງອະນຸຍາດ.",
        ),
        (
            "Name a shorter period or more conditions.",
            "ກະລຸນາລະບຸໄລຍະເວລາໃຫ້ສັ້ນລົງ ຫຼື ເພີ່ມເງື່ອນໄຂ.",
        ),
    ),
    Code.QUOTA_EXCEEDED: _entry(
        429,
        Blame.CALLER,
        ("The quota of the agreement is used up.", "ໂຄຕາຕາມຂໍ້ຕົກລົງຖືກໃຊ້ໝົດແລ້ວ."),
        (
            "Wait until the quota renews, or agree on a larger one.",
            "ກະລຸນາລໍຖ້າຈົນກວ່າໂຄຕາຈະເລີ່ມຮອບໃໝ່ ຫຼື ຕົກລົງໂຄຕາໃຫ້ຫຼາຍຂຶ້ນ.",
        ),
        retryable=True,
    ),
    Code.SERVICE_DISABLED: _entry(
        503,
        Blame.PROVIDER,
        ("The provider has switched this service off for now.", "ຜູ້ໃຫ້ບໍລິການໄດ້ປິດບໍລິການນີ້ໄວ້ຊົ່ວຄາວ."),
        ("Read the notice, and try again later.", "ກະລຸນາອ່ານແຈ້ງການ ແລະ ລອງໃໝ່ພາຍຫຼັງ."),
        retryable=True,
    ),
    Code.DISABLED: _entry(
        503,
        Blame.OPERATOR,
        (
            "The registry has switched this off; the reason is given.",
            "ທະບຽນກາງໄດ້ປິດສິ່ງນີ້ໄວ້; ມີເຫດຜົນລະບຸໄວ້.",
        ),
        (
            "Read the reason; its owner must have the registry enable it again.",
            "ກະລຸນາອ່ານເຫດຜົນ; ເຈົ້າຂອງຕ້ອງຂໍໃຫ້ທະບຽນກາງເປີດຄືນ.",
        ),
    ),
    Code.MERGED: _entry(
        410,
        Blame.CALLER,
        (
            "This went over to another member; it is the successor's now.",
            "ສິ່ງນີ້ໄດ້ໂອນໄປໃຫ້ສະມາຊິກອື່ນ; ແມ່ນຂອງອົງການທີ່ສືບທອດແລ້ວ.",
        ),
        (
            "Agree with the successor that is named, and call its service.",
            "ກະລຸນາເຮັດຂໍ້ຕົກລົງກັບອົງການທີ່ສືບທອດ ແລະ ເອີ້ນໃຊ້ບໍລິການຂອງອົງການນັ້ນ.",
        ),
    ),
    Code.BACKEND_UNREACHABLE: _entry(
        502,
        Blame.PROVIDER,
        ("The provider's backend cannot be reached.", "ບໍ່ສາມາດຕິດຕໍ່ລະບົບພາຍໃນຂອງຜູ້ໃຫ້ບໍລິການໄດ້."),
        (
            "Try again later; the provider must start its backend or correct its address.",
            "ກະລຸນາລອງໃໝ່ພາຍຫຼັງ; ຜູ້ໃຫ້ບໍລິການຕ້ອງເປີດລະບົບພາຍໃນ ຫຼື ແກ້ທີ່ຢູ່ຂອງມັນ.",
        ),
        retryable=True,
    ),
    Code.BACKEND_TIMEOUT: _entry(
        504,
        Blame.PROVIDER,
        (
            "The provider's backend did not answer in time.",
            "ລະບົບພາຍໃນຂອງຜູ້ໃຫ້ບໍລິການບໍ່ໄດ້ຕອບພາຍໃນເວລາກຳນົດ.",
        ),
        ("Try again later, or ask for less at once.", "ກະລຸນາລອງໃໝ່ພາຍຫຼັງ ຫຼື ຂໍຂໍ້ມູນເທື່ອລະໜ້ອຍລົງ."),
        retryable=True,
    ),
    Code.BACKEND_NONSENSE: _entry(
        502,
        Blame.PROVIDER,
        (
            "The provider's backend answered something that is not HTTP or not what it says it is.",
            "ລະບົບພາຍໃນຂອງຜູ້ໃຫ້ບໍລິການຕອບສິ່ງທີ່ບໍ່ແມ່ນ HTTP ຫຼື ບໍ່ກົງກັບປະເພດທີ່ມັນລະບຸ.",
        ),
        ("The provider must repair its backend.", "ຜູ້ໃຫ້ບໍລິການຕ້ອງແກ້ໄຂລະບົບພາຍໃນຂອງຕົນ."),
    ),
    Code.RESPONSE_SCHEMA_VIOLATION: _entry(
        502,
        Blame.PROVIDER,
        (
            "The backend's answer breaks the schema that the service published, and was stopped.",
            "ຄຳຕອບຂອງລະບົບພາຍໃນບໍ່ຖືກຕ້ອງຕາມໂຄງຮ່າງຂໍ້ມູນທີ່ບໍລິການໄດ້ເຜີຍແຜ່ ຈຶ່ງຖືກຢຸດໄວ້.",
        ),
        (
            "The provider must correct the record or the schema at the named place.",
            "ຜູ້ໃຫ້ບໍລິການຕ້ອງແກ້ຂໍ້ມູນ ຫຼື ໂຄງຮ່າງຂໍ້ມູນໃນຈຸດທີ່ລະບຸໄວ້.",
        ),
    ),
    Code.RESPONSE_TOO_LARGE: _entry(
        502,
        Blame.PROVIDER,
        (
            "The backend's answer is larger than this service allows.",
            "ຄຳຕອບຂອງລະບົບພາຍໃນໃຫຍ່ກວ່າທີ່ບໍລິການນີ້ອະນຸຍາດ.",
        ),
        (
            "Ask for less at once, or the provider must raise the limit.",
            "ກະລຸນາຂໍຂໍ້ມູນເທື່ອລະໜ້ອຍລົງ ຫຼື ຜູ້ໃຫ້ບໍລິການຕ້ອງເພີ່ມຂີດຈຳກັດ.",
        ),
    ),
    Code.SOURCE_FAILED: _entry(
        502,
        Blame.PROVIDER,
        ("The legacy source could not answer the query.", "ແຫຼ່ງຂໍ້ມູນເດີມບໍ່ສາມາດຕອບການສອບຖາມໄດ້."),
        (
            "Try again later; the provider must look at the source: its connection, or the named file.",
            "ກະລຸນາລອງໃໝ່ພາຍຫຼັງ; ຜູ້ໃຫ້ບໍລິການຕ້ອງກວດແຫຼ່ງຂໍ້ມູນ: ການເຊື່ອມຕໍ່ ຫຼື ໄຟລ໌ທີ່ລະບຸໄວ້.",
        ),
        retryable=True,
    ),
    Code.TOO_MANY_REMOVED: _entry(
        502,
        Blame.PROVIDER,
        (
            "More records are missing from the source than may go at once.",
            "ບັນທຶກທີ່ຂາດໄປຈາກແຫຼ່ງຂໍ້ມູນ ມີຫຼາຍກວ່າທີ່ອະນຸຍາດໃຫ້ລຶບໃນຄັ້ງດຽວ.",
        ),
        (
            "Look whether the source is whole; if the records are really gone, accept it.",
            "ກະລຸນາກວດເບິ່ງວ່າແຫຼ່ງຂໍ້ມູນຄົບຖ້ວນຫຼືບໍ່; ຖ້າບັນທຶກຖືກລຶບແທ້ ໃຫ້ຢືນຢັນການລຶບ.",
        ),
        retryable=True,
    ),
    Code.CHANGE_STATE_UNUSABLE: _entry(
        500,
        Blame.PROVIDER,
        (
            "The file that keeps what was told of changes cannot be used.",
            "ໄຟລ໌ທີ່ເກັບສະຖານະຂອງການປ່ຽນແປງທີ່ແຈ້ງແລ້ວ ບໍ່ສາມາດໃຊ້ໄດ້.",
        ),
        (
            "End the other process, restore the file, or begin with a new one.",
            "ກະລຸນາປິດໂປຣແກຣມອື່ນທີ່ໃຊ້ໄຟລ໌ນີ້, ກູ້ຄືນໄຟລ໌ ຫຼື ເລີ່ມດ້ວຍໄຟລ໌ໃໝ່.",
        ),
    ),
    Code.MESSAGE_ID_REUSED: _entry(
        409,
        Blame.CALLER,
        (
            "This message id was used before, for another request.",
            "ລະຫັດຂໍ້ຄວາມນີ້ ເຄີຍຖືກໃຊ້ແລ້ວ ກັບຄຳຮ້ອງອື່ນ.",
        ),
        (
            "Repeat a request unchanged with its X-Road-Id, and give every other one an id of its own.",
            "ກະລຸນາສົ່ງຄຳຮ້ອງເດີມຊ້ຳໂດຍບໍ່ປ່ຽນແປງ ດ້ວຍ X-Road-Id ເດີມ ແລະ ໃຊ້ລະຫັດໃໝ່ສຳລັບຄຳຮ້ອງອື່ນ.",
        ),
    ),
    Code.MESSAGE_IN_PROGRESS: _entry(
        503,
        Blame.PROVIDER,
        (
            "The same request is still being carried out.",
            "ຄຳຮ້ອງດຽວກັນນີ້ ກຳລັງຖືກດຳເນີນການຢູ່.",
        ),
        (
            "Wait a little and repeat it with the same X-Road-Id: it is carried out once.",
            "ກະລຸນາລໍຖ້າຈັກໜ້ອຍ ແລ້ວສົ່ງຊ້ຳດ້ວຍ X-Road-Id ເດີມ: ຄຳຮ້ອງຈະຖືກດຳເນີນການພຽງຄັ້ງດຽວ.",
        ),
        retryable=True,
    ),
    Code.OUTCOME_UNKNOWN: _entry(
        409,
        Blame.CALLER,
        (
            "This request may have been carried out or not: its answer was lost.",
            "ບໍ່ຮູ້ວ່າຄຳຮ້ອງນີ້ຖືກດຳເນີນການແລ້ວ ຫຼື ບໍ່: ຄຳຕອບຂອງມັນໄດ້ສູນຫາຍໄປ.",
        ),
        (
            "Look up or ask the service's owner whether it happened; if it did not, send it with a new X-Road-Id.",
            "ກະລຸນາກວດເບິ່ງ ຫຼື ຖາມເຈົ້າຂອງບໍລິການ ວ່າໄດ້ດຳເນີນການແລ້ວບໍ່; ຖ້າຍັງບໍ່ ກະລຸນາສົ່ງດ້ວຍ X-Road-Id ໃໝ່.",
        ),
    ),
    Code.WRITE_UNCONFIRMED: _entry(
        504,
        Blame.PROVIDER,
        (
            "The source did not confirm in time whether this was written.",
            "ແຫຼ່ງຂໍ້ມູນບໍ່ໄດ້ຢືນຢັນທັນເວລາ ວ່າໄດ້ບັນທຶກແລ້ວ ຫຼື ບໍ່.",
        ),
        (
            "Repeat the same request with the same X-Road-Id: it is written once, and its first answer is given again.",
            "ກະລຸນາສົ່ງຄຳຮ້ອງເດີມຊ້ຳ ດ້ວຍ X-Road-Id ເດີມ: ຈະຖືກບັນທຶກພຽງຄັ້ງດຽວ ແລະ ຈະໄດ້ຮັບຄຳຕອບທຳອິດຄືນ.",
        ),
        retryable=True,
    ),
    Code.ANSWER_NOT_KEPT: _entry(
        410,
        Blame.CALLER,
        (
            "This request was carried out before, and its answer is no longer kept.",
            "ຄຳຮ້ອງນີ້ຖືກດຳເນີນການແລ້ວກ່ອນໜ້ານີ້ ແລະ ຄຳຕອບຂອງມັນບໍ່ໄດ້ເກັບໄວ້ອີກ.",
        ),
        (
            "Read what it changed with another request; do not send it again.",
            "ກະລຸນາອ່ານຜົນການປ່ຽນແປງດ້ວຍຄຳຮ້ອງອື່ນ; ຢ່າສົ່ງຄຳຮ້ອງນີ້ອີກ.",
        ),
    ),
    Code.ONCE_UNAVAILABLE: _entry(
        503,
        Blame.OPERATOR,
        (
            "The provider's server cannot note requests now, so it carries none out that changes something.",
            "ເຄື່ອງແມ່ຂ່າຍຂອງຜູ້ໃຫ້ບໍລິການບັນທຶກຄຳຮ້ອງບໍ່ໄດ້ໃນຂະນະນີ້ ຈຶ່ງບໍ່ດຳເນີນການຄຳຮ້ອງທີ່ປ່ຽນແປງຂໍ້ມູນ.",
        ),
        (
            "Repeat it later with the same X-Road-Id; the operator sees to the database of the setting once.",
            "ກະລຸນາສົ່ງຊ້ຳໃນພາຍຫຼັງດ້ວຍ X-Road-Id ເດີມ; ຜູ້ດູແລລະບົບຕ້ອງກວດຖານຂໍ້ມູນໃນຄ່າຕັ້ງ once.",
        ),
        retryable=True,
    ),
    Code.PEER_UNREACHABLE: _entry(
        503,
        Blame.NETWORK,
        (
            "No security server of the provider could be reached.",
            "ບໍ່ສາມາດຕິດຕໍ່ເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຂອງຜູ້ໃຫ້ບໍລິການໄດ້ແມ່ນແຕ່ເຄື່ອງດຽວ.",
        ),
        (
            "Try again later; check the line and the provider's server.",
            "ກະລຸນາລອງໃໝ່ພາຍຫຼັງ; ກວດສາຍສັນຍານ ແລະ ເຄື່ອງແມ່ຂ່າຍຂອງຜູ້ໃຫ້ບໍລິການ.",
        ),
        retryable=True,
    ),
    Code.PEER_TIMEOUT: _entry(
        504,
        Blame.NETWORK,
        (
            "The provider's security server did not answer in time.",
            "ເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຂອງຜູ້ໃຫ້ບໍລິການບໍ່ໄດ້ຕອບພາຍໃນເວລາກຳນົດ.",
        ),
        ("Try again later.", "ກະລຸນາລອງໃໝ່ພາຍຫຼັງ."),
        retryable=True,
    ),
    Code.PEER_NONSENSE: _entry(
        502,
        Blame.PEER,
        (
            "The provider's security server answered something that is not this protocol.",
            "ເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຂອງຜູ້ໃຫ້ບໍລິການຕອບສິ່ງທີ່ບໍ່ແມ່ນໂປຣໂຕຄໍນີ້.",
        ),
        ("Ask the operator of the provider's server.", "ກະລຸນາສອບຖາມຜູ້ດູແລເຄື່ອງແມ່ຂ່າຍຂອງຜູ້ໃຫ້ບໍລິການ."),
    ),
    Code.REGISTRY_STATE_EXPIRED: _entry(
        503,
        Blame.OPERATOR,
        (
            "This server's copy of the registry is too old to be trusted.",
            "ສຳເນົາທະບຽນກາງຢູ່ເຄື່ອງແມ່ຂ່າຍນີ້ເກົ່າເກີນກວ່າຈະເຊື່ອຖືໄດ້.",
        ),
        ("Restore the connection to the registry.", "ກະລຸນາແກ້ການເຊື່ອມຕໍ່ກັບທະບຽນກາງໃຫ້ກັບມາໃຊ້ໄດ້."),
        retryable=True,
    ),
    Code.LOGGING_FAILED: _entry(
        503,
        Blame.OPERATOR,
        (
            "This server cannot write its journal, so it exchanges nothing.",
            "ເຄື່ອງແມ່ຂ່າຍນີ້ຂຽນບັນທຶກບໍ່ໄດ້ ຈຶ່ງບໍ່ແລກປ່ຽນຂໍ້ມູນໃດໆ.",
        ),
        (
            "Free disk space or repair the disk; see /healthz.",
            "ກະລຸນາເພີ່ມເນື້ອທີ່ຫວ່າງໃນດິສ ຫຼື ສ້ອມແປງດິສ; ເບິ່ງ /healthz.",
        ),
        retryable=True,
    ),
    Code.OVERLOADED: _entry(
        503,
        Blame.OPERATOR,
        (
            "This server has no room for another exchange now.",
            "ເຄື່ອງແມ່ຂ່າຍນີ້ບໍ່ສາມາດຮັບການແລກປ່ຽນເພີ່ມໄດ້ໃນຕອນນີ້.",
        ),
        ("Try again after the time in Retry-After.", "ກະລຸນາລອງໃໝ່ຫຼັງຈາກເວລາທີ່ລະບຸໃນ Retry-After."),
        retryable=True,
    ),
    Code.SHUTTING_DOWN: _entry(
        503,
        Blame.OPERATOR,
        ("This server is stopping.", "ເຄື່ອງແມ່ຂ່າຍນີ້ກຳລັງປິດ."),
        ("Try again in a moment.", "ກະລຸນາລອງໃໝ່ໃນອີກຈັກໜ້ອຍ."),
        retryable=True,
    ),
    Code.MAINTENANCE_MODE: _entry(
        503,
        Blame.PROVIDER,
        (
            "The provider's security server is in maintenance and takes no messages for now.",
            "ເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຂອງຜູ້ໃຫ້ບໍລິການກຳລັງບຳລຸງຮັກສາ ຈຶ່ງບໍ່ຮັບຂໍ້ຄວາມຊົ່ວຄາວ.",
        ),
        (
            "Read the notice, and try again after the time in Retry-After.",
            "ກະລຸນາອ່ານແຈ້ງການ ແລະ ລອງໃໝ່ຫຼັງຈາກເວລາທີ່ລະບຸໃນ Retry-After.",
        ),
        retryable=True,
    ),
    Code.INTERNAL_ERROR: _entry(
        500,
        Blame.OPERATOR,
        ("This server met an error of its own.", "ເກີດຂໍ້ຜິດພາດພາຍໃນເຄື່ອງແມ່ຂ່າຍນີ້ເອງ."),
        ("Give the trace id to the operator.", "ກະລຸນາແຈ້ງເລກຕິດຕາມ (trace id) ໃຫ້ຜູ້ດູແລລະບົບ."),
    ),
    Code.UNTRUSTED_METADATA: _entry(
        502,
        Blame.OPERATOR,
        (
            "The registry's metadata is not signed as it must be.",
            "ຂໍ້ມູນກຳກັບຂອງທະບຽນກາງບໍ່ໄດ້ເຊັນຢ່າງຖືກຕ້ອງຕາມກຳນົດ.",
        ),
        ("Do not use it; ask the registry's operator.", "ຢ່ານຳໃຊ້ຂໍ້ມູນນີ້; ກະລຸນາສອບຖາມຜູ້ດູແລທະບຽນກາງ."),
    ),
    Code.CONTINUITY_BROKEN: _entry(
        502,
        Blame.OPERATOR,
        (
            "A member's keys changed without a signature of an old key of that member or of the offline root.",
            "ກະແຈຂອງສະມາຊິກຖືກປ່ຽນ ໂດຍບໍ່ມີລາຍເຊັນຂອງກະແຈເກົ່າຂອງສະມາຊິກນັ້ນ ຫຼື ຂອງກະແຈຮາກທີ່ເກັບໄວ້ນອກເຄືອຂ່າຍ.",
        ),
        (
            "Ask that member by another way whether it changed its keys.",
            "ກະລຸນາສອບຖາມສະມາຊິກນັ້ນຜ່ານຊ່ອງທາງອື່ນ ວ່າໄດ້ປ່ຽນກະແຈແທ້ ຫຼື ບໍ່.",
        ),
    ),
    Code.ROLLBACK_DETECTED: _entry(
        502,
        Blame.OPERATOR,
        (
            "The registry or log shows an older state than was seen before.",
            "ທະບຽນກາງ ຫຼື ບັນທຶກສະແດງສະຖານະທີ່ເກົ່າກວ່າທີ່ເຄີຍເຫັນມາກ່ອນ.",
        ),
        ("Do not use it; ask its operator.", "ຢ່ານຳໃຊ້ຂໍ້ມູນນີ້; ກະລຸນາສອບຖາມຜູ້ດູແລລະບົບນັ້ນ."),
    ),
    Code.REGISTRY_UNREACHABLE: _entry(
        503,
        Blame.NETWORK,
        ("The registry cannot be reached.", "ບໍ່ສາມາດຕິດຕໍ່ທະບຽນກາງໄດ້."),
        (
            "Check the line and the registry's address; exchanges go on from the last good copy.",
            "ກະລຸນາກວດສາຍສັນຍານ ແລະ ທີ່ຢູ່ຂອງທະບຽນກາງ; ການແລກປ່ຽນຍັງດຳເນີນຕໍ່ດ້ວຍສຳເນົາທີ່ດີຫຼ້າສຸດ.",
        ),
        retryable=True,
    ),
    Code.DATABASE_UNAVAILABLE: _entry(
        503,
        Blame.OPERATOR,
        (
            "The registry's database does not answer, or refused.",
            "ຖານຂໍ້ມູນຂອງທະບຽນກາງບໍ່ຕອບ ຫຼື ປະຕິເສດ.",
        ),
        (
            "Check the database and try again; what is published is served meanwhile.",
            "ກະລຸນາກວດກາຖານຂໍ້ມູນ ແລະ ລອງໃໝ່; ສິ່ງທີ່ເຜີຍແຜ່ແລ້ວຍັງໃຫ້ບໍລິການຢູ່.",
        ),
        retryable=True,
    ),
    Code.NOT_AUTHORISED: _entry(
        401,
        Blame.CALLER,
        (
            "This needs a right that was not shown.",
            "ການກະທຳນີ້ຕ້ອງໃຊ້ສິດທີ່ຍັງບໍ່ໄດ້ສະແດງ.",
        ),
        (
            "Send a key or token that is valid and has the right for this.",
            "ກະລຸນາສົ່ງກະແຈ ຫຼື ໂທເຄັນທີ່ຍັງໃຊ້ໄດ້ ແລະ ມີສິດເຮັດສິ່ງນີ້.",
        ),
    ),
    Code.NOT_FOUND: _entry(
        404,
        Blame.CALLER,
        ("There is no such thing here.", "ບໍ່ມີສິ່ງດັ່ງກ່າວຢູ່ບ່ອນນີ້."),
        ("Check the name; list what exists.", "ກະລຸນາກວດຊື່; ເບິ່ງລາຍການທີ່ມີຢູ່."),
    ),
    Code.CONFLICT: _entry(
        409,
        Blame.CALLER,
        ("What is there already does not allow this.", "ສິ່ງທີ່ມີຢູ່ແລ້ວ ບໍ່ອະນຸຍາດໃຫ້ເຮັດສິ່ງນີ້."),
        (
            "Look at what is there: end what is in the way, or ask for something that fits it.",
            "ກະລຸນາເບິ່ງສິ່ງທີ່ມີຢູ່: ຢຸດສິ່ງທີ່ກີດຂວາງ ຫຼື ຂໍສິ່ງທີ່ສອດຄ່ອງກັນ.",
        ),
    ),
    Code.PRECONDITION_FAILED: _entry(
        412,
        Blame.CALLER,
        (
            "The record is not any more what the request says that it is.",
            "ບັນທຶກນີ້ບໍ່ເປັນຄືກັບທີ່ຄຳຮ້ອງລະບຸໄວ້ອີກແລ້ວ.",
        ),
        (
            "Read it again, look at what has changed, and send the change with its new ETag and a new X-Road-Id.",
            "ກະລຸນາອ່ານບັນທຶກຄືນໃໝ່, ກວດເບິ່ງສິ່ງທີ່ປ່ຽນແປງ ແລ້ວສົ່ງການແກ້ໄຂດ້ວຍ ETag ໃໝ່ ແລະ X-Road-Id ໃໝ່.",
        ),
    ),
    Code.BREAKING_CHANGE: _entry(
        409,
        Blame.CALLER,
        (
            "The new version would break those who use the published one.",
            "ສະບັບໃໝ່ຈະເຮັດໃຫ້ຜູ້ທີ່ໃຊ້ສະບັບທີ່ເຜີຍແຜ່ຢູ່ ໃຊ້ງານບໍ່ໄດ້.",
        ),
        (
            "Change it so that nothing breaks (saphan schema check OLD NEW shows the places), publish it beside the old one, or add the consent of every consumer (saphan schema consent).",
            "ກະລຸນາແກ້ໄຂໃຫ້ເຂົ້າກັນໄດ້ (saphan schema check OLD NEW ບອກຈຸດ), ເຜີຍແຜ່ຄຽງຄູ່ກັບສະບັບເກົ່າ ຫຼື ເພີ່ມການຍິນຍອມຂອງຜູ້ໃຊ້ບໍລິການທຸກຝ່າຍ (saphan schema consent).",
        ),
    ),
    Code.INVALID_DOCUMENT: _entry(
        422,
        Blame.CALLER,
        (
            "A document is malformed or breaks its schema.",
            "ເອກະສານຜິດຮູບແບບ ຫຼື ບໍ່ຖືກຕ້ອງຕາມໂຄງຮ່າງຂໍ້ມູນຂອງມັນ.",
        ),
        ("Correct the named place and submit it again.", "ກະລຸນາແກ້ຈຸດທີ່ລະບຸໄວ້ ແລ້ວສົ່ງໃໝ່."),
    ),
    Code.INVALID_PROOF: _entry(
        422,
        Blame.PEER,
        ("A Merkle proof does not lead to the root it should.", "ຫຼັກຖານ Merkle ບໍ່ນຳໄປສູ່ຮາກທີ່ຄວນຈະເປັນ."),
        (
            "Do not trust the record; ask the log's operator for the files.",
            "ຢ່າເຊື່ອຖືລາຍການບັນທຶກນີ້; ກະລຸນາຂໍໄຟລ໌ຈາກຜູ້ດູແລບັນທຶກ.",
        ),
    ),
    Code.INVALID_NOTE: _entry(
        422,
        Blame.PEER,
        (
            "A signed note or checkpoint is malformed or not signed by the known key.",
            "ຂໍ້ຄວາມທີ່ເຊັນ ຫຼື ຈຸດກວດສອບ (checkpoint) ຜິດຮູບແບບ ຫຼື ບໍ່ໄດ້ເຊັນດ້ວຍກະແຈທີ່ຮູ້ຈັກ.",
        ),
        ("Do not trust it; check the verifier key.", "ຢ່າເຊື່ອຖືຂໍ້ຄວາມນີ້; ກະລຸນາກວດກະແຈທີ່ໃຊ້ກວດລາຍເຊັນ."),
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
    Code.INVALID_REVOCATION_STATUS: _entry(
        422,
        Blame.PEER,
        (
            "What was said of a certificate's revocation is malformed, of another certificate, out of"
            " date, or not signed by its authority.",
            "ຂໍ້ມູນການຖອນຄືນໃບຢັ້ງຢືນຜິດຮູບແບບ, ເປັນຂອງໃບຢັ້ງຢືນອື່ນ, ໝົດອາຍຸ ຫຼື ບໍ່ໄດ້ເຊັນໂດຍອົງການທີ່ອອກໃບນັ້ນ.",
        ),
        (
            "Do not rely on it; see to the OCSP responder or revocation list of the authority, and to"
            " this server's clock.",
            "ຢ່າອາໄສຂໍ້ມູນນີ້; ກວດເບິ່ງ OCSP ຫຼື ບັນຊີການຖອນຄືນຂອງອົງການ ແລະ ໂມງຂອງເຄື່ອງແມ່ຂ່າຍນີ້.",
        ),
    ),
    Code.JOURNAL_CORRUPT: _entry(
        500,
        Blame.OPERATOR,
        (
            "A file of the journal is not what the checkpoint says it was.",
            "ໄຟລ໌ຂອງບັນທຶກບໍ່ກົງກັບທີ່ຈຸດກວດສອບລະບຸໄວ້.",
        ),
        (
            "Restore the named file from a copy; saphan audit verify shows what differs.",
            "ກະລຸນາກູ້ຄືນໄຟລ໌ທີ່ລະບຸຈາກສຳເນົາ; ຄຳສັ່ງ saphan audit verify ສະແດງສ່ວນທີ່ຕ່າງກັນ.",
        ),
    ),
    Code.JOURNAL_FORKED: _entry(
        500,
        Blame.OPERATOR,
        (
            "The journal on disk does not continue the published checkpoint.",
            "ບັນທຶກໃນດິສບໍ່ໄດ້ສືບຕໍ່ຈາກຈຸດກວດສອບທີ່ເຜີຍແຜ່ແລ້ວ.",
        ),
        (
            "Do not sign: find the right copy of the journal.",
            "ຢ່າເຊັນ: ກະລຸນາຊອກຫາສຳເນົາທີ່ຖືກຕ້ອງຂອງບັນທຶກ.",
        ),
    ),
    Code.ARCHIVED: _entry(
        404,
        Blame.OPERATOR,
        (
            "This part of the journal was archived, and is no longer on this server.",
            "ສ່ວນນີ້ຂອງບັນທຶກຖືກເກັບໄວ້ໃນຄັງ ແລະ ບໍ່ຢູ່ໃນເຄື່ອງແມ່ຂ່າຍນີ້ອີກແລ້ວ.",
        ),
        (
            "Restore it from the archive that is named: saphan archive restore.",
            "ກະລຸນາກູ້ຄືນຈາກຄັງທີ່ລະບຸດ້ວຍຄຳສັ່ງ saphan archive restore.",
        ),
    ),
    Code.ARCHIVE_FAILED: _entry(
        503,
        Blame.OPERATOR,
        (
            "The archive cannot be used, or does not hold what was put into it.",
            "ຄັງເກັບຂໍ້ມູນໃຊ້ບໍ່ໄດ້ ຫຼື ບໍ່ມີສິ່ງທີ່ເຄີຍເກັບໄວ້.",
        ),
        (
            "Check the store and its account; nothing is removed here before it is archived well.",
            "ກະລຸນາກວດກາຄັງ ແລະ ບັນຊີຂອງຄັງ; ບໍ່ມີຫຍັງຖືກລຶບຢູ່ນີ້ກ່ອນຈະເກັບໄວ້ຢ່າງຖືກຕ້ອງ.",
        ),
        retryable=True,
    ),
    Code.LOG_CONTRADICTED: _entry(
        422,
        Blame.PEER,
        (
            "A log contradicts what it signed before: it was forked or set back.",
            "ບັນທຶກຂັດກັບສິ່ງທີ່ມັນເຄີຍເຊັນໄວ້: ມັນຖືກແຍກສາຂາ ຫຼື ຖືກຍ້ອນກັບ.",
        ),
        (
            "Keep the proof and ask the log's operator; do not trust what the log shows since.",
            "ກະລຸນາເກັບຫຼັກຖານໄວ້ ແລະ ຖາມຜູ້ດູແລບັນທຶກ; ຢ່າເຊື່ອຖືສິ່ງທີ່ບັນທຶກສະແດງຫຼັງຈາກນັ້ນ.",
        ),
    ),
    Code.NOT_WITNESSED: _entry(
        422,
        Blame.PEER,
        (
            "Fewer witnesses cosigned the checkpoint than the policy demands.",
            "ພະຍານທີ່ເຊັນຮັບຈຸດກວດສອບມີໜ້ອຍກວ່າທີ່ນະໂຍບາຍກຳນົດ.",
        ),
        (
            "Wait for the witnesses, or ask for a later checkpoint.",
            "ກະລຸນາລໍຖ້າພະຍານ ຫຼື ຂໍຈຸດກວດສອບທີ່ໃໝ່ກວ່າ.",
        ),
    ),
    Code.SEALED_PART_ERASED: _entry(
        410,
        Blame.OPERATOR,
        (
            "The content of this record was erased; that it was exchanged is still proven.",
            "ເນື້ອໃນຂອງລາຍການນີ້ຖືກລຶບແລ້ວ; ແຕ່ຍັງພິສູດໄດ້ວ່າມີການແລກປ່ຽນ.",
        ),
        (
            "Look at the entry of its erasure: it names the legal ground.",
            "ກະລຸນາເບິ່ງລາຍການບັນທຶກການລຶບ: ມັນບອກພື້ນຖານທາງກົດໝາຍ.",
        ),
    ),
    Code.KEY_LOST: _entry(
        410,
        Blame.OPERATOR,
        (
            "A key of sealed parts is gone, and no entry of the journal says that it was erased.",
            "ກະແຈຂອງສ່ວນທີ່ເຂົ້າລະຫັດໄວ້ຫາຍໄປ ແລະ ບໍ່ມີລາຍການໃດໃນບັນທຶກບອກວ່າຖືກລຶບ.",
        ),
        (
            "Put the key back from a backup, or find out who destroyed it; where only some keys "
            "were handed out deliberately, say --some-keys.",
            "ນຳກະແຈກັບຄືນຈາກສຳເນົາສຳຮອງ ຫຼື ຊອກຫາວ່າໃຜທຳລາຍ; ຖ້າໃຫ້ກະແຈພຽງບາງສ່ວນໂດຍເຈດຕະນາ "
            "ໃຫ້ໃຊ້ --some-keys.",
        ),
    ),
    Code.SEALED_PART_UNREADABLE: _entry(
        410,
        Blame.OPERATOR,
        (
            "The sealed part cannot be opened with the keys that are here.",
            "ເປີດສ່ວນທີ່ເຂົ້າລະຫັດໄວ້ ດ້ວຍກະແຈທີ່ມີຢູ່ບ່ອນນີ້ບໍ່ໄດ້.",
        ),
        (
            "Use the member's keys, and the passphrase of the key store if it has one.",
            "ກະລຸນາໃຊ້ກະແຈຂອງສະມາຊິກ ແລະ ລະຫັດຜ່ານຂອງບ່ອນເກັບກະແຈ ຖ້າມີ.",
        ),
    ),
    Code.INVALID_USAGE: _entry(
        400,
        Blame.CALLER,
        (
            "An option, an argument or a file of the command cannot be used.",
            "ຕົວເລືອກ, ຄ່າ ຫຼື ໄຟລ໌ຂອງຄຳສັ່ງນີ້ ໃຊ້ບໍ່ໄດ້.",
        ),
        (
            "Correct what is named; the command with --help explains each option.",
            "ກະລຸນາແກ້ສິ່ງທີ່ລະບຸໄວ້; ໃຊ້ --help ກັບຄຳສັ່ງນັ້ນ ເພື່ອເບິ່ງຄຳອະທິບາຍ.",
        ),
    ),
    Code.OWN_SERVER_UNREACHABLE: _entry(
        503,
        Blame.OPERATOR,
        (
            "The security server of the caller itself gave no answer.",
            "ເຄື່ອງແມ່ຂ່າຍຄວາມປອດໄພຂອງຜູ້ເອີ້ນໃຊ້ເອງ ບໍ່ຕອບ.",
        ),
        (
            "See that it runs, and that its settings below listen name this address.",
            "ກະລຸນາກວດວ່າເຄື່ອງແມ່ຂ່າຍເຮັດວຽກຢູ່ ແລະ ຄ່າຕັ້ງພາຍໃຕ້ listen ແມ່ນທີ່ຢູ່ນີ້.",
        ),
        retryable=True,
    ),
    Code.INVALID_SETTINGS: _entry(
        422,
        Blame.OPERATOR,
        (
            "A setting is unknown, missing or out of range.",
            "ຄ່າຕັ້ງບໍ່ເປັນທີ່ຮູ້ຈັກ, ຂາດຫາຍ ຫຼື ຢູ່ນອກຂອບເຂດທີ່ກຳນົດ.",
        ),
        (
            "Correct the named setting; docs/settings.md lists all.",
            "ກະລຸນາແກ້ຄ່າຕັ້ງທີ່ລະບຸໄວ້; ເບິ່ງລາຍການທັງໝົດໃນ docs/settings.md.",
        ),
    ),
    Code.INVALID_MAPPING: _entry(
        422,
        Blame.OPERATOR,
        (
            "The adapter's mapping is malformed or does not fit its source.",
            "ການຈັບຄູ່ຂໍ້ມູນຂອງຕົວເຊື່ອມຕໍ່ (adapter) ຜິດຮູບແບບ ຫຼື ບໍ່ກົງກັບແຫຼ່ງຂໍ້ມູນ.",
        ),
        (
            "Correct the named place; saphan adapter check shows the rest.",
            "ກະລຸນາແກ້ຈຸດທີ່ລະບຸໄວ້; ຄຳສັ່ງ saphan adapter check ສະແດງຈຸດທີ່ເຫຼືອ.",
        ),
    ),
    Code.UNREADABLE_TEXT: _entry(
        422,
        Blame.OPERATOR,
        (
            "It is not certain what encoding the text is in, or it is not in the one that was named.",
            "ບໍ່ແນ່ໃຈວ່າຂໍ້ຄວາມຢູ່ໃນລະຫັດຕົວອັກສອນໃດ ຫຼື ຂໍ້ຄວາມບໍ່ຢູ່ໃນລະຫັດທີ່ລະບຸ.",
        ),
        (
            "Let saphan text detect show the encodings that it may be in, and name one with --from.",
            "ກະລຸນາໃຊ້ saphan text detect ເພື່ອເບິ່ງລະຫັດທີ່ເປັນໄປໄດ້ ແລ້ວລະບຸລະຫັດໜຶ່ງດ້ວຍ --from.",
        ),
    ),
    Code.NOT_CONVERGED: _entry(
        503,
        Blame.OPERATOR,
        (
            "What was asked of the instance is saved, but could not be made yet.",
            "ສິ່ງທີ່ຮ້ອງຂໍຖືກບັນທຶກໄວ້ແລ້ວ ແຕ່ຍັງບໍ່ສາມາດດຳເນີນການໃຫ້ສຳເລັດໄດ້.",
        ),
        (
            "See which step failed with GET /api/v1/status and mend it; it is tried again by itself.",
            "ເບິ່ງຂັ້ນຕອນທີ່ລົ້ມເຫຼວດ້ວຍ GET /api/v1/status ແລ້ວແກ້ໄຂ; ລະບົບຈະລອງໃໝ່ເອງ.",
        ),
        retryable=True,
    ),
    Code.DEVELOPMENT_ONLY: _entry(
        403,
        Blame.OPERATOR,
        (
            "Development certificates are refused by an instance that says production.",
            "ລະບົບທີ່ລະບຸວ່າໃຊ້ງານຈິງ (production) ບໍ່ຮັບໃບຢັ້ງຢືນສຳລັບການພັດທະນາ.",
        ),
        (
            "Use certificates of the national certification authority.",
            "ກະລຸນາໃຊ້ໃບຢັ້ງຢືນຂອງອົງການອອກໃບຢັ້ງຢືນແຫ່ງຊາດ.",
        ),
    ),
    Code.UNKNOWN_ELEMENT: _entry(
        404,
        Blame.CALLER,
        (
            "The dictionary of data elements has no element of this id.",
            "ວັດຈະນານຸກົມຂໍ້ມູນ ບໍ່ມີລາຍການຂໍ້ມູນທີ່ມີລະຫັດນີ້.",
        ),
        (
            "Look up the ids in the registry's directory (saphan registry list elements).",
            "ກະລຸນາຊອກຫາລະຫັດໃນສາລະບານຂອງທະບຽນກາງ (saphan registry list elements).",
        ),
    ),
    Code.ELEMENT_HAS_SOURCE: _entry(
        409,
        Blame.CALLER,
        (
            "This data element is registered already, with its one authoritative source.",
            "ລາຍການຂໍ້ມູນນີ້ໄດ້ຂຶ້ນທະບຽນແລ້ວ ໂດຍມີແຫຼ່ງຂໍ້ມູນທາງການພຽງແຫຼ່ງດຽວ.",
        ),
        (
            "Ask the source that is named. If the source has changed, say in `follows` which it was.",
            "ກະລຸນາຂໍຈາກແຫຼ່ງທີ່ລະບຸໄວ້. ຖ້າແຫຼ່ງຂໍ້ມູນປ່ຽນແລ້ວ ໃຫ້ລະບຸແຫຼ່ງເກົ່າໃນ `follows`.",
        ),
    ),
    Code.ASK_ONCE: _entry(
        422,
        Blame.CALLER,
        (
            "The service asks people for what another organisation already holds.",
            "ບໍລິການນີ້ຖາມຂໍ້ມູນຈາກປະຊາຊົນ ທີ່ໜ່ວຍງານອື່ນມີຢູ່ແລ້ວ.",
        ),
        (
            "Take the element out of the request and fetch it from the source that is named, "
            "or have an exception registered with its legal ground and end.",
            "ກະລຸນາເອົາລາຍການຂໍ້ມູນນັ້ນອອກຈາກຄຳຮ້ອງ ແລ້ວດຶງຈາກແຫຼ່ງທີ່ລະບຸໄວ້ "
            "ຫຼື ຂຶ້ນທະບຽນຂໍ້ຍົກເວັ້ນ ພ້ອມພື້ນຖານທາງກົດໝາຍ ແລະ ວັນສິ້ນສຸດ.",
        ),
    ),
}
