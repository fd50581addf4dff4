"""Answers that go on until somebody ends them: watches, and logs that are followed; also those of another server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Final

import httpx
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send


class Stream(StreamingResponse):
    """Sends what comes, as it comes.

    `close` is called when it is over, also when it never began: the client can be gone by then.
    """

    def __init__(
        self,
        lines: AsyncIterator[str | bytes],
        *,
        close: Callable[[], Awaitable[None]],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(lines, status_code=status_code, headers=headers, media_type=media_type)
        self.lines = lines
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client is gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._close()


_OF_THE_CONNECTION: Final = frozenset({"content-length", "connection", "transfer-encoding"})
"""Headers that a proxy does not pass on."""


async def read_what_ends(answer: httpx.Response) -> None:
    """Read an answer whose length is known; leave one open that goes on. Raises httpx.HTTPError."""
    if "content-length" in answer.headers or answer.status_code != 200:
        try:
            await answer.aread()
        finally:
            await answer.aclose()


def relay(
    answer: httpx.Response,
    *,
    dropped: Collection[str] = (),
    close: Callable[[], Awaitable[None]] | None = None,
) -> Response:
    """Return another server's answer as a proxy does: as it comes where it goes on, else whole.

    `dropped` are headers that are left out, `close` is called when an answer that goes on is over.
    """
    kept = {key: value for key, value in answer.headers.items() if key not in _OF_THE_CONNECTION and key not in dropped}
    if answer.is_closed:
        return Response(answer.content, status_code=answer.status_code, headers=kept)

    async def end() -> None:
        await answer.aclose()
        if close is not None:
            await close()

    return Stream(answer.aiter_raw(), close=end, status_code=answer.status_code, headers=kept)
