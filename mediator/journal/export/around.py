"""What is known around some entries: the registry beside a journal, and who witnesses it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography import x509

from exchange.evidence.revocation import Kind
from exchange.identifiers import MemberId, ServerId
from exchange.journal.entries import parse_entry
from exchange.log.notes import COSIGNATURE_ED25519, VerifierKey, parse_note
from exchange.problems import Problem
from mediator.journal.evidence import EvidenceReader
from mediator.journal.export.contents import Chosen, Revocations, Surroundings, anchor_for
from mediator.journal.export.registry import UNKNOWN, Registered, is_copy, read_registry

_NONE: Final[Mapping[str, x509.Certificate]] = MappingProxyType({})


def surroundings(
    chosen: Sequence[Chosen],
    registry: Path | None = None,
    certificates: Mapping[str, x509.Certificate] = _NONE,
    authorities: Sequence[x509.Certificate] = (),
) -> Surroundings:
    """What is known around some entries; reads files.

    Args:
        registry: a server's copy of the registry; without it the one beside the first journal
            that has one, as beside a server's own.
        certificates: further ones of signers, by fingerprint.
        authorities: further ones.

    Raises:
        Problem: ``InvalidDocument`` or ``UntrustedMetadata`` for a copy that cannot be used;
            ``JournalCorrupt``.
    """
    beside = (choice.journal.directory.parent / "registry" for choice in chosen)
    copies = [registry] if registry else [each for each in beside if is_copy(each)]
    known = read_registry(copies[0], _members(chosen)) if copies else UNKNOWN
    more = (each for each in authorities if each not in known.authorities)
    return Surroundings(
        certificates={**known.certificates, **certificates},
        authorities=(*known.authorities, *more),
        registry=known.files,
        revocations=_revocations(chosen),
        witnesses=_witnesses(known),
    )


def _revocations(chosen: Sequence[Chosen]) -> Callable[[str], Revocations]:
    """What the journals keep of certificates, as of the times of the entries."""
    times: dict[Path, set[float]] = {}
    for choice in chosen:
        at = parse_entry(choice.journal.entry(choice.index)).at
        times.setdefault(choice.journal.directory, set()).add(at.timestamp())

    def find(fingerprint: str) -> Revocations:
        found: dict[bytes, Kind] = {}
        for directory, moments in times.items():
            with contextlib.closing(EvidenceReader.open(directory)) as reader:
                for moment in sorted(moments):
                    statement = reader.statement(fingerprint, moment)
                    if statement is not None:
                        found[statement.der] = statement.kind
        return Revocations(
            tuple(der for der, kind in found.items() if kind is Kind.OCSP),
            tuple(der for der, kind in found.items() if kind is Kind.CRL),
        )

    return find


def _members(chosen: Iterable[Chosen]) -> set[MemberId]:
    """The parties of some entries, and those whose servers cosigned their logs."""
    found: set[MemberId] = set()
    newest: dict[str, Chosen] = {}
    for choice in chosen:
        entry = parse_entry(choice.journal.entry(choice.index))
        parties = (entry.client, entry.service, entry.peer)
        found.update(party.member for party in parties if party is not None)
        last = newest.setdefault(choice.journal.origin, choice)
        if choice.index > last.index:
            newest[choice.journal.origin] = choice
    for choice in newest.values():
        anchor = anchor_for(choice.journal, choice.index)
        lines = parse_note(anchor.checkpoint).signatures if anchor is not None else ()
        for line in lines:
            with contextlib.suppress(Problem):  # a log, or a witness that is no server
                name = line.name.replace("%2B", "+").removesuffix("/witness")
                found.add(ServerId.parse(name).member)
    return found


def _witnesses(known: Registered) -> tuple[VerifierKey, ...]:
    """The keys under which the members' servers cosign, each under its own name alone."""
    found: list[VerifierKey] = []
    for member in known.members:
        for server in member.servers:
            with contextlib.suppress(Problem):  # another's statement does not spoil the rest
                key = VerifierKey.parse(server.witness or "")
                if key.name == f"{server.id}/witness".replace("+", "%2B"):
                    found.append(key)
    return tuple(key for key in found if key.kind == COSIGNATURE_ED25519)
