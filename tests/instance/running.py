"""An instance as an operator runs it: `saphan instance serve` in a process of its own."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from console.cli.instance import instance as command

SCOPES = ("read:conf", "create:conf", "write:conf", "read:rights", "write:rights")
WAIT_S = 90


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """One request, whatever the status."""
    fields = headers or {}
    request = urllib.request.Request(url, data=body, method=method, headers=fields)  # noqa: S310
    try:
        with urllib.request.urlopen(  # noqa: S310
            request, timeout=WAIT_S + 30, context=context
        ) as answer:
            return Answer(answer.status, _fields(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, _fields(error.headers), error.read())


def _fields(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def add_client(directory: Path, name: str, *scopes: str) -> str:
    """Make a client by the command; its secret."""
    options = [word for scope in scopes for word in ("--scope", scope)]
    words = ["client", "add", name, "--dir", str(directory), *options, "--json"]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(json.loads(result.stdout)["client_secret"])


def token(
    url: str, client: str, secret: str, scope: str = "", context: ssl.SSLContext | None = None
) -> Answer:
    """Ask the embedded issuer for a token."""
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
    if scope:
        form["scope"] = scope
    return ask("POST", f"{url}/oauth/token", urllib.parse.urlencode(form).encode(), context=context)


@dataclass(slots=True)
class RunningInstance:
    """The process, and a client with every scope."""

    directory: Path
    options: tuple[str, ...] = ()
    is_foreign: bool = False
    context: ssl.SSLContext | None = None
    url: str = ""
    _bearer: str = ""
    _bearers: dict[tuple[str, ...], str] = field(default_factory=dict)
    _secret: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _log: list[Path] = field(default_factory=list)

    def start(self) -> None:
        """Start it and wait for its address."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        if not self.is_foreign:
            self._secret = self._secret or add_client(self.directory, "everything", *SCOPES)
        with (self.directory.parent / "instance.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "console.cli.main", "instance", "serve",
                    "--dir", str(self.directory), "--listen", "127.0.0.1:0", "--json",
                    *self.options,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]
        if not self.is_foreign:
            answer = token(self.url, "everything", self._secret, context=self.context)
            self._bearer = answer.json()["access_token"]

    def bearer(self, *scopes: str) -> str:
        """A token with these scopes alone, of a client of its own."""
        if scopes not in self._bearers:
            name = f"only-{'-'.join(scopes).replace(':', '.')}"
            secret = add_client(self.directory, name, *scopes)
            answer = token(self.url, name, secret, context=self.context)
            self._bearers[scopes] = answer.json()["access_token"]
        return self._bearers[scopes]

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def call(
        self, method: str, path: str, value: Any = None, *, bearer: str = "", **headers: str
    ) -> Answer:
        """A call of the API; ``value`` goes as JSON unless it is bytes."""
        fields = {"Authorization": f"Bearer {bearer or self._bearer}"}
        body = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
        if body is not None:
            fields["Content-Type"] = "application/json"
        fields |= {name.replace("_", "-"): text for name, text in headers.items()}
        return ask(method, self.url + path, body, fields, self.context)

    def make(self, method: str, value: Any, query: str = "") -> None:
        """Change the configuration and see it made."""
        answer = self.call(method, f"/api/v1/config{query}", value, Prefer=f"wait={WAIT_S}")
        assert answer.status == 201, answer.body
        assert answer.json().endswith("is made"), self.call("GET", "/api/v1/status").body

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        found: dict[str, Any] = self.call("GET", "/api/v1/status").json()
        return found

    def server(self, member: str) -> dict[str, Any]:
        """A member's server as the status tells."""
        return next(one for one in self.status()["servers"] if one["member"] == member)
