"""`saphan agreement`: draft, seal, pin, show, try, renew and revoke agreements."""

from __future__ import annotations

import click

from console.cli.agreement.drafting import draft
from console.cli.agreement.grouping import group
from console.cli.agreement.mandate import mandate
from console.cli.agreement.pinning import pin
from console.cli.agreement.renewing import renew
from console.cli.agreement.revoking import revoke, revoked
from console.cli.agreement.sealing import seal
from console.cli.agreement.showing import show
from console.cli.agreement.trying import try_


@click.group()
def agreement() -> None:
    """Draft, seal, pin, renew and revoke agreements: the only thing that opens a door."""


for _command in (mandate, draft, group, seal, pin, show, try_, renew, revoke, revoked):
    agreement.add_command(_command)
