"""What was measured, as the JSON lines that `make bench` prints. Pure but for the machine's own facts."""

from __future__ import annotations

import collections
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench import joins

RATIO_BAR, RATIO_RUN = 1.3, 15.0
"""A join by DAG takes at most so many times the runbook, with an installer that takes so many seconds."""
REQUESTS_BAR = 60
"""So many API requests a join by DAG sends at most, those of its checks left out."""

Line = dict[str, Any]


def of_joins(
    way: str, run: float, *, runbooks: Sequence[joins.Cost], dags: Sequence[joins.DagCost], on: Mapping[str, Any]
) -> Line:
    """Return the line for one way and one length of the installer's run."""
    runbook, dag = (_all([cost.seconds for cost in costs]) for costs in (runbooks, dags))
    ratio = round(dag["median"] / runbook["median"], 2)
    outside = _all([cost.requests_outside_checks for cost in dags])
    return {
        "way": way,
        "installer_seconds": run,
        "rounds": len(dags),
        "runbook": {"seconds": runbook, "requests": _all([cost.requests.total() for cost in runbooks])},
        "dag": {
            "seconds": dag,
            "requests": _all([cost.requests.total() for cost in dags]),
            "requests_outside_checks": outside,
            "requests_by_task": _medians(cost.requests_by_task for cost in dags),
            "requests_by_name": _medians(cost.requests for cost in dags),
            "slot_seconds": _all([cost.slot_seconds for cost in dags]),
            "tasks": _tasks(dags),
            "after_last_task": round(statistics.median(cost.rest for cost in dags), 2),
        },
        "ratio": ratio,
        "bars": [
            *([{"what": "ratio", "bar": RATIO_BAR, "holds": ratio <= RATIO_BAR}] if run == RATIO_RUN else []),
            {
                "what": "requests outside checks",
                "bar": REQUESTS_BAR,
                "holds": max(outside["all"]) <= REQUESTS_BAR,
            },
        ],
        **on,
    }


def of_start_up(imports: Mapping[str, Any], *, no_op: Mapping[str, Any], on: Mapping[str, Any]) -> Line:
    """Return the line for what a task costs before it does anything."""
    return {"start_up": dict(imports), "no_op_slot_seconds": dict(no_op), **on}


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: the machine, how busy it is at the moment, and the versions."""
    command = [str(joins.KUBECTL), "version", "--client", "--output", "json"]
    kubectl = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "airflow": importlib.metadata.version("apache-airflow"),
        "kubectl": kubectl["clientVersion"]["gitVersion"],
    }


def _all(values: Sequence[float]) -> dict[str, Any]:
    rounded = [round(value, 2) for value in values]
    return {"median": round(statistics.median(rounded), 2), "all": rounded}


def _medians(counts: Iterable[collections.Counter[str]]) -> dict[str, float]:
    """Return the medians by key; a key that is not in every count is 0 in the others."""
    listed = list(counts)
    keys = dict.fromkeys(key for count in listed for key in count)
    return {key: statistics.median(count[key] for count in listed) for key in keys}


def _tasks(dags: Sequence[joins.DagCost]) -> dict[str, dict[str, float]]:
    """Return by task where its seconds went, medians, in the order in which tasks began."""
    found: dict[str, list[dict[str, float]]] = {}
    for cost in dags:
        for span in cost.spans:
            parts = {"idle": span.idle, "start_up": span.start_up, "slot": span.slot, "deferred": span.deferred}
            if span.task_id in cost.first_requests:
                parts["to_first_request"] = cost.first_requests[span.task_id]
            found.setdefault(span.task_id, []).append(parts)
    return {
        task_id: {
            part: round(statistics.median(each[part] for each in parts if part in each), 2)
            for part in ("idle", "start_up", "slot", "deferred", "to_first_request")
            if any(part in each for each in parts)
        }
        for task_id, parts in found.items()
    }
