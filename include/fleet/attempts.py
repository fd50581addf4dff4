"""One attempt at one step, be it of a join, of a leave or of a rotation: how it begins, holds its turn, and ends.

The steps are in `join`, `leave` and `rotation`. What they know of the attempt, and what runs them, is here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from include.fleet import clusters, errors, installer, journal, kubesphere, settings, turn, waits

Report = dict[str, Any]
"""What a step returns: `unchanged` and `warnings`, lists of sentences, and facts by name. No secrets.

Airflow adds `changed`, what the step has written, and `seconds`.
"""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What is known of an attempt before the conf is read."""

    limits: settings.Settings
    attempt: str
    """Names this attempt in the marks that it leaves on clusters: run id and number of the try."""
    started: float
    """When this attempt began, in seconds of `time.time`."""
    leave_worker: float | None
    """When a wait has to leave the worker, or None if it need not."""
    reports: Mapping[str, Report]
    """What the earlier steps returned, by name."""
    changes: journal.Journal
    """What this step has changed so far."""

    @property
    def run(self) -> str:
        """Return what names the run of this attempt."""
        return run_of(self.attempt)

    def limit(self, seconds: float) -> waits.Limit:
        """Return the limit of a wait of *seconds* in all."""
        return waits.Limit(deadline=self.started + seconds, leave_worker=self.leave_worker)


class Conf(Protocol):
    """What the confs of all runs have."""

    @property
    def turn_timeout(self) -> int:
        """Return how long to wait for a turn, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Attempt(Given):
    """What a step gets: a `Join`, a `Leave` or a `Rotation`, which have the clusters as well."""

    conf: Conf
    turns: turn.Turns | None
    """The Leases that this run holds; None where the host, on which they are, is lost."""

    @property
    def sides(self) -> Sequence[clusters.Cluster]:
        """Return the clusters of the run."""
        raise NotImplementedError


AnyAttempt = TypeVar("AnyAttempt", bound=Attempt)
Step = Callable[[AnyAttempt], Awaitable[Report]]


def run_of(attempt: str) -> str:
    """Return what names the run that an attempt belongs to."""
    return attempt.rpartition("/")[0] or attempt


def warnings(*reports: Report) -> list[str]:
    """Return the warnings of reports, each once."""
    return list(dict.fromkeys(line for report in reports for line in report.get("warnings", ())))


def _with_losses(report: Report, sides: Iterable[clusters.Cluster]) -> Report:
    """Return a report with what could not be checked or done on *sides* without a right among its warnings."""
    found = warnings(report, {"warnings": [line for side in sides for line in side.done_without]})
    return {**report, "warnings": found} if found else report


async def run(
    step: str,
    raw: Mapping[str, Any],
    *,
    opened: Callable[[str, Mapping[str, Any], Given], contextlib.AbstractAsyncContextManager[AnyAttempt]],
    doing: Callable[[str, AnyAttempt, str | None], Awaitable[Report]],
    explain: Callable[[AnyAttempt, str, errors.FleetError], Awaitable[None]] | None = None,
    limits: settings.Settings,
    attempt: str,
    started: float,
    leave_worker: float | None = None,
    reports: Mapping[str, Report] | None = None,
    changes: journal.Journal | None = None,
    held: str | None = None,
    last_try: bool = False,
) -> Report:
    """Run one step by its name, with the conf of the run as it came; what workers and triggerer both call.

    *opened* checks the conf and opens the clusters, *doing* does the step while the run holds its turn, and *explain*
    says in an error what is most likely wrong: `join.run`, `leave.run` and `rotation.run` are this with theirs.

    What the step changes is noted in *changes* before it is sent, so that it is known however the step ends. What it
    could not check or do without a right is among the warnings of its report. An error that ends the step for good,
    which in the *last_try* is every one, is explained.

    *held* is the turn that `take_turn` has reported: the step makes sure that the run holds it still, or waits for it
    again, before it does anything.

    Raises what *opened* raises, Longer when a wait has to leave the worker, and what the step raises.
    """
    given = Given(
        limits=limits,
        attempt=attempt,
        started=started,
        leave_worker=leave_worker,
        reports=reports or {},
        changes=changes or journal.Journal(),
    )
    async with opened(step, raw, given) as ready:
        work = doing(step, ready, held)
        try:
            report = await (work if ready.turns is None else ready.turns.working(work))
        except errors.FleetError as error:
            if explain is not None and (last_try or isinstance(error, errors.PermanentError)):
                await explain(ready, step, error)
            raise
        return _with_losses(report, ready.sides)


async def wait_for_installer(attempt: Given, cluster: clusters.Cluster, *, seconds: float) -> kubesphere.Snapshot:
    """Wait until ks-installer on *cluster* has done all that is asked for; what `installer.wait` returns and raises."""
    return await installer.wait(
        cluster,
        attempt=attempt.attempt,
        limit=attempt.limit(seconds),
        seconds=seconds,
        limits=attempt.limits,
        changes=attempt.changes,
    )


async def take_turn(
    attempt: Attempt,
    name: str,
    *,
    unless: Callable[[], Awaitable[bool]] | None = None,
    bells: Sequence[waits.Bell] = (),
    member: str = "",
) -> bool:
    """Wait for a turn as long as the conf says; what `turn.Turns.take` returns and raises.

    Where the host is lost, there is no Lease to take.
    """
    if attempt.turns is None:
        return True
    seconds = attempt.conf.turn_timeout
    return await attempt.turns.take(
        name, limit=attempt.limit(seconds), seconds=seconds, unless=unless, bells=bells, member=member
    )


async def in_turn(
    step: Step[AnyAttempt], attempt: AnyAttempt, *, held: str | None, last: Sequence[str | None] = ()
) -> Report:
    """Do a step while the run holds the turn *held*, None for none.

    *last* are the turns that end with it: then the next run is let in, unless the step is tried again.
    """
    if held is not None and attempt.turns is not None and not await attempt.turns.keep(held):
        await take_turn(attempt, held)
    try:
        report = await step(attempt)
    except errors.PermanentError:
        await _let_next_in(attempt, last)
        raise
    await _let_next_in(attempt, last)
    return report


async def _let_next_in(attempt: Attempt, names: Iterable[str | None]) -> None:
    for name in names:
        if name is not None and attempt.turns is not None:
            await attempt.turns.give_back(name)
