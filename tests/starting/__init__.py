"""How tests start processes of Saphan: forked from one that has loaded the program already.

Most of what a short-lived server costs is to import it. A *template* process
(:mod:`tests.starting.template`), one for each worker of the tests, imports everything once; a start
is a fork of it, which then runs the command from its beginning: its own process id, files, folder,
environment, signals and end. It is a child of the process that asked, as after any start.

A start that asks for more than that is a plain one (:func:`_is_plain`), and so is every one of
these: with :func:`plainly` (memory and start are measured), by a shell, and by a process of Saphan
itself: `saphan demo` starts its servers as everywhere.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

MOST_BYTES: Final = 1 << 18  # of a job
ANSWER_BYTES: Final = 64
_PLAIN: Final = subprocess.Popen
_PLAIN_SIGNATURE: Final = inspect.signature(_PLAIN._execute_child)  # type: ignore[attr-defined]
_PR_SET_CHILD_SUBREAPER: Final = 36
# What the interpreter and the libraries read at their start, before any of our code runs.
_READ_AT_START: Final = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_")
_READY_S: Final = 120
_ANSWER_S: Final = 60

_is_plain_now = False


@contextmanager
def plainly() -> Iterator[None]:
    """Every start within is a plain one."""
    global _is_plain_now
    _is_plain_now, before = True, _is_plain_now
    try:
        yield
    finally:
        _is_plain_now = before


class Template:
    """The process that is forked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._environment = dict(os.environ)
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES)
        with theirs:
            self._process = _PLAIN(
                [sys.executable, "-m", "tests.starting.template", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._ours.settimeout(_READY_S)
        assert self._ours.recv(ANSWER_BYTES) == b"ready"
        self._ours.settimeout(_ANSWER_S)

    def close(self) -> None:
        """It ends when it is not asked any more."""
        self._ours.close()
        self._process.wait(_ANSWER_S)

    def is_for(self, environment: Mapping[str, str]) -> bool:
        """Whether a process started plainly in ``environment`` would begin as the template did."""
        return _read_at_start(environment) == _read_at_start(self._environment)

    def fork(self, job: Mapping[str, object], files: Sequence[int]) -> int:
        """Start a process on three files; returns its id. It is a child of this process."""
        data = json.dumps(job).encode()
        with self._lock:
            # Whose parent is gone becomes a child of the next process above that takes it.
            _take_orphans(True)
            try:
                socket.send_fds(self._ours, [data], files)
                return int(self._ours.recv(ANSWER_BYTES))
            finally:
                _take_orphans(False)


class _Popen(subprocess.Popen):  # type: ignore[type-arg]
    """A process that is forked from the template where that is the same as a plain start."""

    def _execute_child(self, *args: Any) -> None:
        asked = _PLAIN_SIGNATURE.bind(self, *args).arguments
        command = _command(asked["args"])
        environment = os.environ if asked["env"] is None else asked["env"]
        if command is None or _is_plain(asked) or not _template().is_for(environment):
            super()._execute_child(*args)  # type: ignore[misc]
            return
        ends = (asked[name] for name in ("p2cread", "c2pwrite", "errwrite"))
        files = [own if end == -1 else end for own, end in enumerate(ends)]
        job = {
            "command": command,
            "folder": os.path.abspath(os.fsdecode(asked["cwd"] or ".")),
            "environment": dict(environment),
            "is_leader": bool(asked["start_new_session"]),
        }
        self.pid = _template().fork(job, files)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in pipes))  # type: ignore[attr-defined]


def _command(asked: object) -> list[str] | None:
    """Module and arguments of ``python -m module arguments``, if it is of Saphan."""
    if not isinstance(asked, list | tuple):
        return None
    words = [os.fsdecode(word) for word in asked]
    if words[:3] != [sys.executable, "-m", "console.cli.main"]:
        return None
    return words[2:]


def _is_plain(asked: Mapping[str, Any]) -> bool:
    """Whether something is asked for that a fork of the template does not give."""
    nothing: dict[str, object] = {
        "executable": None, "preexec_fn": None, "pass_fds": (), "shell": False, "gid": None,
        "gids": None, "uid": None, "umask": -1, "process_group": -1, "close_fds": True,
    }  # fmt: skip
    return _is_plain_now or any(asked.get(name, value) != value for name, value in nothing.items())


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


def _take_orphans(whether: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(whether), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


_one: Template | None = None
_one_lock = threading.Lock()


def _template() -> Template:
    global _one
    with _one_lock:
        if _one is None:
            _one = Template()
        return _one


@contextmanager
def forking() -> Iterator[None]:
    """Processes of Saphan that this one starts are forked from a template, which is made when it is
    first needed."""
    global _one
    subprocess.Popen = _Popen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = _PLAIN  # type: ignore[misc]
        if _one is not None:
            _one.close()
            _one = None
