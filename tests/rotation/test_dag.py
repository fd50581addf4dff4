"""The DAG itself, run in this process by Airflow, and what it keeps."""

import json
import sys
import time
from pathlib import Path

from tests.joins import evidence
from tests.joins.conftest import _sleep
from tests.rotation import conftest

DAG_FILE = Path(__file__).parents[2] / "dags" / "rotate_jwt_secret.py"


def run(dagbag, monkeypatch, **conf):
    """Run the DAG once; return the states of its tasks and what they report."""
    monkeypatch.setattr(time, "sleep", _sleep)
    dagbag.process_file(str(DAG_FILE), only_if_updated=False)
    dag = dagbag.dags["rotate_jwt_secret"]
    # dag.test() asks the database for the deadline of a run that succeeds, by an id that it does not have there.
    dag.deadline = None
    dag_run = dag.test(run_conf={**conftest.CONF, **conf})
    tasks = {ti.task_id: ti for ti in dag_run.get_task_instances()}
    states = {task_id: str(ti.state) for task_id, ti in tasks.items()}
    return states, {task_id: ti.xcom_pull(task_ids=task_id) for task_id, ti in tasks.items()}


def test_the_dag_rotates_and_keeps_no_secret(stage_of, dagbag, monkeypatch, capfd):
    stage = stage_of([{"name": "m1"}])
    before = stage.in_force()["host"]
    states, reports = run(dagbag, monkeypatch)
    stage.remember()
    captured = capfd.readouterr()
    sys.stdout.write(captured.out)  # pytest shows it when the test fails
    stage.said.append(captured.out + captured.err)
    stage.reports.append(json.loads(json.dumps(reports)))
    assert states == {
        "plan": "success",
        "approve_plan": "skipped",
        "take_turn": "success",
        "rotate": "success",
        "verify_rotation": "success",
        "end_turn": "success",
    }
    assert len({*stage.in_force().values(), before}) == 2
    evidence.assert_joined(stage.fleet.simulation)
    assert len(reports["rotate"]["changed"]) == 3
    assert stage.leases() == stage.kept() == []


def test_a_run_that_only_plans_ends_after_the_plan(stage_of, dagbag, monkeypatch, capfd):
    stage = stage_of([{"name": "m1"}])
    states, reports = run(dagbag, monkeypatch, plan_only=True, approve=True)
    assert {task_id for task_id, state in states.items() if state == "success"} == {"plan"}
    assert "Everybody is logged out" in reports["plan"]["markdown"]
    assert not any(stage.fleet.writes().values())
