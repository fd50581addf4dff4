"""The Airflow side of a step: an error's class decides whether it is tried again, by Airflow's own retry policy."""

import inspect
import types
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import TaskDeferred

from include.fleet import errors, operators

POLICY = operators.ErrorClassPolicy()


def made(cls, **options):
    """An error of this class, whatever its constructor asks for."""
    error = cls.__new__(cls)
    if issubclass(cls, errors.TemporaryError):
        error.__init__("words", **options)
    return error


def decide(error, *, attempt=1):
    return POLICY.evaluate(error, try_number=attempt, max_tries=operators.RETRIES)


# Every class of the tree, so that a new one is decided, too.
CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.FleetError) and cls is not errors.FleetError
]
TEMPORARY = [cls for cls in CLASSES if issubclass(cls, errors.TemporaryError)]


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls not in TEMPORARY])
def test_a_permanent_error_is_not_tried_again(cls):
    assert decide(made(cls)).action is RetryAction.FAIL


@pytest.mark.parametrize("cls", TEMPORARY)
def test_a_temporary_error_is_tried_again_after_growing_delays(cls):
    decisions = [decide(made(cls), attempt=attempt) for attempt in range(1, operators.RETRIES + 1)]
    assert {decision.action for decision in decisions} == {RetryAction.RETRY}
    delays = [decision.retry_delay for decision in decisions]
    assert delays == sorted(delays)
    assert delays[0] < delays[-1]


@pytest.mark.parametrize("cls", TEMPORARY)
def test_a_temporary_error_is_not_tried_again_before_the_server_wants_it(cls):
    for attempt in range(1, operators.RETRIES + 1):
        usual = decide(made(cls), attempt=attempt).retry_delay
        for asked in (0.5, 7, 500):
            delay = decide(made(cls, retry_after=asked), attempt=attempt).retry_delay
            assert delay == max(usual, timedelta(seconds=asked))


@pytest.mark.parametrize("error", [RuntimeError("words"), KeyError("x"), errors.FleetError("words")], ids=repr)
def test_what_is_no_error_of_ours_is_left_to_the_task(error):
    assert decide(error).action is RetryAction.DEFAULT


@pytest.mark.parametrize("permanent", [True, False])
def test_an_error_from_the_triggerer_is_decided_as_where_it_was_raised(permanent):
    restored = errors.restored(permanent, "words", retry_after=500)
    decision = decide(restored)
    if permanent:
        assert decision.action is RetryAction.FAIL
    else:
        assert decision.retry_delay == timedelta(seconds=500)


def test_every_step_of_the_dag_is_tried_again_as_the_policy_says(dagbag):
    assert dagbag.import_errors == {}
    steps = [task for task in dagbag.dags["join_member_cluster"].tasks if isinstance(task, operators.StepOperator)]
    assert len(steps) == 16
    for task in steps:
        assert isinstance(task.retry_policy, operators.ErrorClassPolicy)
        assert task.retries == operators.RETRIES


@pytest.mark.parametrize(
    ("reports", "leaves"),
    [
        pytest.param([None, {"unchanged": ["role"]}], False, id="nothing-was-changed"),
        pytest.param([None, {"changed": ["role"]}], True, id="a-run-is-due"),
    ],
)
def test_a_step_that_is_known_to_take_minutes_holds_no_worker_for_a_look(reports, leaves, monkeypatch):
    step = operators.StepOperator(task_id="wait_installer", long_after=["configure_host", "configure_member"])
    monkeypatch.setattr(step, "_run", lambda context, started: {"ran": True})
    answers = dict(zip(step.long_after, reports, strict=True)) | {"take_turn": {"turn": "member-4711"}}
    ti = types.SimpleNamespace(run_id="r", try_number=2, max_tries=8, xcom_pull=lambda task_ids: answers[task_ids])
    run = types.SimpleNamespace(run_after=datetime(2026, 11, 23, 9, 6, 17, 200000, tzinfo=UTC))
    context = {"ti": ti, "dag_run": run, "params": {"cluster": "m1"}}
    if not leaves:
        assert step.execute(context) == {"ran": True}
        return
    with pytest.raises(TaskDeferred) as deferred:
        step.execute(context)
    stored = deferred.value.trigger.serialize()[1]
    assert (stored["step"], stored["held"]) == ("wait_installer", "member-4711")
    assert stored["attempt"] == "r of 2026-11-23T09:06:17.200000Z/2"


@pytest.mark.parametrize(
    ("tried", "last"), [pytest.param(8, False, id="one-is-left"), pytest.param(9, True, id="none-is-left")]
)
def test_a_try_after_which_airflow_tries_no_more_is_the_last_one(tried, last):
    """Eight retries are nine tries."""
    ti = types.SimpleNamespace(try_number=tried, max_tries=operators.RETRIES)
    assert operators._last_try({"ti": ti}) is last


def test_the_policy_is_stored_with_the_dag_and_comes_back():
    assert isinstance(operators.ErrorClassPolicy.deserialize(POLICY.serialize()), operators.ErrorClassPolicy)
