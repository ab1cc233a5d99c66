"""Where a security server listens, and what stands behind each address.

=====================  ==========================================================================
``peer``               other security servers, over TLS 1.3 with certificates of the registry
``http``, ``https``    applications: calls, and questions to this server (:mod:`mediator.pages`)
``witness``            whoever has a log cosigned and is no server, such as the registry
``govstack_harness``   GovStack's test harness, which is never on by default
``admin``              administration and audit: no login, so on loopback only
=====================  ==========================================================================
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network

from cryptography import x509

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import ApplicationId
from exchange.problems import Code, Problem, Side
from exchange.trust.state import RegistryState
from mediator import xroad
from mediator.administration.api import Admin
from mediator.administration.metrics import Metrics
from mediator.agreements.terms import call_bounds
from mediator.auditing.api import AuditApi
from mediator.background.revocation import Statuses
from mediator.consumer.inlet import Inlet
from mediator.consumer.path import Consumer
from mediator.govstack.allowed import AllowedMethods
from mediator.govstack.directory import Directory
from mediator.govstack.harness import Harness
from mediator.govstack.registries import States
from mediator.message.gate import Gate
from mediator.message.handshakes import Handshakes
from mediator.message.records import Recorder
from mediator.once_only.asking import Asking
from mediator.once_only.previews import Previews
from mediator.once_only.service import OnceOnly
from mediator.own_keys import read_certificates
from mediator.pages.evidence import Evidence
from mediator.pages.pages import Pages
from mediator.provider.inlet import PeerInlet
from mediator.provider.path import Provider
from mediator.settings import ServerSettings
from mediator.witness.service import MAX_CONNECTIONS, Witness
from mediator.xroad.asic import Asic
from mediator.xroad.clients import ListClients
from mediator.xroad.verification import VerificationConf
from serving import replies, tls
from serving.bodies import Spools
from serving.listener import Listener, is_loopback, listen, split_address
from serving.requests import Handler, Reply, Request

_DRAIN_S = 2.0
_SMALL_DRAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where a running server listens."""

    peer: Listener
    http: Listener | None
    https: Listener | None
    witness: Listener | None
    govstack_harness: Listener | None
    admin: Listener


