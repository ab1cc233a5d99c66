"""`saphan certs serve`: time-stamps, OCSP and the revocation list."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from certs.authority import DevelopmentAuthority
from console.cli.certs.options import PKI
from exchange.problems import Code, Problem
from serving.clock import SystemClock

if TYPE_CHECKING:
    from certs.services import Services


@click.command()
@PKI
@click.option("--listen", default="127.0.0.1:8089", show_default=True, help="HOST:PORT.")
def serve(pki: Path, listen: str) -> None:
    """Answer time-stamps (/tsa), OCSP (/ocsp) and the revocation list (/crl) until interrupted."""
    # What a server needs takes longer to load than any other command takes.
    from certs.services import Services
    from serving import runtime
    from serving.listener import split_address

    host, port = split_address(listen, "--listen")
    services = Services.open(DevelopmentAuthority.open(pki), SystemClock())
    runtime.run(lambda stop: _serve(services, host, port, stop))


async def _serve(services: Services, host: str, port: int, stop: asyncio.Event) -> None:
    from certs.services import start

    try:
        listening = await start(services, host, port)
    except OSError as error:
        raise Problem(
            Code.INVALID_SETTINGS, where="--listen", detail=f"cannot listen: {error.strerror}"
        ) from error
    click.echo(f"{listening.url}: DEVELOPMENT time-stamps, OCSP and revocation list.")
    await stop.wait()
    await listening.stop()
