"""`saphan registry`: run the registry, register a member, approve, publish, look up.

Three people use it: the *operator* (init, serve, key-add, approve, schema-publish), the *member*
(member-init, submit, member-rotate) and everybody (list, show, verify).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from console.cli.options import JSON, LOG_LEVEL
from exchange.certificates import fingerprint_of, parse_certificates
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem, Text
from exchange.registrations import (
    INSTANCE_TARGET,
    Environment,
    InstanceRecord,
    TimestampAuthority,
    format_instance,
    is_schema_target,
    parse_instance,
)
from registry.client import RegistryClient
from registry.lifecycle import Kind, Right
from serving.listener import split_address

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def registry() -> None:
    """Run the registry, register members and services, approve, look up."""


def _client_options(command: Command) -> Command:
    for option in (
        click.option(
            "--api-key",
            envvar="SAPHAN_API_KEY",
            default="",
            help="API key, or @FILE; else SAPHAN_API_KEY.",
        ),
        click.option(
            "--registry",
            "url",
            envvar="SAPHAN_REGISTRY",
            required=True,
            show_envvar=True,
            metavar="URL",
            help="Address of the registry.",
        ),
    ):
        command = option(command)
    return command


# ------------------------------------------------------------------------------------ operator


@registry.command()
@click.argument("directory", type=PATH)
@click.option("--instance", required=True, help="Code of the instance, such as LA.")
@click.option(
    "--environment",
    type=click.Choice([str(item) for item in Environment]),
    required=True,
    help="Development certificates are refused by production.",
)
@click.option("--name-en", default="", help="Name of the instance in English.")
@click.option("--name-lo", default="", help="Name of the instance in Lao.")
@click.option(
    "--authority",
    "authorities",
    type=FILE,
    multiple=True,
    required=True,
    help="PEM file of certification authorities; may be given again.",
)
@click.option(
    "--timestamp-authority",
    "tsas",
    multiple=True,
    metavar="URL=PEM",
    help="An RFC 3161 authority and its certificate; may be given again.",
)
@click.option("--root-keys", default=3, show_default=True, help="Number of root keys.")
@click.option("--root-threshold", default=2, show_default=True, help="How many of them must sign.")
@click.option("--targets-keys", default=3, show_default=True, help="Number of targets keys.")
@click.option(
    "--targets-threshold", default=2, show_default=True, help="How many of them must sign."
)
@click.option(
    "--schemas/--no-schemas",
    default=True,
    show_default=True,
    help="Publish the shared schemas that come with Saphan.",
)
@click.option(
    "--timestamp-validity",
    "timestamp_validity_s",
    default=3600,
    show_default=True,
    help="Seconds for which servers may believe that nothing is newer.",
)
@click.option(
    "--approve-updates/--no-approve-updates",
    default=True,
    show_default=True,
    help="Whether a member's updates wait for approval.",
)
@JSON
def init(
    directory: Path,
    instance: str,
    environment: str,
    name_en: str,
    name_lo: str,
    authorities: tuple[Path, ...],
    tsas: tuple[str, ...],
    root_keys: int,
    root_threshold: int,
    targets_keys: int,
    targets_threshold: int,
    schemas: bool,
    timestamp_validity_s: int,
    approve_updates: bool,
    as_json: bool,
) -> None:
    """Open a new registry in DIRECTORY: keys, first metadata, database."""
    from registry.ceremony import Quorum, open_registry
    from registry.settings import RegistrySettings

    record = InstanceRecord(
        instance,
        Environment(environment),
        Text(name_en or instance, name_lo or name_en or instance),
        _authorities(authorities),
        tuple(_timestamp_authority(text) for text in tsas),
    )
    opened = open_registry(
        directory,
        record,
        _now(),
        root=Quorum(root_keys, root_threshold),
        targets=Quorum(targets_keys, targets_threshold),
        schemas=_packaged_schemas() if schemas else {},
        settings=RegistrySettings(
            timestamp_validity_s=timestamp_validity_s, approve_updates=approve_updates
        ),
    )
    result = {
        "anchor": str(opened.anchor),
        "operator_api_key": opened.operator_api_key,
        "root_keys": [str(path) for path in opened.root_keys],
        "targets_keys": [str(path) for path in opened.targets_keys],
    }
    _show(
        result,
        as_json,
        f"The registry of {instance} is ready in {directory}.",
        f"  Anchor for every member:      {opened.anchor}",
        f"  Root keys, take them away:    {directory}/offline/root-*.pem",
        f"  Targets keys, take them away: {directory}/offline/targets-*.pem",
        f"  Operator's API key:           {directory}/offline/operator-api-key",
        f"Next: saphan registry serve {directory} --listen 127.0.0.1:8800",
    )


@registry.command()
@click.argument("directory", type=PATH)
@click.option(
    "--listen",
    default="127.0.0.1:8800",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)
@LOG_LEVEL
@JSON
def serve(directory: Path, listen: str, log_level: str, as_json: bool) -> None:
    """Run the registry in DIRECTORY until SIGTERM or SIGINT.

    The address is printed on standard output once it answers.
    """
    from registry import service
    from serving import logs, runtime

    host, port = _listen(listen)
    logs.configure(log_level)

    def on_ready(url: str) -> None:
        _show({"url": url}, as_json, f"The registry answers at {url}")
        sys.stdout.flush()

    async def main(stop: asyncio.Event) -> None:
        await service.serve(directory, stop, host=host, port=port, on_ready=on_ready)

    runtime.run(main)


@registry.command("key-add")
@click.argument("right", type=click.Choice([str(item) for item in Right]))
@click.option("--member", "member_text", help="Whose key it is (right member).")
@click.option("--label", default="", help="A note on who holds it.")
@_client_options
@JSON
def key_add(
    right: str, member_text: str | None, label: str, url: str, api_key: str, as_json: bool
) -> None:
    """Make an API key of a RIGHT; it is shown this once."""
    member = MemberId.parse(member_text, "--member") if member_text else None
    key = _client(url, api_key).add_key(right, label, member)
    _show({"key": key}, as_json, key)


@registry.command("key-revoke")
@click.argument("identifier")
@_client_options
@JSON
def key_revoke(identifier: str, url: str, api_key: str, as_json: bool) -> None:
    """Revoke the API key with this IDENTIFIER (the part after saphan-)."""
    result = _client(url, api_key).revoke_key(identifier)
    _show(result, as_json, f"{identifier} is revoked.")


@registry.command("keys")
@_client_options
@JSON
def list_keys(url: str, api_key: str, as_json: bool) -> None:
    """List API keys (never their secrets)."""
    page = _client(url, api_key).get("keys")
    _table(page["items"], as_json, ("id", "right", "member", "label", "revoked_at"))


@registry.command()
@click.option(
    "--state",
    type=click.Choice(["submitted", "approved", "declined"]),
    help="Only those in this state.",
)
@click.option("--member", help="Only those of this member.")
@_client_options
@JSON
def requests(state: str | None, member: str | None, url: str, api_key: str, as_json: bool) -> None:
    """List submissions."""
    items = _client(url, api_key).pages("submissions", state=state, member=member)
    _table(items, as_json, ("id", "member", "kind", "state", "version", "submitted_at", "reason"))


@registry.command()
@click.argument("number", type=int)
@click.option(
    "--keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Targets keys: files, or a folder with targets-*.pem. Needed for a first "
    "registration and a change of keys.",
)
@click.option(
    "--root-keys",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Root keys, to vouch for a member that lost its old key.",
)
@_client_options
@JSON
def approve(
    number: int,
    keys: tuple[Path, ...],
    root_keys: tuple[Path, ...],
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Approve submission NUMBER and publish it."""
    from registry.operator import sign_delegation

    client = _client(url, api_key)
    row = client.get(f"submissions/{number}")
    signed = None
    if row["needs_delegation"]:
        signed = sign_delegation(
            client.own(),
            client.submission(number),
            _signers(keys, "targets"),
            _signers(root_keys, "root"),
            _now(),
        )
    result = client.approve(number, signed)
    _show(result, as_json, f"Approved: {result['member']} version {result['version']}.")


