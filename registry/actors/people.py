"""Whose API keys are: acts on keys, so that two who agree are two people.

Two approvals are counted by people (:attr:`registry.actors.roles.Caller.who`), not by keys. A key
names its person; without a name, it is a person of its own. Where policy asks for two, one operator
alone cannot make a second person up: a key that may decide waits until somebody confirms it who is
neither its maker nor its holder. The first such key beside the first operator's has nobody who
could, and is good at once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.acting import Acting, act
from registry.actors.roles import MAY, Caller, Operation, Right
from registry.publication.publishing import Terms

MAX_PERSON: Final = 100
_LIKE_A_KEY: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
DECIDING: Final = MAY[Operation.APPROVE] | MAY[Operation.MANAGE_KEYS]
"""The rights whose keys count where two must agree, or make such keys."""


class NewKey(NamedTuple):
    """A key as it is shown once, and whether somebody must confirm it before it is good."""

    key: str
    waits: bool


class People(Acting):
    """The part of :class:`registry.registrar.Registrar` that gives and takes API keys."""

    _terms: Terms

    @act
    def add_key(
        self,
        right: Right,
        member: MemberId | None,
        label: str,
        caller: Caller,
        at: datetime,
        *,
        scope: Collection[str] = (),
        person: str = "",
    ) -> NewKey:
        """Make an API key of a person; without a name it is a person of its own.

        Raises:
            Problem: ``NotAuthorised``; ``InvalidRequest`` for a person's name that is none, or as
                :meth:`registry.store.ApiKeys.add_api_key`.
        """
        caller.require(Operation.MANAGE_KEYS)
        named = parse_person(person)
        waits = right in DECIDING and self._terms.approval.asks_for_two and self._has_two(caller)
        key = self._store.add_api_key(
            right, member, label, at, scope, person=named, made_by=caller.who, waits=waits
        )
        identifier = key.split("-")[1]
        detail = {"right": right.value, "label": label, "person": named, "waits": waits}
        self._store.record(at, caller.id, "add key", identifier, detail)
        return NewKey(key, waits)

    @act
    def confirm_key(self, identifier: str, caller: Caller, at: datetime) -> None:
        """Say that a key that waits is of the person that it names.

        Raises:
            Problem: ``NotAuthorised`` (403), also for who made the key and for whose it is;
                ``NotFound`` when no such key waits.
        """
        caller.require(Operation.CONFIRM_KEYS)
        holder, maker = self._store.waiting_key(identifier)
        if caller.who in {holder, maker}:
            raise Problem(
                Code.NOT_AUTHORISED,
                where=f"keys/{identifier}",
                detail="another operator or approver confirms it: not who made it, not whose it is",
                status=403,
            )
        self._store.confirm_api_key(identifier, caller.who)
        self._store.record(at, caller.id, "confirm key", identifier, {"person": holder})

    @act
    def revoke_key(self, identifier: str, caller: Caller, at: datetime) -> None:
        """Take a key away; one person may, so that a stolen one is stopped at once.

        Raises:
            Problem: ``NotAuthorised``; ``NotFound`` when there is no such valid key.
        """
        caller.require(Operation.MANAGE_KEYS)
        self._store.revoke_api_key(identifier, at)
        self._store.record(at, caller.id, "revoke key", identifier, {})

    def _has_two(self, caller: Caller) -> bool:
        """Whether there has been a second person; one who was taken away since counts, too, or
        taking the other away would be the way around."""
        return len(self._store.people(DECIDING) | {caller.who}) > 1


def parse_person(text: str) -> str:
    """A person's name as it is compared; an issuer's subject is ``oidc:SUBJECT``.

    Raises:
        Problem: ``InvalidRequest`` for one that is too long, is not printable, or could be taken
            for the identifier of another key.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if len(name) > MAX_PERSON or not name.isprintable() or _LIKE_A_KEY.fullmatch(name):
        raise Problem(
            Code.INVALID_REQUEST,
            where="person",
            detail=f"a name of at most {MAX_PERSON} printable characters, or oidc:SUBJECT; "
            "not twelve hexadecimal digits, which are the name of a key",
        )
    return name
