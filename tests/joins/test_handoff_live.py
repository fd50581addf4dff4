"""Handing over in a live Airflow: what a person is shown, what the answers do, and that no secret goes anywhere."""

import base64
import hashlib
import json
import re
import stat
import threading
import time
from pathlib import Path

import pytest

from include.demo.airflow import LocalAirflow
from include.simulator.simulation import Simulation
from tests.joins import evidence, handing, questions
from tests.joins.test_live import rows

DAG = "join_member_cluster"
SCENARIO = {
    "timing": {"queue": 0.1, "run": 1, "reload": 0.5, "sync": 0.1, "resync": 1, "kubelet": 0.05},
    "host": {"role": "host", "load_balancer": "139.198.110.23"},
    "members": [{"name": "alone"}, {"name": "refused"}, {"name": "claimed"}],
}
SETTINGS = {"POLL": 0.5, "SLOW_POLL": 1, "FAILED_AFTER": 2, "QUIET": 3, "RESYNC": 2, "INLINE_WAIT": 1}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    with Simulation(SCENARIO, directory=tmp_path_factory.mktemp("clusters")) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(simulation, tmp_path_factory):
    environment = {f"AIRFLOW__FLEET__{name}": str(seconds) for name, seconds in SETTINGS.items()}
    connections = {"host": simulation.connections["host"]}
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, port=0, connections=connections, environment=environment) as running:
        running.await_dag(DAG)
        yield running


@pytest.fixture(scope="module")
def handed_over(airflow):
    """Runs for all members at once, each until a person is asked: the run, what is shown, and where the file is."""
    conf = {"host_conn_id": "host", "connection": "proxy", "member_access": "handoff", "ready_timeout": 12}
    members = [member["name"] for member in SCENARIO["members"]]
    runs = {member: airflow.trigger(DAG, conf={**conf, "cluster": member}) for member in members}
    found = {}
    for member, run_id in runs.items():
        end = time.monotonic() + 300
        while questions.states(airflow, DAG, run_id).get("hand_over") != "deferred":
            assert time.monotonic() < end, questions.states(airflow, DAG, run_id)
            assert airflow.run(DAG, run_id=run_id)["state"] in {"queued", "running"}, questions.states(
                airflow, DAG, run_id
            )
            time.sleep(0.5)
        shown = questions.shown(airflow, DAG, run_id, "hand_over")
        found[member] = run_id, shown, Path(re.search(r"`(/\S+\.sh)`", shown["body"]).group(1))
    return found


def log(airflow, run_id, task_id):
    tasks = {task["task_id"]: task for task in airflow.task_instances(DAG, run_id=run_id)}
    return airflow.logs(DAG, run_id=run_id, task_id=task_id, attempt=max(1, tasks[task_id]["try_number"]))


def secrets_of(path):
    """The secrets in a file for a person."""
    text = path.read_text()
    return [re.search(pattern, text).group(1) for pattern in (r"--token=([0-9a-f]{64})", r"jwt_secret=(\w+)")]


class Watcher(threading.Thread):
    """Looks at the arguments and environments of all processes of this machine while something runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self._over = set(), threading.Event()

    def run(self):
        while not self._over.wait(0.02):
            for kind in ("cmdline", "environ"):
                for path in Path("/proc").glob(f"[0-9]*/{kind}"):
                    try:
                        self.seen.add(path.read_bytes())
                    except OSError:
                        continue

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


def test_a_run_goes_on_by_itself_when_the_agent_connects_and_keeps_no_secret(
    airflow, simulation, handed_over, tmp_path
):
    run_id, shown, path = handed_over["alone"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() in shown["body"]
    assert shown["subject"] == "Join alone by hand: Airflow does not reach it"
    assert shown["options"] == ["I have run it", "Cannot be done"]
    assert list(shown["params"]) == ["reason"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    held = {item["metadata"]["name"] for item in simulation.clusters["host"].objects("leases")}
    assert held == {f"join-member-cluster-name-{member}" for member in handed_over}
    secrets = secrets_of(path)
    assert path.stem.startswith("alone.")
    copy = tmp_path / "copy.sh"
    copy.write_bytes(path.read_bytes())
    with Watcher() as watcher:
        done = handing.use(copy, simulation.clusters["alone"], "--yes", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert airflow.wait(DAG, run_id=run_id, seconds=120) == "success", questions.states(airflow, DAG, run_id)
    evidence.assert_joined(simulation, name="alone", member="alone")
    assert not path.exists()
    assert not questions.shown(airflow, DAG, run_id, "hand_over")["response_received"]
    told = [done.stdout + done.stderr, json.dumps(shown), rows(airflow.database_url)]
    told += [file.read_text(errors="replace") for file in airflow.home.rglob("*.log")]
    seen = b"\n".join(watcher.seen).decode(errors="replace")
    assert "patch clusterconfiguration" in seen.replace("\0", " ")
    for secret in secrets:
        for form in (secret, base64.b64encode(secret.encode()).decode()):
            assert form not in seen
            assert not [text for text in told if form in text]


def test_a_person_who_cannot_do_it_ends_the_run_with_the_reason_and_the_file_is_good_for_nothing(
    airflow, simulation, handed_over, tmp_path
):
    run_id, _, path = handed_over["refused"]
    token, _ = secrets_of(path)
    copy = tmp_path / "copy.sh"
    copy.write_bytes(path.read_bytes())
    questions.answer(airflow, DAG, run_id, "Cannot be done", task_id="hand_over", reason="the data centre is closed")
    assert airflow.wait(DAG, run_id=run_id, seconds=120) == "failed"
    assert questions.states(airflow, DAG, run_id)["hand_over"] == "failed"
    assert questions.states(airflow, DAG, run_id)["end_turn"] == "success"
    assert "answered that it cannot be done: the data centre is closed" in log(airflow, run_id, "hand_over")
    assert not path.exists()
    cluster = simulation.clusters["host"].object("clusters", "refused")
    assert cluster["spec"]["connection"]["token"] != token
    done = handing.use(copy, simulation.clusters["refused"], "--yes", folder=tmp_path)
    assert "The agent does not connect yet, it says: Connection error: Unauthorized agent" in done.stdout


def test_a_person_who_says_that_it_is_done_hears_what_the_host_sees(airflow, handed_over):
    run_id, _, _ = handed_over["claimed"]
    questions.answer(airflow, DAG, run_id, "I have run it", task_id="hand_over")
    assert airflow.wait(DAG, run_id=run_id, seconds=120) == "failed"
    found = questions.states(airflow, DAG, run_id)
    assert (found["hand_over"], found["wait_agent_ready"]) == ("success", "failed")
    said = log(airflow, run_id, "wait_agent_ready")
    assert "it has no condition AgentAvailable yet" in said
    assert "kubectl -n kubesphere-system logs deployment/cluster-agent" in said
