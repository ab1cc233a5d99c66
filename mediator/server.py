"""The composition root of a security server: builds the parts, starts them, stops them in order.

Stopping, each step bounded in time and done once:
1. the gate closes: new requests get ``ShuttingDown``, ``/healthz`` says so;
2. running exchanges drain;
3. the listeners stop; 4. link and backends close their connections;
5. the registry view stops; 6. the stop is recorded and the journal publishes and closes.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from exchange.certificates import (
    fingerprint_of,
    judge_auth,
    judge_seal,
    parse_certificates,
    refuse_development,
)
from exchange.contracts import Contract
from exchange.entries import Kind, format_time
from exchange.entries import Side as EntrySide
from exchange.identifiers import MemberId, ServerId, ServiceId
from exchange.keys import SigningKey, signing_key
from exchange.problems import Code, Problem, Side
from exchange.trust import RegistryState, trusted_authorities
from mediator import xroad
from mediator.admin import Admin
from mediator.consumer import Consumer
from mediator.contracts import ContractCache
from mediator.gate import Gate
from mediator.inlet import Inlet
from mediator.journal.keyring import KeyRing
from mediator.journal.log import Journal
from mediator.link import Link
from mediator.metrics import Metrics
from mediator.outlet import HttpBackend
from mediator.peer_inlet import PeerInlet
from mediator.pinned import PinnedAgreements
from mediator.provider import OfferedService, Provider
from mediator.quota import QuotaBook
from mediator.records import Recorder
from mediator.replay import ReplayMemory
from mediator.settings import KeyPair, ServerSettings, ServiceSettings
from mediator.view import RegistryView
from serving import tls
from serving.backends import Backend
from serving.clock import Clock, SystemClock
from serving.listener import Listener, is_loopback, listen, split_address
from serving.runtime import settle

log = structlog.get_logger("mediator.server")

AdapterFactory = Callable[[Path, ServiceId], tuple[Backend, bytes]]
"""From a mapping file and one of its services to a running adapter and its OpenAPI document
(console composes it)."""

QUOTAS_FILE = "quotas.json"
REPLAY_WINDOW = timedelta(seconds=70)
HANDSHAKES_RECORDED_PER_S = 10


@dataclass(frozen=True, slots=True)
class Server:
    """A running security server, and where it listens."""

    settings: ServerSettings
    peer: Listener
    http: Listener | None
    https: Listener | None
    admin: Listener
    journal: Journal
    gate: Gate


@asynccontextmanager
async def open_server(
    settings: ServerSettings, make_adapter: AdapterFactory, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """Start a server; leaving the context stops it in order.

    Raises:
        Problem: ``InvalidSettings`` or what a part says of itself: nothing is left running.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        directory = settings.directory
        directory.mkdir(parents=True, exist_ok=True)
        metrics = Metrics()
        view = await RegistryView.open(
            settings.registry.url,
            _read(settings.registry.root, "registry.root"),
            directory / "registry",
            poll_s=settings.registry.poll_s,
            grace_s=settings.registry.grace_s,
            clock=clock,
        )
        stack.push_async_callback(view.close)
        state = view.state
        gate = Gate(settings.limits.concurrent)
        authorities = trusted_authorities(state.instance)
        seal_keys, certificates = _own_keys(settings, state, clock.now())
        journal = await Journal.open(
            directory / "journal",
            origin=origin_of(settings.server),
            signing_key=_log_key(directory / "journal.key"),
            keyring=KeyRing(directory / "journal" / "keys"),
            settings=settings.journal,
            siblings=lambda: gate.inside,
        )
        stack.push_async_callback(journal.close)
        recorder = Recorder(
            journal, settings.server, clock, metrics, settings.limits.journal_body_max_bytes
        )
        stack.push_async_callback(_record_quietly, recorder, "stopped")
        background = await stack.enter_async_context(_background())
        replays, quotas = await asyncio.to_thread(_remember, journal, directory, clock)
        agreements = PinnedAgreements(settings.agreements, [m.id for m in settings.members], clock)
        await asyncio.to_thread(agreements.load, authorities)

        context = tls.peer_client_context(settings.auth.certificate, settings.auth.key, authorities)
        link = Link(context, lambda: view.state, settings.limits)
        stack.push_async_callback(link.close)
        services = {
            offered.id: await asyncio.to_thread(_offer, offered, settings, state, make_adapter)
            for offered in settings.services
        }
        for offered in services.values():
            stack.push_async_callback(offered.backend.close)
        provider = Provider(
            address=settings.address.rstrip("/"),
            state=lambda: view.state,
            seal_keys=seal_keys,
            services=services,
            agreements=agreements,
            quotas=quotas,
            replays=replays,
            recorder=recorder,
            clock=clock,
            max_url_bytes=settings.limits.url_max_bytes,
        )
        consumer = Consumer(
            state=lambda: view.state,
            contracts=ContractCache(),
            seal_keys=seal_keys,
            recorder=recorder,
            link=link,
            clock=clock,
        )
        watcher = _Handshakes(recorder, metrics, background)
        listeners = await _listen(
            settings, stack, provider, consumer, recorder, gate, metrics, watcher, view, authorities
        )
        admin_listener = await _listen_admin(
            settings,
            stack,
            Admin(
                journal,
                settings.limits.low_disk_bytes,
                view,
                gate,
                agreements,
                certificates,
                metrics,
                clock,
            ),
        )
        background.start(view.run())
        background.start(agreements.watch(authorities))
        background.start(_note_quotas(quotas, directory, clock))
        await recorder.event("started")
        stack.push_async_callback(gate.drained, settings.limits.drain_s)
        stack.callback(gate.close)
        yield Server(
            settings,
            listeners["peer"],
            listeners.get("http"),
            listeners.get("https"),
            admin_listener,
            journal,
            gate,
        )
        log.info("stopping", server=str(settings.server))


