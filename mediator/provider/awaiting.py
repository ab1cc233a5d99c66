"""Services that cannot be offered yet: what their adapters need lies where it cannot be had now.

Such a service keeps nobody else from starting: its callers are told why, health shows it, and it is
tried again until it can be offered. What was read then is checked as at a start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem
from mediator.provider.offers import OfferedService
from serving.aside import aside

RETRY_S: Final = 10.0
"""Seconds between two attempts; an attempt may itself wait for its host."""

_log = structlog.get_logger("mediator.provider.awaiting")


class Awaiting:
    """Tries again for each service of ``services`` that is absent.

    Args:
        services: the services of the provider, where what can be offered is put.
        offer: makes the service, waiting for what it needs; it is called in a thread.
    """

    def __init__(
        self,
        services: dict[ServiceId, OfferedService],
        offer: Callable[[ServiceId], OfferedService],
    ) -> None:
        self._services = services
        self._offer = offer
        self._arrived: list[OfferedService] = []

    async def run(self) -> None:
        """Try until every service is there; end then."""
        async with asyncio.TaskGroup() as group:
            for service, offered in self._services.items():
                if offered.absent is not None:
                    group.create_task(self._await(service))

    async def close(self) -> None:
        """Close the backends of what came."""
        for service in self._arrived:
            await service.backend.close()

    async def _await(self, service: ServiceId) -> None:
        while True:
            try:
                offered = await aside(lambda: self._offer(service))
            except (Problem, OSError) as error:
                problem = _told(error)
                self._services[service] = replace(self._services[service], absent=problem)
                _log.warning("service_awaited", service=str(service), problem=str(problem))
                await asyncio.sleep(RETRY_S)
            else:
                self._arrived.append(offered)
                self._services[service] = offered
                _log.info("service_arrived", service=str(service))
                return


def _told(error: Problem | OSError) -> Problem:
    if isinstance(error, Problem):
        return error
    return Problem(Code.SOURCE_FAILED, where="adapter", detail=str(error.strerror))


def report(services: Mapping[ServiceId, OfferedService]) -> dict[str, Any]:
    """For health: the services that are absent, and why."""
    absent = {str(one.id): str(one.absent) for one in services.values() if one.absent is not None}
    return {"ok": not absent, "absent": absent}
