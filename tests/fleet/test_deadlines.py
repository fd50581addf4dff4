"""What the triggerer says of a run that is late."""

import asyncio
from datetime import timedelta

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.serialization.encoders import encode_deadline_alert

from include.fleet import conf, deadlines, operators, settings

RUN = {
    "dag_id": "join_member_cluster",
    "dag_run_id": "manual__1",
    "state": "running",
    "conf": {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1"},
}
STATES = {"configure_member": "success", "resolve_tower_address": "skipped", "wait_installer": "deferred"}


@pytest.fixture
def states(monkeypatch):
    """What Airflow would answer the triggerer; only a running one can ask."""
    known = {"manual__1": {**STATES, "verify_join": None}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **asked: known)


def said_of(**fields):
    return asyncio.run(deadlines.tell({"dag_run": {**RUN, **fields}, "deadline": {"deadline_time": "2026-11-24"}}))


def test_a_late_run_is_named_with_its_member_and_what_is_not_finished(states, caplog):
    said = said_of()
    assert "Run manual__1 for member m1 has missed its deadline" in said
    assert "not finished: verify_join (not begun), wait_installer (deferred)." in said
    assert said in caplog.messages


def test_a_late_rotation_is_named_with_its_host(states):
    assert "Run manual__1 for host europe has missed its deadline" in said_of(conf={"host": "europe"})


def test_a_run_that_failed_long_ago_is_not_called_late(states, caplog):
    """Airflow keeps the deadline of a run that was cancelled."""
    with caplog.at_level("INFO"):
        assert said_of(state="failed") == "Run manual__1 for member m1 had ended as failed before its deadline."
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_how_long_a_run_may_take_comes_from_airflows_configuration(monkeypatch):
    monkeypatch.setenv("AIRFLOW__FLEET__RUN_TIMEOUT", "600")
    monkeypatch.setenv("AIRFLOW__FLEET__RUN_DEADLINE", "90")
    assert operators.run_timeout() == timedelta(minutes=10)
    assert operators.run_deadline().interval == 90


def test_the_deadline_is_stored_as_a_number_so_that_a_task_can_be_cleared():
    """Airflow 3.3 computes the deadline of a cleared run from what is stored, and can do that with a number only."""
    assert type(encode_deadline_alert(operators.run_deadline())["interval"]) is float


def test_the_waits_of_a_run_fit_into_its_deadline_and_the_deadline_into_its_timeout():
    limits = settings.Settings()
    seconds = {name: field["default"] for name, field in conf.SCHEMA.items() if name.endswith("_timeout")}
    # As long as the run's own leaves, where a person is waited for: a run that waits so long is late.
    assert seconds.pop("handoff_timeout") is None
    installers = max(seconds.pop("host_installer_timeout"), seconds.pop("member_installer_timeout"))
    # A run takes two turns, the member's and the host's. Joining by proxy waits for the host twice: until it has made
    # a token, and until it calls the member Ready.
    twice = seconds["turn_timeout"] + seconds["ready_timeout"]
    assert installers + sum(seconds.values()) + twice <= limits.run_deadline
    assert limits.run_deadline < limits.run_timeout
