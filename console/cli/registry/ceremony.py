"""The next root: drafted, signed by people one after the other, published; each step dry first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import click

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, FILE, PATH, registry
from console.cli.registry.shared import client_of, now, signers, tell
from exchange.notes import VerifierKey
from exchange.problems import Code, Problem

T = TypeVar("T")
DRY = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
PROTOCOL = click.option(
    "--protocol", type=PATH, help="Add the protocol of this step to a text file, to be signed."
)
CURRENT = click.option(
    "--root", "current", type=FILE, required=True, help="The published root (N.root.json)."
)


@registry.group()
def ceremony() -> None:
    """Change keys and thresholds of the registry, by people who meet or pass a file on."""


@ceremony.command("key")
@click.argument("path", type=PATH)
@DRY
@JSON
def new_key(path: Path, dry_run: bool, as_json: bool) -> None:
    """Make a new key in PATH, and its public half in PATH.pub, which is what goes into a draft."""
    from registry.signers import new_signer, public_pem, write_signer

    signer = new_signer()
    public = path.with_name(f"{path.name}.pub")
    if not dry_run:
        write_signer(path, signer)
        public.write_bytes(public_pem(signer))
    done = "would be made" if dry_run else "was made"
    tell(
        {"key": str(path), "public": str(public), "keyid": signer.public_key.keyid, "dry": dry_run},
        as_json,
        f"A key {done} in {path}; its public half goes into a draft: {public}",
        f"  key id {signer.public_key.keyid}",
    )


@ceremony.command()
@click.argument("out", type=PATH)
@CURRENT
@click.option(
    "--add", "added", multiple=True, metavar="ROLE=FILE", help="A role gets this public key."
)
@click.option(
    "--remove", "removed", multiple=True, metavar="ROLE=KEYID", help="A role loses this key."
)
@click.option(
    "--threshold", "thresholds", multiple=True, metavar="ROLE=N", help="So many keys must sign."
)
@click.option(
    "--log", "log_keys", multiple=True, metavar="VKEY", help="A key of the log, after a loss."
)
@click.option("--days", default=5 * 365, show_default=True, help="How long the root is valid.")
@DRY
@PROTOCOL
@JSON
def draft(
    out: Path,
    current: Path,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    thresholds: tuple[str, ...],
    log_keys: tuple[str, ...],
    days: int,
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    """Draft the next root into OUT. Without changes the present keys are signed again."""
    from registry.rotation import Changes, draft_root
    from registry.signers import read_public

    changes = Changes(
        add=_by_role(added, lambda text: read_public(Path(text))),
        remove=_by_role(removed, str),
        thresholds={role: found[-1] for role, found in _by_role(thresholds, _number).items()},
        log=[VerifierKey.parse(text, "--log") for text in log_keys],
    )
    data = draft_root(current.read_bytes(), changes, now() + timedelta(days=days))
    if not dry_run:
        out.write_bytes(data)
    _told(data, current, dry_run, protocol, as_json, f"Next: saphan registry ceremony sign {out}")


@ceremony.command("sign")
@click.argument("path", type=FILE)
@CURRENT
@click.option(
    "--key", "keys", type=PATH, multiple=True, required=True, help="A root key, old or new."
)
@DRY
@PROTOCOL
@JSON
def sign_draft(
    path: Path,
    current: Path,
    keys: tuple[Path, ...],
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    """Look at the draft in PATH, and sign it; the file goes on to the next person."""
    from registry.rotation import is_complete, sign_root

    data = sign_root(path.read_bytes(), current.read_bytes(), signers(keys, "root"))
    if not dry_run:
        path.write_bytes(data)
    complete = is_complete(data, current.read_bytes())
    step = "publish" if complete else "sign"
    after = f"Next: saphan registry ceremony {step} {path}"
    _told(data, current, dry_run, protocol, as_json, after)


@ceremony.command("publish")
@click.argument("path", type=FILE)
@click.option(
    "--keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Targets keys, when the root names other ones: files, or a folder with targets-*.pem.",
)
@CLIENT
@DRY
@PROTOCOL
@JSON
def publish_draft(
    path: Path,
    keys: tuple[Path, ...],
    url: str,
    api_key: str,
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    """Hand the signed root in PATH to the registry."""
    from registry.ceremony import TARGETS_VALIDITY
    from registry.rotation import protocol as lines_of
    from registry.rotation import sign_targets_again

    client = client_of(url, api_key)
    own, data = client.own(), path.read_bytes()
    targets = None
    if keys:
        expires = now() + TARGETS_VALIDITY
        targets = sign_targets_again(
            data, own.targets, own.instance, signers(keys, "targets"), expires
        )
    lines = lines_of(data, own.root)
    _keep(protocol, lines)
    result = {"version": None} if dry_run else client.publish_root(data, targets)
    done = "Nothing was published (dry run)." if dry_run else "It is published."
    tell({**result, "dry": dry_run, "protocol": lines}, as_json, *lines, done)


def _told(
    data: bytes, current: Path, dry_run: bool, protocol: Path | None, as_json: bool, after: str
) -> None:
    from registry.rotation import is_complete
    from registry.rotation import protocol as lines_of

    lines = lines_of(data, current.read_bytes())
    _keep(protocol, lines)
    result = {
        "dry": dry_run,
        "complete": is_complete(data, current.read_bytes()),
        "protocol": lines,
    }
    tell(result, as_json, *lines, "Nothing was written (dry run)." if dry_run else after)


def _keep(protocol: Path | None, lines: list[str]) -> None:
    if protocol is not None:
        with protocol.open("a") as file:
            file.write("\n".join([f"{now():%FT%TZ}", *lines, "", "Names and signatures:", "", ""]))


def _by_role(texts: tuple[str, ...], read: Callable[[str], T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for text in texts:
        role, separator, value = text.partition("=")
        if not separator:
            raise click.UsageError(f"{text!r} is not ROLE=…")
        found.setdefault(role, []).append(read(value))
    return found


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Problem(
            Code.INVALID_USAGE, where="--threshold", detail=f"{text!r} is no number"
        ) from error
