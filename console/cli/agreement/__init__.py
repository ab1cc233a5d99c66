"""`saphan agreement`: draft, seal, pin and show the agreements that open doors."""

from __future__ import annotations

import click

from console.cli.agreement.drafting import draft
from console.cli.agreement.mandate import mandate
from console.cli.agreement.pinning import pin
from console.cli.agreement.sealing import seal
from console.cli.agreement.showing import show


@click.group()
def agreement() -> None:
    """Draft, seal, pin and show agreements: the only thing that opens a door."""


for _command in (mandate, draft, seal, pin, show):
    agreement.add_command(_command)
