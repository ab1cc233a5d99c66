"""The composition root of a security server: builds the parts, starts them, stops them in order.

Stopping, each step bounded in time and done once:

1. the gate closes: new requests get ``ShuttingDown``, ``/healthz`` says so;
2. running exchanges drain; a server that has only just started hears its witnesses out;
3. the listeners stop, the administration first and that of other servers last; what is not in the
   gate (evidence, the harness, administration) has until then;
4. the harness's further registries are no longer followed;
5. the exactly-once book writes what waits, and closes; what was counted in answers is recorded;
6. backends and the link to other servers close their connections;
7. refused connections that are not recorded yet are recorded;
8. the endless tasks end: the registry's copy, agreements and quotas are no longer kept fresh;
9. the stop is recorded; the journal publishes and closes;
10. the view of the registry closes, then the spool: no body is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from cryptography import x509

from exchange.certificates import fingerprint_of
from exchange.identifiers import MemberId
from exchange.keys import SigningKey
from exchange.trust import RegistryState, trusted_authorities
from mediator.admin import Admin
from mediator.archive.job import Keeping
from mediator.attempts import Trying
from mediator.auditing.hidings import FILE as HIDINGS_FILE
from mediator.auditing.hidings import Hidings
from mediator.auditing.ordering import Ordering
from mediator.auditing.service import Auditing
from mediator.background import Background, background_tasks
from mediator.checks import Checks
from mediator.consumer import Consumer
from mediator.contracts import ContractCache
from mediator.counting import FILE as COUNTS_FILE
from mediator.counting import Counting
from mediator.discovery import Peers
from mediator.erasing import Eraser
from mediator.evidence import Evidence, seals_of
from mediator.gate import Gate
from mediator.gossip import Gossip
from mediator.govstack.registries import follow
from mediator.handshakes import Handshakes, record_quietly
from mediator.health import Health
from mediator.journal.anchors import FILE as ANCHORS_FILE
from mediator.journal.evidence import FILE as EVIDENCE_FILE
from mediator.journal.evidence import EvidenceStore
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal
from mediator.link import Link
from mediator.listening import Doors, Listeners
from mediator.maintenance import Maintenance
from mediator.memory import note_quotas, remember
from mediator.metrics import Metrics
from mediator.offers import AdapterFactory, audited, offer
from mediator.once.opening import open_book
from mediator.own_keys import (
    JOURNAL_KEY,
    WITNESS_KEY,
    log_key,
    open_keys,
    origin_of,
    own_keys,
    read_file,
)
from mediator.pinned import PinnedAgreements
from mediator.places import Places
from mediator.provider import Provider
from mediator.records import Recorder
from mediator.release import Releases
from mediator.retention import Retentions
from mediator.revocation import Revocations, Unchecked
from mediator.sealing import Sealer
from mediator.settings import RevocationMode, ServerSettings, StampingSettings
from mediator.stamping import Authority, Stamping, authorities_of, chosen_authority
from mediator.subject_indexing import SubjectIndexing
from mediator.thinning import Store, Thinning
from mediator.turns import Turns
from mediator.view import RegistryView
from mediator.witness.known import read_policy
from mediator.witness.opening import Seeking, Witnessing, open_witnessing
from mediator.witness.state import FILE as WITNESS_FILE
from mediator.witness.state import WitnessState
from serving import tls
from serving.bodies import Spools
from serving.clock import Clock, SystemClock
from serving.runtime import allow_files, settle

log = structlog.get_logger("mediator.server")

# Measured at 32 connections: 4 is better than 1, 2 and 8.
MESSAGES_A_TURN = 4

# Each called service has connections of its own; so many are likely busy at the same time.
BUSY_LINES = 8

# Of the journal, the registry's copy, adapters and the administration, with room.
OWN_FILES = 512
GOSSIP_POLLS = 10
"""Other servers are asked what the registry shows them at least once in so many polls."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running security server."""

    settings: ServerSettings
    listeners: Listeners
    journal: Journal
    gate: Gate
    provider: Provider


