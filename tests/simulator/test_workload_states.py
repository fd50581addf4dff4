"""Deployments that do not run, images that cannot be pulled, and versions that do not fit."""

import kubernetes
import pytest

SYSTEM = "kubesphere-system"
VERSION = f"/api/v1/namespaces/{SYSTEM}/services/:ks-apiserver:80/proxy/kapis/version"


def waiting(pod):
    return pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]


def pods_of(cluster, app):
    return [pod for pod in cluster.objects("pods", SYSTEM) if pod["metadata"]["labels"].get("app") == app]


@pytest.mark.parametrize("state", ["stopped", "crashing"])
def test_a_member_whose_ks_apiserver_is_down_has_no_endpoints_and_gets_ready(simulate, connect, call, join, state):
    simulation = simulate(
        host={"role": "host"}, members=[{"name": "m1", "role": "member", "workloads": {"ks-apiserver": state}}]
    )
    host, member = simulation.clusters.values()
    code, body = call(connect(member), "GET", VERSION)
    assert code == 503
    assert 'no endpoints available for service \\"ks-apiserver\\"' in body
    join(host, member)
    assert "configz" not in host.object("clusters", "m1")["status"]


def test_a_container_that_crashes_says_so_and_so_does_its_successor(simulate, connect, wait_for):
    host = simulate(host={"role": "host", "workloads": {"tower": "crashing"}}).clusters["host"]
    (first,) = pods_of(host, "tower")
    assert waiting(first) == "CrashLoopBackOff"
    host.kill_pod("tower")
    (second,) = wait_for(
        lambda: [
            pod
            for pod in pods_of(host, "tower")
            if pod["metadata"]["name"] != first["metadata"]["name"] and pod["status"].get("podIP")
        ]
    )
    assert waiting(second) == "CrashLoopBackOff"
    log = kubernetes.client.CoreV1Api(connect(host)).read_namespaced_pod_log(second["metadata"]["name"], SYSTEM)
    assert "panic: runtime error: invalid memory address or nil pointer dereference" in log
    assert "readyReplicas" not in host.object("deployments", "tower", SYSTEM)["status"]


def test_without_tower_a_proxy_cluster_stays_without_conditions(simulate, wait_for, conditions):
    host = simulate(host={"role": "host", "workloads": {"tower": "missing"}}).clusters["host"]
    host.put(
        "clusters", {"metadata": {"name": "m1"}, "spec": {"joinFederation": True, "connection": {"type": "proxy"}}}
    )
    wait_for(lambda: host.object("clusters", "m1")["metadata"].get("finalizers"))
    assert conditions(host.object("clusters", "m1")) == {}
    with pytest.raises(KeyError):
        host.object("services", "tower", SYSTEM)


def test_what_a_stopped_tower_wrote_gets_stale(simulate, conditions, agent_log, wait_for):
    simulation = simulate(
        host={"role": "host", "workloads": {"tower": "stopped"}},
        members=[{"name": "m1", "role": "member", "secret": "host", "joined": "m1", "connection": "proxy"}],
    )
    host, member = simulation.clusters.values()
    assert conditions(host.object("clusters", "m1"))["AgentAvailable"] == "True"
    wait_for(lambda: "connect: connection refused" in agent_log(member))


def test_without_its_controller_a_host_leaves_a_cluster_alone(simulate, create, conditions):
    simulation = simulate(
        host={"role": "host", "workloads": {"ks-controller-manager": "stopped"}}, members=[{"name": "m1"}]
    )
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    host.scale("ks-controller-manager", 0)
    assert "finalizers" not in host.object("clusters", "m1")["metadata"]


