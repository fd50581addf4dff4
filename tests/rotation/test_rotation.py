"""Whole rotations of the jwtSecret on simulated fleets: what the clusters show of them."""

import re

import pytest

from include.fleet import errors
from tests.joins import evidence

THREE = [{"name": "m1"}, {"name": "m2"}, {"name": "p1", "connection": "proxy"}]
SLOW = {"queue": 0.05, "run": 4, "reload": 0.2, "sync": 0.05, "resync": 0.5, "kubelet": 0.05}
"""Seconds: as in reality, runs of the installer last longer than a step's way to the triggerer."""
ASKED = "patch clusterconfigurations ks-installer"


def test_host_and_members_get_one_new_secret_in_one_patch_each_and_nothing_is_left(stage_of):
    stage = stage_of(THREE, timing=SLOW)
    before = stage.in_force()
    reports = stage.rotate()
    after = stage.in_force()
    assert len(set(after.values())) == 1
    assert not set(after.values()) & set(before.values())
    assert re.fullmatch("[A-Za-z0-9]{32}", after["host"])
    for name in ("m1", "m2", "p1"):
        evidence.assert_joined(stage.fleet.simulation, name=name, member=name)
        assert evidence.writes(stage.clusters[name]) == [ASKED]
    assert evidence.writes(stage.host) == ["create secrets next-jwt-secret", ASKED, "delete secrets next-jwt-secret"]
    assert stage.kept() == stage.leases() == []
    report = reports["verify_rotation"]
    assert [each["cluster"] for each in report["members"]] == ["m1", "m2", "p1"]
    assert all("forwarded" in each["proof"] for each in report["members"]), report
    assert all(0 <= each["seconds"] < 20 for each in report["members"]), report


def test_a_rotation_that_has_ended_is_followed_by_a_new_one(stage_of):
    stage = stage_of(THREE[:1])
    stage.rotate()
    first = stage.in_force()["host"]
    stage.rotate(run_id="manual__second")
    assert set(stage.in_force().values()) != {first}


def test_kubesphere_3_0_is_rotated_and_restarted(stage_of):
    stage = stage_of([{"name": "m1"}, {"name": "p1", "connection": "proxy"}], kubesphere="v3.0.0")
    before = stage.in_force()["host"]
    reports = stage.rotate()
    assert len({*stage.in_force().values(), before}) == 2
    assert [bool(each["proof"]) for each in reports["verify_rotation"]["members"]] == [True, True]


def test_a_plan_writes_nothing_and_says_who_changes_and_what_users_notice(stage_of):
    stage = stage_of(THREE)
    stage.fleet.declared["hosts"][0]["members"].append({"cluster": "m9", "member_conn_id": "m9"})
    stage.declare()
    before = stage.in_force()
    report = stage.step("plan", plan_only=True)
    assert stage.in_force() == before
    assert not any(stage.fleet.writes().values())
    assert stage.kept() == stage.leases() == []
    changed = {item["cluster"]: item for item in report["entries"] if item["verb"] == "change"}
    assert set(changed) == {"host", "member m1", "member m2", "member p1"}
    assert all(field["new"] == "(new)" for item in changed.values() for field in item["fields"])
    said = " ".join([*report["consequences"], *report["notes"]])
    assert "Everybody is logged out" in said
    assert "refused with 401" in said
    assert "m9 is not on the host" in said
    assert stage.step("plan", plan_only=True)["digest"] == report["digest"]


def refused(stage, **conf):
    with pytest.raises(errors.RefusedError) as caught:
        stage.rotate(**conf)
    assert not any(stage.fleet.writes().values())
    assert stage.kept() == stage.leases() == []
    return str(caught.value)


def test_ready_members_that_cannot_follow_stop_it_and_are_all_named(stage_of, monkeypatch):
    stage = stage_of(THREE)
    stage.fleet.member("m1")["paused"] = True
    members = stage.fleet.declared["hosts"][0]["members"]
    members.remove(stage.fleet.member("m2"))
    stage.declare()
    monkeypatch.delenv("AIRFLOW_CONN_P1")
    said = refused(stage, leave_out=["m7"])
    assert "Cluster m1: it is paused" in said
    assert "Cluster m2: the inventory does not have it" in said
    assert "Cluster p1: Airflow has no way to it" in said
    assert "leave_out: there is no Cluster m7" in said


def test_what_is_left_out_is_not_changed_and_reconcile_repairs_it_afterwards(stage_of):
    stage = stage_of(THREE)
    before = stage.in_force()["m2"]
    reports = stage.rotate(leave_out=["m2"])
    assert stage.in_force()["m2"] == before != stage.in_force()["host"]
    assert evidence.writes(stage.clusters["m2"]) == []
    assert any("m2 is left out" in line for line in reports["verify_rotation"]["left"])
    record = stage.fleet.reconcile()
    assert [(action["cluster"], action["dag_id"]) for action in record["actions"]] == [("m2", "join_member_cluster")]
    stage.fleet.repair()
    assert len(set(stage.in_force().values())) == 1


def test_an_unknown_host_and_unknown_keys_are_refused(stage_of):
    stage = stage_of(THREE[:1])
    with pytest.raises(errors.ConfError, match="there is no host 'asia' in the inventory; there are europe"):
        stage.step("plan", host="asia")
    with pytest.raises(errors.ConfError) as caught:
        stage.step("plan", secret="x", leave_out="m1", approve_timeout=0)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "approve_timeout",
        "leave_out",
        "secret",
    ]
