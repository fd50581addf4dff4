"""Waiting: look, and look again when something rings, until it is done, has failed, or the time is up.

What is waited for is a function that looks at the clusters and says how far they are. Bells ring when there may be
something new: watches, and logs that are followed. Nothing is polled that rings; where no bell can be had, as
without the right to watch, it is looked at every now and then instead. Nothing is remembered between two looks, so a
wait can move to another process, or be cut off and begun again, at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from include.fleet import clusters, errors, kinds, settings

log = logging.getLogger(__name__)

_OPENING = 1.0
"""Seconds that a connection may still take to open when nobody needs it any more.

One that is cut off in its TLS handshake would outlive the event loop of a task.
"""
_BURST = 0.05
"""Seconds in which bells that ring together count as one."""
_BEGIN_AGAIN = (1.0, 15.0)
"""Seconds before a bell that broke is put up again: at first, and at most when it breaks every time."""


@dataclass(frozen=True)
class Pending:
    """Not done yet."""

    seen: str
    """What is seen now, in words."""
    again: float | None = None
    """After how many seconds to look again without a bell; None if a bell rings for all that can happen."""
    long: bool = False
    """Whether this is known to take minutes: then no worker is held for it at all."""


class Longer(Exception):  # noqa: N818 - not an error: it asks for the triggerer
    """The wait is longer than it may hold a worker."""


@dataclass(frozen=True)
class Limit:
    """When a wait has to end, in seconds of `time.time`."""

    deadline: float
    leave_worker: float | None = None
    """When the wait has to leave the worker, if it is in one."""


Result = TypeVar("Result")
Look = Callable[[], Awaitable[Pending | None]]
Bell = Callable[[asyncio.Event], AsyncGenerator[None, None]]
"""Yields when there may be something new, the first time as soon as it listens; ends when it has to be put up again.

