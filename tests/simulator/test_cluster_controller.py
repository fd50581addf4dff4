"""What the cluster controller makes of Clusters, beyond what the recordings show."""

import kubernetes
import pytest
import yaml

from include.simulator.disturbances import Act, Disturbance, Moment

KIND = {"group": "cluster.kubesphere.io", "version": "v1alpha1", "plural": "clusters"}
FEDERATION = "kube-federation-system"


def settings(cluster):
    return yaml.safe_load(
        cluster.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
    )


def test_a_joined_member_holds_the_accounts_and_the_host_the_rest(simulate, create, wait_for, conditions):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server), enable=True)
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")
    assert member.object("serviceaccounts", "m1-kubesphere", FEDERATION)["secrets"]
    assert member.object("clusterroles", "kubefed-controller-manager:m1-kubesphere")
    assert member.object("clusterrolebindings", "kubefed-controller-manager:m1-kubesphere")
    token = next(item for item in member.objects("secrets", FEDERATION))["data"]["token"]
    assert host.object("secrets", "m1-secret", FEDERATION)["data"]["token"] == token
    assert host.object("kubefedclusters", "m1", FEDERATION)["spec"]["apiEndpoint"] == member.pod_server
    status = host.object("clusters", "m1")["status"]
    assert status["uid"] == member.object("namespaces", "kube-system")["metadata"]["uid"]
    assert (status["kubernetesVersion"], status["nodeCount"], status["kubeSphereVersion"]) == ("v1.22.12", 1, "v3.4.1")
    assert status["configz"]["multicluster"] is False


def test_ready_proves_neither_the_role_nor_the_secret(simulate, create, wait_for, conditions):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1", "role": "none", "secret": "own"}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")


def test_the_controller_rewrites_both_configs_with_the_name_of_the_cluster(simulate, create, wait_for):
    simulation = simulate(members=[{"name": "m1", "role": "member"}])
    host, member = simulation.clusters.values()
    host.edit(
        "clusterconfigurations",
        "ks-installer",
        {"spec": {"multicluster": {"clusterRole": "host"}}},
        "kubesphere-system",
    )
    wait_for(lambda: settings(host)["multicluster"].get("clusterName") == "host")
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: settings(member)["multicluster"].get("clusterName") == "m1")
    text = member.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
    assert 'jwtSecret: "' not in text
    assert settings(member)["multicluster"] == {"clusterRole": "member", "clusterName": "m1"}
    assert settings(host)["authentication"]["oauthOptions"]["accessTokenMaxAge"] == "0s"


def test_the_host_cluster_appears_after_the_config_was_loaded(simulate, wait_for, conditions):
    host = simulate().clusters["host"]
    assert host.objects("clusters") == []
    host.edit(
        "clusterconfigurations",
        "ks-installer",
        {"spec": {"multicluster": {"clusterRole": "host"}}},
        "kubesphere-system",
    )
    own = wait_for(lambda: host.object("clusters", "host"))
    assert own["metadata"]["labels"] == {"cluster-role.kubesphere.io/host": "", "kubesphere.io/managed": "true"}
    wait_for(lambda: conditions(host.object("clusters", "host")) == {"Federated": "True", "Ready": "True"})


def test_an_address_of_the_machine_is_refused_inside_a_pod(simulate, create, reason):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin"))
    port = member.server.rpartition(":")[2]
    assert reason(host, "m1").endswith(f"dial tcp 127.0.0.1:{port}: connect: connection refused")


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ("https://lb.kubesphere.local:6443", "dial tcp: lookup lb.kubesphere.local on 169.254.25.10:53: no such host"),
        ("https://192.168.99.1:6443", "dial tcp 192.168.99.1:6443: connect: no route to host"),
        ("https://10.20.1.1:7443", "dial tcp 10.20.1.1:7443: connect: connection refused"),
        ("https://10.20.0.1:6443", "x509: certificate signed by unknown authority"),
    ],
    ids=["unknown name", "unknown address", "wrong port", "another cluster"],
)
def test_what_the_hosts_pods_cannot_reach_is_the_reason(simulate, create, reason, server, text):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=server))
    assert reason(host, "m1").endswith(text)


def test_a_name_that_the_certificate_does_not_have_is_the_reason(simulate, create, reason):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    kubeconfig = member.kubeconfig("admin", server=member.pod_server)
    kubeconfig["clusters"][0]["cluster"]["tls-server-name"] = "member.example.com"
    create(host, "m1", kubeconfig)
    assert "x509: certificate is valid for localhost, " in reason(host, "m1")
    assert reason(host, "m1").endswith(", not member.example.com")


def test_missing_rights_are_the_reason(simulate, create, reason):
    forbid = [{"verb": "create", "resource": "clusterroles"}]
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1", "forbid": forbid}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("airflow", server=member.pod_server))
    assert reason(host, "m1").endswith(
        'User "airflow" cannot create resource "clusterroles" in API group '
        '"rbac.authorization.k8s.io" at the cluster scope'
    )


