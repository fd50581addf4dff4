"""A live Airflow: what users trigger through REST, and what it keeps afterwards."""

import base64
import re

import pytest
import sqlalchemy

from include.demo.airflow import LocalAirflow
from include.demo.rest import RefusedError
from include.simulator.simulation import Simulation

DAG = "join_member_cluster"
SCENARIO = {
    "timing": {"queue": 0.1, "run": 6, "reload": 0.5, "sync": 0.1, "resync": 1, "kubelet": 0.05},
    "members": [{"name": "m1"}, {"name": "m2", "installer": {"fail": "silent"}}, {"name": "m3"}],
}
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
    return {
        "cluster": member,
        "host_conn_id": "host",
        "member_conn_id": member,
        "member_server": simulation.clusters[member].pod_server,
    }


def states(airflow, run_id):
    return {task["task_id"]: task["state"] for task in airflow.task_instances(DAG, run_id=run_id)}


def error_of(airflow, run_id, task_id):
    tasks = {task["task_id"]: task for task in airflow.task_instances(DAG, run_id=run_id)}
    return airflow.logs(DAG, run_id=run_id, task_id=task_id, attempt=tasks[task_id]["try_number"])


@pytest.fixture(scope="module")
def runs(airflow, simulation):
    """One run that joins, one that fails, each to its end."""
    good = airflow.trigger(DAG, conf=conf_of(simulation, "m1"))
    assert airflow.wait(DAG, run_id=good, seconds=180) == "success", states(airflow, good)
    failing = airflow.trigger(DAG, conf=conf_of(simulation, "m2"))
    assert airflow.wait(DAG, run_id=failing, seconds=180) == "failed"
    return good, failing


def test_a_run_through_rest_joins_the_member(airflow, simulation, runs):
    good, _ = runs
    report = airflow.xcom(DAG, run_id=good, task_id="verify_join")
    member = simulation.clusters["m1"].object("namespaces", "kube-system")["metadata"]["uid"]
    assert report["member_uid"] == simulation.clusters["host"].object("clusters", "m1")["status"]["uid"] == member
    assert "forwarded" in report["proof"]
    assert len(report["changed"]) == 3
    assert states(airflow, good)["resolve_tower_address"] == "skipped"


def test_a_wait_holds_no_worker(airflow, runs):
    """wait_installer lasts longer than a wait may hold a worker here, so its log tells that it moved."""
    good, _ = runs
    log = airflow.logs(DAG, run_id=good, task_id="wait_installer")
    assert "The wait goes on in the triggerer" in log
    assert "Waiting for ks-installer on the" in log


def test_a_failing_installer_fails_the_run_once_and_tells_its_words(airflow, runs):
    _, failing = runs
    assert states(airflow, failing)["wait_installer"] == "failed"
    log = error_of(airflow, failing, "wait_installer")
    assert "ks-installer on the member cluster (connection m2) ended without finishing" in log
    assert "fatal: [localhost]: FAILED!" in log


def test_no_secret_is_kept_in_the_database_or_in_any_log(airflow, simulation, runs):
    """XCom, rendered fields, task state and trigger arguments are all in the database; logs are files."""
    kept = {"the database": rows(airflow.database_url)}
    for path in airflow.home.rglob("*.log"):
        kept[str(path)] = path.read_text(errors="replace")
    assert len(kept) > 15
    assert any("verify_join" in name for name in kept)
    secrets = [secret for cluster in simulation.clusters.values() for secret in cluster.secrets()]
    assert len(secrets) > 20
    found = {
        (name, form[:6])
        for name, text in kept.items()
        for secret in secrets
        for form in (secret, base64.b64encode(secret.encode()).decode(), secret.replace("\n", "\\n"))
        if form in text
    }
    assert not found


def test_the_search_finds_a_secret_that_is_there(airflow, simulation):
    """A search that cannot find anything proves nothing."""
    text = rows(airflow.database_url)
    assert "configmaps/kubesphere-config" in text
    assert simulation.clusters["m1"].pod_server in text


def test_a_second_run_for_the_same_member_is_refused_with_the_id_of_the_first(airflow, simulation):
    conf = conf_of(simulation, "m3")
    first = airflow.trigger(DAG, conf=conf, run_id="first")
    second = airflow.trigger(DAG, conf=conf, run_id="second")
    ended = {run_id: airflow.wait(DAG, run_id=run_id, seconds=180) for run_id in (first, second)}
    assert sorted(ended.values()) == ["failed", "success"]
    winner, loser = sorted(ended, key=lambda run_id: ended[run_id] == "failed")
    assert states(airflow, loser)["check_conf"] == "failed"
    assert f"run {winner} is joining this member" in error_of(airflow, loser, "check_conf")


def test_a_conf_that_does_not_fit_the_form_is_refused_by_the_api(airflow):
    with pytest.raises(RefusedError) as caught:
        airflow.trigger(DAG, conf={"cluster": "M1", "host_conn_id": "host", "member_conn_id": "m1"})
    assert caught.value.status == 400


def test_a_connection_shows_no_kubeconfig(airflow, simulation):
    shown = str(airflow.get("connections/m1"))
    assert not [secret for secret in simulation.clusters["m1"].secrets() if secret in shown]


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
