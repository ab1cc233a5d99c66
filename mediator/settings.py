"""Every setting of a security server, in one table; docs/settings.md is printed from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.messages.error_types import ErrorTypes
from exchange.problems import Code, Problem
from exchange.registrations import RESERVED_SERVICE_CODES
from mediator.archive.settings import ArchiveSettings
from mediator.journal.log import JournalSettings
from mediator.message.long_bodies import CHECKED_MAX_BYTES
from mediator.once.settings import OnceSettings
from mediator.retention.classes import RetentionSettings
from mediator.witness.settings import WitnessSettings
from serving.bodies import IN_MEMORY_BYTES
from serving.listener import MAX_CONNECTIONS
from serving.logs import LogLevel
from serving.replies import Profile
from serving.requests import MAX_HEAD_BYTES
from serving.settings import setting


class ConnectionMode(StrEnum):
    """How an application connects to its own server (X-Road: connection type)."""

    MTLS = "mtls"
    HTTPS = "https"
    HTTP = "http"


class Validation(StrEnum):
    """What a payload that breaks its contract leads to."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Where the registry is and how long this server trusts its last copy."""

    url: str = setting("base URL of the registry")
    root: Path = setting("file with the registry's TUF root metadata, the trust anchor")
    mirrors: tuple[str, ...] = setting(
        "further base URLs of the same files, asked in turn when one fails", default=()
    )
    policy: Path | None = setting(
        "trust policy (C2SP tlog-policy): whose cosignatures on the registry's log are demanded, "
        "whatever the registry says of it",
        default=None,
    )
    gossip: int = setting(
        "so many other servers, chosen by chance, are asked what the registry shows them; 0: none",
        default=3,
        low=0,
        high=16,
    )
    poll_s: float = setting("seconds between two polls", default=30.0, low=0.2, high=3600)
    grace_s: float = setting(
        "seconds for which an expired copy is still used, with an alarm",
        default=86400.0,
        low=0,
        high=30 * 86400,
    )


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate (PEM, leaf first) and its private key."""

    certificate: Path = setting("certificate file, PEM, leaf first, then the issuing authorities")
    key: Path = setting("private key file, PEM, readable by this process only")


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Addresses as host:port; port 0 takes a free one."""

    peer: str = setting("address for other security servers (TLS 1.3, both certificates)")
    http: str | None = setting(
        "address for applications in plain text; loopback or `http_networks` only", default=None
    )
    https: str | None = setting("address for applications over TLS", default=None)
    admin: str = setting(
        "address of health, metrics and administration; loopback only", default="127.0.0.1:0"
    )
    govstack_harness: str | None = setting(
        "address for GovStack's test suite, in plain text; loopback or `http_networks` only",
        default=None,
    )
    witness: str | None = setting(
        "address where anybody may have a log cosigned that this server witnesses (C2SP "
        "tlog-witness), such as the registry its own; over TLS",
        default=None,
    )
    http_networks: tuple[str, ...] = setting(
        "networks, besides loopback, from which plain text is allowed", default=()
    )

    def __post_init__(self) -> None:
        for network in self.http_networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise Problem(
                    Code.INVALID_SETTINGS, where="listen.http_networks", detail=str(error)
                ) from error


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """A member hosted by this server, with its seal key."""

    id: MemberId = setting("member identifier, such as LA/GOV/MPI")
    seal: KeyPair = setting("the member's seal certificate and key")


