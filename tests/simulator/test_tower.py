"""tower and the agent: what a proxy connection shows, when it comes about, breaks, and comes back."""

import base64
import json
import secrets
import types

import kubernetes
import pytest
import yaml

from include.simulator import allocation
from include.simulator.actors.agent import format_duration

SYSTEM = "kubesphere-system"
INGRESS = "139.198.110.23"
ACCOUNT = "system:serviceaccount:kubesphere-system:kubesphere"
KIND = {"group": "cluster.kubesphere.io", "version": "v1alpha1", "plural": "clusters"}
PROXY = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy"


@pytest.fixture
def join(wait_for, conditions, deploy_agent):
    """Create a proxy Cluster, wait until tower has prepared it, deploy an agent for it; returns its token."""

    def begin(host, member, name, *, server=f"http://{INGRESS}:8080", ready=True):
        connection = {"type": "proxy"}
        host.put("clusters", {"metadata": {"name": name}, "spec": {"joinFederation": True, "connection": connection}})
        wait_for(lambda: conditions(host.object("clusters", name)).get("Initialized") == "True")
        token = host.object("clusters", name)["spec"]["connection"]["token"]
        deploy_agent(member, name=name, token=token, server=server)
        if ready:
            wait_for(lambda: conditions(host.object("clusters", name)).get("Ready") == "True")
        return token

    return begin


# Without the webhook of 3.4, which lets nobody write that a member cannot be reached: see test_webhook.py.
HOST = {"role": "host", "load_balancer": INGRESS, "webhook": False}


@pytest.fixture
def pair(simulate):
    """A host whose tower has an address, and a member to be joined by proxy."""
    simulation = simulate(host=HOST, members=[{"name": "m1"}])
    return tuple(simulation.clusters.values())


def kubeconfig(host, name):
    return yaml.safe_load(base64.b64decode(host.object("clusters", name)["spec"]["connection"]["kubeconfig"]))


def available(conditions, host, name):
    return conditions(host.object("clusters", name)).get("AgentAvailable")


def admin_token(cluster):
    return base64.b64decode(cluster.object("secrets", "kubesphere-secret", SYSTEM)["data"]["token"]).decode()


def test_the_first_run_as_a_host_makes_tower_whose_load_balancer_stays_pending(simulate, wait_for):
    host = simulate().clusters["host"]
    host.edit("clusterconfigurations", "ks-installer", {"spec": {"multicluster": {"clusterRole": "host"}}}, SYSTEM)
    wait_for(lambda: host.object("deployments", "tower", SYSTEM)["status"].get("availableReplicas"))
    service = host.object("services", "tower", SYSTEM)
    assert service["spec"]["type"] == "LoadBalancer"
    assert [port["port"] for port in service["spec"]["ports"]] == [8080]
    assert 30000 <= service["spec"]["ports"][0]["nodePort"] <= 32767
    assert service["status"] == {"loadBalancer": {}}


@pytest.mark.parametrize(
    ("address", "ingress"),
    [(INGRESS, {"ip": INGRESS}), ({"address": "tower.example.com", "after": 0.2}, {"hostname": "tower.example.com"})],
    ids=["at once", "later"],
)
def test_a_load_balancer_gets_the_address_of_the_scenario(simulate, wait_for, address, ingress):
    host = simulate(host={"role": "host", "load_balancer": address}).clusters["host"]
    wait_for(lambda: host.object("services", "tower", SYSTEM)["status"]["loadBalancer"].get("ingress") == [ingress])


def test_a_load_balancer_that_gets_its_address_later_is_pending_until_then(simulate):
    host = simulate(host={"role": "host", "load_balancer": {"address": INGRESS, "after": 600}}).clusters["host"]
    assert host.object("services", "tower", SYSTEM)["status"] == {"loadBalancer": {}}


def test_tower_answers_its_probe_and_knows_little_else(pair, connect, call):
    client = connect(pair[0])
    path = f"/api/v1/namespaces/{SYSTEM}/services/tower:8080/proxy"
    assert call(client, "GET", f"{path}/health") == (200, "OK\n")
    assert call(client, "GET", f"{path}/version")[0] == 200
    assert call(client, "GET", f"{path}/")[0] == 404


