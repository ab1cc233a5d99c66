"""Error types in both of X-Road's spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.messages.error_types import ErrorTypes, camel, code_named, known_code, snake, spell
from exchange.problems import Code, Side

# From X-Road: the types of PR-REST 1.0.4 and of version 7.8 (its ErrorCode).
SPELLINGS = [
    ("Server.ServerProxy.AccessDenied", "server.serverproxy.access_denied"),
    ("Server.ClientProxy.OutdatedGlobalConf", "server.clientproxy.global_conf_outdated"),
    ("Server.ClientProxy.SslAuthenticationFailed", "server.clientproxy.ssl_authentication_failed"),
    ("Server.ClientProxy.InternalError", "server.clientproxy.internal_error"),
    ("Server.ClientProxy.InvalidClientIdentifier", "server.clientproxy.invalid_client_identifier"),
    ("Server.ClientProxy.InvalidSecurityServer", "server.clientproxy.invalid_security_server"),
    ("Server.ClientProxy.MaintenanceMode", "server.clientproxy.maintenance_mode"),
    ("Server.ClientProxy.NetworkError", "server.clientproxy.network_error"),
    ("Server.ClientProxy.HttpError", "server.clientproxy.http_error"),
    ("Server.ClientProxy.IOError", "server.clientproxy.io_error"),
    ("Server.ClientProxy.CannotCreateCertPath", "server.clientproxy.cannot_create_cert_path"),
    ("Server.ServerProxy.ServiceType", "server.serverproxy.service_type"),
    ("Server.ServerProxy.HSMNonOperational", "server.serverproxy.hsm_non_operational"),
    (
        "Server.ServerProxy.ServiceFailed.UnknownMember",
        "server.serverproxy.service_failed.unknown_member",
    ),
    ("Server.ServerProxy.CertValidation", "server.serverproxy.cert_validation"),
    (
        "Server.ServerProxy.ClientProxyVersionNotSupported",
        "server.serverproxy.client_proxy_version_not_supported",
    ),
    ("Client.InvalidHttpMethod", "client.invalid_http_method"),
]


@pytest.mark.parametrize(("camel_case", "snake_case"), SPELLINGS)
def test_both_spellings_mean_the_same(camel_case: str, snake_case: str) -> None:
    """Each of X-Road's types is written and read in both spellings."""
    assert snake(camel_case) == snake_case
    assert camel(snake_case) == camel_case
    for given_type in (camel_case, snake_case):
        assert spell(given_type, ErrorTypes.CAMEL) == camel_case
        assert spell(given_type, ErrorTypes.SNAKE) == snake_case


@given(st.sampled_from(list(Side)), st.sampled_from(list(Code)))
def test_our_own_types_come_back(side: Side, code: Code) -> None:
    """Whatever we send is understood in both spellings."""
    written = snake(f"{side}.{code}")
    assert written == written.lower()
    assert camel(written) == f"{side}.{code}"
    assert known_code(written) is code


def test_a_code_of_others_is_named_but_not_ours() -> None:
    """A code that X-Road has and Saphan has not is told, and taken for nothing else."""
    assert code_named("server.serverproxy.service_missing_url") == "ServiceMissingUrl"
    assert known_code("Server.ServerProxy.ServiceMissingUrl") is None


@given(st.text(max_size=80))
def test_any_text_is_spelled_without_an_error(text: str) -> None:
    """What a peer sends as a type never raises."""
    for spelling in ErrorTypes:
        spell(text, spelling)
    known_code(text)
