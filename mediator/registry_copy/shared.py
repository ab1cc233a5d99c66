"""The registry's own files: those of the targets role that every server reads.

A further kind of file is a line in :func:`is_shared`, a field of :class:`Shared` and its reading in
:func:`read_shared`; following, the disk and restarts need nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exchange.once_only.elements import NO_ELEMENTS, Dictionary, parse_elements
from exchange.registrations import (
    ELEMENTS_TARGET,
    INSTANCE_TARGET,
    MERGERS_TARGET,
    STANDING_TARGET,
    InstanceRecord,
    is_consent_target,
    is_own_target,
    parse_instance,
)
from exchange.registry.standing import NOTHING_AWAY, Standing, parse_mergers, parse_standing
from exchange.trust.shared_schemas import shared_schemas
from mediator.registry_copy.borders import untrusted


@dataclass(frozen=True, slots=True)
class Shared:
    """What the registry's own files say."""

    instance: InstanceRecord
    schemas: Mapping[str, bytes] = field(default_factory=dict)
    elements: Dictionary = NO_ELEMENTS
    standing: Standing = NOTHING_AWAY


def is_shared(path: str) -> bool:
    """Whether a target of the registry's own role is read by servers."""
    return is_own_target(path) and not is_consent_target(path)


def read_shared(files: Mapping[str, bytes]) -> Shared:
    """Read the files, by their target path; ``standing.json`` is of the role beside the own one.

    Raises:
        Problem: ``UntrustedMetadata`` without an instance; ``InvalidDocument``.
    """
    if INSTANCE_TARGET not in files:
        raise untrusted("targets", f"the registry publishes no {INSTANCE_TARGET}")
    return Shared(
        parse_instance(files[INSTANCE_TARGET]),
        shared_schemas(files),
        parse_elements(files[ELEMENTS_TARGET]) if ELEMENTS_TARGET in files else NO_ELEMENTS,
        Standing(
            parse_standing(files[STANDING_TARGET]) if STANDING_TARGET in files else (),
            parse_mergers(files[MERGERS_TARGET]) if MERGERS_TARGET in files else (),
        ),
    )
