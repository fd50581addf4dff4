"""A live Airflow asking a person: what is shown, and answers through the API, as a click in the browser sends them."""

import time

from tests.joins import evidence

APPROVAL = "approve_plan"


def states(airflow, dag_id, run_id):
    """The states of a run's tasks, by name."""
    return {task["task_id"]: task["state"] for task in airflow.task_instances(dag_id, run_id=run_id)}


def await_question(airflow, dag_id, run_id):
    """Wait until a person is asked to approve the plan; return what is shown."""
    evidence.wait_for(lambda: states(airflow, dag_id, run_id).get(APPROVAL) == "awaiting_input", seconds=120)
    return shown(airflow, dag_id, run_id)


def shown(airflow, dag_id, run_id, task_id=APPROVAL):
    """What a person is shown, and whether somebody has answered."""
    return airflow.get(_path(dag_id, run_id, task_id))


def answer(airflow, dag_id, run_id, option, *, task_id=APPROVAL, **params):
    """Choose one of the answers, with what is filled in besides."""
    # No person is as quick as this, nor is Airflow made for it: an answer that comes before the scheduler has heard of
    # the end of the process that asked makes it take the resumed task for one that was killed (SchedulerJobRunner.
    # process_executor_events).
    time.sleep(2)
    body = {"chosen_options": [option], "params_input": params}
    response = airflow.client.patch(f"/api/v2/{_path(dag_id, run_id, task_id)}", json=body)
    assert response.status_code == 200, response.text


def _path(dag_id, run_id, task_id):
    return f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
