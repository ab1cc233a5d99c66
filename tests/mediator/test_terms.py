"""The terms of an exchange: of service and agreement, the stricter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from exchange.agreements import Limits, parse_agreement
from exchange.identifiers import ServiceId
from exchange.problems import Code, Problem
from mediator.agreements.terms import (
    KnownTerms,
    call_bounds,
    doubtful_waits,
    service_terms,
    terms_of,
)
from mediator.settings import CallSettings, LimitSettings, ServerSettings, ServiceSettings
from serving.settings import load
from tests.world import small

LIMITS = LimitSettings(concurrent=100, share=0.25, service_concurrent=40)


def agreement(**limits: int) -> Any:
    return parse_agreement(orjson.dumps(small.agreement("a", limits=limits)))


def service(**changes: Any) -> Any:
    return service_terms(ServiceSettings(small.PROJECTS, timeout_s=20, **changes), LIMITS)


@pytest.mark.parametrize(
    ("member", "of_service", "agreed", "found"),
    [
        ("connect_s", 5, 2, 2),
        ("connect_s", 5, 6, 5),
        ("first_byte_s", 20, 5, 5),
        ("first_byte_s", 20, 60, 20),
        ("exchange_s", 20, 5, 5),
        ("exchange_s", 20, 21, 20),
        ("request_max_bytes", LIMITS.request_max_bytes, 1000, 1000),
        ("request_max_bytes", LIMITS.request_max_bytes, 2**40, LIMITS.request_max_bytes),
        ("answer_max_bytes", 256 * 2**20, 1000, 1000),
        ("answer_max_bytes", 256 * 2**20, 2**40, 256 * 2**20),
    ],
)
def test_the_stricter_holds(member: str, of_service: int, agreed: int, found: int) -> None:
    """Bound by bound; without a word of the agreement the service's holds."""
    assert getattr(terms_of(agreement(), service()), member) == of_service
    assert getattr(terms_of(agreement(**{member: agreed}), service()), member) == found


def test_every_limit_of_an_agreement_is_held() -> None:
    """A limit that can be sealed and is not looked at would be a promise that nobody keeps."""
    limited = agreement(**dict.fromkeys(Limits().__slots__, 1))
    terms = terms_of(limited, service())
    assert terms[:5] == (1, 1, 1, 1, 1)
    assert terms.places[0].most == 1


def test_terms_that_are_known_are_those_of_the_very_agreement() -> None:
    """One that is pinned anew has its own, however often that happens, and memory stays bounded."""
    known, offered = KnownTerms(), service()
    known.most = 3
    for concurrent in range(1, 9):
        pinned = agreement(concurrent=concurrent)
        for _ in range(2):
            assert known.of(pinned, offered) == terms_of(pinned, offered)
    assert known.of(pinned, service(concurrent=2)).places[1].most == 2
    assert len(known._known) <= 3


def test_a_service_may_set_itself_less_than_the_server() -> None:
    """Its own first byte and request size; more than the server takes in, it cannot."""
    assert service(first_byte_s=3, request_max_bytes=2048).first_byte_s == 3
    assert service(request_max_bytes=2048).request_max_bytes == 2048
    assert service(request_max_bytes=2**40).request_max_bytes == LIMITS.request_max_bytes


def test_nobody_has_all_places() -> None:
    """An agreement has its own number or its share of the whole, the less; a service its own."""
    assert [bound.most for bound in terms_of(agreement(), service()).places] == [25, 40]
    few = terms_of(agreement(concurrent=3), service(concurrent=7))
    assert [bound.most for bound in few.places] == [3, 7]
    assert [bound.ours for bound in few.places] == [False, True]
    assert terms_of(agreement(concurrent=90), service()).places[0].most == 25


def test_places_are_of_the_pair_and_not_of_a_name() -> None:
    """Names of agreements are chosen by the parties: another consumer's does not fill mine."""
    mine = terms_of(agreement(), service()).places[0]
    other = parse_agreement(orjson.dumps(small.agreement("a", small.WEB)))
    assert terms_of(other, service()).places[0].holder != mine.holder


def test_calls_to_one_service_of_others_have_a_bound() -> None:
    """Its own where settings name it, else that of all; a share is one place at least."""
    other = ServiceId.parse("LA/GOV/MPI/oda-mis/other")
    bounds = call_bounds(LIMITS, (CallSettings(small.PROJECTS, concurrent=2),))
    assert bounds.share == 25
    assert bounds.calls_to(small.PROJECTS).most == 2
    assert bounds.calls_to(other).most == 40
    assert call_bounds(replace(LIMITS, concurrent=1), ()).share == 1


def server(**changes: Any) -> ServerSettings:
    keys = {"certificate": "c", "key": "k"}
    document: dict[str, Any] = {
        "server": str(small.MPI_SERVER),
        "directory": "d",
        "address": "https://x",
        "registry": {"url": "http://x", "root": "r"},
        "auth": keys,
        "listen": {"peer": "127.0.0.1:0"},
        "members": [{"id": str(small.MPI), "seal": keys}],
        **changes,
    }
    return load(ServerSettings, document, where="test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"services": [{"id": str(small.PROJECTS), "timeout_s": 44}]}, []),
        ({"services": [{"id": str(small.PROJECTS), "timeout_s": 45}]}, ["calls.first_byte_s"]),
        ({"services": [{"id": str(small.PROJECTS), "first_byte_s": 31}]}, ["above timeout_s"]),
        ({"limits": {"exchange_s": 30}}, ["limits: first_byte_s"]),
        (
            {"calls": [{"service": str(small.PROJECTS), "exchange_s": 4}]},
            ["connect_s is above", "first_byte_s is above"],
        ),
    ],
)
def test_waits_that_do_not_go_together_are_doubted(
    changes: dict[str, Any], words: list[str]
) -> None:
    """`saphan mediator check` warns; the defaults of both sides go together."""
    found = doubtful_waits(server(**changes))
    assert len(found) == len(words), found
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_a_called_service_stands_in_the_settings_once() -> None:
    """Of two bounds nobody could say which holds."""
    with pytest.raises(Problem) as caught:
        server(calls=[{"service": str(small.PROJECTS)}] * 2)
    assert (caught.value.code, caught.value.where) == (Code.INVALID_SETTINGS, "calls")
