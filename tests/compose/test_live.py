"""docker-compose.yaml brought up as it stands, without containers, and two members joined on it: see machine.py."""

import json
import re
import subprocess
from concurrent import futures

import httpx
import pytest
import yaml

from include.demo import proof, rest
from tests.compose import composition, machine

DAG = "join_member_cluster"
SIMULATED = "/opt/airflow/simulated"
SERVICES = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "simulator")
SECRETS = ("POSTGRES_PASSWORD", "FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD")
SCENARIO = {
    "timing": {"queue": 0.1, "run": 2, "reload": 0.5, "sync": 0.1, "resync": 1, "kubelet": 0.05},
    "host": {"load_balancer": "139.198.110.23"},
    "members": [{"name": "m1"}, {"name": "m2"}],
}


@pytest.fixture(scope="module")
def values(env_file, tmp_path_factory):
    """The .env of somebody who tries the simulator: two values are changed as the file tells."""
    scenario = tmp_path_factory.mktemp("scenario") / "scenario.yaml"
    scenario.write_text(yaml.safe_dump(SCENARIO))
    return {
        **composition.settings(env_file),
        "CONNECTIONS_FILE": f"{SIMULATED}/connections.json",
        "SIMULATOR_SCENARIO": str(scenario),
    }


@pytest.fixture(scope="module")
def initialised(values, tmp_path_factory):
    """The machine with a database that is up to date, and which services it calls healthy then."""
    folder = tmp_path_factory.mktemp("machine")
    with machine.Machine(composition.load(values), folder=folder) as started:
        started.up("airflow-init")
        with futures.ThreadPoolExecutor() as pool:
            healthy = list(pool.map(started.is_healthy, SERVICES))
        yield started, healthy


@pytest.fixture(scope="module")
def running(initialised):
    started, _ = initialised
    started.up(*SERVICES)
    return started


@pytest.fixture(scope="module")
def airflow(running, values):
    """Airflow as the first login reaches it."""
    url = f"http://127.0.0.1:{running.ports['8080']}"
    logged_in = rest.Airflow(url, username=values["ADMIN_USERNAME"], password=values["ADMIN_PASSWORD"])
    logged_in.await_dag(DAG)
    yield logged_in
    logged_in.client.close()


@pytest.fixture(scope="module")
def clusters(running):
    """What the simulator says when it is ready: each cluster's addresses."""
    lines = running.log("simulator").read_text().splitlines()
    return next(json.loads(line)["clusters"] for line in lines if line.startswith('{"ready": true'))


@pytest.fixture(scope="module")
def runs(airflow, clusters):
    """A run for each member, triggered and not waited for."""
    confs = {
        "m1": {"member_server": clusters["m1"]["pod_server"]},
        "m2": {"connection": "proxy"},
    }
    return {
        name: airflow.trigger(DAG, conf={"cluster": name, "host_conn_id": "host", "member_conn_id": name, **conf})
        for name, conf in confs.items()
    }


def test_what_the_first_start_did_may_be_done_again_while_members_are_joined(airflow, running, values, runs):
    """As `docker compose up` does after each change; the first login is left as it is."""
    environment = running.environment("airflow-init") | {"ADMIN_PASSWORD": "another one"}
    command = composition.load(values)["services"]["airflow-init"]["command"]
    again = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "admin already exists" in again.stdout
    login = {"username": "admin", "password": values["ADMIN_PASSWORD"]}
    assert httpx.post(f"{airflow.url}/auth/token", json=login, trust_env=False, timeout=30).status_code == 201


@pytest.mark.parametrize("name", ["m1", "m2"])
def test_members_are_joined_both_ways(airflow, running, runs, name):
    state = airflow.wait(DAG, run_id=runs[name], seconds=180)
    assert state == "success", airflow.task_instances(DAG, run_id=runs[name])
    host, member = (running.path("simulator", f"{SIMULATED}/{one}.admin.kubeconfig") for one in ("host", name))
    claims = proof.claims(name, host=host, member=member)
    assert len(claims) == 4
    assert [claim for claim in claims if not claim.holds] == []


def test_no_connection_is_in_the_database(airflow):
    assert airflow.get("connections")["total_entries"] == 0


def test_only_the_password_of_env_lets_in(airflow, values):
    login = {"username": values["ADMIN_USERNAME"], "password": values["ADMIN_USERNAME"]}
    assert httpx.post(f"{airflow.url}/auth/token", json=login, trust_env=False, timeout=30).status_code == 401
    assert httpx.get(f"{airflow.url}/api/v2/dags", trust_env=False, timeout=30).status_code == 401


def test_the_login_page_leads_to_the_ui(airflow, values):
    with httpx.Client(base_url=airflow.url, trust_env=False, timeout=30, follow_redirects=True) as browser:
        page = browser.get("/auth/login/")
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
        login = {"username": values["ADMIN_USERNAME"], "password": values["ADMIN_PASSWORD"], "csrf_token": token}
        assert browser.post("/auth/login/", data=login).url.path == "/"
        dags = list((composition.ROOT / "dags").glob("*.py"))
        assert browser.get("/api/v2/dags").json()["total_entries"] == len(dags) > 1


def test_the_fleet_page_is_there_for_who_is_signed_in(airflow, runs):
    """With the logins of a team, whose rights are others than those of the demo's."""
    assert httpx.get(f"{airflow.url}/fleet/data", trust_env=False, timeout=30).status_code == 401
    shown = airflow.client.get("/fleet/data")
    assert shown.status_code == 200, shown.text
    assert shown.json()["may"] == {"join": True, "leave": True, "reconcile": True}
    assert "fleet.js" in airflow.client.get("/fleet/page").text


def test_what_does_not_run_is_not_healthy(initialised):
    """A check that cannot fail is none. What runs has passed its own, or no other test would have begun."""
    _, healthy = initialised
    assert healthy == [False] * len(SERVICES)


def test_no_secret_of_env_is_in_a_log(running, values):
    logs = [
        *running.log("x").parent.rglob("*.log"),
        *running.path("airflow-scheduler", "/opt/airflow/logs").rglob("*.log"),
    ]
    assert len(logs) > 10
    assert [str(log) for log in logs for name in SECRETS if values[name] in log.read_text(errors="replace")] == []
