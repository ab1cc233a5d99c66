"""How often strangers may ask a witness: per address, and all together.

Invariants:
- memory is bounded: of :data:`MAX_ADDRESSES` addresses the ones that asked last are remembered.
  Who is forgotten begins anew, and is bounded by what all together may ask;
- an IPv6 network of one site (/64) counts as one address: its hosts choose theirs freely.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

from exchange.problems import Code, Problem
from mediator.agreements.quota import Bucket

PER_ADDRESS: Final = 50
"""Requests of one address a second, and at once; a log asks every few seconds."""
TOGETHER: Final = 200
"""Requests of all strangers a second, and at once."""
MAX_ADDRESSES: Final = 4096


class Visitors:
    """Counts the requests of strangers."""

    def __init__(self) -> None:
        self._together = Bucket()
        self._of: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._of)

    def enter(self, address: str, at: float) -> None:
        """Count a request. ``at`` is monotonic.

        Raises:
            Problem: ``ServerOverloaded`` (429) with the seconds to wait; it was not counted.
        """
        name = _site(address)
        bucket = self._of.pop(name, None) or Bucket()
        self._of[name] = bucket  # the one who asked last stands last
        if len(self._of) > MAX_ADDRESSES:
            del self._of[next(iter(self._of))]
        for whose, one, rate in (
            ("of this address", bucket, PER_ADDRESS),
            ("of all addresses", self._together, TOGETHER),
        ):
            wait_s = one.wait_s(rate, at)
            if wait_s > 0:
                raise Problem(
                    Code.OVERLOADED,
                    where="witness",
                    detail=f"{rate} requests a second {whose} are answered",
                    facts={"retry_after_s": 1},
                    status=429,
                )
        bucket.take()
        self._together.take()


def _site(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return found.packed[:8].hex()
    return str(found)
