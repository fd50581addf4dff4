"""How a run of the DAG ends: rolled back or kept as the conf says, its turn given back, and its report saying why."""

import pytest

from tests.joins import evidence, rolling

DEAD = [{"name": "m1", "reachable": False}]


def leases(simulation):
    return simulation.clusters["host"].objects("leases")


def test_a_failed_run_keeps_what_it_has_written_and_says_why_it_failed(simulate, join):
    simulation = simulate(members=DEAD)
    run = join(simulation, ready_timeout=4)
    assert (run.state, run.failed) == ("failed", ["wait_agent_ready"])
    assert evidence.role_of(simulation.clusters["m1"]) == "member"
    told = run.reports["end_turn"]["failed"]["wait_agent_ready"]
    assert told["cause"] == "P-24"
    assert "connection refused" in told["evidence"]
    assert run.tasks["end_turn"] == "success"
    assert leases(simulation) == []
    evidence.assert_no_secret(run, simulation)


def test_a_failed_run_is_rolled_back_where_the_conf_says_so(simulate, join):
    simulation = simulate(host={"role": "host"}, members=DEAD)
    before = {name: rolling.photograph(cluster) for name, cluster in simulation.clusters.items()}
    run = join(simulation, ready_timeout=4, on_failure="rollback")
    assert (run.state, run.failed) == ("failed", ["wait_agent_ready"])
    after = {name: rolling.photograph(cluster) for name, cluster in simulation.clusters.items()}
    assert {name: rolling.differences(before[name], after[name]) for name in before} == {"host": [], "m1": []}
    report = run.reports["end_turn"]
    assert report["undone"]
    assert report["differs"] == []
    assert leases(simulation) == []
    evidence.assert_no_secret(run, simulation)


@pytest.mark.parametrize("on_failure", ["keep", "rollback"])
def test_a_run_that_succeeds_leaves_nothing_but_the_join(simulate, join, on_failure):
    simulation = simulate(host={"role": "host"})
    run = join(simulation, on_failure=on_failure)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert leases(simulation) == []
    for cluster in simulation.clusters.values():
        names = {item["metadata"]["name"] for item in cluster.objects("secrets", "kubesphere-system")}
        assert "before-run" not in names
    assert "failed" not in run.reports["end_turn"]
