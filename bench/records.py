"""What Airflow's own records tell about a run: when each task had a worker, and where the time went."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from include.demo import rest

BEGINS = "running"
ENDS = frozenset({"deferred", "success", "failed", "skipped", "up_for_retry", "up_for_reschedule"})
"""Events that Airflow writes when a task's process reports how it has ended."""

Events = Iterable[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Span:
    """A task from its first moment in a worker to its last one, with what came before."""

    task_id: str
    began: datetime.datetime
    ended: datetime.datetime
    slot: float
    """Seconds in which it held a worker's slot; the rest it was deferred, or waited for a worker again."""
    idle: float
    """Seconds in which nothing of the run was at work before it was scheduled."""
    start_up: float
    """Seconds from there to its first moment in a worker."""

    @property
    def deferred(self) -> float:
        """Return the seconds in which it held no slot."""
        return (self.ended - self.began).total_seconds() - self.slot


def events(of: rest.Airflow, dag_id: str, *, run_id: str) -> list[dict[str, Any]]:
    """Return the entries of Airflow's event log about a run, in their order."""
    return list(of.get("eventLogs", dag_id=dag_id, run_id=run_id, order_by="event_log_id", limit=1000)["event_logs"])


def slot_seconds(log: Events) -> dict[str, float]:
    """Return by task how long it was running, from Airflow's event log in the order of its entries.

    A task instance's own start and duration do not tell: they span the time in which it was deferred.
    """
    held: dict[str, float] = collections.defaultdict(float)
    for task_id, began, ended in _stretches(log):
        held[task_id] += (ended - began).total_seconds()
    return {task_id: round(seconds, 2) for task_id, seconds in held.items()}


def spans(log: Events, tasks: Iterable[Mapping[str, Any]], *, triggered: datetime.datetime) -> list[Span]:
    """Return the tasks that had a worker, in the order in which they began.

    Airflow keeps the last time at which a task was scheduled: of one that was deferred `start_up` is not known, and
    all that came before it counts as `idle`.
    """
    stretches = list(_stretches(log))
    scheduled = {task["task_id"]: task["scheduled_when"] for task in tasks}
    by_task: dict[str, list[tuple[datetime.datetime, datetime.datetime]]] = {}
    for task_id, began, ended in stretches:
        by_task.setdefault(task_id, []).append((began, ended))
    found = []
    for task_id, held in by_task.items():
        first, last = held[0][0], held[-1][1]
        due = datetime.datetime.fromisoformat(scheduled[task_id]) if scheduled.get(task_id) else first
        due = min(due, first)
        before = max((end for other, _, end in stretches if other != task_id and end <= first), default=triggered)
        found.append(
            Span(
                task_id=task_id,
                began=first,
                ended=last,
                slot=sum((end - begin).total_seconds() for begin, end in held),
                idle=max(0.0, (due - before).total_seconds()),
                start_up=(first - due).total_seconds(),
            )
        )
    return sorted(found, key=lambda span: span.began)


def at(moment: datetime.datetime, among: Iterable[Span]) -> str:
    """Name the task of a moment, with those that had a part of its time; "" if there was none."""
    spans = list(among)
    there = [span for span in spans if span.began <= moment <= span.ended]
    together = {
        other.task_id for span in there for other in spans if other.began <= span.ended and span.began <= other.ended
    }
    return "+".join(sorted(together))


def first_within(among: Iterable[Span], moments: Iterable[datetime.datetime]) -> dict[str, float]:
    """Return by task the seconds from its begin to the first of the moments, in their order, that it had not ended by.

    Tasks at the same time share their moments. A task without any is left out.
    """
    ordered = list(moments)
    found = {}
    for span in among:
        first = next((moment for moment in ordered if span.began <= moment <= span.ended), None)
        if first is not None:
            found[span.task_id] = (first - span.began).total_seconds()
    return found


def _stretches(log: Events) -> Iterable[tuple[str, datetime.datetime, datetime.datetime]]:
    """Yield task, begin and end of each stretch in a worker. Raises LookupError where an end is missing."""
    began: dict[str, datetime.datetime] = {}
    for event in log:
        task_id, when = event["task_id"], datetime.datetime.fromisoformat(event["when"])
        if event["event"] == BEGINS:
            began[task_id] = when
        elif event["event"] in ENDS and task_id in began:
            yield task_id, began.pop(task_id), when
    if began:
        raise LookupError(f"the event log does not tell when these have ended: {sorted(began)}")
