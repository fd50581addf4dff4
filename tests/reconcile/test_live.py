"""A fleet on a live Airflow: reconciled, joined and taken out by the runs that starts, and what takes a person."""

import json
import re
import time

import jsonschema
import pytest
import yaml
from prometheus_client import parser

from include.demo.airflow import LocalAirflow
from include.fleet import records
from include.simulator.simulation import Simulation
from tests.joins import evidence, questions
from tests.joins.test_live import rows
from tests.reconcile import mail

DAG = "reconcile_fleet"
JOIN = "join_member_cluster"
LEAVE = "leave_member_cluster"
ROTATION = "rotate_jwt_secret"
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
    declare(path, direct(simulation, "m1"), direct(simulation, "m2"), proxy("p1"))
    return path


def direct(simulation, name, **more):
    server = simulation.clusters[name].pod_server
    return {"cluster": name, "member_conn_id": name, "member_server": server, **more}


def proxy(name):
    return {"cluster": name, "member_conn_id": name, "connection": "proxy"}


def declare(path, *members, **host):
    """Write the inventory, at once: a reconcile may begin at any moment."""
    new = path.with_suffix(".new")
    hosts = [{"name": "europe", "host_conn_id": "host", "members": list(members), **host}]
    new.write_text(yaml.safe_dump({"version": 1, "hosts": hosts}))
    new.replace(path)


@pytest.fixture(scope="module")
def mails():
    with mail.serving() as server:
        yield server


@pytest.fixture(scope="module")
def airflow(simulation, declared, mails, tmp_path_factory):
    environment = {f"AIRFLOW__FLEET__{name}": str(value) for name, value in SETTINGS.items()}
    environment["AIRFLOW__FLEET__INVENTORY"] = str(declared)
    environment["AIRFLOW__FLEET__NOTIFIER"] = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
    environment["AIRFLOW__FLEET__NOTIFIER_OPTIONS"] = json.dumps(
        {"to": "ops@example.com", "subject": "{{ news.subject }}", "html_content": "{{ news.html }}"}
    )
    home = tmp_path_factory.mktemp("airflow")
    connections = {**simulation.connections, "smtp_default": mails.connection}
    with LocalAirflow(home, port=0, connections=connections, environment=environment) as running:
        for dag_id in (DAG, JOIN, LEAVE, ROTATION):
            running.await_dag(dag_id)
        yield running


def runs(airflow, dag_id=DAG):
    """All runs of a DAG, in the order in which they began."""
    return sorted(
        airflow.get(f"dags/{dag_id}/dagRuns", limit=100)["dag_runs"], key=lambda run: run["start_date"] or "Z"
    )


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
    assert not any(written(simulation).values())
    _, record = reconcile(airflow)
    (action,) = record["actions"]
    assert airflow.wait(JOIN, run_id=action["run_id"], seconds=120) == "success"
    evidence.assert_joined(simulation, name="m2", member="m2")
    before = written(simulation)
    assert before["m1"] == before["p1"] == []
    _, record = reconcile(airflow)
    assert record["counts"] == {"healthy": 3}, records.lines(record)
    assert record["actions"] == []
    attempts = {row["cluster"]: [each["state"] for each in row["attempts"]] for row in record["hosts"][0]["members"]}
    assert attempts == {"m1": [], "m2": ["success"], "p1": []}
    assert written(simulation) == before


def test_a_run_that_a_reconcile_has_started_says_why_and_its_tasks_lead_to_its_member(airflow):
    (run,) = [run for run in runs(airflow, JOIN) if run["conf"]["cluster"] == "m2"]
    assert re.fullmatch(
        r"Joins m2 to host europe\. Why: The host has no Cluster m2\. .*Started by reconcile manual__\S+\.", run["note"]
    ), run["note"]
    (label,) = {
        task["rendered_map_index"]
        for each in runs(airflow)
        for task in airflow.task_instances(DAG, run_id=each["dag_run_id"])
        if task["task_id"] == "start_runs" and task["state"] == "success"
    }
    assert label == "m2 (host)"
    path = f"dags/{JOIN}/dagRuns/{run['dag_run_id']}/taskInstances"
    for task_id in ("preflight", "approve_plan", "choose_connection", "hand_over", "wait_agent_ready", "end_turn"):
        links = airflow.get(f"{path}/{task_id}/links")["extra_links"]
        assert set(links) == {"Fleet page", "KubeSphere console"}
        led = airflow.client.get(f"/{links['Fleet page']}")
        assert led.headers["location"] == "../plugin/fleet/fleet/page?host=europe&cluster=m2"