def test_a_bare_cluster_is_refused_for_its_missing_workspaces(simulate, create, reason):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1", "installed": False}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    assert reason(host, "m1").startswith("the server could not find the requested resource")


def test_a_workspace_placed_elsewhere_is_a_conflict(simulate, create, reason):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    member.edit("workspaces", "system-workspace", {"metadata": {"labels": {"kubefed.io/managed": "true"}}})
    host.put(
        "federatedworkspaces",
        {"metadata": {"name": "system-workspace"}, "spec": {"placement": {"clusters": [{"name": "other"}]}}},
    )
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    assert reason(host, "m1") == (
        "The workspace system-workspace is found in the target member cluster m1, which is conflict with the workspace "
        "on host"
    )


def test_a_token_kubeconfig_gets_ready_with_a_certificate_condition_that_tells_no_date(
    simulate, create, wait_for, conditions
):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("airflow", server=member.pod_server))
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")
    last = host.object("clusters", "m1")["status"]["conditions"][-1]
    assert (last["type"], last["status"], "message" in last) == ("KubeConfigCertExpiresInSevenDays", "False", False)


def test_a_kubeconfig_with_an_exec_plugin_executes_nothing(simulate, create, reason, tmp_path):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    kubeconfig = member.kubeconfig("admin", server=member.pod_server)
    kubeconfig["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "touch",
            "args": [str(tmp_path / "executed")],
        }
    }
    create(host, "m1", kubeconfig)
    assert reason(host, "m1").endswith(": getting credentials: exec: executable touch not found")
    assert not (tmp_path / "executed").exists()


def test_a_failed_join_is_repeated_at_the_next_resync(simulate, create, wait_for, conditions):
    """With the blame removed in between: 3.4 has no earlier retry (kubesphere-facts 6.2)."""
    simulation = simulate(timing={"resync": 0.5}, host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    member.edit("workspaces", "system-workspace", {"metadata": {"labels": {"kubefed.io/managed": "true"}}})
    host.put("federatedworkspaces", {"metadata": {"name": "system-workspace"}, "spec": {"placement": {}}})
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "False")
    member.edit("workspaces", "system-workspace", {"metadata": {"labels": None}})
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")


def test_importing_the_host_into_itself_labels_it_as_a_host(simulate, create, wait_for):
    host = simulate(host={"role": "host"}).clusters["host"]
    create(host, "again", host.kubeconfig("admin", server=host.pod_server))
    wait_for(lambda: host.object("clusters", "again")["metadata"]["labels"] == {"cluster-role.kubesphere.io/host": ""})


def test_deleting_cleans_the_host_and_leaves_the_member(simulate, connect, wait_for):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1", "role": "member", "joined": "first"}])
    host, member = simulation.clusters.values()
    kubernetes.client.CustomObjectsApi(connect(host)).delete_cluster_custom_object(**KIND, name="first")
    wait_for(lambda: [item["metadata"]["name"] for item in host.objects("clusters")] == ["host"])
    assert [item["metadata"]["name"] for item in host.objects("kubefedclusters")] == ["host"]
    assert not [item for item in host.objects("secrets", FEDERATION) if item["metadata"]["name"] == "first-secret"]
    assert member.object("serviceaccounts", "first-kubesphere", FEDERATION)
    assert settings(member)["multicluster"]["clusterName"] == "first"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"joinFederation": True},
        {"joinFederation": True, "connection": {"type": "direct", "kubeconfig": "?"}},
    ],
    ids=["empty", "no connection", "no base64"],
)
def test_a_cluster_that_makes_no_sense_does_not_stop_the_work_on_others(simulate, create, wait_for, conditions, spec):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    host.put("clusters", {"metadata": {"name": "a"}, **({"spec": spec} if spec else {})})
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")
    assert conditions(host.object("clusters", "a")) == {}


def test_a_kubefedcluster_that_somebody_was_faster_with_is_read_and_updated_again(
    simulate, create, wait_for, conditions
):
    """Its status is written by kubefed, at any time."""
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")

    def is_update(call):
        return (call.verb, call.resource, call.name) == ("update", "kubefedclusters", "m1") and not call.subresource

    def be_faster(_):
        host.edit("kubefedclusters", "m1", {"metadata": {"labels": {"faster": "true"}}}, FEDERATION)

    host.disturb(Disturbance(matches=is_update, kind=Act(function=be_faster, moment=Moment.ARRIVED)))

    def codes():
        return [entry.code for entry in host.audit() if is_update(entry)]

    wait_for(lambda: 409 in codes())
    wait_for(lambda: codes()[-1] == 200)
    assert codes()[codes().index(409) + 1] == 200
    refused = next(entry for entry in host.audit() if is_update(entry) and entry.code == 409)
    seen = [entry for entry in host.audit() if entry.resource == "kubefedclusters" and entry.time > refused.time]
    assert [entry.verb for entry in seen if entry.name == "m1" and entry.user == refused.user][:2] == ["get", "update"]
    assert conditions(host.object("clusters", "m1"))["Federated"] == "True"
