"""Fetching over real sockets, from servers that behave and servers that do not."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)

from mediator.registry_copy.fetcher import RegistryFetcher

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def server(handle: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """A server on a free port; ``handle`` gets each connection and its number."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            number = len(connections)
            threading.Thread(target=serve, args=(connection, number), daemon=True).start()

    def serve(connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            handle(connection, number)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x.json"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            connection.close()
        thread.join(2)


def answer(*parts: bytes, pause_s: float = 0.0, close: bool = False) -> Callable[..., None]:
    """Answer every request with ``parts``."""

    def handle(connection: socket.socket, number: int) -> None:
        while connection.recv(65536):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
            if close:
                connection.close()
                return

    return handle


def trickle(*parts: bytes) -> Callable[..., None]:
    """Answer with ``parts``, the last of them byte by byte: never silent, never at an end."""
    *whole, last = parts
    return answer(*whole, *(bytes([byte]) for byte in last), pause_s=0.05)


@pytest.fixture
def fetcher() -> Iterator[RegistryFetcher]:
    fetcher = RegistryFetcher()
    yield fetcher
    fetcher.close()


@pytest.fixture
def hasty() -> Iterator[RegistryFetcher]:
    fetcher = RegistryFetcher(silence_s=0.3, total_s=0.6)
    yield fetcher
    fetcher.close()


def test_a_connection_is_kept(fetcher: RegistryFetcher) -> None:
    """Several files come over one connection."""
    seen: list[int] = []

    def handle(connection: socket.socket, number: int) -> None:
        seen.append(number)
        answer(OK)(connection, number)

    with server(handle) as url:
        for _ in range(3):
            assert fetcher.download_bytes(url, 100) == b"hello"
    assert seen == [1]


def test_a_kept_connection_that_was_closed_is_replaced(fetcher: RegistryFetcher) -> None:
    """A registry that restarts between two polls is not a failed poll."""
    with server(answer(OK, close=True)) as url:
        assert fetcher.download_bytes(url, 100) == b"hello"
        time.sleep(0.05)
        assert fetcher.download_bytes(url, 100) == b"hello"


def test_an_error_status_is_told_and_the_connection_stays(fetcher: RegistryFetcher) -> None:
    """404 is how the end of the chain of roots looks."""
    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
    with server(answer(not_found)) as url:
        for _ in range(2):
            with pytest.raises(DownloadHTTPError) as caught:
                fetcher.download_bytes(url, 100)
            assert caught.value.status_code == 404


def test_a_redirect_is_not_followed(fetcher: RegistryFetcher) -> None:
    """The registry's address is what was configured."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with server(answer(moved)) as url, pytest.raises(DownloadHTTPError):
        fetcher.download_bytes(url, 100)


@pytest.mark.parametrize(
    ("handle", "error"),
    [
        (answer(), SlowRetrievalError),
        (
            answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", pause_s=2),
            SlowRetrievalError,
        ),
        (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", close=True), DownloadError),
        (answer(b"nonsense\r\n\r\n", close=True), DownloadError),
        (
            answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", *[b"x"] * 98, pause_s=0.1),
            SlowRetrievalError,
        ),
        (answer(OK.replace(b"5", b"9999999999999")), DownloadError),
        (trickle(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99), SlowRetrievalError),
        (
            trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 99),
            SlowRetrievalError,
        ),
    ],
)
def test_a_bad_server_ends_in_a_download_error_in_time(
    hasty: RegistryFetcher, handle: Callable[..., None], error: type[Exception]
) -> None:
    """Silence, a cut, nonsense, a trickle, too much: an error within the deadlines."""
    started = time.monotonic()
    with server(handle) as url, pytest.raises(error):
        hasty.download_bytes(url, 100)
    assert time.monotonic() - started < 4.5  # the shortest trickle takes five seconds


def test_an_address_that_drips_ends_the_round() -> None:
    """Many files, each within its own deadline: together they may take what they bring is worth."""
    fetcher = RegistryFetcher(round_s=0.0)

    def all_files(url: str) -> None:
        for _ in range(1_000):
            fetcher.download_bytes(url, 100)
            time.sleep(0.01)  # what the server takes for its five bytes

    with server(answer(OK)) as url:
        fetcher.begin()
        with pytest.raises(SlowRetrievalError, match="gives less than"):
            all_files(url)
    fetcher.close()


def test_a_new_round_has_its_own_time(fetcher: RegistryFetcher) -> None:
    """What one address took is not taken from the next."""
    with server(answer(OK)) as url:
        fetcher._began -= 10_000
        with pytest.raises(SlowRetrievalError, match="gives less than"):
            fetcher.download_bytes(url, 100)
        fetcher.begin()
        assert fetcher.download_bytes(url, 100) == b"hello"


def test_an_address_that_http_cannot_carry_is_a_download_error(fetcher: RegistryFetcher) -> None:
    """Names of files come from members; an odd one fails alone."""
    with server(answer(OK)) as url:
        for name in ("ກ.json", "a b.json"):
            with pytest.raises(DownloadError):
                fetcher.download_bytes(url.replace("x.json", name), 100)
        fetcher.prefetch({url: 5, url.replace("x.json", "ກ.json"): 5})
        assert fetcher.download_bytes(url, 100) == b"hello"


def test_nobody_there_is_a_download_error(fetcher: RegistryFetcher) -> None:
    """A closed port fails at once."""
    with pytest.raises(DownloadError):
        fetcher.download_bytes("http://127.0.0.1:1/x", 100)
    with pytest.raises(DownloadError):
        fetcher.download_bytes("file:///etc/passwd", 100)


def test_prefetched_files_are_handed_out_once(fetcher: RegistryFetcher) -> None:
    """What failed or was too long beforehand is fetched when it is asked for."""
    with server(answer(OK)) as url:
        fetcher.prefetch({url: 100, f"{url}2": 4, "http://127.0.0.1:1/x": 9})
        before = fetcher.requests
        assert fetcher.download_bytes(url, 100) == b"hello"
        assert fetcher.requests == before
        assert fetcher.download_bytes(f"{url}2", 100) == b"hello"
        assert fetcher.download_bytes(url, 100) == b"hello"
        assert fetcher.requests == before + 2


def test_a_closed_fetcher_fetches_no_more(fetcher: RegistryFetcher) -> None:
    """Closing is idempotent."""
    with server(answer(OK)) as url:
        fetcher.download_bytes(url, 100)
        fetcher.close()
        fetcher.close()
        with pytest.raises(DownloadError):
            fetcher.download_bytes(url, 100)


def compressed(content: bytes, coding: bytes = b"gzip") -> bytes:
    """A whole answer with a content coding."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (coding, len(content)) + content


def test_compressed_content_is_read_within_its_bound(fetcher: RegistryFetcher) -> None:
    """What a server compressed comes out whole; what would become too long ends at the bound, piece
    by piece, and not after it is all in memory."""
    text = bytes(range(256)) * 4000
    with server(answer(compressed(gzip.compress(text)))) as url:
        assert fetcher.get(url, len(text)) == text
        with pytest.raises(DownloadLengthMismatchError):
            fetcher.get(url, len(text) - 1)
    bomb = gzip.compress(bytes(200_000_000), 9)
    assert len(bomb) < 200_000
    with server(answer(compressed(bomb))) as url:
        tracemalloc.start()
        with pytest.raises(DownloadLengthMismatchError):
            fetcher.get(url, 1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000


@pytest.mark.parametrize(
    ("content", "coding"),
    [
        (gzip.compress(b"hello", mtime=0)[:-4], b"gzip"),
        (gzip.compress(b"hello", mtime=0) + b"more", b"gzip"),
        (b"hello", b"gzip"),
        (b"hello", b"br"),
    ],
    ids=["torn", "more than one member", "not compressed", "not asked for"],
)
def test_damaged_or_unasked_codings_are_refused(
    fetcher: RegistryFetcher, content: bytes, coding: bytes
) -> None:
    """Cut, continued, not compressed at all, or compressed otherwise."""
    with server(answer(compressed(content, coding))) as url, pytest.raises(DownloadError):
        fetcher.get(url, 1000)
