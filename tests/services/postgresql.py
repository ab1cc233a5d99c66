"""A PostgreSQL server for tests."""

from __future__ import annotations

import signal
from typing import ClassVar

from tests.services.server import DatabaseServer


class PostgreSql(DatabaseServer):
    """PostgreSQL with no care for durability: its data lives as long as the tests."""

    NAME: ClassVar[str] = "postgresql"
    USERS: ClassVar[tuple[str, ...]] = ("postgres", "nobody")
    STOP_SIGNAL: ClassVar[signal.Signals] = signal.SIGINT  # "fast": sessions are cut

    @classmethod
    def programs(cls) -> tuple[str, ...]:
        return ("initdb", "postgres")

    @property
    def admin_database(self) -> str:
        return "postgres"

    def initialise(self) -> None:
        self._run_program(
            self._programs["initdb"],
            f"--pgdata={self.folder}/data",
            "--username=saphan",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "16MB",
            "max_connections": "60",
            "autovacuum": "off",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._programs["postgres"], "-D", f"{self.folder}/data", *flags]

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://saphan@127.0.0.1:{self.port}/{database}"
