"""Proxy joins from beginning to end: tower on the host, an agent on the member, and what goes wrong between them."""

import threading
import time

import pytest

from tests.joins import evidence

LOAD_BALANCER = "139.198.110.23"
FORWARDED = "139.198.120.120:8080"
HOST_OWN = {"role": "host", "load_balancer": LOAD_BALANCER}
RELEASES = pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])


@pytest.fixture
def join_by_proxy(join):
    """Run the DAG once for a proxy join."""

    def run(simulation, **conf):
        return join(simulation, without=("member_server",), **{"connection": "proxy", "tower_timeout": 20, **conf})

    return run


def agent_of(cluster):
    return cluster.object("deployments", "cluster-agent", "kubesphere-system")


def agents_address(cluster):
    (container,) = agent_of(cluster)["spec"]["template"]["spec"]["containers"]
    return next(word.partition("=")[2] for word in container["command"] if word.startswith("--proxy-server="))


def assert_connected(simulation, *, name="m1"):
    conditions = simulation.clusters["host"].object("clusters", name)["status"]["conditions"]
    last = {item["type"]: item["status"] for item in conditions}
    assert last["Initialized"] == last["AgentAvailable"] == last["Federated"] == last["Ready"] == "True"


@RELEASES
def test_a_fresh_host_and_a_fresh_member_end_joined(simulate, join_by_proxy, kubesphere):
    simulation = simulate(kubesphere=kubesphere, host={"load_balancer": LOAD_BALANCER})
    run = join_by_proxy(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert_connected(simulation)
    assert run.tasks["prepare_kubeconfig"] == "skipped"
    assert agents_address(simulation.clusters["m1"]) == f"http://{LOAD_BALANCER}:8080"
    assert "forwarded" in run.reports["verify_join"]["proof"]
    assert evidence.writes(simulation.clusters["m1"]) == [
        "create secrets before-join",
        "patch clusterconfigurations ks-installer",
        "create deployments cluster-agent",
    ]
    evidence.assert_no_secret(run, simulation)


@RELEASES
def test_a_joined_member_is_verified_and_nothing_is_written(simulate, join_by_proxy, kubesphere):
    simulation = simulate(kubesphere=kubesphere, host=HOST_OWN)
    run = join_by_proxy(simulation)
    assert run.state == "success", run.error
    before = [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()]
    run = join_by_proxy(simulation)
    assert run.state == "success", run.error
    assert [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()] == before
    assert run.reports["verify_join"]["changed"] == []


def test_an_address_that_is_given_goes_into_one_patch_with_the_role(simulate, join_by_proxy):
    simulation = simulate(host={"published": [FORWARDED]})
    run = join_by_proxy(simulation, proxy_publish_address=f"http://{FORWARDED}")
    assert run.state == "success", run.error
    assert_connected(simulation)
    host = simulation.clusters["host"]
    assert evidence.writes(host).count("patch clusterconfigurations ks-installer") == 1
    assert agents_address(simulation.clusters["m1"]) == f"http://{FORWARDED}"


def test_the_configured_address_is_used_before_the_load_balancers(simulate, join_by_proxy):
    host = {**HOST_OWN, "proxy_address": f"http://{FORWARDED}", "published": [FORWARDED]}
    simulation = simulate(host=host)
    run = join_by_proxy(simulation)
    assert run.state == "success", run.error
    assert agents_address(simulation.clusters["m1"]) == f"http://{FORWARDED}"


def test_an_address_that_stays_pending_ends_with_the_port_and_the_line_for_the_conf(simulate, join_by_proxy):
    simulation = simulate(host={"role": "host"})
    run = join_by_proxy(simulation, tower_timeout=3)
    assert run.failed == ["resolve_tower_address"]
    port = simulation.clusters["host"].object("services", "tower", "kubesphere-system")["spec"]["ports"][0]["nodePort"]
    assert f'"proxy_publish_address": "http://ADDRESS:{port}"' in run.error
    assert "cluster-agent" not in str(evidence.writes(simulation.clusters["m1"]))


def test_an_address_that_comes_later_is_waited_for(simulate, join_by_proxy):
    simulation = simulate(host={"load_balancer": {"address": LOAD_BALANCER, "after": 3}})
    run = join_by_proxy(simulation)
    assert run.state == "success", run.error
    assert_connected(simulation)


def test_another_address_is_refused_while_other_proxy_members_use_the_first(simulate, join_by_proxy):
    host = {**HOST_OWN, "proxy_address": f"http://{LOAD_BALANCER}:8080", "published": [FORWARDED]}
    joined = {"name": "m2", "role": "member", "secret": "host", "joined": "m2", "connection": "proxy"}
    simulation = simulate(host=host, members=[{}, joined])
    run = join_by_proxy(simulation, proxy_publish_address=f"http://{FORWARDED}")
    assert run.failed == ["preflight"]
    assert "for m2" in run.error
    assert "replace_proxy_address" in run.error
    assert not any(evidence.writes(cluster) for cluster in simulation.clusters.values())


def test_another_address_is_taken_when_the_conf_says_that_it_replaces_the_first(simulate, join_by_proxy):
    host = {**HOST_OWN, "proxy_address": f"http://{LOAD_BALANCER}:8080", "published": [FORWARDED]}
    joined = {"name": "m2", "role": "member", "secret": "host", "joined": "m2", "connection": "proxy"}
    simulation = simulate(host=host, members=[{}, joined])
    run = join_by_proxy(simulation, proxy_publish_address=f"http://{FORWARDED}", replace_proxy_address=True)
    assert run.state == "success", run.error
    assert_connected(simulation)
    assert agents_address(simulation.clusters["m1"]) == f"http://{FORWARDED}"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        pytest.param(
            f"http://{LOAD_BALANCER}:8081", f"nothing answers at http://{LOAD_BALANCER}:8081", id="wrong-port"
        ),
        pytest.param(f"https://{LOAD_BALANCER}:8080", "it says https", id="wrong-scheme"),
    ],
)
def test_an_agent_that_cannot_connect_tells_why(simulate, join_by_proxy, address, says):
    simulation = simulate(host=HOST_OWN)
    run = join_by_proxy(simulation, proxy_publish_address=address, ready_timeout=8, waive=["tower-port"])
    assert run.failed == ["wait_agent_ready"]
    assert says in run.error
    evidence.assert_no_secret(run, simulation)


