"""For everybody: list, show, verify."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from console.cli.options import JSON
from console.cli.registry.group import CLIENT, FILE, PATH, registry
from console.cli.registry.shared import client_of, flat, table, tell
from exchange.certificates.reading import fingerprint_of, parse_certificates
from exchange.identifiers import MemberId, ServiceId
from exchange.once_only.elements import is_element_id

_KINDS = ("member", "service", "element", "schema", "code-list")
_LISTS = ("members", "services", "schemas", "elements")


@registry.command("list")
@click.argument("what", type=click.Choice(_LISTS), default="services")
@click.option("--search", "query", help="Words in id, title or name, Lao or English.")
@CLIENT
@JSON
def list_(what: str, query: str | None, url: str, api_key: str, as_json: bool) -> None:
    """List services (default), members, schemas or data elements."""
    client = client_of(url, api_key)
    if what == "schemas":
        items = client.get("schemas")["items"]
        table(flat(items, "title"), as_json, ("id", "title"), items)
        return
    items = client.pages(what, q=query)
    title = "title" if what == "services" else "name"
    table(flat(items, title), as_json, ("id", title), items)


@registry.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="Only these.")
@click.option(
    "--limit",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help="How many.",
)
@CLIENT
@JSON
def search(
    words: tuple[str, ...],
    kinds: tuple[str, ...],
    limit: int,
    url: str,
    api_key: str,
    as_json: bool,
) -> None:
    """Find members, services, elements, schemas and code lists by parts of words, Lao or English.

    The best come first; what has a word in its name is better than what has it elsewhere.
    """
    query = urlencode([("q", " ".join(words)), ("limit", limit), *(("kind", k) for k in kinds)])
    found = client_of(url, api_key).get(f"search?{query}")
    table(flat(found["items"], "title"), as_json, ("kind", "id", "title"), found["items"])


@registry.command()
@click.argument("identifier")
@click.option("--openapi", is_flag=True, help="The OpenAPI document of a service.")
@CLIENT
@JSON
def show(identifier: str, openapi: bool, url: str, api_key: str, as_json: bool) -> None:
    """Show the member, service or data element IDENTIFIER."""
    client = client_of(url, api_key)
    if identifier.count("/") == 4:
        path = f"services/{ServiceId.parse(identifier)}{'/openapi' if openapi else ''}"
    elif is_element_id(identifier):
        path = f"elements/{identifier}"
    else:
        path = f"members/{MemberId.parse(identifier)}"
    found = client.get(path)
    if as_json or openapi or identifier.count("/") != 2:
        tell(found, as_json)
    else:
        tell(found, False, *_member_lines(found))


@registry.command()
@click.option("--root", "anchor", type=FILE, required=True, help="The anchor, root.json.")
@click.option("--cache", type=PATH, help="Folder of a copy to continue; else a fresh one.")
@CLIENT
@JSON
def verify(anchor: Path, cache: Path | None, url: str, api_key: str, as_json: bool) -> None:
    """Follow the registry as a server does, and tell what is trusted and what is not."""
    import tempfile

    from mediator.registry_copy.view import RegistryView

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
    tell(found, as_json, *lines)
    if found["complaints"]:
        sys.exit(1)


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


@registry.command()
@CLIENT
@JSON
def status(url: str, api_key: str, as_json: bool) -> None:
    """Tell whether the registry's word is good, and what must be signed again soon.

    Ends with 1 when a role of the registry has ended.
    """
    found = client_of(url, api_key).health()
    lines = [f"The registry is {found['status']}."]
    lines += [f"  {role:10} until {end[:16]}" for role, end in found["expires"].items()]
    for role, end in found["ends_soon"].items():
        when = f"ends within {end['within_days']} days" if end["within_days"] else "HAS ENDED"
        lines.append(f"{role} {when} ({end['ends'][:16]}): {end['next_step']}")
    tell(found, as_json, *lines)
    if found["expired"]:
        sys.exit(1)
