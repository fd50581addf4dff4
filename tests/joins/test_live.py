"""A live Airflow: what users trigger through REST, and what it keeps afterwards."""

import base64
import re

import pytest
import sqlalchemy

from include.demo.airflow import LocalAirflow
from include.demo.rest import RefusedError
from include.simulator.simulation import Simulation
from tests.joins import evidence, questions

DAG = "join_member_cluster"
LOAD_BALANCER = "139.198.110.23"
SCENARIO = {
    "timing": {"queue": 0.1, "run": 6, "reload": 0.5, "sync": 0.1, "resync": 1, "kubelet": 0.05},
    "host": {"load_balancer": LOAD_BALANCER},
    "members": [
        {"name": "direct"},
        {"name": "proxied"},
        {"name": "dead", "reachable": False},
        {"name": "broken", "installer": {"fail": "silent"}},
        {"name": "lost", "reaches_tower": False},
        {"name": "twice"},
        {"name": "asked"},
        {"name": "changed"},
    ],
}
BY_PROXY = ("proxied", "lost")
SCENARIO_RUNS = ("direct", "proxied", "dead", "broken", "lost")
# Short enough for a failing installer, and so that the waits move to the triggerer.
SETTINGS = {"POLL": 0.5, "SLOW_POLL": 1, "FAILED_AFTER": 2, "QUIET": 3, "RESYNC": 2, "INLINE_WAIT": 1}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    with Simulation(SCENARIO, directory=tmp_path_factory.mktemp("clusters")) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(simulation, tmp_path_factory):
    environment = {f"AIRFLOW__FLEET__{name}": str(seconds) for name, seconds in SETTINGS.items()}
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, port=0, connections=simulation.connections, environment=environment) as running:
        running.await_dag(DAG)
        yield running


def conf_of(simulation, member):
    conf = {"cluster": member, "host_conn_id": "host", "member_conn_id": member}
    if member in BY_PROXY:
        return {**conf, "connection": "proxy", "ready_timeout": 10}
    return {**conf, "member_server": simulation.clusters[member].pod_server}


def error_of(airflow, run_id, task_id):
    tasks = {task["task_id"]: task for task in airflow.task_instances(DAG, run_id=run_id)}
    return airflow.logs(DAG, run_id=run_id, task_id=task_id, attempt=tasks[task_id]["try_number"])


@pytest.fixture(scope="module")
def runs(airflow, simulation):
    """Runs for several members at once, to a host that is no host yet; each to its end."""
    triggered = {member: airflow.trigger(DAG, conf=conf_of(simulation, member)) for member in SCENARIO_RUNS}
    for run_id in triggered.values():
        airflow.wait(DAG, run_id=run_id, seconds=240)
    return triggered


def test_members_joined_at_the_same_time_do_not_disturb_each_other(airflow, simulation, runs):
    for member in ("direct", "proxied"):
        assert airflow.run(DAG, run_id=runs[member])["state"] == "success", questions.states(airflow, DAG, runs[member])
        evidence.assert_joined(simulation, name=member, member=member)
        assert "forwarded" in airflow.xcom(DAG, run_id=runs[member], task_id="verify_join")["proof"]


def test_members_joined_at_the_same_time_change_the_host_once(simulation, runs):
    written = evidence.writes(simulation.clusters["host"])
    assert written.count("patch clusterconfigurations ks-installer") == 1
    assert written.count("patch deployments ks-installer") == 0


def test_a_dead_member_fails_alone_and_with_its_own_reason(airflow, runs):
    assert questions.states(airflow, DAG, runs["dead"])["wait_agent_ready"] == "failed"
    assert "connection refused" in error_of(airflow, runs["dead"], "wait_agent_ready")


def test_an_agent_that_does_not_find_tower_is_quoted_without_its_token(airflow, runs):
    assert questions.states(airflow, DAG, runs["lost"])["wait_agent_ready"] == "failed"
    assert "nothing answers at " in error_of(airflow, runs["lost"], "wait_agent_ready")


def test_the_arm_that_was_not_taken_is_skipped(airflow, runs):
    assert questions.states(airflow, DAG, runs["direct"])["resolve_tower_address"] == "skipped"
    assert questions.states(airflow, DAG, runs["direct"])["deploy_agent"] == "skipped"
    assert questions.states(airflow, DAG, runs["proxied"])["prepare_kubeconfig"] == "skipped"


def test_a_wait_holds_no_worker(airflow, runs):
    """An installer that fails is watched for longer than a wait may hold a worker here."""
    log = error_of(airflow, runs["broken"], "wait_installer")
    assert "The wait goes on in the triggerer" in log
    assert "Waiting for ks-installer on the" in log


def test_a_failing_installer_fails_the_run_once_and_tells_its_words(airflow, runs):
    assert questions.states(airflow, DAG, runs["broken"])["wait_installer"] == "failed"
    log = error_of(airflow, runs["broken"], "wait_installer")
    assert "ks-installer on the member cluster (connection broken) ended without finishing" in log
    assert "fatal: [localhost]: FAILED!" in log


def test_no_secret_is_kept_in_the_database_or_in_any_log(airflow, simulation, runs):
    """XCom, rendered fields, task state and trigger arguments are all in the database; logs are files."""
    kept = {"the database": rows(airflow.database_url)}
    for path in airflow.home.rglob("*.log"):
        kept[str(path)] = path.read_text(errors="replace")
    assert len(kept) > 15
    assert any("verify_join" in name for name in kept)
    secrets = [secret for cluster in simulation.clusters.values() for secret in cluster.secrets()]
    secrets += agent_tokens(simulation)
    assert len(secrets) > 20
    found = {
        (name, form[:6])
        for name, text in kept.items()
        for secret in secrets
        for form in (secret, base64.b64encode(secret.encode()).decode(), secret.replace("\n", "\\n"))
        if form in text
    }
    assert not found