def test_tower_prepares_a_proxy_cluster(pair, wait_for, conditions):
    host, _ = pair
    host.put("clusters", {"metadata": {"name": "a"}, "spec": {"joinFederation": True, "connection": {"type": "proxy"}}})
    wait_for(lambda: conditions(host.object("clusters", "a")) == {"Initialized": "True"})
    connection = host.object("clusters", "a")["spec"]["connection"]
    first = connection["kubernetesAPIServerPort"]
    assert 6000 <= first <= 7000
    assert connection["kubesphereAPIServerPort"] == first + 10000
    assert len(connection["token"]) == 64
    service = host.object("services", "mc-a", SYSTEM)
    address = service["spec"]["clusterIP"]
    assert service["spec"]["selector"] == {"app": "tower", "app.kubernetes.io/name": "tower"}
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [
        (6443, first),
        (80, first + 10000),
    ]
    assert connection["kubernetesAPIEndpoint"] == f"https://{address}:6443"
    assert connection["kubesphereAPIEndpoint"] == f"http://{address}:80"
    assert "kubeconfig" not in connection


def test_a_token_that_is_given_is_kept(pair, wait_for, conditions):
    host, _ = pair
    connection = {"type": "proxy", "token": "given-by-the-client"}
    host.put("clusters", {"metadata": {"name": "a"}, "spec": {"joinFederation": True, "connection": connection}})
    wait_for(lambda: conditions(host.object("clusters", "a")).get("Initialized") == "True")
    assert host.object("clusters", "a")["spec"]["connection"]["token"] == "given-by-the-client"


def test_a_cluster_that_is_not_to_be_federated_gets_nothing_from_tower(pair, wait_for, conditions):
    host, _ = pair
    host.put("clusters", {"metadata": {"name": "a"}, "spec": {"connection": {"type": "proxy"}}})
    host.put("clusters", {"metadata": {"name": "b"}, "spec": {"joinFederation": True, "connection": {"type": "proxy"}}})
    wait_for(lambda: conditions(host.object("clusters", "b")).get("Initialized") == "True")
    assert conditions(host.object("clusters", "a")) == {}
    host.edit("clusters", "b", {"spec": {"joinFederation": False}})
    wait_for(lambda: not [item for item in host.objects("services", SYSTEM) if item["metadata"]["name"] == "mc-b"])


def test_a_proxy_cluster_without_tower_has_no_conditions(pair, wait_for, conditions):
    host, _ = pair
    host.scale("tower", 0)
    wait_for(lambda: not host.object("endpoints", "tower", SYSTEM).get("subsets"))
    host.put("clusters", {"metadata": {"name": "a"}, "spec": {"joinFederation": True, "connection": {"type": "proxy"}}})
    wait_for(lambda: host.object("clusters", "a")["metadata"].get("finalizers"))
    assert conditions(host.object("clusters", "a")) == {}


def test_a_joined_member_is_reached_through_the_tunnel_with_the_agents_account(pair, join, connect):
    host, member = pair
    join(host, member, "m1")
    cluster = host.object("clusters", "m1")
    assert cluster["status"]["uid"] == member.object("namespaces", "kube-system")["metadata"]["uid"]
    assert cluster["status"]["kubeSphereVersion"] == "v3.4.1"
    endpoint = cluster["spec"]["connection"]["kubernetesAPIEndpoint"]
    assert host.object("kubefedclusters", "m1", "kube-federation-system")["spec"]["apiEndpoint"] == endpoint
    created = [entry.name for entry in member.writes(ACCOUNT) if entry.resource == "clusterroles"]
    assert created == ["kubefed-controller-manager:m1-kubesphere"]


def test_the_kubeconfig_that_tower_writes_is_of_an_administrator_behind_its_service(pair, join):
    host, member = pair
    join(host, member, "m1")
    document = kubeconfig(host, "m1")
    connection = host.object("clusters", "m1")["spec"]["connection"]
    assert document["clusters"][0]["cluster"]["server"] == connection["kubernetesAPIEndpoint"]
    assert document["users"][0]["name"] == "kubernetes-admin"
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_a_wrong_token_shows_in_the_agents_log_only(pair, *, join, deploy_agent, agent_log, wait_for, conditions):
    host, member = pair
    deploy_agent(member, name="m1", token="wrong")
    wait_for(lambda: "Connection error: Unauthorized agent\n" in agent_log(member))
    token = join(host, member, "m1", ready=False)
    deploy_agent(member, name="m1", token="old")
    wait_for(lambda: member.object("deployments", "cluster-agent", SYSTEM)["status"].get("availableReplicas") == 1)
    lines = ("Connection error: Unauthorized agent (Attempt: 3)\n", "Retrying in 274.399999ms...\n")
    wait_for(lambda: [line in agent_log(member) for line in lines] == [True, True])
    wait_for(lambda: available(conditions, host, "m1") != "True")
    deploy_agent(member, name="m1", token=token)
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")