def test_an_agent_of_an_earlier_import_gets_the_new_token(simulate, join_by_proxy):
    agent = {"name": "m1", "token": "t0ken0fAnEarlierImport", "server": f"http://{LOAD_BALANCER}:8080"}
    simulation = simulate(host=HOST_OWN, members=[{"agent": agent}])
    run = join_by_proxy(simulation)
    assert run.state == "success", run.error
    assert_connected(simulation)
    assert "patch deployments cluster-agent" in evidence.writes(simulation.clusters["m1"])
    assert "--token" in str(run.reports["verify_join"]["changed"])
    assert "t0ken0fAnEarlierImport" not in run.output


def during_the_wait(simulation, act):
    """Let somebody *act* as soon as the agent's Deployment is on the member."""

    def wait_and_act():
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            try:
                agent_of(simulation.clusters["m1"])
            except KeyError:
                time.sleep(0.02)
                continue
            act()
            return

    person = threading.Thread(target=wait_and_act)
    person.start()
    return person


def test_an_agent_that_is_lost_and_comes_back_ends_joined(simulate, join_by_proxy):
    simulation = simulate(host=HOST_OWN)
    person = during_the_wait(simulation, lambda: simulation.clusters["m1"].cut_tunnel(1.5))
    run = join_by_proxy(simulation)
    person.join()
    assert run.state == "success", run.error
    assert_connected(simulation)


def test_a_tower_that_is_restarted_ends_joined(simulate, join_by_proxy):
    simulation = simulate(host=HOST_OWN)
    person = during_the_wait(simulation, lambda: simulation.clusters["host"].kill_pod("tower"))
    run = join_by_proxy(simulation)
    person.join()
    assert run.state == "success", run.error
    assert_connected(simulation)


def test_a_cluster_that_is_deleted_during_the_wait_ends_the_run(simulate, join_by_proxy):
    simulation = simulate(host=HOST_OWN, members=[{"reaches_tower": False}])
    host = simulation.clusters["host"]
    person = during_the_wait(simulation, lambda: evidence.delete(host, "m1"))
    run = join_by_proxy(simulation)
    person.join()
    assert run.failed == ["wait_agent_ready"]
    assert "was deleted while it was waited for" in run.error
