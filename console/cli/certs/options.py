"""Options that several commands of `saphan certs` share."""

from __future__ import annotations

from pathlib import Path

import click

from certs.issue import ALGORITHMS

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
PKI = click.option(
    "--pki", type=FOLDER, required=True, help="Folder that `saphan certs create` made."
)
DAYS = click.option("--days", type=click.IntRange(1, 3650), help="Validity; by profile if absent.")
CSR = click.option("--csr", type=FILE, help="Certificate request; its key is used, not its names.")
ALGORITHM = click.option(
    "--algorithm",
    type=click.Choice(ALGORITHMS),
    default=ALGORITHMS[0],
    show_default=True,
    help="Kind of a new key.",
)
