"""Settings of a security server that contradict each other are refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.problems import Code, Problem
from mediator.settings import (
    ApplicationSettings,
    KeyPair,
    ListenSettings,
    MemberSettings,
    RegistrySettings,
    ServerSettings,
    ServiceSettings,
)
from mediator.witness.settings import LoneWitnessSettings
from serving.settings import load

PAIR = KeyPair(Path("a.pem"), Path("a.key"))


def test_a_network_that_is_none_is_refused() -> None:
    """A slip in a network is found at the start, not at the first request from there."""
    with pytest.raises(Problem) as caught:
        ListenSettings(peer="127.0.0.1:0", http_networks=("10.0.0.5/8",))
    assert caught.value.code is Code.INVALID_SETTINGS
    assert caught.value.where == "listen.http_networks"


def test_an_application_of_a_member_that_is_not_hosted_is_refused() -> None:
    """Its calls could not be sealed; each would be an error of the server's own."""
    with pytest.raises(Problem) as caught:
        ServerSettings(
            server=ServerId.parse("LA/GOV/MOF/ss1"),
            directory=Path(),
            address="https://127.0.0.1",
            registry=RegistrySettings("http://127.0.0.1", Path()),
            auth=PAIR,
            listen=ListenSettings(peer="127.0.0.1:0"),
            members=(MemberSettings(MemberId.parse("LA/GOV/MOF"), PAIR),),
            applications=(ApplicationSettings(ApplicationId.parse("LA/GOV/MPI/oda-mis")),),
        )
    assert caught.value.code is Code.INVALID_SETTINGS
    assert caught.value.where == "application LA/GOV/MPI/oda-mis"


@pytest.mark.parametrize(
    ("settings", "document"),
    [
        (
            ServerSettings,
            {
                "server": "LA/GOV/MOF/ss1",
                "directory": "data",
                "address": "https://127.0.0.1",
                "registry": {"url": "http://127.0.0.1", "root": "root.json"},
                "auth": {"certificate": "a.pem", "key": "a.key"},
                "listen": {"peer": "127.0.0.1:0"},
                "members": [],
            },
        ),
        (LoneWitnessSettings, {"name": "w", "directory": "data", "listen": "127.0.0.1:0"}),
    ],
    ids=["server", "witness"],
)
def test_a_level_of_logs_that_is_none_is_refused(
    settings: type[object], document: dict[str, object]
) -> None:
    """A slip in it is the operator's to see, with the levels that there are."""
    load(settings, {**document, "log_level": "debug"}, where="settings")
    with pytest.raises(Problem) as caught:
        load(settings, {**document, "log_level": "loud"}, where="settings")
    assert caught.value.code is Code.INVALID_SETTINGS
    assert caught.value.where == "settings.log_level"
    assert "debug, info, warning, error" in caught.value.detail


def test_a_service_with_a_reserved_code_is_refused() -> None:
    """The server answers it by itself; a backend behind it would never be asked."""
    with pytest.raises(Problem) as caught:
        ServiceSettings(id=ServiceId.parse("LA/GOV/MPI/oda-mis/listMethods"))
    assert caught.value.code is Code.INVALID_SETTINGS
    assert caught.value.where == "service LA/GOV/MPI/oda-mis/listMethods"
