"""The instance as a running service: the composition root.

Order of stopping: no new requests, those under way get some seconds; the round under way ends at
its next step; the servers drain and end; the registry stops. A kill at any point leaves files from
which the next start goes on, and servers that it finds and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from console.instance.api import Api
from console.instance.central import LOOPBACK
from console.instance.changes import Changes
from console.instance.clients import Clients
from console.instance.convergence import Convergence
from console.instance.issuers import OwnIssuer
from console.instance.replying import not_http
from console.instance.specifications import Sources
from console.instance.status import Status
from exchange.problems import Code, Problem
from schemas import load_all
from serving.issuers import ForeignIssuer
from serving.listener import is_loopback
from serving.locks import locked
from serving.runner import Runner
from serving.tokens import Verifier

STOP_S: Final = 5.0

log = structlog.get_logger("console.instance")


@dataclass(frozen=True, slots=True)
class Options:
    """How an instance is served.

    Attributes:
        public_url: the address by which clients know the service; the issuer's and the audience
            of tokens. '' is the listener's own.
        tls: certificate and key; without, the listener must be on loopback.
        issuer: a foreign issuer by its URL; '' is the embedded one.
        audience: what tokens of a foreign issuer must be for; '' is the public URL.
        servers_host: the address at which applications reach their servers over TLS.
    """

    host: str = LOOPBACK
    port: int = 8700
    public_url: str = ""
    tls: tuple[Path, Path] | None = None
    issuer: str = ""
    audience: str = ""
    servers_host: str = LOOPBACK
    folders: tuple[Path, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    most_members: int = 16


async def serve(
    directory: Path,
    options: Options,
    stop: asyncio.Event,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the instance in ``directory`` until ``stop`` is set.

    Raises:
        Problem: ``Conflict`` when another process serves it, ``InvalidSettings`` for options that
            cannot be, ``InvalidDocument`` for damaged files.
    """
    directory = _prepared(directory)
    with _alone(directory):
        convergence = Convergence(directory, options.servers_host)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(convergence.close)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(convergence.stop)
            url = await stack.enter_async_context(_listening(directory, options, convergence))
            tasks.create_task(convergence.run(), name="rounds")
            log.info("instance_serves", url=url, directory=str(directory))
            on_ready(url)
            await stop.wait()


def _prepared(directory: Path) -> Path:
    """The folder, this user's alone."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    return directory.resolve()


@contextlib.asynccontextmanager
async def _listening(
    directory: Path, options: Options, convergence: Convergence
) -> AsyncIterator[str]:
    context = _tls(options)
    runner: web.AppRunner | None = None
    # The port is bound before the parts are made: the issuer's name is the address.
    server = _bind(options)
    try:
        port = server.getsockname()[1]
        shown = f"[{options.host}]" if ":" in options.host else options.host
        own = f"{'https' if context else 'http'}://{shown}:{port}"
        url = (options.public_url or own).rstrip("/")
        clients = Clients(directory)
        issuer = None if options.issuer else OwnIssuer(directory, url, clients)
        verifier = (
            Verifier(url, url, issuer, strict=True, is_known=issuer.is_known)
            if issuer is not None
            else Verifier(
                options.issuer,
                options.audience or url,
                ForeignIssuer(options.issuer),
                strict=False,
            )
        )
        sources = Sources(options.folders, options.networks, load_all())
        changes = Changes(convergence, sources, options.most_members, asyncio.Lock())
        api = Api(directory, changes, Status(convergence), verifier, issuer)
        runner = Runner(api.application(), not_http, shutdown_timeout=STOP_S)
        await runner.setup()
        await web.SockSite(runner, server, ssl_context=context).start()
        yield own
    finally:
        if runner is not None:
            await runner.cleanup()
        server.close()


def _bind(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((options.host, options.port))
    except OSError as error:
        server.close()
        raise Problem(
            Code.INVALID_SETTINGS,
            where="--listen",
            detail=f"cannot listen on {options.host}:{options.port}: {error.strerror}",
        ) from error
    return server


def _tls(options: Options) -> ssl.SSLContext | None:
    """TLS 1.3 with the operator's certificate; none on loopback only.

    Raises:
        Problem: ``InvalidSettings``.
    """
    if options.tls is None:
        if not is_loopback(options.host):
            raise Problem(
                Code.INVALID_SETTINGS,
                where="--listen",
                detail="tokens beyond loopback need --certificate and --key, or a proxy on this "
                "machine with TLS and --public-url",
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(*options.tls)
    except (OSError, ssl.SSLError) as error:
        raise Problem(
            Code.INVALID_SETTINGS,
            where="--certificate",
            detail=f"certificate and key cannot be used: {error}",
        ) from error
    return context


def _alone(directory: Path) -> contextlib.AbstractContextManager[None]:
    """One process at a time: it owns the servers."""
    held = "another process serves this instance; stop it first"
    return locked(directory / "instance.lock", held)
