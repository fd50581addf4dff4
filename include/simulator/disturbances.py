"""What can go wrong with one request to an API server: chosen by a test, for one request of any client.

Every request can be chosen, those of the simulator's own actors too: their connections lead to this process. What a
real server has processed stays processed when its answer is lost, and so it is here.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Send

from include.simulator import server, status, streams

log = logging.getLogger(__name__)

_REFUSED: Final = {500: status.internal_error, 503: status.overloaded}


class Moment(enum.Enum):
    """When something happens to a request."""

    ARRIVED = "nothing of it has been processed"
    COMMITTED = "it has been processed, and no byte of the answer has been sent"
    ANSWERED = "the answer has been sent; of a stream, its end"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request as the audit log shows it, before it is processed.

    `name` of a create is that in the body, "" when the server is to make one up. `user` is "" when nobody is known.
    `path` holds the query too. `streams` says that the answer goes on until somebody ends it: a watch, a followed log.
    `peer` and `server` are the ends of the connection, by which the client's process can be found: `peer` alone may
    also be an end of a connection to another server.
    """

    user: str
    agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    streams: bool
    peer: tuple[str, int]
    server: tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The server refuses and processes nothing: 429 as text with Retry-After, 500 or 503 as a Status.

    429 is what an overloaded server writes (apiserver/pkg/server/filters/maxinflight.go); it is no Status there either.
    """

    code: int
    retry_after: int = 1

    def __post_init__(self) -> None:
        if self.code not in {429, *_REFUSED}:
            raise ValueError(f"a refusal is 429, 500 or 503, not {self.code}")

    def build(self) -> Response:
        """Return the answer."""
        if self.code in _REFUSED:
            return JSONResponse(_REFUSED[self.code]().body(), status_code=self.code)
        headers = {"Retry-After": str(self.retry_after)}
        return PlainTextResponse("Too many requests, please try again later.\n", status_code=429, headers=headers)


@dataclass(frozen=True, kw_only=True)
class Reset:
    """The connection is reset (TCP RST)."""

    moment: Moment


@dataclass(frozen=True, kw_only=True)
class Stall:
    """No byte comes for some seconds; then it goes on, unless the client has gone away."""

    seconds: float
    moment: Moment


@dataclass(frozen=True, kw_only=True)
class Act:
    """A function is called in a thread of its own, and waited for. What it raises is logged."""

    function: Callable[[Call], object]
    moment: Moment


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A stream's connection is reset after some seconds of it. Happens to streams only."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """A watch ends with 410 Expired after some events, as when etcd was compacted. Happens to watches only."""

    events: int = 1


Kind = Refusal | Reset | Stall | Act | Cut | Expiry


@dataclass(frozen=True, kw_only=True, eq=False)
class Disturbance:
    """Happens once: to the first matching request after `skip` others. To be given to `Cluster.disturb`.

    Requests to which its kind cannot happen do not count. When two could happen to a request, the one registered first
    does, and the other to the next.
    """

    matches: Callable[[Call], bool]
    kind: Kind
    skip: int = 0
    _happened: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def met(self) -> bool:
        """Say, to any thread, whether it has happened; an act has when its function has returned."""
        return self._happened.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait in another thread than the simulation's until it has happened, and say whether it has."""
        return self._happened.wait(seconds)

    def happen(self) -> None:
        """Note that it has happened."""
        self._happened.set()


class Disturbances:
    """Those of one API server that have not been assigned to a request yet."""

    def __init__(self) -> None:
        # Added to by other threads, all else happens in the simulation's loop.
        self._waiting: list[_Waiting] = []
        self._interrupted = asyncio.Event()

    def __bool__(self) -> bool:
        """Say whether any is left."""
        return bool(self._waiting)

    def add(self, disturbance: Disturbance) -> None:
        """Register one; may be called from any thread."""
        self._waiting.append(_Waiting(disturbance=disturbance, skips=disturbance.skip))

    def choose(self, call: Call) -> Disturbance | None:
        """Count a request, and return what happens to it."""
        chosen: _Waiting | None = None
        for waiting in list(self._waiting):
            if not _can_happen(waiting.disturbance.kind, call=call) or not waiting.disturbance.matches(call):
                continue
            if waiting.skips > 0:
                waiting.skips -= 1
            elif chosen is None:
                chosen = waiting
        if chosen is None:
            return None
        self._waiting.remove(chosen)
        return chosen.disturbance

    async def apply(
        self,
        disturbance: Disturbance,
        *,
        call: Call,
        request: Request,
        send: Send,
        process: Callable[[], Awaitable[Response]],
    ) -> None:
        """Take a request from its arrival to its answer, with what happens to it. `process` processes it."""
        passage = _Passage(disturbance, call=call, request=request, send=send, interrupted=self._interrupted)
        await passage.run(process)

    def interrupt(self) -> None:
        """Reset the connections of those that stall or act: the server stops."""
        self._interrupted.set()
        self._interrupted = asyncio.Event()


