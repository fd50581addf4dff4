"""Plans: what a join would write, in full and without a secret, while nothing is persisted."""

import json

import pytest

from tests.joins import evidence

LOAD_BALANCER = "139.198.110.23"
PROXY = {"connection": "proxy", "tower_timeout": 20}
RELEASES = pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])


@pytest.fixture
def plan(join):
    """Run the DAG for a plan only."""

    def run(simulation, **conf):
        without = ("member_server",) if conf.get("connection") == "proxy" else ()
        return join(simulation, without=without, plan_only=True, **conf)

    return run


def fields(report, cluster, name):
    """The fields of one object of a plan, each as (old, new)."""
    found = {}
    for entry in report["entries"]:
        if entry["cluster"] == cluster and entry["object"].startswith(name):
            found |= {change["field"]: (change.get("old"), change["new"]) for change in entry["fields"]}
    return found


def sent(cluster):
    """What was asked of a cluster that could have changed something."""
    return [
        entry
        for entry in cluster.writes(user="airflow")
        if entry.agent.startswith("join-member-cluster") and entry.resource != "selfsubjectaccessreviews"
    ]


@RELEASES
def test_a_direct_plan_tells_each_field_and_persists_nothing(simulate, plan, kubesphere):
    simulation = simulate(kubesphere=kubesphere)
    before = {name: evidence.everything(cluster) for name, cluster in simulation.clusters.items()}
    run = plan(simulation)
    assert run.state == "success", run.error
    report = run.reports["plan"]
    assert fields(report, "host", "clusterconfigurations/ks-installer")["spec.multicluster.clusterRole"] == (
        "none",
        "host",
    )
    member = fields(report, "member", "clusterconfigurations/ks-installer")
    assert member["spec.multicluster.clusterRole"] == ("none", "member")
    assert member["spec.authentication.jwtSecret"][1].startswith("sha256:")
    cluster = fields(report, "host", "clusters/m1")
    assert cluster["spec.connection.type"] == (None, "direct")
    assert cluster["spec.connection.kubeconfig"][1].startswith("kubeconfig sha256:")
    assert {name: evidence.everything(cluster) for name, cluster in simulation.clusters.items()} == before
    for cluster in simulation.clusters.values():
        assert all("dryRun=All" in entry.path for entry in sent(cluster))
    assert set(run.tasks.values()) == {"success", "skipped"}
    assert [task for task, state in run.tasks.items() if state == "success"] == ["plan", "preflight"]
    evidence.assert_no_secret(run, simulation)


def test_a_proxy_plan_names_what_only_tower_can_know(simulate, plan):
    simulation = simulate(host={"load_balancer": LOAD_BALANCER})
    report = plan(simulation, **PROXY).reports["plan"]
    agent = fields(report, "member", "deployments/cluster-agent")
    words = [new for _, new in agent.values()]
    assert "--token=(made by tower)" in words
    assert "--proxy-server=(not known yet)" in words
    assert any("token is made by tower" in note for note in report["notes"])
    assert any("Service mc-m1" in line for line in report["consequences"])


def test_the_plan_is_what_the_join_then_writes(simulate, plan, join):
    simulation = simulate()
    planned = [f"{entry['verb']} {entry['object']}" for entry in plan(simulation).reports["plan"]["entries"]]
    run = join(simulation)
    assert run.state == "success", run.error
    written = [line for cluster in simulation.clusters.values() for line in evidence.writes(cluster)]
    verbs = {"create": "create", "patch": "change"}
    done = []
    for line in written:
        verb, resource, name = line.split()
        where = "" if resource == "clusters" else " in kubesphere-system"
        done.append(f"{verbs[verb]} {resource}/{name}{where}")
    assert sorted(planned) == sorted(done)


def test_two_plans_with_no_change_between_are_byte_for_byte_equal(simulate, plan):
    simulation = simulate(host={"load_balancer": LOAD_BALANCER})
    one, two = (json.dumps(plan(simulation, **PROXY).reports["plan"]["entries"]) for _ in range(2))
    assert one == two


def test_the_plan_for_a_joined_member_is_empty(simulate, plan):
    simulation = simulate(
        host={"role": "host"}, members=[{"name": "m1", "role": "member", "secret": "host", "joined": "m1"}]
    )
    report = plan(simulation).reports["plan"]
    assert report["entries"] == []
    assert "Nothing would be written" in report["markdown"]


def test_a_name_that_is_being_deleted_is_planned_to_be_made_anew(simulate, plan):
    """Its member is dead, so that the host's webhook lets it stay (kubesphere-facts 6.9)."""
    dead = {"role": "member", "secret": "host", "joined": "m1", "kubernetes": {"firewall": True}}
    simulation = simulate(host={"role": "host"}, members=[dead])
    evidence.delete(simulation.clusters["host"], "m1")
    run = plan(simulation)
    assert run.state == "success", run.error
    (note,) = run.reports["plan"]["notes"]
    assert note == "Cluster m1 is being deleted; it is made anew when that is over."


def test_a_plan_that_mixes_up_clusters_is_refused(simulate, plan):
    simulation = simulate(
        host={"role": "host"},
        members=[{"name": "m1"}, {"name": "m2", "role": "member", "secret": "host", "joined": "m1"}],
    )
    run = plan(simulation)
    assert run.state == "failed"
    assert "belongs to another cluster" in run.output


def test_a_run_that_only_checks_ends_before_the_plan(simulate, join):
    run = join(simulate(), preflight_only=True)
    assert run.state == "success"
    assert [task for task, state in run.tasks.items() if state == "success"] == ["preflight"]
    assert run.reports["preflight"]["cluster"] == "m1"