It is given an event to be set once its connection stands. A PermanentError of it means that it can never listen; of a
right that it lacks it has told by then.
"""


def changes(cluster: clusters.Cluster, ref: kinds.Ref) -> Bell:
    """Return the bell that rings when an object changes, is created or is deleted."""
    return functools.partial(_changes, cluster, ref)


async def _changes(cluster: clusters.Cluster, ref: kinds.Ref, opened: asyncio.Event) -> AsyncGenerator[None, None]:
    try:
        async with contextlib.aclosing(cluster.changes(ref, opened=opened)) as rings:
            async for ring in rings:
                yield ring
    except errors.ForbiddenError as error:
        cluster.do_without(error, f"Changes of {ref.kind.full_name} were seen late, at the next look")
        raise


async def until(
    look: Look,
    *,
    what: str,
    bells: Sequence[Bell],
    limit: Limit,
    seconds: float,
    hint: str,
    limits: settings.Settings,
) -> None:
    """Return when *look* answers None.

    *look* answers Pending while there is nothing but to wait, and raises a PermanentError when waiting has
    become useless; a TemporaryError of it is logged and borne, since API servers restart during an
    installer run (kubesphere-facts 12), and so is a CredentialError for a while. *what* and *hint* go into the
    DeadlineError that is raised after *seconds* in all, as *limit* says. Raises Longer when the wait has to leave
    the worker.
    """
    teller = _Teller(look, what=what, limits=limits)
    pending = None
    if limit.leave_worker is not None:
        # Most often there is nothing to wait for, as in a step that is done again: then no watch is opened.
        pending = await teller.look()
        if pending is None or _over(pending, limit, what=what, seconds=seconds, hint=hint):
            return
    async with _ringing(bells, limits) as ringing:
        if pending is None:
            # In the triggerer there is something: a first look that watches answer asks for nothing twice.
            await ringing.opened()
        else:
            await _pause(ringing, pending, limit, limits)
        while True:
            pending = await teller.look()
            if pending is None or _over(pending, limit, what=what, seconds=seconds, hint=hint):
                return
            await _pause(ringing, pending, limit, limits)


async def _pause(ringing: _Ringing, pending: Pending, limit: Limit, limits: settings.Settings) -> None:
    """Return when it is time for another look."""
    left = min(limit.deadline, limit.leave_worker or limit.deadline) - time.time()
    again = min(left, pending.again or left, limits.slow_poll if ringing.deaf else left)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, again)):
            await ringing.wait()


def _over(pending: Pending, limit: Limit, *, what: str, seconds: float, hint: str) -> bool:
    """Raise DeadlineError or Longer if it is time for one of them; always False."""
    now = time.time()
    if now >= limit.deadline:
        raise errors.DeadlineError(what=what, seconds=seconds, last=pending.seen, hint=hint)
    if limit.leave_worker is not None and (pending.long or now >= limit.leave_worker):
        raise Longer
    return False


class _Teller:
    """Looks, bears what may pass, and tells each change once."""

    def __init__(self, look: Look, *, what: str, limits: settings.Settings) -> None:
        self._look = look
        self._what = what
        self._limits = limits
        self._last = ""
        self._refused_since: float | None = None

    async def look(self) -> Pending | None:
        try:
            pending = await self._look()
        except errors.TemporaryError as error:
            pending = Pending(str(error), max(self._limits.poll, error.retry_after or 0.0))
        except errors.CredentialError as error:
            # A server that restarts can refuse everybody for a moment, and who renews a credential may be late.
            self._refused_since = self._refused_since or time.monotonic()
            if time.monotonic() - self._refused_since >= self._limits.failed_after:
                raise
            pending = Pending(str(error), min(self._limits.poll, self._limits.failed_after / 3))
        else:
            self._refused_since = None
        if pending is None:
            log.info("Done: %s", self._what)
        elif pending.seen != self._last:
            log.info("Waiting for %s: %s", self._what, pending.seen)
            self._last = pending.seen
        return pending


class _Ringing:
    """The bells of one wait, each put up again whenever it ends."""

    def __init__(self, bells: Sequence[Bell], limits: settings.Settings) -> None:
        self.deaf = False
        """Whether one of the bells can never ring."""
        self._rung = asyncio.Event()
        self._limits = limits
        self._opened = [asyncio.Event() for _ in bells]
        self._tasks = [asyncio.create_task(self._listen(*pair)) for pair in zip(bells, self._opened, strict=True)]
        for task in self._tasks:
            task.add_done_callback(lambda _: self._rung.set())

    async def wait(self) -> None:
        """Return when a bell has rung since the last time; raises what broke one and is none of our errors."""
        await self._rung.wait()
        await self._heard()

    async def opened(self) -> None:
        """Return when all bells listen, or have failed to, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.connect_timeout):
                for opened in self._opened:
                    await opened.wait()
        await self._heard()

    async def _heard(self) -> None:
        """Take all that rings now for one; raises what broke a bell and is none of our errors."""
        await asyncio.sleep(_BURST)
        self._rung.clear()
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        for opened in self._opened:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(opened.wait(), _OPENING)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, bell: Bell, opened: asyncio.Event) -> None:
        shortest, longest = (min(pause, self._limits.poll) for pause in _BEGIN_AGAIN)
        pause = shortest
        while True:
            began, asked = time.monotonic(), 0.0
            opened.clear()
            try:
                async with contextlib.aclosing(bell(opened)) as rings:
                    async for _ in rings:
                        self._rung.set()
            except errors.TemporaryError as error:
                asked = error.retry_after or 0.0
                log.debug("A watch has ended, opening it again: %s", error)
            except errors.CredentialError as error:
                log.debug("A watch is refused, opening it again: %s", error)
            except errors.ForbiddenError:
                self.deaf = True
                return
            except errors.PermanentError as error:
                log.warning("Without this watch, looking every now and then instead: %s", error)
                self.deaf = True
                return
            finally:
                opened.set()
            # A server that ends watches at once must not be asked in a loop, nor by all at the same moment.
            pause = shortest if time.monotonic() - began > longest else min(2 * pause, longest)
            await asyncio.sleep(max(asked, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - no secret


@contextlib.asynccontextmanager
async def _ringing(bells: Sequence[Bell], limits: settings.Settings) -> AsyncIterator[_Ringing]:
    ringing = _Ringing(bells, limits)
    try:
        yield ringing
    finally:
        await ringing.end()


async def together(*waits: Awaitable[Result]) -> list[Result]:
    """Run several waits at once and return their results; the first that fails ends the others.

    Raises what that one raised, or Longer if that is all that was raised.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    if not tasks:
        return []
    try:
        _, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if others:
            # They may be opening a connection, and most often end by themselves: a run is long for all.
            await asyncio.wait(others, timeout=_OPENING)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    raised = [end for end in ended if isinstance(end, BaseException)]
    ranks = (Longer, asyncio.CancelledError)
    for error in sorted(raised, key=lambda error: [isinstance(error, rank) for rank in reversed(ranks)]):
        raise error
    return [task.result() for task in tasks]
