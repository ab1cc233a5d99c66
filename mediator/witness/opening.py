"""A server's two parts in witnessing: cosigning others' logs, and having its own cosigned."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.identifiers import ServerId
from exchange.log.notes import VerifierKey
from exchange.log.policy import Policy
from exchange.problems import Problem
from exchange.trust.state import RegistryState
from mediator.journal.log import Journal
from mediator.message.records import Recorder
from mediator.own_keys import origin_of, witness_of
from mediator.witness import line
from mediator.witness.cosigning import Cosigning
from mediator.witness.known import (
    Asked,
    WitnessedLogs,
    among_peers,
    by_policy,
    default_policy,
    read_policy,
)
from mediator.witness.misbehaviour import FOLDER, Misbehaviour, Misbehaviours, described
from mediator.witness.service import Witness
from mediator.witness.settings import WitnessSettings
from mediator.witness.state import WitnessState
from serving.clock import Clock

State = Callable[[], RegistryState]


class Seeking:
    """Who is asked to witness a server's log, and what is enough; thought over when it changes."""

    def __init__(self, settings: WitnessSettings, own: ServerId, state: State) -> None:
        """Raises: Problem ``InvalidSettings`` or ``InvalidDocument`` for a policy that is none."""
        self._settings = settings
        self._own = own
        self._state = state
        self._policy: Policy | None = None
        if settings.policy is not None:
            self._policy = read_policy(settings.policy, "witnesses.policy")
            for name, party in self._policy.witnesses.items():
                if party.url is not None:
                    line.parse_url(Asked(name, party.key, None, party.url))
        self._of: RegistryState | None = None
        self._found: tuple[list[Asked], Policy] = ([], default_policy((), 0))

    def __call__(self) -> tuple[list[Asked], Policy]:
        """Raises: Problem ``OutdatedGlobalConf``."""
        state = self._state()
        if state is not self._of:
            if self._policy is not None:
                self._found = by_policy(self._policy, state), self._policy
            else:
                asked = among_peers(state, self._own, self._settings.peers)
                self._found = asked, default_policy(asked, self._settings.quorum)
            self._of = state
        return self._found


@dataclass(frozen=True, slots=True)
class Witnessing:
    """A server's two parts in witnessing."""

    witness: Witness
    cosigning: Cosigning
    state: State
    own: ServerId
    keys: tuple[VerifierKey, VerifierKey]
    """Of the log and of the witness."""
    line: Callable[[Asked], line.WitnessLine]
    """Makes the way to a witness."""

    def health(self) -> dict[str, Any]:
        """What ``/healthz`` tells."""
        cosigning = self.cosigning
        found = cosigning.describe()
        return {
            "ok": found["ok"],
            "asked": len(cosigning.standings),
            "failing": sorted(s.name for s in cosigning.standings.values() if s.failures),
            "witnessed_size": found["witnessed_size"],
            "waiting_s": found["waiting_s"],
            "registered": self.registered(),
            "misbehaviour": self.witness.kept.count,
        }

    def registered(self) -> bool:
        """Whether the registry lists this server's keys as they are: else nobody can witness it."""
        try:
            server = self.state().server(self.own)
        except Problem:
            return False
        journal, witness = self.keys
        return server.journal == str(journal) and server.witness == str(witness)

    def describe(self) -> dict[str, Any]:
        """What the administration tells."""
        journal, witness = self.keys
        return {
            **self.cosigning.describe(),
            "registered": self.registered(),
            "journal": str(journal),
            "witness": str(witness),
            "cosigned": self.witness.cosigned,
            "refused": self.witness.refused,
        }

    def misbehaviour(self) -> list[dict[str, Any]]:
        """The proofs that are kept here; reads files, so for a thread."""
        return [described(found) for found in self.witness.kept.all()]


def open_witnessing(
    settings: WitnessSettings,
    own: ServerId,
    directory: Path,
    journal: Journal,
    keys: tuple[Ed25519PrivateKey, Ed25519PrivateKey],
    seeking: Seeking,
    state: State,
    context: ssl.SSLContext,
    recorder: Recorder,
    clock: Clock,
    memory: WitnessState,
    connect_s: float,
    accepted: Callable[[], bytes | None],
) -> Witnessing:
    """Put the parts together.

    Args:
        keys: that sign the own log's checkpoints, and cosign others'.
        context: of the calling end of the link between servers.
        memory: what was cosigned before.
        accepted: the head of the registry's log that this server accepted.
    """
    trusted = line.trusting(settings.ca)

    def to(asked: Asked) -> line.WitnessLine:
        if asked.url is not None:
            return line.to_url(asked, connect_s, trusted)
        return line.to_server(asked, connect_s, context, state)

    async def record(found: Misbehaviour) -> None:
        await recorder.event("log contradicted", found.problem, evidence=found.digest)

    log_key, witness_key = keys
    kept = Misbehaviours(directory / "journal" / FOLDER)
    witness = Witness(
        witness_of(own),
        witness_key,
        memory,
        WitnessedLogs(state, own, settings.logs),
        kept,
        clock,
        record,
        accepted,
    )
    verifier = VerifierKey.of(origin_of(own), log_key.public_key())
    cosigning = Cosigning(journal, verifier, settings, seeking, to, witness.report, clock, str(own))
    return Witnessing(witness, cosigning, state, own, (verifier, witness.key), to)
