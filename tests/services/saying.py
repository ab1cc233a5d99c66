"""How a child process tells its test what it did: whole lines, on a channel of their own."""

from __future__ import annotations

import os
from collections.abc import Callable


def own_channel() -> Callable[[object], None]:
    """Take standard output for lines to the test alone; logs and prints go to standard error.

    A line is one write to a pipe, shorter than what POSIX writes at once (PIPE_BUF): a kill leaves
    it whole or not there at all, and nothing that another thread prints comes between.
    """
    channel = os.dup(1)
    os.dup2(2, 1)

    def say(line: object) -> None:
        os.write(channel, f"{line}\n".encode())

    return say
