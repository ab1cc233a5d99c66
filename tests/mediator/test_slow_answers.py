"""How old an answer may be: its head is judged by when it came, however slowly its body did."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from exchange.certificates.reading import fingerprint_of
from exchange.identifiers import ApplicationId
from exchange.keys import Algorithm, SigningKey
from exchange.messages.digest import content_digest
from exchange.messages.envelope import RequestHead, ResponseHead, seal_request, seal_response
from exchange.messages.signed import MAX_AGE_S, MAX_SKEW_S
from exchange.problems import Code, Problem
from mediator.background.revocation import Unchecked
from mediator.consumer.path import Consumer
from mediator.message.stages import Answered, RecordedCall, Routed, SealedCall
from mediator.xroad import call_of, service_of
from serving.bodies import Body, Room, Spooled, Spools
from tests.mediator.test_link import state_of
from tests.registry.simulator import KEYS, MPI, NOW

TARGET = "/r1/LA/GOV/MPI/oda-mis/projects/x"
ADDRESS = "https://127.0.0.1:1"
BUDGET = ApplicationId.parse("LA/GOV/MOF/budget")
LONGEST_S = MAX_AGE_S + MAX_SKEW_S
"""So old a head may be when it comes."""


class Standing:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW

    def unix(self) -> float:
        return NOW.timestamp()

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Spools(tmp_path).room()


def answered(body: Body, plain: bytes, signed_before_s: int) -> tuple[Consumer, Answered]:
    """A consumer's server, and an answer that the provider's signed so long ago."""
    state = state_of(1, ADDRESS, MPI)
    (server,) = state.servers_for(MPI)
    certificate = state.member(MPI).seal_certificates[0]
    key = SigningKey(
        fingerprint_of(certificate), Algorithm.ECDSA_P256_SHA256, cast(Any, KEYS[certificate])
    )
    fields = (("content-digest", content_digest(b"")), ("x-road-id", "LA-1"))
    head = RequestHead("GET", ADDRESS + TARGET, fields)
    created = int(NOW.timestamp())
    signed = seal_request(head, key, created=created, expires=created + 60, nonce="n" * 22)
    sent = head.with_headers(signed.headers_to_add)
    call = call_of("GET", TARGET, service_of(TARGET, 8190), (), b"", BUDGET, "trace")
    sealed = SealedCall(Routed(call, (server,), ""), server, sent, signed, "")
    bare = ResponseHead(200, (("content-digest", content_digest(plain)), ("x-road-id", "LA-1")))
    added = seal_response(sent, bare, key, created=created - signed_before_s).headers_to_add
    none: Any = None
    consumer = Consumer(lambda: state, Unchecked(), none, none, none, none, none, Standing(), none)
    response = ResponseHead(200, (*bare.headers, *added))
    return consumer, Answered(RecordedCall(sealed, none), response, body)


async def test_a_long_body_may_take_longer_than_its_head_may_be_old(room: Room) -> None:
    """The head came in time, an hour ago; its body has arrived only now."""
    plain = bytes(2 << 20)
    body = await room.take(plain)
    assert isinstance(body, Spooled)
    body.took_s = 3600.0
    consumer, answer = answered(body, plain, 3600 + LONGEST_S)
    assert consumer.open(answer).answered is answer
    room.end()


@pytest.mark.parametrize("took_s", [0.0, 3600.0])
async def test_a_head_that_was_too_old_when_it_came_is_refused(room: Room, took_s: float) -> None:
    """A long body excuses the time that it took, and no more."""
    plain = bytes(2 << 20)
    body = await room.take(plain)
    assert isinstance(body, Spooled)
    body.took_s = took_s
    consumer, answer = answered(body, plain, int(took_s) + LONGEST_S + 1)
    with pytest.raises(Problem) as caught:
        consumer.open(answer)
    assert caught.value.code is Code.STALE_SIGNATURE
    room.end()


async def test_a_short_body_excuses_nothing() -> None:
    """It came with its head; its entry says when that was judged."""
    for old_s, is_good in ((LONGEST_S, True), (LONGEST_S + 1, False)):
        consumer, answer = answered(b"{}", b"{}", old_s)
        if is_good:
            assert consumer.open(answer).at == NOW
        else:
            with pytest.raises(Problem) as caught:
                consumer.open(answer)
            assert caught.value.code is Code.STALE_SIGNATURE
