"""Connections: whether one is good enough for the application that calls over it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from exchange.certificates import fingerprint
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem
from mediator.settings import ConnectionMode


@dataclass(frozen=True, slots=True)
class LocalApplication:
    """An application that may call through this server."""

    id: ApplicationId
    mode: ConnectionMode
    fingerprints: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of the connection a request came on."""

    tls: bool
    certificate: bytes | None

    @classmethod
    def of(cls, transport: object) -> Connection:
        """Read it off an asyncio transport."""
        get = getattr(transport, "get_extra_info", None)
        tls = get("ssl_object") if get else None
        if not isinstance(tls, ssl.SSLObject):
            return cls(tls=False, certificate=None)
        return cls(tls=True, certificate=tls.getpeercert(binary_form=True))


def authenticate(
    client: ApplicationId,
    connection: Connection,
    applications: Mapping[ApplicationId, LocalApplication],
) -> LocalApplication:
    """The local application behind a call, if its connection is good enough for its mode.

    Raises:
        Problem: ``UnknownApplication`` when it may not call through this server; ``TlsRequired``,
            ``ClientCertificateRequired`` or ``SslAuthenticationFailed`` as its mode demands.
    """
    application = applications.get(client)
    if application is None:
        raise Problem(
            Code.UNKNOWN_APPLICATION,
            where="X-Road-Client",
            detail=f"{client} is not an application of this security server",
        )
    if application.mode is ConnectionMode.HTTP:
        return application
    if not connection.tls:
        raise Problem(
            Code.TLS_REQUIRED, where="connection", detail=f"{client} must connect over HTTPS"
        )
    if application.mode is ConnectionMode.MTLS:
        if connection.certificate is None:
            raise Problem(
                Code.CLIENT_CERTIFICATE_REQUIRED,
                where="connection",
                detail=f"{client} must show its client certificate",
            )
        if fingerprint(connection.certificate) not in application.fingerprints:
            raise Problem(
                Code.CLIENT_CERTIFICATE_REJECTED,
                where="connection",
                detail=f"the client certificate is not one that is pinned for {client}",
            )
    return application
