"""What the database servers of tests have in common: programs, a user, a port, a process."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from console.reference_world.processes import free_ports

START_S = 30.0
STOP_S = 20.0


class Missing(Exception):
    """The server's programs are not on this machine."""


class DatabaseServer:
    """A server with a data folder, a port and a process of its own; it can stop and start again."""

    NAME: ClassVar[str]
    USERS: ClassVar[tuple[str, ...]]
    STOP_SIGNAL: ClassVar[signal.Signals]

    def __init__(self, programs: dict[str, str], log: Path) -> None:
        self._programs = programs
        self._log = log
        # Not below pytest's folder: that one is closed to the user the server runs as.
        self.folder = Path(tempfile.mkdtemp(prefix=f"saphan-{self.NAME}-"))
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:  # neither server runs as root
            user = next(name for name in self.USERS if _exists(name))
            self._account = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
            os.chown(self.folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Find the programs and lay out the data folder.

        Raises:
            Missing: when a program cannot be found.
        """
        server = cls({name: _find(name, cls.NAME) for name in cls.programs()}, folder / "log")
        try:
            server.initialise()
        except BaseException:
            server.destroy()
            raise
        return server

    @classmethod
    def programs(cls) -> tuple[str, ...]:
        raise NotImplementedError

    def initialise(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def url(self, database: str) -> str:
        """The SQLAlchemy address of ``database``."""
        raise NotImplementedError

    @property
    def admin_database(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        """Start and wait until it answers; nothing when it runs already."""
        if self._process is not None:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.folder, **self._account
            )
        end = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                tail = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.NAME} did not start:\n{tail}")
            time.sleep(0.03)

    def stop(self, with_signal: signal.Signals | None = None) -> None:
        """Stop, by its own process id; nothing when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(with_signal or self.STOP_SIGNAL)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S)
        self._process = None

    def destroy(self) -> None:
        """Stop and remove the data folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self, name: str) -> str:
        """Create the database ``name`` and give its address."""
        self.run(f"CREATE DATABASE {name} {self.DATABASE_OPTIONS}")
        return self.url(name)

    DATABASE_OPTIONS: ClassVar[str] = ""

    def run(self, statement: str, database: str | None = None) -> None:
        """Run one statement as the server's administrator."""
        engine = create_engine(
            self.url(database or self.admin_database),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )
        with engine.connect() as connection:
            connection.execute(text(statement))

    def _answers(self) -> bool:
        try:
            self.run("SELECT 1")
        except SQLAlchemyError:
            return False
        return True

    def _run_program(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, cwd=self.folder, **self._account)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {(done.stdout + done.stderr).decode()[-2000:]}")


def _find(name: str, server: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        installed = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        found = installed[-1] if installed else None
    if found is None:
        raise Missing(f"{server} is not installed: there is no program {name!r}")
    return found


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
