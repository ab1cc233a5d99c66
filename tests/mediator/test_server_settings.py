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


def test_a_service_with_a_reserved_code_is_refused() -> None:
    """The server answers it by itself; a backend behind it would never be asked."""
    with pytest.raises(Problem) as caught:
        ServiceSettings(id=ServiceId.parse("LA/GOV/MPI/oda-mis/listMethods"))
    assert caught.value.code is Code.INVALID_SETTINGS
    assert caught.value.where == "service LA/GOV/MPI/oda-mis/listMethods"
