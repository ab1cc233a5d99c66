"""The process that is forked: it has imported the program, and has one thread and no open file.

It takes one job after the other from a socket: a JSON document with three files (standard input,
output, error). A fork of a fork runs it, so that it is a child not of the template but of the
process above; the answer is its process id. The template ends when nobody can ask any more.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import console.cli
from adapters.kinds import KINDS
from tests.starting import ANSWER_BYTES, MOST_BYTES

# It loads duckdb, which complains at the end of a process that did not use it.
_LEFT_OUT = {"console.cli.audit.stats"}


def load() -> None:
    """Import every command, and what commands import when they run."""
    for module in pkgutil.walk_packages(console.cli.__path__, "console.cli."):
        if module.name not in _LEFT_OUT:
            importlib.import_module(module.name)
    used = ("mediator.server", "registry.service", "adapters.service", "uvloop", "_strptime")
    for name in (*used, *KINDS.values()):
        importlib.import_module(name)


def next_job(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Wait for jobs and fork for each. Returns in each fork with its job and files, and in the
    template itself with nothing when it is not needed any more."""
    while True:
        data, files, _, _ = socket.recv_fds(channel, MOST_BYTES, 3)
        if not data:
            return None
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            process = os.fork()
            if process == 0:
                os.close(read)
                os.close(write)
                channel.close()
                return json.loads(data), files
            os.write(write, str(process).encode())
            os._exit(0)
        for file in (write, *files):
            os.close(file)
        os.waitpid(between, 0)  # from now on it has its new parent
        channel.send(os.read(read, ANSWER_BYTES))
        os.close(read)


def become(job: dict[str, Any], files: list[int]) -> None:
    """Run the job in this process, as if it had been started for it."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in set(files) - {0, 1, 2}:
        os.close(file)
    if job["is_leader"]:
        os.setsid()
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    sys.path[0] = job["folder"]
    module, *arguments = job["command"]
    sys.argv = [module, *arguments]
    # It was imported before, by commands that use it.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    end(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))


def end(program: Callable[[], object]) -> NoReturn:
    """Run the program and end as the interpreter does: with its exit code, after its threads, what
    it registered for its end, and what it printed. But what it holds is not taken apart object by
    object: that copies all memory which it shares with the template, and is most of what a short
    command costs."""
    code = 0
    try:
        program()
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        if code and not isinstance(asked.code, int):
            print(asked.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120  # as the interpreter's, when it cannot say it
    os._exit(code)


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    load()
    gc.collect()
    gc.freeze()
    tasks = os.listdir("/proc/self/task")
    assert len(tasks) == 1, "a process with threads cannot be forked"
    channel.send(b"ready")
    found = next_job(channel)
    if found is not None:
        become(*found)


if __name__ == "__main__":
    main()
