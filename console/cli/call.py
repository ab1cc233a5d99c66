"""`saphan call`: make a call as an application would, through its security server."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import click
import orjson

from exchange.identifiers import ApplicationId, ServiceId
from exchange.journal.subjects import HEADER, normal_subject
from exchange.problems import Code, Problem
from serving.answers import Answer
from serving.client import Pool
from serving.failures import ExchangeFailed
from serving.pool_places import PoolLimits

MAX_BODY_BYTES = 256 * 1024 * 1024
# All of ASCII that can be seen: what is encoded already stays as it is.
_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))
_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("service")
@click.argument("path", default="")
@click.option("--as", "caller", required=True, metavar="APPLICATION", help="The caller.")
@click.option("--via", required=True, metavar="URL", help="Address of your security server.")
@click.option("--method", default="GET", show_default=True, help="HTTP method.")
@click.option("--purpose", help="Purpose code of the agreement (Exchange-Purpose).")
@click.option(
    "--subject", help="Whom or what it is about, as scheme:identifier (Exchange-Subject)."
)
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A further header.")
@click.option("--data", help="Request body; @FILE reads a file, @- standard input.")
@click.option("--cert", type=click.Path(path_type=Path), help="Client certificate (PEM).")
@click.option("--key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--ca", type=click.Path(path_type=Path), help="Authorities of the server (PEM).")
@click.option(
    "--timeout", "timeout_s", type=_SECONDS, default=60.0, show_default=True, help="Seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print status, headers and body as JSON.")
def call(
    service: str,
    path: str,
    caller: str,
    via: str,
    method: str,
    purpose: str | None,
    subject: str | None,
    headers: tuple[str, ...],
    data: str | None,
    cert: Path | None,
    key: Path | None,
    ca: Path | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Call SERVICE (LA/GOV/MPI/oda-mis/projects) at PATH (/projects?sector=health).

    Prints the answer's body; blanks and letters such as Lao in PATH are percent-encoded. A status
    of 400 or more ends with exit code 1 and is explained on standard error.
    """
    if path and not path.startswith(("/", "?")):
        raise click.UsageError(f"PATH {path!r} must begin with /")
    target = f"/r1/{ServiceId.parse(service)}{quote(path, safe=_AS_IT_IS)}"
    fields = [
        ("x-road-client", str(ApplicationId.parse(caller))),
        ("accept", "application/json"),
    ]
    if purpose:
        fields.append(("exchange-purpose", purpose))
    if subject:
        normal_subject(subject, "--subject")
        fields.append((HEADER, subject))
    for header in headers:
        name, separator, value = header.partition(":")
        if not separator:
            raise click.UsageError(f"--header {header!r} is not NAME:VALUE")
        fields.append((name.strip().lower(), value.strip()))
    for name, value in fields:
        if not (name + value).isascii():
            raise click.UsageError(f"the header {name} has other letters than ASCII: {value!r}")
    body = _body(data)
    if body and not any(name == "content-type" for name, _ in fields):
        fields.append(("content-type", "application/json"))
    answer = asyncio.run(_exchange(via, method, target, fields, body, cert, key, ca, timeout_s))
    if as_json:
        document = {
            "status": answer.status,
            "headers": [list(field) for field in answer.headers],
            "body": _readable(answer.body),
        }
        click.echo(orjson.dumps(document).decode())
    else:
        sys.stdout.buffer.write(answer.body + (b"" if answer.body.endswith(b"\n") else b"\n"))
    if answer.status >= 400:
        if not as_json:
            _explain(answer)
        sys.exit(1)


def _explain(answer: Answer[bytes]) -> None:
    """What came instead of records: code, place, cause and next step, as far as it says so."""
    code = dict(answer.headers).get("x-road-error", "")
    document = _readable(answer.body)
    said = document if isinstance(document, dict) else {}
    code = code or f"{said.get('type', '')} (the service's own answer)".lstrip()
    place = f" at {said['where']}" if said.get("where") else ""
    detail = said.get("message") or said.get("detail") or ""
    click.echo(plain(f"HTTP {answer.status} {code}{place}: {detail}".rstrip(": ")), err=True)
    remedy = said.get("remedy")
    if isinstance(remedy, dict):
        click.echo(plain(f"  Next: {remedy.get('en')}"), err=True)
        click.echo(plain(f"  ຂັ້ນຕອນຕໍ່ໄປ: {remedy.get('lo')}"), err=True)


def plain(text: str) -> str:
    """Text from outside on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\u200b" else "\ufffd" for c in text)


async def _exchange(
    via: str,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
    cert: Path | None,
    key: Path | None,
    ca: Path | None,
    timeout_s: float,
) -> Answer[bytes]:
    pool, host = pool_to(via, cert, key, ca)
    try:
        return await pool.exchange(
            method, target, (("host", host), *headers), body, timeout_s=timeout_s
        )
    except ExchangeFailed as failure:
        raise Problem(
            Code.OWN_SERVER_UNREACHABLE,
            where=via,
            detail=f"your own security server: {failure.detail}",
        ) from failure
    except ValueError as error:
        raise Problem(Code.INVALID_USAGE, where="PATH or --header", detail=str(error)) from error
    finally:
        await pool.close()


def pool_to(via: str, cert: Path | None, key: Path | None, ca: Path | None) -> tuple[Pool, str]:
    """Connections to the own security server, and the name that its requests carry.

    Raises:
        Problem: ``InvalidUsage`` for an address or files that cannot be used.
    """
    try:
        parts = urlsplit(via)
        port = parts.port
    except ValueError as error:
        raise Problem(Code.INVALID_USAGE, where="--via", detail=f"{via!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Problem(
            Code.INVALID_USAGE, where="--via", detail=f"{via!r} is not an http or https URL"
        )
    if parts.scheme == "http" and (cert or key or ca):
        raise Problem(
            Code.INVALID_USAGE, where="--via", detail="--cert, --key and --ca are for https"
        )
    context = None
    if parts.scheme == "https":
        try:
            context = ssl.create_default_context(cafile=str(ca) if ca else None)
            if cert is not None:
                context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise Problem(
                Code.INVALID_USAGE, where="--cert, --key, --ca", detail=str(error)
            ) from error
    pool = Pool(
        parts.hostname,
        port or (443 if context else 80),
        ssl=context,
        limits=PoolLimits(max_body_bytes=MAX_BODY_BYTES),
    )
    return pool, parts.netloc


def _body(data: str | None) -> bytes:
    if data is None:
        return b""
    if data == "@-":
        return sys.stdin.buffer.read(MAX_BODY_BYTES)
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as error:
            raise Problem(
                Code.INVALID_USAGE, where="--data", detail=f"{data[1:]}: {error.strerror}"
            ) from error
    return data.encode()


def _readable(body: bytes) -> object:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
