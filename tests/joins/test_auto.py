"""`connection: auto` and `probe`: the clusters' own pods decide, nothing is guessed, and no Job stays."""

import pytest

from include.fleet import operators
from tests.joins import evidence

BALANCED = {"load_balancer": "139.198.110.23"}
HOST_OWN = {"role": "host", **BALANCED}
UNREACHABLE = {"reachable": False}
SHUT_IN = {"reachable": False, "reaches_tower": False}
KS = "kubesphere-system"
NO_CURL = {"unpullable": ["curlimages/curl"]}
SET_IT = "set connection: direct or proxy"


@pytest.fixture
def join(join, monkeypatch):
    """Run the DAG with a connection type that it is to find out, and with little patience for the network."""
    monkeypatch.setenv("AIRFLOW__FLEET__CONNECT_TIMEOUT", "1.5")

    def run(simulation, **conf):
        return join(simulation, **{"connection": "auto", "probe": True, **conf})

    return run


def jobs_made(cluster):
    """The Jobs that a run has made, by name, each once."""
    return [entry.name for entry in cluster.audit() if entry.resource == "jobs" and entry.verb == "create"]


def assert_no_trace(simulation):
    """Nothing of a probe is left: neither Jobs nor their pods."""
    for cluster in simulation.clusters.values():
        assert cluster.objects("jobs", KS) == []
        evidence.wait_for(
            lambda cluster=cluster: (
                not [pod for pod in cluster.objects("pods", KS) if "job-name" in pod["metadata"]["labels"]]
            )
        )


@pytest.mark.parametrize("host", [{}, HOST_OWN], ids=["fresh-host", "host-already"])
def test_auto_is_direct_where_the_hosts_pods_reach_the_member(simulate, join, host):
    simulation = simulate(host=host)
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert simulation.clusters["host"].object("clusters", "m1")["spec"]["connection"]["type"] == "direct"
    assert run.tasks["resolve_tower_address"] == run.tasks["deploy_agent"] == "skipped"
    assert run.reports["preflight"]["connection"] == run.reports["choose_connection"]["connection"] == "direct"
    assert run.reports["verify_join"]["connection"] == "direct"
    assert_no_trace(simulation)
    evidence.assert_no_secret(run, simulation)


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
def test_auto_is_proxy_where_only_the_member_reaches_the_host(simulate, join, kubesphere):
    simulation = simulate(kubesphere=kubesphere, host=BALANCED, members=[UNREACHABLE])
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert simulation.clusters["host"].object("clusters", "m1")["spec"]["connection"]["type"] == "proxy"
    assert run.tasks["prepare_kubeconfig"] == "skipped"
    chosen = run.reports["choose_connection"]
    assert chosen["connection"] == run.reports["verify_join"]["connection"] == "proxy"
    assert "nothing listens there, or there is no way to it (curl: (7)" in chosen["why"]
    assert "reach tower at http://139.198.110.23:8080" in chosen["why"]
    assert_no_trace(simulation)


def test_auto_fails_and_names_both_broken_ways(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[SHUT_IN])
    run = join(simulation)
    assert run.failed == ["choose_connection"]
    assert "Neither connection type works" in run.error
    assert "The host's pods do not get to https://10.20.1.1:6443" in run.error
    assert "The member's pods do not get to tower at http://139.198.110.23:8080: no answer in time" in run.error
    assert simulation.clusters["host"].objects("clusters") != []
    assert "m1" not in [item["metadata"]["name"] for item in simulation.clusters["host"].objects("clusters")]
    assert_no_trace(simulation)


def test_auto_fails_where_tower_never_gets_an_address(simulate, join):
    simulation = simulate(host={"role": "host"}, members=[UNREACHABLE])
    run = join(simulation, tower_timeout=1)
    assert run.failed == ["choose_connection"]
    assert "Neither connection type works" in run.error
    assert '"proxy_publish_address": "http://ADDRESS:30721"' in run.error
    assert_no_trace(simulation)


@pytest.mark.parametrize(
    ("host", "member", "reason"),
    [
        ({"kubernetes": NO_CURL}, {}, "ImagePullBackOff: Back-off pulling image"),
        ({}, {**UNREACHABLE, "kubernetes": NO_CURL}, "ImagePullBackOff: Back-off pulling image"),
        (
            {"forbid": [{"verb": "create", "resource": "jobs"}]},
            {},
            "connection host may not create jobs.batch in kubesphere-system on the host cluster",
        ),
    ],
    ids=["image-on-the-host", "image-on-the-member", "right-on-the-host"],
)
def test_auto_stops_where_a_probe_cannot_run_and_never_guesses(simulate, join, host, member, reason):
    simulation = simulate(host={**HOST_OWN, **host}, members=[member])
    run = join(simulation)
    assert run.failed == ["choose_connection"]
    assert reason in run.error
    assert SET_IT in run.error
    assert_no_trace(simulation)


