"""The composition root of a security server: builds the parts, starts them, stops them in order.

Stopping, each step bounded in time and done once:
1. the gate closes: new requests get ``ShuttingDown``, ``/healthz`` says so;
2. running exchanges drain;
3. the listeners stop; 4. link and backends close their connections;
5. the registry view stops; 6. the stop is recorded and the journal publishes and closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_network

import structlog
from cryptography import x509

from exchange.certificates import fingerprint_of
from exchange.identifiers import ServerId
from exchange.problems import Code, Problem, Side
from exchange.trust import RegistryState, trusted_authorities
from mediator import xroad
from mediator.admin import Admin
from mediator.attempts import Trying
from mediator.audit_api import AuditApi
from mediator.background import background_tasks
from mediator.checks import Checks
from mediator.consumer import Consumer
from mediator.contracts import ContractCache
from mediator.discovery import Peers
from mediator.gate import Gate
from mediator.govstack.directory import Directory
from mediator.govstack.listening import listen_harness
from mediator.handshakes import Handshakes, record_quietly
from mediator.health import Health
from mediator.inlet import Inlet
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal
from mediator.link import Link
from mediator.maintenance import Maintenance
from mediator.memory import note_quotas, remember
from mediator.metrics import Metrics
from mediator.offers import AdapterFactory, offer
from mediator.once.book import OnceBook
from mediator.once.engine import Engine
from mediator.once.postgresql import PostgreSqlEngine
from mediator.once.recovery import outcomes
from mediator.once.sqlite import FILE as SQLITE_FILE
from mediator.once.sqlite import SqliteEngine
from mediator.once.vault import Vault
from mediator.own_keys import log_key, own_keys, read_certificates, read_file, secret
from mediator.pages import Pages
from mediator.peer_inlet import PeerInlet
from mediator.pinned import PinnedAgreements
from mediator.places import Places
from mediator.provider import Provider
from mediator.records import Recorder
from mediator.release import Releases
from mediator.sealing import Sealer
from mediator.settings import ServerSettings
from mediator.terms import call_bounds
from mediator.turns import Turns
from mediator.view import RegistryView
from mediator.xroad.asic import Asic
from mediator.xroad.clients import ListClients
from mediator.xroad.verification import VerificationConf
from serving import replies, tls
from serving.bodies import Spools
from serving.clock import Clock, SystemClock
from serving.listener import Listener, is_loopback, listen, split_address
from serving.randomness import random_token
from serving.requests import Reply, Request
from serving.runtime import allow_files, settle

log = structlog.get_logger("mediator.server")

# Measured at 32 connections: 4 is better than 1, 2 and 8.
MESSAGES_A_TURN = 4

# Each called service has connections of its own; so many are likely busy at the same time.
BUSY_LINES = 8

# Of the journal, the registry's copy, adapters and the administration, with room.
OWN_FILES = 512


@dataclass(frozen=True, slots=True)
class Server:
    """A running security server, and where it listens."""

    settings: ServerSettings
    peer: Listener
    http: Listener | None
    https: Listener | None
    govstack_harness: Listener | None
    admin: Listener
    journal: Journal
    gate: Gate
    provider: Provider


@asynccontextmanager
async def open_server(
    settings: ServerSettings, make_adapter: AdapterFactory, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """Start a server; leaving the context stops it in order.

    Raises:
        Problem: ``InvalidSettings`` or what a part says of itself: nothing is left running.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        directory = settings.directory
        # What is in it tells who asked whom, and holds keys: nobody else on this machine reads it.
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        metrics = Metrics()
        spools = Spools.open(
            directory / "spool",
            memory_bytes=settings.limits.bodies_memory_bytes,
            spool_bytes=settings.limits.spool_max_bytes,
            reserve_bytes=settings.limits.low_disk_bytes,
            stall_s=settings.limits.stall_s,
            floor_bytes_per_s=settings.limits.floor_bytes_per_s,
        )
        stack.callback(spools.close)
        metrics.watch_bodies(spools)
        view = await RegistryView.open(
            settings.registry.url,
            read_file(settings.registry.root, "registry.root"),
            directory / "registry",
            poll_s=settings.registry.poll_s,
            grace_s=settings.registry.grace_s,
            clock=clock,
        )
        stack.push_async_callback(view.close)
        state = view.state
        gate = Gate(settings.limits.concurrent)
        authorities = trusted_authorities(state.instance)
        seal_keys, certificates = own_keys(settings, state, clock.now())
        journal = await Journal.open(
            directory / "journal",
            origin=origin_of(settings.server),
            signing_key=log_key(directory / "journal.key"),
            keyring=KeyRing(directory / "journal" / "keys"),
            settings=settings.journal,
            siblings=lambda: gate.inside,
        )
        stack.push_async_callback(journal.close)
        recorder = Recorder(
            journal, settings.server, clock, metrics, settings.limits.journal_body_max_bytes
        )
        stack.push_async_callback(record_quietly, recorder, "stopped")
        background = await stack.enter_async_context(background_tasks())
        replays, quotas = await asyncio.to_thread(remember, journal, directory, clock)
        agreements = PinnedAgreements(settings.agreements, [m.id for m in settings.members], clock)
        await asyncio.to_thread(agreements.load, authorities)

        context = tls.peer_client_context(settings.auth.certificate, settings.auth.key, authorities)
        link = Link(context, lambda: view.state, settings.limits, settings.calls)
        stack.push_async_callback(link.close)
        services = {
            offered.id: await asyncio.to_thread(offer, offered, settings, state, make_adapter)
            for offered in settings.services
        }
        for offered in services.values():
            stack.push_async_callback(offered.backend.close)
        peers = Peers(settings.peers)
        maintenance = await asyncio.to_thread(
            Maintenance.open, directory / "maintenance.json", clock, settings.maintenance
        )
        once = await _open_book(settings, journal, clock)
        stack.push_async_callback(once.close)
        turns = Turns(MESSAGES_A_TURN)
        provider = Provider(
            address=settings.address.rstrip("/"),
            state=lambda: view.state,
            sealer=Sealer(seal_keys, clock),
            services=services,
            agreements=agreements,
            maintenance=maintenance,
            quotas=quotas,
            replays=replays,
            once=once,
            recorder=recorder,
            checks=Checks(recorder, settings.limits.checked_max_bytes),
            releases=Releases(settings.limits.checked_max_bytes),
            clock=clock,
            turns=turns,
            max_url_bytes=settings.limits.url_max_bytes,
            places=Places(),
        )
        consumer = Consumer(
            state=lambda: view.state,
            contracts=ContractCache(),
            seal_keys=seal_keys,
            recorder=recorder,
            link=link,
            trying=Trying(peers, settings.peers, metrics, clock),
            clock=clock,
            turns=turns,
            checked_max_bytes=settings.limits.checked_max_bytes,
        )
        watcher = Handshakes(recorder, metrics, background, settings.limits.refusals_per_s)
        metrics.on_unrecorded = watcher.unrecorded
        stack.push_async_callback(watcher.close)
        gate.on_refused = watcher.malformed("gate")
        listeners = await _listen(
            settings,
            stack,
            provider,
            consumer,
            recorder,
            gate,
            metrics,
            watcher,
            view,
            authorities,
            spools,
        )
        harness = await listen_harness(
            settings, stack, view, consumer, gate, clock, watcher.malformed("govstack_harness")
        )
        admin_listener = await _listen_admin(
            settings,
            stack,
            Admin(
                Health(
                    journal,
                    settings.limits.low_disk_bytes,
                    view,
                    gate,
                    agreements,
                    certificates,
                    clock,
                    maintenance,
                    once,
                ),
                agreements,
                metrics,
                peers,
                maintenance,
                recorder,
            ),
        )
        background.start(view.run())
        background.start(agreements.watch(authorities))
        background.start(note_quotas(quotas, directory, clock))
        await recorder.event("started")
        stack.push_async_callback(gate.drained, settings.limits.drain_s)
        stack.callback(gate.close)
        yield Server(
            settings,
            listeners["peer"],
            listeners.get("http"),
            listeners.get("https"),
            harness,
            admin_listener,
            journal,
            gate,
            provider,
        )
        log.info("stopping", server=str(settings.server))


