"""Rotations that are cut off, and members that go away meanwhile: all follow in the end, or it is said who does not."""

import pytest

from include.fleet import errors, turn
from include.simulator.disturbances import Act, Disturbance, Moment
from tests.chaos import cases, steps
from tests.joins import evidence
from tests.rotation import conftest

TWO = [{"name": "m1"}, {"name": "p1", "connection": "proxy"}]
ASKED = "patch clusterconfigurations ks-installer"
WRITES = {
    "keep": ("host", "create", "secrets"),
    "host": ("host", "patch", "clusterconfigurations"),
    "m1": ("m1", "patch", "clusterconfigurations"),
    "p1": ("p1", "patch", "clusterconfigurations"),
    "let-go": ("host", "delete", "secrets"),
}
"""Every write of a rotation but those of its Leases, which are a turn's own."""
SAMPLE = [("host", "before the answer"), ("p1", "after the answer"), ("let-go", "before the answer")]


def disturb(stage, cluster, verb, resource, kind):
    def matches(call):
        return cases.mine(call) and (call.verb, call.resource) == (verb, resource) and "dryRun" not in call.path

    disturbance = Disturbance(matches=matches, kind=kind)
    stage.clusters[cluster].disturb(disturbance)
    return disturbance


def pytest_generate_tests(metafunc):
    """Kill at some of the writes; `--every-kill` does at each."""
    if "write" in metafunc.fixturenames:
        every = [(write, moment) for write in WRITES for moment in cases.MOMENTS]
        metafunc.parametrize(("write", "moment"), every if metafunc.config.getoption("--every-kill") else SAMPLE)


def test_a_rotation_that_is_killed_at_a_write_goes_on_with_the_same_secret(stage_of, write, moment):
    """The next run is of another Airflow, which knows nothing of the first."""
    stage = stage_of(TWO)
    before = stage.in_force()["host"]
    stage.rotate_and_be_killed(
        lambda child: disturb(stage, *WRITES[write], Act(function=lambda _: child.kill(), moment=cases.MOMENTS[moment]))
    )
    made = stage.kept_secret()
    if write == "let-go":
        # All was done but to let the next run in: another run is another rotation.
        assert made is None
        assert len({*stage.in_force().values(), before}) == 2
        return
    assert made is not None
    stage.rotate(run_id="another-run")
    after = set(stage.in_force().values())
    assert len(after) == 1
    assert before not in after
    assert after == {made}
    assert stage.kept() == []
    for name in ("m1", "p1"):
        evidence.assert_joined(stage.fleet.simulation, name=name, member=name)
    assert all(evidence.writes(cluster).count(ASKED) == 1 for cluster in stage.clusters.values())


def test_a_member_that_goes_away_in_the_middle_stops_no_other_and_is_named(stage_of):
    stage = stage_of([{"name": "m1"}, {"name": "m2"}, {"name": "p1", "connection": "proxy"}])
    before = stage.in_force()["m2"]
    member = stage.clusters["m2"]
    # Nobody answers there any more, from when the host is asked on.
    gone = Act(function=lambda _: member.restart_server(60), moment=Moment.COMMITTED)
    disturb(stage, *WRITES["host"], gone)
    with pytest.raises(errors.VerificationError) as caught:
        stage.rotate(member_installer_timeout=10, verify_timeout=15)
    said = str(caught.value)
    assert "\n  - m2: " in said
    assert "- m1" not in said
    assert "- p1" not in said
    assert "reconcile_fleet" in said
    now = stage.in_force()
    assert now["m2"] == before
    assert len({now[name] for name in ("host", "m1", "p1")} - {before}) == 1
    assert stage.kept() == ["next-jwt-secret"]
    assert stage.leases() == []
    evidence.wait_for(lambda: stage.answers("m2"), seconds=90)
    report = stage.step("plan")
    assert any("goes on with the rotation" in line and "3 of 4" in line for line in report["notes"])
    stage.rotate(run_id="another-run")
    assert set(stage.in_force().values()) == {now["host"]}
    assert stage.kept() == []


def test_a_rotation_waits_for_a_join_that_is_at_work_on_a_member(stage_of):
    stage = stage_of(TWO)
    uid = stage.clusters["m1"].object("namespaces", "kube-system")["metadata"]["uid"]
    conf = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "connection": "direct", **cases.WAITS}
    steps.with_retries("take_turn", conf, run_id="a-join", reports={})
    with pytest.raises(errors.DeadlineError, match="run a-join is changing member m1"):
        stage.rotate(turn_timeout=1)
    assert stage.leases() == [turn.of_member(uid)]
    assert not any(stage.fleet.writes().values())


def test_reconcile_starts_nothing_on_a_host_whose_secret_is_rotated(stage_of):
    stage = stage_of(TWO)
    stage.fleet.member("m1").update(description="The shop")
    stage.step("take_turn", reports={"plan": {}})
    record = stage.fleet.reconcile()
    assert record["actions"] == []
    (found,) = record["findings"]
    assert found["kind"] == "rotating"
    assert f"Run {conftest.RUN} is rotating the jwtSecret" in found["sentence"]
    row = stage.fleet.row("m1")
    assert row["state"] == "drifted"
    assert "is rotating the jwtSecret" in row["waits"]
    stage.step("end_turn", reports={})
    assert stage.leases() == []
    record = stage.fleet.reconcile()
    assert record["findings"] == []
    assert [action["cluster"] for action in record["actions"]] == ["m1"]
