"""Error types: how X-Road names what went wrong, in its two spellings.

PR-REST 1.0.4 prints ``Server.ServerProxy.AccessDenied``; X-Road writes
``server.serverproxy.access_denied`` from version 7.8 on. A server sends one spelling (the first
unless its settings say otherwise) and understands both.

Invariant: for every type that Saphan sends, ``camel(snake(text)) == text``.
"""

from __future__ import annotations

import re
from enum import StrEnum

from exchange.problems import Code, Side


class ErrorTypes(StrEnum):
    """The spelling of error types."""

    CAMEL = "camel"
    SNAKE = "snake"


# What X-Road 7.8 did not rename by the rule.
_IRREGULAR = {
    "ClientProxy": "clientproxy",
    "ServerProxy": "serverproxy",
    "OutdatedGlobalConf": "global_conf_outdated",
}
# What X-Road calls problems for which it has no name of its own; others keep theirs.
_CONSUMER, _PROVIDER = Side.CONSUMER.value, Side.PROVIDER.value
_DENIED = f"{_PROVIDER}.{Code.ACCESS_DENIED}"
_UNREADABLE = f"{_CONSUMER}.{Code.INTERNAL_ERROR}"
_BAD_TLS = f"{_CONSUMER}.{Code.CLIENT_CERTIFICATE_REJECTED}"
_NAMES_OF_X_ROAD = {
    # X-Road asks for the rights of an endpoint, and does not say whether there is one
    **{
        f"{side}.{code}": _DENIED
        for side in (_CONSUMER, _PROVIDER)
        for code in (
            Code.UNKNOWN_ENDPOINT,
            Code.AGREEMENT_EXPIRED,
            Code.AGREEMENT_NOT_YET_VALID,
            Code.AGREEMENT_INVALID,
            Code.AGREEMENT_REVOKED,
            Code.PURPOSE_NOT_ALLOWED,
            Code.SUBJECT_MISSING,
            Code.REQUEST_BASIS_MISSING,
            Code.FIELD_NOT_RELEASED,
        )
    },
    **{
        f"{_CONSUMER}.{code}": _UNREADABLE
        for code in (Code.INVALID_REQUEST, Code.INVALID_IDENTIFIER, Code.INVALID_HEADER)
    },
    **{
        f"{_CONSUMER}.{code}": _BAD_TLS
        for code in (
            Code.TLS_REQUIRED,
            Code.CLIENT_CERTIFICATE_REQUIRED,
            Code.PEER_CERTIFICATE_EXPIRED,
            Code.PEER_CERTIFICATE_UNTRUSTED,
        )
    },
    f"{_CONSUMER}.{Code.UNKNOWN_APPLICATION}": f"{_CONSUMER}.{Code.UNKNOWN_MEMBER}",
    f"{_PROVIDER}.{Code.UNKNOWN_APPLICATION}": f"{_PROVIDER}.{Code.UNKNOWN_MEMBER}",
    f"{_CONSUMER}.{Code.UNKNOWN_SERVICE}": f"{_PROVIDER}.{Code.UNKNOWN_SERVICE}",
    f"{_CONSUMER}.{Code.PEER_UNREACHABLE}": f"{_CONSUMER}.{Code.BACKEND_UNREACHABLE}",
    f"{_CONSUMER}.{Code.PEER_TIMEOUT}": f"{_CONSUMER}.IOError",
    f"{_CONSUMER}.{Code.PEER_NONSENSE}": f"{_CONSUMER}.HttpError",
    f"{_PROVIDER}.{Code.BACKEND_TIMEOUT}": f"{_PROVIDER}.IOError",
    f"{_PROVIDER}.{Code.BACKEND_NONSENSE}": f"{_PROVIDER}.IOError",
}
_REGULAR_BACK = {value: key for key, value in _IRREGULAR.items()} | {
    "io_error": "IOError",
    "hsm_non_operational": "HSMNonOperational",
}
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SPELLED = re.compile(r"[A-Za-z0-9_]{1,64}(?:\.[A-Za-z0-9_]{1,64}){0,7}", re.ASCII)


def snake(error_type: str) -> str:
    """The spelling of X-Road 7.8; what is spelled that way already stays."""
    return ".".join(
        _IRREGULAR.get(part) or _WORD.sub("_", part).lower() for part in error_type.split(".")
    )


def camel(error_type: str) -> str:
    """The spelling of PR-REST 1.0.4; what is spelled that way already stays."""
    if any(letter.isupper() for letter in error_type):
        return error_type
    return ".".join(
        _REGULAR_BACK.get(part) or "".join(word.capitalize() for word in part.split("_"))
        for part in error_type.split(".")
    )


def spell(error_type: str, spelling: ErrorTypes) -> str:
    """An error type in one of the spellings, whichever it came in."""
    text = camel(error_type)
    return snake(text) if spelling is ErrorTypes.SNAKE else text


def name_of_x_road(error_type: str) -> str:
    """What X-Road calls the same, in CamelCase; a type that it has no name for stays."""
    text = camel(error_type)
    return _NAMES_OF_X_ROAD.get(text, text)


def is_error_type(text: str) -> bool:
    """Whether a text from outside is written as an error type, in either spelling."""
    return _SPELLED.fullmatch(text) is not None


def code_named(error_type: str) -> str:
    """The last part of an error type in CamelCase: the code, which need not be one of ours."""
    return camel(error_type).rpartition(".")[2]


def known_code(error_type: str) -> Code | None:
    """The code that an error type ends with; None when it is none of ours."""
    try:
        return Code(code_named(error_type))
    except ValueError:
        return None
