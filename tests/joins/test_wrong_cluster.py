"""That a name leads to this very member, by every way to show it; and two members that share a port of tower."""

import pytest

from include.fleet import tunnel
from include.fleet.proofs import Identity
from tests.joins import evidence

LOAD_BALANCER = "139.198.110.23"
HOST_OWN = {"role": "host", "load_balancer": LOAD_BALANCER}
RELEASES = pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])


@pytest.fixture
def join_by(join):
    """Run the DAG once for a join of either type."""

    def run(simulation, connection, **conf):
        without = ("member_server",) if connection == "proxy" else ()
        return join(simulation, without=without, connection=connection, **conf)

    return run


def forbid(*rights):
    return [dict(zip(("verb", "resource"), right.split(), strict=True)) for right in rights]


def uid(cluster):
    return cluster.object("namespaces", "kube-system")["metadata"]["uid"]


@pytest.mark.parametrize(
    ("kubesphere", "connection", "missing", "identity"),
    [
        pytest.param("v3.4.1", "direct", [], Identity.FORWARDED, id="3.4-direct-forwarded"),
        pytest.param("v3.0.0", "proxy", [], Identity.FORWARDED, id="3.0-proxy-forwarded"),
        pytest.param("v3.4.1", "direct", ["get services/proxy"], Identity.READ, id="3.4-direct-read"),
        pytest.param("v3.4.1", "proxy", ["get services/proxy"], Identity.READ, id="3.4-proxy-read"),
        pytest.param("v3.4.1", "proxy", ["get secrets"], Identity.READ, id="3.4-no-token"),
        pytest.param("v3.0.0", "direct", ["get services/proxy"], Identity.TOKENS, id="3.0-direct-tokens"),
        pytest.param("v3.0.0", "proxy", ["get services/proxy"], Identity.TOKENS, id="3.0-proxy-tokens"),
        pytest.param("v3.0.0", "proxy", ["get secrets"], Identity.SERVICE, id="3.0-proxy-service"),
    ],
)
def test_the_identity_is_proven_without_a_forwarded_request_too(  # noqa: PLR0917 - fixtures and cases
    simulate, join_by, kubesphere, connection, missing, identity
):
    simulation = simulate(kubesphere=kubesphere, host={**HOST_OWN, "forbid": forbid(*missing)})
    run = join_by(simulation, connection)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert run.reports["verify_join"]["identity"] == identity.value
    evidence.assert_no_secret(run, simulation)


@pytest.mark.parametrize("connection", ["direct", "proxy"])
def test_a_join_whose_identity_nobody_proves_does_not_end_as_joined(simulate, join_by, connection):
    """On 3.0 the host tells nobody what it has read, and the member's secret is that of all members."""
    missing = forbid("get services/proxy", "get secrets")
    simulation = simulate(kubesphere="v3.0.0", host={**HOST_OWN, "forbid": missing})
    run = join_by(simulation, connection, verify_timeout=12)
    assert run.failed == ["verify_join"]
    assert "nobody proves that Cluster m1 is this member" in run.error
    assert "may not get secrets in kube-federation-system on the host cluster" in run.error


def settle(host):
    """Wait until the host's controller has looked at all Clusters: at each round it puts their Services right."""
    seen = []

    def quiet():
        seen.append([item["metadata"]["resourceVersion"] for item in host.objects("clusters")])
        # Looked at every 20 ms.
        return len(seen) > 100 and all(versions == seen[-1] for versions in seen[-100:])

    evidence.wait_for(quiet)


def cross(host, *, name, other):
    """Let the Service of a member lead where that of another one leads."""
    ports = host.object("services", f"mc-{other}", "kubesphere-system")["spec"]["ports"]
    host.edit("services", f"mc-{name}", {"spec": {"ports": ports}}, "kubesphere-system")


