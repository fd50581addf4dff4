"""What time it is on the machines of a cluster, which can be ahead of the true time or behind it.

How much belongs to the context in which a cluster's API server and actors run, as it belongs to their machine: tasks
that they start inherit it.
"""

from __future__ import annotations

import datetime
from contextvars import ContextVar
from email.utils import format_datetime
from typing import Final

_AHEAD: Final[ContextVar[float]] = ContextVar("ahead", default=0.0)


def set_ahead(seconds: float) -> None:
    """Say how many seconds the clock is ahead for whatever runs in this context, and starts in it."""
    _AHEAD.set(seconds)


def now() -> datetime.datetime:
    """Return what the clock shows, in UTC."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=_AHEAD.get())


def http_date() -> str:
    """Return what the clock shows in the form of the HTTP header `Date`."""
    return format_datetime(now(), usegmt=True)