@dataclass(frozen=True, slots=True)
class _Base:
    """What both sides of a server stand on; what is opened ends with ``stack``."""

    settings: ServerSettings
    stack: AsyncExitStack
    clock: Clock
    metrics: Metrics
    spools: Spools
    view: RegistryView
    gate: Gate
    journal: Journal
    keyring: KeyRing
    retentions: Retentions
    recorder: Recorder
    statuses: Revocations | Unchecked
    background: Background
    watcher: Handshakes
    agreements: PinnedAgreements
    authorities: tuple[x509.Certificate, ...]
    seal_keys: Mapping[MemberId, SigningKey]
    certificates: list[tuple[str, x509.Certificate]]
    turns: Turns
    maintenance: Maintenance
    hidings: Hidings
    seeking: Seeking
    stampers: Callable[[], Sequence[Authority]]
    evidence: Evidence

    def state(self) -> RegistryState:
        """The state of the registry in force.

        Raises:
            Problem: ``OutdatedGlobalConf``.
        """
        return self.view.state


@asynccontextmanager
async def open_server(
    settings: ServerSettings, make_adapter: AdapterFactory, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """Start a server; leaving the context stops it in order.

    Raises:
        Problem: ``InvalidSettings`` or what a part says of itself: nothing is left running.
    """
    async with AsyncExitStack() as stack:
        base = await _open_base(settings, stack, clock or SystemClock())
        peers = Peers(settings.peers)
        consumer = _consumer(base, peers)
        provider = await _provider(base, make_adapter)
        states = await follow(settings, stack, base.view, base.clock)
        watched = await _watched(base)
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
        )
        admin = _admin(base, peers, provider, watched)
        listeners = await doors.open(provider, consumer, admin, states)
        base.background.start(base.view.run())
        base.background.start(
            base.agreements.watch(base.authorities, base.recorder.revoked_agreement)
        )
        base.background.start(watched.stamping.run())
        base.background.start(watched.witnessing.cosigning.run())
        base.background.start(_gossip(base, watched.witnessing).run())
        stack.push_async_callback(watched.witnessing.cosigning.heard)
        if watched.revocations is not None:
            base.background.start(watched.revocations.run())
        base.background.start(watched.subjects.run())
        base.background.start(watched.archive.run())
        base.background.start(watched.thinning.run())
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
        log.info(
            "ready",
            server=str(settings.server),
            peer=server.listeners.peer.url,
            http=http.url if http else None,
            https=https.url if https else None,
            admin=server.listeners.admin.url,
        )
        settle()
        await stop.wait()


async def _open_base(settings: ServerSettings, stack: AsyncExitStack, clock: Clock) -> _Base:
    directory, limits = settings.directory, settings.limits
    # What is in it tells who asked whom, and holds keys: nobody else on this machine reads it.
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    metrics, gate = Metrics(), Gate(limits.concurrent)
    spools = _open_spools(settings)
    stack.callback(spools.close)
    metrics.watch_bodies(spools)
    view = await _open_view(settings, clock)
    stack.push_async_callback(view.close)
    state = view.state
    authorities = trusted_authorities(state.instance)
    seal_keys, certificates = own_keys(settings, state, clock.now())
    seeking = Seeking(settings.witnesses, settings.server, lambda: view.state)
    # What witnesses remember is heard before anything is signed: see mediator/witness/cosigning.py.
    keyring = await asyncio.to_thread(open_keys, settings.directory, settings.journal)
    journal = await _open_journal(settings, keyring, gate, held=bool(seeking()[0]))
    stack.push_async_callback(journal.close)
    agreements = PinnedAgreements(settings.agreements, [m.id for m in settings.members], clock)
    retentions = _retentions(settings, agreements)
    recorder = Recorder(
        journal, settings.server, clock, metrics, limits.journal_body_max_bytes, retentions
    )
    stack.push_async_callback(record_quietly, recorder, "stopped")
    statuses = await _open_statuses(settings, stack, view, certificates, recorder, clock)
    background = await stack.enter_async_context(background_tasks())
    watcher = Handshakes(recorder, metrics, background, limits.refusals_per_s)
    stack.push_async_callback(watcher.close)
    metrics.on_unrecorded = watcher.unrecorded
    gate.on_refused = watcher.malformed("gate")
    await asyncio.to_thread(agreements.load, authorities)
    stampers = await _stampers(settings.stamping, view)
    maintenance = await asyncio.to_thread(
        Maintenance.open, directory / "maintenance.json", clock, settings.maintenance
    )
    return _Base(
        settings=settings,
        stack=stack,
        clock=clock,
        metrics=metrics,
        spools=spools,
        view=view,
        gate=gate,
        journal=journal,
        keyring=keyring,
        retentions=retentions,
        recorder=recorder,
        statuses=statuses,
        background=background,
        watcher=watcher,
        agreements=agreements,
        authorities=authorities,
        seal_keys=seal_keys,
        certificates=certificates,
        turns=Turns(MESSAGES_A_TURN),
        maintenance=maintenance,
        seeking=seeking,
        hidings=await asyncio.to_thread(Hidings.open, directory / HIDINGS_FILE),
        stampers=stampers,
        evidence=Evidence(
            directory / "registry",
            seals_of(seal_keys, [certificate for _, certificate in certificates]),
            stampers,
            clock,
            asyncio.get_running_loop(),
        ),
    )