@dataclass(frozen=True, slots=True)
class ApplicationSettings:
    """An application that may call through this server."""

    id: ApplicationId = setting("application identifier, such as LA/GOV/MOF/budget")
    mode: ConnectionMode = setting("mtls, https or http", default=ConnectionMode.MTLS)
    certificates: tuple[Path, ...] = setting(
        "client certificates of the application (PEM), pinned", default=()
    )


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """A service that this server offers for a member."""

    id: ServiceId = setting("service identifier, such as LA/GOV/MPI/oda-mis/projects")
    url: str | None = setting("base URL of an HTTP backend", default=None)
    adapter: Path | None = setting(
        "mapping file of an adapter that runs in this process", default=None
    )
    openapi: Path | None = setting(
        "the service's OpenAPI document; an adapter makes its own", default=None
    )
    validation: Validation = setting(
        "enforce, report or off: what a payload that breaks the contract leads to",
        default=Validation.ENFORCE,
    )
    connect_s: float = setting("seconds for connecting to the backend", default=5.0, low=0.1)
    first_byte_s: float | None = setting(
        "seconds until the backend's answer begins; `timeout_s` if not given",
        default=None,
        low=0.1,
    )
    timeout_s: float = setting(
        "seconds for the backend's whole answer; a long body has more, see "
        "`limits.floor_bytes_per_s`",
        default=30.0,
        low=0.1,
    )
    concurrent: int | None = setting(
        "exchanges with the backend at the same time; `limits.service_concurrent` if not given",
        default=None,
        low=1,
    )
    per_second: int | None = setting("calls a second, of all callers together", default=None, low=1)
    per_day: int | None = setting("calls a day (UTC), of all callers together", default=None, low=1)
    request_max_bytes: int | None = setting(
        "largest request body, where that is less than `limits.request_max_bytes`",
        default=None,
        low=1024,
    )
    response_max_bytes: int = setting(
        "largest answer of the backend", default=256 * 1024 * 1024, low=1024
    )
    ca: Path | None = setting("authorities (PEM) that an https backend must chain to", default=None)
    exactly_once: bool = setting(
        "false carries a POST, PUT, PATCH or DELETE that an application repeats out again",
        default=True,
    )
    remembers_ids: bool = setting(
        "true vouches that an HTTP backend carries an X-Road-Id out once and answers a repeat as "
        "it did first, as adapters that write do; repeats are then its to answer",
        default=False,
    )
    retention: RetentionSettings | None = setting(
        "what the journal keeps of its exchanges, where that is less than `retention`", default=None
    )
    narrows_rows: bool = setting(
        "true vouches that an HTTP backend obeys `Exchange-Rows`, the row conditions of "
        "agreements, as adapters do; without it such agreements open nothing",
        default=False,
    )
    enabled: bool = setting("false switches the service off", default=True)
    notice: str = setting("what callers read while it is off", default="")

    def __post_init__(self) -> None:
        if self.id.service_code in RESERVED_SERVICE_CODES:
            raise Problem(
                Code.INVALID_SETTINGS,
                where=f"service {self.id}",
                detail=f"{self.id.service_code} is a reserved service code of X-Road",
            )


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Bounds of calls to one service of another member; what is not given is of `limits`."""

    service: ServiceId = setting("the service that is called")
    connect_s: float | None = setting("seconds for connecting to its server", default=None, low=0.1)
    first_byte_s: float | None = setting(
        "seconds until the answer begins; more than the provider's backend may take in all",
        default=None,
        low=0.1,
    )
    exchange_s: float | None = setting(
        "seconds for the whole answer of its server", default=None, low=0.1
    )
    request_max_bytes: int | None = setting(
        "largest request body, where that is less than `limits.request_max_bytes`",
        default=None,
        low=1024,
    )
    answer_max_bytes: int | None = setting("largest answer accepted", default=None, low=1024)
    concurrent: int | None = setting(
        "calls to it at the same time; `limits.service_concurrent` if not given",
        default=None,
        low=1,
    )
    retention: RetentionSettings | None = setting(
        "what the journal keeps of these calls, where that is less than `retention`", default=None
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Bounds of lengths, waits and concurrency."""

    request_max_bytes: int = setting("largest request body", default=256 * 1024 * 1024, low=1024)
    answer_max_bytes: int = setting(
        "largest answer accepted from another server", default=256 * 1024 * 1024, low=1024
    )
    bodies_memory_bytes: int = setting(
        "bodies in memory, of all exchanges together; a body of up to 1 MiB stays there",
        default=256 * 1024 * 1024,
        low=4 * 1024 * 1024,
    )
    spool_max_bytes: int = setting(
        "longer bodies on disk (folder `spool`), of all exchanges together; "
        "`low_disk_bytes` are left free besides",
        default=16 * 1024 * 1024 * 1024,
        low=0,
    )
    checked_max_bytes: int = setting(
        "longest JSON body that is read into memory for its contract or to release some fields",
        default=CHECKED_MAX_BYTES,
        low=IN_MEMORY_BYTES,
    )
    url_max_bytes: int = setting("longest path and query", default=8190, low=256, high=65536)
    head_max_bytes: int = setting(
        "longest header block of an application's request or a backend's answer",
        default=MAX_HEAD_BYTES,
        low=4096,
        high=MAX_HEAD_BYTES,
    )
    head_max_fields: int = setting(
        "most header fields of an application's request", default=85, low=16, high=85
    )
    head_s: float = setting(
        "seconds from the first byte of a request to the end of its header block",
        default=10.0,
        low=0.1,
    )
    read_s: float = setting("seconds for reading a short request body", default=30.0, low=0.1)
    wait_s: float = setting(
        "seconds for which a call waits when all `connections` of its service are busy",
        default=5.0,
        low=0.1,
    )
    connect_s: float = setting("seconds for connecting to another server", default=5.0, low=0.1)
    first_byte_s: float = setting(
        "seconds until the other server's answer begins; it has the backend's whole answer by then",
        default=45.0,
        low=0.1,
    )
    exchange_s: float = setting(
        "seconds for the other server's whole answer; a long body has more, see "
        "`limits.floor_bytes_per_s`",
        default=60.0,
        low=0.1,
    )
    stall_s: float = setting(
        "seconds for which a body may stand still on its way", default=20.0, low=0.1
    )
    floor_bytes_per_s: int = setting(
        "the slowest line: each so many bytes of a body give an exchange a second more",
        default=16 * 1024,
        low=1,
    )
    concurrent: int = setting("exchanges at the same time", default=4000, low=1)
    share: float = setting(
        "part of `concurrent` that one application, agreement or other server may have; of "
        "`bodies_memory_bytes` and `spool_max_bytes`, one application or other server",
        default=0.5,
        low=0.001,
        high=1,
    )
    service_concurrent: int = setting(
        "exchanges at the same time with one service, offered or called, that says nothing itself",
        default=1000,
        low=1,
    )
    refusals_per_s: int = setting(
        "refusals a second, before anything of a message is read, that are recorded one by one; "
        "further ones are recorded as a number",
        default=10,
        low=0,
        high=1000,
    )
    listener_connections: int = setting(
        "connections to one listener at the same time; more are turned away",
        default=MAX_CONNECTIONS,
        low=1,
    )
    connections: int = setting(
        "pooled connections for one service, to its server or its backend", default=64, low=1
    )
    low_disk_bytes: int = setting(
        "free bytes on the journal's disk below which health says failing",
        default=256 * 1024 * 1024,
        low=0,
    )
    drain_s: float = setting("seconds for which a stop waits for exchanges", default=20.0, low=0)
    journal_body_max_bytes: int = setting(
        "largest body kept in the journal; of a longer one the digest is kept",
        default=IN_MEMORY_BYTES,
        low=0,
        high=IN_MEMORY_BYTES,
    )
    keepalive_s: float = setting(
        "seconds for which an idle connection is kept", default=75.0, low=1
    )


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """How a provider's server is chosen, and how often a call is tried."""

    attempts: int = setting(
        "attempts for one call, all servers of the provider together", default=4, low=1, high=16
    )
    backoff_s: float = setting(
        "seconds before a call is tried again at a server that had it; doubles each time, up to "
        "half of it less by chance",
        default=0.1,
        low=0,
        high=60,
    )
    backoff_max_s: float = setting("longest such wait", default=2.0, low=0, high=60)
    retry_share: float = setting(
        "share of the messages to a server that may be repeated after they failed there",
        default=0.2,
        low=0,
        high=1,
    )
    retry_reserve: float = setting(
        "repeats that a server has besides, so that one with few messages has some",
        default=10,
        low=0,
        high=1000,
    )
    breaker_failures: int = setting(
        "failures in a row after which a server rests", default=5, low=1, high=1000
    )
    breaker_s: float = setting(
        "seconds of the first rest; each failed look doubles it", default=1.0, low=0.01, high=3600
    )
    breaker_max_s: float = setting("longest rest", default=30.0, low=0.01, high=3600)