def test_the_agent_prints_its_token_at_the_start(pair, join, agent_log):
    host, member = pair
    token = join(host, member, "m1")
    text = agent_log(member)
    assert f"Token set to {token}\n" in text
    assert "error" not in text


def test_an_agents_image_from_another_registry_is_an_agent_as_well(pair, join, deploy_agent, agent_log, wait_for):
    _, member = pair
    deploy_agent(member, name="m1", token="x", image="registry.local:5000/kubesphere/tower@sha256:0")
    wait_for(lambda: "Unauthorized agent" in agent_log(member))


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ("http://10.20.0.1:8080", "dial tcp 10.20.0.1:8080: connect: connection refused"),
        (f"http://{INGRESS}:30880", f"dial tcp {INGRESS}:30880: i/o timeout"),
        (f"http://{INGRESS}", f"dial tcp {INGRESS}:80: i/o timeout"),
        ("http://10.20.0.1:6443", "websocket: bad handshake"),
        ("http://ks-apiserver.kubesphere-system.svc:80", "websocket: bad handshake"),
        (f"https://{INGRESS}:8080", "tls: first record does not look like a TLS handshake"),
        ("https://10.20.0.1:6443", "x509: certificate signed by unknown authority"),
        ("http://tower.local:8080", "dial tcp: lookup tower.local on 169.254.25.10:53: no such host"),
        ("http://192.168.7.7:8080", "dial tcp 192.168.7.7:8080: connect: no route to host"),
        ("tower.local:8080", "malformed ws or wss URL"),
    ],
)
def test_an_address_that_does_not_lead_to_tower_shows_why_in_the_log(
    pair, *, deploy_agent, agent_log, wait_for, server, text
):
    _, member = pair
    deploy_agent(member, name="m1", token="x", server=server)
    wait_for(lambda: f"Connection error: {text}\n" in agent_log(member))


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (f"{INGRESS}:8080", f'parse "{INGRESS}:8080": first path segment in URL cannot contain colon'),
        ("", "invalid proxy server url: "),
        ("http://tower:port", 'parse "http://tower:port": invalid port after host'),
    ],
    ids=["no scheme", "empty", "no port"],
)
def test_an_address_that_is_none_ends_the_agent(pair, *, deploy_agent, agent_log, wait_for, server, text):
    _, member = pair
    deploy_agent(member, name="m1", token="x", server=server)
    wait_for(lambda: agent_log(member).count(f"{text}\n") > 1)


@pytest.mark.parametrize("way", ["node port", "published"])
def test_other_ways_to_tower_lead_there(simulate, join, way):
    simulation = simulate(
        host={"role": "host", "published": ["139.198.120.120:9000"]}, members=[{"name": "m1", "reachable": False}]
    )
    host, member = simulation.clusters.values()
    port = host.object("services", "tower", SYSTEM)["spec"]["ports"][0]["nodePort"]
    join(host, member, "m1", server=f"http://10.20.0.1:{port}" if way == "node port" else "http://139.198.120.120:9000")


def test_a_member_that_does_not_reach_tower_runs_into_timeouts(simulate, join, agent_log, wait_for, conditions):
    simulation = simulate(
        host={"role": "host", "load_balancer": INGRESS}, members=[{"name": "m1", "reaches_tower": False}]
    )
    host, member = simulation.clusters.values()
    join(host, member, "m1", ready=False)
    wait_for(lambda: f"Connection error: dial tcp {INGRESS}:8080: i/o timeout\n" in agent_log(member))
    assert conditions(host.object("clusters", "m1")) == {"Initialized": "True"}


def test_a_lost_agent_shows_at_once_and_its_return_brings_a_new_kubeconfig(pair, join, wait_for, conditions):
    host, member = pair
    join(host, member, "m1")
    before = kubeconfig(host, "m1")
    member.scale("cluster-agent", 0)
    wait_for(lambda: available(conditions, host, "m1") == "False")
    assert conditions(host.object("clusters", "m1"))["Ready"] == "True", "only the next resync finds out"
    member.scale("cluster-agent", 1)
    wait_for(lambda: available(conditions, host, "m1") == "True")
    assert kubeconfig(host, "m1") != before


