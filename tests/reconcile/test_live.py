"""reconcile_fleet on a live Airflow: scheduled, triggered, woken by a change on the host, and what it keeps."""

import json
import time

import jsonschema
import pytest
import yaml

from include.demo.airflow import LocalAirflow
from include.fleet import records
from include.simulator.simulation import Simulation
from tests.joins import evidence
from tests.joins.test_live import rows

DAG = "reconcile_fleet"
JOINED = {"role": "member", "secret": "host"}
SCENARIO = {
    "timing": {"queue": 0.1, "run": 2, "reload": 0.3, "sync": 0.1, "resync": 1, "kubelet": 0.05},
    "host": {"role": "host", "load_balancer": "139.198.110.23", "proxy_address": "http://139.198.110.23:8080"},
    "members": [
        {"name": "m1", "joined": "m1", **JOINED},
        {"name": "m2"},
        {"name": "p1", "joined": "p1", "connection": "proxy", **JOINED},
    ],
}
SETTINGS = {
    "POLL": 0.5,
    "SLOW_POLL": 1,
    "FAILED_AFTER": 2,
    "QUIET": 3,
    "INLINE_WAIT": 20,
    "ACCEPTANCE": 6,
    # By the clock, only a test that lasts for hours would see it run.
    "RECONCILE_SCHEDULE": "0 0 1 1 *",
    "RECORDS_KEPT": 2,
}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    with Simulation(SCENARIO, directory=tmp_path_factory.mktemp("clusters")) as running:
        yield running


@pytest.fixture(scope="module")
def declared(simulation, tmp_path_factory):
    path = tmp_path_factory.mktemp("inventory") / "fleet.yaml"
    members = [
        {"cluster": name, "member_conn_id": name, "member_server": simulation.clusters[name].pod_server}
        for name in ("m1", "m2")
    ]
    members.append({"cluster": "p1", "member_conn_id": "p1", "connection": "proxy"})
    hosts = [{"name": "europe", "host_conn_id": "host", "members": members}]
    path.write_text(yaml.safe_dump({"version": 1, "hosts": hosts}))
    return path


@pytest.fixture(scope="module")
def airflow(simulation, declared, tmp_path_factory):
    environment = {f"AIRFLOW__FLEET__{name}": str(value) for name, value in SETTINGS.items()}
    environment["AIRFLOW__FLEET__INVENTORY"] = str(declared)
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, port=0, connections=simulation.connections, environment=environment) as running:
        running.await_dag(DAG)
        running.await_dag("join_member_cluster")
        yield running


def runs(airflow):
    return airflow.get(f"dags/{DAG}/dagRuns", limit=100)["dag_runs"]


def reconcile(airflow, **conf):
    run_id = airflow.trigger(DAG, conf=conf)
    state = airflow.wait(DAG, run_id=run_id, seconds=120)
    assert state == "success", airflow.task_instances(DAG, run_id=run_id)
    return run_id, record_of(airflow, run_id)


def record_of(airflow, run_id):
    record = airflow.xcom(DAG, run_id=run_id, task_id="decide", key=records.KEY)
    jsonschema.validate(record, records.SCHEMA)
    return record


def test_what_is_missing_is_joined_and_then_nothing_is_left_to_do(airflow, simulation):
    _, record = reconcile(airflow, dry_run=True)
    assert [action["cluster"] for action in record["actions"]] == ["m2"]
    assert not [line for cluster in simulation.clusters.values() for line in evidence.writes(cluster)]
    _, record = reconcile(airflow)
    (action,) = record["actions"]
    assert airflow.wait("join_member_cluster", run_id=action["run_id"], seconds=120) == "success"
    evidence.assert_joined(simulation, name="m2", member="m2")
    written = {name: evidence.writes(cluster) for name, cluster in simulation.clusters.items()}
    assert written["m1"] == written["p1"] == []
    _, record = reconcile(airflow)
    assert record["counts"] == {"healthy": 3}, records.lines(record)
    assert record["actions"] == []
    attempts = {row["cluster"]: [each["state"] for each in row["attempts"]] for row in record["hosts"][0]["members"]}
    assert attempts == {"m1": [], "m2": ["success"], "p1": []}
    assert {name: evidence.writes(cluster) for name, cluster in simulation.clusters.items()} == written


def test_a_change_on_the_host_is_noticed_within_seconds(airflow, simulation):
    known = {run["dag_run_id"] for run in runs(airflow)}
    began = time.monotonic()
    simulation.clusters["host"].edit("clusters", "m1", {"metadata": {"labels": {"changed": "by-hand"}}})
    evidence.wait_for(lambda: [run for run in runs(airflow) if run["dag_run_id"] not in known], seconds=90)
    (run,) = [run for run in runs(airflow) if run["dag_run_id"] not in known]
    assert run["run_type"] == "asset_triggered"
    assert time.monotonic() - began < 75, "a minute at most, if there was another change just before"
    assert airflow.wait(DAG, run_id=run["dag_run_id"], seconds=60) == "success"


def test_records_older_than_those_that_are_kept_are_deleted(airflow):
    made = [reconcile(airflow)[0] for _ in range(3)]
    for run_id in made[1:]:
        assert record_of(airflow, run_id)["counts"] == {"healthy": 3}
    kept = rows(airflow.database_url)
    assert kept.count('"recorded_at"') == SETTINGS["RECORDS_KEPT"]
    assert '"observed_at": "' not in kept.replace('"observed_at": "20', "", SETTINGS["RECORDS_KEPT"])


def test_a_name_that_the_inventory_does_not_have_fails_and_is_told(airflow):
    run_id = airflow.trigger(DAG, conf={"members": ["m7"]})
    assert airflow.wait(DAG, run_id=run_id, seconds=120) == "failed"
    log = airflow.logs(DAG, run_id=run_id, task_id="observe_fleet", attempt=1)
    assert "there is no member 'm7' in the inventory" in log


def test_no_secret_is_kept(airflow, simulation):
    kept = rows(airflow.database_url) + "".join(
        path.read_text(errors="replace") for path in airflow.home.rglob("*.log")
    )
    secrets = [secret for cluster in simulation.clusters.values() for secret in cluster.secrets()]
    assert len(secrets) > 10
    assert not [secret[:6] for secret in secrets if secret in kept or json.dumps(secret)[1:-1] in kept]