async def serve(
    settings: ServerSettings, make_adapter: AdapterFactory, stop: asyncio.Event
) -> None:
    """Run a server until ``stop`` is set."""
    limits = settings.limits
    allow_files(
        3 * limits.listener_connections
        + (BUSY_LINES + len(settings.services)) * limits.connections
        + OWN_FILES
    )
    async with open_server(settings, make_adapter) as server:
        log.info(
            "ready",
            server=str(settings.server),
            peer=server.peer.url,
            http=server.http.url if server.http else None,
            https=server.https.url if server.https else None,
            admin=server.admin.url,
        )
        settle()
        await stop.wait()


async def _listen(
    settings: ServerSettings,
    stack: AsyncExitStack,
    provider: Provider,
    consumer: Consumer,
    recorder: Recorder,
    gate: Gate,
    metrics: Metrics,
    watcher: Handshakes,
    view: RegistryView,
    authorities: tuple[x509.Certificate, ...],
    spools: Spools,
) -> dict[str, Listener]:
    limits = settings.limits
    addresses = settings.listen
    pinned = {
        application.id: [
            certificate
            for path in application.certificates
            for certificate in read_certificates(path, "applications.certificates")
        ]
        for application in settings.applications
    }
    entrance = xroad.Entrance(
        applications={
            application.id: xroad.LocalApplication(
                application.id,
                application.mode,
                frozenset(fingerprint_of(item) for item in pinned[application.id]),
            )
            for application in settings.applications
        },
        plain_networks=tuple(map(ip_network, addresses.http_networks)),
    )
    inlet = Inlet(
        consumer=consumer,
        entrance=entrance,
        recorder=recorder,
        gate=gate,
        limits=limits,
        metrics=metrics,
        pages=_pages(settings, entrance, recorder, view),
        form=replies.Form(settings.profile, settings.error_types),
        places=provider.places,
        bounds=call_bounds(limits, settings.calls),
    )
    directory = Directory(inlet, replace(inlet, form=replies.PLAIN), lambda: view.state)
    peer_inlet = PeerInlet(provider, lambda: view.state, recorder, gate, limits, metrics)
    start = partial(
        listen,
        drain_s=2.0,
        head_s=limits.head_s,
        keepalive_s=limits.keepalive_s,
        max_line_bytes=limits.url_max_bytes,
        max_connections=limits.listener_connections,
        spools=spools,
    )
    found: dict[str, Listener] = {}
    found["peer"] = await start(
        peer_inlet.handle,
        addresses.peer,
        where="listen.peer",
        side=Side.PROVIDER,
        context=tls.peer_server_context(
            settings.auth.certificate,
            settings.auth.key,
            authorities,
            watcher.observer("peer", Code.PEER_CERTIFICATE_UNTRUSTED),
        ),
        on_malformed=watcher.malformed("peer"),
        max_head_bytes=xroad.MAX_LINK_HEAD_BYTES,
    )
    stack.push_async_callback(found["peer"].stop)
    if addresses.http is not None:
        host, _ = split_address(addresses.http, "listen.http")
        if not (is_loopback(host) or addresses.http_networks):
            raise Problem(
                Code.INVALID_SETTINGS,
                where="listen.http",
                detail="plain text beyond loopback needs listen.http_networks",
            )
        found["http"] = await start(
            directory.handle,
            addresses.http,
            where="listen.http",
            side=Side.CONSUMER,
            on_malformed=watcher.malformed("http"),
            max_head_bytes=limits.head_max_bytes,
        )
        stack.push_async_callback(found["http"].stop)
    if addresses.https is not None:
        found["https"] = await start(
            directory.handle,
            addresses.https,
            where="listen.https",
            side=Side.CONSUMER,
            context=tls.application_context(
                settings.auth.certificate,
                settings.auth.key,
                [item for items in pinned.values() for item in items],
                authorities,
                watcher.observer("https", Code.CLIENT_CERTIFICATE_REJECTED),
            ),
            on_malformed=watcher.malformed("https"),
            max_head_bytes=limits.head_max_bytes,
        )
        stack.push_async_callback(found["https"].stop)
    return found