def test_the_search_finds_what_is_there(airflow, simulation, runs):
    """A search that cannot find anything proves nothing."""
    text = rows(airflow.database_url)
    assert "configmaps/kubesphere-config" in text
    assert simulation.clusters["direct"].pod_server in text


def test_a_second_run_for_the_same_member_waits_for_the_first_and_ends_joined(airflow, simulation, runs):
    conf = conf_of(simulation, "twice")
    triggered = [airflow.trigger(DAG, conf=conf, run_id=name) for name in ("first", "second")]
    ended = {run_id: airflow.wait(DAG, run_id=run_id, seconds=180) for run_id in triggered}
    assert set(ended.values()) == {"success"}
    results = [airflow.xcom(DAG, run_id=run_id, task_id="verify_join")["result"] for run_id in triggered]
    assert sorted(results) == ["joined already, nothing was written", "joined by this run"]
    winner, waiter = sorted(triggered, key=lambda run_id: results[triggered.index(run_id)] != "joined by this run")
    assert f"run {winner} of 20" in error_of(airflow, waiter, "take_turn")
    assert simulation.clusters["host"].objects("leases") == []


def test_a_plan_is_shown_and_nothing_is_written_until_a_person_approves(airflow, simulation, runs):
    run_id = airflow.trigger(DAG, conf={**conf_of(simulation, "asked"), "approve": True})
    shown = questions.await_question(airflow, DAG, run_id)
    assert "Join asked to its host (direct)" in shown["subject"]
    assert "| `spec.multicluster.clusterRole` | `none` | `member` |" in shown["body"]
    assert evidence.writes(simulation.clusters["asked"]) == []
    assert simulation.clusters["host"].objects("leases") == []
    assert not [secret for secret in simulation.clusters["asked"].secrets() if secret in str(shown)]
    questions.answer(airflow, DAG, run_id, "Approve")
    assert airflow.wait(DAG, run_id=run_id, seconds=120) == "success", questions.states(airflow, DAG, run_id)
    evidence.assert_joined(simulation, name="asked", member="asked")


def test_a_rejected_plan_writes_nothing(airflow, simulation, runs):
    run_id = airflow.trigger(DAG, conf={**conf_of(simulation, "changed"), "approve": True})
    questions.await_question(airflow, DAG, run_id)
    questions.answer(airflow, DAG, run_id, "Reject")
    assert airflow.wait(DAG, run_id=run_id, seconds=60) == "failed"
    assert questions.states(airflow, DAG, run_id)["take_turn"] == "upstream_failed"
    assert evidence.writes(simulation.clusters["changed"]) == []


def test_a_plan_that_nobody_answers_is_rejected_in_time(airflow, simulation, runs):
    run_id = airflow.trigger(DAG, conf={**conf_of(simulation, "changed"), "approve": True, "approve_timeout": 2})
    assert airflow.wait(DAG, run_id=run_id, seconds=120) == "failed"
    assert questions.states(airflow, DAG, run_id)["approve_plan"] == "failed"
    assert evidence.writes(simulation.clusters["changed"]) == []


def test_an_approved_plan_that_is_no_longer_true_is_not_carried_out(airflow, simulation, runs):
    run_id = airflow.trigger(DAG, conf={**conf_of(simulation, "changed"), "approve": True})
    questions.await_question(airflow, DAG, run_id)
    patch = {"spec": {"multicluster": {"clusterRole": "member"}}}
    simulation.clusters["changed"].edit("clusterconfigurations", "ks-installer", patch, "kubesphere-system")
    questions.answer(airflow, DAG, run_id, "Approve")
    assert airflow.wait(DAG, run_id=run_id, seconds=60) == "failed"
    assert "the clusters have changed since the plan was approved" in error_of(airflow, run_id, "take_turn")
    assert evidence.writes(simulation.clusters["changed"]) == []


def test_a_conf_that_does_not_fit_the_form_is_refused_by_the_api(airflow):
    with pytest.raises(RefusedError) as caught:
        airflow.trigger(DAG, conf={"cluster": "M1", "host_conn_id": "host", "member_conn_id": "direct"})
    assert caught.value.status == 400


def test_a_connection_shows_no_kubeconfig(airflow, simulation):
    shown = str(airflow.get("connections/direct"))
    assert not [secret for secret in simulation.clusters["direct"].secrets() if secret in shown]


def agent_tokens(simulation):
    connections = [item["spec"]["connection"] for item in simulation.clusters["host"].objects("clusters")]
    found = [connection["token"] for connection in connections if connection.get("token")]
    assert len(found) == len(BY_PROXY)
    return found


def rows(url):
    """Every row of every table, as text; what is stored as bytes is there decoded, too."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = [
            row.text
            for table in sqlalchemy.inspect(engine).get_table_names()
            for row in connection.execute(sqlalchemy.text(f'SELECT t::text AS text FROM "{table}" t'))
        ]
    engine.dispose()
    text = "\n".join(found)
    blobs = [bytes.fromhex(digits).decode(errors="replace") for digits in re.findall(r"\\x((?:[0-9a-f]{2})+)", text)]
    return "\n".join([text, *blobs])