def test_an_image_that_cannot_be_pulled_keeps_the_agents_pod_waiting(simulate, deploy_agent, wait_for):
    member = simulate(members=[{"name": "m1", "kubernetes": {"unpullable": ["kubesphere/tower"]}}]).clusters["m1"]
    deploy_agent(member, name="m1", token="t")
    (pod,) = wait_for(lambda: [each for each in pods_of(member, "agent") if each["status"].get("containerStatuses")])
    assert (pod["status"]["phase"], waiting(pod)) == ("Pending", "ImagePullBackOff")
    assert "readyReplicas" not in member.object("deployments", "cluster-agent", SYSTEM).get("status", {})


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        (("v3.4.1", {"default_storage_class": False}), "Default StorageClass was not found !"),
        (("v3.0.0", {"default_storage_class": False}), "Default StorageClass was not found !"),
        (("v3.4.1", {"version": "v1.18.8"}), "The current Kubernetes version is not supported !"),
        (("v3.0.0", {"version": "v1.14.1"}), "The current k8s version is not supported"),
    ],
)
def test_the_installer_stops_at_what_it_cannot_do_without(simulate, connect, wait_for, scenario, said):
    kubesphere, foundation = scenario
    member = simulate(kubesphere=kubesphere, members=[{"name": "m1", "kubernetes": foundation}]).clusters["m1"]
    role = {"spec": {"multicluster": {"clusterRole": "member"}}}
    member.edit("clusterconfigurations", "ks-installer", role, SYSTEM)
    (pod,) = (pod for pod in member.objects("pods", SYSTEM) if "installer" in pod["metadata"]["name"])
    api = kubernetes.client.CoreV1Api(connect(member))
    wait_for(lambda: said in api.read_namespaced_pod_log(pod["metadata"]["name"], SYSTEM))
    assert (
        "accessTokenMaxAge: 0"
        not in (member.object("configmaps", "kubesphere-config", SYSTEM)["data"]["kubesphere.yaml"])
    )


def test_where_batch_v1beta1_is_gone_ks_apiserver_does_not_start(simulate, connect, call):
    member = simulate(members=[{"name": "m1", "kubernetes": {"version": "v1.25.3"}}]).clusters["m1"]
    api = kubernetes.client.CoreV1Api(connect(member))
    assert kubernetes.client.VersionApi(connect(member)).get_code().git_version == "v1.25.3"
    assert api.list_node().items[0].status.node_info.kubelet_version == "v1.25.3"
    (pod,) = pods_of(member, "ks-apiserver")
    assert "batch/v1beta1" in api.read_namespaced_pod_log(pod["metadata"]["name"], SYSTEM)
    assert call(connect(member), "GET", VERSION)[0] == 503


def test_kubesphere_3_0_finds_the_token_that_older_kubernetes_makes(simulate, join):
    simulation = simulate(
        kubesphere="v3.0.0",
        host={"role": "host"},
        members=[{"name": "m1", "kubernetes": {"version": "v1.23.6"}}],
    )
    host, member = simulation.clusters.values()
    join(host, member)


def test_kubesphere_3_0_waits_for_a_token_that_newer_kubernetes_does_not_make(simulate, create, wait_for, conditions):
    simulation = simulate(
        timing={"resync": 2},
        kubesphere="v3.0.0",
        host={"role": "host"},
        members=[{"name": "m1", "kubernetes": {"version": "v1.24.3"}}],
    )
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(
        lambda: [item for item in host.objects("events") if "timed out waiting for the condition" in item["message"]]
    )
    assert "Ready" not in conditions(host.object("clusters", "m1"))


@pytest.mark.parametrize(("host_version", "member_version"), [("v3.4.1", "v3.0.0"), ("v3.0.0", "v3.4.1")])
def test_host_and_member_can_have_different_versions(simulate, join, host_version, member_version):
    simulation = simulate(
        kubesphere=host_version, host={"role": "host"}, members=[{"name": "m1", "kubesphere": member_version}]
    )
    host, member = simulation.clusters.values()
    assert member.object("clusterconfigurations", "ks-installer", SYSTEM)["metadata"]["labels"] == {
        "version": member_version
    }
    join(host, member)
    told = host.object("clusters", "m1")["status"].get("kubeSphereVersion")
    assert told == (member_version if host_version == "v3.4.1" else None)


def test_a_member_whose_tokens_end_is_ready_and_static_tokens_are_taken(simulate):
    member = simulate(
        members=[{"name": "m1", "role": "member", "secret": "host", "access_token_max_age": "2h"}]
    ).clusters["m1"]
    text = member.object("configmaps", "kubesphere-config", SYSTEM)["data"]["kubesphere.yaml"]
    assert "accessTokenMaxAge: 2h" in text
    assert "clusterRole: member" in text


def test_a_member_that_is_a_host_itself_and_a_clone_of_the_host_gets_the_hosts_label(simulate, create, wait_for):
    same = {"machine_id": "0123456789abcdef0123456789abcdef"}
    simulation = simulate(
        host={"role": "host", "kubernetes": same}, members=[{"name": "m1", "role": "host", "kubernetes": same}]
    )
    host, member = simulation.clusters.values()
    assert member.object("clusters", "host")
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    label = {"cluster-role.kubesphere.io/host": ""}
    wait_for(lambda: host.object("clusters", "m1")["metadata"].get("labels") == label)
