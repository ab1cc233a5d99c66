"""From a mapping file to what tells its changes: which, of what source, woken by what."""

from __future__ import annotations

from collections.abc import Mapping as Map
from pathlib import Path

from sqlalchemy import URL

from adapters import kinds
from adapters.changes import noted
from adapters.changes.listening import Listener, Timer
from adapters.changes.owner import CHANNEL, owner_sql
from adapters.changes.views import EVERYBODY, Audience
from adapters.mapping.changes import Changes
from adapters.mapping.model import Mapping
from adapters.records import Records
from adapters.sources.addresses import parse_url
from adapters.sources.variables import resolve
from exchange.problems import Code, Problem


def read(path: Path, name: str | None) -> tuple[Mapping, Changes]:
    """The mapping at ``path`` and its changes of this name, or its only ones.

    Raises:
        Problem: ``InvalidMapping`` for a fault in the file, a kind of source whose changes are
            not told, or a name that is not there.
    """
    wrapping = kinds.read(path)
    changes = wrapping.mapping.changes if isinstance(wrapping, Records) else {}
    if not isinstance(wrapping, Records) or not changes:
        detail = "has no key 'changes', which says whose changes are told: see docs/adapters.md"
        raise Problem(Code.INVALID_MAPPING, where=str(path), detail=detail)
    if name is None and len(changes) == 1:
        name = next(iter(changes))
    if name is None or name not in changes:
        detail = f"name one of its changes: {', '.join(changes)}"
        raise Problem(Code.INVALID_MAPPING, where=f"{path} /changes", detail=detail)
    return wrapping.mapping, changes[name]


def owner_of(mapping: Mapping, changes: Changes) -> str:
    """The source of the events (CloudEvents 1.0, 3.1.1): the same for the same changes."""
    return f"/{mapping.application}/changes/{changes.name}"


def state_of(mapping: Mapping, changes: Changes, audience: Audience) -> str:
    """What a state is the state of: the changes, as one audience sees them.

    Raises:
        Problem: ``InvalidUsage`` when who sees what depends on a client that nobody named.
    """
    record = changes.query.record
    if record.by_caller and audience.caller.client is None:
        detail = f"who sees what of {record.name} depends on the caller: name whom this is for"
        raise Problem(Code.INVALID_USAGE, where="--client", detail=detail)
    owner = owner_of(mapping, changes)
    return owner if audience == EVERYBODY else f"{owner} for {audience}"


def waiter(mapping: Mapping, changes: Changes, environ: Map[str, str]) -> Listener | Timer:
    """What waits until it is worth looking again.

    Raises:
        Problem: ``InvalidMapping`` when notifications are wanted of another kind of database.
    """
    if changes.log is None and changes.listen is None:
        return Timer()
    url = _logging_url(mapping, changes, environ)
    if url.get_backend_name() == "postgresql":
        channels = [CHANNEL] if changes.log else []
        channels += [changes.listen] if changes.listen else []
        return Listener(url, channels, mapping.source.limits.connect_timeout_s)
    if changes.listen is not None:
        raise _only(changes)
    return Timer()


def sql_for_owner(mapping: Mapping, changes: Changes, environ: Map[str, str]) -> str:
    """What the database's owner runs once.

    Raises:
        Problem: ``InvalidMapping`` when the method needs nothing of the owner, or the database has
            no log.
    """
    if changes.log is None:
        detail = f"the method {changes.method} needs nothing of the database's owner"
        raise Problem(Code.INVALID_MAPPING, where=changes.where, detail=detail)
    url = _logging_url(mapping, changes, environ)
    if url.get_backend_name() == "mariadb":
        return noted.owner_sql(changes, changes.log)
    return owner_sql(changes, changes.log, url.username)


def _logging_url(mapping: Mapping, changes: Changes, environ: Map[str, str]) -> URL:
    """The address of the database, of a kind that has logs."""
    source = mapping.source
    url = parse_url(resolve(source.url, environ, source.where), source.where)
    if url.get_backend_name() not in ("postgresql", "mariadb"):
        raise _only(changes)
    return url


def _only(changes: Changes) -> Problem:
    detail = "only PostgreSQL notifies, and only it and MariaDB have a log"
    detail += ": use comparison or watermark"
    return Problem(Code.INVALID_MAPPING, where=changes.where, detail=detail)
