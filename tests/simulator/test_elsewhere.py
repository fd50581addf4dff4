"""What is taken for tower and is not, firewalls, and Clusters that were made by hand."""

import kubernetes
import pytest

ADDRESS = "139.198.110.23:8080"


@pytest.mark.parametrize(
    ("listener", "error"),
    [
        ("website", "websocket: bad handshake"),
        ("gateway", "websocket: bad handshake"),
        ("firewall", "dial tcp 139.198.110.23:8080: i/o timeout"),
        (None, "dial tcp 139.198.110.23:8080: connect: no route to host"),
    ],
)
def test_an_agent_says_what_it_finds_instead_of_tower(simulate, agent_log, wait_for, listener, error):
    agent = {"name": "m1", "token": "t", "server": f"http://{ADDRESS}"}
    elsewhere = {ADDRESS: listener} if listener else {}
    simulation = simulate(
        host={"role": "host", "elsewhere": elsewhere}, members=[{"name": "m1", "role": "member", "agent": agent}]
    )
    member = simulation.clusters["m1"]
    wait_for(lambda: f"Connection error: {error}" in agent_log(member))


def test_a_wrong_port_of_a_node_is_refused(simulate, deploy_agent, agent_log, wait_for):
    member = simulate(host={"role": "host"}, members=[{"name": "m1"}]).clusters["m1"]
    deploy_agent(member, name="m1", token="t", server="http://10.20.0.1:8080")
    wait_for(lambda: "dial tcp 10.20.0.1:8080: connect: connection refused" in agent_log(member))


@pytest.mark.parametrize(
    ("listener", "answers"),
    [("gateway", {"/health": (200, "OK\n"), "/version": (200, "v0.2.1")}), ("website", {"/health": (404, None)})],
)
def test_plain_requests_come_through_a_gateway_and_not_to_a_website(simulate, listener, answers):
    simulation = simulate(host={"role": "host", "elsewhere": {ADDRESS: listener}}, members=[{"name": "m1"}])
    member = simulation.clusters["m1"]
    for path, (code, text) in answers.items():
        answer = member.fetch(f"http://{ADDRESS}{path}")
        assert answer.status_code == code
        assert text is None or answer.text == text


def test_a_firewall_before_a_member_drops_what_pods_send_and_not_what_airflow_sends(simulate, connect, create, reason):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1", "kubernetes": {"firewall": True}}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    assert reason(host, "m1").endswith(": dial tcp 10.20.1.1:6443: i/o timeout")
    assert kubernetes.client.VersionApi(connect(member)).get_code()


def test_the_same_cluster_can_be_there_under_another_name(simulate, wait_for, conditions):
    simulation = simulate(
        host={"role": "host", "clusters": {"by-hand": {"of": "m1"}}},
        members=[{"name": "m1", "role": "member", "secret": "host"}],
    )
    host, member = simulation.clusters.values()
    wait_for(lambda: conditions(host.object("clusters", "by-hand")).get("Ready") == "True")
    uid = member.object("namespaces", "kube-system")["metadata"]["uid"]
    assert host.object("clusters", "by-hand")["status"]["uid"] == uid


def test_a_cluster_that_does_not_join_gets_no_conditions(simulate, wait_for, conditions):
    host = simulate(
        host={"role": "host", "clusters": {"direct": {"of": "m1", "joins": False}, "proxy": {"joins": False}}},
        members=[{"name": "m1"}],
    ).clusters["host"]
    for name in ("direct", "proxy"):
        wait_for(lambda name=name: host.object("clusters", name)["metadata"].get("finalizers"))
        assert conditions(host.object("clusters", name)) == {}
        assert "joinFederation" not in host.object("clusters", name)["spec"]
    assert not [item for item in host.objects("services") if item["metadata"]["name"] == "mc-proxy"]


def test_a_proxy_cluster_made_by_hand_is_initialised(simulate, wait_for, conditions):
    host = simulate(host={"role": "host", "clusters": {"m1": {}}}).clusters["host"]
    wait_for(lambda: conditions(host.object("clusters", "m1")) == {"Initialized": "True"})


def test_two_clusters_with_the_hosts_label_are_told_in_the_controllers_log(simulate, connect, wait_for):
    host = simulate(
        host={"role": "host", "clusters": {"twin": {"of": "m1", "host_label": True}}}, members=[{"name": "m1"}]
    ).clusters["host"]
    (pod,) = (pod for pod in host.objects("pods") if "ks-controller-manager" in pod["metadata"]["name"])
    api = kubernetes.client.CoreV1Api(connect(host))
    wait_for(
        lambda: (
            "there MUST not be more than one host clusters, while there are 2"
            in api.read_namespaced_pod_log(pod["metadata"]["name"], "kubesphere-system")
        )
    )
