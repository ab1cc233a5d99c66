"""API keys, and facts that were set when the registry was made."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime
from hmac import compare_digest
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, Text, delete, insert, select, update

from exchange.documents import format_document, parse_document
from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.actors.roles import Caller, Right
from registry.store.database import METADATA, Database

FACTS = Table(
    "facts",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_strict=True,
)
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("right", Text, nullable=False),
    Column("member", Text),
    Column("label", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("scope", Text, nullable=False, server_default="[]"),
    Column("person", Text, nullable=False, server_default=""),  # without: the key's own id
    Column("made_by", Text, nullable=False, server_default=""),
    Column("confirmed_by", Text, server_default=""),  # null: it waits; empty: nobody had to
    sqlite_strict=True,
)
MAX_SCOPE_BYTES = 64 << 10


class ApiKeys(Database):
    """The API keys and the facts of the store."""

    def add_api_key(
        self,
        right: Right,
        member: MemberId | None,
        label: str,
        at: datetime,
        scope: Collection[str] = (),
        *,
        person: str = "",
        made_by: str = "",
        waits: bool = False,
    ) -> str:
        """Make an API key and return it; only its digest is kept, so it is shown this once. One
        that ``waits`` is good for nothing until it is confirmed.

        Raises:
            Problem: ``InvalidRequest`` when a member's key names no member, or another one does.
        """
        if right.is_of_member is (member is None):
            raise Problem(
                Code.INVALID_REQUEST,
                where="member",
                detail="a key of a member's right, and no other, names its member",
            )
        if (right is Right.SERVICE_OWNER) is not bool(scope):
            raise Problem(
                Code.INVALID_REQUEST,
                where="scope",
                detail="a service owner's key, and no other, names its applications and services",
            )
        identifier, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._run(
            insert(API_KEYS).values(
                id=identifier,
                right=right.value,
                member=None if member is None else str(member),
                label=label,
                digest=_key_digest(secret),
                created_at=at.isoformat(),
                scope=format_document(sorted(scope)).decode(),
                person=person,
                made_by=made_by,
                confirmed_by=None if waits else "",
            )
        )
        return f"saphan-{identifier}-{secret}"

    def caller(self, api_key: str) -> Caller:
        """Who holds ``api_key``.

        Raises:
            Problem: ``NotAuthorised`` when nobody does.
        """
        prefix, _, rest = api_key.partition("-")
        identifier, _, secret = rest.partition("-")
        rows = self._rows(
            select(API_KEYS).where(
                API_KEYS.c.id == identifier[:64].replace("\0", ""), API_KEYS.c.revoked_at.is_(None)
            )
        )
        # Compared also when there is no such key, so that the time tells nothing.
        digest = bytes(rows[0].digest) if rows else bytes(32)
        if not compare_digest(digest, _key_digest(secret)) or not rows or prefix != "saphan":
            raise Problem(Code.NOT_AUTHORISED, where="Authorization", detail="unknown API key")
        row = rows[0]
        if row.confirmed_by is None:
            raise Problem(
                Code.NOT_AUTHORISED,
                where="Authorization",
                detail="this key waits: another operator or approver than who made it confirms it "
                f"(saphan registry key-confirm {row.id})",
                status=403,
            )
        member = None if row.member is None else MemberId.parse(row.member)
        scope = frozenset(_scope(row.scope))
        return Caller(row.id, Right(row.right), member, row.label, scope, row.person, row.id)

    def check_caller(self, caller: Caller) -> None:
        """Raises: Problem ``NotAuthorised`` when the caller's API key was revoked meanwhile."""
        if not caller.key:
            return
        query = select(API_KEYS.c.id).where(
            API_KEYS.c.id == caller.key, API_KEYS.c.revoked_at.is_(None)
        )
        if not self._rows(query):
            raise Problem(
                Code.NOT_AUTHORISED, where="Authorization", detail="this API key was revoked"
            )

    def people(self, rights: Collection[Right]) -> set[str]:
        """Whose keys of these rights there are or were, those that wait left out."""
        rows = self._rows(
            select(API_KEYS.c.id, API_KEYS.c.person).where(
                API_KEYS.c.right.in_([right.value for right in rights]),
                API_KEYS.c.confirmed_by.is_not(None),
            )
        )
        return {row.person or row.id for row in rows}

    def waiting_key(self, identifier: str) -> tuple[str, str]:
        """Whose key it is that waits, and who made it.

        Raises:
            Problem: ``NotFound`` when no such key waits.
        """
        rows = self._rows(
            select(API_KEYS).where(
                API_KEYS.c.id == identifier[:64].replace("\0", ""),
                API_KEYS.c.revoked_at.is_(None),
                API_KEYS.c.confirmed_by.is_(None),
            )
        )
        if not rows:
            raise Problem(Code.NOT_FOUND, where=f"keys/{identifier}", detail="no such key waits")
        return rows[0].person or rows[0].id, rows[0].made_by

    def confirm_api_key(self, identifier: str, by: str) -> None:
        """Let a key that waited be good."""
        self._run(update(API_KEYS).where(API_KEYS.c.id == identifier).values(confirmed_by=by))

    def api_keys(self) -> list[dict[str, Any]]:
        """All API keys, without their secrets."""
        shown = [column for column in API_KEYS.c if column.name != "digest"]
        rows = self._rows(select(*shown).order_by(API_KEYS.c.created_at, API_KEYS.c.id))
        return [{str(name): value for name, value in row._mapping.items()} for row in rows]

    def revoke_api_key(self, identifier: str, at: datetime) -> None:
        """Raises: Problem ``NotFound`` when there is no such valid key."""
        done = self._run(
            update(API_KEYS)
            .where(API_KEYS.c.id == identifier, API_KEYS.c.revoked_at.is_(None))
            .values(revoked_at=at.isoformat())
        )
        if done.rowcount == 0:
            raise Problem(Code.NOT_FOUND, where=f"keys/{identifier}", detail="no such valid key")

    def fact(self, name: str) -> str:
        """A fact that was set when the registry was made."""
        return str(self._rows(select(FACTS.c.value).where(FACTS.c.name == name))[0][0])

    def put_fact(self, name: str, value: str) -> None:
        """Set a fact."""
        with self.transaction():
            self._run(delete(FACTS).where(FACTS.c.name == name))
            self._run(insert(FACTS).values(name=name, value=value))


def _scope(text: str) -> list[str]:
    names: list[str] = parse_document(text.encode(), MAX_SCOPE_BYTES, "scope").value
    return names


def _key_digest(secret: str) -> bytes:
    # The secret has 256 random bits, so a plain digest cannot be guessed back.
    return hashlib.sha256(secret.encode()).digest()
