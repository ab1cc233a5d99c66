"""Who may do what in the registry.

A caller has one :class:`Right`, of one member where the right is a member's, and a service owner
only of the applications and services that its key names. What each right may do is the table
:data:`MAY`; whose things they are is judged by :meth:`Caller.concerns` and
:meth:`Caller.check_changes`. No right lets anybody say anything in a member's name: that takes the
member's own registry key, whoever hands it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from registry.requests.changes import OF_SERVICES, Change


class Right(StrEnum):
    """What a key or a person is to the registry."""

    OPERATOR = "operator"
    APPROVER = "approver"
    ADMINISTRATOR = "member-administrator"
    SERVICE_OWNER = "service-owner"
    AUDITOR = "auditor"
    OBSERVER = "observer"

    @property
    def is_of_member(self) -> bool:
        """Whether whoever has it belongs to one member."""
        return self in {Right.ADMINISTRATOR, Right.SERVICE_OWNER}


class Operation(StrEnum):
    """What a caller may or may not do."""

    SUBMIT = "hand in what a member signed"
    WITHDRAW = "withdraw a request"
    PROPOSE = "propose a file of the registry's own role"
    CONSENT = "consent to a change of what a member uses"
    ORDER = "ask to disable, enable, delete or merge"
    APPROVE = "approve or decline"
    PUBLISH = "publish files of the registry itself"
    READ_REQUESTS = "read requests"
    READ_NOTICES = "read notices"
    READ_ACTS = "read what was done"
    MANAGE_KEYS = "make and revoke API keys"
    CONFIRM_KEYS = "confirm API keys"


_OPERATOR, _APPROVER = Right.OPERATOR, Right.APPROVER
_OF_MEMBER = frozenset({Right.ADMINISTRATOR, Right.SERVICE_OWNER})
MAY: Mapping[Operation, frozenset[Right]] = {
    Operation.SUBMIT: _OF_MEMBER | {_OPERATOR},
    Operation.WITHDRAW: _OF_MEMBER | {_OPERATOR},
    Operation.PROPOSE: frozenset({_OPERATOR, _APPROVER, Right.ADMINISTRATOR}),
    Operation.CONSENT: _OF_MEMBER | {_OPERATOR},
    Operation.ORDER: frozenset({_OPERATOR, _APPROVER}),
    Operation.APPROVE: frozenset({_OPERATOR, _APPROVER}),
    Operation.PUBLISH: frozenset({_OPERATOR}),
    Operation.READ_REQUESTS: frozenset(Right) - {Right.OBSERVER},
    Operation.READ_NOTICES: frozenset(Right) - {Right.OBSERVER},
    Operation.READ_ACTS: frozenset({_OPERATOR, _APPROVER, Right.AUDITOR}),
    Operation.MANAGE_KEYS: frozenset({_OPERATOR}),
    Operation.CONFIRM_KEYS: frozenset({_OPERATOR, _APPROVER}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a name that stays the same (a key's id, a person's subject), and its right.

    ``scope`` holds the applications and services of a service owner, ``person`` whose key it is
    where that is told, ``key`` the API key, which may be revoked before an act begins.
    """

    id: str
    right: Right
    member: MemberId | None
    label: str
    scope: frozenset[str] = frozenset()
    person: str = ""
    key: str = ""

    @property
    def who(self) -> str:
        """The person: two keys of one person are one."""
        return self.person or self.id

    def require(self, operation: Operation) -> None:
        """Raises: Problem ``NotAuthorised`` (403) when the caller's right may not do this."""
        if self.right not in MAY[operation]:
            may = ", ".join(right for right in Right if right in MAY[operation])
            raise _forbidden(f"{self.right} may not {operation}; {may} may")

    def concerns(self, member: MemberId | None) -> bool:
        """Whether the caller may see what is of ``member``; nothing stands for the registry."""
        return not self.right.is_of_member or self.member == member

    def check_member(self, member: MemberId, where: str) -> None:
        """Raises: Problem ``NotAuthorised`` when the caller belongs to another member."""
        if not self.concerns(member):
            raise _forbidden(f"this key is of {self.member}", where)

    def check_changes(self, changes: Iterable[Change]) -> None:
        """Raises: Problem ``NotAuthorised`` when a service owner changes what is not its own."""
        if self.right is not Right.SERVICE_OWNER:
            return
        for change in changes:
            own = {change.subject, change.subject.rpartition("/")[0]}
            if change.kind not in OF_SERVICES or not own & self.scope:
                raise _forbidden(
                    f"“{change.kind} {change.subject}” is not for a service owner of "
                    f"{', '.join(sorted(self.scope))}; ask the member's administrator",
                    "submission#/role",
                )


def _forbidden(detail: str, where: str = "Authorization") -> Problem:
    return Problem(Code.NOT_AUTHORISED, where=where, detail=detail, status=403)
