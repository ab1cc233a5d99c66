"""Random bytes in small portions, drawn from the kernel in large ones.

Each call of ``os.urandom`` gives the interpreter's lock away, which costs the message path more
than the bytes. What was handed out is never handed out again, and a forked process draws anew.
"""

from __future__ import annotations

import os

_PORTION = 8192


class _Pool:
    def __init__(self) -> None:
        self.bytes = b""
        self.at = 0

    def refill(self) -> None:
        self.bytes, self.at = os.urandom(_PORTION), 0


_pool = _Pool()
os.register_at_fork(after_in_child=_pool.refill)


def random_bytes(size: int) -> bytes:
    """Cryptographically secure random bytes for keys, salts and nonces (at most 1 KiB).

    To be called on one thread: the event loop's.
    """
    start = _pool.at
    if start + size > len(_pool.bytes):
        _pool.refill()
        start = 0
    _pool.at = start + size
    return _pool.bytes[start : start + size]
