"""What both sides of a server stand on: opened first, in order, and ended last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from cryptography import x509

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import MemberId
from exchange.keys import SigningKey
from exchange.trust.admission import trusted_authorities
from exchange.trust.state import RegistryState
from mediator.administration.metrics import Metrics
from mediator.agreements.pinned import PinnedAgreements
from mediator.agreements.pinned_files import TOLD_FILE
from mediator.auditing.hidings import FILE as HIDINGS_FILE
from mediator.auditing.hidings import Hidings
from mediator.background.anchoring import Anchoring
from mediator.background.revocation import Revocations, Unchecked
from mediator.background.stamping import Authority, authorities_of, chosen_authority
from mediator.background.tasks import Background, background_tasks
from mediator.journal.evidence import EvidenceStore
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal
from mediator.message.gate import Gate
from mediator.message.handshakes import Handshakes, record_quietly
from mediator.message.records import Recorder
from mediator.message.turns import Turns
from mediator.own_keys import (
    JOURNAL_KEY,
    log_key,
    open_keys,
    origin_of,
    own_keys,
)
from mediator.pages.evidence import Evidence, seals_of
from mediator.provider.maintenance import Maintenance
from mediator.registry_copy.view import RegistryView
from mediator.retention.classes import Retentions
from mediator.settings import RevocationMode, ServerSettings, StampingSettings
from mediator.witness.known import read_policy
from mediator.witness.opening import Seeking
from serving.bodies import Spools
from serving.clock import Clock
from serving.small_files import read_file

# Measured at 32 connections: 4 is better than 1, 2 and 8.
MESSAGES_A_TURN = 4


@dataclass(frozen=True, slots=True)
class Base:
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
    anchoring: Anchoring
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


async def open_base(settings: ServerSettings, stack: AsyncExitStack, clock: Clock) -> Base:
    """Open it; what is opened ends with ``stack``, the last first."""
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
    agreements = PinnedAgreements(
        settings.agreements, [m.id for m in settings.members], clock, directory / TOLD_FILE
    )
    retentions = _retentions(settings, agreements)
    recorder = Recorder(
        journal, settings.server, clock, metrics, limits.journal_body_max_bytes, retentions
    )
    stack.push_async_callback(record_quietly, recorder, "stopped")
    anchoring = Anchoring(
        journal.anchors,
        lambda event, evidence: recorder.event(event, evidence=evidence),
        clock,
    )
    stack.push_async_callback(anchoring.finish)
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
    return Base(
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
        anchoring=anchoring,
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
        read_file(registry.root, where="registry.root"),
        settings.directory / "registry",
        poll_s=registry.poll_s,
        grace_s=registry.grace_s,
        clock=clock,
        mirrors=registry.mirrors,
        policy=read_policy(registry.policy, "registry.policy") if registry.policy else None,
        seen_by=str(settings.server),
        hosted=[member.id for member in settings.members],
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
