"""One join of a fresh member to a host that is none yet, by runbook or by DAG, and what it has cost."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench import audit, records
from include.demo import airflow, processes, progress, proof, settings, simulator
from include.simulator.access import Entry

DAG = "join_member_cluster"
MEMBER = "m1"
WAYS = ("direct", "proxy")
CHECKS = frozenset({"preflight", "plan", "verify_join"})
"""Tasks whose requests are checks, not the join itself."""
RUNBOOK = settings.ROOT / "bench" / "runbook.sh"
KUBECTL = Path(sys.executable).with_name("kubectl")

_ENDS_WITHIN = 300.0

Result = TypeVar("Result")
Logs = Mapping[str, list[Entry]]


class JoinFailedError(Exception):
    """A join has not ended as it must, and why."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one join has cost."""

    seconds: float
    requests: collections.Counter[str]
    """By cluster and name."""


@dataclasses.dataclass(frozen=True)
class DagCost(Cost):
    """What one join by DAG has cost."""

    requests_by_task: collections.Counter[str]
    first_requests: Mapping[str, float]
    """By task the seconds from its first moment in a worker to the first request since then, mostly imports."""
    spans: tuple[records.Span, ...]
    """The tasks that had a worker."""
    rest: float
    """Seconds from the end of the last task to the end of the run."""

    @property
    def slot_seconds(self) -> float:
        """Return for how long a worker's slot was held in all."""
        return sum(span.slot for span in self.spans)

    @property
    def requests_outside_checks(self) -> int:
        """Return how many requests no check has sent."""
        return sum(number for task_id, number in self.requests_by_task.items() if task_id not in CHECKS)


def by_runbook(way: str, *, run: float) -> Cost:
    """Join by runbook, with installer runs of *run* seconds.

    kubectl knows already what the clusters serve, as it does for a person who has looked at them before.
    Raises processes.ProcessDiedError with what the runbook said last if it fails.
    """

    def join(directory: Path, pod_server: str) -> float:
        kubeconfigs = [directory / f"{name}.kubeconfig" for name in ("host", MEMBER)]
        environment = {
            **os.environ,
            "KUBECTL": str(KUBECTL),
            "KUBECACHEDIR": str(directory / "kubectl"),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        for kubeconfig in kubeconfigs:
            command = [str(KUBECTL), "--kubeconfig", str(kubeconfig), "api-resources"]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        with processes.Processes(grace=2) as running:
            began = time.monotonic()
            running.start(
                "the runbook",
                command=[RUNBOOK, way, *kubeconfigs, MEMBER, *([pod_server] if way == "direct" else [])],
                log=directory / "runbook.log",
                environment=environment,
            ).finish()
            return time.monotonic() - began

    seconds, logs = _played(join, run=run)
    return Cost(seconds=seconds, requests=audit.count(audit.sent_by(audit.RUNBOOK, logs)))


def by_dag(on: airflow.LocalAirflow, way: str, *, run: float) -> DagCost:
    """Join by DAG, with installer runs of *run* seconds. Raises JoinFailedError with the failed task's own words."""

    def join(directory: Path, pod_server: str) -> tuple[float, tuple[records.Span, ...], float]:
        prefix = uuid.uuid4().hex[:8]
        for name, connection in simulator.connections(directory).items():
            on.add_connection(f"{prefix}-{name}", connection=connection)
        conf = {
            "cluster": MEMBER,
            "host_conn_id": f"{prefix}-host",
            "member_conn_id": f"{prefix}-{MEMBER}",
            "connection": way,
            **({"member_server": pod_server} if way == "direct" else {}),
        }
        triggered = datetime.datetime.now(datetime.UTC)
        run_id = on.trigger(DAG, conf=conf)
        if on.wait(DAG, run_id=run_id, seconds=_ENDS_WITHIN + run) != "success":
            raise JoinFailedError(_failure(on, run_id=run_id))
        ended = datetime.datetime.fromisoformat(on.run(DAG, run_id=run_id)["end_date"])
        tasks = on.task_instances(DAG, run_id=run_id)
        spans = tuple(records.spans(records.events(on, DAG, run_id=run_id), tasks, triggered=triggered))
        rest = (ended - max(span.ended for span in spans)).total_seconds()
        return (ended - triggered).total_seconds(), spans, rest

    (seconds, spans, rest), logs = _played(join, run=run)
    sent = audit.sent_by(audit.PRODUCT, logs)
    moments = [entry.time for _, entry in sent]
    return DagCost(
        seconds=seconds,
        requests=audit.count(sent),
        requests_by_task=collections.Counter(records.at(moment, spans) or "none" for moment in moments),
        first_requests=records.first_within(spans, moments),
        spans=spans,
        rest=rest,
    )


def _played(join: Callable[[Path, str], Result], *, run: float) -> tuple[Result, Logs]:
    """Give a join clusters of its own, in a process of their own; return its result and their audit logs."""
    scenario = {"timing": {"run": run}, "host": {"load_balancer": "139.198.110.23"}, "members": [{"name": MEMBER}]}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory, file = Path(name), Path(name) / "scenario.yaml"
        file.write_text(json.dumps(scenario))
        with simulator.simulated(file, directory=directory, log=directory / "simulator.log") as addresses:
            result = join(directory, addresses[MEMBER]["pod_server"])
            _check(directory)
        return result, audit.read(directory, names=addresses)


def _check(directory: Path) -> None:
    """Raise JoinFailedError unless the clusters themselves show that the member is joined."""
    kubeconfigs = {name: directory / f"{name}.admin.kubeconfig" for name in ("host", MEMBER)}
    claims = proof.claims(MEMBER, host=kubeconfigs["host"], member=kubeconfigs[MEMBER])
    broken = [f"not {claim.text} ({claim.evidence})" for claim in claims if not claim.holds]
    if broken:
        raise JoinFailedError("; ".join(broken))


def _failure(on: airflow.LocalAirflow, *, run_id: str) -> str:
    tasks: list[dict[str, Any]] = on.task_instances(DAG, run_id=run_id)
    failed = [task for task in tasks if task["state"] == "failed"]
    words = []
    for task in failed:
        log = on.logs(DAG, run_id=run_id, task_id=task["task_id"], attempt=task["try_number"])
        words.append(f"{task['task_id']}: {progress.error_text(log)}")
    return "; ".join(words) or f"run {run_id} has failed, and none of its tasks"
