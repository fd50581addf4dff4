"""The HTTPS port of one cluster."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from include.simulator import clock
from include.simulator.certificates import Pair

_CLOSED: Final = "closed"
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for."""


class _Protocol(H11Protocol):
    """Hands the connection and its client certificate to the application, which uvicorn itself does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if _CLOSED in self.app_state:
            # Its handshake took longer than the port was open.
            transport.abort()
        certificate = transport.get_extra_info("peercert")
        self.app_state: dict[str, Any] = {**self.app_state, "certificate": certificate, "transport": transport}


class _Dated:
    """Adds the time of the cluster's own clock to each answer of an application."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"date", clock.http_date().encode())]
            await send(message)

        await self._application(scope, receive, send_dated)


def reset(transport: asyncio.Transport) -> None:
    """Close a connection at once with a TCP reset: what was sent and not read yet is lost to the other end."""
    if not transport.is_closing():
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()


class HttpsServer:
    """Serves an application with TLS; client certificates of the given authority are taken, not demanded.

    A certificate of another authority fails the handshake; a real API server would answer 401, as one here does to a
    certificate that has expired, which is up to the application. The port stays the same
    when it is closed and opened again, and nobody else gets it meanwhile.
    """

    def __init__(self, application: ASGIApp, *, pair: Pair, authority: str, host: str) -> None:
        self._host = host
        # Bound for good and never listening: connections to a port that is closed are refused.
        self._reservation = _bind(host, port=0)
        self.port: int = self._reservation.getsockname()[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair.load_into(context)
        context.load_verify_locations(cadata=authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= _NO_CHECK_TIME
        self._config = uvicorn.Config(
            _Dated(application),
            http=_Protocol,
            date_header=False,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=60,
            backlog=256,
            ssl_context_factory=lambda _config, _default: context,
        )
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the port and begin to accept connections."""
        server = self._server = uvicorn.Server(self._config)
        serving = self._serving = asyncio.create_task(server.serve(sockets=[_bind(self._host, port=self.port)]))
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.01)

    async def restart(self, seconds: float) -> None:
        """Close the port, and open it again after some seconds; returns when it is closed."""
        await self._close()
        self._reopening = asyncio.create_task(self._reopen(seconds))

    async def stop(self) -> None:
        """Close the port and the connections for good."""
        await self._close()
        self._reservation.close()

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    async def _close(self) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        server, serving = self._server, self._serving
        if server is None or serving is None:
            return
        server.should_exit = True
        server.lifespan.state[_CLOSED] = True
        listeners: list[asyncio.Server] = getattr(server, "servers", [])
        for listener in listeners:
            for listening in listener.sockets:
                asyncio.get_running_loop().remove_reader(listening)
        # What was accepted just now finds its listener, which would otherwise lose the socket (python/cpython#109564).
        await asyncio.sleep(0.01)
        for listener in listeners:
            listener.close()
        while not serving.done():
            # Closing politely would wait for clients that keep their connections open.
            for connection in list(server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(0.02)
        self._server = self._serving = None


def _bind(host: str, *, port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's algorithm off; else each answer takes 40 ms more.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound
