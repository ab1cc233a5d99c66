"""The document of a configuration: what :mod:`console.instance.drafts` reads back.

Rights are written with their member's name of the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.instance.configuration import Application, Configuration


def write(configuration: Configuration) -> dict[str, Any]:
    """The document of a configuration, every optional member written out."""
    names = {member.key: member.name for member in configuration.members}
    return {
        "domain": configuration.domain,
        "instance": configuration.instance,
        "members": [
            {
                "name": member.name,
                "class": member.member_class,
                "code": member.code,
                "applications": [
                    _write_application(application, names) for application in member.applications
                ],
            }
            for member in configuration.members
        ],
    }


def _write_application(
    application: Application, names: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    return {
        "id": application.id,
        "connection": application.connection.value,
        "services": [
            {
                "id": service.id,
                "specUrl": service.spec_url,
                "serviceUrl": service.service_url,
                "rights": [
                    {
                        "member": names[right.member_class, right.member_code],
                        "application": right.application,
                    }
                    for right in service.rights
                ],
            }
            for service in application.services
        ],
    }
