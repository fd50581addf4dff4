"""Requests to the ASGI applications of this process, whose answers come as they are written.

`httpx.ASGITransport` collects an answer until its end, which a followed log does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp, Message


class Applications:
    """Sends requests; keeps the applications that are answering."""

    def __init__(self) -> None:
        self._answering: set[asyncio.Task[None]] = set()

    async def send(self, application: ASGIApp, *, request: httpx.Request) -> httpx.Response:
        """Return the answer when it begins. Raises what the application raises until then."""
        exchange = _Exchange(request, body=await request.aread())
        task = asyncio.create_task(exchange.run(application))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        try:
            status, headers = await exchange.head
        except BaseException:
            task.cancel()
            raise
        return httpx.Response(status, headers=headers, stream=_Body(exchange))

    async def close(self) -> None:
        """End the answers that are under way."""
        answering = list(self._answering)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


class _Exchange:
    """One request and its answer. `gone` is set when nobody reads on."""

    def __init__(self, request: httpx.Request, *, body: bytes) -> None:
        self._request = request
        self._messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self.head: asyncio.Future[tuple[int, Any]] = asyncio.get_running_loop().create_future()
        self.chunks: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def run(self, application: ASGIApp) -> None:
        url = self._request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "headers": [(key.lower(), value) for key, value in self._request.headers.raw],
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
        }
        try:
            await application(scope, self._receive, self._send)
        except BaseException as error:
            self._end(error)
            if not isinstance(error, Exception):
                raise
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        """Tell the reader that nothing more comes, and why."""
        failure = httpx.RemoteProtocolError("unexpected EOF") if isinstance(error, asyncio.CancelledError) else error
        if not self.head.done():
            self.head.set_exception(failure or httpx.RemoteProtocolError("EOF"))
        self.chunks.put_nowait(failure)

    async def _receive(self) -> Message:
        if self._messages:
            return self._messages.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self.head.done():
                self.head.set_result((message["status"], message.get("headers", [])))
            return
        if message.get("body") and self._request.method != "HEAD":
            self.chunks.put_nowait(message["body"])
        if not message.get("more_body"):
            self.chunks.put_nowait(None)
            self.gone.set()


class _Body(httpx.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._exchange.chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    async def aclose(self) -> None:
        self._exchange.gone.set()
