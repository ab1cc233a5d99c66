"""The next root or targets: drafted, signed by people one after the other, published; each step dry
first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from tuf.api.metadata import Root

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, DRY, FILE, PATH, PROTOCOL, TARGETS_KEYS, registry
from console.cli.registry.shared import (
    client_of,
    keep_protocol,
    now,
    signers,
    tell,
    tell_published,
    write_draft,
)
from exchange.log.notes import VerifierKey
from exchange.problems import Code, Problem

if TYPE_CHECKING:
    from registry.publication.drafts import TargetsDraft

T = TypeVar("T")
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
    from registry.publication.signers import new_signer, public_pem, write_signer

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
    from registry.publication.rotation import Changes, draft_root
    from registry.publication.signers import read_public

    changes = Changes(
        add=_by_role(added, lambda text: read_public(Path(text))),
        remove=_by_role(removed, str),
        thresholds={role: found[-1] for role, found in _by_role(thresholds, _number).items()},
        log=[VerifierKey.parse(text, "--log") for text in log_keys],
    )
    data = draft_root(current.read_bytes(), changes, now() + timedelta(days=days))
    if not dry_run:
        out.write_bytes(data)
    lines, is_complete = _look(data, current.read_bytes())
    after = f"Next: saphan registry ceremony sign {out}"
    _told(lines, is_complete, dry_run, protocol, as_json, after)


@ceremony.command("targets")
@click.option(
    "--standing", type=FILE, help="Public key that says what is disabled, in place of the old one."
)
@TARGETS_KEYS
@CLIENT
@DRY
@PROTOCOL
@JSON
def renew_targets(
    standing: Path | None,
    keys: tuple[Path, ...],
    draft: Path | None,
    url: str,
    api_key: str,
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    """Renew the targets role before it ends; but for --standing it says what it said."""
    from registry.offline.operator import draft_files, signed
    from registry.publication.signers import key_set_of, read_public

    client = client_of(url, api_key)
    own = client.own()
    keyset = None if standing is None else key_set_of([read_public(standing)], 1)
    unsigned = draft_files(own, {}, now(), standing=keyset)
    result = write_draft(own, unsigned, keys, None if dry_run else draft) | {"dry": dry_run}
    keep_protocol(protocol, result["protocol"])
    if draft is None or dry_run:
        done = "Nothing was published (dry run)." if dry_run else "It is published."
        lines, result = result["protocol"], {"protocol": result["protocol"], "dry": dry_run}
        if not dry_run:
            result |= client.publish_own(signed(own, unsigned, signers(keys, "targets")))
        tell(result, as_json, *lines, done)
    else:
        tell_published(result, as_json)


@ceremony.command("sign")
@click.argument("path", type=FILE)
@click.option(
    "--root",
    "current",
    type=FILE,
    help="The published root (N.root.json); not for the first root of a new registry. For targets: "
    "the root that names their keys.",
)
@click.option(
    "--key", "keys", type=PATH, multiple=True, required=True, help="A root or targets key."
)
@DRY
@PROTOCOL
@JSON
def sign_draft(
    path: Path,
    current: Path | None,
    keys: tuple[Path, ...],
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    """Look at the draft in PATH, of a root or of targets, and sign it; then it goes on to the next
    person."""
    from registry.publication.drafts import format_draft
    from registry.publication.rotation import sign_root

    data = path.read_bytes()
    root = None if current is None else current.read_bytes()
    if (draft := _targets_draft(data)) is None:
        data = sign_root(data, root, signers(keys, "root"))
    else:
        data = format_draft(draft.signed(_read_root(root), signers(keys, "targets")))
    if not dry_run:
        path.write_bytes(data)
    lines, is_complete = _look(data, root)
    if is_complete:
        after = f"Next: saphan registry ceremony publish {path} (a new registry: open)"
    else:
        after = f"Next: saphan registry ceremony sign {path}"
    _told(lines, is_complete, dry_run, protocol, as_json, after)


@ceremony.command("publish")
@click.argument("path", type=FILE)
@click.option(
    "--keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Targets keys, when a root names other ones: files, or a folder with targets-*.pem.",
)
@click.option(
    "--targets", type=FILE, help="The same, from a draft of targets that their keys have signed."
)
@CLIENT
@DRY
@PROTOCOL
@JSON
def publish_draft(
    path: Path,
    keys: tuple[Path, ...],
    targets: Path | None,
    url: str,
    api_key: str,
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
) -> None:
    """Hand the signed draft in PATH to the registry."""
    from registry.offline.operator import SignedOwn, draft_files

    client = client_of(url, api_key)
    own, data = client.own(), path.read_bytes()
    lines, _ = _look(data, own.root)
    result: dict[str, Any] = {}
    if (draft := _targets_draft(data)) is not None:
        draft.require_complete(_read_root(own.root))
        signed = SignedOwn(draft.targets, draft.files)
        if dry_run:
            pass
        elif draft.request is None:
            result = client.publish_own(signed)
        else:
            number, seen = draft.request
            result = client.approve(number, signed, seen=seen)
    else:
        under = None
        if keys or targets is not None:
            root = _read_root(data)
            again = None if targets is None else _targets_draft(targets.read_bytes())
            again = again or draft_files(own, {}, now())
            again = again.signed(root, signers(keys, "targets")) if keys else again
            again.require_complete(root)
            under = again.targets
        if not dry_run:
            result = client.publish_root(data, under)
    keep_protocol(protocol, lines)
    done = "Nothing was published (dry run)." if dry_run else "It is published."
    tell({**result, "dry": dry_run, "protocol": lines}, as_json, *lines, done)


def _targets_draft(data: bytes) -> TargetsDraft | None:
    """The draft of targets, when it is not one of a root."""
    from registry.publication.drafts import is_draft, parse_draft

    return parse_draft(data) if is_draft(data) else None


def _read_root(data: bytes | None) -> Root:
    from registry.publication.publish import read

    if data is None:
        raise click.UsageError("name the root with --root")
    return read(Root, data, "root")


def _look(data: bytes, root: bytes | None) -> tuple[list[str], bool]:
    """What a draft says, and whether enough have signed it."""
    from registry.publication import drafts, rotation

    draft = _targets_draft(data)
    if draft is None:
        return rotation.protocol(data, root), rotation.is_complete(data, root)
    named = _read_root(root)
    return drafts.protocol(draft, named), draft.is_complete(named)


def _told(
    lines: list[str],
    is_complete: bool,
    dry_run: bool,
    protocol: Path | None,
    as_json: bool,
    after: str,
) -> None:
    keep_protocol(protocol, lines)
    result = {"dry": dry_run, "complete": is_complete, "protocol": lines}
    tell(result, as_json, *lines, "Nothing was written (dry run)." if dry_run else after)


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
