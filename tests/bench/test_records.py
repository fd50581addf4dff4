"""Reading Airflow's event log: who had a worker, and what passed in between."""

import datetime

import pytest

from bench import records

EVENTS = [
    ("wait_installer", "running", "2026-01-01T00:00:00Z"),
    ("fetch_jwt", "running", "2026-01-01T00:00:01Z"),
    ("wait_installer", "deferred", "2026-01-01T00:00:01.5Z"),
    ("fetch_jwt", "success", "2026-01-01T00:00:02Z"),
    ("wait_installer", "running", "2026-01-01T00:01:00Z"),
    ("wait_installer", "success", "2026-01-01T00:01:00.75Z"),
]
TASKS = [
    {"task_id": "wait_installer", "scheduled_when": "2026-01-01T00:00:59Z"},
    {"task_id": "fetch_jwt", "scheduled_when": "2026-01-01T00:00:00.25Z"},
    {"task_id": "deploy_agent", "scheduled_when": None},
]


def events(rows):
    return [dict(zip(("task_id", "event", "when"), row, strict=True)) for row in rows]


def moment(text):
    return datetime.datetime.fromisoformat(f"2026-01-01T{text}Z")


def spans(rows=EVENTS, tasks=TASKS):
    return records.spans(events(rows), tasks, triggered=moment("00:00:00") - datetime.timedelta(seconds=3))


def test_a_task_holds_a_slot_only_while_it_runs():
    assert records.slot_seconds(events(EVENTS)) == {"wait_installer": 2.25, "fetch_jwt": 1.0}


def test_a_task_whose_end_is_not_told_is_not_counted_as_nothing():
    with pytest.raises(LookupError, match="wait_installer"):
        records.slot_seconds(events(EVENTS[:-1]))


def test_a_deferred_task_holds_no_slot_between_its_stretches():
    waiting, fetching = spans()
    assert (waiting.task_id, waiting.slot, waiting.deferred) == ("wait_installer", 2.25, 58.5)
    assert (fetching.task_id, fetching.slot, fetching.deferred) == ("fetch_jwt", 1.0, 0.0)


def test_the_time_before_a_task_is_idle_until_it_is_scheduled_and_start_up_after_that():
    first, second = spans(
        rows=[
            ("preflight", "running", "2026-01-01T00:00:00Z"),
            ("preflight", "success", "2026-01-01T00:00:01Z"),
            ("fetch_jwt", "running", "2026-01-01T00:00:02Z"),
            ("fetch_jwt", "success", "2026-01-01T00:00:03Z"),
        ],
        tasks=[
            {"task_id": "preflight", "scheduled_when": "2025-12-31T23:59:58Z"},
            {"task_id": "fetch_jwt", "scheduled_when": "2026-01-01T00:00:01.25Z"},
        ],
    )
    assert (first.idle, first.start_up) == (1.0, 2.0)
    assert (second.idle, second.start_up) == (0.25, 0.75)


def test_a_moment_belongs_to_all_tasks_that_had_a_part_of_their_time_together():
    """What of one task's time another has not shared is not told apart: runs would differ in what is."""
    assert records.at(moment("00:00:01.75"), spans()) == "fetch_jwt+wait_installer"
    assert records.at(moment("00:00:30"), spans()) == "fetch_jwt+wait_installer"
    assert records.at(moment("00:02:00"), spans()) == ""


def test_the_first_request_of_a_task_is_the_first_one_while_it_has_not_ended():
    moments = [moment("00:00:01.25"), moment("00:00:01.75"), moment("00:02:00")]
    assert records.first_within(spans(), moments) == {"wait_installer": 1.25, "fetch_jwt": 0.25}
    assert records.first_within(spans(), moments[2:]) == {}