@dataclass(kw_only=True, eq=False)
class _Waiting:
    disturbance: Disturbance
    skips: int


class _Passage:
    """One request on its way through a disturbance."""

    def __init__(
        self, disturbance: Disturbance, *, call: Call, request: Request, send: Send, interrupted: asyncio.Event
    ) -> None:
        self._disturbance = disturbance
        self._kind = disturbance.kind
        self._call = call
        self._request = request
        self._send = send
        self._interrupted = interrupted
        self._transport: asyncio.Transport = request.scope["state"]["transport"]

    async def run(self, process: Callable[[], Awaitable[Response]]) -> None:
        if not await self._meet(Moment.ARRIVED):
            return
        response = await process()
        if isinstance(self._kind, Refusal):
            self._disturbance.happen()
        # On a connection that was reset the answer goes nowhere; a stream still has to be closed.
        await self._meet(Moment.COMMITTED)
        await self._answer(response)
        await self._meet(Moment.ANSWERED)

    async def _meet(self, moment: Moment) -> bool:
        """Let happen what happens at this moment; False when there is no client any more."""
        kind = self._kind
        if not isinstance(kind, Reset | Stall | Act) or kind.moment is not moment:
            return True
        if isinstance(kind, Reset):
            await self._reset()
            self._disturbance.happen()
            return False
        if isinstance(kind, Act):
            return await self._act(kind.function)
        self._disturbance.happen()
        await self._outlast(asyncio.sleep(kind.seconds))
        if self._transport.is_closing():
            await self._drain()
            return False
        return True

    async def _act(self, function: Callable[[Call], object]) -> bool:
        acting = await self._outlast(asyncio.to_thread(function, self._call))
        if acting.done() and not acting.cancelled() and (error := acting.exception()) is not None:
            log.error("What a test does at %s %s failed", self._call.verb, self._call.path, exc_info=error)
        self._disturbance.happen()
        # A server goes on with what it has received, also when the client is gone by now.
        return True

    async def _outlast(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Wait for work to end; when the server stops before, reset the connection."""
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._interrupted.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await self._reset()
        finally:
            working.cancel()
            stopping.cancel()
        return working

    async def _answer(self, response: Response) -> None:
        scope, receive = self._request.scope, self._request.receive
        if not isinstance(response, streams.Stream) or not isinstance(self._kind, Cut | Expiry):
            await response(scope, receive, self._send)
            return
        if isinstance(self._kind, Expiry):
            response.body_iterator = self._expire(response.lines, events=self._kind.events)
            await response(scope, receive, self._send)
            return
        timer = asyncio.get_running_loop().call_later(self._kind.seconds, self._cut)
        try:
            await response(scope, receive, self._send)
        finally:
            timer.cancel()

    async def _expire(self, lines: AsyncIterator[str | bytes], *, events: int) -> AsyncIterator[str | bytes]:
        for _ in range(events):
            try:
                yield await anext(lines)
            except StopAsyncIteration:
                return
        self._disturbance.happen()
        yield status.watch_expired().event()

    def _cut(self) -> None:
        if not self._transport.is_closing():
            server.reset(self._transport)
            self._disturbance.happen()

    async def _reset(self) -> None:
        server.reset(self._transport)
        await self._drain()

    async def _drain(self) -> None:
        """Wait until the connection is gone: before that a request without an answer would be an error."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


def _can_happen(kind: Kind, *, call: Call) -> bool:
    return call.streams if isinstance(kind, Cut) else call.verb == "watch" if isinstance(kind, Expiry) else True
