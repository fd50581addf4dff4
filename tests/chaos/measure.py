"""What a long installer run costs: requests to the clusters, and seconds in which a worker's slot is held.

The bar: "During a 60 s installer run a join holds a worker slot for less than 10 s in all, and sends at most 5 API
requests more than with a 15 s run; the simulator's count and Airflow's own records show it." All settings are the
defaults, and so is the simulator's timing but for the installer's run.

`python -m tests.chaos.measure` plays the joins and prints what they cost, one JSON object a line.
"""

import argparse
import collections
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import audit, records
from include.demo import airflow
from include.simulator import simulation
from tests.chaos import cases
from tests.joins import evidence

DAG = "join_member_cluster"
MEMBER = "m1"
WARM_UP = 1.0
SHORT, LONG = 15.0, 60.0
"""Seconds of an installer run. Host and member run theirs at the same time."""
SLOT_SECONDS = 10.0
MORE_REQUESTS = 5
RUN_ENDS_WITHIN = 300.0


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one join has cost."""

    way: str
    run: float
    """Seconds of one installer run."""
    wall_seconds: float
    requests: int
    slot_seconds: float
    by_task: Mapping[str, float]
    """Worker-slot seconds by task."""
    by_request: Mapping[str, int] = dataclasses.field(repr=False)
    load: float
    """Of this machine in the last minute: a task takes longer where cores are short."""

    def told(self) -> dict[str, Any]:
        """Return what is worth a line; the requests by name are only worth comparing."""
        fields = dataclasses.asdict(self)
        del fields["by_request"]
        return fields


@dataclasses.dataclass(frozen=True)
class Difference:
    """What a long run costs more than a short one."""

    way: str
    more_requests: int
    requests: Mapping[str, int]
    """Which requests were sent more often, or with a negative number less often."""
    slot_seconds: float
    """Of the long run, in all."""
    more_slot_seconds: float
    holds: bool
    """Whether it is within the bar."""


def measure(on: airflow.LocalAirflow, *, way: str, run: float) -> Cost:
    """Join a member to a host that is none yet, both of them fresh, and return what it has cost."""
    scenario = {"timing": {"run": run}, "host": {"load_balancer": "139.198.110.23"}, "members": [{"name": MEMBER}]}
    with (
        tempfile.TemporaryDirectory(prefix="measure-") as directory,
        simulation.Simulation(scenario, directory=directory) as clusters,
    ):
        conn_ids = {name: f"{way}-{run:g}-{name}" for name in clusters.connections}
        for name, connection in clusters.connections.items():
            on.add_connection(conn_ids[name], connection=connection)
        conf = {
            "cluster": MEMBER,
            "host_conn_id": conn_ids["host"],
            "member_conn_id": conn_ids[MEMBER],
            "connection": way,
        }
        if way == "direct":
            conf["member_server"] = clusters.clusters[MEMBER].pod_server
        began = time.monotonic()
        run_id = on.trigger(DAG, conf=conf)
        state = on.wait(DAG, run_id=run_id, seconds=RUN_ENDS_WITHIN)
        wall = time.monotonic() - began
        assert state == "success", {task["task_id"]: task["state"] for task in on.task_instances(DAG, run_id=run_id)}
        evidence.assert_joined(clusters, name=MEMBER, member=MEMBER)
        by_task = records.slot_seconds(records.events(on, DAG, run_id=run_id))
        requests = requests_of(clusters)
    return Cost(
        way=way,
        run=run,
        wall_seconds=round(wall, 1),
        requests=sum(requests.values()),
        slot_seconds=round(sum(by_task.values()), 2),
        by_task=by_task,
        by_request=requests,
        load=round(os.getloadavg()[0], 1),
    )


def requests_of(clusters: simulation.Simulation) -> collections.Counter[str]:
    """Count what the product has sent to host and member, by name."""
    logs = {name: cluster.audit() for name, cluster in clusters.clusters.items()}
    return audit.count(audit.sent_by(audit.PRODUCT, logs))


def difference(short: Cost, long: Cost) -> Difference:
    """Compare a join with a long run with one with a short run."""
    more = {
        name: long.by_request.get(name, 0) - short.by_request.get(name, 0)
        for name in sorted({*short.by_request, *long.by_request})
    }
    return Difference(
        way=long.way,
        more_requests=long.requests - short.requests,
        requests={name: count for name, count in more.items() if count},
        slot_seconds=long.slot_seconds,
        more_slot_seconds=round(long.slot_seconds - short.slot_seconds, 2),
        holds=long.slot_seconds < SLOT_SECONDS and long.requests - short.requests <= MORE_REQUESTS,
    )


def play(home: Path, *, ways: Iterable[str] = cases.WAYS) -> Iterator[Cost | Difference]:
    """Play a short and a long join of each way on one Airflow, one after the other: they share the cores."""
    with airflow.LocalAirflow(home, port=0, connections={}) as running:
        running.await_dag(DAG)
        # The first join pays for what is imported and compiled for the first time.
        measure(running, way="direct", run=WARM_UP)
        for way in ways:
            short = measure(running, way=way, run=SHORT)
            yield short
            long = measure(running, way=way, run=LONG)
            yield long
            yield difference(short, long)


def problems(found: Iterable[Cost | Difference]) -> list[str]:
    """Return what is not within the bar, a sentence each."""
    return [
        f"{each.way}: {each.more_requests} requests more with a run of {LONG:.0f} s, and a worker held for "
        f"{each.slot_seconds} s"
        for each in found
        if isinstance(each, Difference) and not each.holds
    ]


def main() -> int:
    """Print what the joins cost; 0 if all are within the bar."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.measure", description=__doc__)
    parser.add_argument("--way", choices=cases.WAYS, action="append", help="only this way")
    options = parser.parse_args()
    holds = True
    with tempfile.TemporaryDirectory(prefix="measure-airflow-") as home:
        for found in play(Path(home), ways=options.way or cases.WAYS):
            if isinstance(found, Difference):
                holds = holds and found.holds
            print(json.dumps(found.told() if isinstance(found, Cost) else dataclasses.asdict(found)), flush=True)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