async def serve(
    settings: ServerSettings, make_adapter: AdapterFactory, stop: asyncio.Event
) -> None:
    """Run a server until ``stop`` is set."""
    async with open_server(settings, make_adapter) as server:
        log.info(
            "ready",
            server=str(settings.server),
            peer=server.peer.url,
            http=server.http.url if server.http else None,
            https=server.https.url if server.https else None,
            admin=server.admin.url,
        )
        settle()
        await stop.wait()


class _Background:
    """The endless tasks of a server, cancelled when it leaves; one that fails ends the server."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def _background() -> AsyncIterator[_Background]:
    async with asyncio.TaskGroup() as group:
        tasks = _Background(group)
        try:
            yield tasks
        finally:
            tasks.cancel()


class _Handshakes:
    """Counts failed TLS handshakes and records some of them: a flood must not fill the journal."""

    def __init__(self, recorder: Recorder, metrics: Metrics, background: _Background) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._background = background
        self._second = 0
        self._recorded = 0

    def observer(self, listener: str, code: Code) -> Callable[[ssl.SSLError], None]:
        """The callback for one listener's context."""

        def failed(error: ssl.SSLError) -> None:
            self._metrics.handshakes.labels(listener).inc()
            reason = getattr(error, "verify_message", "") or error.reason or "TLS failed"
            found = code
            if code is Code.PEER_CERTIFICATE_UNTRUSTED and getattr(error, "verify_code", 0) in (
                9,
                10,
            ):
                found = Code.PEER_CERTIFICATE_EXPIRED
            self._note(listener, Problem(found, where=f"TLS, {listener} listener", detail=reason))

        return failed

    def malformed(self, listener: str) -> Callable[[Problem], None]:
        """The callback for messages of one listener that are not HTTP."""
        return lambda problem: self._note(listener, problem)

    def _note(self, listener: str, problem: Problem) -> None:
        log.warning("connection_refused", listener=listener, code=problem.code, why=problem.detail)
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second, self._recorded = second, 0
        self._recorded += 1
        if self._recorded <= HANDSHAKES_RECORDED_PER_S:
            self._background.start(_record_quietly(self._recorder, "connection refused", problem))


async def _record_quietly(recorder: Recorder, event: str, problem: Problem | None = None) -> None:
    """Record an event that nobody waits for; a journal that cannot be written says so itself."""
    try:
        await recorder.event(event, problem)
    except Problem as failure:
        log.error("event_not_recorded", recorded=event, why=str(failure))


