"""A fleet of simulated clusters, and what reconciles it: survey and decision, and joins as Airflow runs them."""

import asyncio
import concurrent.futures
import dataclasses
import datetime
import json
import os
import subprocess
import sys

import pytest
import yaml

from include.fleet import deciding, inventory, settings, surveying, triggers
from include.simulator.simulation import Simulation
from tests.chaos import cases
from tests.joins import evidence

TIMING = {"queue": 0.05, "run": 0.4, "reload": 0.2, "sync": 0.05, "resync": 0.5, "kubelet": 0.05}
WORKS = {
    deciding.JOIN_DAG: (triggers.JOIN, cases.WAITS),
    deciding.LEAVE_DAG: (triggers.LEAVE, {"remove_timeout": 60, "member_installer_timeout": 60}),
}
"""What the runs of a DAG do, and the seconds that they are given for it."""
TOWER = {"load_balancer": "139.198.110.23", "proxy_address": "http://139.198.110.23:8080"}


@dataclasses.dataclass
class Fleet:
    """A simulation, the inventory that declares it, and the records of its reconciles."""

    simulation: Simulation
    declared: dict
    limits: settings.Settings
    records: list = dataclasses.field(default_factory=list)
    states: dict = dataclasses.field(default_factory=dict)
    """Of the runs that were started, by id."""
    diagnoses: dict = dataclasses.field(default_factory=dict)
    now: datetime.datetime | None = None
    """What time it is for the reconciles; None: what it is."""

    @property
    def host(self):
        return self.simulation.clusters["host"]

    def member(self, name):
        """The declaration of a member, to be changed."""
        return next(item for item in self.declared["hosts"][0]["members"] if item["cluster"] == name)

    def reconcile(self, *, members=(), dry_run=False):
        """Observe and decide once, as a run of reconcile_fleet does; return the record."""
        fleet = inventory.load(yaml.safe_dump(self.declared))
        part = surveying.part(fleet, members=members)
        now = self.now or datetime.datetime.now(datetime.UTC)
        seen = asyncio.run(
            surveying.survey(part, path="fleet.yaml", limits=self.limits, now=now, partial=part != fleet)
        )
        self.observation = seen = json.loads(json.dumps(seen))
        record = deciding.decide(
            seen,
            self.records[-1] if self.records else None,
            deciding.Known(dict(self.states), dict(self.diagnoses)),
            run_id=f"reconcile-{len(self.records)}",
            now=now,
            dry_run=dry_run,
        )
        self.records.append(json.loads(json.dumps(record)))
        return self.records[-1]

    def repair(self):
        """Run what the last reconcile has started, in two processes, in each of them one after the other."""
        actions = self.records[-1]["actions"]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(self._run, filter(None, (actions[::2], actions[1::2]))))

    def _run(self, actions):
        given = []
        for action in actions:
            work, waits = WORKS[action["dag_id"]]
            given.append({"conf": {**action["conf"], **waits}, "run_id": action["run_id"], "work": work})
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.steps"],
            cwd=cases.ROOT,
            env={**os.environ, "PYTHONPATH": str(cases.ROOT)},
            input="\n".join(map(json.dumps, given)),
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        self.states |= dict.fromkeys((action["run_id"] for action in actions), "success")

    def row(self, name):
        """The row of a member in the last record."""
        return next(row for host in self.records[-1]["hosts"] for row in host["members"] if row["cluster"] == name)

    def writes(self):
        """What the product has written, by cluster."""
        return {name: evidence.writes(cluster) for name, cluster in self.simulation.clusters.items()}


def looked_at(cluster):
    """When the host's controller has last looked at a Cluster, by its condition Ready."""
    ready = [item for item in cluster["status"].get("conditions", []) if item["type"] == "Ready"]
    return datetime.datetime.fromisoformat(ready[-1]["lastUpdateTime"] if ready else "1970-01-01T00:00:00Z")


@pytest.fixture
def make_fleet(tmp_path, monkeypatch):
    """Start a host with members that are joined as they are declared; `host` and `member` change the inventory."""
    started = []

    def start(members, *, host=None, declared=None, kubesphere="v3.4.1", settled=True, **scenario):
        scenario = {
            "kubesphere": kubesphere,
            "timing": TIMING,
            "host": {"name": "host", "role": "host", **TOWER, **(host or {})},
            "members": [{"joined": item["name"], "role": "member", "secret": "host", **item} for item in members],
            **scenario,
        }
        simulation = Simulation(scenario, directory=tmp_path)
        simulation.__enter__()
        started.append(simulation)

        def joined():
            return simulation.clusters["host"].objects("clusters")

        for conn_id, connection in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        # Nothing goes wrong with single requests here, and fourteen clusters share a process with what asks them.
        for name, value in {**cases.SETTINGS, "CONNECT_TIMEOUT": 5, "REQUEST_TIMEOUT": 15}.items():
            monkeypatch.setenv(f"AIRFLOW__FLEET__{name}", str(value))
        rows = [
            {"cluster": item["name"], "member_conn_id": item["name"], "connection": item.get("connection", "direct")}
            for item in members
        ]
        for row in rows:
            if row["connection"] == "direct":
                row["member_server"] = simulation.clusters[row["cluster"]].pod_server
        inventory_host = {"name": "europe", "host_conn_id": "host", "members": rows, **(declared or {})}
        # The host's controller has looked at each of them since its agent could connect.
        begun = datetime.datetime.now(datetime.UTC)
        if settled and kubesphere == "v3.4.1":
            evidence.wait_for(lambda: all(looked_at(item) >= begun for item in joined()), seconds=90)
        if settled:
            evidence.wait_for(lambda: all(map(evidence.is_ready, joined())), seconds=60)
        return Fleet(
            simulation,
            {"version": 1, "hosts": [inventory_host]},
            settings.Settings(connect_timeout=1.5, request_timeout=5, survey_timeout=10, resync=60),
        )

    yield start
    for simulation in started:
        simulation.__exit__(None, None, None)