def test_auto_without_probe_stops_before_anything_is_written(simulate, join):
    simulation = simulate(host=HOST_OWN)
    run = join(simulation, probe=False)
    assert run.failed == ["preflight"]
    assert f"Add probe: true, or {SET_IT}" in run.error
    assert [evidence.writes(cluster) for cluster in simulation.clusters.values()] == [[], []]


def test_auto_is_proxy_without_a_probe_where_the_host_could_not_use_the_kubeconfig(simulate, join):
    simulation = simulate(host=HOST_OWN)
    run = join(simulation, probe=False, member_server=None)
    assert run.state == "success", run.error
    assert run.reports["preflight"]["connection"] == "proxy"
    assert "127.0.0.1 is a loopback address" in run.output
    assert jobs_made(simulation.clusters["host"]) == jobs_made(simulation.clusters["m1"]) == []
    evidence.assert_joined(simulation)


@pytest.mark.parametrize("kind", ["direct", "proxy"])
def test_auto_takes_the_type_of_a_cluster_that_is_there(simulate, join, kind):
    member = {"role": "member", "secret": "host", "joined": "m1", "connection": kind}
    simulation = simulate(host={**HOST_OWN, "proxy_address": "http://139.198.110.23:8080"}, members=[member])
    run = join(simulation, probe=False)
    assert run.state == "success", run.error
    assert run.reports["verify_join"]["connection"] == kind
    assert [evidence.writes(cluster) for cluster in simulation.clusters.values()] == [[], []]


def test_what_only_the_other_type_uses_is_left_out(simulate, join):
    simulation = simulate(host=HOST_OWN)
    run = join(simulation, proxy_publish_address="http://139.198.120.120:8080")
    assert run.state == "success", run.error
    assert run.reports["verify_join"]["connection"] == "direct"
    asked = simulation.clusters["host"].object("clusterconfigurations", "ks-installer", KS)["spec"]["multicluster"]
    assert "proxyPublishAddress" not in asked


@pytest.mark.parametrize(
    ("kind", "scenario", "says"),
    [
        ("direct", {"host": HOST_OWN}, ""),
        ("proxy", {"host": HOST_OWN}, ""),
        ("proxy", {"host": BALANCED}, ""),
        ("direct", {"host": {**HOST_OWN, "kubernetes": NO_CURL}}, "was not found out: jobs/join-probe-host-"),
        (
            "proxy",
            {"host": HOST_OWN, "members": [{"kubernetes": NO_CURL}]},
            "was not found out: jobs/join-probe-member-",
        ),
    ],
    ids=["direct", "proxy", "proxy-fresh-host", "direct-incomplete", "proxy-incomplete"],
)
def test_a_probe_stops_no_join(simulate, join, kind, scenario, says):
    simulation = simulate(**scenario)
    conf = {"connection": kind, **({"member_server": None} if kind == "proxy" else {})}
    run = join(simulation, **conf)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    warned = [line for line in run.reports["verify_join"]["warnings"] if "-reaches-" in line]
    assert [says in line for line in warned] == ([True] if says else [])
    assert jobs_made(simulation.clusters["host" if kind == "direct" else "m1"]) != []
    assert_no_trace(simulation)


def test_a_member_that_is_not_reached_is_told_beforehand(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[UNREACHABLE])
    run = join(simulation, connection="direct", ready_timeout=3)
    assert run.failed == ["wait_agent_ready"]
    (warning,) = run.reports["preflight"]["warnings"]
    assert warning.startswith("host-reaches-member: The host's pods do not get to https://10.20.1.1:6443: nothing lis")


def test_the_branch_asks_no_cluster_where_the_conf_decides(simulate, join, monkeypatch):
    asked, run_step = [], operators.StepOperator._run
    monkeypatch.setattr(
        operators.StepOperator,
        "_run",
        lambda self, context, **options: asked.append(self.task_id) or run_step(self, context, **options),
    )
    run = join(simulate(host=HOST_OWN), connection="direct", probe=False)
    assert run.state == "success", run.error
    assert "choose_connection" not in asked
    assert asked != []
