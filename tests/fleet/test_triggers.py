"""What is stored while a step waits: references only, in forms that stay.

A run can be deferred by one version of this project, waited for by a second and resumed by a third. So the old forms
are kept here, and must be taken for ever; a new form is added to its list.
"""

import asyncio
import contextlib
import datetime
import json
import time
import types

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.module_loading import import_string
from airflow.sdk.serde import deserialize, serialize

from include.fleet import errors, join, operators, triggers
from include.simulator.simulation import Simulation

TIMING = {"queue": 0.05, "run": 0.4, "reload": 0.2, "sync": 0.05, "resync": 0.5, "kubelet": 0.05}
SETTINGS = {"POLL": 0.3, "SLOW_POLL": 0.5, "FAILED_AFTER": 3, "QUIET": 1.5, "RESYNC": 1}
CONF = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "member_server": None}
RUN_AFTER = "2026-11-23T09:06:17.200000Z"
STORED = [
    # Oldest first.
    (
        "include.fleet.triggers.StepTrigger",
        {"step": "wait_installer", "conf": CONF, "attempt": "manual__1/1", "started": 1795441577.2},
    ),
    (
        "include.fleet.triggers.StepTrigger",
        {
            "step": "wait_installer",
            "conf": CONF,
            "attempt": f"manual__1 of {RUN_AFTER}/1",
            "started": 1795441577.2,
            "held": None,
            "last_try": False,
        },
    ),
    (
        "include.fleet.triggers.StepTrigger",
        {
            "step": "wait_installer",
            "conf": CONF,
            "attempt": f"manual__1 of {RUN_AFTER}/1",
            "started": 1795441577.2,
            "held": None,
            "last_try": False,
            "work": "join",
        },
    ),
]
HANDED_OVER = (
    "include.fleet.triggers.HandOverTrigger",
    {**STORED[-1][1], "step": "hand_over", "ti_id": "0199a1b2-c3d4-7000-8000-000000000001"},
)
"""The triggers of waiting runs, as they are in Airflow's database."""
METHOD = "resume"
"""The method of the operator that is called then: its name is in the database, too."""
DIAGNOSIS = {"cause": "P-24", "sentence": "x"}
BEGUN = {"started": 1795441577.2, "written": ["role none -> host"]}
EVENTS = {
    "nothing-to-wait-for": BEGUN,
    "report": {**BEGUN, "report": {"unchanged": ["ks-installer is idle"]}},
    "permanent-failure": {**BEGUN, "permanent": True, "message": "ks-installer gave up"},
    "temporary-failure": {**BEGUN, "permanent": False, "message": "no answer"},
    "temporary-failure-that-names-a-time": {**BEGUN, "permanent": False, "message": "busy", "retry_after": 7.0},
    "failure-with-a-diagnosis": {**BEGUN, "permanent": True, "message": "no\nMost likely: x", "diagnosis": DIAGNOSIS},
}
"""What triggers have left for the worker that resumes the task, with the method's name."""


class Store(dict):
    """A task's own store, as Airflow gives it to each try."""

    set = dict.__setitem__


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    with Simulation(
        {"timing": TIMING, "members": [{"name": "m1"}]}, directory=tmp_path_factory.mktemp("clusters")
    ) as running:
        yield running


@pytest.fixture
def clusters(simulation, monkeypatch):
    for name, seconds in SETTINGS.items():
        monkeypatch.setenv(f"AIRFLOW__FLEET__{name}", str(seconds))
    for conn_id, connection in simulation.connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    return simulation.clusters


def context(**reports):
    """What Airflow gives to a task, as far as a step reads it."""

    def xcom_pull(*, task_ids):
        return reports.get(task_ids)

    pushed = {}
    ti = types.SimpleNamespace(
        run_id="manual__1",
        try_number=1,
        max_tries=8,
        xcom_pull=xcom_pull,
        xcom_push=lambda *, key, value: pushed.update({key: value}),
        pushed=pushed,
    )
    run = types.SimpleNamespace(run_after=datetime.datetime.fromisoformat(RUN_AFTER))
    return {"ti": ti, "dag_run": run, "params": CONF, "task_state_store": Store()}


def resume(task, event, given):
    """Resume a task with what is stored, as Airflow does."""
    stored = json.loads(json.dumps(serialize({"event": event})))
    return task.resume_execution(METHOD, deserialize(stored), given)


@pytest.mark.parametrize(("path", "arguments"), [*STORED, HANDED_OVER])
def test_a_stored_trigger_can_be_made_again(path, arguments):
    made = import_string(path)(**deserialize(json.loads(json.dumps(serialize(arguments)))))
    assert made.serialize()[1].items() >= arguments.items()


@pytest.mark.parametrize("stored", [STORED[-1], HANDED_OVER])
def test_a_trigger_is_stored_as_the_arguments_of_its_constructor(stored):
    path, arguments = stored
    assert import_string(path)(**arguments).serialize() == stored
    assert json.loads(json.dumps(arguments)) == arguments


def test_a_step_that_waits_stores_references_only(clusters, monkeypatch):
    monkeypatch.setenv("AIRFLOW__FLEET__INLINE_WAIT", "0")
    task = operators.StepOperator(task_id="resolve_tower_address")
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context(take_turn={"turn": "join-member-cluster.member-4711"}))
    path, arguments = deferred.value.trigger.serialize()
    assert path == STORED[-1][0]
    assert arguments == {
        **STORED[-1][1],
        "step": "resolve_tower_address",
        "started": arguments["started"],
        "held": "join-member-cluster.member-4711",
    }
    assert deferred.value.method_name == METHOD
    assert not deferred.value.kwargs


