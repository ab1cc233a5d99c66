"""One run of the archive in a process of its own, which a server starts: ``-m mediator.archive``.

It reads its order (:class:`mediator.archive.orders.Order`) from standard input, so that no secret
stands in the list of processes, and prints the result.
"""

from __future__ import annotations

import os
import sys

from mediator.archive.orders import Order
from mediator.archive.work import work

NICENESS = 10

if __name__ == "__main__":
    os.nice(NICENESS)  # messages go first
    sys.stdout.buffer.write(bytes(work(Order.parse(sys.stdin.buffer.read()))))
