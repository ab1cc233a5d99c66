"""`saphan adapter add`: the services of a mapping into a member's description and a server's
settings; and which of these files are at hand."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from console.cli.options import JSON
from console.cli.printing import print_json
from console.cli.yaml_lists import add_items
from exchange.problems import Code, Problem

if TYPE_CHECKING:
    from adapters.kinds import Wrapping

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MOST_FILES = 200
_HEAD_BYTES = 4096


@click.command()
@click.argument("mapping", type=FILE)
@click.option("--member", type=FILE, required=True, help="The member's description (saphan apply).")
@click.option(
    "--server", type=FILE, required=True, help="The settings of the server that will answer."
)
@JSON
def add(mapping: Path, member: Path, server: Path, as_json: bool) -> None:
    """Add the services of MAPPING to a member's description and to a server's settings.

    The contract of each service is written beside MAPPING (SERVICE.openapi.json); the description
    gets the application and the services, the settings say which mapping answers them. What stands
    in the files already stays as it is; comments stay, too. Nothing is handed in.
    """
    import schemas
    from adapters import kinds

    wrapping = kinds.read(mapping)
    description, settings = _read(member), _read(server)
    application = wrapping.head.application
    if description.get("member") != str(application.member):
        detail = f"describes {description.get('member')}; the mapping is of {application}"
        raise Problem(Code.INVALID_USAGE, where=str(member), detail=detail)
    if not isinstance(settings.get("server"), str):
        detail = "has no key 'server': the settings of a security server are needed"
        raise Problem(Code.INVALID_USAGE, where=str(server), detail=detail)
    shared = schemas.load_all()
    contracts = {code: mapping.with_name(f"{code}.openapi.json") for code in wrapping.services}
    described = _missing(description, _description(wrapping, settings, contracts, member.parent))
    answered = _missing(settings, {"services": _answered(wrapping, mapping, server.parent)})
    wanted = ((member, described), (server, answered))
    files = [(path, add_items(path, items)) for path, items in wanted if items]
    for code, contract in contracts.items():
        contract.write_bytes(wrapping.document(code, shared))
    for path, data in files:
        _replace(path, data)
    written = [str(path) for path in (*contracts.values(), *(path for path, _ in files))]
    if as_json:
        print_json({"written": written})
    else:
        for name in written:
            click.echo(f"written: {name}")
    click.echo(f"Next: saphan apply {_shown(member)} --yes --wait", err=True)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Problem(Code.INVALID_DOCUMENT, where=str(path), detail="is not YAML") from error
    if not isinstance(found, dict):
        raise Problem(Code.INVALID_DOCUMENT, where=str(path), detail="is not a mapping of keys")
    return found


def _description(
    wrapping: Wrapping, settings: Mapping[str, Any], contracts: Mapping[str, Path], folder: Path
) -> dict[str, list[dict[str, Any]]]:
    application = {
        "id": str(wrapping.head.application),
        "name": dict(wrapping.head.title),
        "servers": [settings["server"]],
    }
    services = [
        {
            "id": str(one.id),
            "title": dict(one.title),
            "openapi": _from(contracts[code], folder),
        }
        for code, one in wrapping.services.items()
    ]
    return {"applications": [application], "services": services}


def _answered(wrapping: Wrapping, mapping: Path, folder: Path) -> list[dict[str, Any]]:
    path = _from(mapping, folder)
    return [{"id": str(one.id), "adapter": path} for one in wrapping.services.values()]


def _from(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


def _missing(
    document: Mapping[str, Any], lists: Mapping[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """The items that the document does not have, by their ids."""
    found = {}
    for key, items in lists.items():
        there = {one.get("id") for one in document.get(key) or () if isinstance(one, dict)}
        if wanted := [item for item in items if item["id"] not in there]:
            found[key] = wanted
    return found


def _replace(path: Path, data: bytes) -> None:
    """Write the file anew: where it really is, with its owner and rights, whoever runs this."""
    path = path.resolve()
    known = path.stat()
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        try:
            if (os.geteuid(), os.getegid()) != (known.st_uid, known.st_gid):
                os.fchown(file.fileno(), known.st_uid, known.st_gid)
        except OSError as error:
            temporary.unlink()
            detail = "belongs to somebody else, who must run this"
            raise Problem(Code.INVALID_USAGE, where=str(path), detail=detail) from error
        os.fchmod(file.fileno(), known.st_mode & 0o777)
    temporary.replace(path)


# What comes next.


def next_add(mapping: Path) -> str:
    """The command that adds the services of ``mapping``, with the files that are at hand."""
    member = file_with("member") or "MEMBER.yaml"
    server = file_with("server") or "SERVER.yaml"
    return (
        f"saphan adapter add {_shown(mapping)} --member {_shown(member)} --server {_shown(server)}"
    )


def file_with(key: str, folder: Path = Path()) -> Path | None:
    """The only YAML file in ``folder``, or in one below it, that has ``key`` at the top."""
    pattern = re.compile(rf"^{key}:".encode(), re.MULTILINE)
    found = []
    for path in [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")][:_MOST_FILES]:
        try:
            with path.open("rb") as file:
                if pattern.search(file.read(_HEAD_BYTES)):
                    found.append(path)
        except OSError:
            continue
    return found[0] if len(found) == 1 else None


def _shown(path: Path | str) -> str:
    return shlex.quote(str(path))
