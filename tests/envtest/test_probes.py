"""Probes on real API servers: the Job is accepted as it is, its controller runs it, and the collector takes its pod."""

import asyncio
import json
import time

from include.fleet import join, settings
from tests.joins import evidence

KS = "kubesphere-system"
HOST = {"role": "host", "load_balancer": "203.0.113.10"}


def pods_of_jobs(cluster):
    return [pod for pod in cluster.objects("pods", KS) if "job-name" in (pod["metadata"].get("labels") or {})]


def test_the_pods_of_both_clusters_are_asked_and_nothing_stays(simulate, monkeypatch):
    simulation = simulate(host=HOST)
    host, member = simulation.clusters["host"], simulation.clusters["m1"]
    for conn_id, connection in simulation.connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    evidence.wait_for(lambda: host.object("services", "tower", KS)["status"]["loadBalancer"])
    conf = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "connection": "auto", "probe": True}
    report = asyncio.run(
        join.run(
            "preflight",
            {**conf, "member_server": member.pod_server},
            limits=settings.Settings(connect_timeout=2, poll=0.3),
            attempt="run/1",
            started=time.time(),
        )
    )
    assert {check: found["answer"] for check, found in report["probed"].items()} == {
        "host-reaches-member": "ok",
        "member-reaches-tower": "ok",
    }
    assert report["connection"] == "direct"
    for cluster in (host, member):
        assert cluster.objects("jobs", KS) == []
        evidence.wait_for(lambda cluster=cluster: pods_of_jobs(cluster) == [])
        assert evidence.writes(cluster) == [f"{verb} jobs {name}" for verb, name in _made(cluster)]


def _made(cluster):
    """What was done to the one Job of a cluster."""
    (name,) = {entry.name for entry in cluster.audit() if entry.resource == "jobs" and entry.verb == "delete"}
    return [("create", name), ("delete", name)]
