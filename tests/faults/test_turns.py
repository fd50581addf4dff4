"""A sample of what `make faults` plays with two Airflows: runs of one member at once, one of them killed."""

import dataclasses
import datetime
import json
import os
import signal
import subprocess
import sys
import time

from tests.chaos import cases
from tests.faults import turns
from tests.joins import evidence


def start(stage, run_id):
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.steps"],
        cwd=cases.ROOT,
        env={**os.environ, "PYTHONPATH": str(cases.ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    child.stdin.write(json.dumps({"conf": stage.conf, "run_id": run_id}))
    child.stdin.close()
    child.stdin = None
    return child


def test_runs_of_one_member_are_never_inside_together_and_end_joined_though_the_holder_is_killed(airflow_home):
    with cases.Stage("direct") as stage:
        host = stage.simulation.clusters["host"]
        children = {f"run-{number}": start(stage, f"run-{number}") for number in range(3)}
        evidence.wait_for(lambda: evidence.writes(stage.simulation.clusters["m1"]), seconds=120)
        (lease,) = [item for item in host.objects("leases") if not item["metadata"]["name"].endswith("-host")]
        holder = lease["spec"]["holderIdentity"]
        children[holder].kill()
        said = {run: child.communicate(timeout=240)[0] for run, child in children.items()}
        ended = {run: child.returncode for run, child in children.items()}
        assert ended.pop(holder) == -signal.SIGKILL
        assert set(ended.values()) == {0}, said
        held, problems = turns.judge(stage.simulation, ["m1"])
    assert problems == []
    assert {turn.run for turn in held if not turn.lease.endswith("-host")} == set(children)


@dataclasses.dataclass(frozen=True)
class Entry:
    verb: str
    resource: str
    name: str
    run: str
    at: float
    code: int = 200

    @property
    def agent(self):
        return f"join-member-cluster ({self.run})"

    @property
    def time(self):
        return datetime.datetime.fromtimestamp(self.at, datetime.UTC)


def test_the_judge_sees_a_turn_that_is_taken_over_and_who_writes_after_it():
    """What cannot find anything proves nothing."""
    now = time.time()
    log = [
        Entry("create", "leases", "turn-1", "one", now),
        Entry("patch", "leases", "turn-1", "one", now + 1),
        Entry("patch", "leases", "turn-1", "two", now + 2),
        Entry("delete", "leases", "turn-1", "two", now + 3),
    ]
    one, two = turns.held(log)
    assert (one.run, one.until, two.run, two.since) == ("one", two.since, "two", one.until)
    assert turns.overlapping([one, two]) == []
    assert len(turns.overlapping([one, dataclasses.replace(two, since=one.since)])) == 1
