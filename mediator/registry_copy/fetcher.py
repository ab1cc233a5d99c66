"""How the registry's files are fetched: the replaceable network of the TUF client.

Invariants:
- every fetch has a deadline of its own, for the whole of it and for each silence within it;
- all fetches of a round together may take a time that grows with what they bring: an address that
  only drips (TUF's slow retrieval attack) ends the round, and the next address is asked;
- idle connections are kept for the next fetch; a kept one that the registry has closed meanwhile
  is replaced once, without anybody noticing;
- what was prefetched is handed out once and is checked by the TUF client like anything else;
- content that the server compressed (gzip, RFC 9110 section 8.4.1.3) is decompressed piece by piece
  as it is read, so a small answer cannot become a large one in memory;
- redirects are not followed and no proxy is taken from the environment.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    SlowRetrievalError,
)
from tuf.ngclient import FetcherInterface

_CHUNK = 1 << 16
_LEAST_RATE = 1024  # bytes a second: a line that gives less is taken for one that gives nothing
_Connection = http.client.HTTPConnection
_HEADERS = {"User-Agent": "saphan", "Accept-Encoding": "gzip"}


class _Coding:
    """The content coding of one answer: gzip or none.

    Raises:
        DownloadError: for another one, or for what is no gzip.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        if name.strip().lower() not in {"", "identity", "gzip", "x-gzip"}:
            raise DownloadError(f"{url}: content coding {name[:40]!r} was not asked for")
        self._gzip = zlib.decompressobj(31) if "gzip" in name.lower() else None

    def decoded(self, chunk: bytes) -> Iterator[bytes]:
        """The content of the next bytes, in pieces of bounded size."""
        if self._gzip is None:
            yield chunk
            return
        piece = b""
        while chunk or len(piece) == _CHUNK:  # a full piece: there may be more without more input
            try:
                piece = self._gzip.decompress(chunk, _CHUNK)
            except zlib.error as error:
                raise DownloadError(f"{self._url}: not gzip: {error}") from error
            chunk = self._gzip.unconsumed_tail
            if piece:
                yield piece
        if self._gzip.unused_data:
            raise DownloadError(f"{self._url}: bytes follow the end of the content")

    def end(self) -> None:
        """The answer ended: so must the content."""
        if self._gzip is not None and not self._gzip.eof:
            raise DownloadError(f"{self._url}: the compressed content ended early")


