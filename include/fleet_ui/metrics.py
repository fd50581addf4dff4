"""The fleet as Prometheus reads it, made of the record of the last reconcile and of what Airflow knows of runs.

Pure. Names and units follow https://prometheus.io/docs/practices/naming: base units, but for the days that a credential
is still valid, which are for people; alerts take the time at which it ends. A member's label is `member` and not
`cluster`, which many a Prometheus gives to whatever it scrapes.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from include.fleet import deciding, records

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS = (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds: a look takes one, an installer on real clusters minutes."""
_PREFIX = "kubesphere_fleet"
_ENDED = ("success", "failed")
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Durations:
    """How long one phase of the joins that have succeeded took."""

    phase: str
    """Its task's id."""
    within: Sequence[int]
    """How many took at most as long as each of the buckets."""
    number: int
    seconds: float
    """All of them together."""


@dataclass(frozen=True)
class Repairs:
    """How many runs of a DAG reconciles have started, that are in a state."""

    dag_id: str
    state: str
    number: int


def text(document: Any, *, durations: Iterable[Durations], repairs: Iterable[Repairs], now: datetime.datetime) -> bytes:
    """Return all metrics in Prometheus' text format; *document* is the newest record as it was found, None for none."""
    record = records.usable(document)
    registry = CollectorRegistry()
    registry.register(_Collected([*_of_record(record, now=now), _of_joins(durations), *_of_repairs(repairs)]))
    return generate_latest(registry)


class _Collected(Collector):
    """What was collected already: nothing is kept from one answer to the next."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return what there is."""
        return iter(self._families)


def _of_record(record: Mapping[str, Any] | None, *, now: datetime.datetime) -> list[Metric]:
    observed = _gauge("observed_timestamp_seconds", "When the last reconcile looked at the fleet.")
    reached = _gauge("host_reached", "Whether the host cluster answered the last reconcile.", "host")
    members = _gauge("members", "Members by the state that the last reconcile recorded.", "host", "state")
    drifted = _gauge("drifted_members", "Members that are not as declared, by the kind of drift.", "host", "kind")
    findings = _gauge("host_findings", "What is wrong with the host cluster itself.", "host", "kind")
    ends = _gauge(
        "credential_expiry_timestamp_seconds", "When the host's credential for the member ends.", "host", "member"
    )
    left = _gauge(
        "credential_remaining_days", "Days until the host's credential for the member ends.", "host", "member"
    )
    if record:
        observed.add_metric([], _time(record["observed_at"]).timestamp())
    for host in record["hosts"] if record else ():
        name = host["name"]
        reached.add_metric([name], 0 if host["error"] else 1)
        states = Counter(row["state"] for row in host["members"])
        for state in records.STATES:
            members.add_metric([name, state], states[state])
        kinds = Counter(kind for row in host["members"] for kind in {drift["kind"] for drift in row["drift"]})
        for kind, number in sorted(kinds.items()):
            drifted.add_metric([name, kind], number)
        for kind, number in sorted(Counter(found["kind"] for found in host["findings"]).items()):
            findings.add_metric([name, kind], number)
        for row in host["members"]:
            if row.get("credential_expires"):
                end = _time(row["credential_expires"])
                ends.add_metric([name, row["cluster"]], end.timestamp())
                left.add_metric([name, row["cluster"]], round((end - now) / _DAY, 3))
    return [observed, reached, members, drifted, findings, ends, left]


def _of_joins(durations: Iterable[Durations]) -> Metric:
    family = HistogramMetricFamily(
        f"{_PREFIX}_join_phase_duration_seconds",
        "How long the phases of the joins that have succeeded took, waits included.",
        labels=["phase"],
    )
    for each in sorted(durations, key=lambda each: each.phase):
        bounds = [*(str(float(bound)) for bound in BUCKETS), "+Inf"]
        family.add_metric([each.phase], list(zip(bounds, [*each.within, each.number], strict=True)), each.seconds)
    return family


def _of_repairs(repairs: Iterable[Repairs]) -> list[Metric]:
    ended = CounterMetricFamily(
        f"{_PREFIX}_repairs",
        "Runs that reconciles have started and that have ended, by the state in which they did.",
        labels=["dag_id", "state"],
    )
    running = _gauge("repairs_running", "Runs that reconciles have started and that have not ended.", "dag_id")
    counted = {(each.dag_id, each.state): each.number for each in repairs}
    for dag_id in (deciding.JOIN_DAG, deciding.LEAVE_DAG):
        for state in _ENDED:
            ended.add_metric([dag_id, state], counted.get((dag_id, state), 0))
        running.add_metric([dag_id], sum(counted.get((dag_id, state), 0) for state in records.RUNNING))
    return [ended, running]


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", documentation, labels=labels)


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