async def _listen(
    settings: ServerSettings,
    stack: AsyncExitStack,
    provider: Provider,
    consumer: Consumer,
    recorder: Recorder,
    gate: Gate,
    metrics: Metrics,
    watcher: _Handshakes,
    view: RegistryView,
    authorities: tuple[x509.Certificate, ...],
) -> dict[str, Listener]:
    limits = settings.limits
    addresses = settings.listen
    pinned = {
        application.id: [
            certificate
            for path in application.certificates
            for certificate in _certificates(path, "applications.certificates")
        ]
        for application in settings.applications
    }
    inlet = Inlet(
        consumer=consumer,
        applications={
            application.id: xroad.LocalApplication(
                application.id,
                application.mode,
                frozenset(fingerprint_of(item) for item in pinned[application.id]),
            )
            for application in settings.applications
        },
        recorder=recorder,
        gate=gate,
        limits=limits,
        metrics=metrics,
        plain_networks=addresses.http_networks,
    )
    peer_inlet = PeerInlet(provider, lambda: view.state, recorder, gate, limits, metrics)
    start = partial(
        listen,
        drain_s=2.0,
        keepalive_s=limits.keepalive_s,
        max_line_bytes=limits.url_max_bytes,
    )
    found: dict[str, Listener] = {}
    found["peer"] = await start(
        peer_inlet.handle,
        addresses.peer,
        where="listen.peer",
        side=Side.PROVIDER,
        context=tls.peer_server_context(
            settings.auth.certificate,
            settings.auth.key,
            authorities,
            watcher.observer("peer", Code.PEER_CERTIFICATE_UNTRUSTED),
        ),
        on_malformed=watcher.malformed("peer"),
    )
    stack.push_async_callback(found["peer"].stop)
    if addresses.http is not None:
        host, _ = split_address(addresses.http, "listen.http")
        if not (is_loopback(host) or addresses.http_networks):
            raise Problem(
                Code.INVALID_SETTINGS,
                where="listen.http",
                detail="plain text beyond loopback needs listen.http_networks",
            )
        found["http"] = await start(
            inlet.handle,
            addresses.http,
            where="listen.http",
            side=Side.CONSUMER,
            on_malformed=watcher.malformed("http"),
        )
        stack.push_async_callback(found["http"].stop)
    if addresses.https is not None:
        found["https"] = await start(
            inlet.handle,
            addresses.https,
            where="listen.https",
            side=Side.CONSUMER,
            context=tls.application_context(
                settings.auth.certificate,
                settings.auth.key,
                [item for items in pinned.values() for item in items],
                authorities,
                watcher.observer("https", Code.CLIENT_CERTIFICATE_REJECTED),
            ),
            on_malformed=watcher.malformed("https"),
        )
        stack.push_async_callback(found["https"].stop)
    return found


async def _listen_admin(settings: ServerSettings, stack: AsyncExitStack, admin: Admin) -> Listener:
    host, _ = split_address(settings.listen.admin, "listen.admin")
    if not is_loopback(host):
        raise Problem(
            Code.INVALID_SETTINGS,
            where="listen.admin",
            detail="administration has no login: it listens on loopback only",
        )
    listener = await listen(
        admin.handle, settings.listen.admin, where="listen.admin", side=Side.CONSUMER, drain_s=1.0
    )
    stack.push_async_callback(listener.stop)
    return listener


def _own_keys(
    settings: ServerSettings, state: RegistryState, now: datetime
) -> tuple[Mapping[MemberId, SigningKey], list[tuple[str, x509.Certificate]]]:
    """The seal keys of the hosted members, each judged; and what health watches."""
    authorities = trusted_authorities(state.instance)
    auth = _certificates(settings.auth.certificate, "auth.certificate")
    refuse_development(auth, state.instance.environment)
    server = judge_auth(auth[0], authorities, now)
    if server != settings.server:
        raise Problem(
            Code.INVALID_SETTINGS,
            where="auth.certificate",
            detail=f"names {server}, this server is {settings.server}",
        )
    watched = [(f"auth {settings.server}", auth[0])]
    keys: dict[MemberId, SigningKey] = {}
    for member in settings.members:
        certificate = _certificates(member.seal.certificate, f"seal of {member.id}")[0]
        refuse_development((certificate,), state.instance.environment)
        named = judge_seal(certificate, authorities, now)
        if named != member.id:
            raise Problem(
                Code.INVALID_SETTINGS,
                where=f"seal of {member.id}",
                detail=f"the certificate names {named}",
            )
        keys[member.id] = signing_key(_private_key(member.seal), certificate)
        watched.append((f"seal {member.id}", certificate))
    return keys, watched


