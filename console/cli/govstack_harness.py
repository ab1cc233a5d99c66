"""`saphan govstack-harness`: register the suite's test data and answer GovStack's test suite."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import click

from console.reference_world import suite


@click.command()
@click.argument("test_data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--listen",
    default="127.0.0.1:3366",
    show_default=True,
    help="Address that the suite is pointed at, on loopback; the suite's own is port 3366.",
)
def govstack_harness(test_data: Path, listen: str) -> None:
    """Answer GovStack's published test suite until Ctrl-C or SIGTERM.

    TEST_DATA is the file test-data.json of the suite (GovStack IM, test/openAPI). Each instance in
    it gets a registry, and its members, applications and services are registered there as anybody
    is; one security server answers from these registries. All is in a temporary folder and on
    loopback, and ends with the command.
    """
    services = suite.read_test_data(test_data)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="saphan-harness-") as folder:
        try:
            with suite.running(services, Path(folder), listen) as found:
                for service in found.services:
                    click.echo(f"Registered: {service}")
                click.echo(f"Answering on http://{listen}/ until Ctrl-C · ກົດ Ctrl-C ເພື່ອຢຸດ")
                click.echo("Next: run the suite: cd test/openAPI; npm install; npx cucumber-js")
                signal.pause()
        except KeyboardInterrupt:
            click.echo("Every process has ended · ທຸກຢ່າງຢຸດແລ້ວ")
