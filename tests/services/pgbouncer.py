"""PgBouncer in front of a PostgreSQL server for tests, in the mode where each transaction may be in
another session, and where sessions keep what is set in them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import ClassVar

from sqlalchemy import make_url

from tests.services.server import DatabaseServer


class PgBouncer(DatabaseServer):
    """A pooler with one session for each database: whoever comes next gets what was left in it."""

    NAME: ClassVar[str] = "pgbouncer"
    USERS: ClassVar[tuple[str, ...]] = ("postgres", "nobody")
    STOP_SIGNAL: ClassVar[signal.Signals] = signal.SIGTERM  # at once

    def __init__(self, programs: dict[str, str], log: Path) -> None:
        super().__init__(programs, log)
        self._behind: DatabaseServer | None = None

    @classmethod
    def programs(cls) -> tuple[str, ...]:
        return ("pgbouncer",)

    @property
    def admin_database(self) -> str:
        return "postgres"

    def initialise(self) -> None:
        (self.folder / "users").write_text('"saphan" ""\n')

    def put_before(self, server: DatabaseServer) -> None:
        """Be the pooler of all databases of ``server``; before the start."""
        self._behind = server
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": f"{self.folder}/users",
            "pool_mode": "transaction",
            "default_pool_size": 1,
            "server_login_retry": 1,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        text = f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
        (self.folder / "ini").write_text(text + "\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [self._programs["pgbouncer"], f"{self.folder}/ini"]

    def url(self, database: str) -> str:
        assert self._behind is not None
        there = make_url(self._behind.url(database))
        return there.set(port=self.port).render_as_string(hide_password=False)
