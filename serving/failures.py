"""Failures of an exchange: why it brought no answer, and whether anything was sent."""

from __future__ import annotations

import ssl
from typing import TypeAlias

from serving.waits import Phase

Facts: TypeAlias = dict[str, str | int | float | bool | list[str] | None]


class ExchangeFailed(Exception):
    """An exchange that brought no answer.

    ``sent`` is False only when it is certain that no byte of the request left this process, so
    that the same request may be given to another server whatever its method.
    """

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.sent = sent


class ConnectFailed(ExchangeFailed):
    """No connection: refused, unreachable, unknown name, or TLS not agreed (then ``tls`` is set).

    A TLS 1.3 server may refuse *our* certificate only after the first bytes of a request. When it
    says so with an alert, that is a ``ConnectFailed`` too, with ``sent`` True; asyncio's and
    uvloop's servers hang up without one, which is :class:`Disconnected`.
    """

    def __init__(self, reason: str, tls: ssl.SSLError | None = None, *, sent: bool = False) -> None:
        super().__init__(reason, sent=sent)
        self.reason = reason
        self.tls = tls


class TimedOut(ExchangeFailed):
    """The time of a phase, or of the whole exchange, was over.

    ``bound`` is the name of what was over (``wait_s``, ``connect_s``, ``first_byte_s``,
    ``stall_s``, ``exchange_s``), ``seconds`` its length.
    """

    def __init__(self, phase: Phase, bound: str, seconds: float) -> None:
        detail = f"timed out {phase}: {bound} is {seconds:g} s"
        super().__init__(detail, sent=phase not in (Phase.WAIT, Phase.CONNECT))
        self.phase = phase
        self.bound = bound
        self.seconds = seconds

    @property
    def facts(self) -> Facts:
        """For the problem that this becomes: in which phase, and what setting was over."""
        return {"phase": self.phase.name.lower(), "limit": self.bound, "seconds": self.seconds}


class ProtocolError(ExchangeFailed):
    """What came back is not the answer of an HTTP/1.1 server to this request."""

    def __init__(self, detail: str, *, sent: bool = True) -> None:
        super().__init__(detail, sent=sent)


class Disconnected(ProtocolError):
    """The connection ended before the end of the answer.

    ``answered`` says whether a first part of an answer had come.
    """

    def __init__(self, detail: str, *, answered: bool, sent: bool = True) -> None:
        super().__init__(detail, sent=sent)
        self.answered = answered


class TooLarge(ExchangeFailed):
    """Head or body of the answer (``what``) is larger than the limit."""

    def __init__(self, what: str, limit_bytes: int) -> None:
        super().__init__(f"the {what} of the answer exceeds {limit_bytes} bytes", sent=True)
        self.what = what
        self.limit_bytes = limit_bytes


class PoolFull(ExchangeFailed):
    """All connections are busy and the queue for them is full."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} exchanges are waiting already", sent=False)
        self.waiting = waiting

    @property
    def facts(self) -> Facts:
        """For the problem that this becomes."""
        return {"waiting": self.waiting}


class PoolClosed(ExchangeFailed):
    """The pool is closing: it takes no new exchanges."""

    def __init__(self) -> None:
        super().__init__("the pool is closed", sent=False)