@dataclass(frozen=True, slots=True)
class Doors:
    """Opens the listeners of a server; each stops when the stack unwinds.

    The gate, the drain and what else bounds a server's exchanges are before and behind these.
    """

    settings: ServerSettings
    stack: AsyncExitStack
    state: Callable[[], RegistryState]
    statuses: Statuses
    authorities: tuple[x509.Certificate, ...]
    recorder: Recorder
    gate: Gate
    metrics: Metrics
    watcher: Handshakes
    spools: Spools
    evidence: Evidence
    witness: Witness
    previews: Previews

    async def open(
        self, provider: Provider, consumer: Consumer, admin: Admin, states: States
    ) -> Listeners:
        """Listen on all addresses of the settings.

        Args:
            states: what the harness shows of registries.

        Raises:
            Problem: ``InvalidSettings`` for an address that cannot be used, or must not be.
        """
        pinned = {
            application.id: [
                certificate
                for path in application.certificates
                for certificate in read_certificates(path, "applications.certificates")
            ]
            for application in self.settings.applications
        }
        peer = await self._peer(provider)
        directory = self._directory(provider, consumer, self._entrance(pinned))
        http = await self._http(directory)
        https = await self._https(
            directory, [certificate for items in pinned.values() for certificate in items]
        )
        harness = await self.harness(states, AllowedMethods(consumer, self.gate))
        return Listeners(
            peer, http, https, await self._witness(), harness, await self._admin(admin)
        )

    async def _peer(self, provider: Provider) -> Listener:
        settings, watcher = self.settings, self.watcher
        inlet = PeerInlet(
            provider,
            self.state,
            self.statuses,
            self.recorder,
            self.gate,
            settings.limits,
            self.metrics,
            self.witness,
        )
        context = tls.peer_server_context(
            settings.auth.certificate,
            settings.auth.key,
            self.authorities,
            watcher.observer("peer", Code.PEER_CERTIFICATE_UNTRUSTED),
        )
        return await self._exchanging(
            inlet.handle,
            settings.listen.peer,
            "peer",
            Side.PROVIDER,
            xroad.MAX_LINK_HEAD_BYTES,
            context,
        )

    async def _http(self, directory: Directory) -> Listener | None:
        address = self.settings.listen.http
        if address is None:
            return None
        self._check_plain(address, "listen.http")
        most = self.settings.limits.head_max_bytes
        return await self._exchanging(directory.handle, address, "http", Side.CONSUMER, most)

    async def _https(self, directory: Directory, pinned: list[x509.Certificate]) -> Listener | None:
        settings, watcher = self.settings, self.watcher
        if settings.listen.https is None:
            return None
        context = tls.application_context(
            settings.auth.certificate,
            settings.auth.key,
            pinned,
            self.authorities,
            watcher.observer("https", Code.CLIENT_CERTIFICATE_REJECTED),
        )
        return await self._exchanging(
            directory.handle,
            settings.listen.https,
            "https",
            Side.CONSUMER,
            settings.limits.head_max_bytes,
            context,
        )

    async def _witness(self) -> Listener | None:
        settings, name = self.settings, "witness"
        if settings.listen.witness is None:
            return None
        context = tls.application_context(
            settings.auth.certificate,
            settings.auth.key,
            (),
            (),
            self.watcher.observer(name, Code.CLIENT_CERTIFICATE_REJECTED),
        )
        return self._owned(
            await listen(
                self.witness.handle,
                settings.listen.witness,
                where=f"listen.{name}",
                side=Side.PROVIDER,
                context=context,
                drain_s=_SMALL_DRAIN_S,
                max_connections=MAX_CONNECTIONS,
                on_malformed=self.watcher.malformed(name),
            )
        )

    async def harness(self, states: States, allowed: AllowedMethods) -> Listener | None:
        """Listen for GovStack's test harness, when an address is set.

        Raises:
            Problem: ``InvalidSettings`` for an address beyond loopback without ``http_networks``.
        """
        name, limits = "govstack_harness", self.settings.limits
        address, where = self.settings.listen.govstack_harness, f"listen.{name}"
        if address is None:
            return None
        self._check_plain(address, where)
        harness = Harness(states=states, entrance=self._entrance({}), allowed=allowed)
        return self._owned(
            await listen(
                harness.handle,
                address,
                where=where,
                side=Side.CONSUMER,
                drain_s=_SMALL_DRAIN_S,
                max_line_bytes=limits.url_max_bytes,
                max_connections=limits.listener_connections,
                on_malformed=self.watcher.malformed(name),
            )
        )

    async def _admin(self, admin: Admin) -> Listener:
        address, where = self.settings.listen.admin, "listen.admin"
        host, _ = split_address(address, where)
        if not is_loopback(host):
            raise Problem(
                Code.INVALID_SETTINGS,
                where=where,
                detail="administration has no login: it listens on loopback only",
            )
        administration = admin.api()
        audit = AuditApi(admin.health.journal.reader, self.settings.journal.index_database).api()

        async def handle(request: Request) -> Reply:
            api = audit if request.target.startswith(f"{audit.base}/") else administration
            return await api.handle(request)

        return self._owned(
            await listen(handle, address, where=where, side=Side.CONSUMER, drain_s=_SMALL_DRAIN_S)
        )

    async def _exchanging(
        self,
        handler: Handler,
        address: str,
        name: str,
        side: Side,
        max_head_bytes: int,
        context: ssl.SSLContext | None = None,
    ) -> Listener:
        """A listener that exchanges messages, long ones too."""
        limits = self.settings.limits
        return self._owned(
            await listen(
                handler,
                address,
                where=f"listen.{name}",
                side=side,
                context=context,
                on_malformed=self.watcher.malformed(name),
                drain_s=_DRAIN_S,
                head_s=limits.head_s,
                keepalive_s=limits.keepalive_s,
                max_line_bytes=limits.url_max_bytes,
                max_head_bytes=max_head_bytes,
                max_connections=limits.listener_connections,
                spools=self.spools,
            )
        )

    def _owned(self, listener: Listener) -> Listener:
        self.stack.push_async_callback(listener.stop)
        return listener

    def _check_plain(self, address: str, where: str) -> None:
        host, _ = split_address(address, where)
        if not (is_loopback(host) or self.settings.listen.http_networks):
            raise Problem(
                Code.INVALID_SETTINGS,
                where=where,
                detail="plain text beyond loopback needs listen.http_networks",
            )

    def _entrance(self, pinned: dict[ApplicationId, list[x509.Certificate]]) -> xroad.Entrance:
        """How the own applications come in: their modes, and the certificates pinned for them."""
        return xroad.Entrance(
            applications={
                application.id: xroad.LocalApplication(
                    application.id,
                    application.mode,
                    frozenset(map(fingerprint_of, pinned.get(application.id, ()))),
                )
                for application in self.settings.applications
            },
            plain_networks=tuple(map(ip_network, self.settings.listen.http_networks)),
        )

    def _directory(
        self, provider: Provider, consumer: Consumer, entrance: xroad.Entrance
    ) -> Directory:
        """What applications reach: their calls, this server's own pages, and GovStack's face."""
        settings, recorder, state = self.settings, self.recorder, self.state
        pages = Pages(
            {
                "/listClients": ListClients(state),
                "/verificationconf": VerificationConf(state, settings.registry.url),
                "/asic": Asic(
                    entrance, recorder.journal, self.evidence, recorder, settings.profile
                ),
            }
        )
        form = replies.Form(settings.profile, settings.error_types)
        bounds = call_bounds(settings.limits, settings.calls)
        asking = Asking(
            consumer, state, self.gate, provider.places, bounds, self.metrics, consumer.clock
        )
        inlet = Inlet(
            consumer=consumer,
            entrance=entrance,
            once_only=OnceOnly(
                entrance,
                asking,
                state,
                provider.agreements,
                recorder,
                provider.counting,
                self.previews,
                consumer.clock,
                form,
            ),
            recorder=recorder,
            gate=self.gate,
            limits=settings.limits,
            metrics=self.metrics,
            pages=pages,
            form=form,
            places=provider.places,
            bounds=bounds,
        )
        return Directory(inlet, replace(inlet, form=replies.PLAIN), state)
