"""A journal of any size through the real code: ``python -m benchmarks.entries --count N DIR``.

Whoever measures search, proofs, archive or verification at ten million entries needs a journal of
that size, the same at each run. This one is of a civil registry, or (``--side consumer``) of the
server through which the ministries ask it: a country's exchanges of 24 months. Entry ``n`` depends
on ``n`` alone, so a run that was interrupted goes on where it stopped, and the two sides' journals
pair. Months, ministries, people and outcomes are spread as they would be: a few people are asked
for often, one exchange in thirty does not succeed.

Everything goes through :class:`mediator.journal.log.Journal`, with publication and search index
running; only the parts that are sealed are small, and every second exchange has none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.identifiers import ApplicationId, MemberId, ServerId, ServiceId
from exchange.journal.entries import Entry, Kind, Side
from exchange.journal.sealed_parts import Head, SealedPart
from exchange.messages.digest import content_digest
from mediator.journal.keyring import DEFAULT_DAYS, KeyRing
from mediator.journal.log import Journal, JournalSettings
from mediator.own_keys import origin_of

MONTHS = 24
BEGIN = datetime(2024, 12, 1, tzinfo=UTC)
SPAN_MS = 730 * 86_400_000
PEOPLE = 300_000
PROVIDER = MemberId("LA", "GOV", "MOHA")
CONSUMER_SERVER = ServerId.parse("LA/GOV/DGC/ss1")
PROVIDER_SERVER = ServerId.parse("LA/GOV/MOHA/ss1")
ORIGINS = {
    Side.PROVIDER: origin_of(PROVIDER_SERVER),
    Side.CONSUMER: origin_of(CONSUMER_SERVER),
}
_KEY = Ed25519PrivateKey.from_private_bytes(b"the key of the benchmark's logs!")
_REGISTRY = "LA/GOV/MOHA/civil-registry"
_NO_BODY, _BODY = content_digest(b""), content_digest(b"a body that was not kept")
_PRODUCERS = 8192
_AHEAD = 65_536  # entries that publication may be behind
_TOGETHER = 256  # records that wait for their commit at once
SETTINGS = JournalSettings(group_max_records=8192, waiting_max_records=65_536)
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class _Caller:
    """An application, what it asks for, and under what."""

    client: ApplicationId
    agreement: str
    purpose: str


def _caller(text: str, purpose: str) -> _Caller:
    client = ApplicationId.parse(f"LA/GOV/{text}")
    return _Caller(client, f"{client.member_code.lower()}-moha-2024", purpose)


# Those further up call more often (see _weighted).
_CALLERS = (
    _caller("MOF/tax-portal", "taxpayer-registration"),
    _caller("MOLSW/pensions", "pension-payment"),
    _caller("MOH/insurance", "health-insurance"),
    _caller("MOES/enrolment", "school-enrolment"),
    _caller("MPS/passports", "passport-issue"),
    _caller("MONRE/land-titles", "land-title-transfer"),
    _caller("MPWT/driving-licences", "driving-licence"),
    _caller("MOIC/enterprises", "enterprise-registration"),
    _caller("MOJ/notaries", "notarial-act"),
    _caller("MAF/farm-support", "farm-support"),
    _caller("BOL/credit-information", "credit-information"),
    _caller("MPI/oda-mis", "development-project"),
    _caller("MOFA/consulates", "consular-service"),
    _caller("MOTC/sim-registration", "subscriber-registration"),
    _caller("MEM/tariffs", "electricity-tariff"),
    _caller("MICT/guides", "tourist-guide-licence"),
    _caller("LSB/census", "census"),
)
_SERVICES = tuple(
    (ServiceId.parse(f"{_REGISTRY}/{code}"), method, endpoint)
    for code, method, endpoint in (
        ("persons", "GET", "/persons/{id}"),
        ("addresses", "GET", "/persons/{id}/address"),
        ("households", "GET", "/households/{id}"),
        ("births", "POST", "/births"),
        ("marriages", "GET", "/persons/{id}/marriages"),
    )
)
_ANSWERS: tuple[tuple[Kind, Kind, int, str | None], ...] = (
    *[(Kind.RESPONSE, Kind.RESPONSE, 200, None)] * 967,
    *[(Kind.RESPONSE, Kind.RESPONSE, 404, None)] * 18,
    *[(Kind.REFUSAL, Kind.RESPONSE, 403, "AccessDenied")] * 7,
    *[(Kind.REFUSAL, Kind.RESPONSE, 429, "QuotaExceeded")] * 3,
    *[(Kind.REFUSAL, Kind.RESPONSE, 504, "BackendTimeout")] * 5,
)
_CERTIFICATES = {caller.client.member: f"{n:02x}" * 32 for n, caller in enumerate(_CALLERS, 16)}
_PROVIDERS_CERTIFICATE = "3f" * 32


def _mix(number: int) -> int:
    """64 bits that look random, and are the same for the same number (splitmix64)."""
    number = number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15 & _MASK
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31


def _weighted(bits: int, size: int) -> int:
    """A number below ``size`` out of 16 bits; the smaller ones come far more often."""
    share = (bits & 0xFFFF) / 65_536
    return int(share * share * size)


def person(exchange: int) -> str:
    """Whom an exchange is about; the first of the people are asked for most."""
    bits = _mix(exchange ^ 0x5EED)
    share = (bits >> 11) / (1 << 53)
    return f"LA{10_000_000 + int(share * share * PEOPLE):010d}"


def subject(exchange: int) -> str:
    """Whom an exchange is about, as its entries' subject in normal form."""
    return f"la-nid:{person(exchange).lower()}"