def _offer(
    offered: ServiceSettings,
    settings: ServerSettings,
    state: RegistryState,
    make_adapter: AdapterFactory,
) -> OfferedService:
    """One service with its backend and compiled contract; reads files, so for a thread."""
    where = f"service {offered.id}"
    if (offered.url is None) == (offered.adapter is None):
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail="give either url or adapter, and not both"
        )
    if offered.id.member not in {member.id for member in settings.members}:
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail=f"{offered.id.member} is not hosted here"
        )
    backend: Backend
    if offered.adapter is not None:
        backend, document = make_adapter(offered.adapter, offered.id)
        if offered.openapi is not None:
            document = _read(offered.openapi, f"{where} openapi")
    else:
        if offered.openapi is None:
            raise Problem(
                Code.INVALID_SETTINGS, where=where, detail="an HTTP backend needs openapi"
            )
        document = _read(offered.openapi, f"{where} openapi")
        backend = HttpBackend(
            offered.url or "",
            connections=settings.limits.connections,
            response_max_bytes=offered.response_max_bytes,
            ca=offered.ca,
        )
    return OfferedService(
        id=offered.id,
        backend=backend,
        contract=Contract.compile(document, state.schemas),
        validation=offered.validation,
        timeout_s=offered.timeout_s,
        response_max_bytes=offered.response_max_bytes,
        enabled=offered.enabled,
        notice=offered.notice,
    )


def _remember(journal: Journal, directory: Path, clock: Clock) -> tuple[ReplayMemory, QuotaBook]:
    """Fill replay memory and quotas from what the journal holds from before this start.

    The day's use of quotas is noted every second (:func:`_note_quotas`), so that only the entries
    since then are counted; without a note, those since midnight. A call that was under way when
    the note was written may count twice, never not at all.
    """
    replays, quotas = ReplayMemory(), QuotaBook()
    now = clock.now()
    counted_until, used = _noted_quotas(directory / QUOTAS_FILE, now)
    for agreement, calls in used.items():
        quotas.restore(agreement, now, calls)
    fresh, counted = format_time(now - REPLAY_WINDOW), format_time(counted_until)
    for entry in journal.recent(min(counted_until, now - REPLAY_WINDOW)):
        if entry["side"] != EntrySide.PROVIDER:
            continue
        if entry["kind"] == Kind.REQUEST:
            if entry["at"] >= fresh and "nonce" in entry:
                at = datetime.fromisoformat(entry["at"]).timestamp()
                replays.restore(entry["certificate"], entry["nonce"], at)
        elif "agreement" in entry and entry["at"] >= counted:
            quotas.restore(entry["agreement"], now)
    return replays, quotas


def _noted_quotas(path: Path, now: datetime) -> tuple[datetime, dict[str, int]]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        note = orjson.loads(path.read_bytes())
        at = datetime.fromisoformat(note["at"])
        used = {str(name): int(calls) for name, calls in note["used"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return midnight, {}
    return (at, used) if at >= midnight else (midnight, {})


async def _note_quotas(quotas: QuotaBook, directory: Path, clock: Clock) -> None:
    """Note the day's use of quotas every second; see :func:`_remember`."""
    noted: dict[str, int] = {}
    while True:
        await asyncio.sleep(1.0)
        now = clock.now()
        used = quotas.snapshot(now.timestamp())
        if used != noted:
            note = orjson.dumps({"at": format_time(now), "used": used})
            try:
                await asyncio.to_thread(_replace, directory / QUOTAS_FILE, note)
            except OSError as error:
                # The journal holds the calls; a start takes a little longer without the note.
                log.warning("quotas_not_noted", why=str(error))
            noted = used


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def origin_of(server: ServerId) -> str:
    """The name of a server's log (C2SP tlog-checkpoint: a name without spaces and plus signs)."""
    return f"{server}/journal".replace("+", "%2B")


def _log_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs this log's checkpoints: durable before its first use, never replaced."""
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        _create(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise Problem(
            Code.INVALID_SETTINGS,
            where=str(path),
            detail="holds no PEM private key; put back the one from your copy",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Problem(Code.INVALID_SETTINGS, where=str(path), detail="is not an Ed25519 key")
    return key


def _create(path: Path, data: bytes) -> None:
    """Make a private file that is whole and durable, or not there; one that is there stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _private_key(pair: KeyPair) -> Any:
    try:
        return load_pem_private_key(_read(pair.key, str(pair.key)), None)
    except (ValueError, TypeError) as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=str(pair.key), detail="is not a PEM private key"
        ) from error


def _certificates(path: Path, where: str) -> list[x509.Certificate]:
    try:
        found = list(parse_certificates(_read(path, where)))
    except Problem as problem:
        raise Problem(Code.INVALID_SETTINGS, where=where, detail=str(problem)) from problem
    if not found:
        raise Problem(Code.INVALID_SETTINGS, where=where, detail=f"{path} holds no PEM certificate")
    return found


def _read(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where=where, detail=f"{path} cannot be read: {error.strerror}"
        ) from error
