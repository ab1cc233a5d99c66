"""The composition root of a security server: builds the parts, starts them, stops them in order.

Stopping, each step bounded in time and done once:

1. the gate closes: new requests get ``ShuttingDown``, ``/healthz`` says so;
2. running exchanges drain; a server that has only just started hears its witnesses out;
3. the listeners stop, the administration first and that of other servers last; what is not in the
   gate (evidence, the harness, administration) has until then;
4. the harness's further registries are no longer followed;
5. previews close; the exactly-once book writes what waits, and closes; what was counted in answers
   is recorded;
6. backends and the link to other servers close their connections;
7. refused connections that are not recorded yet are recorded;
8. the endless tasks end: the registry's copy, agreements and quotas are no longer kept fresh;
9. the journal commits to its anchors; the stop is recorded; the journal publishes and closes;
10. the view of the registry closes, then the spool: no body is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from mediator.administration.api import Admin
from mediator.administration.health import Health
from mediator.auditing.ordering import Ordering
from mediator.auditing.service import Auditing
from mediator.background.watching import Watched, gossip, watch
from mediator.base import Base, open_base
from mediator.consumer.attempts import Trying
from mediator.consumer.contracts import ContractCache
from mediator.consumer.discovery import Peers
from mediator.consumer.link import Link
from mediator.consumer.path import Consumer
from mediator.govstack.registries import follow
from mediator.journal.log import Journal
from mediator.listening import Doors, Listeners
from mediator.memory import note_quotas, remember
from mediator.message.counting import FILE as COUNTS_FILE
from mediator.message.counting import Counting
from mediator.message.gate import Gate
from mediator.message.places import Places
from mediator.once.opening import open_book
from mediator.once_only.preview_store import FILE as PREVIEWS_FILE
from mediator.once_only.preview_store import PreviewStore
from mediator.once_only.previews import Previews
from mediator.provider.awaiting import Awaiting
from mediator.provider.awaiting import report as report_absent
from mediator.provider.checks import Checks
from mediator.provider.offers import AdapterFactory, audited, offer
from mediator.provider.path import Provider
from mediator.provider.release import Releases
from mediator.provider.sealing import Sealer
from mediator.retention.erasing import Eraser
from mediator.settings import ServerSettings
from serving import tls
from serving.clock import Clock, SystemClock
from serving.runtime import allow_files, settle

log = structlog.get_logger("mediator.server")

# Each called service has connections of its own; so many are likely busy at the same time.
BUSY_LINES = 8

# Of the journal, the registry's copy, adapters and the administration, with room.
OWN_FILES = 512


@dataclass(frozen=True, slots=True)
class Server:
    """A running security server."""

    settings: ServerSettings
    listeners: Listeners
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
    async with AsyncExitStack() as stack:
        base = await open_base(settings, stack, clock or SystemClock())
        peers = Peers(settings.peers)
        consumer = _consumer(base, peers)
        provider = await _provider(base, make_adapter)
        states = await follow(settings, stack, base.view, base.clock)
        watched = await watch(base)
        doors = Doors(
            settings,
            stack,
            base.state,
            base.statuses,
            base.authorities,
            base.recorder,
            base.gate,
            base.metrics,
            base.watcher,
            base.spools,
            base.evidence,
            watched.witnessing.witness,
            _previews(base, provider),
        )
        admin = _admin(base, peers, provider, watched)
        listeners = await doors.open(provider, consumer, admin, states)
        base.background.start(base.view.run())
        base.background.start(
            base.agreements.watch(base.authorities, base.recorder.revoked_agreement)
        )
        base.background.start(watched.stamping.run())
        base.background.start(watched.witnessing.cosigning.run())
        base.background.start(gossip(base, watched.witnessing).run())
        stack.push_async_callback(watched.witnessing.cosigning.heard)
        if watched.revocations is not None:
            base.background.start(watched.revocations.run())
        base.background.start(watched.subjects.run())
        base.background.start(watched.archive.run())
        base.background.start(watched.thinning.run())
        base.background.start(watched.anchoring.run())
        base.background.start(note_quotas(provider.quotas, settings.directory, base.clock))
        await base.recorder.event("started")
        stack.push_async_callback(base.gate.drained, settings.limits.drain_s)
        stack.callback(base.gate.close)
        yield Server(settings, listeners, base.journal, base.gate, provider)
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
        http, https = server.listeners.http, server.listeners.https
        witness = server.listeners.witness
        log.info(
            "ready",
            server=str(settings.server),
            peer=server.listeners.peer.url,
            http=http.url if http else None,
            https=https.url if https else None,
            witness=witness.url if witness else None,
            admin=server.listeners.admin.url,
        )
        settle()
        await stop.wait()


def _consumer(base: Base, peers: Peers) -> Consumer:
    settings, pair = base.settings, base.settings.auth
    context = tls.peer_client_context(pair.certificate, pair.key, base.authorities)
    link = Link(context, base.state, base.statuses, settings.limits, settings.calls)
    base.stack.push_async_callback(link.close)
    return Consumer(
        state=base.state,
        statuses=base.statuses,
        contracts=ContractCache(),
        seal_keys=base.seal_keys,
        recorder=base.recorder,
        link=link,
        trying=Trying(peers, settings.peers, base.metrics, base.clock),
        clock=base.clock,
        turns=base.turns,
        checked_max_bytes=settings.limits.checked_max_bytes,
    )


async def _provider(base: Base, make_adapter: AdapterFactory) -> Provider:
    settings, limits = base.settings, base.settings.limits
    replays, quotas = await asyncio.to_thread(
        remember, base.journal, settings.directory, base.clock
    )
    state = base.state()
    offered = [
        await asyncio.to_thread(offer, service, settings, state, make_adapter)
        for service in settings.services
    ]
    offered += await asyncio.to_thread(
        audited, [member.id for member in settings.members], _auditing(base), settings
    )
    services = {service.id: service for service in offered}
    wanted = {service.id: service for service in settings.services}
    awaiting = Awaiting(
        services, lambda one: offer(wanted[one], settings, base.state(), make_adapter, waits=True)
    )
    for service in offered:
        base.stack.push_async_callback(service.backend.close)
    base.stack.push_async_callback(awaiting.close)
    base.background.start(awaiting.run())
    counting = await asyncio.to_thread(
        Counting, settings.directory / COUNTS_FILE, base.clock, base.recorder.counted
    )
    base.stack.push_async_callback(counting.stop)
    base.background.start(counting.run())
    return Provider(
        address=settings.address.rstrip("/"),
        state=base.state,
        statuses=base.statuses,
        sealer=Sealer(base.seal_keys, base.clock),
        services=services,
        agreements=base.agreements,
        maintenance=base.maintenance,
        quotas=quotas,
        replays=replays,
        once=await open_book(settings, base.stack, base.clock, base.journal),
        recorder=base.recorder,
        checks=Checks(base.recorder, limits.checked_max_bytes),
        releases=Releases(limits.checked_max_bytes),
        counting=counting,
        clock=base.clock,
        turns=base.turns,
        max_url_bytes=limits.url_max_bytes,
        places=Places(),
    )


def _previews(base: Base, provider: Provider) -> Previews:
    """Kept beside the exactly-once book, under its key, and shared as it is."""
    settings = base.settings
    store = (
        PreviewStore.sqlite(settings.directory / PREVIEWS_FILE)
        if settings.once.database is None
        else PreviewStore.postgresql(settings.once.database, str(settings.server))
    )
    previews = Previews(store, provider.once.vault, base.clock)
    base.stack.push_async_callback(previews.close)
    base.background.start(previews.run())
    return previews


def _auditing(base: Base) -> Auditing:
    settings = base.settings
    return Auditing(
        base.journal.reader,
        settings.server.member,
        [member.id for member in settings.members],
        base.hidings,
        base.evidence,
        lambda reference: max(
            settings.disclosure_delay_days, base.agreements.disclosure_delay_days(reference)
        ),
        base.clock,
        settings.journal.index_database,
    )


def _admin(base: Base, peers: Peers, provider: Provider, watched: Watched) -> Admin:
    eraser = Eraser(
        base.journal,
        base.keyring,
        base.settings.server.member,
        base.clock,
        base.retentions.longest_days,
        provider.once,
        base.settings.journal.index_database,
    )
    base.background.start(eraser.watch())
    ordering = Ordering(base.hidings, base.recorder, base.clock)
    base.background.start(ordering.run())
    health = Health(
        base.journal,
        base.settings.limits.low_disk_bytes,
        base.view,
        base.gate,
        base.agreements,
        base.certificates,
        base.clock,
        base.maintenance,
        provider.once,
        {
            "index": base.journal.index_report,
            "retention": eraser.report,
            "services": partial(report_absent, provider.services),
            **watched.checks(),
        },
    )
    return Admin(
        health,
        base.agreements,
        base.metrics,
        peers,
        base.maintenance,
        base.recorder,
        ordering,
        watched.witnessing,
        eraser,
        provider.trying(),
        base.authorities,
    )
