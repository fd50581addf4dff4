"""Waiting: look, and look again when something rings, until it is done, has failed, or the time is up.

What is waited for is a function that looks at the clusters and says how far they are. Watches ring the bell;
a slow tick covers what no watch can see. Nothing is remembered between two looks, so a wait can move to
another process, or be cut off and begun again, at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from include.fleet import clusters, errors, kinds, settings

log = logging.getLogger(__name__)

_OPENING = 1.0
"""Seconds that a watch may still take to open when nobody needs it any more."""
_BURST = 0.05
"""Seconds in which bells that ring together count as one."""


@dataclass(frozen=True)
class Pending:
    """Not done yet: what is seen now, and after how many seconds to look again without a bell."""

    seen: str
    again: float


class Longer(Exception):  # noqa: N818 - not an error: it asks for the triggerer
    """The wait has used up the time that it may hold a worker."""


@dataclass(frozen=True)
class Limit:
    """When a wait has to end, in seconds of `time.time`."""

    deadline: float
    leave_worker: float | None = None
    """When the wait has to leave the worker, if it is in one."""


Look = Callable[[], Awaitable[Pending | None]]


async def until(
    look: Look,
    *,
    what: str,
    bells: Sequence[tuple[clusters.Cluster, kinds.Ref]],
    limit: Limit,
    seconds: float,
    hint: str,
    limits: settings.Settings,
) -> None:
    """Return when *look* answers None.

    *look* answers Pending while there is nothing but to wait, and raises a PermanentError when waiting has
    become useless; a TemporaryError of it is logged and borne, since API servers restart during an
    installer run (kubesphere-facts 12). *what* and *hint* go into the DeadlineError that is raised after
    *seconds* in all, as *limit* says. Raises Longer when the wait has to leave the worker.
    """
    # Most often there is nothing to wait for, as in a step that is done again: then no watch is opened.
    with contextlib.suppress(errors.TemporaryError):
        if await look() is None:
            log.info("Done: %s", what)
            return
    last = ""
    async with _ringing(bells, limits) as bell:
        while True:
            try:
                pending = await look()
            except errors.TemporaryError as error:
                pending = Pending(str(error), limits.poll)
            if pending is None:
                log.info("Done: %s", what)
                return
            if pending.seen != last:
                log.info("Waiting for %s: %s", what, pending.seen)
                last = pending.seen
            now = time.time()
            if now >= limit.deadline:
                raise errors.DeadlineError(what=what, seconds=seconds, last=last, hint=hint)
            if limit.leave_worker is not None and now >= limit.leave_worker:
                raise Longer
            ends = min(limit.deadline, limit.leave_worker or limit.deadline)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(pending.again, ends - now))):
                    await bell.wait()
                    await asyncio.sleep(_BURST)
            bell.clear()


@contextlib.asynccontextmanager
async def _ringing(
    bells: Sequence[tuple[clusters.Cluster, kinds.Ref]], limits: settings.Settings
) -> AsyncIterator[asyncio.Event]:
    bell = asyncio.Event()
    watches = [_Watch(cluster, ref, bell, limits) for cluster, ref in bells]
    try:
        yield bell
    finally:
        await asyncio.gather(*(each.end() for each in watches))


class _Watch:
    """One watch that is opened again whenever it ends, and rings the bell."""

    def __init__(
        self, cluster: clusters.Cluster, ref: kinds.Ref, bell: asyncio.Event, limits: settings.Settings
    ) -> None:
        self._opened = asyncio.Event()
        self._task = asyncio.create_task(self._ring(cluster, ref, bell, limits))

    async def end(self) -> None:
        # A connection that is cut off in its TLS handshake would outlive the event loop of a task.
        opening = asyncio.create_task(self._opened.wait())
        await asyncio.wait([opening, self._task], timeout=_OPENING, return_when=asyncio.FIRST_COMPLETED)
        for task in (opening, self._task):
            task.cancel()
        await asyncio.gather(opening, self._task, return_exceptions=True)

    async def _ring(
        self, cluster: clusters.Cluster, ref: kinds.Ref, bell: asyncio.Event, limits: settings.Settings
    ) -> None:
        while True:
            began = time.monotonic()
            try:
                async with contextlib.aclosing(cluster.changes(ref, opened=self._opened)) as changes:
                    async for _ in changes:
                        bell.set()
            except errors.TemporaryError as error:
                log.debug("Watch ended, opening it again: %s", error)
            except errors.PermanentError as error:
                log.warning("Without this watch, looking every now and then instead: %s", error)
                return
            # A server that ends watches at once must not be asked in a loop.
            await asyncio.sleep(max(0.0, min(1.0, limits.poll) - (time.monotonic() - began)))


async def together(*waits: Awaitable[None]) -> None:
    """Run several waits at once; the first that fails ends the others.

    Raises what that one raised, or Longer if that is all that was raised, whichever wait was the first to leave.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    raised = [end for end in ended if isinstance(end, BaseException)]
    for error in sorted(
        raised, key=lambda error: (isinstance(error, asyncio.CancelledError), isinstance(error, Longer))
    ):
        raise error
