"""`saphan certs`: the development PKI, from the first root to the last renewal."""

from __future__ import annotations

import click

from console.cli.certs.creating import create
from console.cli.certs.issuing import issue
from console.cli.certs.renewing import renew
from console.cli.certs.revoking import crl, revoke_certificate
from console.cli.certs.running import serve
from console.cli.certs.showing import show


@click.group()
def certs() -> None:
    """Create, show and renew development certificates.

    They are for development and training: every subject says DEV, and an instance that says
    production refuses them.
    """


for _command in (create, issue, show, renew, revoke_certificate, crl, serve):
    certs.add_command(_command)
