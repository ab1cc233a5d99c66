"""What a world consists of, before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Text


@dataclass(frozen=True, slots=True)
class ApplicationPlan:
    """An application of a member and how it connects (mtls, https, http)."""

    id: ApplicationId
    name: Text
    mode: str = "mtls"


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """A service; ``settings`` go into the server's file as they are."""

    id: ServiceId
    title: Text
    openapi: Path
    settings: Mapping[str, Any]
    example: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """A member with what it has."""

    id: MemberId
    name: Text
    applications: tuple[ApplicationPlan, ...] = ()
    services: tuple[ServicePlan, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """A security server and the members that it hosts; the first one owns it.

    ``address`` is where others reach it, when that is not its own listener.
    ``listen`` are addresses of listeners beyond those that every server of a world has.
    """

    id: ServerId
    members: tuple[MemberPlan, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None
    listen: Mapping[str, str] = field(default_factory=dict)
