import json

import pytest

from include.demo import progress, proof


def task(task_id, *, state, start="2026-11-23T12:00:00Z", end=None, duration=None):
    return {"task_id": task_id, "state": state, "start_date": start, "end_date": end, "duration": duration}


@pytest.fixture
def shown():
    return progress.Progress(label="m1", colour=False)


def test_each_change_is_shown_once(shown):
    running = [task("fetch_jwt", state="running")]
    done = [task("fetch_jwt", state="success", end="2026-11-23T12:00:02.5Z")]
    assert shown.lines(running, seconds=1) == ["    1.0 s  m1  fetch_jwt              running"]
    assert shown.lines(running, seconds=2) == []
    assert shown.lines(done, seconds=3) == ["    3.0 s  m1  fetch_jwt              done in 2.5 s"]
    assert shown.lines(done, seconds=4) == []


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "restarting"])
def test_states_that_pass_by_themselves_are_not_shown(shown, state):
    assert shown.lines([task("fetch_jwt", state=state)], seconds=1) == []


def test_a_retry_shows_the_task_running_again(shown):
    states = ["running", "up_for_retry", "running"]
    lines = [shown.lines([task("fetch_jwt", state=state)], seconds=1) for state in states]
    assert [len(line) for line in lines] == [1, 1, 1]


def test_changes_seen_together_are_in_the_order_of_their_starts(shown):
    tasks = [
        task("wait_agent_ready", state="skipped", start=None),
        task("import_cluster", state="running", start="2026-11-23T12:00:09Z"),
        task("fetch_jwt", state="success", start="2026-11-23T12:00:01Z", end="2026-11-23T12:00:02Z"),
    ]
    names = [line.split()[3] for line in shown.lines(tasks, seconds=9)]
    assert names == ["fetch_jwt", "import_cluster", "wait_agent_ready"]


def test_durations_count_the_time_in_the_triggerer():
    """Airflow's own `duration` of a deferred task is that of its last stretch."""
    waited = task("wait_installer", state="success", end="2026-11-23T12:00:30Z", duration=0.2)
    assert progress.durations([waited, task("deploy_agent", state="skipped")]) == ["  wait_installer            30.0 s"]


def test_a_claim_that_does_not_hold_stands_out_without_colours():
    claims = [
        proof.Claim(text="Ready", holds=True, evidence="a"),
        proof.Claim(text="Same", holds=False, evidence="b"),
    ]
    assert progress.evidence(claims, colour=False) == ["  yes  Ready  a", "  NO   Same   b"]


def test_the_error_of_a_task_is_the_last_one_in_its_log():
    records = [
        {"event": "failed", "error_detail": [{"exc_type": "OSError", "exc_value": "first attempt"}]},
        {
            "event": "Task failed with exception",
            "error_detail": [
                {"exc_type": "ApiException", "exc_value": "(403)"},
                {"exc_type": "ForbiddenError", "exc_value": "patch secrets: no right"},
            ],
        },
        {"event": "Task instance in failure state"},
    ]
    log = "\n".join(json.dumps(record) for record in records)
    assert progress.error_text(log) == "ForbiddenError: patch secrets: no right"


def test_a_log_without_an_error_says_so():
    assert progress.error_text('{"event": "killed"}') == "its log names no error"
