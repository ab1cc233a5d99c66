"""Connections: whether one is good enough for the application that calls over it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from exchange.certificates.reading import fingerprint
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


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who may come in for the applications of this server, and from where in plain text."""

    applications: Mapping[ApplicationId, LocalApplication]
    plain_networks: tuple[IPv4Network | IPv6Network, ...]

    def enter(self, transport: object, remote: str) -> Connection:
        """The connection that a request came on.

        Raises:
            Problem: ``TlsRequired`` for plain text from elsewhere.
        """
        connection = Connection.of(transport)
        if not connection.tls and not is_near(remote, self.plain_networks):
            raise Problem(
                Code.TLS_REQUIRED,
                where="connection",
                detail=f"plain text is not taken from {remote}",
            )
        return connection

    def admit(self, client: ApplicationId, connection: Connection, remote: str) -> LocalApplication:
        """The local application ``client``, if the connection is good enough for it.

        Raises:
            Problem: as :func:`authenticate`; ``ClientCertificateRequired`` for an application in
                mode http from elsewhere.
        """
        application = authenticate(client, connection, self.applications)
        if application.mode is ConnectionMode.HTTP and not is_near(remote, self.plain_networks):
            # Trusted by its place alone, of which TLS without a certificate says nothing.
            raise Problem(
                Code.CLIENT_CERTIFICATE_REQUIRED,
                where="connection",
                detail=f"{client}, in mode http, is not taken from {remote}",
            )
        return application


@lru_cache(maxsize=4096)
def is_near(remote: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether an address is on loopback or in a network from which plain text is allowed."""
    if not remote:
        return False
    address = ip_address(remote)
    return address.is_loopback or any(address in network for network in networks)
