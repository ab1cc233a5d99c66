"""What a server does beside the messages: it witnesses, compares, stamps, indexes, archives,
thins out, and asks which certificates were revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mediator.archive.job import Keeping
from mediator.background.anchoring import Anchoring
from mediator.background.gossip import Gossip
from mediator.background.revocation import Revocations
from mediator.background.stamping import Stamping
from mediator.background.subject_indexing import SubjectIndexing
from mediator.base import Base
from mediator.journal.anchors import FILE as ANCHORS_FILE
from mediator.journal.evidence import FILE as EVIDENCE_FILE
from mediator.own_keys import (
    JOURNAL_KEY,
    WITNESS_KEY,
    log_key,
)
from mediator.retention.thinning import Store, Thinning
from mediator.witness.opening import Witnessing, open_witnessing
from mediator.witness.state import FILE as WITNESS_FILE
from mediator.witness.state import WitnessState
from serving import tls

GOSSIP_POLLS = 10
"""Other servers are asked what the registry shows them at least once in so many polls."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What goes on beside the traffic, and is told in health and metrics."""

    stamping: Stamping
    witnessing: Witnessing
    revocations: Revocations | None
    subjects: SubjectIndexing
    archive: Keeping
    thinning: Thinning
    anchoring: Anchoring

    def checks(self) -> Mapping[str, Callable[[], dict[str, Any]]]:
        checks = {
            "stamping": self.stamping.report,
            "witnesses": self.witnessing.health,
            "subjects": self.subjects.report,
            "archive": self.archive.report,
            "thinning": self.thinning.report,
            "anchors": self.anchoring.report,
        }
        if self.revocations is not None:
            checks["revocation"] = self.revocations.report
        return checks


async def watch(base: Base) -> Watched:
    """Open all of it; mediator/server.py starts its endless tasks."""
    settings, metrics = base.settings.stamping, base.metrics
    stamping = Stamping(base.journal.anchors, base.stampers, base.clock, settings)
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
    return Watched(
        stamping,
        await _witnessing(base),
        revocations,
        subjects,
        archive,
        thinning,
        base.anchoring,
    )


async def _witnessing(base: Base) -> Witnessing:
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


def gossip(base: Base, witnessing: Witnessing) -> Gossip:
    """Comparing what the registry shows this server with what it shows others."""
    settings = base.settings
    return Gossip(
        base.view,
        settings.server,
        witnessing.line,
        peers=settings.registry.gossip,
        pause_s=GOSSIP_POLLS * settings.registry.poll_s,
        timeout_s=settings.witnesses.timeout_s,
    )


def _revocations(base: Base) -> Revocations | None:
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