def test_without_the_tunnel_the_next_resync_fails_with_the_dial_error(simulate, join, wait_for, conditions):
    simulation = simulate(timing={"resync": 0.5}, host=HOST, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    join(host, member, "m1")
    member.scale("cluster-agent", 0)
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "False")

    def reason():
        listed = host.object("clusters", "m1")["status"]["conditions"]
        return next(entry["reason"] for entry in listed if entry["type"] == "Federated")

    # What was under way when the tunnel broke is told first.
    wait_for(lambda: reason().endswith(":6443: connect: connection refused"))
    member.scale("cluster-agent", 1)
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")


def test_a_network_loss_ends_the_connection_and_the_agent_comes_back_by_itself(
    pair, join, agent_log, wait_for, conditions
):
    host, member = pair
    join(host, member, "m1")
    member.cut_tunnel(0.5)
    wait_for(lambda: available(conditions, host, "m1") == "False")
    wait_for(lambda: available(conditions, host, "m1") == "True")
    assert f"Connection error: dial tcp {INGRESS}:8080: i/o timeout\n" in agent_log(member)


def test_a_dead_tower_leaves_a_stale_condition(pair, join, agent_log, wait_for, conditions):
    host, member = pair
    join(host, member, "m1")
    before = host.object("clusters", "m1")
    host.scale("tower", 0)
    wait_for(lambda: "connect: connection refused (Attempt: 2)\n" in agent_log(member))
    assert host.object("clusters", "m1") == before
    host.scale("tower", 1)
    wait_for(lambda: host.object("clusters", "m1")["spec"] != before["spec"])
    assert available(conditions, host, "m1") == "True"


def test_a_tower_that_is_replaced_gets_its_agents_back_and_keeps_the_ports(pair, join, wait_for):
    host, member = pair
    join(host, member, "m1")
    before = host.object("clusters", "m1")["spec"]["connection"]
    host.kill_pod("tower")
    wait_for(lambda: host.object("clusters", "m1")["spec"]["connection"]["kubeconfig"] != before["kubeconfig"])
    after = host.object("clusters", "m1")["spec"]["connection"]
    assert {**after, "kubeconfig": None} == {**before, "kubeconfig": None}


def test_a_second_agent_of_a_member_keeps_the_connection_up(pair, join, wait_for, conditions):
    host, member = pair
    token = join(host, member, "m1")
    member.scale("cluster-agent", 2)
    wait_for(lambda: member.object("deployments", "cluster-agent", SYSTEM)["status"].get("readyReplicas") == 2)
    member.scale("cluster-agent", 1)
    wait_for(lambda: member.object("deployments", "cluster-agent", SYSTEM)["status"]["readyReplicas"] == 1)
    assert available(conditions, host, "m1") == "True"
    assert host.object("clusters", "m1")["spec"]["connection"]["token"] == token


def test_deleting_cleans_the_host_and_leaves_an_agent_that_is_refused(
    pair, *, join, connect, agent_log, wait_for, conditions
):
    host, member = pair
    token = join(host, member, "m1")
    kubernetes.client.CustomObjectsApi(connect(host)).delete_cluster_custom_object(**KIND, name="m1")
    wait_for(lambda: not [item for item in host.objects("services", SYSTEM) if item["metadata"]["name"] == "mc-m1"])
    assert [item["metadata"]["name"] for item in host.objects("clusters")] == ["host"]
    assert [item["metadata"]["name"] for item in host.objects("kubefedclusters")] == ["host"]
    wait_for(lambda: "Connection error: Unauthorized agent\n" in agent_log(member))
    assert member.object("deployments", "cluster-agent", SYSTEM)["status"]["availableReplicas"] == 1
    assert member.object("serviceaccounts", "m1-kubesphere", "kube-federation-system")
    assert join(host, member, "m1") != token


@pytest.fixture
def crossed(simulate, join, wait_for, conditions):
    """A host on which the same ports were drawn for m1, which connected first, and m2."""
    members = [{"name": name, "role": "member", "secret": "host"} for name in ("m1", "m2")]
    host = {"role": "host", "load_balancer": INGRESS, "tower_ports": [6500, 6500]}
    host, m1, m2 = simulate(timing={"resync": 0.5}, host=host, members=members).clusters.values()
    join(host, m1, "m1")
    join(host, m2, "m2", ready=False)
    wait_for(lambda: conditions(host.object("clusters", "m2")).get("Federated") == "False")
    return host, m1, m2


