"""One act at a time: judged and written in one transaction, shown after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from exchange.registry.endings import End
from registry.actors.roles import Caller
from registry.publication.following import Shown
from registry.requests.present import Present

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Acting")


class Acting(Present):
    """The part of :class:`registry.registrar.Registrar` that holds an act together."""

    _shown: Shown

    def follow(self) -> bool:
        """Show what other processes published; tells whether there was anything."""
        return self._shown.follow()

    @property
    def shown(self) -> int | None:
        """The version of the timestamp that is shown."""
        return self._shown.version

    def all_ends(self) -> dict[str, End]:
        """When each role ends: the registry's own, and those of members by their ids."""
        return self.ends() | {str(member): end for member, end in self._shown.ends.items()}

    @contextmanager
    def acting(self) -> Iterator[None]:
        """An act: judged and written in one transaction, against what is published then by
        whichever process; what it publishes is shown after it. One within another is part of it."""
        if self._store.is_in_transaction:
            yield
            return
        try:
            with self._store.transaction():
                self.follow()
                yield
        except BaseException:
            self._decoded = None  # it may be of a version that was never published
            raise
        self.follow()


def act(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A method that is one act: see :meth:`Acting.acting`. Its caller's API key is looked at again
    within it: a long body, or others' acts, may have taken longer than the key was good."""

    @wraps(method)
    def run(self: S, /, *args: P.args, **named: P.kwargs) -> T:
        with self.acting():
            for one in (*args, *named.values()):
                if isinstance(one, Caller):
                    self._store.check_caller(one)
            return method(self, *args, **named)

    return run
