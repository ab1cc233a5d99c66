"""The clients of the embedded issuer: names, scopes, and the digests of their secrets.

``DIR/oauth/clients.json``, written by ``saphan instance client``, read anew by the running service
when it has changed. A secret is 256 random bits made here, so its SHA-256 cannot be guessed back;
a slow hash is for what people choose.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from certs.files import PRIVATE_MODE, write_file
from exchange.documents import format_document, parse_document
from exchange.problems import Code, Problem
from serving.locks import in_turn

SCOPES: Final[Mapping[str, str]] = {
    "read:conf": "Read the configuration and the status of the instance",
    "create:conf": "Replace the whole configuration",
    "write:conf": "Create the instance and change its configuration",
    "read:rights": "See which applications may call which services",
    "write:rights": "Allow and deny applications to call services",
}
MAX_CLIENTS: Final = 1000
MAX_SECRET: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its id, what it may ask for, and the digest of its secret (hex SHA-256)."""

    id: str
    scopes: tuple[str, ...]
    digest: str
    created: str


class Clients:
    """The clients of the instance in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "oauth" / "clients.json"
        self._read: tuple[tuple[int, int], Mapping[str, Client]] = ((0, 0), {})

    def all(self) -> Mapping[str, Client]:
        """Every client by its id.

        Raises:
            Problem: ``InvalidDocument`` when the file is damaged.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        version = (stat.st_mtime_ns, stat.st_ino)
        if version != self._read[0]:
            self._read = (version, _parse(self._path.read_bytes(), str(self._path)))
        return self._read[1]

    def add(self, name: str, scopes: tuple[str, ...]) -> str:
        """Make a client; returns its secret, which is nowhere else.

        Raises:
            Problem: ``Conflict`` when there is one of that name; ``InvalidUsage`` for a name or a
                scope that cannot be.
        """
        if not _NAME.fullmatch(name):
            raise _wrong("NAME", "must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter")
        if not scopes or not set(scopes) <= SCOPES.keys():
            raise _wrong("--scope", f"must be of {', '.join(SCOPES)}")
        secret = secrets.token_urlsafe(32)
        with self._changing() as clients:
            if name in clients:
                raise Problem(
                    Code.CONFLICT, where="NAME", detail=f"there is a client {name}; remove it first"
                )
            if len(clients) >= MAX_CLIENTS:
                raise Problem(Code.CONFLICT, where="NAME", detail=f"{MAX_CLIENTS} clients are all")
            created = datetime.now(UTC).isoformat(timespec="seconds")
            order = tuple(scope for scope in SCOPES if scope in scopes)
            clients[name] = Client(name, order, _digest(secret), created)
        return secret

    def remove(self, name: str) -> None:
        """Remove a client; its tokens are refused from then on.

        Raises:
            Problem: ``NotFound``.
        """
        with self._changing() as clients:
            if clients.pop(name, None) is None:
                raise Problem(Code.NOT_FOUND, where="NAME", detail=f"there is no client {name!r}")

    def authenticate(self, name: str, secret: str) -> Client | None:
        """The client with this id and secret."""
        client = self.all().get(name)
        given = _digest(secret[:MAX_SECRET])
        # Compared in any case, so that the time does not tell which clients there are.
        fits = hmac.compare_digest(given, _digest("") if client is None else client.digest)
        return client if fits else None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Client]]:
        """One change at a time, also between processes; written when nothing was raised."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with in_turn(self._path.with_name("clients.lock")):
            clients = dict(self.all())
            yield clients
            rows = [
                {
                    "id": one.id,
                    "scopes": list(one.scopes),
                    "secret_sha256": one.digest,
                    "created": one.created,
                }
                for one in clients.values()
            ]
            write_file(self._path, format_document({"clients": rows}), mode=PRIVATE_MODE)


def _parse(data: bytes, where: str) -> Mapping[str, Client]:
    value: Any = parse_document(data, 4 << 20, where).value
    try:
        return {
            str(row["id"]): Client(
                str(row["id"]),
                tuple(map(str, row["scopes"])),
                str(row["secret_sha256"]),
                str(row["created"]),
            )
            for row in value["clients"]
        }
    except (KeyError, TypeError) as error:
        raise Problem(
            Code.INVALID_DOCUMENT, where=where, detail="is damaged; put back your copy"
        ) from error


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "replace")).hexdigest()


def _wrong(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_USAGE, where=where, detail=detail)
