"""`saphan registry backup`, `restore`, `states`, `restore-state`, `migrate`: by the operator, on
the registry's machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.options import JSON
from console.cli.registry.group import FILE, PATH, registry
from console.cli.registry.shared import now, signers, table, tell

if TYPE_CHECKING:
    from registry.store import Store


@registry.command()
@click.argument("directory", type=PATH)
@click.argument("file", type=PATH)
@JSON
def backup(directory: Path, file: Path, as_json: bool) -> None:
    """Copy the database of the registry in DIRECTORY into a new FILE, while it runs."""
    from registry.restoring import back_up, digest_of

    with _opened(directory) as (store, _):
        back_up(store, file)
        snapshot = store.version("snapshot")
    result = {"file": str(file), "sha256": digest_of(file), "snapshot": snapshot}
    tell(
        result,
        as_json,
        f"{file} holds the registry up to state {snapshot}.",
        f"  SHA-256 {result['sha256']}",
        "Keep it where only you can read it: it holds what members sent. Keys are not in it.",
    )


@registry.command()
@click.argument("directory", type=PATH)
@click.argument("file", type=FILE)
@click.option(
    "--published",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where to take what came after the copy from: DIRECTORY/public, or a mirror's tree.",
)
@JSON
def restore(directory: Path, file: Path, published: Path | None, as_json: bool) -> None:
    """Put a copy in place of a lost database of the registry in DIRECTORY."""
    from registry import restoring
    from registry.settings import read_settings

    store = restoring.restore(file, read_settings(directory).place(directory))
    try:
        tree = published or directory / "public"
        found = restoring.catch_up(store, tree, now()) if tree.is_dir() else None
        snapshot = store.version("snapshot")
    finally:
        store.close()
    entries, roles = (0, ()) if found is None else (found.log_entries, found.roles)
    result = {"snapshot": snapshot, "log_entries": entries, "roles": list(roles)}
    tell(
        result,
        as_json,
        f"The registry is back, up to state {snapshot}.",
        f"  From the published tree: {entries} log entries, roles: {', '.join(roles) or '-'}",
        "  Requests and API keys are those of the copy: what came later must be handed in anew.",
        f"Next: saphan registry serve {directory}",
    )


@registry.command()
@click.argument("directory", type=PATH)
@JSON
def states(directory: Path, as_json: bool) -> None:
    """List every state that the registry in DIRECTORY ever published."""
    with _opened(directory) as (store, _):
        found = store.states()
    rows = [{"state": version, "at": at.isoformat()} for version, at in found]
    table(rows, as_json, ("state", "at"))


@registry.command("restore-state")
@click.argument("directory", type=PATH)
@click.option("--state", type=int, help="Its number, as `states` lists it.")
@click.option(
    "--time",
    "moment",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]),
    help="The state at this moment, such as 2026-03-02T08:00:00+0700.",
)
@click.option(
    "--keys", type=PATH, multiple=True, required=True, help="Targets keys: files or a folder."
)
@JSON
def restore_state(
    directory: Path,
    state: int | None,
    moment: datetime | None,
    keys: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Publish anew what the stopped registry in DIRECTORY itself said in an earlier state."""
    from registry import restoring
    from registry.service import opened_alone

    if (state is None) is (moment is None):
        raise click.UsageError("name --state or --time")
    with opened_alone(directory, now()) as (registrar, store):
        if state is None:
            earlier = store.states(until=moment)
            if not earlier:
                raise click.UsageError("the registry did not exist then")
            state = earlier[-1][0]
        done = restoring.set_back(registrar, store, state, signers(keys, "targets"), now())
        snapshot = store.version("snapshot")
    members = [str(member) for member in done.members]
    result = {"state": state, "snapshot": snapshot, "targets": done.version, "members": members}
    tell(
        result,
        as_json,
        f"What the registry said in state {state} is published anew as state {snapshot}.",
        f"  Members who said something else since, and must sign anew to be as before: "
        f"{', '.join(members) or 'none'}",
        f"Next: saphan registry serve {directory}",
    )


@registry.command()
@click.argument("directory", type=PATH)
@JSON
def migrate(directory: Path, as_json: bool) -> None:
    """Bring the tables of the registry in DIRECTORY up to date, as each start does."""
    with _opened(directory) as (store, name):
        version = store.migrate()
    tell({"database": name, "version": version}, as_json, f"{name}: tables of version {version}")


@contextmanager
def _opened(directory: Path) -> Iterator[tuple[Store, str]]:
    from registry.settings import read_settings
    from registry.store import Store

    store = Store(read_settings(directory).place(directory))
    try:
        yield store, store.name
    finally:
        store.close()


@registry.command()
@click.argument("directory", type=PATH)
@click.argument("file", type=PATH)
@JSON
def bundle(directory: Path, file: Path, as_json: bool) -> None:
    """Put what the registry in DIRECTORY publishes into one FILE, for servers' first start."""
    from registry.publication.bundle import write_bundle
    from registry.publication.ceremony import PUBLIC
    from registry.publication.tree import Tree

    public = directory / PUBLIC
    with _opened(directory) as (store, _):
        files = write_bundle(store, Tree(public), public, file)
        snapshot = store.version("snapshot")
    size = file.stat().st_size
    tell(
        {"file": str(file), "files": files, "bytes": size, "snapshot": snapshot},
        as_json,
        f"{file} holds state {snapshot} in {files} files, {size} bytes.",
        "It is as good as its timestamp: take it to servers soon. Nothing in it is secret.",
        f"Next, at a server: saphan mediator seed SETTINGS {file.name}",
    )