def test_the_second_of_two_members_with_the_same_ports_is_called_connected_and_never_ready(
    crossed, agent_log, conditions
):
    """The controllers' test for that looks at the wrong ports (kubesphere-facts 6.5)."""
    host, m1, m2 = crossed
    found = host.object("clusters", "m2")
    assert conditions(found) == {
        "Initialized": "True",
        "AgentAvailable": "True",
        "Federated": "False",
        "Ready": "False",
    }
    assert agent_log(m2).count("Connection error") == 0
    first, second = (address(host, name) for name in ("m1", "m2"))
    (reason,) = (item["reason"] for item in found["status"]["conditions"] if item["type"] == "Federated")
    assert reason.endswith(f"x509: certificate is valid for {first}, not {second}")
    assert "m2-kubesphere" not in str(m1.objects("serviceaccounts"))


def test_what_is_sent_to_the_second_of_two_members_with_the_same_ports_comes_to_the_first(crossed, connect, call):
    """Where the certificate is not looked at, as by the API server's own proxy."""
    host, m1, _ = crossed
    for name in ("m1", "m2"):
        path = f"/api/v1/namespaces/{SYSTEM}/services/https:mc-{name}:6443/proxy/api/v1/namespaces/kube-system"
        code, text = call(connect(host), "GET", path)
        assert (code, json.loads(text)["metadata"]["uid"]) == (
            200,
            m1.object("namespaces", "kube-system")["metadata"]["uid"],
        )


def test_nobody_listens_for_the_second_when_the_first_has_gone_until_it_connects_anew(
    crossed, connect, call, wait_for, conditions
):
    host, m1, m2 = crossed
    path = f"/api/v1/namespaces/{SYSTEM}/services/https:mc-m2:6443/proxy/api/v1/namespaces/kube-system"
    m1.scale("cluster-agent", 0)
    wait_for(lambda: call(connect(host), "GET", path)[0] == 503)
    m2.kill_pod("cluster-agent")
    wait_for(lambda: conditions(host.object("clusters", "m2")).get("Ready") == "True")
    assert (
        json.loads(call(connect(host), "GET", path)[1])["metadata"]["uid"]
        == (m2.object("namespaces", "kube-system")["metadata"]["uid"])
    )


def address(host, name):
    return host.object("services", f"mc-{name}", SYSTEM)["spec"]["clusterIP"]


def test_the_hosts_ks_apiserver_forwards_through_the_tunnel(simulate, connect, call, wait_for):
    simulation = simulate(
        host={"role": "host"},
        members=[
            {"name": "m1", "role": "member", "secret": "host", "joined": "m1", "connection": "proxy"},
            {"name": "m2", "role": "member", "secret": "own", "joined": "m2", "connection": "proxy"},
        ],
    )
    host, m1, _ = simulation.clusters.values()
    client, headers = connect(host), {"X-KubeSphere-Authorization": f"Bearer {admin_token(host)}"}

    def ask(path):
        return call(client, "GET", PROXY + path, headers=headers)

    wait_for(lambda: ask("/api/clusters/m1/v1/namespaces/kube-system")[0] == 200)
    found = json.loads(ask("/api/clusters/m1/v1/namespaces/kube-system")[1])
    assert found["metadata"]["uid"] == m1.object("namespaces", "kube-system")["metadata"]["uid"]
    assert ask("/kapis/clusters/m1/iam.kubesphere.io/v1alpha2/users/admin")[0] == 200
    code, text = ask("/api/clusters/m2/v1/namespaces/kube-system")
    assert (code, json.loads(text)["message"]) == (401, "Unauthorized: signature is invalid")
    wait_for(lambda: host.object("clusters", "m1")["status"].get("configz"))
    m1.scale("cluster-agent", 0)
    wait_for(lambda: ask("/api/clusters/m1/v1/namespaces/kube-system")[0] == 500)
    assert "connection refused" in ask("/api/clusters/m1/v1/namespaces/kube-system")[1]


