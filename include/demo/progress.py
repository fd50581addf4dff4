"""What a person sees of a run: a line whenever a task begins, waits or ends, and a table when all is over."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from include.demo import proof

_WORDS = {
    "running": "running",
    "deferred": "waiting",
    "up_for_retry": "failed, will be tried again",
    "success": "done",
    "skipped": "skipped",
    "failed": "failed",
    "upstream_failed": "not reached",
}
"""The states that a person cares for. The others, like `queued`, last a moment and mean nothing to them."""
_COLOURS = {"success": "32", "failed": "31", "up_for_retry": "33", "skipped": "2", "upstream_failed": "2"}
_ENDED = frozenset({"success", "failed"})


class Progress:
    """Turns what Airflow says about a run's tasks into lines, each change once."""

    def __init__(self, *, label: str, colour: bool) -> None:
        """Say of which run with *label*; use colours only where they are shown as such."""
        self._label = label
        self._colour = colour
        self._shown: dict[str, str] = {}

    def lines(self, tasks: Iterable[Mapping[str, Any]], *, seconds: float) -> list[str]:
        """Return a line for each task that has changed since the last call, in the order of their starts."""
        changed = [
            task for task in tasks if task["state"] in _WORDS and self._shown.get(task["task_id"]) != task["state"]
        ]
        self._shown |= {task["task_id"]: task["state"] for task in changed}
        return [self._line(task, seconds=seconds) for task in sorted(changed, key=_start)]

    def _line(self, task: Mapping[str, Any], *, seconds: float) -> str:
        state = task["state"]
        word = _WORDS[state]
        if state in _ENDED:
            word = f"{word} in {_seconds(task):.1f} s"
        shown = painted(word, _COLOURS.get(state), colour=self._colour)
        return f"{seconds:7.1f} s  {self._label}  {task['task_id']:<22} {shown}"


def painted(text: str, code: str | None, *, colour: bool) -> str:
    """Wrap a text in a terminal's colour code."""
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


def durations(tasks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one line per task that ran, with its seconds, in the order of their starts."""
    ran = [task for task in tasks if task["state"] in _ENDED and task["start_date"]]
    return [f"  {task['task_id']:<22} {_seconds(task):7.1f} s" for task in sorted(ran, key=_start)]


def evidence(claims: Sequence[proof.Claim], *, colour: bool) -> list[str]:
    """Return one line per claim."""
    width = max(len(claim.text) for claim in claims)
    lines = []
    for claim in claims:
        mark = painted("yes", "32", colour=colour) if claim.holds else painted("NO ", "31", colour=colour)
        lines.append(f"  {mark}  {claim.text:<{width}}  {claim.evidence}")
    return lines


def error_text(log: str) -> str:
    """Find the error with which a task ended in its log, which is a JSON object per line."""
    for line in reversed(log.splitlines()):
        record = json.loads(line)
        if record.get("error_detail"):
            last = record["error_detail"][-1]
            return f"{last['exc_type']}: {last['exc_value']}"
    return "its log names no error"


def _start(task: Mapping[str, Any]) -> tuple[bool, str]:
    # A task that never starts, as a skipped one, has no start: it comes last.
    return task["start_date"] is None, task["start_date"] or ""


def _seconds(task: Mapping[str, Any]) -> float:
    # Not Airflow's `duration`: of a task that waited in the triggerer it counts the last stretch only.
    if not task["start_date"] or not task["end_date"]:
        return 0.0
    start, end = (dt.datetime.fromisoformat(task[key]) for key in ("start_date", "end_date"))
    return (end - start).total_seconds()
