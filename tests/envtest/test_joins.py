"""Whole joins against real API servers: both ways, in both versions, and where nothing answers behind the server."""

import pytest

from tests.joins import evidence

LOAD_BALANCER = {"load_balancer": {"address": "203.0.113.10", "after": 0.2}}
HOSTS = {"direct": {}, "proxy": LOAD_BALANCER}
WITHOUT = {"direct": (), "proxy": ("member_server",)}
VERSIONS = ("v3.4.1", "v3.0.0")
FORWARDED = "a request that the host's ks-apiserver forwarded to the member returned the member's own UID"
WAIVED = {"v3.4.1": [], "v3.0.0": ["member-kubernetes"]}
"""A 3.0 host has to get the accounts' tokens made here: these servers are of 1.24, which makes none by itself."""
UNCHANGED = "both ConfigMaps hold the same jwtSecret and have been unchanged long enough to be loaded"


@pytest.mark.parametrize("connection", ["direct", "proxy"])
@pytest.mark.parametrize("kubesphere", VERSIONS)
def test_a_fresh_host_and_a_fresh_member_end_joined(simulate, join, kubesphere, connection):
    simulation = simulate(kubesphere=kubesphere, host=HOSTS[connection])
    former = evidence.secret_of(simulation.clusters["m1"])
    run = join(simulation, without=WITHOUT[connection], connection=connection, waive=WAIVED[kubesphere])
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert run.reports["verify_join"]["proof"] == FORWARDED
    assert evidence.before_join(simulation.clusters["m1"])["secretInForce"] == former
    evidence.assert_no_secret(run, simulation)


@pytest.mark.parametrize("connection", ["direct", "proxy"])
@pytest.mark.parametrize("kubesphere", VERSIONS)
def test_where_neither_kubelet_nor_pods_answer_the_join_does_without(simulate, join, kubesphere, connection):
    simulation = simulate(kubesphere=kubesphere, host=HOSTS[connection])
    for cluster in simulation.clusters.values():
        cluster.egress.answers = False
    run = join(simulation, without=WITHOUT[connection], connection=connection, waive=WAIVED[kubesphere])
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert run.reports["verify_join"]["proof"] == UNCHANGED


@pytest.mark.parametrize("connection", ["direct", "proxy"])
def test_a_second_run_finds_all_done_and_writes_nothing(simulate, join, connection):
    simulation = simulate(host=HOSTS[connection])
    assert join(simulation, without=WITHOUT[connection], connection=connection).state == "success"
    before = [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()]
    run = join(simulation, without=WITHOUT[connection], connection=connection)
    assert run.state == "success", run.error
    assert [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()] == before
    assert run.reports["verify_join"]["result"] == "joined already, nothing was written"


def test_a_member_without_kubesphere_is_refused_before_anything_is_written(simulate, join):
    simulation = simulate(members=[{"name": "m1", "installed": False}])
    run = join(simulation)
    assert run.failed == ["preflight"]
    assert "KubeSphere 3.x is not installed" in run.error
    assert [evidence.writes(cluster) for cluster in simulation.clusters.values()] == [[], []]
