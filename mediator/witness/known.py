"""Which logs are witnessed, and who is asked to witness: from the registry and the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from exchange.identifiers import ServerId
from exchange.log.notes import COSIGNATURE_ED25519, ED25519, VerifierKey
from exchange.log.policy import Policy, any_of, parse_policy
from exchange.log.witness import Logs
from exchange.problems import Code, Problem
from exchange.registrations import ServerRecord
from exchange.trust.state import RegistryState
from mediator.own_keys import origin_of, witness_of
from serving.small_files import read_file


@dataclass(frozen=True, slots=True)
class Asked:
    """A witness that is asked: its key, and the server of the registry or the URL where it is."""

    name: str
    key: VerifierKey
    server: ServerRecord | None
    url: str | None


def logs_of(texts: Iterable[str], where: str) -> dict[str, list[VerifierKey]]:
    """Logs by verifier keys.

    Raises:
        Problem: ``InvalidSettings`` for what is no key of a log.
    """
    found: dict[str, list[VerifierKey]] = {}
    for text in texts:
        try:
            key = VerifierKey.parse(text, where)
        except Problem as problem:
            raise Problem(Code.INVALID_SETTINGS, where=where, detail=problem.detail) from problem
        if key.kind != ED25519:
            raise Problem(Code.INVALID_SETTINGS, where=where, detail=f"{text} is not a log's key")
        found.setdefault(key.name, []).append(key)
    return found


def read_policy(path: Path, where: str) -> Policy:
    """A policy file.

    Raises:
        Problem: ``InvalidSettings`` or ``InvalidDocument``.
    """
    return parse_policy(read_file(path, where=where), str(path))


class WitnessedLogs:
    """The logs that a server witnesses: the registry's, all in it but its own, those of settings.

    A key counts only under the name of the server's own log: a member cannot put a key of its own
    in front of another's log.
    """

    def __init__(
        self, state: Callable[[], RegistryState], own: ServerId, further: Iterable[str]
    ) -> None:
        self._state = state
        self._own = own
        self._further = logs_of(further, "witnesses.logs")
        self._of: RegistryState | None = None
        self._logs: dict[str, list[VerifierKey]] = {}

    def __call__(self) -> Logs:
        """Raises: Problem ``OutdatedGlobalConf``."""
        state = self._state()
        if state is not self._of:
            logs = {origin: list(keys) for origin, keys in self._further.items()}
            for registry in state.instance.log:
                logs.setdefault(registry.name, []).append(registry)
            for server in _servers(state):
                key = key_of(server.journal, origin_of(server.id), ED25519)
                if key is not None and server.id != self._own:
                    logs.setdefault(key.name, []).append(key)
            self._of, self._logs = state, logs
        return self._logs


def key_of(text: str | None, name: str, kind: int) -> VerifierKey | None:
    """A key of the registry, if it is well-formed, of the kind, and under its owner's name."""
    try:
        key = VerifierKey.parse(text or "")
    except Problem:
        return None
    return key if (key.name, key.kind) == (name, kind) else None


def by_policy(policy: Policy, state: RegistryState) -> list[Asked]:
    """The witnesses of a policy: at their URL, else where the registry has a server of this key.

    One that has neither is left out: it may hand its cosignatures to others only.
    """
    servers = {
        key.public: server
        for server in _servers(state)
        if (key := key_of(server.witness, witness_of(server.id), COSIGNATURE_ED25519)) is not None
    }
    return [
        Asked(name, party.key, server, party.url)
        for name, party in policy.witnesses.items()
        if (server := servers.get(party.key.public)) is not None or party.url is not None
    ]


def among_peers(state: RegistryState, own: ServerId, count: int) -> list[Asked]:
    """So many servers of other members that publish a witness's key.

    Each server gets others, and the same ones as long as the registry has them: the order is that
    of a hash over both names (rendezvous hashing). One server of a member is taken before a second.
    """
    found: list[tuple[int, bytes, Asked]] = []
    candidates = [
        (sha256(f"{own} {server.id}".encode()).digest(), server, key)
        for server in _servers(state)
        if server.id.member != own.member
        and (key := key_of(server.witness, witness_of(server.id), COSIGNATURE_ED25519)) is not None
    ]
    candidates.sort(key=lambda item: item[0])
    seen: dict[object, int] = {}
    for order, server, key in candidates:
        turn = seen.get(server.id.member, 0)
        seen[server.id.member] = turn + 1
        found.append((turn, order, Asked(str(server.id), key, server, None)))
    found.sort(key=lambda item: item[:2])
    return [asked for _, _, asked in found[:count]]


def default_policy(asked: Iterable[Asked], quorum: int) -> Policy:
    """So many of those that are asked."""
    return any_of({one.name: one.key for one in asked}, quorum)


def _servers(state: RegistryState) -> Iterable[ServerRecord]:
    return (server for member in state.members.values() for server in member.servers)
