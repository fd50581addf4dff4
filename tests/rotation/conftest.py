"""Fleets whose jwtSecret is rotated; what the product says of them is looked through for secrets in the end."""

import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.parse

import pytest
import yaml

from include.fleet import triggers
from tests.chaos import cases, steps
from tests.joins import evidence
from tests.reconcile.conftest import make_fleet  # noqa: F401 - a fixture

SYSTEM = "kubesphere-system"
RUN = "manual__2026-11-26T20:00:00+00:00"
CONF = {
    "host": "europe",
    "approve": False,
    "turn_timeout": 30,
    "host_installer_timeout": 60,
    "member_installer_timeout": 60,
    "verify_timeout": 30,
}


@dataclasses.dataclass
class Stage:
    """A fleet, what was said and reported of it, and which secrets it has had."""

    fleet: object
    path: object
    said: list
    reports: list = dataclasses.field(default_factory=list)
    secrets: set = dataclasses.field(default_factory=set)

    @property
    def clusters(self):
        return self.fleet.simulation.clusters

    @property
    def host(self):
        return self.fleet.host

    def declare(self):
        """Write the inventory as it is declared now."""
        self.path.write_text(yaml.safe_dump(self.fleet.declared))

    def rotate(self, *, run_id=RUN, **conf):
        """Run the whole rotation as Airflow does; return the reports."""
        try:
            reports = steps.play_rotation({**CONF, **conf}, run_id=run_id)
        finally:
            self.remember()
        self.reports.append(reports)
        return reports

    def step(self, name, *, run_id=RUN, reports=None, **conf):
        """Run one step; return its report."""
        conf = {**CONF, **conf}
        report = steps.with_retries(name, conf, run_id=run_id, reports=reports or {}, work=triggers.ROTATION)
        self.reports.append(report)
        return report

    def remember(self):
        """Note what must not be found anywhere."""
        for cluster in self.clusters.values():
            self.secrets.update(cluster.secrets())
            self.secrets.add(evidence.secret_of(cluster))

    def rotate_and_be_killed(self, act):
        """Run the whole rotation in a process of its own, which *act*, given the process, has killed."""
        process = [sys.executable, "-m", "tests.chaos.steps"]
        with subprocess.Popen(
            process,
            cwd=cases.ROOT,
            env={**os.environ, "PYTHONPATH": str(cases.ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            act(child)
            given = json.dumps({"conf": CONF, "run_id": RUN, "work": triggers.ROTATION})
            output = child.communicate(given, timeout=120)[0]
        self.said.append(output)
        self.remember()
        assert child.returncode == -signal.SIGKILL, output[-2000:]

    def kept_secret(self):
        """The secret that a rotation keeps, None where there is none."""
        return evidence.decoded(self.host, "next-jwt-secret")["jwtSecret"] if self.kept() else None

    def answers(self, name):
        """Tell whether the API server of a cluster takes connections."""
        (cluster,) = self.fleet.simulation.connections[name]["extra"]["kube_config"]["clusters"]
        server = urllib.parse.urlsplit(cluster["cluster"]["server"])
        with contextlib.suppress(OSError), socket.create_connection((server.hostname, server.port), timeout=1):
            return True
        return False

    def in_force(self):
        return {name: evidence.secret_of(cluster) for name, cluster in self.clusters.items()}

    def kept(self):
        """The names of the Secrets that a rotation keeps."""
        return [
            item["metadata"]["name"] for item in self.host.objects("secrets") if "next-jwt" in str(item["metadata"])
        ]

    def leases(self):
        return [item["metadata"]["name"] for item in self.host.objects("leases") if "join-member" in str(item)]


@pytest.fixture
def stage_of(airflow_home, make_fleet, tmp_path, monkeypatch):  # noqa: F811
    """Start a fleet whose inventory is a file, as rotations read it."""
    stages = []
    handler = logging.Handler()
    logger = logging.getLogger("include.fleet")

    def begin(members, **options):
        fleet = make_fleet(members, **options)
        stage = Stage(fleet, tmp_path / "fleet.yaml", [])
        handler.emit = lambda record: stage.said.append(record.getMessage())
        stage.declare()
        stage.remember()
        monkeypatch.setenv("AIRFLOW__FLEET__INVENTORY", str(stage.path))
        stages.append(stage)
        return stage

    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield begin
    logger.removeHandler(handler)
    logger.setLevel(level)
    for stage in stages:
        stage.remember()
        told = "\n".join([*stage.said, json.dumps(stage.reports)])
        assert len(stage.secrets) > 3
        assert [secret for secret in stage.secrets if secret in told] == []
