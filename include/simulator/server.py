"""The HTTPS port of one cluster on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from include.simulator.certificates import Pair


class _Protocol(H11Protocol):
    """Hands the client certificate of the connection to the application, which uvicorn itself does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state: dict[str, Any] = {**self.app_state, "certificate": transport.get_extra_info("peercert")}


class HttpsServer:
    """Serves an application with TLS; client certificates of the given authority are taken, not demanded.

    A certificate of another authority fails the handshake; a real API server would answer 401.
    """

    def __init__(self, application: ASGIApp, *, pair: Pair, authority: str, port: int = 0) -> None:
        # With the protocol named, asyncio turns Nagle's algorithm off; else each answer takes 40 ms more.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair.load_into(context)
        context.load_verify_locations(cadata=authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                http=_Protocol,
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
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept connections."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Close the port and the connections."""
        self._server.should_exit = True
        while self._task is not None and not self._task.done():
            # Closing politely would wait for clients that keep their connections open.
            for connection in list(self._server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(0.02)
        self._socket.close()