async def _stampers(
    settings: StampingSettings, view: RegistryView
) -> Callable[[], Sequence[Authority]]:
    """Whom to ask for time-stamps, at any time."""
    chosen = [await asyncio.to_thread(chosen_authority, one) for one in settings.authorities]
    return lambda: authorities_of(settings, chosen, view.state.instance)


def _retentions(settings: ServerSettings, agreements: PinnedAgreements) -> Retentions:
    services, calls = settings.services, settings.calls
    return Retentions(
        settings.retention,
        {one.id: one.retention for one in services if one.retention is not None},
        {one.service: one.retention for one in calls if one.retention is not None},
        agreements,
    )


def _open_spools(settings: ServerSettings) -> Spools:
    limits = settings.limits
    return Spools.open(
        settings.directory / "spool",
        memory_bytes=limits.bodies_memory_bytes,
        spool_bytes=limits.spool_max_bytes,
        reserve_bytes=limits.low_disk_bytes,
        stall_s=limits.stall_s,
        floor_bytes_per_s=limits.floor_bytes_per_s,
        share=limits.share,
    )


async def _open_view(settings: ServerSettings, clock: Clock) -> RegistryView:
    registry = settings.registry
    return await RegistryView.open(
        registry.url,
        read_file(registry.root, "registry.root"),
        settings.directory / "registry",
        poll_s=registry.poll_s,
        grace_s=registry.grace_s,
        clock=clock,
        mirrors=registry.mirrors,
        policy=read_policy(registry.policy, "registry.policy") if registry.policy else None,
        seen_by=str(settings.server),
    )


async def _open_journal(
    settings: ServerSettings, keyring: KeyRing, gate: Gate, *, held: bool
) -> Journal:
    directory = settings.directory
    return await Journal.open(
        directory / "journal",
        origin=origin_of(settings.server),
        signing_key=log_key(directory / JOURNAL_KEY),
        keyring=keyring,
        settings=settings.journal,
        siblings=lambda: gate.inside,
        held=held,
    )


async def _open_statuses(
    settings: ServerSettings,
    stack: AsyncExitStack,
    view: RegistryView,
    certificates: list[tuple[str, x509.Certificate]],
    recorder: Recorder,
    clock: Clock,
) -> Revocations | Unchecked:
    """What is known of revocation, with what was kept before this start."""
    if settings.revocation.mode is RevocationMode.OFF:
        return Unchecked()
    store = await asyncio.to_thread(EvidenceStore.create, settings.directory / "journal")
    stack.callback(store.close)
    own = [fingerprint_of(certificate) for _, certificate in certificates]
    statuses = Revocations(lambda: view.state, own, store, recorder, clock, settings.revocation)
    await statuses.follow()
    return statuses


def _consumer(base: _Base, peers: Peers) -> Consumer:
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


async def _provider(base: _Base, make_adapter: AdapterFactory) -> Provider:
    settings, limits = base.settings, base.settings.limits
    replays, quotas = await asyncio.to_thread(
        remember, base.journal, settings.directory, base.clock
    )
    state = base.state()
    services = [
        await asyncio.to_thread(offer, service, settings, state, make_adapter)
        for service in settings.services
    ]
    services += await asyncio.to_thread(
        audited, [member.id for member in settings.members], _auditing(base), settings
    )
    for service in services:
        base.stack.push_async_callback(service.backend.close)
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
        services={service.id: service for service in services},
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


def _auditing(base: _Base) -> Auditing:
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


@dataclass(frozen=True, slots=True)
class _Watched:
    """What goes on beside the traffic, and is told in health and metrics."""

    stamping: Stamping
    witnessing: Witnessing
    revocations: Revocations | None
    subjects: SubjectIndexing
    archive: Keeping
    thinning: Thinning

    def checks(self) -> Mapping[str, Callable[[], dict[str, Any]]]:
        checks = {
            "stamping": self.stamping.report,
            "witnesses": self.witnessing.health,
            "subjects": self.subjects.report,
            "archive": self.archive.report,
            "thinning": self.thinning.report,
        }
        if self.revocations is not None:
            checks["revocation"] = self.revocations.report
        return checks


async def _watched(base: _Base) -> _Watched:
    settings, metrics = base.settings.stamping, base.metrics
    stamping = Stamping(
        base.journal.anchors,
        base.stampers,
        base.clock,
        settings,
        lambda event, evidence: base.recorder.event(event, evidence=evidence),
    )
    metrics.watch(
        "saphan_time_stamp_waiting_seconds",
        "Seconds for which entries have been waiting for a time-stamp.",
        lambda: stamping.waits_s,
    )
    subjects = SubjectIndexing(
        base.journal,
        base.settings.server.member,
        base.clock,
        base.settings.journal.index_database,
    )
    archive = Keeping(
        base.journal,
        lambda event, evidence: base.recorder.event(event, evidence=evidence),
        base.settings.archive,
        base.clock,
    )
    stores: dict[str, Store] = {ANCHORS_FILE: base.journal.anchors}
    revocations = _revocations(base)
    if revocations is not None:
        stores[EVIDENCE_FILE] = revocations.store
    thinning = Thinning(stores, base.clock)
    return _Watched(stamping, await _witnessing(base), revocations, subjects, archive, thinning)


async def _witnessing(base: _Base) -> Witnessing:
    settings, metrics, pair = base.settings, base.metrics, base.settings.auth
    directory = settings.directory
    memory = await asyncio.to_thread(WitnessState, directory / WITNESS_FILE)
    base.stack.callback(memory.close)
    witnessing = open_witnessing(
        settings.witnesses,
        settings.server,
        directory,
        base.journal,
        (log_key(directory / JOURNAL_KEY), log_key(directory / WITNESS_KEY)),
        base.seeking,
        base.state,
        tls.peer_client_context(pair.certificate, pair.key, base.authorities),
        base.recorder,
        base.clock,
        memory,
        settings.limits.connect_s,
        lambda: base.view.head_note,
    )
    witness, cosigning = witnessing.witness, witnessing.cosigning
    metrics.watch(
        "saphan_quorum_waiting_seconds",
        "Seconds for which entries have been waiting for a quorum of witnesses.",
        lambda: cosigning.waiting_s,
    )
    metrics.watch(
        "saphan_witnesses_failing",
        "Witnesses of this server that gave no cosignature when they were asked last.",
        lambda: sum(1 for one in cosigning.standings.values() if one.failures),
    )
    metrics.watch(
        "saphan_checkpoints_cosigned",
        "Checkpoints of others' logs that this server cosigned since its start.",
        lambda: witness.cosigned,
    )
    metrics.watch(
        "saphan_checkpoints_not_cosigned",
        "Requests to cosign that this server refused since its start.",
        lambda: witness.refused,
    )
    metrics.watch(
        "saphan_misbehaviour",
        "Proofs of misbehaving logs that are kept here.",
        lambda: witness.kept.count,
    )
    await base.view.report_to(witness.report)
    return witnessing


def _gossip(base: _Base, witnessing: Witnessing) -> Gossip:
    settings = base.settings
    return Gossip(
        base.view,
        settings.server,
        witnessing.line,
        peers=settings.registry.gossip,
        pause_s=GOSSIP_POLLS * settings.registry.poll_s,
        timeout_s=settings.witnesses.timeout_s,
    )


def _revocations(base: _Base) -> Revocations | None:
    metrics = base.metrics
    statuses = base.statuses
    if not isinstance(statuses, Revocations):
        return None
    for name, sentence, value in (
        (
            "saphan_revocation_waiting_seconds",
            "Seconds for which an answer about a certificate has been missing.",
            lambda: statuses.waits_s,
        ),
        (
            "saphan_certificates_revoked",
            "Certificates that the registry names and their authority has revoked.",
            lambda: statuses.revoked,
        ),
        (
            "saphan_revoked_passed",
            "Uses of a certificate that mode enforce would have refused.",
            lambda: statuses.passed,
        ),
    ):
        metrics.watch(name, sentence, value)
    return statuses


def _admin(base: _Base, peers: Peers, provider: Provider, watched: _Watched) -> Admin:
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
