"""Where a pool connects to: one host and port, plain or over TLS."""

from __future__ import annotations

import asyncio
import ssl as tls
from dataclasses import dataclass
from typing import Final

from serving.connection import Connection, tls_reason
from serving.failures import ConnectFailed, TimedOut
from serving.waits import Phase

TLS_SHUTDOWN_S: Final = 1.0


_LATER_S = 5.0


@dataclass(frozen=True, slots=True)
class Origin:
    """See :class:`serving.client.Pool`; ``connect_s`` bounds every connecting."""

    host: str
    port: int
    ssl: tls.SSLContext | None
    server_hostname: str | None
    connect_s: float

    async def connect(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        until: float,
        bound: str,
        seconds: float,
    ) -> None:
        """Open a connection by the loop's time ``until``, which comes from a bound of ``seconds``.

        Raises:
            TimedOut: it was not open by then; it names the bound.
            ConnectFailed: it cannot be opened; TLS was refused.
        """
        secure = self.ssl is not None
        try:
            async with asyncio.timeout_at(until):
                await loop.create_connection(
                    lambda: connection,
                    self.host,
                    self.port,
                    ssl=self.ssl,
                    server_hostname=(self.server_hostname or self.host) if secure else None,
                    # Later than ours, which knows what to say.
                    ssl_handshake_timeout=self.connect_s + _LATER_S if secure else None,
                    ssl_shutdown_timeout=TLS_SHUTDOWN_S if secure else None,
                )
        except TimeoutError as error:
            raise TimedOut(Phase.CONNECT, bound, seconds) from error
        except tls.SSLError as error:
            raise ConnectFailed(tls_reason(error), error) from error
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(_reason(error)) from error


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