def message_id(exchange: int) -> str:
    """X-Road-Id of an exchange."""
    text = f"{_mix(exchange):016x}{exchange:016x}"
    return f"LA-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def begun_at(exchange: int, exchanges: int) -> datetime:
    """When an exchange of so many begins; they fill the 24 months evenly."""
    return BEGIN + timedelta(milliseconds=exchange * SPAN_MS // exchanges)


def entry(number: int, count: int, side: Side) -> tuple[Entry, MemberId, SealedPart | None]:
    """Entry ``number`` of ``count`` on one side, with what :meth:`Journal.record` wants."""
    exchange, is_answer = divmod(number, 2)
    bits = _mix(exchange)
    caller = _CALLERS[_weighted(bits, len(_CALLERS))]
    service, method, endpoint = _SERVICES[_weighted(bits >> 16, len(_SERVICES))]
    ours, theirs, status, problem = _ANSWERS[(bits >> 32) % len(_ANSWERS)]
    consumer = side is Side.CONSUMER
    member = caller.client.member if consumer else PROVIDER
    at = begun_at(exchange, -(-count // 2))
    latency = 8 + (bits >> 42 & 0xFF) * (bits >> 50 & 0x3F) // 16  # 8 to about 1,000 ms
    if is_answer:
        at += timedelta(milliseconds=latency if consumer else latency - 4)
        kind = theirs if consumer else ours
        signer = _PROVIDERS_CERTIFICATE if consumer else _CERTIFICATES[caller.client.member]
    else:
        at += timedelta(milliseconds=0 if consumer else 3)
        kind = Kind.REQUEST
        signer = "" if consumer else _CERTIFICATES[caller.client.member]
    result = Entry(
        kind=kind,
        side=side,
        at=at,
        id=message_id(exchange),
        trace=f"{bits:016x}{exchange:016x}",
        client=caller.client,
        service=service,
        peer=PROVIDER_SERVER if consumer else CONSUMER_SERVER,
        method=method,
        endpoint=endpoint,
        status=status if is_answer else None,
        problem=problem if is_answer else None,
        size=(200 + bits % 3000 if is_answer else bits % 200),
        certificate=signer or None,
        agreement=caller.agreement if consumer or is_answer else None,
        purpose=caller.purpose,
        nonce=None if is_answer else f"{bits:024x}",
    )
    if exchange % 2:
        return result, member, None
    target = f"/r1/{service}{endpoint.replace('{id}', person(exchange))}"
    return (
        result,
        member,
        _part(result, number, target, method, _CERTIFICATES[caller.client.member]),
    )


def _part(entry: Entry, number: int, target: str, method: str, asker: str) -> SealedPart:
    """A sealed part as large as a real one, which says what its entry says."""
    told = (
        ("content-type", "application/json"),
        ("content-digest", _BODY if entry.size else _NO_BODY),
        ("exchange-purpose", entry.purpose or ""),
        ("x-road-client", str(entry.client)),
        ("x-road-id", entry.id or ""),
        ("x-road-service", str(entry.service)),
    )
    created = int(entry.at.timestamp())
    asked = f'("@method" "@target-uri");created={created};nonce="{entry.nonce or ""}"'
    asked += f';keyid="{asker}";alg="ed25519";tag="saphan-request"'
    lines = "".join(f'\n"{name}": {value}' for name, value in told)
    uri = f"https://ss1.moha.example{target}"
    if entry.status is None:
        head = Head(told, method, target)
        base = f'"@method": {method}\n"@target-uri": {uri}{lines}\n"@signature-params": {asked}'
    else:
        head = Head(told, status=entry.status)
        base = f'"@status": {entry.status}{lines}\n"@method";req: {method}'
        base += f'\n"@target-uri";req: {uri}\n"content-digest";req: {_NO_BODY}'
        base += f'\n"x-road-id";req: {entry.id}\n"signature-input";req: sig1={asked}'
        base += f'\n"@signature-params": ("@status");created={created}'
        base += f';keyid="{_PROVIDERS_CERTIFICATE}";alg="ed25519";tag="saphan-response"'
    signature = _mix(number).to_bytes(8, "big") * 8
    return SealedPart(base.encode(), signature, head, b"", signature[:16])


async def open_journal(
    directory: Path,
    side: Side = Side.PROVIDER,
    keyring: KeyRing | None = None,
    settings: JournalSettings = SETTINGS,
) -> Journal:
    """Open or create one side's journal.

    Raises:
        Problem: as :meth:`Journal.open`.
    """
    return await Journal.open(
        directory,
        origin=ORIGINS[side],
        signing_key=_KEY,
        keyring=keyring or KeyRing(directory / "keys"),
        settings=settings,
    )


async def append(journal: Journal, made: Sequence[tuple[Any, ...]]) -> None:
    """Record ``made``, each the arguments of :meth:`Journal.record`, and wait until all are out."""
    for at in range(0, len(made), _TOGETHER):
        await asyncio.gather(*(journal.record(*one) for one in made[at : at + _TOGETHER]))
    while journal.published_size < journal.size:  # noqa: ASYNC110  # of a thread
        await asyncio.sleep(0.01)


async def write(
    directory: Path,
    count: int,
    side: Side = Side.PROVIDER,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write entries up to ``count`` into a journal; goes on where a run before stopped.

    Raises:
        Problem: as :meth:`Journal.open` and :meth:`Journal.record`.
    """
    keyring = KeyRing(directory / "keys")
    journal = await open_journal(directory, side, keyring)
    numbers = iter(range(journal.size, count))
    made: set[tuple[MemberId, str]] = set()

    async def produce() -> None:
        for number in numbers:
            found, member, part = entry(number, count, side)
            month = member, f"{found.at:%Y-%m}"
            if month not in made:  # so that none waits for a key, and order is kept
                made.add(month)
                keyring.make(member, found.at, DEFAULT_DAYS)
                keyring.make_index_key(member, found.at)
            await journal.record(found, member, part, subject(number // 2))
            while journal.size - journal.published_size > _AHEAD:  # noqa: ASYNC110  # of a thread
                await asyncio.sleep(0.05)

    async def tell() -> None:
        while True:
            await asyncio.sleep(5)
            progress(journal.size)

    try:
        teller = asyncio.create_task(tell())
        async with asyncio.TaskGroup() as group:
            for _ in range(_PRODUCERS):
                group.create_task(produce())
        teller.cancel()
    finally:
        await journal.close()


@click.command()
@click.option("--count", default=10_000_000, show_default=True, help="Entries in all.")
@click.option(
    "--side",
    type=click.Choice([Side.PROVIDER.value, Side.CONSUMER.value]),
    default=Side.PROVIDER.value,
    show_default=True,
    help="Whose journal.",
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def entries(count: int, side: str, directory: Path) -> None:
    """Write a journal of COUNT entries of 24 months into DIR, or go on with one."""
    begun = time.perf_counter()
    cpu = time.process_time()

    def progress(done: int) -> None:
        click.echo(f"{done:,} of {count:,} after {time.perf_counter() - begun:,.0f} s", err=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(write(directory, count, Side(side), progress))
    click.echo(
        f"{directory}: {count:,} entries; {time.perf_counter() - begun:,.0f} s, of which "
        f"{time.process_time() - cpu:,.0f} s processor time"
    )


if __name__ == "__main__":
    entries()
