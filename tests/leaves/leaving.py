"""Leaves as Airflow would run them, and what the clusters themselves show of them."""

import json
import os

from include.fleet import triggers
from tests.chaos import steps
from tests.joins import evidence, rolling

SYSTEM = "kubesphere-system"
FEDERATION = "kube-federation-system"
CONF = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "member_installer_timeout": 60}
RUN = "manual__2026-11-26T20:00:00+00:00"
WEBHOOK = ("validatingwebhookconfigurations", "cluster.kubesphere.io")


def leave(stage, *, run_id=RUN, **conf):
    """Take the member out, with all retries; return what verify_leave reports."""
    reports = steps.play_leave({**CONF, **conf}, run_id=run_id)
    stage.reports.append(reports)
    return reports["verify_leave"]


def plan(stage, **conf):
    """Plan a leave; return the report."""
    report = steps.with_retries("plan", {**CONF, **conf}, run_id=RUN, reports={}, work=triggers.LEAVE)
    stage.reports.append(report)
    return report


def changed(stage):
    """What is not as it was when the clusters started, by cluster."""
    now = {name: rolling.photograph(cluster) for name, cluster in stage.simulation.clusters.items()}
    return {name: rolling.differences(before, now[name]) for name, before in stage.before.items()}


def written(stage):
    """What the product has written so far, by cluster."""
    return {name: evidence.writes(cluster) for name, cluster in stage.simulation.clusters.items()}


def kill_member(stage, name="m1"):
    """Have the member answer neither the host's pods nor Airflow from now on."""
    member = stage.simulation.clusters[name]
    member.raise_firewall()
    member.cut_tunnel(3600)
    connection = json.loads(json.dumps(stage.simulation.connections[name]))
    (cluster,) = connection["extra"]["kube_config"]["clusters"]
    # Nobody listens there.
    cluster["cluster"]["server"] = "https://127.0.0.1:9"
    os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)


def revive_member(stage):
    """Have the member answer Airflow again."""
    os.environ["AIRFLOW_CONN_M1"] = stage.environment["AIRFLOW_CONN_M1"]


def webhook_of(stage):
    """The webhook's configuration on the host, without what every write changes."""
    item = stage.simulation.clusters["host"].object(*WEBHOOK)
    passing = ("resourceVersion", "uid", "managedFields", "generation")
    metadata = {key: value for key, value in item["metadata"].items() if key not in passing and value}
    return {**item, "metadata": metadata}


def names(cluster, plural):
    return sorted(item["metadata"]["name"] for item in cluster.objects(plural))