class _Timed(io.RawIOBase):
    """What comes from a socket until a deadline.

    Heads, lengths of chunks and trailers are read where nobody looks at the clock between the
    bytes, so every wait of the socket ends at the deadline.
    """

    def __init__(self, sock: socket.socket, silence_s: float, deadline: float) -> None:
        self._sock, self._silence_s, self._deadline = sock, silence_s, deadline
        self._file = sock.makefile("rb", buffering=0)

    def makefile(self, mode: str) -> io.BufferedReader:
        """The one thing that a response wants of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the deadline is over")
        self._sock.settimeout(min(left_s, self._silence_s))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class RegistryFetcher(FetcherInterface):
    """Fetches over kept HTTP/1.1 connections; safe to use from several threads.

    Args:
        silence_s: longest wait for a connection or for the next bytes.
        total_s: longest time for one file.
        parallel: connections used by :meth:`prefetch`.
        round_s: what the fetches since :meth:`begin` may take whatever they bring; each KiB
            gives them a second more.
        context: TLS settings for an ``https`` registry; the system's when absent.
    """

    def __init__(
        self,
        *,
        silence_s: float = 5.0,
        total_s: float = 60.0,
        parallel: int = 8,
        round_s: float = 120.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.requests = 0
        self._round_s = round_s
        self._began = time.monotonic()
        self._received = 0
        self._silence_s = silence_s
        self._total_s = total_s
        self._parallel = parallel
        self._context = context
        self._lock = threading.Lock()
        self._idle: dict[str, list[_Connection]] = {}
        self._ready: dict[str, bytes] = {}
        self._closed = False

    def begin(self) -> None:
        """A round of fetches from one address begins."""
        with self._lock:
            self._began, self._received = time.monotonic(), 0

    def prefetch(self, wanted: Mapping[str, int]) -> None:
        """Fetch URLs side by side, each of at most so many bytes, for the fetches that follow.

        A URL that fails is left out: the fetch that needs it fails by itself.
        """
        if len(wanted) < 2:
            return
        with ThreadPoolExecutor(min(self._parallel, len(wanted))) as pool:
            bodies = pool.map(self._try_whole, wanted.keys(), wanted.values())
            found = dict(zip(wanted, bodies, strict=True))
        with self._lock:
            self._ready = {url: body for url, body in found.items() if body is not None}

    def get(self, url: str, most: int) -> bytes:
        """A whole file of at most ``most`` bytes.

        Raises:
            DownloadError: of python-tuf; ``DownloadLengthMismatchError`` when it is longer.
        """
        return self.download_bytes(url, most)

    def close(self) -> None:
        """Close every idle connection; later fetches fail."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _fetch(self, url: str) -> Iterator[bytes]:
        with self._lock:
            body = self._ready.pop(url, None)
        if body is not None:
            return iter((body,))
        return self._stream(url)

    def _try_whole(self, url: str, most: int) -> bytes | None:
        parts: list[bytes] = []
        length = 0
        try:
            for chunk in self._stream(url):
                length += len(chunk)
                if length > most:
                    return None
                parts.append(chunk)
        except DownloadError:
            return None
        return b"".join(parts)

    def _stream(self, url: str) -> Iterator[bytes]:
        deadline = time.monotonic() + self._total_s
        with self._lock:
            end = self._began + self._round_s + self._received / _LEAST_RATE
        if time.monotonic() > end:
            raise SlowRetrievalError(f"{url}: the address gives less than {_LEAST_RATE} bytes/s")
        origin, connection, response = self._ask(url, deadline)
        if response.status != 200:
            self._drain(origin, connection, response)
            raise DownloadHTTPError(f"{url}: HTTP status {response.status}", response.status)
        return self._chunks(url, origin, connection, response, deadline)

    def _chunks(
        self,
        url: str,
        origin: str,
        connection: _Connection,
        response: http.client.HTTPResponse,
        deadline: float,
    ) -> Iterator[bytes]:
        whole = False
        coding = _Coding(url, response.getheader("Content-Encoding", ""))
        try:
            # read1 gives what is there; read would wait for all of it, whatever the deadline.
            while chunk := response.read1(_CHUNK):
                if time.monotonic() > deadline:
                    raise SlowRetrievalError(f"{url}: not finished in {self._total_s} s")
                with self._lock:
                    self._received += len(chunk)
                yield from coding.decoded(chunk)
            coding.end()
            if response.length:
                raise DownloadError(f"{url}: ended {response.length} bytes early")
            response.close()  # read to its end, so the connection is free for the next request
            whole = True
        except TimeoutError as error:
            raise self._slow(url, deadline) from error
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{url}: {error or type(error).__name__}") from error
        finally:
            self._give_back(origin, connection, keep=whole and not response.will_close)

    def _slow(self, url: str, deadline: float) -> SlowRetrievalError:
        if time.monotonic() >= deadline:
            return SlowRetrievalError(f"{url}: not finished in {self._total_s} s")
        return SlowRetrievalError(f"{url}: silent for {self._silence_s} s")

    def _ask(self, url: str, deadline: float) -> tuple[str, _Connection, http.client.HTTPResponse]:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        connection, is_kept = self._take(origin)
        try:
            return origin, connection, self._request(connection, parts.path, deadline)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise self._slow(url, deadline) from error
            if not is_kept or isinstance(error, UnicodeError):
                raise DownloadError(f"{url}: {error or type(error).__name__}") from error
        connection = self._connection(origin)
        try:
            return origin, connection, self._request(connection, parts.path, deadline)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise self._slow(url, deadline) from error
            raise DownloadError(f"{url}: {error or type(error).__name__}") from error

    def _request(
        self, connection: _Connection, path: str, deadline: float
    ) -> http.client.HTTPResponse:
        with self._lock:
            self.requests += 1

        def response(sock: Any, **more: Any) -> http.client.HTTPResponse:
            timed: Any = _Timed(sock, self._silence_s, deadline)
            return http.client.HTTPResponse(timed, **more)

        connection.response_class = response  # type: ignore[assignment]
        connection.request("GET", path, headers=_HEADERS)
        return connection.getresponse()

    def _take(self, origin: str) -> tuple[_Connection, bool]:
        with self._lock:
            if self._closed:
                raise DownloadError("the fetcher is closed")
            if kept := self._idle.get(origin):
                return kept.pop(), True
        return self._connection(origin), False

    def _connection(self, origin: str) -> _Connection:
        parts = urlsplit(origin)
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = self._context or ssl.create_default_context()
            return http.client.HTTPSConnection(
                host, parts.port, timeout=self._silence_s, context=context
            )
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=self._silence_s)
        raise DownloadError(f"{origin}: not an http or https address")

    def _drain(
        self, origin: str, connection: _Connection, response: http.client.HTTPResponse
    ) -> None:
        keep = False
        try:
            keep = len(response.read(_CHUNK)) < _CHUNK and not response.will_close
        except (OSError, http.client.HTTPException):
            keep = False
        self._give_back(origin, connection, keep=keep)

    def _give_back(self, origin: str, connection: _Connection, *, keep: bool) -> None:
        with self._lock:
            kept = self._idle.setdefault(origin, [])
            if keep and not self._closed and len(kept) < self._parallel:
                kept.append(connection)
                return
        connection.close()