def _pages(
    settings: ServerSettings, entrance: xroad.Entrance, recorder: Recorder, view: RegistryView
) -> Pages:
    def state() -> RegistryState:
        return view.state

    return Pages(
        {
            "/listClients": ListClients(state),
            "/verificationconf": VerificationConf(state, settings.registry.url),
            "/asic": Asic(entrance, recorder.journal, state, recorder, settings.profile),
        }
    )


async def _listen_admin(settings: ServerSettings, stack: AsyncExitStack, admin: Admin) -> Listener:
    host, _ = split_address(settings.listen.admin, "listen.admin")
    if not is_loopback(host):
        raise Problem(
            Code.INVALID_SETTINGS,
            where="listen.admin",
            detail="administration has no login: it listens on loopback only",
        )
    administration = admin.api()
    audit = AuditApi(admin.health.journal.directory).api()

    async def handle(request: Request) -> Reply:
        api = audit if request.target.startswith(f"{audit.base}/") else administration
        return await api.handle(request)

    listener = await listen(
        handle, settings.listen.admin, where="listen.admin", side=Side.CONSUMER, drain_s=1.0
    )
    stack.push_async_callback(listener.stop)
    return listener


async def _open_book(settings: ServerSettings, journal: Journal, clock: Clock) -> OnceBook:
    """The exactly-once book, which may be shared; it connects by itself when it can."""
    once, run = settings.once, random_token()
    if once.key is not None:
        master = await asyncio.to_thread(read_file, once.key, "once.key")
    else:
        master = await asyncio.to_thread(secret, settings.directory / "once.key")
    engine: Engine
    if once.database is not None:
        engine = PostgreSqlEngine(once.database, str(settings.server), run)
    else:
        engine = SqliteEngine(settings.directory / SQLITE_FILE, run)
    return OnceBook(engine, Vault(master), once, clock, partial(outcomes, journal))


def origin_of(server: ServerId) -> str:
    """The name of a server's log (C2SP tlog-checkpoint: a name without spaces and plus signs)."""
    return f"{server}/journal".replace("+", "%2B")
