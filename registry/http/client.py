"""A client of the registry's HTTP API for commands: blocking, with deadlines."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from exchange.documents import parse_document
from exchange.identifiers import MemberId, ServiceId
from exchange.problems import Code, Problem
from exchange.registry.delegations import role_name
from registry.offline.operator import OwnRole, SignedOwn
from registry.requests.orders import Order, Proposal, format_order, format_proposal
from registry.requests.submissions import (
    Submission,
    decode,
    encode,
    format_submission,
    parse_submission,
)

MAX_ANSWER_BYTES = 64 << 20


class RegistryClient:
    """Calls to the registry at ``url`` with an API key."""

    def __init__(
        self,
        url: str,
        api_key: str = "",
        *,
        timeout_s: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise Problem(
                Code.INVALID_SETTINGS,
                where="--registry",
                detail=f"{url[:200]!r} is not an address such as http://127.0.0.1:8800",
            )
        if not api_key.isascii() or not api_key.isprintable():
            raise Problem(
                Code.INVALID_SETTINGS,
                where="--api-key",
                detail="is not an API key: one line of letters, digits and hyphens",
            )
        self._parts = parts
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._context = context

    def get(self, path: str, **query: str | None) -> Any:
        """A JSON answer; ``path`` is under ``/api/v1/``."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", path + (f"?{urlencode(given)}" if given else ""))

    def pages(self, path: str, **query: str | None) -> list[Any]:
        """All items of a list, page by page."""
        items: list[Any] = []
        after: str | None = None
        while True:
            page = self.get(path, after=after, limit="200", **query)
            items.extend(page["items"])
            before, after = after, page["next"]
            if after in {None, before}:
                return items

    def health(self) -> Any:
        """What the registry says of its health, good or not."""
        return self._read(
            *self._exchange("GET", "/healthz", None, {}), HTTPStatus.SERVICE_UNAVAILABLE
        )

    def submit(
        self, submission: Submission, *, replaces: int | None = None, asks: bool = False
    ) -> Any:
        """Hand in a submission.

        Args:
            replaces: one of somebody else that waits.
            asks: whether users of what breaks shall be asked for their consents.
        """
        given = {} if replaces is None else {"replaces": str(replaces)}
        path = f"submissions{_query(given, asks)}"
        return self._call("POST", path, format_submission(submission))

    def order(self, order: Order) -> Any:
        """Order to disable, enable, delete or merge."""
        return self._call("POST", "orders", format_order(order))

    def propose(self, proposal: Proposal, *, asks: bool = False) -> Any:
        """Propose a file of the registry's own role; ``asks`` as in :meth:`submit`."""
        return self._call("POST", f"proposals{_query({}, asks)}", format_proposal(proposal))

    def consent(self, number: int, consents: Iterable[bytes]) -> Any:
        """Hand in consents to what an open request breaks."""
        body = orjson.dumps({"consents": [encode(one) for one in consents]})
        return self._call("POST", f"submissions/{number}/consents", body)

    def body(self, number: int) -> bytes:
        """What was handed in."""
        return orjson.dumps(self.get(f"submissions/{number}/body"))

    def submission(self, number: int) -> Submission:
        """What a member sent."""
        return parse_submission(orjson.dumps(self.get(f"submissions/{number}/body")))

    def published_version(self, member: MemberId) -> int:
        """The version of a member's published role; 0 when it is not registered yet."""
        try:
            return int(self.get(f"members/{member}")["version"])
        except Problem as problem:
            if problem.code is Code.UNKNOWN_MEMBER:
                return 0
            raise

    def role(self, member: MemberId, version: int) -> bytes:
        """A published version of a member's role."""
        return self._file(f"/metadata/{version}.{quote(role_name(member), '')}.json")

    def target(self, path: str, digest: str) -> bytes:
        """A published file by its path and SHA-256."""
        folder, _, name = path.rpartition("/")
        return self._file(f"/targets/{folder}/{digest}.{name}")

    def openapi(self, service: ServiceId) -> bytes:
        """The published OpenAPI document of a service, byte for byte; empty when it has none."""
        status, data = self._exchange("GET", f"/api/v1/services/{service}/openapi", None, {})
        return data if status == 200 else b""

    def _file(self, path: str) -> bytes:
        status, data = self._exchange("GET", path, None, {})
        if status != 200:
            raise Problem(
                Code.REGISTRY_UNREACHABLE,
                where=self._parts.netloc,
                detail=f"it shows no {path} (HTTP status {status})",
            )
        return data

    def own(self) -> OwnRole:
        """The registry's own role, to sign its next version."""
        body = parse_document(orjson.dumps(self.get("own")), MAX_ANSWER_BYTES, "own")
        fields = body.members(frozenset({"instance", "root", "targets", "files"}))
        return OwnRole(
            fields["instance"].text(255),
            decode(fields["root"]),
            decode(fields["targets"]),
            {path: decode(node) for path, node in fields["files"].entries(10_000)},
        )

    def publish_own(self, signed: SignedOwn) -> Any:
        """Publish the registry's own files."""
        return self._call("POST", "own", orjson.dumps(_signed_own(signed)))

    def publish_root(self, root: bytes, targets: bytes | None = None) -> Any:
        """Publish the next root, and the targets under its keys."""
        body = {"root": encode(root)} | ({} if targets is None else {"targets": encode(targets)})
        return self._call("POST", "root", orjson.dumps(body))

    def approve(self, number: int, signed: SignedOwn | None, *, seen: str | None = None) -> Any:
        """Approve a request, with signed metadata where it takes any.

        Args:
            seen: the digest of the changes that the approver looked at; others are refused.
        """
        body = {} if signed is None else _signed_own(signed)
        fields = {} if seen is None else {"If-Match": f'"{seen}"'}
        return self._call("POST", f"submissions/{number}/approve", orjson.dumps(body), fields)

    def decline(self, number: int, reason: str) -> Any:
        """Decline a submission."""
        body = orjson.dumps({"reason": reason})
        return self._call("POST", f"submissions/{number}/decline", body)

    def withdraw(self, number: int, reason: str) -> Any:
        """Take a request back."""
        body = orjson.dumps({"reason": reason})
        return self._call("POST", f"submissions/{number}/withdraw", body)

    def add_key(
        self,
        right: str,
        label: str,
        member: MemberId | None = None,
        scope: Sequence[str] = (),
        person: str = "",
    ) -> str:
        """Make an API key; see :meth:`new_key`."""
        return str(self.new_key(right, label, member, scope, person)["key"])

    def new_key(
        self,
        right: str,
        label: str,
        member: MemberId | None = None,
        scope: Sequence[str] = (),
        person: str = "",
    ) -> Any:
        """Make an API key: ``key``, and whether it ``waits`` until another person confirms it."""
        body: dict[str, Any] = {"right": right, "label": label}
        if scope:
            body["scope"] = list(scope)
        if member is not None:
            body["member"] = str(member)
        if person:
            body["person"] = person
        return self._call("POST", "keys", orjson.dumps(body))

    def confirm_key(self, identifier: str) -> Any:
        """Confirm an API key that waits."""
        return self._call("POST", f"keys/{quote(identifier, '')}/confirm", b"{}")

    def revoke_key(self, identifier: str) -> Any:
        """Revoke an API key."""
        return self._call("DELETE", f"keys/{quote(identifier, '')}")

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Any:
        headers = dict(fields or {})
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        return self._read(*self._exchange(method, f"/api/v1/{path}", body, headers))

    def _read(self, status: int, answer: bytes, meant: int = 200) -> Any:
        """A JSON object; a problem of the registry is raised, unless its status is ``meant``."""
        stranger = Problem(
            Code.REGISTRY_UNREACHABLE,
            where=self._parts.netloc,
            detail=f"what answers there (HTTP status {status}) is not a registry",
        )
        try:
            value = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise stranger from error
        if not isinstance(value, dict):
            raise stranger
        if status >= 400 and status != meant:
            raise _problem(value, status)
        return _Answer(value, stranger)

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise Problem(
                Code.REGISTRY_UNREACHABLE,
                where=self._parts.netloc,
                detail=f"{method} {path}: {error or type(error).__name__}",
            ) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = self._context or ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)


class _Answer(dict[str, Any]):
    """A JSON object of the registry; who lacks a member of it is none."""

    def __init__(self, members: Mapping[str, Any], stranger: Problem) -> None:
        super().__init__(members)
        self._stranger = stranger

    def __missing__(self, key: str) -> Any:
        raise self._stranger


def _query(given: dict[str, str], asks: bool) -> str:
    given = given | ({"ask": "consents"} if asks else {})
    return f"?{urlencode(given)}" if given else ""


def _signed_own(signed: SignedOwn) -> dict[str, Any]:
    return {
        "targets": encode(signed.targets),
        "files": {path: encode(data) for path, data in signed.files.items()},
    }


def _problem(value: Any, status: int) -> Problem:
    """The registry's problem as one of our own."""
    members = value if isinstance(value, dict) else {}
    try:
        code = Code(str(members.get("type")))
    except ValueError:
        code = Code.REGISTRY_UNREACHABLE
    facts = members.get("facts")
    return Problem(
        code,
        where=str(members.get("where", "")),
        detail=str(members.get("message", f"HTTP status {status}")),
        facts=facts if isinstance(facts, dict) else {},
        status=status,
    )
