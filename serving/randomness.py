"""Random bytes in small portions, drawn from the kernel in large ones.

Each call of ``os.urandom`` gives the interpreter's lock away, which costs the message path more
than the bytes. What was handed out is never handed out again, and a forked process draws anew.
"""

from __future__ import annotations

import os
from binascii import b2a_base64

_PORTION = 8192
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# RFC 9562 section 5.4: version 4 in bits 48 to 51, variant 10 in bits 64 and 65.
_UUID_MASK = ~((0xF << 76) | (0x3 << 62)) & (2**128 - 1)
_UUID_VERSION = (4 << 76) | (2 << 62)


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


def random_token(size: int = 16) -> str:
    """``size`` random bytes as base64url without padding, for nonces."""
    return b2a_base64(random_bytes(size), newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def random_uuid() -> str:
    """A random UUID (RFC 9562 version 4) as text."""
    number = int.from_bytes(random_bytes(16)) & _UUID_MASK | _UUID_VERSION
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
