"""Contract checks of requests and answers, as strict as the service asks for.

Under ``report`` a broken contract is counted and logged, and the message passes; under ``off``
nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from exchange.problems import Code, Problem
from mediator.message import long_bodies
from mediator.message.records import Recorder
from mediator.message.stages import Allowed, Delivered, OpenedCall
from mediator.provider.offers import OfferedService
from mediator.settings import Validation
from serving.bodies import Body, Spooled

log = structlog.get_logger("mediator.provider.checks")


@dataclass(frozen=True, slots=True)
class Checks:
    """What the checks need; built once by mediator/server.py.

    ``max_bytes`` bounds a long body that is read to be checked.
    """

    recorder: Recorder
    max_bytes: int = long_bodies.CHECKED_MAX_BYTES

    async def request(self, allowed: Allowed, offered: OfferedService) -> None:
        """Check what goes to the backend.

        Raises:
            Problem: ``PayloadTooLarge``, ``ServerOverloaded``, or what the contract says.
        """
        call, match = allowed.recorded.call, allowed.match
        headers = call.received.head.headers
        await self._judge(
            offered,
            call,
            call.received.body,
            lambda: match.operation.reads_request(headers),
            partial(match.operation.check_request, match, call.query, headers),
            Code.PAYLOAD_TOO_LARGE,
        )

    async def answer(self, delivered: Delivered, offered: OfferedService) -> Any | None:
        """Check what the backend answered; returns its JSON when that was parsed.

        Raises:
            Problem: ``ResponseTooLarge``, ``ServerOverloaded``, or what the contract says.
        """
        allowed, status, headers = delivered.checked.allowed, delivered.status, delivered.headers
        call, operation = allowed.recorded.call, allowed.match.operation
        if call.received.head.method == "HEAD":
            return None
        return await self._judge(
            offered,
            call,
            delivered.body,
            lambda: operation.reads_response(status, headers),
            partial(operation.check_response, status, headers),
            Code.RESPONSE_TOO_LARGE,
        )

    async def _judge(
        self,
        offered: OfferedService,
        call: OpenedCall,
        body: Body,
        reads: Callable[[], bool],
        check: Callable[[bytes | None], Any],
        too_long: Code,
    ) -> Any | None:
        if offered.validation is Validation.OFF:
            return None
        try:
            if isinstance(body, Spooled):
                return await long_bodies.judge(body, reads(), check, self.max_bytes, too_long)
            return check(body)
        except Problem as problem:
            if offered.validation is Validation.ENFORCE:
                raise
            self.recorder.reported(problem)
            log.warning(
                "contract_broken",
                service=str(call.service),
                code=problem.code,
                where=problem.where,
                trace=call.request_id,
            )
            return None