def test_a_run_that_was_deferred_by_the_oldest_version_ends_with_this_one(clusters):
    """The trigger runs to its event here, and the task that is resumed with it has its report."""
    path, arguments = STORED[0]
    trigger = import_string(path)(**{**arguments, "started": time.time()})

    async def run():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(run())
    given = context()
    report = resume(operators.StepOperator(task_id="wait_installer"), event, given)
    assert report["unchanged"] == event["report"]["unchanged"]
    assert given["task_state_store"].get("written", []) == event["written"]
    for name, role in (("host", "host"), ("m1", "member")):
        config = clusters[name].object("configmaps", "kubesphere-config", "kubesphere-system")
        assert f"clusterRole: {role}" in config["data"]["kubesphere.yaml"]


@pytest.mark.parametrize("name", EVENTS)
def test_what_was_written_before_the_upgrade_is_known_after_it(monkeypatch, name):
    async def run(*_, **__):
        return {}

    monkeypatch.setattr(join, "run", run)
    given = context()
    given["task_state_store"]["written"] = ["jwtSecret changed"]
    with contextlib.suppress(errors.FleetError):
        resume(operators.StepOperator(task_id="wait_installer"), EVENTS[name], given)
    assert given["task_state_store"]["written"] == ["jwtSecret changed", "role none -> host"]


def test_an_event_with_a_report_ends_the_task_with_it():
    report = resume(operators.StepOperator(task_id="wait_installer"), EVENTS["report"], context())
    assert report["unchanged"] == ["ks-installer is idle"]
    assert report["changed"] == ["role none -> host"]
    assert report["seconds"] > 0


def test_a_diagnosis_of_the_triggerer_is_kept_by_the_worker():
    given = context()
    with pytest.raises(errors.PermanentError, match="Most likely: x") as caught:
        resume(operators.StepOperator(task_id="wait_installer"), EVENTS["failure-with-a-diagnosis"], given)
    assert caught.value.diagnosis == given["ti"].pushed["diagnosis"] == DIAGNOSIS


def test_what_a_failing_task_says_and_has_written_all_the_same_is_kept_for_its_report():
    given = context()
    with pytest.raises(errors.PermanentError):
        resume(operators.StepOperator(task_id="wait_installer"), EVENTS["failure-with-a-diagnosis"], given)
    assert given["ti"].pushed["failure"] == {"error": "no\nMost likely: x", "changed": ["role none -> host"]}


def test_an_event_without_a_report_has_the_step_run_again(clusters):
    """Nothing of the oldest events is a report: the worker made it."""
    event = {**EVENTS["nothing-to-wait-for"], "started": time.time()}
    report = resume(operators.StepOperator(task_id="fetch_jwt"), event, context())
    assert report["fingerprint"].startswith("sha256:")
    assert report["changed"] == ["role none -> host"]


def test_a_step_that_reads_earlier_reports_runs_again_in_the_worker(clusters):
    """The trigger has none of them, and its own report is not the whole one."""
    task = operators.StepOperator(task_id="fetch_jwt", earlier=["preflight"])
    report = resume(task, EVENTS["report"], context(preflight={"cluster": "m1"}))
    assert report["fingerprint"].startswith("sha256:")


def test_an_answer_that_came_before_the_task_was_deferred_ends_the_wait(monkeypatch):
    """Airflow resumes a deferred task with an answer by itself; one that came a moment sooner would be lost."""
    given = types.SimpleNamespace(response_received=True, chosen_options=["Cannot be done"], params_input={})
    monkeypatch.setattr(triggers, "get_hitl_detail_content_detail", lambda *, ti_id: given)
    path, arguments = HANDED_OVER
    event = asyncio.run(anext(import_string(path)(**arguments).run())).payload
    assert event == {"chosen_options": ["Cannot be done"], "params_input": {}}
    with pytest.raises(errors.HandoffError, match="A person answered that it cannot be done: no reason was given"):
        resume(operators.HandOverOperator(task_id="hand_over"), event, context())


@pytest.mark.parametrize(
    ("name", "kind", "message", "retry_after"),
    [
        pytest.param("permanent-failure", errors.PermanentError, "ks-installer gave up", None, id="permanent"),
        pytest.param("temporary-failure", errors.TemporaryError, "no answer", None, id="temporary"),
        pytest.param("temporary-failure-that-names-a-time", errors.TemporaryError, "busy", 7, id="names-a-time"),
    ],
)
def test_a_failure_keeps_its_kind_and_words(name, kind, message, retry_after):
    with pytest.raises(kind, match=message) as caught:
        resume(operators.StepOperator(task_id="wait_installer"), EVENTS[name], context())
    assert getattr(caught.value, "retry_after", None) == retry_after


@pytest.mark.parametrize(
    ("error", "leaves"),
    [
        pytest.param(errors.NotReadyError("not ready"), {"permanent": True, "message": "not ready"}, id="permanent"),
        pytest.param(errors.UnreachableError("cut"), {"permanent": False, "message": "cut"}, id="temporary"),
        pytest.param(
            errors.UnavailableError("busy", retry_after=7),
            {"permanent": False, "message": "busy", "retry_after": 7},
            id="names-a-time",
        ),
    ],
)
def test_a_failure_leaves_kind_words_and_when_to_try_again(monkeypatch, error, leaves):
    async def fail(*_, **__):
        raise error

    monkeypatch.setattr(join, "run", fail)
    event = asyncio.run(anext(triggers.StepTrigger(**STORED[-1][1]).run())).payload
    assert event == {"started": STORED[-1][1]["started"], "written": [], **leaves}


def test_settings_come_from_airflows_configuration(monkeypatch):
    monkeypatch.setenv("AIRFLOW__FLEET__POLL", "7.5")
    found = triggers.configured_settings()
    assert found.poll == 7.5
    assert found.failed_after == 30.0
