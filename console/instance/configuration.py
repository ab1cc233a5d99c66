"""What an instance is to be: members, their applications and services, and who may call them.

A :class:`Configuration` that exists is consistent: members differ in class and code and in name,
applications and services differ in id, every right names an application of it
(:mod:`console.instance.merging` sees to that). Names may change, so rights are held by class and
code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Connection(StrEnum):
    """How an application connects to its server; GovStack's default is https."""

    HTTPS = "https"
    HTTP = "http"
    MTLS = "mtls"


@dataclass(frozen=True, slots=True, order=True)
class Consumer:
    """An application that is allowed: class and code of its member, and its id."""

    member_class: str
    member_code: str
    application: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service, where its OpenAPI document and its backend are, and who may call it."""

    id: str
    spec_url: str
    service_url: str
    rights: tuple[Consumer, ...] = ()


@dataclass(frozen=True, slots=True)
class Application:
    """An application of a member."""

    id: str
    connection: Connection = Connection.HTTPS
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation."""

    name: str
    member_class: str
    code: str
    applications: tuple[Application, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.member_class, self.code


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an instance is to be."""

    domain: str
    instance: str
    members: tuple[Member, ...] = ()

    def services(self) -> Iterator[tuple[Member, Application, Service]]:
        """Every service with whose it is."""
        for member in self.members:
            for application in member.applications:
                for service in application.services:
                    yield member, application, service

    def applications(self) -> frozenset[Consumer]:
        """Every application, as rights name it."""
        return frozenset(
            Consumer(*member.key, application.id)
            for member in self.members
            for application in member.applications
        )