def test_people_were_told_of_what_was_missing_and_that_it_is_there(mails):
    assert [sent["subject"] for sent in mails.mails] == [
        "KubeSphere fleet: europe/m2 drifted",
        "KubeSphere fleet: europe/m2 well again",
    ]
    assert "has been started for it." in mail.html(mails.mails[0])


def test_the_metrics_have_counted_it(airflow):
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parser.text_string_to_metric_families(airflow.client.get("/fleet/metrics").text)
        for sample in family.samples
    }
    assert found["kubesphere_fleet_members", "europe", "healthy"] == 3
    assert found["kubesphere_fleet_repairs_total", JOIN, "success"] == 1
    assert found["kubesphere_fleet_join_phase_duration_seconds_count", "verify_join"] == 1
    assert 0 < found["kubesphere_fleet_join_phase_duration_seconds_sum", "verify_join"] < 60
    assert found["kubesphere_fleet_credential_remaining_days", "europe", "m1"] > 0


def written(simulation):
    """What the product has written so far, by cluster."""
    return {name: evidence.writes(cluster) for name, cluster in simulation.clusters.items()}


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


def test_a_member_that_is_given_up_leaves_and_one_of_another_type_leaves_and_joins(airflow, simulation, declared):
    """The changes of the runs on the host start reconciles besides, so that what each of them has told is looked at."""
    known = {run["dag_run_id"] for run in runs(airflow)}
    declare(declared, proxy("m1"), direct(simulation, "m2"), prune=True)
    for _ in range(2):
        reconcile(airflow)
    evidence.wait_for(lambda: len(runs(airflow, LEAVE)) == 2, seconds=60)
    for run in runs(airflow, LEAVE):
        assert airflow.wait(LEAVE, run_id=run["dag_run_id"], seconds=180) == "success", states(airflow, LEAVE, run)
    reconcile(airflow)
    (join,) = [run for run in runs(airflow, JOIN) if "--m1--" in run["dag_run_id"]]
    assert airflow.wait(JOIN, run_id=join["dag_run_id"], seconds=180) == "success", states(airflow, JOIN, join)
    _, record = reconcile(airflow)
    assert record["counts"] == {"healthy": 2}, records.lines(record)
    assert record["actions"] == []

    host, left = simulation.clusters["host"], simulation.clusters["p1"]
    assert {item["metadata"]["name"] for item in host.objects("clusters")} == {"host", "m1", "m2"}
    assert evidence.role_of(left) == "none"
    assert "cluster-agent" not in {item["metadata"]["name"] for item in left.objects("deployments")}
    evidence.assert_joined(simulation, name="m1", member="m1")
    assert host.object("clusters", "m1")["spec"]["connection"]["type"] == "proxy"

    ended = {re.search("--(m1|p1)--", run["dag_run_id"]).group(1): run for run in runs(airflow, LEAVE)}
    assert ended["m1"]["end_date"] < runs(airflow, JOIN)[-1]["start_date"]
    logs = [
        airflow.logs(DAG, run_id=run["dag_run_id"], task_id="decide")
        for run in runs(airflow)
        if run["dag_run_id"] not in known and run["state"] == "success"  # one more may have just begun
    ]
    leaves = [f"Starts {LEAVE} for europe/p1: {ended['p1']['dag_run_id']}" in log for log in logs]
    assert leaves == [False, True] + [False] * (len(logs) - 2)
    assert "europe/p1, undeclared: It is not in the inventory any more. It leaves when 2 reconciles" in logs[0]
    told = [re.search(r"europe/p1, (\w+): ", log) for log in logs]
    told = [match.group(1) for match in told if match]
    assert told == ["undeclared", "undeclared", *["leaving"] * (len(told) - 3), "left"]
    assert f"It has left by run {ended['p1']['dag_run_id']}." in "".join(logs)


