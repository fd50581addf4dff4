"""Whole joins: the DAG itself, run in this process by Airflow, against simulated clusters over real HTTPS."""

import dataclasses
import json
import logging
import re
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from include.simulator.simulation import Simulation

DAGS = Path(__file__).parents[2] / "dags"

TIMING = {"queue": 0.05, "run": 0.4, "reload": 0.2, "sync": 0.05, "resync": 0.5, "kubelet": 0.05}
"""Seconds. Short, and in the proportions of the real thing."""

SETTINGS = {
    "POLL": 0.3,
    "SLOW_POLL": 0.5,
    "FAILED_AFTER": 1.0,
    "QUIET": 1.5,
    "RESYNC": 1.0,
    "INLINE_WAIT": 60,
    "ACCEPTANCE": 6.0,
    "WATCH_HELD": 0.2,
}


_REAL_SLEEP = time.sleep


def _sleep(seconds):
    """Sleep, but not in dag.test(), which takes a second for each task that a failure spreads to."""
    caller = sys._getframe(1).f_globals["__name__"]
    _REAL_SLEEP(0 if caller == "airflow.sdk.definitions.dag" else seconds)


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run of the DAG left behind."""

    state: str
    tasks: dict
    reports: dict
    diagnoses: dict
    output: str

    @property
    def failed(self):
        """The task that failed first; the others were never tried."""
        return [task for task, state in self.tasks.items() if state == "failed"]

    @property
    def error(self):
        """What the failing task's log says last."""
        found = re.findall(r"include\.fleet\.errors\.\w+Error: (.*?)\n\d{4}-\d\d-\d\dT", self.output, re.DOTALL)
        return found[-1] if found else ""


@pytest.fixture
def simulate(tmp_path, make_cluster):
    """Start the clusters of a scenario; they stop with the test."""
    started = []

    def start(*, host=None, members=None, **scenario):
        scenario = {
            "timing": TIMING,
            "host": {"name": "host", **(host or {})},
            "members": [{"name": "m1", **member} for member in (members or [{}])],
            **scenario,
        }
        simulation = Simulation(scenario, directory=tmp_path, make_cluster=make_cluster)
        simulation.__enter__()
        started.append(simulation)
        return simulation

    yield start
    for simulation in started:
        simulation.__exit__(None, None, None)


@pytest.fixture(scope="session")
def _schemas_checked_once():
    """Have the schema of a Param checked once: Airflow does that at each use, ten thousand times in ten joins."""
    kind = jsonschema.validators.validator_for({})
    check, checked = kind.check_schema, set()

    def once(schema, *args, **options):
        text = json.dumps(schema, sort_keys=True)
        if text not in checked:
            check(schema, *args, **options)
            checked.add(text)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(kind, "check_schema", once)
        yield


@pytest.fixture
def run_dag(_schemas_checked_once, dagbag, monkeypatch, capfd, caplog):
    """Run a DAG once on the clusters of a simulation, as a trigger with this conf would."""
    assert dagbag.import_errors == {}
    for name, seconds in SETTINGS.items():
        monkeypatch.setenv(f"AIRFLOW__FLEET__{name}", str(seconds))
    monkeypatch.setattr(time, "sleep", _sleep)
    caplog.set_level(logging.INFO)

    def run(dag_id, simulation, conf):
        for conn_id, connection in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        capfd.readouterr()
        caplog.clear()
        # Parsed anew, as each task does: dag.test() leaves a run's conf behind in the params of the DAG.
        dagbag.process_file(str(DAGS / f"{dag_id}.py"), only_if_updated=False)
        dag = dagbag.dags[dag_id]
        # dag.test() asks the database for the deadline of a run that succeeds, by an id that it does not have there.
        dag.deadline = None
        dag_run = dag.test(run_conf=conf)
        tasks = {ti.task_id: ti for ti in dag_run.get_task_instances()}
        reports = {task_id: ti.xcom_pull(task_ids=task_id) for task_id, ti in tasks.items()}
        diagnoses = {task_id: ti.xcom_pull(task_ids=task_id, key="diagnosis") for task_id, ti in tasks.items()}
        captured = capfd.readouterr()
        output = captured.out + captured.err + caplog.text
        sys.stdout.write(output)  # pytest shows it when the test fails
        return Run(
            state=str(dag_run.state),
            tasks={task_id: str(ti.state) for task_id, ti in tasks.items()},
            reports=reports,
            diagnoses=diagnoses,
            output=output,
        )

    return run


@pytest.fixture
def join(run_dag):
    """Join a member of a simulation."""

    def run(simulation, *, without=(), **conf):
        conf = {
            "cluster": "m1",
            "host_conn_id": "host",
            "member_conn_id": "m1",
            "member_server": simulation.clusters["m1"].pod_server,
            "ready_timeout": 30,
            "verify_timeout": 20,
            "host_installer_timeout": 30,
            "member_installer_timeout": 30,
            **conf,
        }
        conf = {key: value for key, value in conf.items() if key not in without}
        return run_dag("join_member_cluster", simulation, conf)

    return run


@pytest.fixture
def leave(run_dag):
    """Take a member of a simulation out."""

    def run(simulation, **conf):
        conf = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "member_installer_timeout": 30, **conf}
        return run_dag("leave_member_cluster", simulation, conf)

    return run
