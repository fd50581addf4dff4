import json

import httpx
import pytest

from include.demo import rest


def airflow(respond):
    """An Airflow that is logged in and whose server is a function."""
    remote = rest.Airflow("http://airflow", username="admin", password="password")
    remote.client = httpx.Client(base_url=remote.url, transport=httpx.MockTransport(respond))
    return remote


def test_a_refusal_quotes_airflows_reason():
    refusing = airflow(lambda _request: httpx.Response(400, json={"detail": "cluster: 3 is not a string"}))
    with pytest.raises(rest.RefusedError) as caught:
        refusing.trigger("join", conf={"cluster": 3})
    assert str(caught.value) == "POST /api/v2/dags/join/dagRuns: 400 cluster: 3 is not a string"


def test_trigger_sends_the_logical_date_that_airflow_demands():
    sent = []

    def respond(request):
        sent.append(json.loads(request.content))
        return httpx.Response(200, json={"dag_run_id": "one"})

    assert airflow(respond).trigger("join", conf={"cluster": "m1"}, run_id="one") == "one"
    assert sent == [{"logical_date": None, "conf": {"cluster": "m1"}, "dag_run_id": "one"}]


def test_wait_returns_the_state_in_which_the_run_stays():
    lines = b'{"state": "queued"}\n{"state": "running"}\n{"state": "failed"}\n'
    assert airflow(lambda _request: httpx.Response(200, content=lines)).wait("join", run_id="one") == "failed"


def test_wait_names_the_tasks_when_time_is_up():
    def respond(request):
        if request.url.path.endswith("/wait"):
            return httpx.Response(200, content=b'{"state": "running"}\n')
        return httpx.Response(200, json={"task_instances": [{"task_id": "fetch_jwt", "state": "running"}]})

    with pytest.raises(TimeoutError, match=r"in 0 seconds: \{'fetch_jwt': 'running'\}"):
        airflow(respond).wait("join", run_id="one", seconds=0)


def test_a_dag_that_cannot_be_imported_is_not_waited_for():
    errors = {"import_errors": [{"filename": "join.py", "stack_trace": "ImportError: no include"}]}
    with pytest.raises(LookupError, match=r"join\.py: ImportError: no include"):
        airflow(lambda _request: httpx.Response(200, json=errors)).await_dag("join")