def states(airflow, dag_id, run):
    return questions.states(airflow, dag_id, run["dag_run_id"])


def test_a_leave_is_carried_out_only_when_a_person_approves_its_plan(airflow, simulation, declared):
    declare(declared, proxy("m1"), direct(simulation, "m2", paused=True))
    conf = {"cluster": "m2", "host_conn_id": "host", "member_conn_id": "m2", "approve": True}
    before = written(simulation)
    rejected, approved = (airflow.trigger(LEAVE, conf=conf) for _ in range(2))
    for run_id in (rejected, approved):
        shown = questions.await_question(airflow, LEAVE, run_id)
        assert shown["subject"] == "Take m2 out of its host"
        assert "**host: delete clusters/m2**" in shown["body"]
        assert "| `spec.multicluster.clusterRole` | `member` | `none` |" in shown["body"]
        assert not [secret for secret in simulation.clusters["m2"].secrets() if secret in str(shown)]
    questions.answer(airflow, LEAVE, rejected, "Reject")
    assert airflow.wait(LEAVE, run_id=rejected, seconds=60) == "failed"
    assert questions.states(airflow, LEAVE, rejected)["take_turn"] == "upstream_failed"
    assert written(simulation) == before
    assert simulation.clusters["host"].objects("leases") == []
    questions.answer(airflow, LEAVE, approved, "Approve")
    assert airflow.wait(LEAVE, run_id=approved, seconds=180) == "success", questions.states(airflow, LEAVE, approved)
    assert "m2" not in {item["metadata"]["name"] for item in simulation.clusters["host"].objects("clusters")}
    assert evidence.role_of(simulation.clusters["m2"]) == "none"


def test_a_rotation_is_carried_out_only_when_a_person_approves_its_plan(airflow, simulation, declared):
    declare(declared, proxy("m1"))
    host, member = simulation.clusters["host"], simulation.clusters["m1"]
    former, before = evidence.secret_of(host), written(simulation)
    rejected, approved = (airflow.trigger(ROTATION, conf={"host": "europe"}) for _ in range(2))
    for run_id in (rejected, approved):
        shown = questions.await_question(airflow, ROTATION, run_id)
        assert shown["subject"] == "Rotate the jwtSecret of europe: everybody is logged out"
        assert "`(new)`" in shown["body"]
        assert former not in str(shown)
    questions.answer(airflow, ROTATION, rejected, "Reject")
    assert airflow.wait(ROTATION, run_id=rejected, seconds=60) == "failed"
    assert questions.states(airflow, ROTATION, rejected)["take_turn"] == "upstream_failed"
    assert written(simulation) == before
    questions.answer(airflow, ROTATION, approved, "Approve")
    ended = airflow.wait(ROTATION, run_id=approved, seconds=180)
    assert ended == "success", questions.states(airflow, ROTATION, approved)
    assert evidence.secret_of(host) == evidence.secret_of(member) != former
    assert former not in kept(airflow)


def kept(airflow):
    """All that is in the database and in the logs."""
    logs = [path.read_text(errors="replace") for path in airflow.home.rglob("*.log")]
    return "".join([rows(airflow.database_url), *logs])


def test_no_secret_is_kept_or_sent(airflow, simulation, mails):
    assert mails.mails
    sent = [sent["subject"] + mail.html(sent) for sent in mails.mails]
    text = "".join([kept(airflow), *sent, airflow.client.get("/fleet/metrics").text])
    secrets = [secret for cluster in simulation.clusters.values() for secret in cluster.secrets()]
    assert len(secrets) > 10
    assert not [secret[:6] for secret in secrets if secret in text or json.dumps(secret)[1:-1] in text]
