"""A SOAP service in use: kept connections, places, pauses, a budget.

Invariants:
- at most ``max_connections`` calls run at once, the reading of their answers included, and at most
  ``max_waiting`` wait; more are refused (:mod:`adapters.soap.places`);
- nothing blocks the event loop: messages go over :mod:`serving.client`, and long answers are read
  in threads, as many as there are places;
- a call that may have changed something is never sent a second time;
- a service that stays down is left alone for a while, and no more is asked in an hour than the
  mapping allows (:mod:`adapters.sources.breaker`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog

from adapters.answers.faults import nameless
from adapters.soap import mapping as soap
from adapters.soap import messages
from adapters.soap.file import authorization, call_headers, trust
from adapters.soap.lexical import Unfit, of_parameter
from adapters.soap.places import Place, Places
from adapters.soap.requests import place
from adapters.soap.wsdl import Operation
from adapters.sources.breaker import Breaker, Budget
from adapters.sources.variables import resolve, resolve_key
from exchange.problems import Code, Problem
from serving.answers import Answer
from serving.backends import NotDelivered
from serving.client import Pool
from serving.failures import ExchangeFailed, PoolClosed, PoolFull, TooLarge
from serving.http_backends import IDLE_S, translate
from serving.pool_places import PoolLimits

T = TypeVar("T")
_INLINE_BYTES = 32 * 1024
"""A longer answer is read in a thread: the loop is held for some two milliseconds at most."""

_log = structlog.get_logger("saphan.adapters")


class Source:
    """The service behind one mapping; see the module for what it promises.

    Raises:
        Problem: ``InvalidMapping`` for a missing ``${NAME}`` or an address that cannot be one.
    """

    def __init__(self, mapping: soap.Mapping, environ: Mapping[str, str]) -> None:
        source, self.limits = mapping.source, mapping.source.limits
        address = resolve(mapping.address, environ, source.where)
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            detail = "the address is not an http or https address without a user in it"
            raise Problem(Code.INVALID_MAPPING, where=source.where, detail=detail)
        context = trust(source) if parts.scheme == "https" else None
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = (("host", parts.netloc), *authorization(source.auth, environ).items())
        self._pool = Pool(
            parts.hostname,
            port or (443 if context else 80),
            ssl=context,
            limits=PoolLimits(
                max_connections=self.limits.max_connections,
                max_waiting=self.limits.max_waiting,
                idle_s=IDLE_S,
                connect_s=self.limits.connect_timeout_s,
                max_body_bytes=self.limits.max_bytes,
            ),
        )
        self.mask_key = resolve_key(source.mask_key, environ, source.where)
        token = _token(source.auth, environ)
        self.headings = {
            call.name: _heading(call, mapping, token, environ) for call in mapping.calls
        }
        self._places = Places(self.limits.max_connections, self.limits.max_waiting)
        self._breaker = Breaker(self.limits.failures_before_pause, self.limits.longest_pause_s)
        self._budget = Budget(self.limits.max_statements_per_hour)
        self._closed = False

    async def ask(
        self,
        call: Operation,
        envelope: bytes,
        read: Callable[[bytes, str], T],
        *,
        timeout_s: float,
        once: bool,
    ) -> T:
        """Send ``envelope`` and ``read`` what comes back (its bytes, and their ``Content-Type``).

        That may be in a thread.

        Raises:
            Problem: what ``read`` raises; ``BackendProtocolError`` for an answer that is no SOAP;
                ``SourceFailed`` when the service failed so often that it is left alone; else as
                :meth:`serving.backends.Backend.exchange`.
        """
        self._spend()
        now = monotonic()
        pause_s = self._breaker.wait_s(now)
        if pause_s:
            detail = "the service failed several times in a row and is left alone for a while"
            facts = {"retry_after_s": math.ceil(pause_s)}
            raise NotDelivered(Code.SOURCE_FAILED, where="source", detail=detail, facts=facts)
        most = min(timeout_s, self.limits.statement_timeout_s)
        try:
            with await self._places.take(most) as place:
                answer = await self._pool.exchange(
                    "POST",
                    self._target,
                    (*self._headers, *messages.headers(call.version, call.action)),
                    envelope,
                    timeout_s=max(0.0, most - (monotonic() - now)),
                    repeatable=not once,
                )
                found = await _read(answer, read, place, most - (monotonic() - now))
        except ExchangeFailed as failure:
            if not isinstance(failure, PoolFull | PoolClosed):
                self._breaker.failed(monotonic())
            raise nameless(translate(failure, "source")) from failure
        except messages.NotAnAnswer as error:
            self._breaker.failed(monotonic())
            detail = f"the answer with the status {answer.status} {error}"
            _log.warning("no_soap_answer", operation=call.name, status=answer.status)
            raise Problem(Code.BACKEND_NONSENSE, where="source", detail=detail) from error
        except NotDelivered:  # there was no place: nothing was learnt of the service
            raise
        except Exception:  # a fault, or an answer that breaks its schema: it is there
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return found

    async def health(self, timeout_s: float) -> None:
        """Whether anything answers at the address: there is no call that every service allows.

        Raises:
            Problem: as :meth:`ask`.
        """
        try:
            await self._pool.exchange("GET", self._target, self._headers[:1], timeout_s=timeout_s)
        except TooLarge:
            return
        except ExchangeFailed as failure:
            raise nameless(translate(failure, "source")) from failure

    async def close(self) -> None:
        """Close connections and threads; idempotent."""
        if not self._closed:
            self._closed = True
            await self._pool.close()
            self._places.close()

    def _spend(self) -> None:
        left = self._budget.wait_s(monotonic())
        if left:
            most = self.limits.max_statements_per_hour
            detail = f"this source is asked at most {most:,} times in an hour, which are spent"
            facts = {"retry_after_s": math.ceil(left)}
            raise NotDelivered(Code.OVERLOADED, where="source", detail=detail, facts=facts)


async def _read(
    answer: Answer[bytes], read: Callable[[bytes, str], T], place: Place, left_s: float
) -> T:
    """Read the answer, whatever its status: a fault may come with any (SOAP 1.1, 6.2)."""
    kind = next((value for name, value in answer.headers if name == "content-type"), "")
    if len(answer.body) <= _INLINE_BYTES:
        return read(answer.body, kind)
    try:
        return await place.read(partial(read, answer.body, kind), left_s)
    except TimeoutError as error:
        detail = "no time was left to read the answer"
        raise Problem(Code.BACKEND_TIMEOUT, where="source", detail=detail) from error


def _token(auth: soap.Auth | None, environ: Mapping[str, str]) -> messages.UsernameToken | None:
    if auth is None or auth.form is not soap.AuthForm.WSSE:
        return None
    return messages.UsernameToken(
        resolve(auth.user, environ, auth.where), resolve(auth.secret, environ, auth.where)
    )


def _heading(
    call: Operation,
    mapping: soap.Mapping,
    token: messages.UsernameToken | None,
    environ: Mapping[str, str],
) -> messages.Heading:
    """The header of each message of ``call``, judged once: it does not change.

    Raises:
        Problem: ``InvalidMapping`` for a missing ``${NAME}``, or values that the WSDL forbids.
    """
    source = mapping.source
    whole: dict[str, Any] = {}
    for path, simple, text in call_headers(call, mapping):
        try:
            place(whole, path, of_parameter(simple, resolve(text, environ, source.where)))
        except Unfit as unfit:
            detail = f"{'.'.join(path)} of soap_header {unfit.rule}"
            raise Problem(Code.INVALID_MAPPING, where=source.where, detail=detail) from unfit
    elements = tuple((one, whole[one.name]) for one in call.headers if one.name in whole)
    heading = messages.Heading(token, elements)
    try:
        messages.format_call(call.version, None, None, mapping.types, heading)
    except Unfit as unfit:
        detail = f"soap_header for {call.name}: {unfit.place[1:].replace('/', '.')} {unfit.rule}"
        raise Problem(Code.INVALID_MAPPING, where=source.where, detail=detail) from unfit
    return heading