def test_a_member_joined_by_proxy_is_ready_from_the_start(simulate, conditions):
    simulation = simulate(
        host={"role": "host", "proxy_address": "http://139.198.120.120:8080", "published": ["139.198.120.120:8080"]},
        members=[{"name": "m1", "role": "member", "secret": "host", "joined": "first", "connection": "proxy"}],
    )
    host, member = simulation.clusters.values()
    assert conditions(host.object("clusters", "first")) == {
        "Initialized": "True",
        "AgentAvailable": "True",
        "Federated": "True",
        "Ready": "True",
    }
    text = host.object("configmaps", "kubesphere-config", SYSTEM)["data"]["kubesphere.yaml"]
    assert yaml.safe_load(text)["multicluster"]["proxyPublishAddress"] == "http://139.198.120.120:8080"
    command = member.object("deployments", "cluster-agent", SYSTEM)["spec"]["template"]["spec"]["containers"][0][
        "command"
    ]
    assert "--proxy-server=http://139.198.120.120:8080" in command


def test_an_agent_that_an_earlier_import_left_is_refused(simulate, join, agent_log, wait_for):
    agent = {"name": "m1", "token": "old", "server": f"http://{INGRESS}:8080"}
    simulation = simulate(host={"role": "host", "load_balancer": INGRESS}, members=[{"name": "m1", "agent": agent}])
    host, member = simulation.clusters.values()
    wait_for(lambda: "Unauthorized agent" in agent_log(member))
    join(host, member, "m1")


def test_members_of_both_kinds_are_joined_to_one_host_and_a_dead_one_disturbs_nobody(
    simulate, join, wait_for, conditions
):
    simulation = simulate(
        host=HOST,
        members=[
            {"name": "m1"},
            {"name": "m2", "reachable": False},
            {"name": "m3", "role": "member", "joined": "m3"},
            {"name": "m4", "role": "member", "joined": "m4", "connection": "proxy"},
            {"name": "m5", "role": "member", "joined": "m5", "reachable": False},
        ],
    )
    host, m1, m2, *_ = simulation.clusters.values()
    join(host, m1, "m1", ready=False)
    join(host, m2, "m2", ready=False)
    ready = {"m1": "True", "m2": "True", "m3": "True", "m4": "True", "m5": "False"}
    wait_for(lambda: {name: conditions(host.object("clusters", name)).get("Ready") for name in ready} == ready)


def test_a_member_of_3_0_is_joined_by_proxy_and_tower_takes_one_agent_only(
    simulate, *, join, agent_log, wait_for, conditions
):
    simulation = simulate(
        kubesphere="v3.0.0",
        host={"role": "host", "load_balancer": INGRESS},
        members=[{"name": "m1"}, {"name": "m2", "role": "member", "joined": "m2", "connection": "proxy"}],
    )
    host, m1, _ = simulation.clusters.values()
    join(host, m1, "m1")
    assert conditions(host.object("clusters", "m2")).get("Ready") == "True"
    m1.scale("cluster-agent", 2)
    wait_for(lambda: "Connection error: A session already allocated for this client.\n" in agent_log(m1))


def test_what_tower_and_agents_hold_counts_as_secret(pair, join):
    host, member = pair
    token = join(host, member, "m1")
    key = kubeconfig(host, "m1")["users"][0]["user"]["client-key-data"]
    assert {token, key, base64.b64decode(key).decode()} <= set(host.secrets())
    assert token in member.secrets()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "100ms"), (0.1 * 1.4, "140ms"), (0.1 * 1.4**11, "4.049565169s"), (120, "2m0s"), (61.5, "1m1.5s")],
)
def test_delays_are_printed_as_go_does(seconds, text):
    assert format_duration(seconds) == text


def test_members_that_are_joined_at_the_start_have_ports_of_their_own(simulate, monkeypatch):
    """Unlike those that join later, they are what the scenario calls them: joined."""
    chance = types.SimpleNamespace(choice=lambda ports: ports[0], token_hex=secrets.token_hex)
    monkeypatch.setattr(allocation, "secrets", chance)
    joined = [{"name": name, "joined": name, "connection": "proxy"} for name in ("m1", "m2", "m3")]
    host, *members = simulate(host={"role": "host", "load_balancer": INGRESS}, members=joined).clusters.values()
    connections = [host.object("clusters", member.name)["spec"]["connection"] for member in members]
    assert [found["kubernetesAPIServerPort"] for found in connections] == [6000, 6001, 6002]
    assert [found["kubesphereAPIServerPort"] for found in connections] == [16000, 16001, 16002]
