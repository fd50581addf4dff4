"""The steps of one join, run one after the other as Airflow runs them: in the worker, in the triggerer, and again.

What Airflow's own part is, is played here: the order of the tasks, their retries and their deferrals. All that can be
asked of the product is asked of it: whether an error is tried again is the retry policy's decision, what goes on in
the triggerer is the trigger's. As a program, `python -m tests.chaos.steps`, it reads JSON objects with conf, run_id
and, if it is no join, work from its standard input, one a line, and plays them one after the other; it can be killed
at any moment.
"""

import asyncio
import json
import sys
import time

from airflow.sdk import RetryAction

from include.fleet import errors, join, journal, leave, operators, rotation, triggers, waits
from include.simulator import fence

ORDER = {
    "direct": (
        "preflight",
        "plan",
        "take_turn",
        "fetch_jwt",
        "configure_host",
        "configure_member",
        "wait_installer",
        "prepare_kubeconfig",
        "import_cluster",
        "wait_agent_ready",
        "verify_join",
    ),
    "proxy": (
        "preflight",
        "plan",
        "take_turn",
        "fetch_jwt",
        "configure_host",
        "configure_member",
        "wait_installer",
        "resolve_tower_address",
        "import_cluster",
        "deploy_agent",
        "wait_agent_ready",
        "verify_join",
    ),
}
LEAVE = ("plan", "take_turn", "remove_cluster", "clean_member", "restore_member", "verify_leave")
ROTATION = ("plan", "take_turn", "rotate", "verify_rotation")
HASTE = 20
"""How much sooner than Airflow a step is tried again here: only time may be faked."""


def order(conf):
    """The steps of a join that ask clusters for something: which type it is, the conf says here, and probes ask."""
    found = list(ORDER[conf["connection"]])
    if conf.get("member_access") == "handoff":
        found[found.index("deploy_agent")] = "hand_over"
    if conf.get("probe"):
        found.insert(found.index("wait_installer") + 1, "choose_connection")
    return found


def play(conf, *, run_id):
    """Run all steps of a join and return their reports by name; raises the error that ends a step for good.

    The turn is given back in any case, as Airflow's teardown does it.
    """
    reports = {}
    try:
        for step in order(conf):
            reports[step] = with_retries(step, conf, run_id=run_id, reports=reports)
    finally:
        if held(reports) is not None:
            reports["end_turn"] = with_retries("end_turn", conf, run_id=run_id, reports=reports)
    return reports


def play_leave(conf, *, run_id):
    """Run all steps of a leave and return their reports by name; raises the error that ends a step for good."""
    reports = {}
    try:
        for step in LEAVE:
            reports[step] = with_retries(step, conf, run_id=run_id, reports=reports, work=triggers.LEAVE)
    finally:
        if "take_turn" in reports:
            reports["end_turn"] = with_retries("end_turn", conf, run_id=run_id, reports=reports, work=triggers.LEAVE)
    return reports


def play_rotation(conf, *, run_id):
    """Run all steps of a rotation of the jwtSecret and return their reports by name, as `play` does."""
    reports = {}
    try:
        for step in ROTATION:
            reports[step] = with_retries(step, conf, run_id=run_id, reports=reports, work=triggers.ROTATION)
    finally:
        if held(reports) is not None:
            reports["end_turn"] = with_retries("end_turn", conf, run_id=run_id, reports=reports, work=triggers.ROTATION)
    return reports


def held(reports):
    """The turn that a run holds after these reports, or None."""
    return reports.get("take_turn", {}).get("turn")


def with_retries(step, conf, *, run_id, reports, work=triggers.JOIN):
    """Run one step as often as its errors are worth it; returns its report."""
    policy = operators.ErrorClassPolicy()
    for attempt in range(1, operators.RETRIES + 2):
        try:
            last = attempt > operators.RETRIES
            once = _once(step, conf, attempt=f"{run_id}/{attempt}", reports=reports, last_try=last, work=work)
            return asyncio.run(once) or {}
        except errors.FleetError as error:
            decision = policy.evaluate(error, try_number=attempt, max_tries=operators.RETRIES)
            if decision.action is not RetryAction.RETRY or attempt > operators.RETRIES:
                raise
            time.sleep(max(decision.retry_delay.total_seconds() / HASTE, error.retry_after or 0))
    raise AssertionError("unreachable")


async def _once(step, conf, *, attempt, reports, last_try, work):
    limits, started, run = triggers.configured_settings(), time.time(), triggers.runner(work)
    noted = journal.Journal()
    try:
        leave_worker = started + limits.inline_wait
        report = await run(
            step,
            conf,
            limits=limits,
            attempt=attempt,
            started=started,
            leave_worker=leave_worker,
            reports=reports,
            changes=noted,
            held=held(reports),
            last_try=last_try,
        )
        return _with_changes(report, noted)
    except waits.Longer:
        trigger = triggers.StepTrigger(
            step=step, conf=conf, attempt=attempt, started=started, held=held(reports), last_try=last_try, work=work
        )
        event = (await anext(trigger.run())).payload
    noted.add(event["written"])
    if "message" in event:
        raise errors.restored(
            event["permanent"],
            event["message"],
            retry_after=event.get("retry_after"),
            diagnosis=event.get("diagnosis"),
        )
    ends = (join.verify_join, join.take_turn, leave.verify_leave, rotation.verify_rotation)
    if step in [each.__name__ for each in ends]:
        report = await run(
            step, conf, limits=limits, attempt=attempt, started=started, reports=reports, held=held(reports)
        )
        return _with_changes(report, noted)
    return _with_changes(event["report"], noted)


def _with_changes(report, noted):
    """What the operator returns: the report with what the step has written."""
    return {**report, "changed": noted.notes} if noted.notes else report


if __name__ == "__main__":
    fence.put_up()
    played = {triggers.JOIN: play, triggers.LEAVE: play_leave, triggers.ROTATION: play_rotation}
    for given in map(json.loads, sys.stdin):
        played[given.get("work", triggers.JOIN)](given["conf"], run_id=given["run_id"])
