"""The connection between an agent and tower: an object in this process, where KubeSphere has SSH in a WebSocket.

What it carries is real: whoever holds the other end can send requests, which the agent makes with its own account
(kubesphere-facts 8).
"""

from __future__ import annotations

import abc
import asyncio
from dataclasses import dataclass, field

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send


class RefusedError(Exception):
    """The other end does not accept the connection; the text is what it says."""


@dataclass(kw_only=True, eq=False)
class Tunnel:
    """What an agent offers: who it says it is, and applications that reach its API server and its ks-apiserver.

    Either end closes it; both see `closed`.
    """

    name: str
    token: str = field(repr=False)
    kubernetes: ASGIApp
    kubesphere: ASGIApp
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        """Close it for both ends; safe to repeat."""
        self.closed.set()

    async def carry(self, application: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request to one of its applications; what is under way breaks off when the connection does.

        Raises httpx.RemoteProtocolError then.
        """
        answering = asyncio.ensure_future(application(scope, receive, send))
        ending = asyncio.create_task(self.closed.wait())
        try:
            await asyncio.wait({answering, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise httpx.RemoteProtocolError("unexpected EOF")
            answering.result()
        finally:
            for task in (answering, ending):
                task.cancel()
            await asyncio.gather(answering, ending, return_exceptions=True)


class Acceptor(abc.ABC):
    """An application that accepts tunnels besides plain HTTP requests."""

    @abc.abstractmethod
    async def accept(self, tunnel: Tunnel) -> None:
        """Take a tunnel. Raises RefusedError."""

    @abc.abstractmethod
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain HTTP request."""
