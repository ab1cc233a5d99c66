"""Which of several versions of agreements count, and until when.

A renewal is the same agreement (id and parties) with a higher version: from its ``valid_from`` on
it stands in the place of the lower versions, so that narrowing an agreement takes effect although
the wider version would last longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from exchange.agreements.revocation import AgreementRevocation
from exchange.agreements.values import Agreement


def in_force(agreements: Sequence[Agreement]) -> tuple[Agreement, ...]:
    """The agreements, each ending where a higher version of it begins; in their order.

    One that ends before it begins is left out.
    """
    versions: dict[object, list[Agreement]] = {}
    for agreement in agreements:
        versions.setdefault(_name(agreement), []).append(agreement)
    found = []
    for agreement in agreements:
        later = [
            other.valid_from
            for other in versions[_name(agreement)]
            if other.version > agreement.version
        ]
        until = min(later, default=agreement.valid_until)
        if until >= agreement.valid_until:
            found.append(agreement)
        elif until > agreement.valid_from:
            found.append(replace(agreement, valid_until=until))
    return tuple(found)


def revoked_by(
    agreement: Agreement, revocations: Iterable[AgreementRevocation]
) -> AgreementRevocation | None:
    """The earliest revocation that ends the agreement, or nothing."""
    return min(
        (one for one in revocations if one.ends(agreement)),
        key=lambda one: one.revoked_at,
        default=None,
    )


def _name(agreement: Agreement) -> object:
    return agreement.id, agreement.provider, agreement.consumer
