"""What one process shows of the published state: its tree of files, and its directory.

The database says what is published; a process shows it after each act of its own, and follows what
other processes on the same database published. Both are one path: whatever has another version
than what is shown is read and shown.

Invariants:
- nothing is shown before it is committed;
- what is shown together was read in one transaction, so a state is shown whole;
- the log is out, with the proof of the state, before the state is; witnesses are asked outside of
  the transaction, for nobody shall wait for them;
- a process that was killed between the two shows the rest at its next start, as any other
  process on the database does at once.
"""

from __future__ import annotations

from datetime import datetime

import orjson
from tuf.api.metadata import Targets

from exchange.identifiers import MemberId
from exchange.registrations import INSTANCE_TARGET, STANDING_TARGET, parse_instance
from exchange.registry.delegations import STANDING_ROLE, read_delegations, role_name
from exchange.registry.endings import End
from exchange.registry.standing import parse_standing
from registry.directory.contents import Directory
from registry.publication.publish import OWN_ROLE, read
from registry.publication.tree import Tree
from registry.store import Publication, Store

_ONLINE = ("snapshot", "timestamp")


class Shown:
    """What this process shows: in ``tree`` and in ``directory``."""

    def __init__(self, store: Store, tree: Tree, directory: Directory) -> None:
        self._store = store
        self._tree = tree
        self._directory = directory
        self._versions: dict[str, int] = {}
        self._members: dict[str, MemberId] = {}
        self.ends: dict[MemberId, End] = {}
        """When the role of each member ends."""

    @property
    def version(self) -> int | None:
        """The version of the timestamp that is out, or a newer one is by now."""
        return self._versions.get("timestamp")

    def follow(self, *, check: bool = False) -> bool:
        """Show what is published; tells whether anything was new.

        Args:
            check: whether files that are in the tree already are read and compared.
        """
        # Every publication stamps: one row tells whether there was one.
        if not check and self._store.version("timestamp") == self.version:
            return False
        while not self._follow(check):
            pass  # another process published meanwhile
        return True

    def _follow(self, check: bool) -> bool:
        proven = self._store.version("snapshot")
        self._tree.write_log(proven or 0)
        with self._store.transaction():
            versions = self._store.versions()
            if versions.get("snapshot") != proven:
                return False
            changed = [
                name for name, version in versions.items() if self._versions.get(name) != version
            ]
            self._tree.write_roots(self._store.roots(), check=check)
            if OWN_ROLE in changed:
                self._show_own(check)
            for name in changed:
                if name not in _ONLINE and name != OWN_ROLE:
                    self._show(name, check)
            # Last, since they name the rest.
            online = {name: role for name in _ONLINE if (role := self._store.role(name))}
            self._tree.write(Publication(online, {}), check=check)
        self._versions = versions
        return True

    def _show_own(self, check: bool) -> None:
        files, role = self._store.files(OWN_ROLE), self._store.role(OWN_ROLE)
        assert role is not None  # noqa: S101  # a registry has it since it was made
        self._tree.write(Publication({OWN_ROLE: role}, {OWN_ROLE: files}), check=check)
        self._directory.load_own(files)
        instance = parse_instance(files[INSTANCE_TARGET]).instance
        delegated = read_delegations(read(Targets, role[1], OWN_ROLE), instance)
        members = {role_name(member): member for member in delegated}
        for name in self._members.keys() - members.keys():
            self._directory.forget(self._members[name])
            self.ends.pop(self._members[name], None)
        self._members = members

    def _show(self, name: str, check: bool) -> None:
        files, role = self._store.files(name), self._store.role(name)
        if role is None:
            return
        self._tree.write(Publication({name: role}, {name: files}), check=check)
        if name == STANDING_ROLE:
            self._directory.standing = parse_standing(files[STANDING_TARGET])
        member = self._members.get(name)
        if member is not None:
            self._directory.put(member, role[0], files)
            self.ends[member] = _end_of(role[1])


def _end_of(role: bytes) -> End:
    """When a role ends that was judged before it was published."""
    return End(datetime.fromisoformat(orjson.loads(role)["signed"]["expires"]))