@registry.command()
@click.argument("number", type=int)
@click.option("--reason", required=True, help="What the member reads.")
@_client_options
@JSON
def decline(number: int, reason: str, url: str, api_key: str, as_json: bool) -> None:
    """Decline submission NUMBER."""
    result = _client(url, api_key).decline(number, reason)
    _show(result, as_json, f"Declined: {result['member']} version {result['version']}.")


@registry.command("schema-publish")
@click.argument("files", type=FILE, nargs=-1)
@click.option("--packaged", is_flag=True, help="The shared schemas that come with Saphan.")
@click.option(
    "--keys",
    type=PATH,
    multiple=True,
    required=True,
    metavar="PATH",
    help="Targets keys: files, or a folder with targets-*.pem.",
)
@_client_options
@JSON
def schema_publish(
    files: tuple[Path, ...],
    packaged: bool,
    keys: tuple[Path, ...],
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Publish shared schemas; FILES are named NAME.MAJOR.json."""
    chosen = _packaged_schemas() if packaged else {}
    for file in files:
        path = f"schemas/{file.name}"
        if not is_schema_target(path):
            raise Problem(
                Code.INVALID_DOCUMENT,
                where=str(file),
                detail="a schema's file is called NAME.MAJOR.json, such as province.1.json",
            )
        chosen[path] = file.read_bytes()
    if not chosen:
        raise click.UsageError("name files, or give --packaged")
    result = _publish(_client(url, api_key), chosen, keys)
    _show(
        {**result, "files": sorted(chosen)},
        as_json,
        f"Published {len(chosen)} schemas in version {result['version']}.",
    )


@registry.command("instance-update")
@click.option(
    "--authority",
    "authorities",
    type=FILE,
    multiple=True,
    required=True,
    help="PEM file of all certification authorities from now on; may be given again.",
)
@click.option(
    "--timestamp-authority",
    "tsas",
    multiple=True,
    metavar="URL=PEM",
    help="All RFC 3161 authorities from now on; may be given again.",
)
@click.option(
    "--keys",
    type=PATH,
    multiple=True,
    required=True,
    metavar="PATH",
    help="Targets keys: files, or a folder with targets-*.pem.",
)
@_client_options
@JSON
def instance_update(
    authorities: tuple[Path, ...],
    tsas: tuple[str, ...],
    keys: tuple[Path, ...],
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Publish other authorities of the instance."""
    client = _client(url, api_key)
    known = parse_instance(client.own().files[INSTANCE_TARGET])
    record = InstanceRecord(
        known.instance,
        known.environment,
        known.name,
        _authorities(authorities),
        tuple(_timestamp_authority(text) for text in tsas),
    )
    result = _publish(client, {INSTANCE_TARGET: format_instance(record)}, keys)
    _show(result, as_json, f"Published in version {result['version']}.")


@registry.command()
@_client_options
@JSON
def acts(url: str, api_key: str, as_json: bool) -> None:
    """List what was done in the registry, and with which API key."""
    items = _client(url, api_key).pages("acts")
    _table(items, as_json, ("number", "at", "actor", "act", "subject"))


@registry.command("settings")
@JSON
def show_settings(as_json: bool) -> None:
    """Explain the settings of DIR/registry.yaml."""
    from registry.settings import RegistrySettings
    from serving.settings import table

    rows = [
        {"name": name, "default": default, "help": text}
        for name, default, text in table(RegistrySettings)
    ]
    _table(rows, as_json, ("name", "default", "help"))


# -------------------------------------------------------------------------------------- member


@registry.command("member-init")
@click.argument("directory", type=PATH)
@click.option("--member", "member_text", required=True, help="Such as LA/GOV/MPI.")
@JSON
def member_init(directory: Path, member_text: str, as_json: bool) -> None:
    """Make a member's registry key in DIRECTORY, on the member's own machine."""
    from registry.member import KEY_FILE, MemberFolder

    folder = MemberFolder.create(directory, MemberId.parse(member_text, "--member"))
    keyid = str(folder.keys.keys[0].keyid)
    _show(
        {"member": str(folder.member), "keyid": keyid, "key": str(directory / KEY_FILE)},
        as_json,
        f"{folder.member} signs with the key {keyid}.",
        f"Keep {directory / KEY_FILE} safe, and a copy of it elsewhere.",
        f"Next: saphan registry submit {directory} DESCRIPTION.yaml --registry URL --api-key KEY",
    )


@registry.command("member-rotate")
@click.argument("directory", type=PATH)
@_client_options
@JSON
def member_rotate(directory: Path, url: str, api_key: str, as_json: bool) -> None:
    """Change a member's registry key; the old key vouches for the new one."""
    from registry.member import MemberFolder

    folder = MemberFolder.open(directory)
    known = _client(url, api_key).get(f"members/{folder.member}")
    statement = folder.rotate(int(known["key_changes"]) + 1)
    keyid = str(statement.after.keys[0].keyid)
    _show(
        {"member": str(folder.member), "keyid": keyid, "number": statement.number},
        as_json,
        f"{folder.member} now signs with the key {keyid}.",
        f"Next: saphan registry submit {directory} DESCRIPTION.yaml",
    )


@registry.command()
@click.argument("directory", type=PATH)
@click.argument("description", type=FILE)
@click.option("--note", default="", help="A word to whoever approves.")
@_client_options
@JSON
def submit(
    directory: Path, description: Path, note: str, url: str, api_key: str, as_json: bool
) -> None:
    """Describe the member of DIRECTORY by DESCRIPTION (YAML), sign it and hand it in."""
    from registry.member import MemberFolder, describe

    folder = MemberFolder.open(directory)
    client = _client(url, api_key)
    described = describe(description)
    published = client.published_version(folder.member)
    result = client.submit(folder.sign(described, published, _now(), note))
    if result["state"] == "submitted":
        keys = "" if result["kind"] == Kind.UPDATE else " --keys DIR/offline"
        after = f"Next, the operator: saphan registry approve {result['id']}{keys} --api-key KEY"
    else:
        after = "It is published."
    _show(
        result,
        as_json,
        f"Submission {result['id']} of {result['member']}: {result['kind']}, {result['state']}.",
        after,
    )


# ----------------------------------------------------------------------------------- everybody


@registry.command("list")
@click.argument("what", type=click.Choice(["members", "services", "schemas"]), default="services")
@click.option("--search", "query", help="Words in id, title or name, Lao or English.")
@_client_options
@JSON
def list_(what: str, query: str | None, url: str, api_key: str, as_json: bool) -> None:
    """List services (default), members or schemas."""
    client = _client(url, api_key)
    if what == "schemas":
        items = client.get("schemas")["items"]
        _table(_flat(items, "title"), as_json, ("id", "title"), items)
        return
    items = client.pages(what, q=query)
    title = "title" if what == "services" else "name"
    _table(_flat(items, title), as_json, ("id", title), items)


@registry.command()
@click.argument("identifier")
@click.option("--openapi", is_flag=True, help="The OpenAPI document of a service.")
@_client_options
@JSON
def show(identifier: str, openapi: bool, url: str, api_key: str, as_json: bool) -> None:
    """Show the member or service IDENTIFIER."""
    client = _client(url, api_key)
    if identifier.count("/") == 4:
        path = f"services/{ServiceId.parse(identifier)}{'/openapi' if openapi else ''}"
    else:
        path = f"members/{MemberId.parse(identifier)}"
    found = client.get(path)
    if as_json or openapi or identifier.count("/") == 4:
        _show(found, as_json)
    else:
        _show(found, False, *_member_lines(found))


@registry.command()
@click.option("--root", "anchor", type=FILE, required=True, help="The anchor, root.json.")
@click.option("--cache", type=PATH, help="Folder of a copy to continue; else a fresh one.")
@_client_options
@JSON
def verify(anchor: Path, cache: Path | None, url: str, api_key: str, as_json: bool) -> None:
    """Follow the registry as a server does, and tell what is trusted and what is not."""
    import tempfile

    from mediator.view import RegistryView

    root = anchor.read_bytes()

    async def look(folder: Path) -> dict[str, Any]:
        view = await RegistryView.open(url, root, folder)
        try:
            if cache is not None:
                await view.refresh()
            state = view.state
            return {
                "instance": state.instance.instance,
                "environment": state.instance.environment.value,
                "version": state.version,
                "expires": state.expires.isoformat(),
                "members": sorted(str(member) for member in state.members),
                "complaints": [str(problem) for problem in state.complaints],
            }
        finally:
            await view.close()

    if cache is None:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(look(Path(folder)))
    else:
        found = asyncio.run(look(cache))
    lines = [
        f"{found['instance']} ({found['environment']}), version {found['version']}, "
        f"good until {found['expires']}",
        *(f"  {member}" for member in found["members"]),
        *(f"  ! {complaint}" for complaint in found["complaints"]),
    ]
    _show(found, as_json, *lines)
    if found["complaints"]:
        sys.exit(1)


# --------------------------------------------------------------------------------------- shared


def _client(url: str, api_key: str) -> RegistryClient:
    if api_key.startswith("@"):
        try:
            api_key = Path(api_key[1:]).read_text().strip()
        except OSError as error:
            raise Problem(
                Code.INVALID_SETTINGS, where="--api-key", detail=f"{api_key}: {error.strerror}"
            ) from error
    return RegistryClient(url, api_key)


def _publish(client: RegistryClient, files: dict[str, bytes], keys: tuple[Path, ...]) -> Any:
    from registry.operator import sign_files

    return client.publish_own(sign_files(client.own(), files, _signers(keys, "targets"), _now()))


def _signers(paths: tuple[Path, ...], role: str) -> list[Any]:
    from registry.signers import read_signers

    files: list[Path] = []
    for path in paths:
        files.extend(sorted(path.glob(f"{role}-*.pem")) if path.is_dir() else [path])
    return list(read_signers(files))


def _packaged_schemas() -> dict[str, bytes]:
    """The schemas of the package, by target path."""
    import schemas

    found = {}
    for identifier, data in schemas.load_all().items():
        name, _, major = identifier.removesuffix("/").rpartition("/")
        found[f"schemas/{name.rpartition('/')[2]}.{major}.json"] = data
    return found


def _authorities(paths: Iterable[Path]) -> tuple[Any, ...]:
    found = [
        certificate
        for path in paths
        for certificate in parse_certificates(path.read_bytes(), str(path))
    ]
    return tuple(dict.fromkeys(found))


def _timestamp_authority(text: str) -> TimestampAuthority:
    url, separator, file = text.partition("=")
    if not separator:
        raise click.UsageError(f"--timestamp-authority {text!r} is not URL=PEM")
    certificates = parse_certificates(Path(file).read_bytes(), file)
    return TimestampAuthority(url, certificates[0])


def _listen(text: str) -> tuple[str, int]:
    try:
        return split_address(text, "--listen")
    except Problem as problem:
        raise click.UsageError(f"--listen {text!r} is not HOST:PORT") from problem


def _flat(items: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return [item | {key: f"{item[key]['en']} · {item[key]['lo']}"} for item in items]


def _member_lines(found: dict[str, Any]) -> list[str]:
    """A member as a person reads it; certificates by their end and fingerprint."""
    document = found["document"]

    def certificates(pems: list[str]) -> list[str]:
        parsed = [parse_certificates(text.encode())[0] for text in pems]
        return [
            f"until {item.not_valid_after_utc:%F}  {fingerprint_of(item)[:16]}…" for item in parsed
        ]

    name = document["name"]
    lines = [f"{document['member']}  {name['en']} · {name['lo']}  (version {found['version']})"]
    lines += [f"  seal        {text}" for text in certificates(document["seal_certificates"])]
    for server in document["servers"]:
        shares = f"  shares {server['shares']}" if "shares" in server else ""
        lines.append(f"  server      {server['id']}  {server['address']}{shares}")
        lines += [f"    auth      {text}" for text in certificates(server["auth_certificates"])]
        lines += [
            f"    {name:9} {server[name]}" for name in ("journal", "witness") if name in server
        ]
    for application in document["applications"]:
        lines.append(f"  application {application['id']}  on {', '.join(application['servers'])}")
    for service in document["services"]:
        title = service["title"]
        lines.append(f"  service     {service['id']}  {title['en']} · {title['lo']}")
    return lines


def _show(value: Any, as_json: bool, *lines: str) -> None:
    if as_json or not lines:
        option = 0 if as_json else orjson.OPT_INDENT_2
        click.echo(orjson.dumps(value, option=option).decode())
    else:
        for line in lines:
            click.echo(line)


def _table(
    rows: list[dict[str, Any]],
    as_json: bool,
    columns: tuple[str, ...],
    plain: list[dict[str, Any]] | None = None,
) -> None:
    if as_json:
        click.echo(orjson.dumps(rows if plain is None else plain).decode())
        return
    if not rows:
        click.echo("Nothing here.")
        return
    cells = [[str(row.get(name) or "") for name in columns] for row in rows]
    widths = [max(len(name), *(len(row[at]) for row in cells)) for at, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def _now() -> datetime:
    return datetime.now(UTC)
