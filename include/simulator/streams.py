"""Answers that go on until somebody ends them: watches, and logs that are followed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from starlette.responses import StreamingResponse
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