@RELEASES
def test_a_name_that_leads_to_another_member_is_refused_before_anything_is_written(simulate, join_by, kubesphere):
    joined = {"role": "member", "secret": "host", "connection": "proxy"}
    members = [{"name": name, "joined": name, **joined} for name in ("m1", "m2")]
    # Nobody looks at the Clusters anew meanwhile, as for two minutes in reality.
    simulation = simulate(kubesphere=kubesphere, host=HOST_OWN, members=members, timing={"resync": 60, "run": 0.4})
    host, _, m2 = simulation.clusters.values()
    evidence.wait_for(lambda: all(item["status"].get("configz") for item in host.objects("clusters")))
    settle(host)
    cross(host, name="m1", other="m2")
    run = join_by(simulation, "proxy")
    assert run.failed == ["preflight"]
    assert "the host reaches another cluster under the name m1" in run.error
    assert uid(m2) in run.error
    assert not any(evidence.writes(cluster) for cluster in simulation.clusters.values())


SHARED = {"name": "m2", "role": "member", "secret": "host", "joined": "m2", "connection": "proxy"}


def ports_of(simulation, name):
    return simulation.clusters["host"].object("clusters", name)["spec"]["connection"]["kubernetesAPIServerPort"]


@RELEASES
def test_a_port_that_another_member_has_is_drawn_anew_before_the_agent_comes(simulate, join_by, kubesphere):
    host = {**HOST_OWN, "tower_ports": [6100, 6100, 6100, 6200]}
    simulation = simulate(kubesphere=kubesphere, host=host, members=[{}, SHARED])
    run = join_by(simulation, "proxy")
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert (ports_of(simulation, "m2"), ports_of(simulation, "m1")) == (6100, 6200)
    report = run.reports["verify_join"]
    assert report["identity"] == Identity.FORWARDED.value
    line = "clusters/m1 on the host: tower's port 6100 given up, which m2 has too"
    assert line in report["changed"]
    assert report["warnings"] == []
    assert {finding["answer"] for finding in report["acceptance"]} == {"ok"}


@RELEASES
def test_without_that_a_member_with_a_shared_port_is_never_called_joined(simulate, join_by, monkeypatch, kubesphere):
    """Its agent is called connected, but what the host reaches under its name has another's certificate."""

    async def leave(*args, **options):
        return False, []

    monkeypatch.setattr(tunnel, "part_ports", leave)
    # The controller of 3.0 draws twice for each member, and keeps the second (kubesphere-facts 6.5).
    host = {**HOST_OWN, "tower_ports": [6100, 6100, 6100]}
    simulation = simulate(kubesphere=kubesphere, host=host, members=[{}, SHARED])
    run = join_by(simulation, "proxy", ready_timeout=8)
    assert run.failed == ["wait_agent_ready"]
    conditions = simulation.clusters["host"].object("clusters", "m1")["status"]["conditions"]
    assert {item["type"]: item["status"] for item in conditions}["AgentAvailable"] == "True"
    if kubesphere == "v3.4.1":
        assert "x509: certificate is valid for" in run.error


def test_a_port_that_is_taken_each_time_ends_the_run_before_the_agent_comes(simulate, join_by):
    simulation = simulate(host={**HOST_OWN, "tower_ports": [6100] * 7}, members=[{}, SHARED])
    run = join_by(simulation, "proxy")
    assert run.failed == ["deploy_agent"]
    assert "the last one, 6100, is that of m2" in run.error
    assert "cluster-agent" not in str(evidence.writes(simulation.clusters["m1"]))


def test_other_members_that_share_a_port_are_named(simulate, join_by):
    members = [{}, SHARED, {**SHARED, "name": "m3", "joined": "m3"}]
    simulation = simulate(host={**HOST_OWN, "tower_ports": [6100, 6100, 6200]}, members=members)
    run = join_by(simulation, "proxy")
    assert run.state == "success", run.error
    (warning,) = run.reports["verify_join"]["warnings"]
    assert warning.startswith("Clusters m2 and m3 share tower's port 6100")
