"""The DAG leave_member_cluster as Airflow runs it; what it does to the clusters is in tests/leaves."""

import pytest

from tests.joins import evidence

JOINED = {"name": "m1", "role": "member", "secret": "host", "joined": "m1"}


@pytest.fixture
def joined(simulate):
    """A host and a member that was joined by hand."""
    return simulate(host={"role": "host"}, members=[JOINED])


def test_a_run_takes_the_member_out_and_reports_it(joined, leave):
    run = leave(joined)
    assert run.state == "success", run.error
    assert {task for task, state in run.tasks.items() if state != "success"} == {"approve_plan"}
    host, member = joined.clusters["host"], joined.clusters["m1"]
    assert [item["metadata"]["name"] for item in host.objects("clusters")] == ["host"]
    assert evidence.role_of(member) == "none"
    report = run.reports["verify_leave"]
    assert (report["result"], report["differs"], report["warnings"]) == ("left by this run", [], [])
    assert "clusters/m1 deleted on the host" in report["removed"]
    assert [line.rpartition(": ")[2] for line in report["restored"]] == ["role and jwtSecret"]
    leases = [item["metadata"]["name"] for item in host.objects("leases")]
    assert [name for name in leases if name.startswith("join-member-cluster")] == []
    evidence.assert_no_secret(run, joined)


def test_a_run_that_only_plans_ends_after_the_plan(joined, leave):
    before = {name: evidence.writes(cluster) for name, cluster in joined.clusters.items()}
    run = leave(joined, plan_only=True)
    assert run.state == "success", run.error
    assert [task for task, state in run.tasks.items() if state == "success"] == ["plan"]
    assert {entry["verb"] for entry in run.reports["plan"]["entries"]} == {"delete", "change"}
    assert {name: evidence.writes(cluster) for name, cluster in joined.clusters.items()} == before


def test_a_lost_host_needs_no_connection_and_no_turn(joined, leave):
    asked = len(joined.clusters["host"].audit())
    run = leave(joined, host_conn_id=None, host_lost=True)
    assert run.state == "success", run.error
    assert "turn" not in run.reports["take_turn"]
    product = [entry for entry in joined.clusters["host"].audit()[asked:] if entry.agent.startswith("join-member")]
    assert product == []
    assert evidence.role_of(joined.clusters["m1"]) == "none"


def test_all_problems_of_a_conf_are_told_at_once(joined, leave):
    run = leave(joined, host_conn_id="none", force=True, host_lost=True, plan_only=True, approve=True)
    assert run.failed == ["plan"]
    for problem in ("approve: a run that only plans", "force: the member is dead and the host", "host_conn_id: "):
        assert problem in run.error
    assert all(evidence.writes(cluster) == [] for cluster in joined.clusters.values())
