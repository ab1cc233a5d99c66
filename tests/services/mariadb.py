"""A MariaDB server for tests."""

from __future__ import annotations

import signal
from typing import ClassVar

from tests.services.server import DatabaseServer


class MariaDb(DatabaseServer):
    """MariaDB with no care for durability: its data lives as long as the tests."""

    NAME: ClassVar[str] = "mariadb"
    USERS: ClassVar[tuple[str, ...]] = ("mysql", "nobody")
    STOP_SIGNAL: ClassVar[signal.Signals] = signal.SIGTERM
    DATABASE_OPTIONS: ClassVar[str] = "CHARACTER SET utf8mb4"

    @classmethod
    def programs(cls) -> tuple[str, ...]:
        return ("mariadb-install-db", "mariadbd")

    @property
    def admin_database(self) -> str:
        return "mysql"

    def initialise(self) -> None:
        self._run_program(
            self._programs["mariadb-install-db"],
            "--no-defaults",
            f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            *self._storage(),
        )

    def command(self) -> list[str]:
        return [
            self._programs["mariadbd"],
            "--no-defaults",
            f"--datadir={self.folder}/data",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--max-connections=60",
            *self._storage(),
        ]

    @staticmethod
    def _storage() -> list[str]:
        return [
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--innodb-log-file-size=8M",
            "--innodb-buffer-pool-size=24M",
            "--innodb-data-file-path=ibdata1:5M:autoextend",
            "--loose-innodb-buffer-pool-dump-at-shutdown=0",
            "--loose-innodb-buffer-pool-load-at-startup=0",
        ]

    def url(self, database: str) -> str:
        return f"mariadb+pymysql://root@127.0.0.1:{self.port}/{database}?charset=utf8mb4"