@dataclass(frozen=True, slots=True)
class StamperSettings:
    """A time-stamp authority of this server's own choice."""

    url: str = setting("its address (RFC 3161 over http or https)")
    certificates: Path = setting("authorities (PEM) that its certificate must chain to")


@dataclass(frozen=True, slots=True)
class StampingSettings:
    """Time-stamps on the journal's anchors; traffic never waits for them."""

    enabled: bool = setting("false: no time-stamps are asked for", default=True)
    authorities: tuple[StamperSettings, ...] = setting(
        "authorities asked in turn; those that the registry lists if none is given", default=()
    )
    interval_s: float = setting(
        "least seconds between two stamps; one covers all entries before it",
        default=60.0,
        low=0.05,
        high=86400,
    )
    timeout_s: float = setting("seconds for one authority's answer", default=10.0, low=0.1, high=60)
    alarm_s: float = setting(
        "seconds after which an entry without a stamp is an alarm", default=900.0, low=0
    )


class RevocationMode(StrEnum):
    """What a revoked certificate leads to."""

    OFF = "off"
    REPORT = "report"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class RevocationSettings:
    """Asking OCSP responders and revocation lists about certificates, beside the traffic."""

    mode: RevocationMode = setting(
        "off: nothing is asked; report: what is revoked is told; enforce: it is refused, too",
        default=RevocationMode.ENFORCE,
    )
    ocsp_url: str | None = setting("OCSP responder for certificates that name none", default=None)
    refresh_s: float = setting(
        "seconds after which an answer is asked for anew, or half its time where that is less",
        default=3600.0,
        low=1,
        high=86400,
    )
    timeout_s: float = setting("seconds for one answer", default=10.0, low=0.1, high=60)
    max_age_s: float = setting(
        "seconds for which the last good answer is relied on when none can be had; then the "
        "certificate is refused (enforce)",
        default=3 * 86400.0,
        low=60,
    )
    alarm_s: float = setting(
        "seconds after which a missing answer is an alarm", default=900.0, low=0
    )


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One security server."""

    server: ServerId = setting("identifier of this server, such as LA/GOV/MPI/ss1")
    directory: Path = setting("folder for the journal and the copy of the registry")
    address: str = setting("https URL under which other servers reach this one")
    registry: RegistrySettings = setting("the registry")
    auth: KeyPair = setting("TLS certificate and key of this server (profile auth)")
    listen: ListenSettings = setting("where this server listens")
    members: tuple[MemberSettings, ...] = setting("members hosted here")
    applications: tuple[ApplicationSettings, ...] = setting(
        "applications that call through this server", default=()
    )
    services: tuple[ServiceSettings, ...] = setting("services offered here", default=())
    harness_registries: tuple[RegistrySettings, ...] = setting(
        "registries of further instances that listen.govstack_harness answers from", default=()
    )
    calls: tuple[CallSettings, ...] = setting(
        "bounds of calls to single services of others", default=()
    )
    agreements: Path | None = setting(
        "folder with sealed agreements (*.jws): those of members hosted here open doors; copies of "
        "those by which they call others tell what is allowed, and when it ends",
        default=None,
    )
    limits: LimitSettings = setting("bounds", default_factory=LimitSettings)
    profile: Profile = setting(
        "saphan or x-road: whose statuses and shapes the errors have that applications get",
        default=Profile.SAPHAN,
    )
    error_types: ErrorTypes = setting(
        "camel (Server.ClientProxy.NetworkError) or snake, as X-Road writes them from 7.8 on",
        default=ErrorTypes.CAMEL,
    )
    peers: PeerSettings = setting(
        "how providers' servers are chosen and tried again", default_factory=PeerSettings
    )
    maintenance: str | None = setting(
        "a notice: this server starts in maintenance and refuses other servers' messages with it",
        default=None,
    )
    retention: RetentionSettings = setting(
        "what the journal keeps sealed of each exchange: bodies for 3650 days if nothing is said",
        default_factory=RetentionSettings,
    )
    journal: JournalSettings = setting("how the journal writes", default_factory=JournalSettings)
    stamping: StampingSettings = setting(
        "time-stamps on the journal", default_factory=StampingSettings
    )
    witnesses: WitnessSettings = setting(
        "who cosigns the journal, and whose journals are cosigned here",
        default_factory=WitnessSettings,
    )
    revocation: RevocationSettings = setting(
        "whether certificates are revoked", default_factory=RevocationSettings
    )
    archive: ArchiveSettings = setting(
        "where the journal is archived, and what is removed here then",
        default_factory=ArchiveSettings,
    )
    once: OnceSettings = setting(
        "the book of requests that were carried out", default_factory=OnceSettings
    )
    disclosure_delay_days: int = setting(
        "days for which no use is told to the person whom it was about; an agreement may say more",
        default=0,
        low=0,
        high=3660,
    )
    log_level: LogLevel = setting("debug, info, warning or error", default=LogLevel.INFO)

    def __post_init__(self) -> None:
        hosted = {member.id for member in self.members}
        for application in self.applications:
            if application.id.member not in hosted:
                raise Problem(
                    Code.INVALID_SETTINGS,
                    where=f"application {application.id}",
                    detail=f"{application.id.member} is not hosted here: nothing can be sealed",
                )
        called = [call.service for call in self.calls]
        if len(set(called)) != len(called):
            raise Problem(
                Code.INVALID_SETTINGS, where="calls", detail="a service stands there twice"
            )
